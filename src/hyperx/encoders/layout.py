"""Where things are inside the encoders of the Hugging Face library: one line a family, all else is generic."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from hyperx.errors import EncoderError, did_you_mean


@dataclass(frozen=True, slots=True)
class EncoderLayout:
    """Where one family of encoders keeps its layers.

    Args:
        layers: path of the list of layers inside the model.
        feed_forward: path, inside a layer, of the module whose output is the feed-forward block's, after its
            dropout and before the residual sum and the layer norm.
    """

    layers: str
    feed_forward: str


LAYOUTS = {
    "bert": EncoderLayout(layers="encoder.layer", feed_forward="output.dropout"),
    "roberta": EncoderLayout(layers="encoder.layer", feed_forward="output.dropout"),
    "xlm-roberta": EncoderLayout(layers="encoder.layer", feed_forward="output.dropout"),
    "distilbert": EncoderLayout(layers="transformer.layer", feed_forward="ffn"),
}
"""Layouts by the model type that an encoder's configuration names."""


def layout_of(encoder: PreTrainedModel) -> EncoderLayout:
    """The layout of an encoder's family.

    Raises:
        EncoderError: where the family is not in :data:`LAYOUTS`.
    """
    family = encoder.config.model_type
    if family not in LAYOUTS:
        raise EncoderError(
            f"encoders of type {family!r} are not known; known are {', '.join(sorted(LAYOUTS))}."
            f"{did_you_mean(family, LAYOUTS)} To add one, give its layers and its feed-forward block a line in "
            "hyperx.encoders.layout.LAYOUTS"
        )
    return LAYOUTS[family]


def encoder_layers(encoder: PreTrainedModel) -> nn.ModuleList:
    """The encoder's layers, first to last."""
    layers = encoder.get_submodule(layout_of(encoder).layers)
    assert isinstance(layers, nn.ModuleList)
    return layers


def adapter_points(encoder: PreTrainedModel, *, after_layer_output: bool) -> list[nn.Module]:
    """The module of each layer on whose output the adapter works (Hyper-X, section 2).

    Args:
        encoder: any encoder whose family has a layout.
        after_layer_output: adapt the output of the whole layer, not of its feed-forward block.
    """
    if after_layer_output:
        return list(encoder_layers(encoder))
    path = layout_of(encoder).feed_forward
    return [layer.get_submodule(path) for layer in encoder_layers(encoder)]


def keep_layers(encoder: PreTrainedModel, count: int) -> None:
    """Drop the layers above the first ``count``, in place: what no head reads is not computed."""
    del encoder_layers(encoder)[count:]
    encoder.config.num_hidden_layers = count


def disable_attention_dropout(encoder: PreTrainedModel) -> None:
    """Switch off the dropout of attention weights, in place; all other dropout stays.

    With it, most attention kernels must keep the whole matrix of weights for the backward pass.
    """
    for module in encoder.modules():
        if "attention" in type(module).__name__.lower():
            for child in module.children():
                if isinstance(child, nn.Dropout):
                    child.p = 0.0


def norm_modules(encoder: PreTrainedModel) -> Iterator[tuple[str, nn.Module]]:
    """Every layer norm of the encoder with its name: the part of it that Hyper-X trains."""
    for name, module in encoder.named_modules():
        if re.search(r"norm", type(module).__name__, re.IGNORECASE) and any(True for _ in module.parameters(False)):
            yield name, module
