"""What a task is: its labels, head, loss, decoding and measures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hyperx.config import ArchitectureOptions, DataOptions
from hyperx.data.batch.store import EncodedSplit
from hyperx.data.batch.windows import IGNORED, SubwordEncoder, Subwords, Window
from hyperx.data.read.sentence import Sentence
from hyperx.tasks.registry import KINDS


@dataclass(frozen=True, slots=True)
class HeadFacts:
    """What a head needs to know of its model.

    Args:
        hidden_size: hidden size h of the encoder.
        embedding_size: size E of its word embeddings.
        vocabulary_size: number V of its subwords.
        options: the model's options, of which a task may have some of its own.
        activation: activation of the encoder's masked-LM head, by its name in the Hugging Face library.
        norm_epsilon: epsilon of that head's norm.
    """

    hidden_size: int
    embedding_size: int
    vocabulary_size: int
    options: ArchitectureOptions = field(default_factory=ArchitectureOptions)
    activation: str = "gelu"
    norm_epsilon: float = 1e-12


@dataclass(frozen=True, slots=True)
class HeadInput:
    """The input of a head for the B rows of its task.

    Args:
        hidden: hidden states ``[B, T, h]``.
        words: for each subword the index of its word in the window, -1 for special ones and padding ``[B, T]``; None
            if the caller gave none.
        embeddings: the encoder's word embeddings ``[V, E]``.
        labels: the labels, in the form of the task, if there are any; on the device of the hidden states, except for
            tasks that count them (:attr:`Task.counts_labels`).
        rows: what is added to weights and biases of a linear head for each row of the batch ``[B, n, h + 1]``, with
            those of labels that it lacks behind its own.
    """

    hidden: Tensor
    words: Tensor | None
    embeddings: Tensor
    labels: Tensor | None = None
    rows: Tensor | None = None

    def changed(self, logits: Tensor, states: Tensor) -> Tensor:
        """A linear head's logits ``[..., labels]`` with what the rows add, for what it reads ``[..., h]``."""
        if self.rows is None:
            return logits
        with_bias = nn.functional.pad(states, (0, 1), value=1.0)
        added = torch.einsum("b...h,bnh->b...n", with_bias, self.rows.to(states.dtype))
        return nn.functional.pad(logits, (0, added.shape[-1] - logits.shape[-1])) + added


@dataclass(frozen=True, slots=True)
class Result:
    """The model's prediction for one sentence: labels in the form of the task, a tuple with one for each word or one
    for all; and in the same form the probability of each at the task's temperature, and at 1."""

    labels: Any
    confidences: Any = None
    uncalibrated: Any = None


@dataclass(frozen=True, slots=True)
class Scores:
    """The measures of one pair on one split.

    Args:
        measures: value by measure, such as ``{"f1": 0.75, "accuracy": 0.97}``, from 0 to 1; a perplexity from 1; None
            if the gold data leaves it undefined.
        by_label: for each label its measures: ``precision``, ``recall``, ``f1`` and ``support``.
    """

    measures: Mapping[str, float | None]
    by_label: dict[str, dict[str, float]] = field(default_factory=dict)


class Task(ABC):
    """One task. A new kind of task is a subclass and a line in :mod:`hyperx.tasks.registry`, or ``register_task``.

    Args:
        name: its name in pairs; by default its kind.
    """

    kind: ClassVar[str]
    """The name of this kind of task in ``--tasks``; :data:`~hyperx.tasks.registry.KINDS` says more of it."""
    measure: ClassVar[str]
    """The measure by which checkpoints are chosen."""
    further_measures: ClassVar[tuple[str, ...]] = ()
    """Other measures that tables show."""
    as_percent: ClassVar[frozenset[str]] = frozenset()
    """The measures that the published program reports from 0 to 100."""
    no_label: ClassVar[str | None] = None
    """What stands for the label of a word without one: such a word has no loss and is not scored."""
    least_labels: ClassVar[int] = 0
    """The smallest number of labels with which it can be trained."""
    counts_labels: ClassVar[bool] = False
    """Whether the head's work depends on the number of labels. They then stay where they are, in training on the CPU:
    reading their number from a GPU would mean waiting for it."""
    starts_from_masked_lm: ClassVar[bool] = False
    """Whether its head starts from the encoder's own masked-LM head, if there is one."""

    def __init__(self, name: str | None = None) -> None:
        self.name, facts = name or self.kind, KINDS[self.kind]
        self.column, self.reads, self.auxiliary = facts.column, facts.reads, facts.auxiliary

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are kept of every sentence: numbers, and in the last one its labels if it has any."""
        return (self.column,)

    @property
    def label_column(self) -> str | None:
        """The one of them that has its labels."""
        return self.columns[-1] if self.columns else None

    # Data -------------------------------------------------------------------------------------------------------------

    def problem(self, subwords: Subwords) -> str | None:
        """Why an encoder whose tokenizer has these special subwords cannot serve the task; None if it can."""
        return None

    def declared(self, options: DataOptions) -> tuple[str, ...]:
        """The labels that the options of a run declare, if they declare any."""
        return ()

    def label_set(self, seen: Iterable[str]) -> tuple[str, ...]:
        """The task's labels, given those of the training data: by default these in alphabetical order."""
        return tuple(sorted(set(seen)))

    def windows(self, encoder: SubwordEncoder, sentences: Sequence[Sentence]) -> list[list[Window]]:
        """The windows of each sentence, or text."""
        if self.reads == "text":
            return encoder.pair_windows([(sentence.raw_text, sentence.text_pair) for sentence in sentences])
        return encoder.windows([sentence.words for sentence in sentences])

    # Training ---------------------------------------------------------------------------------------------------------

    @abstractmethod
    def head(self, facts: HeadFacts, labels: Sequence[str]) -> nn.Module:
        """A new head, which maps a :class:`HeadInput` to logits in the form of the task."""

    def masked(self, window: Window, subwords: Subwords, draw: np.random.Generator) -> Window:
        """The window as the encoder reads it; auxiliary tasks may hide some subwords and keep them as targets."""
        return window

    @abstractmethod
    def labels(self, windows: Sequence[Window], length: int) -> Tensor:
        """The labels of the task's rows of a batch, in its form, given their windows, whose targets are numbers of the
        label set, and the number T of subwords of the longest row of all tasks."""

    def loss(self, logits: Any, labels: Tensor) -> Tensor:
        """The mean loss over what is labelled in a batch; zero if nothing is. By default the cross-entropy. Of a head
        with several classifiers the mean of each ``[classifiers]``: their sum is what is trained."""
        return cross_entropy(logits, labels)

    def amounts(self, labels: Tensor) -> list[int]:
        """Over how many labels each mean of :meth:`loss` is, given those of a batch: where several batches are of one
        step, the mean is over the labels of all. By default all that are not ignored."""
        return [int((labels != IGNORED).sum())]

    # Prediction and evaluation ----------------------------------------------------------------------------------------

    @abstractmethod
    def decode(self, logits: Any, windows: Sequence[Window], labels: Tensor | None, temperatures: Tensor) -> list[Any]:
        """What :meth:`join` needs of each window; labels are given only if :attr:`auxiliary`. The temperature of each
        row ``[B]`` is for confidences alone: no label depends on it."""

    @abstractmethod
    def join(self, parts: Sequence[Any], windows: Sequence[Window], labels: Sequence[str]) -> Result:
        """The result for a sentence, from the parts of its windows."""

    def annotation(self, labels: Any) -> dict[str, tuple[str | int, ...]]:
        """A result as columns of words, in which it is written; nothing if it is of the whole text."""
        return {self.columns[0]: tuple(labels)} if self.reads == "words" else {}

    def gold(self, split: EncodedSplit) -> list[Any]:
        """The gold labels for :meth:`score`: each sentence's labels, or each text's one label."""
        labels = [sentence[self.columns[0]] for sentence in split.annotation()]
        return labels if self.reads == "words" else [label for (label,) in labels]

    # Confidences ------------------------------------------------------------------------------------------------------

    @staticmethod
    def log_probabilities(logits: Tensor, temperatures: Tensor) -> Tensor:
        """Those at temperature 1, by which labels are chosen, and at that of each row ``[B]``, for confidences (Guo et
        al. 2017): ``[B, ..., classes]`` to ``[2, B, ..., classes]``, in 32 bits."""
        logits = logits.float()
        rows = temperatures.to(logits.device).reshape(-1, *[1] * (logits.dim() - 1))
        return torch.stack([logits, logits / rows]).log_softmax(dim=-1)

    def decisions(self, logits: Any, labels: Tensor, names: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        """What a temperature is fitted on, given the label set's names: for each classifier of the head the logits at
        what is labelled in a batch ``[n, classes]``, and the right classes ``[n]``. By default what the cross-entropy
        is of; nothing if the loss is another."""
        return [labelled(logits, labels)] if type(self).loss is Task.loss else []

    def outcomes(self, gold: Any, labels: Any, confidences: Any) -> list[tuple[float, bool]]:
        """Of each part of one sentence that a confidence is for, this confidence and whether the part is right: by
        default of each word that has a gold label, or of the text."""
        if self.reads == "text":
            return [(confidences, labels == gold)]
        rows = zip(gold, labels, confidences, strict=True)
        return [(sure, found == wanted) for wanted, found, sure in rows if wanted != self.no_label]

    def counts(self, gold: Any, labels: Any) -> tuple[int, int, int] | None:
        """The numbers of right, predicted and gold items of one sentence, if the main measure of several is ``2 right /
        (predicted + gold)`` of their sums; by default those of an accuracy, and None for another measure."""
        if self.measure != "accuracy":
            return None
        words = [(gold, labels)] if self.reads == "text" else zip(gold, labels, strict=True)
        right = [found == wanted for wanted, found in words if wanted != self.no_label]
        return sum(right), len(right), len(right)

    @abstractmethod
    def score(self, gold: Sequence[Any], predicted: Sequence[Any]) -> Scores:
        """Measure predicted against gold labels, sentence by sentence."""

    def undefined(self, split: EncodedSplit) -> bool:
        """Whether gold data leaves the main measure undefined, such as the F1 of entities where there is none."""
        gold = () if self.auxiliary else self.gold(split)
        return not self.auxiliary and self.score(gold, gold).measures[self.measure] is None


def labelled(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The logits ``[n, classes]`` and classes ``[n]`` at the positions of ``[..., classes]`` that are not ignored."""
    kept = labels.flatten() != IGNORED
    return logits.float().flatten(0, -2)[kept], labels.flatten()[kept]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of ``[..., labels]`` to ``[...]`` over the positions that are not ignored, in 32 bits."""
    logits = logits.float().flatten(0, -2)
    total = nn.functional.cross_entropy(logits, labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)


def precision_recall_f1(gold: int, predicted: int, both: int) -> dict[str, float]:
    """Precision, recall and F1 from counts; 0 if a count is 0."""
    return {
        "precision": both / max(predicted, 1),
        "recall": both / max(gold, 1),
        "f1": 2 * both / max(gold + predicted, 1),
        "support": gold,
    }


def scores_by_label(
    gold: Mapping[str, int], predicted: Mapping[str, int], both: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of every label, in alphabetical order, from counts."""
    return {
        label: precision_recall_f1(gold.get(label, 0), predicted.get(label, 0), both.get(label, 0))
        for label in sorted({*gold, *predicted})
    }
