"""The masked-LM heads that encoders come with: a dense layer, a norm and a bias over the tied word embeddings."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import safe_open
from torch import Tensor

from hyperx.encoders.families import LAYOUTS, MaskedLMNames
from hyperx.files import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from hyperx.encoders.bert import BertConfig
    from hyperx.encoders.families import Encoder

SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME = "model.safetensors", "model.safetensors.index.json"
log = logging.getLogger(__name__)


def head_form(config: PreTrainedConfig | BertConfig) -> tuple[str, float]:
    """Activation name and norm epsilon of the masked-LM head of an encoder, its own or a new one."""
    layout = LAYOUTS.get(config.model_type)
    names = (layout and layout.masked_lm) or MaskedLMNames("", "", "")
    activation = "gelu" if names.activation is None else getattr(config, names.activation)
    epsilon = names.epsilon
    return activation, epsilon if isinstance(epsilon, float) else getattr(config, epsilon, 1e-12)


def read_masked_lm(folder: Path, encoder: Encoder) -> dict[str, Tensor] | None:
    """The masked-LM head stored with the weights in an encoder's folder: ``dense.weight [E, h]``, ``dense.bias``,
    ``norm.weight``, ``norm.bias [E]`` and ``bias [V]``; zeros for biases that the head lacks. None if the head is
    missing, or its output weights are not the embeddings."""
    names = LAYOUTS[encoder.config.model_type].masked_lm
    if names is None:
        return None
    if (folder / SAFE_WEIGHTS_INDEX_NAME).is_file():
        files = read_json(folder / SAFE_WEIGHTS_INDEX_NAME, dict[str, Any])["weight_map"]
    else:
        with safe_open(folder / SAFE_WEIGHTS_NAME, "pt") as weights:
            files = dict.fromkeys(weights.keys(), SAFE_WEIGHTS_NAME)

    def read(*candidates: str) -> Tensor | None:
        """The first of these tensors that is there."""
        name = next((name for name in candidates if name in files), None)
        if name is None:
            return None
        with safe_open(folder / files[name], "pt") as weights:
            return cast(Tensor, weights.get_tensor(name).float())

    embeddings = cast(Tensor, encoder.get_input_embeddings().weight)
    vocabulary, width = embeddings.shape
    scope = names.decoder.rpartition(".")[0]
    # Our name of each part -> its shape, and its names; the oldest weights of BERT have TensorFlow's.
    parts: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
        "dense.weight": ((width, encoder.config.hidden_size), (f"{names.dense}.weight",)),
        "dense.bias": ((width,), (f"{names.dense}.bias",)),
        "norm.weight": ((width,), (f"{names.norm}.weight", f"{names.norm}.gamma")),
        "norm.bias": ((width,), (f"{names.norm}.bias", f"{names.norm}.beta")),
        "bias": ((vocabulary,), (f"{scope}.bias", f"{names.decoder}.bias")),
    }
    head, decoder = {}, read(f"{names.decoder}.weight")
    unfit = list[str]()
    for part, (shape, candidates) in parts.items():
        stored = read(*candidates)
        if stored is None and part.endswith("weight"):
            return None
        head[part] = torch.zeros(shape) if stored is None else stored
        if head[part].shape != shape:
            unfit.append(part)
    if decoder is not None and not (decoder.shape == embeddings.shape and decoder.equal(embeddings)):
        unfit.append("output weights")
    if unfit:
        what = ", ".join(unfit)
        log.warning("%s: the masked-LM head does not fit the word embeddings (%s), and is not used", folder, what)
    return None if unfit else head
