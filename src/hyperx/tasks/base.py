"""What a task is: the column that it reads, its labels, head, loss, decoding and measures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

IGNORED = -100
"""The label id of a position that has no label: the value that the Hugging Face library uses."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The measures of one pair on one split.

    Args:
        measures: value by measure, such as ``{"f1": 0.75, "accuracy": 0.97}``, from 0 to 1.
        by_label: for each label its measures: ``precision``, ``recall``, ``f1`` and ``support``.
    """

    measures: dict[str, float]
    by_label: dict[str, dict[str, float]] = field(default_factory=dict)


class Task(ABC):
    """One task; it holds no state. A new task is a subclass and a line in :mod:`hyperx.tasks.registry`."""

    name: ClassVar[str]
    """What ``--tasks`` and the pairs call it."""
    column: ClassVar[str]
    """The column of :class:`~hyperx.data.sentence.Sentence` that holds its annotation."""
    measure: ClassVar[str]
    """The measure by which checkpoints are chosen."""

    @abstractmethod
    def label_set(self, seen: Iterable[str]) -> tuple[str, ...]:
        """The task's labels, given those of the training data; index 0 is what a word without evidence gets."""

    @abstractmethod
    def head(self, *, hidden_size: int, labels: Sequence[str]) -> nn.Module:
        """A new head: hidden states ``[B, T, h]`` to logits."""

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss over the labelled positions of a batch; zero where there is none."""

    @abstractmethod
    def score(self, gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Scores:
        """Measure predicted against gold labels, sentence by sentence."""
