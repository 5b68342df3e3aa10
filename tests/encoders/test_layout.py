"""Where things are inside the encoders of every known family."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModel, ElectraConfig, ElectraModel

from hyperx.encoders.layout import (
    LAYOUTS,
    adapter_points,
    disable_attention_dropout,
    encoder_layers,
    keep_layers,
    layout_of,
    norm_modules,
)
from hyperx.errors import EncoderError
from tiny import tiny_batch, tiny_encoder

FAMILIES = sorted(LAYOUTS)


def test_unknown_family_is_named_with_those_known() -> None:
    config = ElectraConfig(
        vocab_size=10, embedding_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    with pytest.raises(EncoderError, match=r"'electra' are not known; known are bert, distilbert, roberta, xlm-rob"):
        layout_of(ElectraModel(config))


@pytest.mark.parametrize("family", FAMILIES)
def test_feed_forward_point_ends_the_block(family: str) -> None:
    """What comes out there, plus the block's input, normed, is the layer's output."""
    encoder = tiny_encoder(family)
    ids, mask = tiny_batch([6])
    points = adapter_points(encoder, after_layer_output=False)
    layers = adapter_points(encoder, after_layer_output=True)
    assert layers == list(encoder_layers(encoder))
    assert len(points) == len(layers) == 2
    seen: dict[str, torch.Tensor] = {}
    norms = {"distilbert": ("sa_layer_norm", "output_layer_norm")}
    first, last = norms.get(family, ("attention.output.LayerNorm", "output.LayerNorm"))
    watched = {
        "block": points[1],
        "layer": layers[1],
        "input": layers[1].get_submodule(first),
        "norm": layers[1].get_submodule(last),
    }
    for name, module in watched.items():
        module.register_forward_hook(lambda _module, _inputs, output, name=name: seen.__setitem__(name, output))
    with torch.no_grad():
        encoder(input_ids=ids, attention_mask=mask)
        torch.testing.assert_close(watched["norm"](seen["block"] + seen["input"]), seen["layer"])


@pytest.mark.parametrize("family", FAMILIES)
def test_kept_layers_compute_what_they_did(family: str) -> None:
    encoder = tiny_encoder(family, layers=3)
    ids, mask = tiny_batch([6, 4], pad_id=1)
    with torch.no_grad():
        wanted = encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[2]
        keep_layers(encoder, 2)
        assert encoder.config.num_hidden_layers == 2
        assert encoder(input_ids=ids, attention_mask=mask).last_hidden_state.equal(wanted)


@pytest.mark.parametrize("family", FAMILIES)
def test_norms_are_all_norms_and_nothing_else(family: str) -> None:
    encoder = tiny_encoder(family)
    names = [name for name, _ in norm_modules(encoder)]
    assert len(names) == len(set(names)) == 1 + 2 * 2
    assert all(isinstance(module, torch.nn.LayerNorm) for _, module in norm_modules(encoder))
    assert {id(module) for module in encoder.modules() if isinstance(module, torch.nn.LayerNorm)} == {
        id(module) for _, module in norm_modules(encoder)
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_of_attention_is_switched_off(family: str) -> None:
    config = tiny_encoder(family).config
    for name in ("attention_probs_dropout_prob", "attention_dropout"):
        if hasattr(config, name):
            setattr(config, name, 0.5)
    for name in ("hidden_dropout_prob", "dropout"):
        if hasattr(config, name):
            setattr(config, name, 0.25)
    encoder = AutoModel.from_config(config).train()
    ids, mask = tiny_batch([6, 4])

    def run() -> torch.Tensor:
        return encoder(input_ids=ids, attention_mask=mask).last_hidden_state

    disable_attention_dropout(encoder)
    assert not torch.equal(run(), run()), "the other dropout stays"
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout) and module.p == 0.25:
            module.p = 0.0
    assert torch.equal(run(), run())
