"""The heads that encoders come with, against the logits of the Hugging Face library's own models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForMaskedLM, PreTrainedModel

from hyperx.encoders.families import LAYOUTS
from hyperx.encoders.masked_lm import head_form, read_masked_lm
from hyperx.tasks.base import HeadFacts, HeadInput
from hyperx.tasks.masking import MaskedLMHead
from tiny import tiny_batch, tiny_bert

SHAPE = {
    "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 40, "pad_token_id": 1, "embedding_size": 16, "dim": 32, "n_layers": 2, "n_heads": 4,
    "hidden_dim": 64, "layer_norm_eps": 1e-2, "norm_eps": 1e-2, "bos_token_id": None, "eos_token_id": None,
    "cls_token_id": None, "sep_token_id": None,
}  # fmt: skip
"""Sizes under the names of all families; the norms' epsilon is one that can be seen."""


def masked_lm(family: str, *, seed: int = 0, **options: object) -> PreTrainedModel:
    """A random model of a family with its masked-LM head, no weight of which is at its start."""
    if family not in CONFIG_MAPPING:
        pytest.skip(f"the installed transformers does not know {family}")
    usual = AutoConfig.for_model(family)
    known = {name: value for name, value in SHAPE.items() if hasattr(usual, name)}
    torch.manual_seed(seed)
    model = AutoModelForMaskedLM.from_config(AutoConfig.for_model(family, **{**known, **options}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model.eval()


def own_head(model: PreTrainedModel, folder: Path) -> MaskedLMHead:
    """Our head with the weights that the model's folder holds."""
    model.save_pretrained(folder)
    encoder = model.base_model
    embeddings = encoder.get_input_embeddings().weight
    activation, epsilon = head_form(encoder.config)
    head = MaskedLMHead(
        HeadFacts(
            hidden_size=encoder.config.hidden_size,
            embedding_size=embeddings.shape[1],
            vocabulary_size=len(embeddings),
            activation=activation,
            norm_epsilon=epsilon,
        )
    )
    found = read_masked_lm(folder, encoder)
    assert found is not None
    head.load_state_dict(found)
    return head


# The published weights of DeBERTa have the head that the library does not write by default.
FAMILIES = [
    pytest.param(family, {"legacy": False} if "deberta" in family else {}, id=family)
    for family, layout in LAYOUTS.items()
    if layout.masked_lm
]
VARIANTS = [
    ("albert", {"embedding_size": 16}),
    ("electra", {"embedding_size": 16}),
    ("modernbert", {"classifier_bias": True, "norm_bias": True}),
    ("modernbert", {"classifier_bias": False, "norm_bias": False}),
    ("bert", {"hidden_act": "relu"}),
    ("xlm-roberta", {"hidden_act": "relu"}),
    ("distilbert", {"activation": "relu"}),
]


@pytest.mark.parametrize(("family", "options"), [*FAMILIES, *VARIANTS])
@torch.no_grad()
def test_logits_are_those_of_the_library(family: str, options: dict[str, object], tmp_path: Path) -> None:
    model = masked_lm(family, **options)
    ids, mask = tiny_batch([7, 5], pad_id=1)
    encoder = model.base_model
    hidden = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    wanted = model(input_ids=ids, attention_mask=mask).logits
    head, embeddings = own_head(model, tmp_path), encoder.get_input_embeddings().weight
    assert head.dense.weight.shape == (options.get("embedding_size", embeddings.shape[1]), 32)
    logits = head(HeadInput(hidden, None, embeddings))
    torch.testing.assert_close(logits[mask.bool()], wanted[mask.bool()], rtol=1e-5, atol=1e-5)


def test_old_names_of_norms_and_weights_in_several_files(tmp_path: Path) -> None:
    model = masked_lm("bert")
    head = own_head(model, tmp_path / "one").state_dict()
    path = tmp_path / "one" / "model.safetensors"
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    tensors = load_file(path)
    for new, name in old.items():
        tensors = {key.replace(new, name): tensor for key, tensor in tensors.items()}
    save_file(tensors, path, metadata={"format": "pt"})
    model.save_pretrained(tmp_path / "many", max_shard_size=4000)
    assert len(list((tmp_path / "many").glob("model-*.safetensors"))) > 1
    for folder in ("one", "many"):
        found = read_masked_lm(tmp_path / folder, model.base_model)
        assert found is not None
        assert all(found[name].equal(tensor) for name, tensor in head.items())


def test_an_encoder_alone_has_no_head(tmp_path: Path) -> None:
    encoder = tiny_bert()
    encoder.save_pretrained(tmp_path)
    assert read_masked_lm(tmp_path, encoder) is None
    assert head_form(encoder.config) == ("gelu", 1e-12)


def test_heads_that_do_not_fit_the_embeddings_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They would be trained for other weights than they are used with."""
    model = masked_lm("bert", tie_word_embeddings=False)
    model.save_pretrained(tmp_path / "own")
    assert "cls.predictions.decoder.weight" in load_file(tmp_path / "own" / "model.safetensors")
    assert read_masked_lm(tmp_path / "own", model.base_model) is None
    assert "does not fit the word embeddings (output weights)" in caplog.text
    model = masked_lm("bert")
    model.save_pretrained(tmp_path / "other")
    model.base_model.resize_token_embeddings(61)
    assert read_masked_lm(tmp_path / "other", model.base_model) is None
    assert "does not fit the word embeddings (bias" in caplog.text
