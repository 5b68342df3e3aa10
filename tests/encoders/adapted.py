"""The oracle of where adapters are: the plain encoder in which a module is followed by an adapter of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CONFIG_MAPPING, PreTrainedModel

from hyperx.encoders.families import LAYOUTS
from hyperx.method.adapter import AdapterWeights
from hyperx.model import HyperX
from hyperx.pairs import TaskLanguagePair

LAST_LINEAR = {
    "albert": "albert_layers.0.ffn_output", "distilbert": "ffn.lin2", "modernbert": "mlp.Wo",
    **dict.fromkeys(("eurobert", "gte", "nomic_bert"), "mlp.down_proj"), "jina_embeddings_v3": "mlp.fc2",
    **dict.fromkeys(("mt5", "t5", "umt5"), "layer.1.DenseReluDense.wo"),
}  # fmt: skip
"""The last linear map of a feed-forward block, inside a layer; elsewhere output.dense."""

LAYERS = {
    "albert": "encoder.albert_layer_groups", "distilbert": "transformer.layer",
    **dict.fromkeys(("eurobert", "gte", "jina_embeddings_v3", "modernbert", "nomic_bert"), "layers"),
    **dict.fromkeys(("mt5", "t5", "umt5"), "encoder.block"),
}  # fmt: skip
"""The list of layers; elsewhere encoder.layer."""

FAMILIES = sorted(family for family in LAYOUTS if family in CONFIG_MAPPING)
FINAL_NORM = {
    "eurobert": "norm", "megatron-bert": "encoder.ln", "modernbert": "final_norm", "roberta-prelayernorm": "LayerNorm",
    "xlm-roberta-xl": "encoder.LayerNorm", **dict.fromkeys(("mt5", "t5", "umt5"), "encoder.final_layer_norm"),
}  # fmt: skip
"""The norm that pre-norm encoders apply after their last layer."""
ONE_OF_EACH = sorted(
    {
        (replace(LAYOUTS[family], masked_lm=None, loads_as=None), family in FINAL_NORM): family for family in FAMILIES
    }.values()
)
"""A family of each layout, pre-norm ones and others apart."""


class Adapted(nn.Module):
    """A module followed by adapters: at its i-th call the i-th of them, so that shared modules can be wrapped too."""

    def __init__(self, inner: nn.Module, adapters: list[Callable[[Tensor], Tensor]]) -> None:
        super().__init__()
        self.inner, self.adapters, self.calls = inner, adapters, 0

    def __getattr__(self, name: str) -> Any:  # some encoders look at the weights or settings of their modules
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = self.inner(*args, **kwargs)
        adapter = self.adapters[self.calls % len(self.adapters)]
        self.calls += 1
        return (adapter(output[0]), *output[1:]) if isinstance(output, tuple) else adapter(output)


def literal_adapter(weights: AdapterWeights, layer: int) -> Callable[[Tensor], Tensor]:
    """``x + U relu(D x + d) + u`` of the one pair."""
    down, up = weights.down[0, layer], weights.up[0, layer]
    return lambda x: x + F.relu(x @ down.T + weights.down_bias[0, layer]) @ up.T + weights.up_bias[0, layer]


def with_adapters(encoder: PreTrainedModel, family: str, weights: AdapterWeights, *, after: bool) -> PreTrainedModel:
    """A copy of the encoder with adapters inside, found by the names above."""
    encoder = copy.deepcopy(encoder)
    adapters = [literal_adapter(weights, layer) for layer in range(weights.down.shape[1])]
    layers = encoder.get_submodule(LAYERS.get(family, "encoder.layer"))
    for index, layer in enumerate(layers):
        own = adapters if family == "albert" else [adapters[index]]
        if after:
            layers[index] = Adapted(layer, own)
        else:
            parent, _, name = LAST_LINEAR.get(family, "output.dense").rpartition(".")
            holder = layer.get_submodule(parent)
            setattr(holder, name, Adapted(getattr(holder, name), own))
    return encoder


def weights_of(model: HyperX, pair: str = "ner#en") -> AdapterWeights:
    return model.adapters([TaskLanguagePair.parse(pair)])
