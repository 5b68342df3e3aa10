"""Files with one word and one tag per line: two-column BIO or UPOS text, and Universal NER's `.iob2`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hyperx.data.conllu import WordIds, comment_value
from hyperx.data.lines import OnFault, check_word, no_sentences, no_words, numbered_lines, stop
from hyperx.data.sentence import Sentence
from hyperx.errors import DataError

_IOB2_COLUMNS = 5


def read_columns(path: str | Path, column: str, on_fault: OnFault = stop) -> Iterator[Sentence]:
    """Stream the sentences of a column file, its tags under the name of a column such as `ner` or `upos`.

    Lines of two-column files are split at the tab if they have one (words may contain spaces, or begin with `#`), else
    at spaces: the first column is the word, the last the tag. `.iob2` files have index, word, tag and two more columns,
    and comment lines that begin with `#`; lines whose index is a range (`1-2`) or an empty node's (`1.1`) are left out.
    Blank lines end sentences; `-DOCSTART-` lines are skipped.

    ``on_fault`` raises by default; if it does not, a sentence with a fault is skipped.

    Raises:
        DataError: with file and line, for a line with another number of columns, indices that violate the rules of
            `WordIds`, a word of spaces or control characters, a missing tag, comments without words, and a file
            without sentences.
    """
    iob2 = Path(path).suffix.lower() == ".iob2"
    split = _Iob2Line(path) if iob2 else _TwoColumnLine(path)
    block, found = _Block(path, column), False
    for number, line in numbered_lines(path):
        if not line.strip(" \t"):
            if block.started:
                yield from block.sentences(on_fault)
                block, found = _Block(path, column), True
        elif iob2 and line.startswith("#"):
            block.comment(number, line)
        elif not line.startswith("-DOCSTART-") and not (iob2 and block.faulty):
            # After a fault, the indices of a sentence are not those expected.
            try:
                block.add(number, *split(number, line))
            except DataError as fault:
                on_fault(fault)
                block.faulty = True
    if block.started:
        yield from block.sentences(on_fault)
    elif not found:
        raise no_sentences(path)


@dataclass
class _Block:
    """The lines of one sentence, added one by one."""

    path: str | Path
    column: str
    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    first_line: int = 0
    faulty: bool = False

    def __post_init__(self) -> None:
        self.ids = WordIds(self.path)

    @property
    def started(self) -> bool:
        return bool(self.first_line or self.faulty)

    def sentences(self, on_fault: OnFault) -> Iterator[Sentence]:
        """The finished sentence, or none if it has a fault."""
        if self.faulty:
            return
        try:
            yield self.sentence()
        except DataError as fault:
            on_fault(fault)

    def comment(self, number: int, line: str) -> None:
        self.first_line = self.first_line or number
        self.comments.append(line)

    def add(self, number: int, word: str, tag: str, index: str | None) -> None:
        self.first_line = self.first_line or number
        if index is not None and not self.ids.is_word(number, index):
            return
        check_word(word, self.path, number)
        if not tag:
            message = f"expected a tag after the word {word[:40]!r}, found nothing; fix the line"
            raise DataError(message, path=self.path, line=number)
        self.words.append(word)
        self.tags.append(tag)
        self.lines.append(number)

    def sentence(self) -> Sentence:
        self.ids.check_ranges()
        if not self.words:
            raise no_words(self.path, self.first_line)
        return Sentence(
            words=tuple(self.words),
            columns={self.column: tuple(self.tags)},
            lines=tuple(self.lines),
            source=str(self.path),
            text=comment_value(self.comments, "text"),
            comments=tuple(self.comments),
        )


@dataclass
class _Iob2Line:
    """Index, word, tag, two more columns -> word, tag and index."""

    path: str | Path

    def __call__(self, number: int, line: str) -> tuple[str, str, str | None]:
        columns = line.split("\t")
        if len(columns) != _IOB2_COLUMNS:
            message = f"expected {_IOB2_COLUMNS} columns separated by tabs (index, word, tag and two more), found "
            raise DataError(message + f"{len(columns)}; fix the line", path=self.path, line=number)
        return columns[1], columns[2].strip(" "), columns[0]


@dataclass
class _TwoColumnLine:
    """Word TAB tag, or columns separated by spaces, the word first and the tag last -> word, tag and no index.

    In a file with spaces all such lines must have as many columns as the first. Otherwise a word that contains a space
    would silently lose its second half.
    """

    path: str | Path
    width: int = 0
    width_line: int = 0

    def __call__(self, number: int, line: str) -> tuple[str, str, str | None]:
        return self._at_tab(number, line) if "\t" in line else self._at_spaces(number, line)

    def _at_tab(self, number: int, line: str) -> tuple[str, str, str | None]:
        columns = line.split("\t")
        if len(columns) == 10:
            raise self._error(number, "10 columns: is this CoNLL-U? Then let its name end in .conllu")
        if len(columns) != 2:
            raise self._error(number, f"{len(columns)} columns; keep word and tag only")
        return columns[0], columns[1].strip(" "), None

    def _at_spaces(self, number: int, line: str) -> tuple[str, str, str | None]:
        # Only the plain space separates: NBSP and U+3000 are parts of words.
        columns = re.split(" +", line.strip(" "))
        if len(columns) == 1:
            raise self._error(number, f"one column, {line[:40]!r}; add the tag after a tab")
        if not self.width:
            self.width, self.width_line = len(columns), number
        if len(columns) != self.width:
            found = f"{len(columns)} columns where line {self.width_line} has {self.width}"
            raise self._error(number, found + "; separate word and tag by a tab where the word holds spaces")
        return columns[0], columns[-1], None

    def _error(self, number: int, found: str) -> DataError:
        return DataError(f"expected a word and its tag, found {found}", path=self.path, line=number)
