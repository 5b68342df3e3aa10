"""The configuration and the tokenizer of a published run's encoder, which are not among its weights."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from hyperx import checkpoint
from hyperx.encoders.loading import encoder_folder, has_tokenizer, load_tokenizer
from hyperx.errors import CheckpointError, EncoderError
from hyperx.published.run import PublishedRun
from hyperx.published.weights import weights_path

log = logging.getLogger(__name__)

LAYERS_LIMIT = 1000
CONFIGURATION = "config.json"
CONFIGURATION_LIMIT = 1 << 20

_FIXED = {"model_type": "bert", "position_embedding_type": "absolute", "is_decoder": False}
_ADMITTED = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size",
    "initializer_range", "layer_norm_eps", "pad_token_id",
)  # fmt: skip
# Settings that change the outputs but not the shapes of the weights.
UNSEEN = ("num_attention_heads", "hidden_act", "layer_norm_eps")


@dataclass(frozen=True, slots=True)
class Description:
    """What is needed of the encoder apart from its weights.

    Args:
        config: its configuration.
        tokenizer: its tokenizer; None if it cannot be found.
        named: the encoder's name; None if it is not known.
    """

    config: BertConfig
    tokenizer: PreTrainedTokenizerFast | None
    named: str | None


def describe_encoder(folder: Path, run: PublishedRun, name: str | None) -> Description:
    """The encoder's configuration and tokenizer, each from the first of these places that has it: the encoder that
    ``name`` gives, the checkpoint's own folders, the encoder that the run's arguments name.

    Args:
        folder: the published checkpoint.
        run: its arguments.
        name: the encoder that it started from, if its arguments name it differently.

    Raises:
        CheckpointError: if there is no configuration, it is not of a BERT, or the tokenizer has too many subwords.
        EncoderError: if ``name`` cannot be found.
    """
    places = [folder, *(weights_path(folder, task).parent for task in run.tasks)]
    reason = "no folder has the files of one"
    if name is not None:
        places.insert(0, encoder_folder(name, weights=False))
    elif not (any(map(_has_config, places)) and any(map(has_tokenizer, places))):
        try:
            places.append(_named_folder(run.encoder))
            log.info("configuration and tokenizer are those of %s, which the run's arguments name", run.encoder)
        except EncoderError as error:
            reason = str(error)
    config = _read_config(folder, next(filter(_has_config, places), None), reason)
    tokenizer = None
    if found := next(filter(has_tokenizer, places), None):
        try:
            tokenizer = load_tokenizer(found)
        except EncoderError as error:
            reason = str(error)
    _check_tokenizer(tokenizer, config, reason)
    return Description(config, tokenizer, name or run.encoder)


def _has_config(folder: Path) -> bool:
    return (folder / CONFIGURATION).is_file()


def _named_folder(name: str | None) -> Path:
    if name is None:
        raise EncoderError("the run's arguments name no encoder")
    return encoder_folder(name, weights=False)


def _read_config(folder: Path, place: Path | None, reason: str) -> BertConfig:
    """The configuration without the arguments that the published program adds to it."""
    if place is None:
        raise CheckpointError(
            f"{folder} has no {CONFIGURATION} of its encoder, and none is to be had elsewhere ({reason}). Name the "
            "encoder that the run started from with --model_name_or_path, a local folder or a model of the hub"
        )
    path = place / CONFIGURATION
    if path.stat().st_size > CONFIGURATION_LIMIT:
        raise CheckpointError(f"{path}: expected an encoder's configuration; found {path.stat().st_size:,} bytes")
    value = checkpoint.read_json(path, dict[str, Any])
    if any(value.get(name, wanted) != wanted for name, wanted in _FIXED.items()):
        wanted = ", ".join(f"{name} {value!r}" for name, value in _FIXED.items())
        raise CheckpointError(f"{path}: expected the configuration of an encoder with {wanted}; it is of another one")
    try:
        config = BertConfig(**{name: value[name] for name in _ADMITTED if name in value}, architectures=["BertModel"])
        if not 1 <= config.num_hidden_layers <= LAYERS_LIMIT:
            raise ValueError(f"expected 1 to {LAYERS_LIMIT} layers")
        shape_of(config)
    except Exception as error:  # the library raises many kinds for values that it cannot use
        raise CheckpointError(f"{path} does not describe a BERT encoder: {' '.join(str(error).split())}") from None
    return config


def shape_of(config: BertConfig) -> BertModel:
    """An encoder with shapes but no weights, so that no file can make it allocate memory."""
    with torch.device("meta"):
        return BertModel(config, add_pooling_layer=False)


def _check_tokenizer(tokenizer: PreTrainedTokenizerFast | None, config: BertConfig, reason: str) -> None:
    if tokenizer is None:
        log.warning(
            "no tokenizer could be had (%s): the model can run on subword ids, but not read text. Name the encoder "
            "that the run started from with --model_name_or_path, or put its tokenizer's files into the checkpoint's "
            "folder encoder/",
            reason,
        )
    elif len(tokenizer) > config.vocab_size:
        raise CheckpointError(
            f"the tokenizer has {len(tokenizer):,} subwords and the encoder {config.vocab_size:,}: it is another "
            "encoder's. Name the encoder that the run started from with --model_name_or_path"
        )
    elif len(tokenizer) < config.vocab_size:
        log.warning(
            "the tokenizer has %s subwords and the encoder %s: see that it is the encoder's own",
            f"{len(tokenizer):,}", f"{config.vocab_size:,}",
        )  # fmt: skip
