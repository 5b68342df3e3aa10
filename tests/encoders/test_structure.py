"""Encoders without an entry in the table: their structure gives the layout, or they are refused with advice."""

from __future__ import annotations

import copy
import logging
import re

import pytest
import torch
from adapted import weights_of, with_adapters
from torch import nn

from hyperx.encoders.families import LAYOUTS, EncoderLayout
from hyperx.encoders.layout import layout_of, longest_input
from hyperx.encoders.structure import layout_by_structure
from hyperx.errors import EncoderError
from tiny import tiny_batch, tiny_encoder, tiny_model

IDS, MASK = tiny_batch([7, 4], pad_id=1)
POST = ("encoder.layer", "output.dropout", None)
PRE = ("encoder.layer", "output.dropout", "LayerNorm")


def places(layout: EncoderLayout) -> tuple[str, str, str | None]:
    return layout.layers, layout.feed_forward, layout.final_norm


@pytest.mark.parametrize("family", sorted(set(LAYOUTS) - {"albert", "umt5", "xlm"}))
@pytest.mark.parametrize("frozen", [True, False])
def test_structure_and_table_agree(family: str, frozen: bool) -> None:
    encoder = tiny_encoder(family).requires_grad_(not frozen).train()
    assert places(layout_by_structure(encoder)) == places(LAYOUTS[family])
    assert encoder.training
    hooks = [module for module in encoder.modules() if module._forward_hooks or module._forward_pre_hooks]
    assert not hooks


@pytest.mark.parametrize(
    ("family", "wanted"),
    [
        ("ernie", POST),
        ("data2vec-text", POST),
        ("roc_bert", POST),
        ("nystromformer", POST),
        ("megatron-bert", ("encoder.layer", "output.dropout", "encoder.ln")),
        ("roberta-prelayernorm", PRE),
    ],
)
def test_other_families_work_by_their_structure(
    family: str, wanted: tuple[str, str, str | None], caplog: pytest.LogCaptureFixture
) -> None:
    encoder = tiny_encoder(family)
    with caplog.at_level(logging.INFO):
        layout = layout_of(encoder)
    assert places(layout) == wanted
    assert "their feed-forward blocks end at output.dropout" in caplog.text
    plain = copy.deepcopy(encoder)
    model = tiny_model(encoder=encoder)
    plain.load_state_dict(model.encoder.state_dict())  # the norms were changed
    oracle = with_adapters(plain, family, weights_of(model), after=False)
    wanted = oracle(input_ids=IDS, attention_mask=MASK).last_hidden_state
    torch.testing.assert_close(model("ner#en", IDS, MASK).hidden, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("family", "problem"),
    [
        ("bart", "the model has a decoder too"),
        ("flaubert", "expected one list of 2 layers, found attentions, layer_norm1, ffns, layer_norm2"),
        ("fnet", "padding changes what it makes of the subwords"),
        ("luke", "something other than a norm comes after the last residual sum"),
        ("mobilebert", "adds last to the residual mixes positions"),
        ("xmod", "it does not run on subword ids and an attention mask alone"),
    ],
)
def test_unclear_structures_are_refused_with_advice(family: str, problem: str) -> None:
    with pytest.raises(EncoderError, match=re.escape(problem)) as caught:
        layout_by_structure(tiny_encoder(family, **({"entity_vocab_size": 5} if family == "luke" else {})))
    advice = str(caught.value)
    assert advice.startswith(f"encoders of type {family!r} are not in the table (which has albert, bert, ")
    assert f"LAYOUTS[{family!r}] = EncoderLayout(layers=" in advice
    assert "\n" not in advice


def test_a_decoder_is_refused_without_advice() -> None:
    with pytest.raises(EncoderError, match="are no encoders: its first subword does not see the last one") as caught:
        layout_by_structure(tiny_encoder("gpt2"))
    assert "EncoderLayout" not in str(caught.value)


def test_advice_names_the_modules_of_a_layer() -> None:
    with pytest.raises(
        EncoderError, match=r'layers="encoder\.layer", .* the modules of a layer are attention, .*output\.d'
    ):
        layout_by_structure(tiny_encoder("xmod"))


def test_advice_can_be_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """LUKE adds states of entities to its layers' output: the rule is careful, the user knows."""
    monkeypatch.setitem(LAYOUTS, "luke", EncoderLayout(layers="encoder.layer", feed_forward="output.dropout"))
    encoder = tiny_encoder("luke", entity_vocab_size=5)
    plain = encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state
    assert not torch.allclose(tiny_model(encoder=encoder)("ner#en", IDS, MASK).hidden, plain, atol=1e-2)


def test_blocks_that_end_at_different_modules_are_refused() -> None:
    encoder = tiny_encoder("ernie")
    encoder.encoder.layer[1].output.dropout = nn.Sequential(nn.Sequential(nn.Identity(), nn.Tanh()))
    del encoder.encoder.layer[0].output.dropout
    encoder.encoder.layer[0].output.dropout = lambda states: states
    with pytest.raises(EncoderError, match=r"feed-forward blocks end at different modules: output.dense, output.drop"):
        layout_by_structure(encoder)


@torch.no_grad()
def test_limits_of_positions_are_found() -> None:
    assert longest_input(tiny_encoder("ernie")) == 40
    assert longest_input(tiny_encoder("data2vec-text")) == 38
    assert longest_input(tiny_encoder("nystromformer")) == 40
    assert longest_input(tiny_encoder("ibert")) == 38
