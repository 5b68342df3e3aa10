"""Layouts beyond those of single families: shared layers, and families that are not in the table."""

from __future__ import annotations

import re

import pytest
import torch

from hyperx.encoders.families import (  # noqa: F401 (what the message names)
    LAYOUTS,
    EncoderLayout,
    adapter_points,
    encoder_layers,
    keep_layers,
    norm_modules,
    unroll_shared_layers,
)
from hyperx.errors import EncoderError
from tiny import tiny_batch, tiny_encoder, tiny_model

IDS, MASK = tiny_batch([6, 4], pad_id=1)


@pytest.mark.parametrize(("groups", "inner"), [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1)])
@torch.no_grad()
def test_shared_layers_are_unrolled_and_compute_what_they_did(groups: int, inner: int) -> None:
    encoder = tiny_encoder("albert", layers=4, num_hidden_groups=groups, inner_group_num=inner)
    outputs = encoder(input_ids=IDS, attention_mask=MASK, output_hidden_states=True)
    names = set(dict(encoder.named_parameters()))
    unroll_shared_layers(encoder)
    layers = encoder_layers(encoder)
    assert len(layers) == len(set(layers)) == len(outputs.hidden_states) - 1 == 4 * inner
    unroll_shared_layers(encoder)
    assert encoder_layers(encoder) is layers, "once is enough"
    assert len(list(encoder.parameters())) == len(names), "the uses of a layer share its parameters"
    assert len(set(adapter_points(encoder, after_layer_output=False))) == 4 * inner
    assert encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state.equal(outputs.last_hidden_state)
    keep_layers(encoder, 3)
    assert encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state.equal(outputs.hidden_states[3])


def test_every_parameter_of_shared_norms_is_named_once() -> None:
    model = tiny_model(encoder=tiny_encoder("albert", layers=3))
    names = [name for name, _ in norm_modules(model.encoder)]
    assert names == [
        "embeddings.LayerNorm",
        "encoder.albert_layer_groups.0.albert_layers.0.full_layer_layer_norm",
        "encoder.albert_layer_groups.0.albert_layers.0.attention.LayerNorm",
    ]
    trained = {name for name in model.trained_names() if name.startswith("encoder.")}
    assert trained == {f"encoder.{name}.{kind}" for name in names for kind in ("weight", "bias")}


def test_the_message_about_an_unknown_family_can_be_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tiny_encoder("luke", entity_vocab_size=5)
    with pytest.raises(EncoderError) as caught:
        tiny_model(encoder=encoder)
    message = str(caught.value)
    assert message.startswith("encoders of type 'luke' are not known, only albert, bert, ")
    assert "\n" not in message
    assert "encoder.layer with the modules attention, " in message
    entry = re.search(r"write (LAYOUTS\S+ = EncoderLayout\(.*?\))", message)[1]
    assert "output.dropout" in message
    monkeypatch.setitem(LAYOUTS, "luke", None)
    exec(entry.replace("PATH.INSIDE.A.LAYER", "output.dropout"))
    plain = encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state
    assert not torch.allclose(tiny_model(encoder=encoder)("ner#en", IDS, MASK).hidden, plain, atol=1e-2)
