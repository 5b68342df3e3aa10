"""What a task is: the columns that it reads, its labels, head, loss, decoding and measures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from hyperx.data.batch.store import EncodedSplit
from hyperx.data.batch.windows import Ints, SubwordEncoder, Window
from hyperx.data.read.sentence import Sentence
from hyperx.errors import EncoderError
from hyperx.tasks.registry import KINDS

IGNORED = -100
"""The label id of a position that has no label: the value that the Hugging Face library uses."""


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


@dataclass(frozen=True, slots=True)
class HeadFacts:
    """What a head needs to know of its model.

    Args:
        hidden_size: hidden size h of the encoder.
        embedding_size: size E of its word embeddings.
        vocabulary_size: number V of its subwords.
        parser_projections: project words before the biaffine scores of ``dep``.
        activation: activation of the encoder's masked-LM head, by its name in the Hugging Face library.
        norm_epsilon: epsilon of that head's norm.
    """

    hidden_size: int
    embedding_size: int
    vocabulary_size: int
    parser_projections: bool = True
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
    """

    hidden: Tensor
    words: Tensor | None
    embeddings: Tensor
    labels: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """A window with its sentence's annotation.

    Args:
        window: the window.
        targets: by column one number per word (or one for the whole sentence): label ids, or heads as they are.
    """

    window: Window
    targets: Mapping[str, Ints]


@dataclass(frozen=True, slots=True)
class Subwords:
    """The tokenizer's special subwords, as needed to make batches.

    Args:
        pad: id of the padding subword.
        mask: id of the mask subword; None if the tokenizer has none.
        vocabulary_size: number of subwords.
        special: ids of all special subwords.
    """

    pad: int
    mask: int | None = None
    vocabulary_size: int = 0
    special: frozenset[int] = frozenset()


def special_subwords(tokenizer: PreTrainedTokenizerFast) -> Subwords:
    """The special subwords of a tokenizer, as needed to make batches.

    Raises:
        EncoderError: if there is no padding subword.
    """
    if tokenizer.pad_token_id is None:
        raise EncoderError(
            f"{tokenizer.name_or_path or 'the tokenizer'}: expected a padding subword, found none. Name one of its "
            "special subwords, such as the one that ends a sentence, as pad_token in its tokenizer_config.json"
        )
    return Subwords(
        pad=tokenizer.pad_token_id,
        mask=tokenizer.mask_token_id,
        vocabulary_size=len(tokenizer),
        special=frozenset(tokenizer.all_special_ids),
    )


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """What the rows of all tasks in a batch share.

    Args:
        subwords: the tokenizer's special ones.
        length: number T of subwords of the longest row.
        seed: seed of what tasks draw at random, the same for the same batch.
    """

    subwords: Subwords
    length: int
    seed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """The model's prediction for one sentence.

    Args:
        labels: in the form of the task: a tuple with one label per word, or one label.
        confidences: the probability of each label from 0 to 1, in the same form.
    """

    labels: Any
    confidences: Any = None


class Task(ABC):
    """One task. A new kind of task is a subclass and a line in :mod:`hyperx.tasks.registry`, or ``register_task``.

    Args:
        name: its name in pairs; by default its kind.
    """

    kind: ClassVar[str]
    """The name of this kind of task in ``--tasks``; :data:`~hyperx.tasks.registry.KINDS` says more of it."""
    no_label: ClassVar[str | None] = None
    """What stands for the label of a word without one: such a word has no loss and is not scored."""
    least_labels: ClassVar[int] = 0
    """The smallest number of labels with which it can be trained."""
    measure: ClassVar[str]
    """The measure by which checkpoints are chosen."""
    further_measures: ClassVar[tuple[str, ...]] = ()
    """Other measures that tables show."""
    counts_labels: ClassVar[bool] = False
    """Whether the head's work depends on the number of labels. They then stay where they are, in training on the CPU:
    reading their number from a GPU would mean waiting for it."""
    as_percent: ClassVar[frozenset[str]] = frozenset()
    """The measures that the published program reports from 0 to 100."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name or self.kind

    @property
    def column(self) -> str:
        """:attr:`Kind.column`."""
        return KINDS[self.kind].column

    @property
    def reads(self) -> Literal["words", "text"]:
        """:attr:`Kind.reads`."""
        return KINDS[self.kind].reads

    @property
    def auxiliary(self) -> bool:
        """:attr:`Kind.auxiliary`."""
        return KINDS[self.kind].auxiliary

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are kept of every sentence: numbers, and in the last one its labels if it has any."""
        return (self.column,)

    @property
    def label_column(self) -> str | None:
        """The one of them that has its labels."""
        return self.columns[-1] if self.columns else None

    def problem(self, subwords: Subwords) -> str | None:
        """Why an encoder whose tokenizer has these special subwords cannot serve the task; None if it can."""
        return None

    @abstractmethod
    def label_set(self, seen: Iterable[str]) -> tuple[str, ...]:
        """The task's labels, given those of the training data; index 0 is the label of a word without evidence."""

    def windows(self, encoder: SubwordEncoder, sentences: Iterable[Sentence]) -> Iterator[list[Window]]:
        """The windows of each sentence, or text."""
        if self.reads == "text":
            return encoder.pair_windows((sentence.raw_text, sentence.text_pair) for sentence in sentences)
        return encoder.windows(sentence.words for sentence in sentences)

    @abstractmethod
    def head(self, facts: HeadFacts, labels: Sequence[str]) -> nn.Module:
        """A new head, which maps a :class:`HeadInput` to logits in the form of the task."""

    @abstractmethod
    def loss(self, logits: Any, labels: Tensor) -> Tensor:
        """The mean loss over what is labelled in a batch; zero if nothing is."""

    @abstractmethod
    def batch(self, examples: Sequence[Example], facts: BatchFacts) -> tuple[list[Ints], Tensor]:
        """The subword ids of each row, and the labels of the batch, in the form of the task.

        Args:
            examples: the task's rows of the batch.
            facts: what they share with the other rows.
        """

    @abstractmethod
    def decode(self, logits: Any, windows: Sequence[Window], labels: Tensor | None) -> list[Any]:
        """What :meth:`join` needs of each window; labels are given only if :attr:`auxiliary`."""

    @abstractmethod
    def join(self, parts: Sequence[Any], windows: Sequence[Window], labels: Sequence[str]) -> Result:
        """The result for a sentence, from the parts of its windows."""

    def gold(self, split: EncodedSplit) -> list[Any]:
        """The gold labels for :meth:`score`: each sentence's labels, or each text's one label."""
        found = [sentence[self.columns[0]] for sentence in split.annotation()]
        return found if self.reads == "words" else [label for (label,) in found]

    @abstractmethod
    def score(self, gold: Sequence[Any], predicted: Sequence[Any]) -> Scores:
        """Measure predicted against gold labels, sentence by sentence."""

    def undefined(self, split: EncodedSplit) -> bool:
        """Whether gold data leaves the main measure undefined, such as the F1 of entities where there is none."""
        gold = () if self.auxiliary else self.gold(split)
        return not self.auxiliary and self.score(gold, gold).measures[self.measure] is None

    def annotation(self, labels: Any) -> dict[str, tuple[str | int, ...]]:
        """A result as columns of words, in which it is written; nothing if it is of the whole text."""
        return {self.columns[0]: tuple(labels)} if self.reads == "words" else {}


def padded(rows: Sequence[Ints], value: int, length: int | None = None) -> Tensor:
    """Rows of several lengths ``[n, ...]`` to one tensor ``[B, N, ...]``; N is by default the longest."""
    shape = (len(rows), max(map(len, rows)) if length is None else length, *rows[0].shape[1:])
    full = np.full(shape, value, dtype=np.int64)
    for line, row in zip(full, rows, strict=True):
        line[: len(row)] = row
    return torch.from_numpy(full)


def precision_recall_f1(wanted: int, found: int, both: int) -> dict[str, float]:
    """Precision, recall and F1 from counts; 0 if a count is 0."""
    return {
        "precision": both / max(found, 1),
        "recall": both / max(wanted, 1),
        "f1": 2 * both / max(wanted + found, 1),
        "support": wanted,
    }


def scores_by_label(
    wanted: Mapping[str, int], found: Mapping[str, int], both: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of every label, in alphabetical order, from counts."""
    labels: Collection[str] = sorted({*wanted, *found})
    return {
        label: precision_recall_f1(wanted.get(label, 0), found.get(label, 0), both.get(label, 0)) for label in labels
    }
