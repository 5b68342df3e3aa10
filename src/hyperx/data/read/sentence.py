"""The form of a sentence that every reader returns, and the same with what a model predicts for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, NamedTuple

from hyperx.data.read.spans import span_confidence, spans

Offsets = tuple[tuple[int, int], ...]
"""For each word the place in a text of its first character and of that behind its last."""
Places = Mapping[str, Iterable[str]]
"""For each task the columns of words that it gives, none for a task that labels whole sentences."""
LEAST_PROBABILITY = 1e-12
"""A label that decoding chose because of its neighbours may have a probability of 0."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words with named columns of annotation and the place they come from.

    Args:
        words: the syntactic words, in order; none if only the text is known.
        columns: annotation by name, one value per word: ``upos``, ``ner``, ``deprel`` (strings) and ``head`` (integers,
            0 for the root); or one for the text: ``label``. Empty if there is none, or none was asked for.
        lines: the line of each word, counted from 1, or that of a text without words; empty if there is no file.
        origin: the file, stream or data set.
        text: the raw sentence, or a text of any length, if it is known.
        text_pair: the second of two texts, if there are two.
        space_after: for each word whether a space follows it in the text, if known.
        offsets: for each word where it stands in the text as the user gave it, or in the whole of a running text. Words
            that are not written there, such as *de* and *le* of *du*, have the place of what is. None if the text is
            not known, or is another.
        comments: comment lines of CoNLL-U and columns, without the line end.
        rows: in prediction the columns of every line of CoNLL-U that is no comment: words, ranges and empty nodes.
        language: its own language, if the data says it or it was detected.
        error: what stands in the place of a sentence: why it cannot be read, or nothing for a blank line. None if this
            is a sentence.
    """

    words: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...] | tuple[int, ...]] = field(default_factory=dict)
    lines: tuple[int, ...] = ()
    origin: str = ""
    text: str | None = None
    text_pair: str | None = None
    space_after: tuple[bool, ...] | None = None
    offsets: Offsets | None = None
    comments: tuple[str, ...] = ()
    rows: tuple[Sequence[str], ...] = ()
    language: str | None = None
    error: str | None = None

    @property
    def raw_text(self) -> str:
        """The text, or if it is unknown the words, joined according to their spaces."""
        return self.joined() if self.text is None else self.text

    @property
    def spaces(self) -> tuple[bool, ...]:
        """For each word whether a space follows it; if unknown, one does."""
        return self.space_after or (True,) * len(self.words)

    def joined(self, start: int = 0, end: int | None = None) -> str:
        """The words ``start`` to ``end`` (exclusive), by default all, joined according to their spaces."""
        pieces = zip(self.words[start:end], self.spaces[start:end], strict=True)
        return "".join(word + " " * space for word, space in pieces).rstrip(" ")

    def line_of(self, word: int) -> int | None:
        """The line number of a word, or None if the sentence has no file."""
        return self.lines[word] if self.lines else None


class Entity(NamedTuple):
    """An entity that a task found: the words from ``start`` to ``end`` (exclusive), and the same in characters of the
    text (see :attr:`Sentence.offsets`), None if that is not known; and its confidence, None if not requested."""

    type: str
    start: int
    end: int
    text: str
    start_char: int | None
    end_char: int | None
    task: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """A sentence with the predictions of each task.

    Args:
        sentence: the sentence as it was read.
        labels: by task one label per word (for ``dep`` an ``Arc`` with ``head`` and ``relation``), or one label for the
            whole sentence.
        columns: by task the same as columns of words, such as ``upos``, or ``head`` and ``deprel``; none for a task
            that labels whole sentences.
        confidences: by task the probability of each label; None if not requested.
    """

    sentence: Sentence
    labels: Mapping[str, Any]
    columns: Mapping[str, Mapping[str, tuple[str | int, ...]]]
    confidences: Mapping[str, Any] | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the sentence."""
        return self.sentence.words

    @property
    def offsets(self) -> Offsets | None:
        """For each word the characters of the text from its first to behind its last, see :attr:`Sentence.offsets`."""
        return self.sentence.offsets

    @property
    def entities(self) -> tuple[Entity, ...]:
        """The entities of all tasks that find some, as spans."""
        sentence, places = self.sentence, self.sentence.offsets
        return tuple(
            Entity(
                kind,
                start,
                end,
                sentence.joined(start, end),
                None if places is None else places[start][0],
                None if places is None else places[end - 1][1],
                task,
                None if self.confidences is None else span_confidence(self.confidences[task][start:end]),
            )
            for task, columns in self.columns.items()
            if "ner" in columns
            for kind, start, end in spans(self.labels[task])
        )

    @property
    def sentence_labels(self) -> dict[str, str]:
        """The labels of the tasks that label whole sentences."""
        return {task: label for task, label in self.labels.items() if not self.columns[task]}

    def confidence(self, task: str) -> float | None:
        """That of a task's labels of the whole sentence or tree: the geometric mean of those of its words, or that of
        the text's label. None if confidences were not requested, or there is no word."""
        values = None if self.confidences is None else self.confidences[task]
        if values is None or not self.columns[task]:
            return values
        return math.exp(fmean(math.log(max(one, LEAST_PROBABILITY)) for one in values)) if values else None

    @classmethod
    def nothing(cls, gap: Sentence, places: Places) -> Prediction:
        """What is written in the place of a sentence that cannot be read: no label of any task."""
        return cls(
            gap,
            labels={task: () if columns else None for task, columns in places.items()},
            columns={task: dict.fromkeys(columns, ()) for task, columns in places.items()},
        )

    def __post_init__(self) -> None:
        expected = len(self.words)
        for name, by_task in (("labels", self.labels), ("confidences", self.confidences or {})):
            for task, values in by_task.items():
                if self.columns[task] and len(values) != expected:
                    raise ValueError(f"expected {expected} {name} of {task}, one a word; found {len(values)}")
