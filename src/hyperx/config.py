"""Options: frozen dataclasses with a sentence a field, from which the command line and its help are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from hyperx.modules.hypernetwork import HypernetworkOptions

Activation = Literal["relu", "gelu", "silu", "tanh", "swish", "mish", "leaky_relu", "gelu_new", "sigmoid", "linear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """What a model is: enough to build it again around its encoder.

    Args:
        encoder: the encoder's name: ``embedded``, a local folder or a hub name.
        encoder_hash: content hash of the encoder's own weights.
        labels: label set by task, in the order of the tasks.
        languages: every language of the model, in order.
        trained_languages: those that a training pair has; the others read the mean of their embeddings.
        trained_pairs: the pairs trained on, ``task#language``.
        hypernetwork: shape of the hypernetwork.
        adapter_non_linearity: activation between the projections, by its name in the Hugging Face library.
        after_layer_output: adapters on the output of whole layers, not of feed-forward blocks.
        head_layer: the layer that the heads read, counted from 1; "last"; or "mix", a learnt mix of all.
        max_length: longest window in subwords, special ones included.
    """

    encoder: str
    encoder_hash: str
    labels: Mapping[str, tuple[str, ...]]
    languages: tuple[str, ...]
    trained_languages: tuple[str, ...] = ()
    trained_pairs: tuple[str, ...] = ()
    hypernetwork: HypernetworkOptions = field(default_factory=HypernetworkOptions)
    adapter_non_linearity: str = "relu"
    after_layer_output: bool = False
    head_layer: int | Literal["last", "mix"] = "last"
    max_length: int = 256

    def to_json(self) -> dict[str, Any]:
        """A JSON value that :meth:`from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelConfig:
        """Read what :meth:`to_json` wrote; unknown or missing fields raise TypeError."""
        fields = dict(value)
        fields["labels"] = {task: tuple(labels) for task, labels in fields["labels"].items()}
        for name in ("languages", "trained_languages", "trained_pairs"):
            fields[name] = tuple(fields[name])
        fields["hypernetwork"] = HypernetworkOptions(**fields["hypernetwork"])
        return cls(**fields)
