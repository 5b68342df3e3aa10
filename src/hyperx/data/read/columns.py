"""Columns: one word per line and a blank line after each sentence, as in CoNLL-2003, WikiANN and Universal NER."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from hyperx.data.read.base import TEXT, Request, WrittenFormat, fields_of_words, no_field
from hyperx.data.read.conllu import NOTHING, WordIds, comment_value, label_comments, no_words, pair_comment
from hyperx.data.read.labels import UPOS_TAGS
from hyperx.data.read.lines import (
    LINE_BREAKS,
    MOST_WORDS,
    FaultyLine,
    Line,
    check_length,
    check_line,
    check_word,
    whole,
    without_ends,
)
from hyperx.data.read.sentence import Places, Prediction, Sentence
from hyperx.errors import DataError

log = logging.getLogger(__name__)

_UNIVERSAL_NER = ".iob2"
_UNIVERSAL_NER_COLUMNS, _CONLLU_COLUMNS = 5, 10

# Rows that tell the layout of a file: three at least and ten at most, so that a stream does not wait for long.
_ENOUGH, _MOST = 3, 10
# Lines that are searched for them.
_SEARCHED = 1000

# Only the plain space separates: NBSP and U+3000 are parts of words.
_SPACES = re.compile(" +")
_SPAN_TAG = re.compile("O|[BIESULM]-.+")
_LANGUAGE_PREFIX = re.compile(r"([a-z]{2,3}(?:-[a-z]+)*|simple):.")
_NAMED_COMMENT = re.compile(r"# \S+ =")
_DOCUMENT = "-DOCSTART-"
_NO_WORDS = ("# ", _DOCUMENT, "\ufeff")
"""What begins a comment or a document, or a file."""


class ColumnsFormat(WrittenFormat):
    """Columns, split at the tab if there are tabs (words may contain spaces, or begin with `#`), else at spaces.

    In training data the first column is the word and the last the tag. `.iob2` files have index, word, tag and two more
    columns; lines whose index is a range (`1-2`) or an empty node's (`1.1`) are left out. In prediction the word is in
    the first column, or in the second if the first one counts words, or where the user says. Blank lines end sentences;
    `-DOCSTART-` lines are skipped. :meth:`Layout.columns` says which lines are comments.

    Written are the word and each task's labels between tabs. A label of the whole sentence comes before it, as
    ``# sentiment = good``, and before the label the second of two texts, as ``# text_pair = ...``. If no task needed
    the words, there is one line per text: the text or texts, and the labels. In the place of a sentence that could not
    be read there is ``_`` with labels ``_``, below ``# error = ...``. A sentence that knows its lines is written line
    by line, comments and blank lines included.
    """

    def read(self, lines: Iterable[Line], request: Request) -> Iterator[Sentence]:
        """Read block by block, once the first lines have told the layout."""
        lines = without_ends(lines)
        sample = _sample(lines)
        layout = _layout(sample, request)
        _check_prefix(layout, sample, request)
        block = _Block(layout, request)
        for number, line in chain(sample, lines):
            is_blank = not line.strip(" \t")
            if is_blank and block.first_line:
                yield from block.sentences()
                block = _Block(layout, request)
            is_word = not is_blank and not line.startswith(_DOCUMENT) and block.add(number, line)
            if request.aligns:
                block.shape.append(None if is_word else _kept(line))
        if block.first_line:
            yield from block.sentences()
        elif block.shape:
            yield Sentence((), text="", origin=request.origin, shape=tuple(block.shape), error="")

    def label_problem(self, label: str, task: str, places: Places) -> str | None:
        """Labels stand between tabs, or in comments."""
        spaces = "spaces around a label or comment are not read"
        return no_field(label) or (None if label == label.strip() else spaces)

    def check(self, sentence: Sentence, places: Places) -> None:
        """Words have neither tabs nor line ends, and do not make their line a comment or the start of a document;
        without a label beside them, they have no spaces either."""
        alone = not any(map(tuple, places.values()))
        for number, word in enumerate(fields_of_words(sentence.words, sentence)):
            if word.startswith(_NO_WORDS) or (alone and " " in word):
                message = f"expected a word that columns can hold, found {word[:40]!r}; choose --output_format jsonl"
                raise DataError(message, path=sentence.origin or None, line=sentence.line_of(number))

    def render(self, prediction: Prediction, number: int) -> str:
        """The lines of a sentence and a blank one, or the line of a text."""
        sentence = prediction.sentence
        width = sum(len(columns) for columns in prediction.columns.values())
        nothing = "\t".join([NOTHING] * (1 + (width or len(prediction.labels))))
        if sentence.shape:
            rows = _rows_of(prediction)
            return "".join((next(rows, nothing) if line is None else line) + "\n" for line in sentence.shape)
        if sentence.error is not None:
            return f"# error = {LINE_BREAKS.sub(' ', sentence.error)}\n{nothing}\n" + "\n" * bool(width)
        if not sentence.words:
            pair = [] if sentence.text_pair is None else [sentence.text_pair]
            texts = [sentence.raw_text, *pair, *prediction.sentence_labels.values()]
            return "\t".join(LINE_BREAKS.sub(" ", text) for text in texts) + "\n"
        comments = label_comments(prediction)
        if comments:  # without a label of the whole sentence, only words and tags, as in training data
            comments = [*pair_comment(sentence), *comments]
        return "\n".join([*comments, *_rows_of(prediction), "\n"])


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
    """

    separator: str
    width: int
    width_line: int
    word: int = 0
    tag: int | None = None
    indexed: bool = False

    def columns(self, line: str) -> list[str] | None:
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
            raise self._fault(self._other_width(found))
        if comment and self.width > 1 and not _is_tag(found[-1].strip(" ")):
            advice = "separate all columns by tabs" if self.separator == " " else "write it as # NAME = VALUE"
            raise self._fault(f"{line[:40]!r}, which may be a comment or a word; remove the comment, or {advice}")
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

    def _fault(self, found: str) -> DataError:
        expected = "a line of a word" if self.tag is None else "a word and its tag"
        if self.tag is not None and self.indexed:
            expected = f"{_UNIVERSAL_NER_COLUMNS} columns separated by tabs (index, word, tag and two more)"
        return DataError(f"expected {expected}, found {found}")


@dataclass(slots=True)
class _Block:
    """The lines between two blank lines, added one by one. If any has a fault, the words are not complete.

    Args:
        shape: if lines are kept as they are, those of no word, also blank ones before the block, and None for a word's.
        count: how many words there are; those beyond `MOST_WORDS` are not kept.
    """

    layout: Layout
    request: Request
    first_line: int = 0
    comments: list[str] = field(default_factory=list)
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
        if self.faults and self.layout.indexed:
            return True  # after a fault, the indices of a sentence are not those expected
        try:
            return self._add(number, whole(line))
        except DataError as fault:
            self._note(fault, number)
            return True

    def _note(self, fault: DataError, line: int) -> None:
        self.faults.append(DataError(fault.message, path=self.request.origin, line=fault.line or line))

    def _add(self, number: int, line: str) -> bool:
        check_line(line)
        layout = self.layout
        columns = layout.columns(line)
        if columns is None:
            self.comments.append(line)
            return False
        if layout.indexed and not self.ids.is_word(number, columns[0]):
            return False
        word = columns[layout.word]
        check_word(word)
        tag = None if layout.tag is None else columns[layout.tag].strip(" ")
        if tag == "":
            raise DataError(f"expected a tag after the word {word[:40]!r}, found nothing; fix the line")
        self.count += 1
        if self.count <= MOST_WORDS:  # others are only counted: a file without blank lines may be large
            self.words.append(word)
            self.lines.append(number)
            if tag is not None:
                self.tags.append(tag)
        return True

    def sentences(self) -> Iterator[Sentence]:
        """The finished sentence, or what stands in its place if anything is wrong with it."""
        request = self.request
        if not self.faults:
            try:
                self.ids.check_ranges()
                if not self.words:
                    raise no_words(self.first_line)
                check_length(self.count)
            except DataError as fault:
                self._note(fault, (self.lines or [self.first_line])[0])
        if not self.faults:
            tagged = request.column not in (None, TEXT)
            yield Sentence(
                words=tuple(self.words),
                columns={str(request.column): tuple(self.tags)} if tagged else {},
                lines=tuple(self.lines),
                origin=request.origin,
                text=comment_value(self.comments, "text") or None,
                text_pair=comment_value(self.comments, "text_pair") or None,
                comments=tuple(self.comments),
                shape=tuple(self.shape),
            )
            return
        yield from request.gap(self.faults[0], comment_value(self.comments, "text"), self.shape)
        # In training every line is named; prediction counts sentences.
        for other in self.faults[1:] if request.column and not self.layout.indexed else ():
            request.on_fault(other)


def _layout(sample: Sequence[Line], request: Request) -> Layout:
    """The layout of a file of which the first lines are given.

    In prediction the words are in the first column, or in the second if the first one counts them: 1, 2, 3 and so on in
    each sentence. What else the first column may hold is not guessed.

    Raises:
        DataError: if there is no such column, or the first column seems to hold something else than words.
    """
    if request.column and Path(request.origin).suffix.lower() == _UNIVERSAL_NER:
        return Layout("\t", _UNIVERSAL_NER_COLUMNS, 0, word=1, tag=2, indexed=True)
    rows = _rows(sample)
    separator, width, line = _form(rows)
    if request.column:
        return Layout(separator, 2 if separator == "\t" else max(width, 2), line, tag=-1)
    asked, origin = request.word_column, request.origin
    layout = Layout(separator, width, line)
    if asked is not None and asked > width:
        message = f"expected the words in column {asked} (--word_column), found {width} columns; name one of them"
        raise DataError(message, path=origin, line=line)
    counted = _counted(sample, separator)
    word = asked - 1 if asked else int(width > 1 and counted > 1)
    if asked is None and width > 1 and (doubt := _doubt(_columns_of(rows, layout), counted)):
        advice = "say with --word_column which column has the words, counted from 1"
        message = f"expected words in the first column, found {doubt}; {advice}"
        raise DataError(message, path=origin, line=line)
    if width > 1:
        between = "tabs" if separator == "\t" else "spaces"
        why = " (--word_column)" if asked else ", as the first one counts them" if word else ""
        log.info("%s: %d columns between %s; the words are in column %d%s", origin, width, between, word + 1, why)
    if width == _CONLLU_COLUMNS and counted > 1:
        log.warning("%s looks like CoNLL-U: --input_format conllu keeps its columns and its ranges of words", origin)
    return replace(layout, word=word, indexed=word > 0 and counted > 0)


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
    return bool(line.strip(" \t")) and not line.startswith(_DOCUMENT) and type(line) is not FaultyLine


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


def _columns_of(rows: Sequence[Line], layout: Layout) -> list[list[str]]:
    return [columns for _, line in rows if len(columns := _cut(line, layout.separator)) == layout.width]


def _counted(sample: Sequence[Line], separator: str) -> int:
    """The number to which the first column counts the words of a sentence; 0 if it does not count them."""
    ids, most = WordIds(), 0
    for number, line in sample:
        if not line.strip(" \t"):
            ids = WordIds()
        elif _is_row(line) and line[0] != "#":
            try:
                ids.is_word(number, _cut(line, separator)[0])
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


def _check_prefix(layout: Layout, sample: Sequence[Line], request: Request) -> None:
    """Check that the words do not all begin with a language, as in WikiANN's original files."""
    found = _columns_of(_rows(sample), layout)
    prefixes = [match and match[1] for columns in found for match in [_LANGUAGE_PREFIX.match(columns[layout.word])]]
    if len(prefixes) >= _ENOUGH and prefixes[0] and len(set(prefixes)) == 1:
        message = f"found {prefixes[0]}: before every word, as in WikiANN's original files; remove it, such as with sed"
        message = f"expected words, {message} 's/^{prefixes[0]}://'"
        raise DataError(message, path=request.origin, line=layout.width_line)


def _kept(line: str) -> str:
    """A line that is not that of a word, in a form that is none in any file."""
    if not line.strip(" \t"):
        return ""
    return line if line.startswith(_DOCUMENT) else ("" if line[0] == "#" else "# ") + line.replace("\t", " ")


def _rows_of(prediction: Prediction) -> Iterator[str]:
    """The words with their labels, separated by tabs."""
    found = [column for columns in prediction.columns.values() for column in columns.values()]
    columns = [prediction.sentence.words, *([str(value) for value in column] for column in found)]
    return map("\t".join, zip(*(fields_of_words(column, prediction.sentence) for column in columns), strict=True))
