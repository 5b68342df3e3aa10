"""JSON lines: one object per line with words and labels, or with a text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hyperx.data.read.base import Request, Writer, no_characters, read_each_line
from hyperx.data.read.blocks import comment_value
from hyperx.data.read.conllu import text_of_words
from hyperx.data.read.detection import AUTO, detected
from hyperx.data.read.lines import Line, check_length, stands_on_a_line
from hyperx.data.read.rows import NAMES, RowReader
from hyperx.data.read.segmentation import offsets_in, text_sentence
from hyperx.data.read.sentence import Offsets, Places, Prediction, Sentence
from hyperx.data.read.standoff import word_row
from hyperx.errors import DataError

_DIGITS = 4
_KEYS_READ = {"tokens", "id", *NAMES["text_pair"]}
"""Keys that are read and not written."""


def read_jsonl(lines: Iterable[Line], request: Request) -> Iterator[Sentence]:
    """JSON lines.

    Read are ``words`` or ``tokens``, which stay as they are, or ``text``, and ``text_pair`` for two texts; annotation,
    all under any of :data:`~hyperx.data.read.rows.NAMES`, or as :func:`~hyperx.data.read.standoff.word_row` has it; and
    in prediction ``space_after``, ``start_char`` and ``end_char``, and ``sent_id``, or else ``id``. All other keys are
    skipped. In prediction words are read if a task needs them, or if there is no text. ``language`` is that of the
    object, if it is not that of all.
    """
    rows = RowReader(request, in_file=True)

    def sentence_of(line: str, number: int, _: Request) -> Sentence | None:
        return object_sentence(_json_object(line), rows, number) if line.strip() else None

    return read_each_line(lines, request, sentence_of)


def object_sentence(row: Mapping[str, Any], rows: RowReader, number: int | None = None) -> Sentence:
    """The sentence of an object, given its line in a file; raises a DataError, without a place, if it has none."""
    request = rows.request
    sentence = rows.sentence(row if request.column is None else word_row(row, request), number)
    if request.column is not None:
        check_length(len(sentence.words))
        return sentence
    language, comments = _language(row, request, sentence), _sent_id(row)
    if sentence.words:
        spaces, offsets = _space_after(row, len(sentence.words)), _offsets(row, sentence)
        return replace(sentence, space_after=spaces, offsets=offsets, language=language, comments=comments)
    own = text_sentence(sentence.raw_text, request.segmenter(language)) or sentence
    return replace(
        sentence,
        words=own.words,
        lines=() if number is None else (number,) * max(len(own.words), 1),
        space_after=own.space_after,
        offsets=own.offsets,
        language=language,
        comments=comments,
    )


def _language(row: Mapping[str, Any], request: Request, sentence: Sentence) -> str | None:
    """The language that an object names, or that of its text if it is to be detected; None if it is that of all."""
    own = row.get("language")
    if own is not None and not (isinstance(own, str) and own.strip()):
        raise DataError(f"expected the code of a language in language, found {own!r:.40}; write one, or leave it out")
    return detected(sentence.raw_text) if own == AUTO else own or request.language_of(sentence.raw_text)


def _json_object(line: str) -> dict[str, Any]:
    """The object of a line; raises a DataError if it has none."""
    try:
        value = json.loads(line, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise DataError(f"expected a JSON object on one line, found a fault: {error}") from error
    if not isinstance(value, dict):
        example = '{"text": ...} or {"words": [...]}'
        raise DataError(f"expected a JSON object such as {example}, found {line[:40]!r}")
    return value


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice[:40]!r} occurs twice in one object; keep one")
    return members


def _space_after(row: Mapping[str, Any], count: int) -> tuple[bool, ...] | None:
    """For each word whether a space follows it; None if that is unknown."""
    spaces = row.get("space_after")
    if spaces is None:
        return None
    if not isinstance(spaces, list) or len(spaces) != count or not all(isinstance(space, bool) for space in spaces):
        raise DataError(f"expected space_after as {count} times true or false, one a word, found {spaces!r:.60}")
    return tuple(spaces)


def _offsets(row: Mapping[str, Any], sentence: Sentence) -> Offsets | None:
    """Those of the object if every word has one, which may count in a whole document; else those in its text."""
    places = [row.get(key) for key in ("start_char", "end_char")]
    if all(isinstance(own, list) and [*map(type, own)] == [int] * len(sentence.words) for own in places):
        return tuple(zip(*places, strict=True))
    return None if sentence.text is None else offsets_in(sentence.text, sentence.words)


def _sent_id(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The id of an object as a CoNLL-U comment; nothing if it has none, or none that fits on one line."""
    for key in ("sent_id", "id"):
        value = row.get(key)
        if isinstance(value, int | str) and str(value).strip() and stands_on_a_line(str(value)):
            return (f"# sent_id = {str(value).strip()}",)
    return ()


class JsonlWriter(Writer):
    """Writes JSON lines.

    Written are ``sent_id``, ``text``, ``text_pair``, ``language`` if the sentence has its own, ``words``, and if known
    ``space_after``, ``start_char`` and ``end_char``, the labels under each task's name, ``entities`` if entities were
    predicted (type, start and exclusive end in words from 0, text, the same in characters if known, and the task if
    there are several), and if requested ``confidence`` by task, and of each entity, and ``sentence_confidence`` by
    task. For a line without a sentence ``words`` and labels are empty, or null for a label of the whole sentence, and
    ``error`` says why it could not be read.
    """

    def label_problems(self, places: Places, labels: Mapping[str, Iterable[str]]) -> list[str]:
        """As for all formats, and tasks whose key would be read as something else."""
        read = [f"the task {task}, as this key is not read as labels" for task in places if task.lower() in _KEYS_READ]
        return [*read, *super().label_problems(places, labels)]

    def label_problem(self, label: str, task: str, places: Places) -> str | None:
        """Any label but half a character."""
        return no_characters(label)

    def render(self, prediction: Prediction, number: int) -> str:
        """One line."""
        sentence, columns = prediction.sentence, prediction.columns
        words = sentence.words if sentence.words or any(columns.values()) else None
        row: dict[str, Any] = {
            "sent_id": comment_value(sentence.comments, "sent_id"),
            "text": sentence.text,
            "text_pair": sentence.text_pair,
            "language": sentence.language,
            "words": words,
            "space_after": sentence.space_after,
        }
        for place, key in enumerate(("start_char", "end_char")):
            row[key] = sentence.offsets and [own[place] for own in sentence.offsets]
        row = {key: value for key, value in row.items() if value is not None}
        for task, labels in prediction.labels.items():
            row[task] = labels
            if columns[task]:  # an arc becomes an object
                row[task] = [label._asdict() if hasattr(label, "_asdict") else label for label in labels]
        if span_tasks := [task for task in columns if "ner" in columns[task]]:
            row["entities"] = [
                {
                    **{key: value for key, value in one._asdict().items() if value is not None},
                    "text": text_of_words(sentence, one.start, one.end),
                }
                for one in prediction.entities
            ]
            for one in row["entities"]:
                if len(span_tasks) == 1:
                    del one["task"]
                if "confidence" in one:
                    one["confidence"] = round(one["confidence"], _DIGITS)
        if sentence.error:
            row["error"] = sentence.error
        if prediction.confidences is not None:
            row["confidence"] = {
                task: [round(float(one), _DIGITS) for one in values] if columns[task] else round(float(values), _DIGITS)
                for task, values in prediction.confidences.items()
            }
            whole = {task: prediction.confidence(task) for task in columns if columns[task]}
            if told := {task: round(one, _DIGITS) for task, one in whole.items() if one is not None}:
                row["sentence_confidence"] = told
        return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
