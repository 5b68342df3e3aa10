"""Bottleneck adapters whose weights are given from outside, as typed values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hyperx.device import placed

Weights = TypeVar("Weights", "NormWeights", "AdapterWeights")


def non_linearity(name: str) -> nn.Module:
    """A non-linearity by the Hugging Face library's name for it."""
    if name in ("relu", "linear"):  # the library is slow to import
        return nn.ReLU() if name == "relu" else nn.Identity()
    from transformers.activations import ACT2FN

    return cast(nn.Module, ACT2FN[name])


def _layers(weights: Weights) -> list[Weights]:
    """Split every tensor of a weights value into layers in one operation, so that gradients are joined in one too."""
    present = {field.name: value for field in fields(weights) if (value := getattr(weights, field.name)) is not None}
    split: list[Sequence[Any]] = [
        value.unbind(1) if isinstance(value, Tensor) else value.layers() for value in present.values()
    ]
    return [type(weights)(**dict(zip(present, layer, strict=True))) for layer in zip(*split, strict=True)]


@dataclass(frozen=True, slots=True)
class NormWeights:
    """Weight and bias of a layer norm inside the adapter, each ``[K, L, h]`` (``[K, h]`` of one layer)."""

    weight: Tensor
    bias: Tensor

    def layers(self) -> list[NormWeights]:
        """One value per layer, without the L dimension."""
        return _layers(self)


@dataclass(frozen=True, slots=True)
class AdapterWeights:
    """The adapters of K pairs in L layers, with hidden size h and bottleneck size b.

    Args:
        down: down-projections ``[K, L, b, h]``; their biases ``[K, L, b]``.
        up: up-projections ``[K, L, h, b]``; their biases ``[K, L, h]``.
        norm_pre: layer norm before the down-projection, if there is one.
        norm_post: layer norm after the up-projection, if there is one.
    """

    down: Tensor
    down_bias: Tensor
    up: Tensor
    up_bias: Tensor
    norm_pre: NormWeights | None = None
    norm_post: NormWeights | None = None

    @property
    def pairs(self) -> int:
        """The number K of pairs."""
        return len(self.down)

    def layers(self) -> list[AdapterWeights]:
        """One value per layer, without the L dimension."""
        return _layers(self)


@dataclass(frozen=True, slots=True)
class AdapterStack:
    """Adapters of the same K pairs that are applied one after the other at the same point, such as a language's and
    then a task's (MAD-X, Pfeiffer et al. 2020)."""

    parts: tuple[AdapterWeights, ...]

    @property
    def pairs(self) -> int:
        """The number K of pairs."""
        return self.parts[0].pairs

    def layers(self) -> list[AdapterStack]:
        """One value per layer, without the L dimension."""
        return [AdapterStack(parts) for parts in zip(*(part.layers() for part in self.parts), strict=True)]


Adapters = AdapterWeights | AdapterStack
"""What is applied at a point of the encoder: one adapter, or several one after the other."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The pair, one of K, of each row of a batch.

    Args:
        pairs: for each row the index of its pair ``[B]``.
        ends: for each pair the exclusive end of its rows ``[K]``; only on a CPU, for rows in the order of pairs.
    """

    pairs: Tensor
    ends: Tensor | None = None

    @classmethod
    def of(cls, pairs: Sequence[int], device: torch.device) -> Rows:
        """The rows of a batch in any order, given the pair of each."""
        ends = None
        if device.type == "cpu" and all(first <= second for first, second in itertools.pairwise(pairs)):
            ends = torch.bincount(torch.tensor(pairs)).cumsum(0, dtype=torch.int32)
        return cls(placed(torch.tensor(pairs), device), ends)


def adapted(x: Tensor, adapters: Adapters, rows: Rows | None, activation: Callable[[Tensor], Tensor]) -> Tensor:
    """Hidden states ``[B, T, h]`` after all adapters of a point; see :func:`bottleneck_adapter`."""
    for weights in adapters.parts if isinstance(adapters, AdapterStack) else (adapters,):
        x = bottleneck_adapter(x, weights, rows, activation)
    return x


def bottleneck_adapter(
    x: Tensor, weights: AdapterWeights, rows: Rows | None, activation: Callable[[Tensor], Tensor]
) -> Tensor:
    """``x + norm_post(U act(D norm_pre(x) + d) + u)`` (Hyper-X, equation of the adapter), for hidden states
    ``[B, T, h]``.

    Args:
        x: the hidden states.
        weights: the adapters of K pairs in this layer.
        rows: the pair of each row of the batch; None if K is 1.
        activation: the non-linearity between the projections.
    """
    narrow = activation(_project(_norm(x, weights.norm_pre, rows), weights.down, weights.down_bias, rows))
    return x + _norm(_project(narrow, weights.up, weights.up_bias, rows), weights.norm_post, rows)


def _project(x: Tensor, weight: Tensor, bias: Tensor, rows: Rows | None) -> Tensor:
    """``W x + b`` with the weights of each row's pair: ``[B, T, n]`` to ``[B, T, m]``."""
    weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    if rows is None:
        return F.linear(x, weight[0], bias[0])
    # PyTorch multiplies the rows of all pairs in one grouped product since 2.10, but not for every size and precision,
    # and neither compiled nor under autocast, which does not know the operation.
    aligned = all(size * x.element_size() % 16 == 0 for size in weight.shape[1:])
    plain = not torch.compiler.is_compiling() and not torch.is_autocast_enabled("cpu")
    groups = hasattr(F, "grouped_mm") and plain and aligned and x.dtype != torch.float64
    if rows.ends is not None and groups:
        y = F.grouped_mm(x.flatten(0, 1), weight.transpose(1, 2), offs=rows.ends * x.shape[1])
        if y.requires_grad:
            # Its backward pass accepts no expanded gradient, such as that of a sum.
            y.register_hook(Tensor.contiguous)  # type: ignore[no-untyped-call]
        return y.view(*x.shape[:2], -1) + bias[rows.pairs, None]
    return bias[rows.pairs, None].baddbmm(x, weight[rows.pairs].transpose(1, 2))


def _norm(x: Tensor, norm: NormWeights | None, rows: Rows | None) -> Tensor:
    if norm is None:
        return x
    if rows is None:
        return F.layer_norm(x, x.shape[-1:], norm.weight[0].to(x.dtype), norm.bias[0].to(x.dtype))
    weight, bias = norm.weight[rows.pairs, None].to(x.dtype), norm.bias[rows.pairs, None].to(x.dtype)
    return F.layer_norm(x, x.shape[-1:]) * weight + bias
