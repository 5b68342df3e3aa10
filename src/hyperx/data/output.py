"""What `hyperx predict` writes: one call per sentence, nothing is held back.

A new output format is one class, its name in `OutputFormat` of config.py, and one line in `OUTPUT_FORMATS`.
"""

from __future__ import annotations

import json
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TextIO

from hyperx.config import OutputFormat
from hyperx.data.conllu import DEPREL, HEAD, ID, MISC, UPOS, comment_value, surface_text
from hyperx.data.sentence import Sentence
from hyperx.data.spans import spans
from hyperx.data.text import ConlluSentence, Row
from hyperx.errors import DataError

log = logging.getLogger(__name__)

# Annotation that has a column of its own in CoNLL-U; all other goes into MISC under the task's name, as `NER=B-PER`.
_COLUMNS = {"upos": UPOS, "head": HEAD, "deprel": DEPREL}

# The annotation that is BIO spans.
_SPANS = "ner"

_CONFIDENCE_DIGITS = 4

JSON_KEYS = frozenset({"sent_id", "text", "text_pair", "words", "space_after", "entities", "confidence"})
"""The keys of JSON lines other than the tasks' names, which have the labels."""

_LINE_BREAKS = re.compile(r"[\t\n\r]+")


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

    Raises:
        ValueError: if there are more or fewer labels or confidences than words.
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
    def sentence_labels(self) -> dict[str, str]:
        """The labels of the tasks that label whole sentences."""
        return {task: label for task, label in self.labels.items() if not self.columns[task]}

    def __post_init__(self) -> None:
        expected = len(self.words)
        for name, by_task in (("labels", self.labels), ("confidences", self.confidences or {})):
            for task, values in by_task.items():
                if self.columns[task] and len(values) != expected:
                    raise ValueError(f"expected {expected} {name} of {task}, one a word; found {len(values)}")


class PredictionWriter(ABC):
    """Writes predictions, one after the other; the caller flushes and closes the stream.

    Args:
        stream: an open text file.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, prediction: Prediction) -> None:
        """Write one sentence.

        Raises:
            DataError: if a word or a label contains a character that the format cannot represent.
        """
        # One call per sentence, so that an interrupted stream ends with a whole sentence if possible.
        self._stream.write(self._rendered(prediction))

    @abstractmethod
    def _rendered(self, prediction: Prediction) -> str:
        """The prediction with its line ends."""


class ConlluWriter(PredictionWriter):
    """CoNLL-U. A sentence that was read from CoNLL-U keeps all lines, columns and comments except those predicted.

    A sentence without ``# sent_id`` gets its number in the stream; one without ``# text`` its words, joined according
    to their spaces. If no task needed the words of a text, it is split at white space. If several tasks give tags or
    trees, the first has the column, and the others are in MISC under their names: ``TAGS=NOUN``, ``TREES_HEAD=2``.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._written = 0

    def _rendered(self, prediction: Prediction) -> str:
        self._written += 1
        sentence = prediction.sentence
        rows = sentence.rows if isinstance(sentence, ConlluSentence) else tuple(_new_rows(sentence))
        comments = [
            comment
            for comment in _comments(sentence, rows, self._written)
            if _name_of(comment) not in prediction.sentence_labels
        ]
        lines = [*comments, *_label_comments(prediction), *map("\t".join, _filled(rows, prediction))]
        return "\n".join(lines) + "\n\n"


class JsonlWriter(PredictionWriter):
    """One JSON object per line.

    Keys: ``sent_id``, ``text``, ``text_pair``, ``words`` and ``space_after`` if known, the labels under each task's
    name, ``entities`` if entities were predicted (type, start and exclusive end in words from 0, text, and the task if
    there are several), and ``confidence`` by task if requested.
    """

    def _rendered(self, prediction: Prediction) -> str:
        return json.dumps(dict(_json_items(prediction)), ensure_ascii=False, allow_nan=False) + "\n"


class ColumnsWriter(PredictionWriter):
    """One word per line, followed by each task's labels, separated by tabs; a blank line after each sentence.

    A label of the whole sentence comes before it, as ``# sentiment = good``, and before the label the second of two
    texts, as ``# text_pair = ...``. If no task needed the words, there is one line per text: the text, the second one
    if there are two, and the labels.
    """

    def _rendered(self, prediction: Prediction) -> str:
        if not prediction.words:
            return "\t".join(_LINE_BREAKS.sub(" ", part) for part in _text_fields(prediction)) + "\n"
        found = [column for columns in prediction.columns.values() for column in columns.values()]
        columns = [prediction.sentence.words, *([str(value) for value in column] for column in found)]
        rows = zip(*(_checked(column, prediction.sentence) for column in columns), strict=True)
        comments = list(_label_comments(prediction))
        if comments:  # without a label of the whole sentence, only words and tags, as in training data
            comments = [*_pair_comment(prediction.sentence), *comments]
        return "".join(f"{comment}\n" for comment in comments) + "".join("\t".join(row) + "\n" for row in rows) + "\n"


OUTPUT_FORMATS: dict[OutputFormat, type[PredictionWriter]] = {
    "conllu": ConlluWriter,
    "jsonl": JsonlWriter,
    "columns": ColumnsWriter,
}
"""Every output format by its name."""


def _text_fields(prediction: Prediction) -> Iterator[str]:
    """The text or texts, and their labels."""
    yield prediction.sentence.raw_text
    if prediction.sentence.text_pair is not None:
        yield prediction.sentence.text_pair
    yield from prediction.sentence_labels.values()


def _checked(fields: Sequence[str], sentence: Sentence) -> Sequence[str]:
    """The fields of all words, checked to fit into a column."""
    for word, field in enumerate(fields):
        if not field or any(char in field for char in "\t\n\r"):
            message = (
                f"expected a word or label without tabs and line ends, found {field[:40]!r}; fix it, or write jsonl"
            )
            raise DataError(message, path=sentence.source or None, line=sentence.line_of(word))
    return fields


def _new_rows(sentence: Sentence) -> Iterator[Row]:
    if not sentence.words:
        sentence = replace(sentence, words=tuple(sentence.raw_text.split()))
    words = zip(_checked(sentence.words, sentence), sentence.spaces, strict=True)
    for number, (word, space) in enumerate(words, start=1):
        yield (str(number), word, *"_______", "_" if space else "SpaceAfter=No")


def _filled(rows: Iterable[Row], prediction: Prediction) -> Iterator[Row]:
    """The rows with each task's labels at the words; ranges and empty nodes stay unchanged."""
    columns = {
        place: _checked([str(value) for value in prediction.columns[task][name]], prediction.sentence)
        for place, (task, name) in _places(prediction).items()
    }
    word = 0
    for row in rows:
        if row[ID].isdecimal():
            yield _with_labels(row, {place: values[word] for place, values in columns.items()})
            word += 1
        else:
            yield row


def _places(prediction: Prediction) -> dict[int | str, tuple[str, str]]:
    """The task and annotation for each column of CoNLL-U, by its number, or attribute of MISC, by its name.

    If several tasks have the same column, the first gets it.
    """
    places: dict[int | str, tuple[str, str]] = {}
    for task, columns in prediction.columns.items():
        for name in columns:
            column = _COLUMNS.get(name)
            attribute = (task if len(columns) == 1 else f"{task}_{name}").upper()
            places[attribute if column is None or column in places else column] = task, name
    return places


def _with_labels(row: Row, labels: Mapping[int | str, str]) -> Row:
    columns = list(row)
    for place, label in labels.items():
        if isinstance(place, int):
            columns[place] = label
        else:
            columns[MISC] = _with_attribute(columns[MISC], place, label)
    return tuple(columns)


def _with_attribute(misc: str, key: str, value: str) -> str:
    """MISC with one attribute set, at the end; an existing one of the same name is removed, in the same case."""
    others = [part for part in misc.split("|") if part != "_" and part.partition("=")[0] != key]
    for part in others:
        if (name := part.partition("=")[0]).upper() == key:
            _tell_kept(name, key)
    return "|".join([*others, f"{key}={value}"])


@cache
def _tell_kept(name: str, key: str) -> None:
    """Log, once, that MISC has a key of the input beside ours that differs in case alone."""
    log.warning("MISC keeps %s= of the input beside the predicted %s=", name, key)


def _comments(sentence: Sentence, rows: Iterable[Row], number: int) -> list[str]:
    """The sentence's own comments; those that it lacks are inserted after its id, or at the beginning."""
    given = list(sentence.comments)
    place = next((index for index, comment in enumerate(given, start=1) if _name_of(comment) == "sent_id"), 0)
    new = [] if place else [f"# sent_id = {number}"]
    if comment_value(given, "text") is None:
        new.append(f"# text = {_LINE_BREAKS.sub(' ', sentence.text or surface_text(rows))}")
    if comment_value(given, "text_pair") is None:
        new += _pair_comment(sentence)
    return [*given[:place], *new, *given[place:]]


def _pair_comment(sentence: Sentence) -> Iterator[str]:
    """The second of two texts, if there are two."""
    if sentence.text_pair is not None:
        yield f"# text_pair = {_LINE_BREAKS.sub(' ', sentence.text_pair)}"


def _label_comments(prediction: Prediction) -> Iterator[str]:
    for task, label in prediction.sentence_labels.items():
        yield f"# {task} = {label}"


def _name_of(comment: str) -> str | None:
    """The part before the equals sign, if there is one."""
    name, separator, _ = comment[1:].partition("=")
    return name.strip() if separator else None


def _json_items(prediction: Prediction) -> Iterator[tuple[str, Any]]:
    sentence = prediction.sentence
    sent_id = comment_value(sentence.comments, "sent_id")
    if sent_id is not None:
        yield "sent_id", sent_id
    if sentence.text is not None:
        yield "text", sentence.text
    if sentence.text_pair is not None:
        yield "text_pair", sentence.text_pair
    if sentence.words:
        yield "words", sentence.words
    if sentence.space_after is not None:
        yield "space_after", sentence.space_after
    for task, labels in prediction.labels.items():
        yield task, [_plain(label) for label in labels] if prediction.columns[task] else labels
    span_tasks = [task for task, columns in prediction.columns.items() if _SPANS in columns]
    if span_tasks:
        yield (
            "entities",
            [
                entity | ({"task": task} if len(span_tasks) > 1 else {})
                for task in span_tasks
                for entity in _entities(sentence, prediction.labels[task])
            ],
        )
    if prediction.confidences is not None:
        yield "confidence", {task: _rounded(values) for task, values in prediction.confidences.items()}


def _entities(sentence: Sentence, labels: Sequence[str]) -> Iterator[dict[str, str | int]]:
    for kind, start, end in spans(labels):
        yield {"type": kind, "start": start, "end": end, "text": _text_of(sentence, start, end)}


def _text_of(sentence: Sentence, start: int, end: int) -> str:
    """The text of the words ``start`` to ``end`` (exclusive), as it is in the sentence."""
    if isinstance(sentence, ConlluSentence):
        return surface_text(row for row in sentence.rows if _is_within(row[ID], start + 1, end))
    return sentence.joined(start, end)


def _is_within(row_id: str, first: int, last: int) -> bool:
    """Whether the id of a row is that of a word, or of a whole range, from ``first`` to ``last``."""
    begin, _, end = row_id.partition("-")
    return "." not in begin and first <= int(begin) and int(end or begin) <= last


def _plain(label: Any) -> Any:
    """A label as a JSON value: an arc becomes an object."""
    fields: Any = getattr(label, "_asdict", None)
    return fields() if fields else label


def _rounded(confidences: Iterable[float] | float) -> list[float] | float:
    if isinstance(confidences, Iterable):
        return [round(float(confidence), _CONFIDENCE_DIGITS) for confidence in confidences]
    return round(float(confidences), _CONFIDENCE_DIGITS)
