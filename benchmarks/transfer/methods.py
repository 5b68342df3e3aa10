"""The methods that are compared: options of ``hyperx train``, one or two phases, and rates to choose from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hyperx.errors import ConfigError, did_you_mean

ADAPTER_RATES = (5e-4, 1e-3, 2e-3, 4e-3)
ENCODER_RATES = (5e-5, 1e-4, 2e-4, 4e-4)

PUBLISHED_WARMUP = 4_000 / 100_000
"""The share of warm-up in the published program's steps."""


@dataclass(frozen=True)
class Method:
    """One way of training on an experiment.

    Args:
        options: options of ``hyperx train`` that override the experiment's.
        rates: learning rates that a search tries, the same number for every method.
        rate: the rate without a search.
        by_task: a model of its own for each task, with its share of the steps.
        text: options of a preceding run on raw text, from whose checkpoint the others start.
        self_training: share of the steps, the last ones, in which pairs without labels are trained on raw text that the
            model of the earlier steps labels.
        warmup: share of warm-up in the steps; None for the library's default.
    """

    options: Mapping[str, Any]
    rates: tuple[float, ...]
    rate: float
    by_task: bool = False
    text: Mapping[str, Any] = field(default_factory=dict)
    self_training: float = 0.0
    warmup: float | None = None

    @property
    def several(self) -> bool:
        """Whether it trains more than one model on labels."""
        return self.by_task or self.self_training > 0


FINE_TUNING = {"adapters": "none", "encoder_learning_rate_scale": 1.0}

METHODS = {
    "hyper-x": Method({}, ADAPTER_RATES, 1e-3),
    "hyper-x-layers": Method({"train_encoder": "layers"}, ADAPTER_RATES, 1e-3),
    "hyper-x-self-training": Method({"train_encoder": "layers"}, ADAPTER_RATES, 1e-3, self_training=1 / 3),
    "fine-tuning": Method(FINE_TUNING, ENCODER_RATES, 1e-4),
    "fine-tuning-two-rates": Method({**FINE_TUNING, "encoder_learning_rate_scale": 0.2}, ADAPTER_RATES, 1e-3),
    "fine-tuning-single": Method(FINE_TUNING, ENCODER_RATES, 1e-4, by_task=True),
    "adapter-shared": Method({"adapters": "shared"}, ADAPTER_RATES, 1e-3),
    "adapter-task": Method({"adapters": "task"}, ADAPTER_RATES, 1e-3),
    "adapter-task-layers": Method({"adapters": "task", "train_encoder": "layers"}, ADAPTER_RATES, 1e-3),
    # The encoder is frozen, including its norms; with task adapters on top, the language adapters are frozen too.
    "mad-x": Method(
        {"adapters": "stacked", "freeze_params_regex": "^(?!.*task-).*"},
        ADAPTER_RATES,
        1e-3,
        text={"adapters": "language", "freeze_params_regex": "^(?!.*adapter).*"},
    ),
    "hyper-x-published": Method(
        {
            "preset": "published",
            "condition_to_layer_id": True,
            "project_source_embeddings": True,
            "freeze_params_regex": "^(?!.*(hypernet|LayerNorm)).*",
            # The same batches as for all methods.
            "mixed_batches": True,
            "length_bucketing": True,
        },
        (1e-4, 2e-4, 5e-4, 1e-3),
        1e-4,
        warmup=PUBLISHED_WARMUP,
    ),
}


def method(name: str) -> Method:
    """A method by its name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in METHODS:
        raise ConfigError(
            [f"--methods: there is no method {name!r}: {', '.join(METHODS)}.{did_you_mean(name, METHODS)}"]
        )
    return METHODS[name]
