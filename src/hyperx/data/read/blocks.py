"""Blocks of lines between blank lines, with one word per line: what CoNLL-U and other columns share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from hyperx.data.read.base import Request
from hyperx.data.read.labels import UPOS_TAGS
from hyperx.data.read.lines import MOST_WORDS, Line, check_length, check_line, check_word, whole
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError, counted

# A range or an empty node; no sentence has longer numbers.
_ID = re.compile(r"([0-9]{1,9})([-.])([1-9][0-9]{0,8})")

# Only the plain space separates: NBSP and U+3000 are parts of words.
_SPACES = re.compile(" +")
_SPAN_TAG = re.compile("O|[BIESULM]-.+")
_NAMED_COMMENT = re.compile(r"# \S+ =")
_MOST_LINES = 10 * MOST_WORDS  # a file without blank lines may be large
DOCUMENT = "-DOCSTART-"
"""What begins a line between documents."""


@dataclass
class WordIds:
    """The ids of a sentence, checked line by line.

    Words count up from 1. A range (`1-2`) comes before its first word, and no word is in two; an empty node (`2.1`)
    comes after its word, or before the first one (`0.1`).
    """

    words: int = 0
    _range: tuple[int, int] = (0, 0)  # the last word of the last range, and its line

    def is_word(self, number: int, value: str) -> bool:
        """Add the id of a line; returns whether it is that of a word, and raises a DataError if it may not be here."""
        expected = self.words + 1
        if value == str(expected):
            self.words = expected
            return True
        if match := _ID.fullmatch(value):
            first, last = int(match[1]), int(match[3])
            if match[2] == "." and first == self.words:
                return False
            if match[2] == "-" and self._range[0] < first == expected <= last:
                self._range = (last, number)
                return False
        rules = "ids count up from 1, anew after a blank line, and no word is of two ranges"
        raise DataError(f"expected word {expected} of the sentence, found id {value[:40]!r}; {rules}")

    def check_range(self) -> None:
        """Check, at the end of the sentence, that it has the words of the last range; raises a DataError if not."""
        last, line = self._range
        if last > self.words:
            message = f"expected {counted(last, 'word')}, as the range says, found {self.words}; fix the range"
            raise DataError(message, line=line)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the lines of a file with columns are split.

    Args:
        separator: a tab, or a space, any number of which separates where there is no tab.
        width: how many columns every line has.
        expected: what every line is told to be.
        advice: what to do about a line of another width.
        usual: where other lines have the width, for messages.
        word: the column of the word, counted from 0.
        tag: the column of its tag, if there is one to read.
        indexed: whether the first column counts the words of each sentence, as in CoNLL-U.
        has_documents: whether a line that begins with `-DOCSTART-` stands between documents.
    """

    separator: str
    width: int
    expected: str
    advice: str
    usual: str = ""
    word: int = 0
    tag: int | None = None
    indexed: bool = False
    has_documents: bool = True

    def columns(self, line: str) -> list[str] | None:
        """The columns of a line; None for a comment.

        Where the first column counts words, every line that begins with `#` is a comment. Elsewhere `#` may be a word:
        a comment begins with `# ` and does not have the columns of the file, or is of the form `# name = value`. If
        another one does have the columns, the last must be a tag; otherwise nothing tells a comment from a word.

        Raises:
            DataError: for a line with another number of columns, and one that may be a comment or a word.
        """
        is_comment = line.startswith("# ")
        if (self.indexed and line[0] == "#") or (is_comment and _NAMED_COMMENT.match(line)):
            return None
        if is_comment and self.separator == " " and "\t" in line:
            return None
        columns = cut(line, self.separator)
        if len(columns) == self.width:
            if is_comment and self.width > 1 and not is_tag(columns[-1].strip(" ")):
                found = f"{line[:40]!r}, which may be a comment or a word; remove it, or write it as # NAME = VALUE"
                raise DataError(f"expected {self.expected}, found {found}")
            return columns
        if is_comment:
            return None
        raise DataError(f"expected {self.expected}, found {len(columns)} columns{self.usual}; {self.advice}")


@dataclass(slots=True)
class Block:
    """The lines between two blank lines, cut into columns.

    Args:
        rows: the columns of every line that is no comment.
        faults: what is wrong; if anything is, the words are not complete.
    """

    comments: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    faults: list[DataError] = field(default_factory=list)


def read_blocks(
    lines: Iterable[Line], layout: Layout, request: Request, build: Callable[[Block, Request], Sentence]
) -> Iterator[Sentence]:
    """Stream the sentences of numbered lines, each as soon as its last line is known, and what stands in the place of
    others; ``build`` gives that of a block, or raises a DataError."""
    own: list[Line] = []
    for number, line in lines:
        if not line.strip(" \t"):
            yield from _sentence(own, layout, request, build)
            own = []
        elif len(own) < _MOST_LINES and not (layout.has_documents and line.startswith(DOCUMENT)):
            own.append((number, line))
    yield from _sentence(own, layout, request, build)


def _sentence(
    lines: Sequence[Line], layout: Layout, request: Request, build: Callable[[Block, Request], Sentence]
) -> Iterator[Sentence]:
    """The sentence of a block's lines, or what stands in its place if anything is wrong with it."""
    if not lines:
        return
    block, sentence = _parsed(lines, layout), None
    if not block.faults:
        try:
            if not block.words:
                raise DataError("expected a sentence, found comments without words; remove them or add the words")
            check_length(len(block.words))
            sentence = build(block, request)
        except DataError as fault:
            block.faults.append(DataError(fault.message, line=fault.line or (block.lines or [lines[0][0]])[0]))
    if sentence is not None:
        yield sentence
        return
    first, *others = [DataError(fault.message, path=request.origin, line=fault.line) for fault in block.faults]
    yield from request.gap(first, comment_value(block.comments, "text"))
    # In training every line is named; prediction counts sentences.
    for other in others if request.column else ():
        request.on_fault(other)


def _parsed(lines: Iterable[Line], layout: Layout) -> Block:
    block, ids = Block(), WordIds()
    for number, line in lines:
        if layout.indexed and block.faults:  # behind a fault, ids are not those expected
            return block
        try:
            check_line(whole(line))
            if (columns := layout.columns(line)) is None:
                block.comments.append(line)
                continue
            if not layout.indexed or ids.is_word(number, columns[0]):
                word, tag = columns[layout.word], None if layout.tag is None else columns[layout.tag].strip(" ")
                check_word(word)
                if tag == "":
                    raise DataError(f"expected a tag after the word {word[:40]!r}, found nothing; fix the line")
                block.words.append(word)
                block.lines.append(number)
                block.tags += [] if tag is None else [tag]
            block.rows.append(columns)
        except DataError as fault:
            block.faults.append(DataError(fault.message, line=number))
    try:
        if not block.faults:
            ids.check_range()
    except DataError as fault:
        block.faults.append(fault)
    return block


def cut(line: str, separator: str) -> list[str]:
    """The columns of a line: in a file with tabs, those between tabs; in one with spaces, if it has no tab."""
    return line.split("\t") if separator == "\t" or "\t" in line else _SPACES.split(line.strip(" "))


def is_tag(value: str) -> bool:
    """Whether a column is a universal tag or that of a span."""
    return value in UPOS_TAGS or _SPAN_TAG.fullmatch(value) is not None


def name_of(comment: str) -> str | None:
    """The part of a comment before the equals sign, if there is one."""
    name, separator, _ = comment[1:].partition("=")
    return name.strip() if separator else None


def comment_value(comments: Iterable[str], name: str) -> str | None:
    """The value of the first comment with a name, such as the raw sentence of `# text = ...`; None if there is none."""
    own = next((comment for comment in comments if name_of(comment) == name), None)
    return None if own is None else own.partition("=")[2].strip()
