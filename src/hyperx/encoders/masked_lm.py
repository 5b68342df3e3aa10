"""The masked-LM heads that encoders come with: a dense layer, a norm and a bias over the tied word embeddings."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from safetensors import safe_open
from torch import Tensor
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedLMNames:
    """The names of the weights of one family's masked-LM head.

    Args:
        dense: name of the dense layer.
        norm: name of the norm.
        bias: names of the output bias, of which the first that is found is used.
        decoder: name of the output weights, which are the word embeddings.
        activation: the field of the configuration that names the activation; None if it is always gelu.
        epsilon: the field with the norm's epsilon, or the number itself.
    """

    dense: str
    norm: str
    bias: tuple[str, ...]
    decoder: str
    activation: str | None = None
    epsilon: str | float = "layer_norm_eps"


_BERT = MaskedLMNames(
    dense="cls.predictions.transform.dense",
    norm="cls.predictions.transform.LayerNorm",
    bias=("cls.predictions.bias", "cls.predictions.decoder.bias"),
    decoder="cls.predictions.decoder.weight",
    activation="hidden_act",
)
_ROBERTA = MaskedLMNames(
    dense="lm_head.dense",
    norm="lm_head.layer_norm",
    bias=("lm_head.bias", "lm_head.decoder.bias"),
    decoder="lm_head.decoder.weight",
)
_ELECTRA = MaskedLMNames(
    dense="generator_predictions.dense",
    norm="generator_predictions.LayerNorm",
    bias=("generator_lm_head.bias",),
    decoder="generator_lm_head.weight",
)
_DEBERTA = replace(
    _BERT,
    dense="lm_predictions.lm_head.dense",
    norm="lm_predictions.lm_head.LayerNorm",
    bias=("lm_predictions.lm_head.bias",),
    decoder="lm_predictions.lm_head.decoder.weight",
)

MASKED_LM_NAMES: dict[str, tuple[MaskedLMNames, ...]] = {
    "albert": (
        MaskedLMNames(
            dense="predictions.dense",
            norm="predictions.LayerNorm",
            bias=("predictions.bias", "predictions.decoder.bias"),
            decoder="predictions.decoder.weight",
            activation="hidden_act",
        ),
    ),
    "bert": (_BERT,),
    "camembert": (_ROBERTA,),
    "convbert": (_ELECTRA,),
    # The Hugging Face library writes the first by default, and calls it legacy; the published weights have the second.
    "deberta": (_BERT, _DEBERTA),
    "deberta-v2": (_BERT, _DEBERTA),
    "distilbert": (
        MaskedLMNames(
            dense="vocab_transform",
            norm="vocab_layer_norm",
            bias=("vocab_projector.bias",),
            decoder="vocab_projector.weight",
            activation="activation",
            epsilon=1e-12,
        ),
    ),
    "electra": (_ELECTRA,),
    "ernie": (_BERT,),
    "gte": (replace(_ROBERTA, norm="lm_head.norm"),),
    "megatron-bert": (_BERT,),
    "modernbert": (
        MaskedLMNames(
            dense="head.dense",
            norm="head.norm",
            bias=("decoder.bias",),
            decoder="decoder.weight",
            activation="classifier_activation",
            epsilon="norm_eps",
        ),
    ),
    "mpnet": (_ROBERTA,),
    "nomic_bert": (replace(_BERT, norm="cls.predictions.transform.layer_norm"),),
    "roberta": (_ROBERTA,),
    "roberta-prelayernorm": (_ROBERTA,),
    "roformer": (_BERT,),
    "xlm-roberta": (_ROBERTA,),
    "xlm-roberta-xl": (_ROBERTA,),
}
"""By model type, the possible names of a head of this form. Families whose output weights are not their word
embeddings, or that have no such dense layer, are left out: they get a new head."""


def head_form(config: PreTrainedConfig) -> tuple[str, float]:
    """Activation name and norm epsilon of the masked-LM head of an encoder, its own or a new one."""
    names = MASKED_LM_NAMES.get(config.model_type, (_ROBERTA,))[0]
    activation = "gelu" if names.activation is None else getattr(config, names.activation)
    epsilon = names.epsilon if isinstance(names.epsilon, float) else getattr(config, names.epsilon, 1e-12)
    return activation, epsilon


def read_masked_lm(folder: Path, encoder: PreTrainedModel) -> dict[str, Tensor] | None:
    """The masked-LM head stored with an encoder's weights, if there is one.

    Args:
        folder: the encoder's folder.
        encoder: the encoder itself.

    Returns:
        ``dense.weight [E, h]``, ``dense.bias``, ``norm.weight``, ``norm.bias [E]`` and ``bias [V]``; zeros for biases
        that the head lacks. None if the head is missing, or its output weights are not the embeddings.
    """
    places = _places(folder)
    for names in MASKED_LM_NAMES.get(encoder.config.model_type, ()):
        found = {ours: theirs for ours, theirs in _found(names, places).items() if theirs is not None}
        if {"dense.weight", "norm.weight"} <= found.keys():
            return _checked(_read(places, found), encoder, folder)
    return None


def _places(folder: Path) -> dict[str, Path]:
    """The file of every tensor."""
    if (folder / SAFE_WEIGHTS_INDEX_NAME).is_file():
        index = json.loads((folder / SAFE_WEIGHTS_INDEX_NAME).read_text(encoding="utf-8"))["weight_map"]
        return {name: folder / file for name, file in index.items()}
    with safe_open(folder / SAFE_WEIGHTS_NAME, "pt") as file:
        return dict.fromkeys(file.keys(), folder / SAFE_WEIGHTS_NAME)


def _found(names: MaskedLMNames, places: Mapping[str, Path]) -> dict[str, str | None]:
    """Our name of each part of the head -> its name among the weights."""

    def first(*candidates: str) -> str | None:
        return next((name for name in candidates if name in places), None)

    return {
        "dense.weight": first(f"{names.dense}.weight"),
        "dense.bias": first(f"{names.dense}.bias"),
        # The oldest BERT weights have their TensorFlow names.
        "norm.weight": first(f"{names.norm}.weight", f"{names.norm}.gamma"),
        "norm.bias": first(f"{names.norm}.bias", f"{names.norm}.beta"),
        "bias": first(*names.bias),
        "decoder": first(names.decoder),
    }


def _read(places: Mapping[str, Path], names: Mapping[str, str]) -> dict[str, Tensor]:
    tensors = {}
    for ours, theirs in names.items():
        with safe_open(places[theirs], "pt") as file:
            tensors[ours] = file.get_tensor(theirs).float()
    return tensors


def _checked(head: dict[str, Tensor], encoder: PreTrainedModel, folder: Path) -> dict[str, Tensor] | None:
    """The head, with zeros for the biases that it lacks; None if it does not fit the encoder."""
    embeddings = cast(Tensor, encoder.get_input_embeddings().weight)
    decoder = head.pop("decoder", embeddings)
    vocabulary, width = embeddings.shape
    shapes = {
        "dense.weight": (width, encoder.config.hidden_size),
        "dense.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "bias": (vocabulary,),
    }
    whole = {name: head.get(name, torch.zeros(shape)) for name, shape in shapes.items()}
    unfit = [name for name, shape in shapes.items() if whole[name].shape != shape]
    if not unfit and decoder.shape == embeddings.shape and torch.equal(decoder, embeddings):
        return whole
    what = ", ".join(unfit) or "output weights"
    log.warning("%s: the masked-LM head does not fit the word embeddings (%s), and is not used", folder, what)
    return None
