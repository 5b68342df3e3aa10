"""Files with one word per line: two-column BIO or UPOS text, Universal NER's `.iob2`, and what `predict` is given."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from hyperx.data.read.conllu import WordIds, comment_value
from hyperx.data.read.labels import UPOS_TAGS
from hyperx.data.read.lines import (
    MOST_WORDS,
    FaultyLine,
    OnFault,
    check_length,
    check_line,
    check_word,
    no_sentences,
    no_words,
    numbered_lines,
    stop,
)
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError

logger = logging.getLogger(__name__)

_IOB2_COLUMNS, _CONLLU_COLUMNS = 5, 10

# Rows that tell the layout of a file: three at least and ten at most, so that a stream does not wait for long.
_ENOUGH, _MOST = 3, 10
# Lines that are searched for them.
_SEARCHED = 1000

# Only the plain space separates: NBSP and U+3000 are parts of words.
_SPACES = re.compile(" +")
_SPAN_TAG = re.compile("O|[BIESULM]-.+")
_LANGUAGE_PREFIX = re.compile(r"([a-z]{2,3}(?:-[a-z]+)*|simple):.")
_NAMED_COMMENT = re.compile(r"# \S+ =")

Line = tuple[int, str]
Row = tuple[int, list[str]]
"""The number of a line and its columns."""


def read_columns(path: str | Path, column: str, on_fault: OnFault = stop) -> Iterator[Sentence]:
    """Stream the sentences of a column file, its tags under the name of a column such as `ner` or `upos`.

    Lines of two-column files are split at the tab if there are tabs (words may contain spaces, or begin with `#`), else
    at spaces: the first column is the word, the last the tag. `.iob2` files have index, word, tag and two more
    columns; lines whose index is a range (`1-2`) or an empty node's (`1.1`) are left out. Blank lines end sentences;
    `-DOCSTART-` lines are skipped. `Layout.columns` says which lines are comments.

    ``on_fault`` raises by default; if it does not, a sentence with a fault is skipped.

    Raises:
        DataError: with file and line, for a line with another number of columns, indices that violate the rules of
            `WordIds`, a word of spaces or control characters, a missing tag, comments without words, a sentence of
            more than `MOST_WORDS` words, words that all begin with a language, and a file without sentences.
    """
    iob2, found = Path(path).suffix.lower() == ".iob2", False
    for block in column_blocks(numbered_lines(path), partial(_layout_with_tags, path, iob2)):
        found = True
        sentence = block.sentence(column)
        for fault in block.faults[:1] if iob2 else block.faults:
            on_fault(fault)
        if sentence is not None:
            yield sentence
    if not found:
        raise no_sentences(path)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the lines of a file with columns are split.

    Args:
        place: the name of the file in errors.
        separator: a tab, or a space, any number of which separates where there is no tab.
        width: how many columns every line has.
        width_line: a line that has them.
        word: the column of the word, counted from 0.
        tag: the column of its tag, if there is one to read.
        indexed: whether the first column counts the words of each sentence, as in CoNLL-U.
    """

    place: str | Path
    separator: str
    width: int
    width_line: int
    word: int = 0
    tag: int | None = None
    indexed: bool = False

    def columns(self, number: int, line: str) -> list[str] | None:
        """The columns of a line; None for a comment.

        Where the first column counts words, every line that begins with `#` is a comment. Elsewhere `#` may be a word:
        a comment begins with `# ` and does not have the columns of the file, or is of the form `# name = value`. If
        another one does have the columns, the last must be a tag; otherwise nothing tells a comment from a word.

        Raises:
            DataError: for a line with another number of columns, and one that may be a comment or a word.
        """
        if self.indexed and line[0] == "#":
            return None
        comment = line.startswith("# ")
        if comment and ((self.separator == " " and "\t" in line) or _NAMED_COMMENT.match(line)):
            return None
        found = _cut(line, self.separator)
        if len(found) != self.width:
            if comment:
                return None
            raise self._fault(number, self._other_width(found))
        if comment and self.width > 1 and not _is_tag(found[-1].strip(" ")):
            found_here = f"{line[:40]!r}, which may be a comment or a word"
            raise self._fault(number, f"{found_here}; remove the comment, or separate all columns by tabs")
        return found

    def _other_width(self, found: Sequence[str]) -> str:
        """What is found instead of the right number of columns, and what to do."""
        count, usual = f"{len(found)} columns", f" where line {self.width_line} has {self.width}"
        if self.tag is None:
            return f"{count}{usual}; write tabs between columns where a word holds spaces, and '# ' before a comment"
        if self.indexed:
            return f"{len(found)}; fix the line"
        if len(found) == 1:
            return f"one column, {found[0][:40]!r}; add the tag after a tab, or '# ' before a comment"
        if self.separator == " ":
            return f"{count}{usual}; separate word and tag by a tab where the word holds spaces"
        if len(found) == _CONLLU_COLUMNS:
            return f"{count}: is this CoNLL-U? Then let its name end in .conllu"
        return f"{count}; keep word and tag only"

    def _fault(self, number: int, found: str) -> DataError:
        expected = "a line of a word" if self.tag is None else "a word and its tag"
        if self.tag is not None and self.indexed:
            expected = f"{_IOB2_COLUMNS} columns separated by tabs (index, word, tag and two more)"
        return DataError(f"expected {expected}, found {found}", path=self.place, line=number)


@dataclass(slots=True)
class ColumnBlock:
    """The lines between two blank lines.

    Args:
        layout: how they are split.
        first_line: the number of the first of them.
        comments: the comments.
        words: the words, without ranges and empty nodes.
        tags: the tag of each, if there are tags to read.
        lines: the line of each.
        faults: what is wrong; if anything is, the words are not complete.
        shape: the lines as they are, also blank ones before the block, and None for that of a word; empty if not asked
            for.
        count: how many words there are; those beyond `MOST_WORDS` are not kept.
    """

    layout: Layout
    first_line: int = 0
    comments: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    faults: list[DataError] = field(default_factory=list)
    shape: list[str | None] = field(default_factory=list)
    count: int = 0
    ids: WordIds = field(init=False)

    def __post_init__(self) -> None:
        self.ids = WordIds(self.layout.place)

    def add(self, number: int, line: str) -> bool:
        """Add one line; returns whether it is that of a word.

        Raises:
            DataError: if something is wrong with it.
        """
        self.first_line = self.first_line or number
        if type(line) is FaultyLine:
            raise line.fault
        layout = self.layout
        check_line(line, layout.place, number)
        columns = layout.columns(number, line)
        if columns is None:
            self.comments.append(line)
            return False
        if layout.indexed and not self.ids.is_word(number, columns[0]):
            return False
        word = columns[layout.word]
        check_word(word, layout.place, number)
        tag = None if layout.tag is None else columns[layout.tag].strip(" ")
        if tag == "":
            message = f"expected a tag after the word {word[:40]!r}, found nothing; fix the line"
            raise DataError(message, path=layout.place, line=number)
        self.count += 1
        if self.count <= MOST_WORDS:  # others are only counted: a file without blank lines may be large
            self.words.append(word)
            self.lines.append(number)
            if tag is not None:
                self.tags.append(tag)
        return True

    def sentence(self, column: str | None = None) -> Sentence | None:
        """The finished sentence, its tags under the name of a column; None if anything is wrong with it."""
        if not self.faults:
            try:
                self.ids.check_ranges()
                if not self.words:
                    raise no_words(self.layout.place, self.first_line)
                check_length(self.count, self.layout.place, self.lines[0])
            except DataError as fault:
                self.faults.append(fault)
        if self.faults:
            return None
        return Sentence(
            words=tuple(self.words),
            columns={} if column is None else {column: tuple(self.tags)},
            lines=tuple(self.lines),
            source=str(self.layout.place),
            text=comment_value(self.comments, "text") or None,
            text_pair=comment_value(self.comments, "text_pair") or None,
            comments=tuple(self.comments),
        )


def column_blocks(
    lines: Iterable[Line], choose: Callable[[Sequence[Line]], Layout], *, shapes: bool = False
) -> Iterator[ColumnBlock]:
    """Stream the blocks of a file with columns, each as soon as its last line is known.

    Args:
        lines: numbered lines.
        choose: tells the layout from the first lines.
        shapes: also keep the lines as they are. After the last block comes one of the blank lines behind it, if any.

    Raises:
        DataError: if the layout cannot be told, or all of the first words begin with a language.
    """
    lines = iter(lines)
    sample = _sample(lines)
    layout = choose(sample)
    _check_prefix(layout, sample)
    block = ColumnBlock(layout)
    for number, line in chain(sample, lines):
        if not line.strip(" \t"):
            if block.first_line:
                yield block
                block = ColumnBlock(layout)
            is_word = False
        elif line.startswith("-DOCSTART-"):
            is_word = False
        elif block.faults and layout.indexed:
            # After a fault, the indices of a sentence are not those expected.
            is_word = True
        else:
            try:
                is_word = block.add(number, line)
            except DataError as fault:
                block.faults.append(fault)
                is_word = True
        if shapes:
            block.shape.append(None if is_word else _kept(line))
    if block.first_line or block.shape:
        yield block


def layout_of_words(asked: int | None, place: str | Path, sample: Sequence[Line]) -> Layout:
    """The layout of a file of which only the words are read.

    The words are in the first column, or in the second if the first one counts them: 1, 2, 3 and so on in each
    sentence. What else the first column may hold is not guessed.

    Args:
        asked: the column of the words, counted from 1, if the user says so.
        place: the name of the file in errors.
        sample: its first lines.

    Raises:
        DataError: if there is no such column, or the first column seems to hold something else than words.
    """
    rows = _rows(sample)
    separator, width, line = _form(rows)
    layout = Layout(place, separator, width, line)
    found = [columns for number, text in rows if len(columns := _cut(text, separator)) == width]
    if asked is not None and asked > width:
        message = f"expected the words in column {asked} (--word_column), found {width} columns; name one of them"
        raise DataError(message, path=place, line=line)
    counted = _counted(sample, layout)
    word = asked - 1 if asked else int(width > 1 and counted > 1)
    if asked is None and width > 1 and (doubt := _doubt(found, counted)):
        message = f"expected words in the first column, found {doubt}"
        advice = "say with --word_column which column has the words, counted from 1"
        raise DataError(f"{message}; {advice}", path=place, line=line)
    if width > 1:
        between = "tabs" if separator == "\t" else "spaces"
        why = " (--word_column)" if asked else ", as the first one counts them" if word else ""
        logger.info("%s: %d columns between %s; the words are in column %d%s", place, width, between, word + 1, why)
    if width == _CONLLU_COLUMNS and counted > 1:
        logger.warning("%s looks like CoNLL-U: --input_format conllu keeps its columns and its ranges of words", place)
    return Layout(place, separator, width, line, word, indexed=word > 0 and counted > 0)


def _layout_with_tags(path: str | Path, iob2: bool, sample: Sequence[Line]) -> Layout:
    """The layout of a file with words and tags: that of `.iob2`, two columns between tabs, or any between spaces."""
    if iob2:
        return Layout(path, "\t", _IOB2_COLUMNS, 0, word=1, tag=2, indexed=True)
    separator, width, line = _form(_rows(sample))
    return Layout(path, separator, 2 if separator == "\t" else max(width, 2), line, tag=-1)


def _sample(lines: Iterator[Line]) -> list[Line]:
    """The first lines, up to the blank one behind enough rows."""
    sample: list[Line] = []
    rows = seen = 0
    for number, line in lines:
        sample.append((number, line))
        seen += _is_row(line)
        rows += _is_row(line) and line[0] != "#"
        if rows == _MOST or seen == _SEARCHED or (rows >= _ENOUGH and not line.strip(" \t")):
            break
    return sample


def _is_row(line: str) -> bool:
    """Whether a line may be that of a word."""
    return bool(line.strip(" \t")) and not line.startswith("-DOCSTART-") and type(line) is not FaultyLine


def _rows(sample: Sequence[Line]) -> list[Line]:
    """The lines that are surely those of words; if there are none, those that may be comments."""
    rows = [(number, line) for number, line in sample if _is_row(line)]
    for comment in ("#", "# "):
        if sure := [(number, line) for number, line in rows if not line.startswith(comment)]:
            return sure
    return rows


def _form(rows: Sequence[Line]) -> tuple[str, int, int]:
    """The separator and the number of columns of most rows, and the first line that has them."""
    if not rows:
        return "\t", 1, 0
    separators = ["\t" if "\t" in line else " " for _, line in rows]
    separator = Counter(separators).most_common(1)[0][0]
    widths = {
        number: len(_cut(line, separator))
        for (number, line), own in zip(rows, separators, strict=True)
        if own == separator
    }
    width = Counter(widths.values()).most_common(1)[0][0]
    return separator, width, next(number for number, found in widths.items() if found == width)


def _cut(line: str, separator: str) -> list[str]:
    """The columns of a line: in a file with tabs, those between tabs; in one with spaces, if it has no tab."""
    return line.split("\t") if separator == "\t" or "\t" in line else _SPACES.split(line.strip(" "))


def _counted(sample: Sequence[Line], layout: Layout) -> int:
    """The number to which the first column counts the words of a sentence; 0 if it does not count them."""
    ids, most = WordIds(layout.place), 0
    for number, line in sample:
        if not line.strip(" \t"):
            ids = WordIds(layout.place)
        elif _is_row(line) and line[0] != "#":
            try:
                ids.is_word(number, _cut(line, layout.separator)[0])
            except DataError:
                return 0
            most = max(most, ids.words)
    return most


def _doubt(found: Sequence[Sequence[str]], counted: int) -> str | None:
    """What speaks against words in the first column, or in the second if the first one counts; None if nothing does."""
    first, second = ([columns[place] for columns in found] for place in (0, 1))
    shown = ", ".join(value[:20] for value in first[:4])
    if counted == 1:
        return f"only {shown}, which may be words or count them"
    if counted:
        unlike = all(_is_tag(value) or value.isdigit() for value in second)
        return f"{shown}, which may be words or count them" if unlike else None
    if len(first) < _ENOUGH:
        return None
    if not all(map(_is_tag, second)):
        if len(set(first)) == 1:
            return f"{first[0][:40]!r} in every line"
        if all(value.isdigit() for value in first):
            return f"only numbers, {shown}"
    if all(map(_is_tag, first)):
        return f"only tags, {shown}"
    if all(" " in value for value in first):
        return f"spaces in each, such as {first[0][:40]!r}; texts are --input_format raw or jsonl. If these are words"
    return None


def _is_tag(value: str) -> bool:
    return value in UPOS_TAGS or _SPAN_TAG.fullmatch(value) is not None


def _check_prefix(layout: Layout, sample: Sequence[Line]) -> None:
    """Check that the words do not all begin with a language, as in WikiANN's original files."""
    found = [columns for _, line in _rows(sample) if len(columns := _cut(line, layout.separator)) == layout.width]
    prefixes = [match and match[1] for columns in found for match in [_LANGUAGE_PREFIX.match(columns[layout.word])]]
    if len(prefixes) >= _ENOUGH and prefixes[0] and len(set(prefixes)) == 1:
        message = f"found {prefixes[0]}: before every word, as in WikiANN's original files; remove it, such as with sed"
        raise DataError(f"expected words, {message} 's/^{prefixes[0]}://'", path=layout.place, line=layout.width_line)


def _kept(line: str) -> str:
    """A line that is not that of a word, in a form that is none in any file."""
    if not line.strip(" \t"):
        return ""
    return line if line.startswith("-DOCSTART-") else ("" if line[0] == "#" else "# ") + line.replace("\t", " ")
