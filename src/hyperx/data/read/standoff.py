"""Labels at characters of a text, as tools for annotation have them: Doccano (1.8) in JSON lines, Label Studio (1 and
2) in a list of tasks, which it exports as JSON or JSON-MIN."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # that of Python 3.12, which pydantic asks for

from hyperx.data.read.base import Request
from hyperx.data.read.labels import NO_LABEL
from hyperx.data.read.lines import Line, check_length, whole
from hyperx.data.read.rows import NAMES, RowReader, checked_words
from hyperx.data.read.segmentation import offsets_in, word_segmenter
from hyperx.data.read.sentence import Prediction, Sentence
from hyperx.data.read.spans import spans, type_problem
from hyperx.errors import DataError, listed

log = logging.getLogger(__name__)

_NONE = {"upos": NO_LABEL, "ner": "O"}
"""What a word is whose characters have no label, by column."""
_KEYS = ("label", "labels", "entities")
"""Where Doccano has spans: now, before, and in projects with relations."""


class _Value(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    text: str
    choices: list[str]


class _Result(TypedDict, total=False):
    value: _Value


class _Annotation(TypedDict, total=False):
    was_cancelled: bool | None
    result: list[_Result]


_ANNOTATIONS = TypeAdapter(list[_Annotation])


def word_row(row: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
    """A row with a label for each word in the place of spans of characters; any other row as it is.

    Words are those that the row lists, or else what the rules of the language make of its text. A span is of all words
    of which it has a character. Raises a DataError, without a place, if a span is of none, or a word is in two.
    """
    column, text = str(request.column), row.get("text")
    values = next((row[key] for key in _KEYS if isinstance(row.get(key), list)), None)
    labelled = any(name in row for name in (*NAMES.get(column, ()), request.names.get(column)))
    if column not in _NONE or labelled or values is None or not isinstance(text, str):
        return row
    given: Any = row.get("words") or getattr(word_segmenter(request.language).segment(text), "words", ())
    words = checked_words(given)
    check_length(len(words))
    if (places := offsets_in(text, words)) is None:
        raise DataError(f"expected words that the text has one after the other, found others in {text[:40]!r}")
    tags = [_NONE[column]] * len(words)
    for start, end, label, piece in map(_span, values):
        found, where = text[start:end], f"at the characters {start} to {end}"
        if piece is not None and piece.split() != found.split():
            raise DataError(f"expected {piece!r:.40} {where}, found {found!r:.40}; are characters counted otherwise?")
        if problem := type_problem([label]) if column == "ner" else None:
            raise DataError(problem)
        if not (covered := [word for word, (first, last) in enumerate(places) if first < end and start < last]):
            raise DataError(f"expected a word {where} for the label {label}, found {found!r:.40}; label words")
        for number, word in enumerate(covered):
            if tags[word] != _NONE[column]:
                raise DataError(f"expected one label at {words[word]!r}, found {tags[word]} and {label}; remove one")
            tags[word] = label if column != "ner" else f"{'I' if number else 'B'}-{label}"
    return {"text": text, "words": words, column: tags}


def _span(value: Any) -> tuple[int, int, str, str | None]:
    """First character, that behind the last, label, and what the tool says the text is, if it does."""
    match value:
        case [int(start), int(end), str(label)]:
            return start, end, label, None
        case {"start_offset": int(start), "end_offset": int(end), "label": str(label)}:
            return start, end, label, None
        case {"start": int(start), "end": int(end), "labels": [str(label)]}:
            return start, end, label, value.get("text")
    raise DataError(f'expected a span with one label, such as [0, 3, "PER"], found {json.dumps(value)[:60]}')


def read_label_studio(lines: Iterable[Line], request: Request) -> Iterator[Sentence]:
    """A list of tasks, and of each the last annotation that was not cancelled; tasks without one are skipped."""
    text, reader = "".join(whole(line) for _, line in lines), RowReader(request, in_file=True)
    try:
        tasks = json.loads(text)
    except (ValueError, RecursionError) as error:
        message, line = f"expected tasks of Label Studio, found a fault: {error}", getattr(error, "lineno", None)
        raise DataError(message, path=request.origin, line=line) from error
    if not isinstance(tasks, list):
        raise DataError(f"expected a list of tasks, found {text.strip()[:40]!r}", path=request.origin, line=1)
    end, line, skipped = 0, 1, 0
    for number, task in enumerate(tasks, start=1):
        start = re.compile(r"[\s,\[]*").match(text, end).end()  # type: ignore[union-attr]
        line += text.count("\n", end, start)
        try:
            if (row := _annotated(task)) is None:
                skipped += 1
            else:
                sentence = reader.sentence(word_row(row, request), line)
                check_length(len(sentence.words))
                yield sentence
        except DataError as fault:
            name = task.get("id", number) if isinstance(task, dict) else number
            request.on_fault(DataError(f"task {name}: {fault.message}", path=request.origin, line=line))
        end = json.JSONDecoder().raw_decode(text, start)[1]
        line += text.count("\n", start, end)
    if skipped:
        log.warning("%s: %d of %d tasks have no annotation: they are skipped", request.origin, skipped, len(tasks))


def _annotated(task: Any) -> dict[str, Any] | None:
    """The data of a task with its annotation as label; None if there is no annotation."""
    match task:
        case {"data": dict(data), "annotations": list(annotations)}:
            try:
                own = _ANNOTATIONS.validate_python(annotations)
            except ValidationError as error:
                expected = f"expected annotations with results and their values: {listed(error)[0]['msg']}"
                raise DataError(f"{expected}, found {json.dumps(annotations)[:60]}") from None
            results = [one.get("result", []) for one in own if not one.get("was_cancelled")]
            values = [one["value"] for one in results[-1] if "value" in one] if results else []
            choices = [choice for value in values for choice in value.get("choices", ())]
            return {**data, "label": choices or [one for one in values if "labels" in one]} if results else None
        case {"annotation_id": _}:  # JSON-MIN, which leaves out what is empty
            return {"label": [], **task}
    raise DataError(f'expected a task with "data" and "annotations", found {json.dumps(task)[:60]}')


def doccano_text(predictions: Sequence[Prediction], task: str) -> str:
    """An object a line, for Doccano's import; it exports keys that it does not know, such as the words."""
    return "".join(json.dumps(_span_row(one, task), ensure_ascii=False) + "\n" for one in predictions)


def label_studio_text(predictions: Sequence[Prediction], task: str) -> str:
    """Tasks with predictions, for a project whose labels (or choices) are named ``label``, and its text ``text``."""
    tasks = []
    for prediction in predictions:
        row = _span_row(prediction, task)
        text, labels, kind = row["text"], row.pop("label"), "labels" if prediction.columns[task] else "choices"
        values: list[dict[str, Any]] = [{"choices": labels}]
        if kind == "labels":
            values = [{"start": s, "end": e, "text": text[s:e], "labels": [label]} for s, e, label in labels]
        shared = {"from_name": "label", "to_name": "text", "type": kind}
        result = [{"id": str(number), **shared, "value": value} for number, value in enumerate(values)]
        answer = {"model_version": "hyperx", "score": prediction.confidence(task), "result": result}
        tasks.append(json.dumps({"data": row, "predictions": [answer]}, ensure_ascii=False))
    return "[\n" + ",\n".join(tasks) + "\n]\n"


def _span_row(prediction: Prediction, task: str) -> dict[str, Any]:
    """The text with its words and the spans of a task, which :func:`word_row` reads; or with the label of the text."""
    sentence, text, labels = prediction.sentence, prediction.sentence.raw_text, prediction.labels[task]
    if not prediction.columns[task]:
        pair = {} if sentence.text_pair is None else {"text_pair": sentence.text_pair}
        return {"text": text, **pair, "label": [labels]}
    if (places := offsets_in(text, sentence.words)) is None:  # such as the French words *de le* of *du*
        text = " ".join(sentence.words)
        places = offsets_in(text, sentence.words) or ()
    alone = [(label, word, word + 1) for word, label in enumerate(labels)]
    own = spans(labels) if "ner" in prediction.columns[task] else alone
    found = [[places[first][0], places[last - 1][1], label] for label, first, last in own]
    return {"text": text, "label": found, "words": list(sentence.words)}
