"""Bottleneck adapters whose weights are given from outside, as typed values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from torch import Tensor
from torch.nn import functional as F

Weights = TypeVar("Weights", "NormWeights", "AdapterWeights")


@dataclass(frozen=True, slots=True)
class NormWeights:
    """Weight and bias of a layer norm inside the adapter, each ``[K, L, h]`` (``[K, h]`` of one layer)."""

    weight: Tensor
    bias: Tensor

    def layer(self, index: int) -> NormWeights:
        """The slice of one layer."""
        return _layer(self, index)


@dataclass(frozen=True, slots=True)
class AdapterWeights:
    """The adapters of K pairs in L layers, with hidden size h and bottleneck size b.

    Args:
        down: down-projections ``[K, L, b, h]``.
        down_bias: ``[K, L, b]``.
        up: up-projections ``[K, L, h, b]``.
        up_bias: ``[K, L, h]``.
        norm_pre: layer norm before the down-projection, where there is one.
        norm_post: layer norm after the up-projection, where there is one.

    :meth:`layer` gives the same value without the L dimension.
    """

    down: Tensor
    down_bias: Tensor
    up: Tensor
    up_bias: Tensor
    norm_pre: NormWeights | None = None
    norm_post: NormWeights | None = None

    def layer(self, index: int) -> AdapterWeights:
        """The slice of one layer."""
        return _layer(self, index)


@dataclass(frozen=True, slots=True)
class AdapterStack:
    """Adapters one after the other at the same point, such as a task's on a language's (MAD-X, Pfeiffer et al. 2020).

    Args:
        parts: the adapters of the same K pairs, in the order in which they are applied.
    """

    parts: tuple[AdapterWeights, ...]

    def layer(self, index: int) -> AdapterStack:
        """The slice of one layer."""
        return AdapterStack(tuple(part.layer(index) for part in self.parts))


Adapters = AdapterWeights | AdapterStack
"""What is applied at a point of the encoder: one adapter, or several in turn."""


def _layer(weights: Weights, index: int) -> Weights:
    """Take layer ``index`` of every tensor of a weights value."""
    sliced: dict[str, Any] = {}
    for field in fields(weights):
        value = getattr(weights, field.name)
        sliced[field.name] = value[:, index] if isinstance(value, Tensor) else value and value.layer(index)
    return type(weights)(**sliced)


def adapted(x: Tensor, adapters: Adapters, rows: Tensor | None, activation: Callable[[Tensor], Tensor]) -> Tensor:
    """Hidden states ``[B, T, h]`` after all adapters of a point; see :func:`bottleneck_adapter`."""
    for weights in adapters.parts if isinstance(adapters, AdapterStack) else (adapters,):
        x = bottleneck_adapter(x, weights, rows, activation)
    return x


def bottleneck_adapter(
    x: Tensor, weights: AdapterWeights, rows: Tensor | None, activation: Callable[[Tensor], Tensor]
) -> Tensor:
    """``x + norm_post(U act(D norm_pre(x) + d) + u)`` (Hyper-X, equation of the adapter).

    Args:
        x: hidden states ``[B, T, h]``.
        weights: the adapters of K pairs in this layer.
        rows: for each row of the batch the index of its pair ``[B]``; None where K is 1.
        activation: the non-linearity between the projections.

    Returns:
        Adapted hidden states ``[B, T, h]``.
    """
    narrow = activation(_project(_norm(x, weights.norm_pre, rows), weights.down, weights.down_bias, rows))
    return x + _norm(_project(narrow, weights.up, weights.up_bias, rows), weights.norm_post, rows)


def _project(x: Tensor, weight: Tensor, bias: Tensor, rows: Tensor | None) -> Tensor:
    """``W x + b`` with the weights of each row's pair: ``[B, T, n]`` to ``[B, T, m]``."""
    weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    if rows is None:
        return F.linear(x, weight[0], bias[0])
    return bias[rows, None].baddbmm(x, weight[rows].transpose(1, 2))


def _norm(x: Tensor, norm: NormWeights | None, rows: Tensor | None) -> Tensor:
    if norm is None:
        return x
    if rows is None:
        return F.layer_norm(x, x.shape[-1:], norm.weight[0].to(x.dtype), norm.bias[0].to(x.dtype))
    return F.layer_norm(x, x.shape[-1:]) * norm.weight[rows, None].to(x.dtype) + norm.bias[rows, None].to(x.dtype)
