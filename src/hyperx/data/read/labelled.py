"""Labelled texts and pairs of texts, one per row: TSV, CSV and JSON lines, and the names of their columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hyperx.data.read.lines import (
    OnFault,
    check_word,
    no_sentences,
    numbered_lines,
    stands_on_a_line,
    stop,
    whole_lines,
)
from hyperx.data.read.segmentation import check_whole, is_visible
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError, did_you_mean

LABEL = "label"
"""The column of a text's label."""

TEXT_COLUMNS: dict[str, tuple[str, ...]] = {
    "text": ("text", "sentence", "sentence1", "premise", "review"),
    "text_pair": ("text_pair", "sentence2", "hypothesis"),
    LABEL: ("label", "class", "category"),
}
"""Our names of the columns of labelled texts -> those in files and data sets, whatever their case."""

WORD_KEYS = ("words", "tokens")
"""The keys of words in JSON lines."""

TAG_KEYS = {"ner": ("ner", "ner_tags", "tags"), "upos": ("upos", "pos", "upos_tags", "pos_tags", "tags")}
"""Our names of the columns of words -> their keys in JSON lines."""

_SEPARATORS = ",;\t"
_LONGEST_FIELD = 2**31 - 1  # more does not fit into a C long everywhere

Row = tuple[int, Mapping[str, Any]]
"""The number of a row's first line, and its values by name."""


def read_tsv(
    path: str | Path, on_fault: OnFault = stop, columns: Mapping[str, str] | None = None
) -> Iterator[Sentence]:
    """Stream the labelled texts of a file with a header and one row per line, with fields separated by tabs.

    Nothing is quoted: a quotation mark is a part of its field, and a field contains neither tab nor line end. Blank
    lines are skipped. ``on_fault`` raises by default; if it does not, a row with a fault is skipped.

    Args:
        path: the file.
        on_fault: called for every row with a fault.
        columns: our names (`text`, `text_pair`, `label`) -> the file's, if they are unusual.

    Raises:
        DataError: with file and line, if the header lacks a column; for a row with another number of fields, without
            a text or label; for a file that is not UTF-8 or has no row.
    """
    fields = ((number, line.split("\t")) for number, line in numbered_lines(path) if line.strip())
    return _sentences(path, _rows(path, fields, columns or {}, on_fault), columns or {}, on_fault)


def read_csv(
    path: str | Path, on_fault: OnFault = stop, columns: Mapping[str, str] | None = None
) -> Iterator[Sentence]:
    """Stream the labelled texts of a file with a header and comma-separated rows (RFC 4180); see `read_tsv`.

    A field in double quotes may contain separators, line ends, and quotes, which are doubled. The separator is the
    comma, or the semicolon or tab if the header has more of those.
    """
    return _sentences(path, _rows(path, _csv_fields(path), columns or {}, on_fault), columns or {}, on_fault)


def read_jsonl(
    path: str | Path, on_fault: OnFault = stop, columns: Mapping[str, str] | None = None
) -> Iterator[Sentence]:
    """Stream the labelled texts of a file with one JSON object per line; see `read_tsv`. Labels may be integers,
    or true and false."""
    return _sentences(path, json_rows(numbered_lines(path), path, on_fault), columns or {}, on_fault)


def read_tagged_jsonl(
    path: str | Path, column: str, on_fault: OnFault = stop, columns: Mapping[str, str] | None = None
) -> Iterator[Sentence]:
    """Stream the sentences of a file with one JSON object per line: words or tokens, and a tag for each as a text.

    Args:
        path: the file.
        column: the column of the tags, such as `ner`.
        on_fault: called for every row with a fault; by default it is raised.
        columns: the name of the column -> its key, if that is unusual.
    """
    keys, found = (columns[column],) if columns and column in columns else TAG_KEYS[column], False
    for number, row in json_rows(numbered_lines(path), path, on_fault):
        found = True
        try:
            words, tags = _texts_of(row, WORD_KEYS), _texts_of(row, keys)
            if len(words) != len(tags):
                raise DataError(f"expected a tag for each of {len(words)} words, found {len(tags)}")
            for word in words:
                check_whole(word)
                check_word(word)
            yield Sentence(words=words, columns={column: tags}, lines=(number,) * len(words), source=str(path))
        except DataError as fault:
            on_fault(DataError(fault.message, path=path, line=number))
    if not found:
        raise no_sentences(path)


def _texts_of(row: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, ...]:
    """The texts that are listed under one of some keys."""
    key = next((key for key in keys if isinstance(row.get(key), list)), None)
    if key is None:
        raise DataError(f"expected a list under {' or '.join(keys)}, found the keys {_listed(list(row))}")
    other = next((value for value in row[key] if not isinstance(value, str) or not value.strip()), None)
    if other is not None or not row[key]:
        raise DataError(f"expected texts under {key}, found {row[key] and other!r:.40}; write tags by their names")
    return tuple(row[key])


def json_rows(lines: Iterable[tuple[int, str]], place: str | Path, on_fault: OnFault = stop) -> Iterator[Row]:
    """The objects of JSON lines; blank lines are skipped, other lines are faults.

    Args:
        lines: numbered lines.
        place: the name of the file in errors.
        on_fault: called for every line that is not an object.
    """
    for number, line in lines:
        if not line.strip():
            continue
        try:
            value = json_object(line)
        except DataError as error:
            on_fault(DataError(error.message, path=place, line=number))
        else:
            yield number, value


def json_object(line: str, example: str = '{"text": ..., "label": ...}') -> dict[str, Any]:
    """The object of a line; raises a DataError if it has none, with an example of one."""
    try:
        value = json.loads(line, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise DataError(f"expected a JSON object on one line, found a fault: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"expected a JSON object such as {example}, found {line[:40]!r}")
    return value


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The members of a JSON object, each with a name of its own."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:40]!r} occurs twice in one object; keep one")
    return found


@dataclass
class TextRows:
    """Converts rows to sentences.

    Args:
        place: the file, stream or data set, for messages.
        columns: our names of columns -> the data's, if they are unusual.
        labelled: whether rows must have a label; otherwise labels are not read.
    """

    place: str
    columns: Mapping[str, str] = field(default_factory=dict)
    labelled: bool = True
    _found: Sequence[str] | None = field(default=None, init=False)
    _names: Mapping[str, str] = field(default_factory=dict, init=False)

    def sentence(self, row: Mapping[str, Any], line: int | None, where: str = "") -> Sentence:
        """One row as a sentence.

        Args:
            row: its values by the data's names.
            line: its line number in a file.
            where: the beginning of its errors.

        Raises:
            DataError: if a column, a text or the label is missing or of the wrong kind.
        """
        try:
            if tuple(row) != self._found:
                self._found, self._names = tuple(row), self.names(tuple(row))
            values = {ours: row[theirs] for ours, theirs in self._names.items()}
            pair = values.get("text_pair")
            return Sentence(
                words=(),
                columns={LABEL: (_label(values[LABEL]),)} if self.labelled else {},
                lines=() if line is None else (line,),
                source=self.place,
                text=_text(values["text"], self._names["text"]),
                text_pair=None if pair is None else _text(pair, self._names["text_pair"]),
            )
        except DataError as error:
            raise DataError(where + error.message, path=self.place, line=line) from error

    def names(self, found: Sequence[str]) -> dict[str, str]:
        """The data's name for each of our columns, given all its names.

        Raises:
            DataError: if there is none for a column that rows must have.
        """
        names = {}
        by_lower = {name.strip().lower(): name for name in found}
        for ours, known in TEXT_COLUMNS.items():
            if ours == LABEL and not self.labelled:
                continue
            named = self.columns.get(ours)
            usual = [by_lower[name] for name in known if name in by_lower]
            if named is not None and named not in found:
                hint = did_you_mean(named, found)
                raise DataError(f"expected the column {named!r} for {ours}, found {_listed(found)}.{hint}")
            if named is not None or usual:
                names[ours] = usual[0] if named is None else named
            elif ours != "text_pair":
                advice = f"; name it under columns in the data table, such as {{{ours}: NAME}}" if self.labelled else ""
                raise DataError(f"expected a column named {' or '.join(known)}, found {_listed(found)}{advice}")
        return names


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name[:40] for name in names[:20]) or "none"


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not is_visible(value):
        raise DataError(f"expected a text in {name}, found {value!r:.40}; write one or remove the row")
    check_whole(value)
    return value


def _label(value: Any) -> str:
    if isinstance(value, int | str):
        # Of labels that are yes or no, JSON has the words true and false; Python's begin with a capital letter.
        label = str(value).lower() if isinstance(value, bool) else str(value).strip()
        if is_visible(label) and stands_on_a_line(label):
            return label
    raise DataError(f"expected a label, a word or an integer, found {value!r:.40}; add it or remove the row")


def _sentences(
    path: str | Path, rows: Iterable[Row], columns: Mapping[str, str], on_fault: OnFault
) -> Iterator[Sentence]:
    reader, found = TextRows(str(path), columns), False
    for number, row in rows:
        found = True
        try:
            yield reader.sentence(row, number)
        except DataError as fault:
            on_fault(fault)
    if not found:
        raise no_sentences(path)


def _rows(
    path: str | Path, fields: Iterator[tuple[int, list[str]]], columns: Mapping[str, str], on_fault: OnFault
) -> Iterator[Row]:
    """The rows below a header, which must name every column."""
    line, header = next(fields, (None, None))
    if header is None:
        raise no_sentences(path)
    try:
        TextRows(str(path), columns).names(header)
    except DataError as error:
        raise DataError(f"the first line is no header: {error.message}", path=path, line=line) from error
    # A spreadsheet may end every row with empty fields.
    twice = next((name for index, name in enumerate(header) if name.strip() and name in header[:index]), None)
    if twice is not None:
        raise DataError(f"expected a name once in the header, found {twice!r} twice", path=path, line=line)
    for number, values in fields:
        if len(values) == len(header):
            yield number, dict(zip(header, values, strict=True))
        else:
            message = f"expected {len(header)} fields, as the header has, found {len(values)}; fix the row"
            on_fault(DataError(message, path=path, line=number))


def _csv_fields(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """The fields of each row and the number of its first line."""
    lines = (line for _, line in whole_lines(path))
    first = next(lines, "")
    separator = max(_SEPARATORS, key=first.count)
    rows = csv.reader(_before(first, lines), delimiter=separator, strict=True)
    start = 1
    while True:
        try:
            row = _next_row(rows)
        except csv.Error as error:
            message = f"expected a row of CSV, found a fault: {error}. Is a quote not closed, or not doubled inside?"
            raise DataError(message, path=path, line=start) from error
        if row is None:
            return
        if row:
            yield start, row
        start = rows.line_num + 1


def _next_row(rows: Iterator[list[str]]) -> list[str] | None:
    """The next row, with fields of any length; the csv module's limit, which is global, is restored."""
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        return next(rows, None)
    finally:
        csv.field_size_limit(limit)


def _before(first: str, rest: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
        yield from rest
