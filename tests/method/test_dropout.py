"""Fast dropout against what dropout is: a share of zeros, the rest scaled, the same in both directions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hyperx.encoders.dropout import FastDropout, use_fast_dropout
from tiny import tiny_model


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_values_are_dropped_or_scaled_at_the_chance_asked_for(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(1001, 333)  # not a multiple of four
    y = FastDropout(p)(x)
    kept = y != 0
    assert y[kept].unique().tolist() == pytest.approx([1 / (1 - p)], rel=1e-3)
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=0.003)
    # Neither rows nor neighbours hang together, whatever part of a draw they come from.
    flat = kept.flatten().float()
    assert [flat[part::4].mean().item() for part in range(4)] == pytest.approx([1 - p] * 4, abs=0.005)
    assert (flat[1:] * flat[:-1]).mean().item() == pytest.approx((1 - p) ** 2, abs=0.005)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_pass_where_values_do(dtype: torch.dtype) -> None:
    x = torch.randn(7, 5, dtype=dtype).requires_grad_()
    y = FastDropout(0.4)(x)
    y.backward(torch.ones_like(y))
    torch.testing.assert_close(x.grad * x, y)
    assert x.grad.dtype == y.dtype == dtype


def test_a_seed_gives_the_same_and_two_calls_do_not() -> None:
    drop, x = FastDropout(0.5), torch.ones(64)
    torch.manual_seed(3)
    first, second = drop(x), drop(x)
    torch.manual_seed(3)
    assert drop(x).equal(first)
    assert not second.equal(first)


@pytest.mark.parametrize(("p", "wanted"), [(0.0, 1.0), (1e-9, 1.0), (1.0, 0.0)])
def test_the_ends(p: float, wanted: float) -> None:
    torch.manual_seed(0)
    assert FastDropout(p)(torch.ones(8)).tolist() == [wanted] * 8


def test_nothing_is_dropped_in_evaluation() -> None:
    x = torch.randn(9)
    assert FastDropout(0.5).eval()(x) is x


def test_all_dropout_of_an_encoder_is_fast_and_nothing_else() -> None:
    odd = nn.Sequential(nn.Dropout(0.1), nn.Dropout(0.1, inplace=True), nn.Dropout1d(0.1))
    use_fast_dropout(odd)
    assert [type(layer) for layer in odd] == [FastDropout, nn.Dropout, nn.Dropout1d]
    layers = [module for module in tiny_model().encoder.modules() if isinstance(module, nn.Dropout)]
    assert layers
    assert {type(layer) for layer in layers} == {FastDropout}
