"""A linear layer in which every row of the batch has the weights of its own pair: one product for each run of rows.

To gather the weights row by row and to multiply in a batch of small products takes a copy of the weights for every row,
and as many gradients. On a CPU that costs more than the adapters themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def _runs(rows: Tensor) -> Iterator[tuple[int, slice]]:
    """Each run of rows of the same pair: the index of the pair, and the rows."""
    for pair, run in itertools.groupby(enumerate(rows.tolist()), key=lambda row: row[1]):
        numbers = [number for number, _ in run]
        yield pair, slice(numbers[0], numbers[-1] + 1)


# An operator of its own, so that the compiler sees one node whatever the pairs of a batch are.
@torch.library.custom_op("hyperx::pair_linear", mutates_args=())
def pair_linear(x: Tensor, weight: Tensor, bias: Tensor, rows: Tensor) -> Tensor:
    """``W_k x + b_k`` where k is the pair of the row, fastest where the rows of a pair stand together.

    Args:
        x: ``[B, T, n]`` on a CPU.
        weight: of K pairs ``[K, m, n]``.
        bias: ``[K, m]``.
        rows: for each row the index of its pair ``[B]``.

    Returns:
        ``[B, T, m]``.
    """
    y = x.new_empty(*x.shape[:2], weight.shape[1])
    for pair, run in _runs(rows):
        torch.addmm(bias[pair], x[run].flatten(0, 1), weight[pair].t(), out=y[run].flatten(0, 1))
    return y


@torch.library.custom_op("hyperx::pair_linear_backward", mutates_args=())
def _gradients(grad: Tensor, x: Tensor, weight: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, weight and bias."""
    grad_x, grad_weight = x.new_empty(x.shape), weight.new_zeros(weight.shape)
    grad_bias = weight.new_zeros(weight.shape[:2])
    for pair, run in _runs(rows):
        own, inputs = grad[run].flatten(0, 1), x[run].flatten(0, 1)
        torch.mm(own, weight[pair], out=grad_x[run].flatten(0, 1))
        grad_weight[pair].addmm_(own.t(), inputs)
        grad_bias[pair] += own.sum(dim=0)
    return grad_x, grad_weight, grad_bias


@pair_linear.register_fake
def _(x: Tensor, weight: Tensor, _bias: Tensor, _rows: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:2], weight.shape[1])


@_gradients.register_fake
def _(_grad: Tensor, x: Tensor, weight: Tensor, _rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape), weight.new_empty(weight.shape[:2])


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001
    x, weight, _, rows = inputs
    ctx.save_for_backward(x, weight, rows)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (*_gradients(grad, *ctx.saved_tensors), None)


pair_linear.register_autograd(_backward, setup_context=_keep)
