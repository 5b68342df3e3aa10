"""What `hyperx predict` writes: one call a sentence, nothing is held back.

A new output format is one class and one line in `OUTPUT_FORMATS`.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TextIO

from hyperx.data.sentence import Sentence
from hyperx.data.spans import spans
from hyperx.data.text import ConlluSentence, Row
from hyperx.errors import DataError

OutputFormat = Literal["conllu", "jsonl", "columns"]
"""What predictions may be written in; the same names as in `OUTPUT_FORMATS`."""

_ID, _FORM, _MISC = 0, 1, 9

# Tasks that have a column of their own in CoNLL-U; all others stand in MISC, as `NER=B-PER`.
_COLUMN_OF_TASK = {"pos": 3}

# Tasks whose labels are spans in BIO.
_SPAN_TASKS = ("ner",)

_CONFIDENCE_DIGITS = 4

_LINE_BREAKS = re.compile(r"[\t\n\r]+")


@dataclass(frozen=True, slots=True)
class Prediction:
    """A sentence with the labels that each task gave to its words.

    Args:
        sentence: the sentence as it was read.
        labels: by task one label a word.
        confidences: by task the probability of each label, or None where nobody asked.

    Raises:
        ValueError: where labels or confidences are not as many as the words.
    """

    sentence: Sentence
    labels: Mapping[str, tuple[str, ...]]
    confidences: Mapping[str, tuple[float, ...]] | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the sentence."""
        return self.sentence.words

    def __post_init__(self) -> None:
        expected = len(self.words)
        for name, by_task in (("labels", self.labels), ("confidences", self.confidences or {})):
            for task, values in by_task.items():
                if len(values) != expected:
                    raise ValueError(f"expected {expected} {name} of {task}, one a word; found {len(values)}")


class PredictionWriter(ABC):
    """Writes predictions, one after the other; flushing and closing are the caller's.

    Args:
        stream: an open text file.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, prediction: Prediction) -> None:
        """Write one sentence.

        Raises:
            DataError: where a word or a label holds a character that the format cannot.
        """
        # One call a sentence, so that an interrupted stream ends as near to whole as can be.
        self._stream.write(self._rendered(prediction))

    @abstractmethod
    def _rendered(self, prediction: Prediction) -> str:
        """The prediction with its line ends."""


class ConlluWriter(PredictionWriter):
    """CoNLL-U. A sentence that was read from CoNLL-U keeps all lines, columns and comments except those predicted.

    A sentence without ``# sent_id`` gets its number in the stream as one; without ``# text`` its words, joined as
    their spaces say.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._written = 0

    def _rendered(self, prediction: Prediction) -> str:
        self._written += 1
        sentence = prediction.sentence
        rows = sentence.rows if isinstance(sentence, ConlluSentence) else tuple(_new_rows(sentence))
        lines = [*_comments(sentence, rows, self._written), *map("\t".join, _filled(rows, prediction))]
        return "\n".join(lines) + "\n\n"


class JsonlWriter(PredictionWriter):
    """One JSON object a line.

    Keys: ``sent_id`` and ``text`` where known, ``words``, ``space_after`` where known, the labels under each task's
    name, ``entities`` (type, first word, word behind the last, both counted from 0, and text) where entities were
    predicted, and ``confidence`` by task where asked for.
    """

    def _rendered(self, prediction: Prediction) -> str:
        return json.dumps(dict(_json_items(prediction)), ensure_ascii=False, allow_nan=False) + "\n"


class ColumnsWriter(PredictionWriter):
    """A word a line, followed by each task's label, separated by tabs; a blank line after each sentence."""

    def _rendered(self, prediction: Prediction) -> str:
        columns = [prediction.sentence.words, *prediction.labels.values()]
        rows = zip(*(_checked(column, prediction.sentence) for column in columns), strict=True)
        return "".join("\t".join(row) + "\n" for row in rows) + "\n"


OUTPUT_FORMATS: dict[str, type[PredictionWriter]] = {
    "conllu": ConlluWriter,
    "jsonl": JsonlWriter,
    "columns": ColumnsWriter,
}
"""Every output format by its name."""


def _checked(fields: Sequence[str], sentence: Sentence) -> Sequence[str]:
    """The fields of all words, once they are known to fit into a column."""
    for word, field in enumerate(fields):
        if not field or any(char in field for char in "\t\n\r"):
            message = (
                f"expected a word or label without tabs and line ends, found {field[:40]!r}; mend it, or write jsonl"
            )
            raise DataError(message, path=sentence.source or None, line=sentence.line_of(word))
    return fields


def _new_rows(sentence: Sentence) -> Iterator[Row]:
    spaces = sentence.space_after or (True,) * len(sentence.words)
    for number, (word, space) in enumerate(zip(_checked(sentence.words, sentence), spaces, strict=True), start=1):
        yield (str(number), word, *"_______", "_" if space else "SpaceAfter=No")


def _filled(rows: Iterable[Row], prediction: Prediction) -> Iterator[Row]:
    """The rows with each task's labels at the words; ranges and empty nodes pass as they are."""
    labels = {task: _checked(values, prediction.sentence) for task, values in prediction.labels.items()}
    word = 0
    for row in rows:
        if row[_ID].isdecimal():
            yield _with_labels(row, {task: values[word] for task, values in labels.items()})
            word += 1
        else:
            yield row


def _with_labels(row: Row, labels: Mapping[str, str]) -> Row:
    columns = list(row)
    for task, label in labels.items():
        if task in _COLUMN_OF_TASK:
            columns[_COLUMN_OF_TASK[task]] = label
        else:
            columns[_MISC] = _with_attribute(columns[_MISC], task.upper(), label)
    return tuple(columns)


def _with_attribute(misc: str, key: str, value: str) -> str:
    """MISC with one attribute set; it goes to the end, and one of its name makes way."""
    others = [part for part in misc.split("|") if part != "_" and part.partition("=")[0] != key]
    return "|".join([*others, f"{key}={value}"])


def _comments(sentence: Sentence, rows: Iterable[Row], number: int) -> Iterator[str]:
    if _comment(sentence, "sent_id") is None:
        yield f"# sent_id = {number}"
    if _comment(sentence, "text") is None:
        yield f"# text = {_LINE_BREAKS.sub(' ', sentence.text or _surface_text(rows))}"
    yield from sentence.comments


def _comment(sentence: Sentence, name: str) -> str | None:
    for comment in sentence.comments:
        key, separator, value = comment[1:].partition("=")
        if separator and key.strip() == name:
            return value.strip()
    return None


def _surface_text(rows: Iterable[Row]) -> str:
    """The text of CoNLL-U lines: that of a range stands for its words, and empty nodes have none."""
    text, covered = "", 0
    for row in rows:
        first, _, last = row[_ID].partition("-")
        if "." in first or (not last and int(first) <= covered):
            continue
        covered = int(last or first)
        text += row[_FORM] + ("" if "SpaceAfter=No" in row[_MISC].split("|") else " ")
    return text.rstrip(" ")


def _json_items(prediction: Prediction) -> Iterator[tuple[str, Any]]:
    sentence = prediction.sentence
    sent_id = _comment(sentence, "sent_id")
    if sent_id is not None:
        yield "sent_id", sent_id
    if sentence.text is not None:
        yield "text", sentence.text
    yield "words", sentence.words
    if sentence.space_after is not None:
        yield "space_after", sentence.space_after
    yield from prediction.labels.items()
    span_tasks = [task for task in _SPAN_TASKS if task in prediction.labels]
    if span_tasks:
        yield "entities", [entity for task in span_tasks for entity in _entities(sentence, prediction.labels[task])]
    if prediction.confidences is not None:
        yield "confidence", {task: _rounded(values) for task, values in prediction.confidences.items()}


def _entities(sentence: Sentence, labels: Sequence[str]) -> Iterator[dict[str, str | int]]:
    spaces = sentence.space_after or (True,) * len(sentence.words)
    for kind, start, end in spans(labels):
        pieces = zip(sentence.words[start:end], spaces[start:end], strict=True)
        text = "".join(word + " " * space for word, space in pieces).rstrip(" ")
        yield {"type": kind, "start": start, "end": end, "text": text}


def _rounded(confidences: Iterable[float]) -> list[float]:
    return [round(float(confidence), _CONFIDENCE_DIGITS) for confidence in confidences]
