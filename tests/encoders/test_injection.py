"""Adapters in the encoder: exactly the plain encoder while they add nothing, gone afterwards, apart in threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hyperx.encoders.injection import injected
from hyperx.encoders.layout import LAYOUTS
from hyperx.model import HyperX
from hyperx.modules.adapter import AdapterWeights
from tiny import randomise, tiny_batch, tiny_encoder, tiny_model

FAMILIES = sorted(LAYOUTS)


def hooks(model: HyperX) -> int:
    """Forward hooks anywhere in the encoder."""
    return sum(len(module._forward_hooks) for module in model.encoder.modules())


@pytest.mark.parametrize("after_layer_output", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_zero_up_projections_are_the_plain_encoder_exactly(family: str, after_layer_output: bool) -> None:
    model = tiny_model(encoder=tiny_encoder(family), after_layer_output=after_layer_output)
    ids, mask = tiny_batch([7, 4, 5], pad_id=1)
    with torch.no_grad():
        for generator in (model.hypernetwork.up, model.hypernetwork.up_bias):
            generator.weight.zero_()
            generator.bias.zero_()
        plain = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        assert model("ner#en", ids, mask).hidden.equal(plain)
        assert model(["ner#en", "pos#tr", "pos#de"], ids, mask).hidden.equal(plain)
        randomise(model, seed=5)
        assert not torch.allclose(model("ner#en", ids, mask).hidden, plain, atol=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_default_start_is_the_plain_encoder_exactly(family: str) -> None:
    fresh = HyperX(tiny_encoder(family), tiny_model().config).eval()
    ids, mask = tiny_batch([7, 4], pad_id=1)
    with torch.no_grad():
        plain = tiny_encoder(family)(input_ids=ids, attention_mask=mask).last_hidden_state
        assert fresh(["ner#en", "pos#de"], ids, mask).hidden.equal(plain)


@pytest.mark.parametrize("after_layer_output", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_mix_reads_the_states_that_the_encoder_gives(family: str, after_layer_output: bool) -> None:
    config = tiny_model(head_layer="mix", after_layer_output=after_layer_output).config
    fresh = HyperX(tiny_encoder(family), config).eval()
    ids, mask = tiny_batch([7, 4], pad_id=1)
    with torch.no_grad():
        fresh.pooling.weight.copy_(torch.tensor([0.2, 0.5, 0.3]).log())
        states = tiny_encoder(family)(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        wanted = 0.2 * states[0] + 0.5 * states[1] + 0.3 * states[2]
        for _ in range(2):
            torch.testing.assert_close(fresh("ner#en", ids, mask).hidden, wanted)


@pytest.mark.parametrize("family", FAMILIES)
def test_hooks_are_gone_after_the_forward_pass(family: str) -> None:
    model = tiny_model(encoder=tiny_encoder(family))
    ids, mask = tiny_batch([5])
    before = hooks(model)
    model("ner#en", ids, mask)
    assert hooks(model) == before


def test_hooks_are_gone_after_an_error_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    ids, mask = tiny_batch([5])
    with torch.no_grad():
        plain = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    before = hooks(model)

    def broken(*_: Any, **__: Any) -> None:
        assert hooks(model) == before + 3
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(model.encoder.encoder.layer[2], "forward", broken)
        with pytest.raises(ZeroDivisionError):
            model("ner#en", ids, mask)
    assert hooks(model) == before
    with torch.no_grad():
        assert model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state.equal(plain)


class TupleLayer(nn.Module):
    """A layer that gives more than its hidden states."""

    def forward(self, x: Tensor) -> tuple[Tensor, str]:
        return x, "more"


def test_layers_that_give_tuples_are_adapted_too() -> None:
    weights = AdapterWeights(torch.ones(1, 1, 1, 2), torch.zeros(1, 1, 1), torch.ones(1, 1, 2, 1), torch.ones(1, 1, 2))
    layer = TupleLayer()
    with injected([layer], weights, None, torch.relu):
        output, more = layer(torch.tensor([[[1.0, 2.0]]]))
    assert output.tolist() == [[[1 + 3 + 1, 2 + 3 + 1]]]
    assert more == "more"
    assert layer(torch.tensor([1.0]))[0].tolist() == [1.0]


@pytest.mark.parametrize("head_layer", ["last", "mix"])
def test_threads_with_other_pairs_do_not_meet(head_layer: str) -> None:
    model = tiny_model(head_layer=head_layer)
    pairs = ["ner#en", "pos#tr"]
    batches = [tiny_batch([7, 5], seed=0), tiny_batch([4, 6], seed=1)]
    with torch.no_grad():
        alone = [model(pair, *batch).hidden for pair, batch in zip(pairs, batches, strict=True)]
    # Both are inside the encoder at the same time: each waits in its first layer for the other.
    inside = threading.Barrier(2, timeout=5)

    def wait(*_: Any) -> None:
        inside.wait()

    handle = model.encoder.encoder.layer[0].register_forward_pre_hook(wait)

    def run(index: int) -> list[Tensor]:
        with torch.no_grad():
            return [model(pairs[index], *batches[index]).hidden for _ in range(5)]

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, range(2)))
    handle.remove()
    for wanted, found in zip(alone, results, strict=True):
        for hidden in found:
            torch.testing.assert_close(hidden, wanted, atol=1e-6, rtol=0)


def test_thread_without_pairs_gets_the_plain_encoder() -> None:
    model = tiny_model()
    ids, mask = tiny_batch([5])
    with torch.no_grad():
        plain = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        found: list[Tensor] = []

        def run_plain(*_: Any) -> None:
            with torch.no_grad():
                found.append(model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state)

        def start_thread(*_: Any) -> None:
            handle.remove()
            thread = threading.Thread(target=run_plain)
            thread.start()
            thread.join()

        handle = model.encoder.encoder.layer[0].register_forward_pre_hook(start_thread)
        model("ner#en", ids, mask)
    assert found[0].equal(plain)
