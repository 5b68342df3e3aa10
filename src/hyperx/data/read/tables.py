"""Labelled texts in tables with a header: TSV and CSV."""

from __future__ import annotations

import csv
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from itertools import chain

from hyperx.data.read.base import Format, Request
from hyperx.data.read.lines import Line, whole, without_ends
from hyperx.data.read.rows import RowReader
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError

_SEPARATORS = ",;\t"
_LONGEST_FIELD = 2**31 - 1  # more does not fit into a C long everywhere


class TableFormat(Format):
    """A header, which names the columns, and rows of labelled texts below it."""

    def read(self, lines: Iterable[Line], request: Request) -> Iterator[Sentence]:
        """A first line that is no header is an error; rows may have faults."""
        reader = RowReader(request.origin, request.column, request.names)
        rows = self.fields(lines, request.origin)
        line, header = next(rows, (None, []))
        if line is None:
            return
        try:
            reader.names(header)
        except DataError as error:
            message = f"the first line is no header: {error.message}"
            raise DataError(message, path=request.origin, line=line) from error
        # A spreadsheet may end every row with empty fields.
        twice = next((name for index, name in enumerate(header) if name.strip() and name in header[:index]), None)
        if twice is not None:
            message = f"expected a name once in the header, found {twice!r} twice"
            raise DataError(message, path=request.origin, line=line)
        for number, values in rows:
            try:
                if len(values) != len(header):
                    found = f"expected {len(header)} fields, as the header has, found {len(values)}"
                    raise DataError(f"{found}; fix the row")
                yield reader.sentence(dict(zip(header, values, strict=True)), number)
            except DataError as fault:
                request.on_fault(DataError(fault.message, path=request.origin, line=number))

    @abstractmethod
    def fields(self, lines: Iterable[Line], origin: str) -> Iterator[tuple[int, list[str]]]:
        """The fields of each row and the number of its first line; raises a DataError at what is none."""


class TsvFormat(TableFormat):
    """One row per line, with fields between tabs; blank lines are skipped.

    Nothing is quoted: a quotation mark is a part of its field, and a field contains neither tab nor line end.
    """

    def fields(self, lines: Iterable[Line], origin: str) -> Iterator[tuple[int, list[str]]]:
        """Cut every line at its tabs."""
        return ((number, whole(line).split("\t")) for number, line in without_ends(lines) if line.strip())


class CsvFormat(TableFormat):
    """Comma-separated rows (RFC 4180): a field in double quotes may contain separators, line ends, and doubled quotes.

    The separator is the comma, or the semicolon or tab if the header has more of those.
    """

    def fields(self, lines: Iterable[Line], origin: str) -> Iterator[tuple[int, list[str]]]:
        """Read row by row; a row may have several lines."""
        texts = (whole(line) for _, line in lines)
        first = next(texts, "")
        rows = csv.reader(chain([first], texts), delimiter=max(_SEPARATORS, key=first.count), strict=True)
        start = 1
        while True:
            limit = csv.field_size_limit(_LONGEST_FIELD)  # a limit of the whole process
            try:
                row = next(rows, None)
            except csv.Error as error:
                hint = "Is a quote not closed, or not doubled inside?"
                message = f"expected a row of CSV, found a fault: {error}. {hint}"
                raise DataError(message, path=origin, line=start) from error
            finally:
                csv.field_size_limit(limit)
            if row is None:
                return
            if row:
                yield start, row
            start = rows.line_num + 1
