"""Every family of encoders: adapters where the paper puts them, trained, run again, cut, mixed, saved and loaded.

Where an oracle is needed it is the one of ``adapted.py``. What follows from the layout alone is tested on one family of
each layout.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from adapted import FAMILIES, FINAL_NORM, LAYERS, ONE_OF_EACH, weights_of, with_adapters
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, AutoModelForSeq2SeqLM

from hyperx.encoders.families import (
    LAYOUTS,
    disable_attention_dropout,
    keep_layers,
    longest_input,
    norm_modules,
    prepared_mask,
    unroll_shared_layers,
)
from hyperx.encoders.injection import checkpoint_activations
from hyperx.encoders.loading import load_encoder
from hyperx.model import HyperX
from tiny import LABELS, randomise, tiny_batch, tiny_encoder, tiny_model, tiny_tokenizer

ROTARY = ("eurobert", "gte", "jina_embeddings_v3", "modernbert", "nomic_bert")
PAIRS = ["ner#en", "pos#tr", "ner#de"]
IDS, MASK = tiny_batch([7, 4, 5], pad_id=1)
TARGETS = torch.where(MASK == 1, IDS % 3, -100)


@pytest.mark.parametrize("after_layer_output", [False, True], ids=["feed_forward", "layer"])
@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_sit_where_the_paper_puts_them(family: str, after_layer_output: bool) -> None:
    """On the output of the feed-forward block before the residual sum, or of the layer; the gradients say so too."""
    encoder = tiny_encoder(family, layers=3)
    plain = copy.deepcopy(encoder)
    model = tiny_model(encoder=encoder, after_layer_output=after_layer_output)
    for name, parameter in plain.named_parameters():  # the norms were changed
        parameter.data.copy_(model.encoder.get_parameter(name))
    weights = weights_of(model)
    oracle = with_adapters(plain, family, weights, after=after_layer_output)

    wanted = oracle(input_ids=IDS, attention_mask=MASK).last_hidden_state
    hidden = model("ner#en", IDS, MASK).hidden
    torch.testing.assert_close(hidden, wanted, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(wanted, plain(input_ids=IDS, attention_mask=MASK).last_hidden_state, atol=1e-2)
    parameters = list(model.hypernetwork.parameters())
    (found, literal) = (
        torch.autograd.grad((states**2 * MASK[..., None]).mean(), parameters, retain_graph=True, allow_unused=True)
        for states in (hidden, wanted)
    )
    for one, other in zip(found, literal, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_a_prepared_mask_says_the_same(family: str) -> None:
    """The form that is handed over on a GPU, where an encoder's question would have to be waited for."""
    encoder = tiny_encoder(family)
    shape = prepared_mask(encoder, IDS.to("meta"), MASK.to("meta")).shape
    none = prepared_mask(encoder, IDS, None)
    assert prepared_mask(encoder, IDS, MASK) is MASK
    if none is None:
        assert shape == (3, 1, 7, 7)
        square = MASK.bool()[:, None, None].expand(shape)
        found, wanted = (encoder(input_ids=IDS, attention_mask=mask).last_hidden_state for mask in (square, MASK))
        torch.testing.assert_close(found * MASK[..., None], wanted * MASK[..., None])
        whole = encoder(input_ids=IDS, attention_mask=torch.ones_like(MASK)).last_hidden_state
        torch.testing.assert_close(encoder(input_ids=IDS, attention_mask=none).last_hidden_state, whole)
    else:
        assert shape == MASK.shape
        assert torch.equal(none, torch.ones_like(MASK))


@pytest.mark.parametrize("family", ONE_OF_EACH)
def test_every_trained_parameter_gets_a_gradient(family: str) -> None:
    model = tiny_model(encoder=tiny_encoder(family), options={"add_layer_norm_after_adapter": True}).train()
    model(PAIRS, IDS, MASK, TARGETS).loss.backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == trained
    assert [name for name in trained if not model.get_parameter(name).grad.any()] == []


@pytest.mark.parametrize(("switch", "after_layer_output"), [("library", False), ("ours", True)])
@pytest.mark.parametrize("family", ONE_OF_EACH)
def test_activation_checkpointing_gives_the_same_gradients(family: str, switch: str, after_layer_output: bool) -> None:
    """With dropout, and with two forward passes of other pairs before the one backward pass."""
    encoder = tiny_encoder(family, dropout=0.2, attention_dropout=0.2)
    model = tiny_model(encoder=encoder, after_layer_output=after_layer_output).train()
    runs: list[int] = []
    for index, layer in enumerate(model.encoder.get_submodule(LAYERS.get(family, "encoder.layer"))):
        for linear in filter(lambda module: isinstance(module, nn.Linear), layer.modules()):
            linear.register_forward_hook(lambda *_, index=index: runs.append(index))

    def gradients() -> dict[str, Tensor]:
        torch.manual_seed(5)
        model.zero_grad()
        loss = sum(model(pairs, IDS, MASK, TARGETS).loss for pairs in ("ner#en", "pos#tr", PAIRS))
        runs.clear()
        loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    wanted = gradients()
    assert len(runs) == 0
    if switch == "ours":
        checkpoint_activations(model.encoder)
    else:  # by whichever name it has
        inner = model.encoder
        switched = getattr(inner, "activation_checkpointing_enable", None) or inner.gradient_checkpointing_enable
        switched({"use_reentrant": False})
    found = gradients()
    assert min(runs.count(0), runs.count(1)) >= 3, "every layer is run again for every pass"
    assert found.keys() == wanted.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_kept_layers_compute_what_they_did(family: str) -> None:
    encoder = tiny_encoder(family, layers=3)
    wanted = encoder(input_ids=IDS, attention_mask=MASK, output_hidden_states=True).hidden_states[2]
    unroll_shared_layers(encoder)
    keep_layers(encoder, 2)
    assert encoder.config.num_hidden_layers == 2
    assert len(encoder.get_submodule(LAYERS.get(family, "encoder.layer"))) == 2
    found = encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state
    norm = encoder.get_submodule(FINAL_NORM[family]) if family in FINAL_NORM else nn.Identity()
    torch.testing.assert_close(found, norm(wanted), atol=0, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_norms_are_all_norms_and_nothing_else(family: str) -> None:
    encoder = tiny_encoder(family)
    found = [id(parameter) for _, norm in norm_modules(encoder) for parameter in norm.parameters()]
    named = [id(parameter) for name, parameter in encoder.named_parameters() if re.search(r"norm|\bln\b", name.lower())]
    assert sorted(found) == sorted(named)
    assert len(named) >= 4


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_of_attention_is_switched_off_and_no_other(family: str) -> None:
    encoder = tiny_encoder(family, dropout=0.25, attention_dropout=0.5).train()

    def varies() -> bool:
        first, second = (encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state for _ in range(2))
        return not first.equal(second)

    def rates(*kinds: type) -> Iterator[tuple[Any, str]]:
        """Where dropout rates stand, as (holder, name)."""
        for module in encoder.modules():
            if isinstance(module, nn.Dropout) and nn.Dropout in kinds:
                yield module, "p"
            for name, value in vars(module).items():
                if "dropout" in name and isinstance(value, float) and float in kinds:
                    yield module, name

    unroll_shared_layers(encoder)
    before = [(holder, name, getattr(holder, name)) for holder, name in rates(nn.Dropout, float)]
    disable_attention_dropout(encoder)
    off = [name for holder, name, rate in before if rate and not getattr(holder, name)]
    assert len(off) == 2, "one a layer"
    for module in encoder.modules():
        if hasattr(module, "config"):
            module.config._attn_implementation = "eager"
    attentions = encoder(input_ids=IDS, attention_mask=MASK, output_attentions=True).attentions
    assert len(attentions) == 2
    for weights in attentions:
        ones = weights.sum(-1)[MASK[:, None].expand(-1, weights.shape[1], -1) == 1]
        torch.testing.assert_close(ones, torch.ones_like(ones))  # of weights after dropout
    assert varies() == (family != "eurobert"), "the other dropout stays; EuroBERT has none"
    for holder, name, _ in before:
        setattr(holder, name, 0.0)
    assert not varies(), "no rate was overlooked here"


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_the_longest_input_is_read_and_no_longer_one(family: str) -> None:
    encoder = tiny_encoder(family)
    longest = longest_input(encoder)
    offset = ("camembert", "data2vec-text", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl")
    wanted: dict[str, int | None] = dict.fromkeys(offset, 38)
    wanted |= dict.fromkeys(("deberta", "deberta-v2", "t5", "mt5", "umt5"))
    assert longest == wanted.get(family, 40)

    def read(length: int) -> None:
        ids, mask = tiny_batch([length], pad_id=1)
        encoder(input_ids=ids, attention_mask=mask)

    read(longest or 200)
    if longest is not None and family not in ROTARY:  # there it is a limit of training
        with pytest.raises((IndexError, RuntimeError)):
            read(longest + 1)


@pytest.mark.parametrize("family", sorted({*ONE_OF_EACH, "mt5", "umt5"}))
@torch.no_grad()
def test_a_checkpoint_is_loaded_around_the_encoder_of_a_local_folder(family: str, tmp_path: Path) -> None:
    """A folder as the hub has it: with a head, and of T5 with the decoder."""
    config = tiny_encoder(family, layers=3).config
    torch.manual_seed(3)
    whole = AutoModelForSeq2SeqLM if LAYOUTS[family].loads_as else AutoModelForMaskedLM
    whole.from_config(config).eval().save_pretrained(tmp_path / "encoder")
    tiny_tokenizer().save_pretrained(tmp_path / "encoder")
    loaded = load_encoder(tmp_path / "encoder")
    assert not any(name.startswith(("decoder", "lm_head", "pooler")) for name, _ in loaded.model.named_parameters())
    names = {"encoder": loaded.name, "encoder_hash": loaded.content_hash}
    model = HyperX(loaded.model, replace(tiny_model(head_layer=2).config, **names)).eval()
    randomise(model, seed=1)
    model.save_pretrained(tmp_path / "model")
    again = HyperX.from_pretrained(tmp_path / "model")
    assert again("ner#de", IDS, MASK).logits.equal(model("ner#de", IDS, MASK).logits)
    predictions = again.predict([["ab", "e"]], task="ner", language="en")
    assert predictions[0].words == ("ab", "e")
    assert len(predictions[0].labels["ner"]) == 2
    assert set(predictions[0].labels["ner"]) <= set(LABELS["ner"])
