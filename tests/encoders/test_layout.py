"""Layouts beyond those of single families: shared layers, and families that are not in the table."""

from __future__ import annotations

import pytest
import torch

from hyperx.encoders import layout
from hyperx.encoders.layout import adapter_points, encoder_layers, keep_layers, layout_of, norm_modules
from tiny import tiny_batch, tiny_encoder, tiny_model

IDS, MASK = tiny_batch([6, 4], pad_id=1)


@pytest.mark.parametrize(("groups", "inner"), [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1)])
@torch.no_grad()
def test_shared_layers_are_unrolled_and_compute_what_they_did(groups: int, inner: int) -> None:
    encoder = tiny_encoder("albert", layers=4, num_hidden_groups=groups, inner_group_num=inner)
    outputs = encoder(input_ids=IDS, attention_mask=MASK, output_hidden_states=True)
    names = set(dict(encoder.named_parameters()))
    layers = encoder_layers(encoder)
    assert len(layers) == len(set(layers)) == len(outputs.hidden_states) - 1 == 4 * inner
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


def test_an_untabled_encoder_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tiny_encoder("ernie")
    found = layout_of(encoder)
    monkeypatch.setattr(layout, "layout_by_structure", None)
    assert layout_of(encoder) is found
