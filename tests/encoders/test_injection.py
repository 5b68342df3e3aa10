"""Adapters in the encoder: nothing while they add nothing, nor outside a forward pass; apart in threads; run again."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import torch
from adapted import ONE_OF_EACH
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from hyperx.encoders.injection import checkpoint_activations
from hyperx.errors import HyperXError
from hyperx.model import HyperX
from tiny import randomise, tiny_batch, tiny_bert, tiny_encoder, tiny_model


def plain(model: HyperX, ids: Tensor, mask: Tensor) -> Tensor:
    """The hidden states of the encoder outside a forward pass of the model."""
    return model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state


@pytest.mark.parametrize("after_layer_output", [True, False])
@pytest.mark.parametrize("family", ONE_OF_EACH)
@torch.no_grad()
def test_adapters_that_add_nothing_are_the_plain_encoder_exactly(family: str, after_layer_output: bool) -> None:
    """As at the start, or with up-projections of zero."""
    model = tiny_model(encoder=tiny_encoder(family), after_layer_output=after_layer_output)
    ids, mask = tiny_batch([7, 4, 5], pad_id=1)
    for generator in (model.hypernetwork.up, model.hypernetwork.up_bias):
        generator.weight.zero_()
        generator.bias.zero_()
    wanted = plain(model, ids, mask)
    for each in (model, HyperX(model.encoder, model.config).eval()):
        assert each("ner#en", ids, mask).hidden.equal(wanted)
        assert each(["ner#en", "pos#tr", "pos#de"], ids, mask).hidden.equal(wanted)
    randomise(model, seed=5)
    assert not torch.allclose(model("ner#en", ids, mask).hidden, wanted, atol=1e-2)


@torch.no_grad()
def test_outside_the_forward_pass_the_encoder_is_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after one that ended with an error."""
    model = tiny_model()
    ids, mask = tiny_batch([5])
    before = plain(model, ids, mask)
    hooks = [len(module._forward_hooks) for module in model.encoder.modules()]
    assert not model("ner#en", ids, mask).hidden.equal(before)
    assert plain(model, ids, mask).equal(before)

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(model.encoder.encoder.layer[2], "forward", broken)
        with pytest.raises(ZeroDivisionError):
            model("ner#en", ids, mask)
    assert plain(model, ids, mask).equal(before)
    assert [len(module._forward_hooks) for module in model.encoder.modules()] == hooks


@torch.no_grad()
def test_two_models_around_one_encoder_and_copies_of_a_model_do_not_meet() -> None:
    ids, mask = tiny_batch([5, 3])
    state, shared = tiny_bert().state_dict(), tiny_bert()
    models = [
        tiny_model(encoder=encoder, seed=seed, after_layer_output=bool(seed))
        for encoders in ([tiny_bert(), tiny_bert()], [shared, shared])
        for seed, encoder in enumerate(encoders)
    ]
    for model in models:
        model.encoder.load_state_dict(state)
    copied = copy.deepcopy(models[0])
    apart_0, apart_1, together_0, together_1, again = (model("ner#en", ids, mask).hidden for model in [*models, copied])
    assert together_0.equal(apart_0)
    assert together_1.equal(apart_1)
    assert again.equal(apart_0)
    randomise(copied, seed=9)
    assert not copied("ner#en", ids, mask).hidden.equal(apart_0)
    assert models[0]("ner#en", ids, mask).hidden.equal(apart_0)


def test_threads_with_other_pairs_do_not_meet() -> None:
    model = tiny_model()
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


@torch.no_grad()
def test_a_thread_without_pairs_gets_the_plain_encoder() -> None:
    model = tiny_model()
    ids, mask = tiny_batch([5])
    wanted = plain(model, ids, mask)
    found: list[Tensor] = []

    def run_plain(*_: Any) -> None:
        handle.remove()
        with ThreadPoolExecutor(1) as pool:
            found.append(pool.submit(torch.no_grad()(plain), model, ids, mask).result())

    handle = model.encoder.encoder.layer[0].register_forward_pre_hook(run_plain)
    model("ner#en", ids, mask)
    assert found[0].equal(wanted)


# Activation checkpointing ---------------------------------------------------------------------------------------------


def gradients(model: HyperX, *, threads: bool = False) -> dict[str, Tensor]:
    """Of the sum of two forward passes, each in a thread of its own where asked, as the backward pass then is."""
    ids, mask = tiny_batch([7, 4])
    model.zero_grad()

    def run(pair: str) -> Tensor:
        return (model(pair, ids, mask).hidden ** 2).mean()

    if threads:
        with ThreadPoolExecutor(2) as pool:
            losses = list(pool.map(run, ["ner#en", "pos#tr"]))
            pool.submit(sum(losses).backward).result()
    else:
        (run("ner#en") + run("pos#tr")).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name], atol=1e-6, rtol=1e-5)


def test_layers_are_run_again_with_their_adapters_in_any_thread() -> None:
    """Autograd runs the backward pass of a GPU in threads of its own."""
    model = tiny_model().train()
    wanted = gradients(model)
    checkpoint_activations(model.encoder)
    assert_same(gradients(model, threads=True), wanted)


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_checkpointing_survives_what_a_training_run_does(family: str) -> None:
    """Evaluation in between, passes without gradients, switched on twice, switched off again."""
    model = tiny_model(encoder=tiny_encoder(family, dropout=0.1)).train()
    ids, mask = tiny_batch([7, 4])
    torch.manual_seed(1)
    wanted = gradients(model)
    with torch.no_grad():
        hidden = model.eval()("ner#en", ids, mask).hidden
    for _ in range(2):
        checkpoint_activations(model.encoder)
        assert all(layer.gradient_checkpointing for layer in model.injection.layers)
        with torch.no_grad():
            assert model.eval()("ner#en", ids, mask).hidden.equal(hidden)
            model.train()("ner#en", ids, mask)
        torch.manual_seed(1)
        assert_same(gradients(model), wanted)
    for layer in model.injection.layers:
        layer.gradient_checkpointing = False
    torch.manual_seed(1)
    assert_same(gradients(model), wanted)


def test_activations_of_checkpointed_layers_are_not_kept() -> None:
    model = tiny_model(encoder=tiny_bert(layers=6)).train()
    ids, mask = tiny_batch([30] * 8)

    def kept() -> int:
        """Bytes that autograd keeps for the backward pass, parameters aside."""
        sizes: dict[int, int] = {}
        known = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        alive = []

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in known:
                sizes[storage.data_ptr()] = storage.nbytes()
                alive.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model("ner#en", ids, mask)
        return sum(sizes.values())

    before = kept()
    checkpoint_activations(model.encoder)
    assert kept() < before / 3


def test_reentrant_checkpointing_is_refused() -> None:
    model = tiny_model().train()
    checkpoint_activations(model.encoder)
    for layer in model.encoder.encoder.layer:
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=True)
    with pytest.raises(HyperXError, match=r'use_reentrant": False.*--gradient_checkpointing'):
        model("ner#en", *tiny_batch([4]))
