"""The product of each row with its pair's weights, against the products written out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hyperx.modules.pair_linear import pair_linear

PAIRS, WIDE, NARROW, LENGTH = 4, 5, 3, 2


def tensors(rows: list[int], seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64).requires_grad_()

    return some(len(rows), LENGTH, WIDE), some(PAIRS, NARROW, WIDE), some(PAIRS, NARROW), torch.tensor(rows)


def literal(x: Tensor, weight: Tensor, bias: Tensor, rows: Tensor) -> Tensor:
    return torch.stack(
        [torch.stack([weight[k] @ position + bias[k] for position in x[i]]) for i, k in enumerate(rows.tolist())]
    )


@given(st.lists(st.integers(0, PAIRS - 1), min_size=1, max_size=7))
def test_values_and_gradients_in_any_order_of_rows(rows: list[int]) -> None:
    inputs = tensors(rows)
    found, wanted = pair_linear(*inputs), literal(*inputs)
    torch.testing.assert_close(found, wanted)
    # Weights that differ from place to place, so that no gradient is right by symmetry.
    shares = torch.arange(wanted.numel(), dtype=torch.float64).view_as(wanted).sin()
    for mine, other in zip(
        torch.autograd.grad((found * shares).sum(), inputs[:3]),
        torch.autograd.grad((wanted * shares).sum(), inputs[:3]),
        strict=True,
    ):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("rows", [[0, 0, 1, 3], [2, 0, 2]])
def test_it_is_an_operator_as_the_compiler_wants_them(rows: list[int]) -> None:
    torch.library.opcheck(pair_linear, tensors(rows))


def test_weights_and_states_that_are_views() -> None:
    x, weight, bias, rows = tensors([0, 1, 1])
    spread = torch.stack([x, x], dim=-1)[..., 0]
    turned = weight.transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(pair_linear(spread, turned, bias, rows), literal(x, weight, bias, rows))
    (gradient,) = torch.autograd.grad(pair_linear(spread, turned, bias, rows).mean(), x)
    torch.testing.assert_close(gradient, torch.autograd.grad(literal(x, weight, bias, rows).mean(), x)[0])
