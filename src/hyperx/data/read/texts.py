"""Running text, words between spaces, and labelled texts in tables with a header, TSV and CSV."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, groupby, islice

from hyperx.data.read.base import TEXT, Request, read_each_line
from hyperx.data.read.lines import FaultyLine, Line, check_word, whole, without_ends
from hyperx.data.read.rows import RowReader
from hyperx.data.read.segmentation import is_visible, offsets_in, sentence_pieces, text_sentence
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError

MOST_LINES = 1_000
"""Lines of running text that are split into sentences at a time, so that memory does not grow with the text."""

# No-break spaces may occur within a word, as in the number `10 000`.
_SPACES = re.compile(r"[^\S\u00a0\u2007\u202f]+")
_CSV_SEPARATORS = ",;\t"
_LONGEST_FIELD = 2**31 - 1  # more does not fit into a C long everywhere


def read_raw(lines: Iterable[Line], request: Request) -> Iterator[Sentence]:
    """Running text, one sentence per line; lines without a visible character are skipped.

    The text is the line as it is. If a task reads texts, every run of white space counts as one space, but a tab
    separates two texts, and a line of more, or with an empty one of two, is refused. In training data a line is a
    passage.
    """
    return read_each_line(lines, request, _passage if request.column == TEXT else _line)


def _line(line: str, number: int, request: Request) -> Sentence | None:
    sentence = _sentence(line, number, request, request.language_of(line))
    return sentence if sentence is None or "text" in request.reads else replace(sentence, text=line)


def _passage(line: str, number: int, request: Request) -> Sentence | None:
    if not line.strip():
        return None
    check_word(line)
    return Sentence((), lines=(number,), origin=request.origin, text=line)


def _sentence(line: str, number: int, request: Request, language: str | None) -> Sentence | None:
    texts = line.split("\t") if "text" in request.reads else [line]
    first, *others = [" ".join(text.split()) for text in texts]
    segmenter = request.segmenter(language)
    sentence = text_sentence(first if segmenter is None else texts[0], segmenter)
    if others and any(map(is_visible, [first, *others])):
        if sentence is None or not is_visible(others[0]) or len(others) > 1:
            raise DataError(f"expected a text, or two with one tab between them, found {line[:60]!r}")
        sentence = replace(sentence, text_pair=others[0])
    lines = (number,) * max(len(sentence.words), 1) if sentence else ()
    return sentence and replace(sentence, lines=lines, origin=request.origin, language=language)


def read_text(lines: Iterable[Line], request: Request) -> Iterator[Sentence]:
    """Running text, which is split into sentences; blank lines, and those that are not UTF-8, separate paragraphs.

    The first sentence of each paragraph has the comment ``# newpar``, and that of the text ``# newdoc``. Every run of
    white space counts as one space. Offsets count the characters of the whole text, line ends as they are; behind a
    line that is not UTF-8 nobody can count, and there are none.
    """
    marks = {"# newdoc": True, "# newpar": True}
    piece, start, counted = "", 0, True
    language: str | None = None

    def sentence_lines() -> Iterator[Line]:
        nonlocal piece, start, counted, language
        for apart, group in groupby(lines, lambda line: type(line[1]) is FaultyLine or line[1].isspace()):
            if apart:
                marks["# newpar"] = True
                for number, line in group:
                    yield number, line
                    start, counted = start + len(line), counted and type(line) is not FaultyLine
            while own := list(islice(group, MOST_LINES)):
                number, text = own[0][0], "".join(line for _, line in own)
                language = request.language_of(text)
                for piece in sentence_pieces(text, language or request.language):
                    yield number, " ".join(piece.split())
                    number += piece.count("\n")
                    start += len(piece)

    def marked(line: str, number: int, request: Request) -> Sentence | None:
        if sentence := _sentence(line, number, request, language):
            own = offsets_in(piece, sentence.words) if counted else None
            offsets = own and tuple((start + first, start + last) for first, last in own)
            sentence = replace(sentence, comments=tuple(marks), offsets=offsets)
            marks.clear()
        return sentence

    return read_each_line(sentence_lines(), request, marked)


def read_tokens(lines: Iterable[Line], request: Request) -> Iterator[Sentence]:
    """Words separated by white space, though not by no-break spaces, one sentence per line; blank lines are skipped."""
    return read_each_line(lines, request, _tokens)


def _tokens(line: str, number: int, request: Request) -> Sentence | None:
    words = tuple(filter(None, _SPACES.split(line)))
    if not words or line.isspace():
        return None
    for word in words:
        check_word(word)
    return Sentence(words, lines=(number,) * len(words), origin=request.origin)


# Tables ---------------------------------------------------------------------------------------------------------------


def read_tsv(lines: Iterable[Line], request: Request) -> Iterator[Sentence]:
    """A header, then one row per line, with fields between tabs; blank lines are skipped.

    Nothing is quoted: a quotation mark is a part of its field, and a field contains neither tab nor line end.
    """
    rows = ((number, whole(line).split("\t")) for number, line in without_ends(lines) if line.strip())
    return _read_table(rows, request)


def read_csv(lines: Iterable[Line], request: Request) -> Iterator[Sentence]:
    """A header, then comma-separated rows (RFC 4180): a field in double quotes may contain separators, line ends, and
    doubled quotes. The separator is the comma, or the semicolon or tab if the header has more of those."""
    return _read_table(_csv_rows(lines, request.origin), request)


def _csv_rows(lines: Iterable[Line], origin: str) -> Iterator[tuple[int, list[str]]]:
    texts = (whole(line) for _, line in lines)
    first = next(texts, "")
    rows = csv.reader(chain([first], texts), delimiter=max(_CSV_SEPARATORS, key=first.count), strict=True)
    start = 1
    while True:
        limit = csv.field_size_limit(_LONGEST_FIELD)  # a limit of the whole process
        try:
            row = next(rows, None)
        except csv.Error as error:
            message = f"expected a row of CSV, found a fault: {error}. Is a quote not closed, or not doubled inside?"
            raise DataError(message, path=origin, line=start) from error
        finally:
            csv.field_size_limit(limit)
        if row is None:
            return
        if row:
            yield start, row
        start = rows.line_num + 1


def _read_table(rows: Iterator[tuple[int, list[str]]], request: Request) -> Iterator[Sentence]:
    """The labelled texts of rows with their line numbers; a first row that is no header is an error."""
    reader = RowReader(request)
    line, header = next(rows, (0, []))
    try:
        if line:
            reader.names(header)
    except DataError as error:
        raise DataError(f"the first line is no header: {error.message}", path=request.origin, line=line) from error
    # A spreadsheet may end every row with empty fields.
    if twice := next((name for name, count in Counter(header).items() if name.strip() and count > 1), None):
        raise DataError(f"expected a name once in the header, found {twice!r} twice", path=request.origin, line=line)
    for number, values in rows:
        try:
            if len(values) != len(header):
                found = f"expected {len(header)} fields, as the header has, found {len(values)}"
                raise DataError(f"{found}; fix the row")
            yield reader.sentence(dict(zip(header, values, strict=True)), number)
        except DataError as fault:
            request.on_fault(DataError(fault.message, path=request.origin, line=number))
