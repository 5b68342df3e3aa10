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
from hyperx.data.read.conllu import DEPREL, HEAD, ID, MISC, UPOS, comment_value, surface_text
from hyperx.data.read.labelled import TEXT_COLUMNS
from hyperx.data.read.segmentation import is_visible
from hyperx.data.read.sentence import Sentence
from hyperx.data.read.spans import spans
from hyperx.data.read.text import ColumnsSentence, ConlluSentence, Gap, Row
from hyperx.errors import DataError

log = logging.getLogger(__name__)

# Annotation that has a column of its own in CoNLL-U; all other goes into MISC under the task's name, as `NER=B-PER`.
_COLUMNS = {"upos": UPOS, "head": HEAD, "deprel": DEPREL}

# The annotation that is BIO spans.
_SPANS = "ner"

_CONFIDENCE_DIGITS = 4

_LINE_BREAKS = re.compile(r"[\t\n\r\0]+")

_NOTHING = "_"
"""What stands for the word, and for its labels, of a sentence that could not be read."""

_NO_WORDS = ("# ", "-DOCSTART-", "\ufeff")
"""What begins a comment or a document in columns, or a file."""

_KEYS_READ = {"tokens", "id", *TEXT_COLUMNS["text_pair"]}
"""Keys of JSON lines that are read and not written."""

Places = Mapping[str, Iterable[str]]
"""For each task the columns of words that it gives, none for a task that labels whole sentences."""


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

    @classmethod
    def nothing(cls, gap: Gap, places: Places) -> Prediction:
        """What is written for a line without a sentence: no label of any task."""
        return cls(
            gap,
            labels={task: () if columns else None for task, columns in places.items()},
            columns={task: dict.fromkeys(columns, ()) for task, columns in places.items()},
        )

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

    @classmethod
    def label_problems(cls, places: Places, labels: Mapping[str, Iterable[str]]) -> list[str]:
        """Which tasks have labels, or names, that would be read back as others.

        Args:
            places: for each task the columns of words that it gives.
            labels: its labels.
        """
        return [
            f"the label {label!r} of {task}, as {reason}"
            for task, columns in places.items()
            for label in labels[task]
            for reason in [cls._label_problem(label, task, places)]
            if reason
        ]

    @classmethod
    def _label_problem(cls, label: str, task: str, places: Places) -> str | None:
        """Why the format cannot hold a label of a task; None if it can."""
        return _no_characters(label)

    @classmethod
    @abstractmethod
    def check(cls, sentence: Sentence, places: Places) -> None:
        """Check that the format can hold a sentence's words.

        Raises:
            DataError: naming the word, with its file and line.
        """

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
    In the place of a sentence that could not be read there is the word ``_`` without labels, below ``# error = ...``.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._written = 0

    @classmethod
    def label_problems(cls, places: Places, labels: Mapping[str, Iterable[str]]) -> list[str]:
        """As for all formats, and tasks whose attributes of MISC would have one name."""
        owners: dict[int | str, str] = {}
        twice = [
            f"the tasks {owners[place]} and {task}, as both are {place}= in MISC"
            for place, (task, _) in _place_list(places)
            if owners.setdefault(place, task) != task
        ]
        return [*twice, *super().label_problems(places, labels)]

    @classmethod
    def _label_problem(cls, label: str, task: str, places: Places) -> str | None:
        if problem := _no_field(label):
            return problem
        if not tuple(places[task]):
            return None if label == label.strip() else "spaces around a comment are not read"
        in_misc = any(isinstance(place, str) and owner == task for place, (owner, _) in _place_list(places))
        return "| separates the entries of MISC" if in_misc and "|" in label else None

    @classmethod
    def check(cls, sentence: Sentence, places: Places) -> None:
        """Words have neither tabs nor line ends."""
        if not isinstance(sentence, ConlluSentence):
            _checked(sentence.words, sentence)

    def _rendered(self, prediction: Prediction) -> str:
        self._written += 1
        sentence = prediction.sentence
        if isinstance(sentence, Gap):
            nothing = replace(sentence, words=(_NOTHING,), text=sentence.text or _NOTHING)
            error = f"# error = {_LINE_BREAKS.sub(' ', sentence.error)}"
            lines = [*_comments(nothing, (), self._written), error, *map("\t".join, _new_rows(nothing))]
            return "\n".join(lines) + "\n\n"
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
    there are several), and ``confidence`` by task if requested. For a line without a sentence ``words`` and labels are
    empty, or null for a label of the whole sentence, and ``error`` says why it could not be read.
    """

    @classmethod
    def label_problems(cls, places: Places, labels: Mapping[str, Iterable[str]]) -> list[str]:
        """As for all formats, and tasks whose key would be read as something else."""
        read = [f"the task {task}, as this key is not read as labels" for task in places if task.lower() in _KEYS_READ]
        return [*read, *super().label_problems(places, labels)]

    @classmethod
    def check(cls, sentence: Sentence, places: Places) -> None:
        """Any words."""

    def _rendered(self, prediction: Prediction) -> str:
        return json.dumps(dict(_json_items(prediction)), ensure_ascii=False, allow_nan=False) + "\n"


class ColumnsWriter(PredictionWriter):
    """One word per line, followed by each task's labels, separated by tabs; a blank line after each sentence.

    A label of the whole sentence comes before it, as ``# sentiment = good``, and before the label the second of two
    texts, as ``# text_pair = ...``. If no task needed the words, there is one line per text: the text, the second one
    if there are two, and the labels. In the place of a sentence that could not be read there is ``_`` with labels
    ``_``, below ``# error = ...``. A sentence that knows its lines is written line by line, comments and blank lines
    included.
    """

    @classmethod
    def _label_problem(cls, label: str, task: str, places: Places) -> str | None:
        spaces = "spaces around a label or comment are not read"
        return _no_field(label) or (None if label == label.strip() else spaces)

    @classmethod
    def check(cls, sentence: Sentence, places: Places) -> None:
        """Words have neither tabs nor line ends, and do not make their line a comment or the start of a document;
        without a label beside them, they have no spaces either."""
        _checked(sentence.words, sentence)
        alone = not any(map(tuple, places.values()))
        for number, word in enumerate(sentence.words):
            if word.startswith(_NO_WORDS) or (alone and " " in word):
                message = f"expected a word that columns can hold, found {word[:40]!r}; choose --output_format jsonl"
                raise DataError(message, path=sentence.source or None, line=sentence.line_of(number))

    def _rendered(self, prediction: Prediction) -> str:
        if isinstance(prediction.sentence, ColumnsSentence) and prediction.sentence.shape:
            return _aligned(prediction, prediction.sentence.shape)
        if isinstance(prediction.sentence, Gap):
            width = sum(len(columns) for columns in prediction.columns.values())
            row = "\t".join([_NOTHING] * (1 + (width or len(prediction.labels)))) + "\n"
            error = f"# error = {_LINE_BREAKS.sub(' ', prediction.sentence.error)}\n"
            return f"{error}{row}\n" if width else row
        if not prediction.words:
            return "\t".join(_LINE_BREAKS.sub(" ", part) for part in _text_fields(prediction)) + "\n"
        rows = _column_rows(prediction)
        comments = list(_label_comments(prediction))
        if comments:  # without a label of the whole sentence, only words and tags, as in training data
            comments = [*_pair_comment(prediction.sentence), *comments]
        return "".join(f"{comment}\n" for comment in comments) + "".join(f"{row}\n" for row in rows) + "\n"


OUTPUT_FORMATS: dict[OutputFormat, type[PredictionWriter]] = {
    "conllu": ConlluWriter,
    "jsonl": JsonlWriter,
    "columns": ColumnsWriter,
}
"""Every output format by its name."""


def _no_characters(label: str) -> str | None:
    """Why no file can hold a label; None if one can."""
    return None if label.isprintable() or label.encode(errors="ignore").decode() == label else "it has a lone surrogate"


def _no_field(label: str) -> str | None:
    """Why no field of a line can hold a label; None if one can."""
    if not label.strip():
        return "nothing can be seen of it"
    if _LINE_BREAKS.search(label):
        return "it has a tab, line end or NUL"
    return _no_characters(label)


def _column_rows(prediction: Prediction) -> Iterator[str]:
    """The words with their labels, separated by tabs."""
    found = [column for columns in prediction.columns.values() for column in columns.values()]
    columns = [prediction.sentence.words, *([str(value) for value in column] for column in found)]
    return map("\t".join, zip(*(_checked(column, prediction.sentence) for column in columns), strict=True))


def _aligned(prediction: Prediction, shape: Sequence[str | None]) -> str:
    """The lines that were read, with the rows of words in their places."""
    width = 1 + sum(len(columns) for columns in prediction.columns.values())
    rows = _column_rows(prediction)
    nothing = "\t".join([_NOTHING] * width)
    return "".join((next(rows, nothing) if line is None else line) + "\n" for line in shape)


def _text_fields(prediction: Prediction) -> Iterator[str]:
    """The text or texts, and their labels."""
    yield prediction.sentence.raw_text
    if prediction.sentence.text_pair is not None:
        yield prediction.sentence.text_pair
    yield from prediction.sentence_labels.values()


def _checked(fields: Sequence[str], sentence: Sentence) -> Sequence[str]:
    """The fields of all words, checked to fit into a column."""
    for word, field in enumerate(fields):
        if not field or _LINE_BREAKS.search(field):
            found = f"found {field[:40]!r}; fix it, or write jsonl"
            message = f"expected a word or label without tabs, line ends and NUL, {found}"
            raise DataError(message, path=sentence.source or None, line=sentence.line_of(word))
    return fields


def _new_rows(sentence: Sentence) -> Iterator[Row]:
    if not sentence.words:
        sentence = replace(sentence, words=tuple(filter(is_visible, sentence.raw_text.split())))
    words = zip(_checked(sentence.words, sentence), sentence.spaces, strict=True)
    for number, (word, space) in enumerate(words, start=1):
        yield (str(number), word, *"_______", "_" if space else "SpaceAfter=No")


def _filled(rows: Iterable[Row], prediction: Prediction) -> Iterator[Row]:
    """The rows with each task's labels at the words; ranges and empty nodes stay unchanged."""
    columns = {
        place: _checked([str(value) for value in prediction.columns[task][name]], prediction.sentence)
        for place, (task, name) in _place_list(prediction.columns)
    }
    word = 0
    for row in rows:
        if row[ID].isdecimal():
            yield _with_labels(row, {place: values[word] for place, values in columns.items()})
            word += 1
        else:
            yield row


def _place_list(tasks: Places) -> Iterator[tuple[int | str, tuple[str, str]]]:
    """The column of CoNLL-U, by its number, or attribute of MISC, by its name, for each task and annotation.

    If several tasks have the same column, the first gets it.
    """
    taken = set()
    for task, columns in tasks.items():
        names = tuple(columns)
        for name in names:
            column = _COLUMNS.get(name)
            attribute = (task if len(names) == 1 else f"{task}_{name}").upper()
            yield attribute if column is None or column in taken else column, (task, name)
            taken.add(column)


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
    if sentence.words or any(prediction.columns.values()):
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
    if isinstance(sentence, Gap) and sentence.error:
        yield "error", sentence.error
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
