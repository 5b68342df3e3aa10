"""Blocks of lines between blank lines, with one word per line: what CoNLL-U and other columns share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from hyperx.data.read.base import Request
from hyperx.data.read.labels import UPOS_TAGS
from hyperx.data.read.lines import MOST_WORDS, Line, check_length, check_line, check_word, whole
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError

# No sentence has longer numbers.
RANGE = re.compile(r"([1-9][0-9]{0,8})-([1-9][0-9]{0,8})")
_EMPTY_NODE = re.compile(r"(0|[1-9][0-9]{0,8})\.[1-9][0-9]*")

# Only the plain space separates: NBSP and U+3000 are parts of words.
_SPACES = re.compile(" +")
_SPAN_TAG = re.compile("O|[BIESULM]-.+")
_NAMED_COMMENT = re.compile(r"# \S+ =")
_CONLLU_COLUMNS = 10
DOCUMENT = "-DOCSTART-"
"""What begins a line between documents."""


@dataclass
class WordIds:
    """The ids of a sentence, checked line by line.

    Words count up from 1. A range (`1-2`) comes before its first word, and no word is in two; an empty node (`2.1`)
    comes after its word, or before the first one (`0.1`).
    """

    words: int = 0
    _covered: int = 0
    _last_range: tuple[int, str] = (0, "")

    def is_word(self, number: int, value: str) -> bool:
        """Add the id of a line; returns whether it is that of a word, and raises a DataError if it may not be here."""
        expected = self.words + 1
        if value == str(expected):
            self.words = expected
            return True
        if match := RANGE.fullmatch(value):
            first, last = map(int, match.groups())
            fits = self._covered < first == expected <= last
            self._covered, self._last_range = last, (number, value)
        else:
            node = _EMPTY_NODE.fullmatch(value)
            fits = node is not None and int(node[1]) == self.words
        if not fits:
            rules = "ids count up from 1, anew after a blank line, and no word is of two ranges"
            raise DataError(f"expected word {expected} of the sentence, found id {value[:40]!r}; {rules}")
        return False

    def check_ranges(self) -> None:
        """Check, at the end of the sentence, that it has the words of all ranges; raises a DataError if not."""
        if self._covered > self.words:
            number, value = self._last_range
            found = f"expected {self._covered} words, as the range {value} says, found {self.words}; fix the range"
            raise DataError(found, line=number)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the lines of a file with columns are split.

    Args:
        separator: a tab, or a space, any number of which separates where there is no tab.
        width: how many columns every line has.
        width_line: a line that has them.
        word: the column of the word, counted from 0.
        tag: the column of its tag, if there is one to read.
        indexed: whether the first column counts the words of each sentence, as in CoNLL-U.
        expected: what a line of another width is told to be, in a format with a fixed width.
        advice: what to do about such a line.
        has_documents: whether a line that begins with `-DOCSTART-` stands between documents.
    """

    separator: str
    width: int
    width_line: int
    word: int = 0
    tag: int | None = None
    indexed: bool = False
    expected: str = ""
    advice: str = "fix the line"
    has_documents: bool = True

    def columns(self, line: str) -> list[str] | None:
        """The columns of a line; None for a comment.

        Where the first column counts words, every line that begins with `#` is a comment. Elsewhere `#` may be a word:
        a comment begins with `# ` and does not have the columns of the file, or is of the form `# name = value`. If
        another one does have the columns, the last must be a tag; otherwise nothing tells a comment from a word.

        Raises:
            DataError: for a line with another number of columns, and one that may be a comment or a word.
        """
        comment = False
        if line[0] == "#":
            comment = line.startswith("# ")
            if self.indexed or (comment and ((self.separator == " " and "\t" in line) or _NAMED_COMMENT.match(line))):
                return None
        columns = line.split("\t") if self.separator == "\t" else cut(line, self.separator)
        if len(columns) != self.width:
            if comment:
                return None
            raise self._fault(self._other_width(columns))
        if comment and self.width > 1 and not is_tag(columns[-1].strip(" ")):
            advice = "separate all columns by tabs" if self.separator == " " else "write it as # NAME = VALUE"
            raise self._fault(f"{line[:40]!r}, which may be a comment or a word; remove the comment, or {advice}")
        return columns

    def _other_width(self, columns: Sequence[str]) -> str:
        """What is found instead of the right number of columns, and what to do."""
        count, usual = f"{len(columns)} columns", f" where line {self.width_line} has {self.width}"
        if self.expected:
            return f"{len(columns)}; {self.advice}"
        if self.tag is None:
            return f"{count}{usual}; write tabs between columns where a word holds spaces, and '# ' before a comment"
        if len(columns) == 1:
            return f"one column, {columns[0][:40]!r}; add the tag after a tab, or '# ' before a comment"
        if self.separator == " ":
            return f"{count}{usual}; separate word and tag by a tab where the word holds spaces"
        if len(columns) == _CONLLU_COLUMNS:
            return f"{count}: is this CoNLL-U? Then let its name end in .conllu"
        return f"{count}; keep word and tag only"

    def _fault(self, found: str) -> DataError:
        expected = self.expected or ("a line of a word" if self.tag is None else "a word and its tag")
        return DataError(f"expected {expected}, found {found}")


@dataclass(slots=True)
class Block:
    """The lines between two blank lines, added one by one. If any has a fault, the words are not complete.

    Args:
        rows: the columns of every line that is no comment.
        shape: if lines are kept as they are, those of no word, also blank ones before the block, and None for a word's.
        count: how many words there are; those beyond `MOST_WORDS` are not kept.
    """

    layout: Layout
    request: Request
    first_line: int = 0
    comments: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    faults: list[DataError] = field(default_factory=list)
    shape: list[str | None] = field(default_factory=list)
    count: int = 0
    ids: WordIds = field(default_factory=WordIds)

    def add(self, number: int, line: str) -> bool:
        """Add one line; returns whether it is no comment."""
        self.first_line = self.first_line or number
        layout = self.layout
        if self.faults and layout.indexed:
            return True  # after a fault, the indices of a sentence are not those expected
        try:
            check_line(whole(line))
            columns = layout.columns(line)
            if columns is None:
                self.comments.append(line)
                return False
            is_word = not layout.indexed or self.ids.is_word(number, columns[0])
            word, tag = columns[layout.word], None
            if is_word:
                check_word(word)
                self.count += 1
                tag = None if layout.tag is None else columns[layout.tag].strip(" ")
            if tag == "":
                raise DataError(f"expected a tag after the word {word[:40]!r}, found nothing; fix the line")
        except DataError as fault:
            self.note(fault, number)
            return True
        if self.count <= MOST_WORDS:  # others are only counted: a file without blank lines may be large
            self.rows.append(columns)
            if is_word:
                self.words.append(word)
                self.lines.append(number)
            if tag is not None:
                self.tags.append(tag)
        return is_word

    def note(self, fault: DataError, line: int) -> None:
        """Keep a fault, which has a line of its own or the given one."""
        self.faults.append(DataError(fault.message, path=self.request.origin, line=fault.line or line))

    def sentences(self, build: Callable[[Block], Sentence]) -> Iterator[Sentence]:
        """The finished sentence, or what stands in its place if anything is wrong with it."""
        if not self.faults:
            try:
                self.ids.check_ranges()
                if not self.words:
                    raise DataError("expected a sentence, found comments without words; remove them or add the words")
                check_length(self.count)
                sentence = build(self)
            except DataError as fault:
                self.note(fault, (self.lines or [self.first_line])[0])
            else:
                yield sentence
                return
        yield from self.request.gap(self.faults[0], comment_value(self.comments, "text"), self.shape)
        # In training every line is named; prediction counts sentences.
        for other in self.faults[1:] if self.request.column and not self.layout.indexed else ():
            self.request.on_fault(other)


def read_blocks(
    lines: Iterable[Line], layout: Layout, request: Request, build: Callable[[Block], Sentence]
) -> Iterator[Sentence]:
    """Stream the sentences of numbered lines, each as soon as its last line is known, and what stands in the place of
    others; ``build`` gives that of a block, or raises a DataError."""
    block = Block(layout, request)
    for number, line in lines:
        is_blank = not line.strip(" \t")
        if is_blank and block.first_line:
            yield from block.sentences(build)
            block = Block(layout, request)
        is_mark = layout.has_documents and line.startswith(DOCUMENT)
        is_word = not is_blank and not is_mark and block.add(number, line)
        if request.aligns:
            block.shape.append(None if is_word else _kept(line))
    if block.first_line:
        yield from block.sentences(build)
    elif block.shape:
        yield Sentence((), text="", origin=request.origin, shape=tuple(block.shape), error="")


def cut(line: str, separator: str) -> list[str]:
    """The columns of a line: in a file with tabs, those between tabs; in one with spaces, if it has no tab."""
    return line.split("\t") if separator == "\t" or "\t" in line else _SPACES.split(line.strip(" "))


def is_tag(value: str) -> bool:
    """Whether a column is a universal tag or that of a span."""
    return value in UPOS_TAGS or _SPAN_TAG.fullmatch(value) is not None


def _kept(line: str) -> str:
    """A line that is not that of a word, in a form that is none in any file."""
    if not line.strip(" \t"):
        return ""
    return line if line.startswith(DOCUMENT) else ("" if line[0] == "#" else "# ") + line.replace("\t", " ")


def name_of(comment: str) -> str | None:
    """The part of a comment before the equals sign, if there is one."""
    name, separator, _ = comment[1:].partition("=")
    return name.strip() if separator else None


def comment_value(comments: Iterable[str], name: str) -> str | None:
    """The value of the first comment with a name, such as the raw sentence of `# text = ...`; None if there is none."""
    own = next((comment for comment in comments if name_of(comment) == name), None)
    return None if own is None else own.partition("=")[2].strip()
