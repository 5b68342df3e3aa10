"""Columns: one word per line and a blank line after each sentence, as in CoNLL-2003, WikiANN and Universal NER."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from hyperx.data.read.base import TEXT, Request, WrittenFormat, check_fields, no_field
from hyperx.data.read.blocks import DOCUMENT, Block, Layout, WordIds, comment_value, cut, is_tag, read_blocks
from hyperx.data.read.conllu import NOTHING, label_comments, pair_comment
from hyperx.data.read.lines import LINE_BREAKS, FaultyLine, Line, without_ends
from hyperx.data.read.sentence import Places, Prediction, Sentence
from hyperx.errors import DataError

log = logging.getLogger(__name__)

_UNIVERSAL_NER = ".iob2"
_UNIVERSAL_NER_COLUMNS, _CONLLU_COLUMNS = 5, 10

# Rows that tell the layout of a file: three at least and ten at most, so that a stream does not wait for long.
_ENOUGH, _MOST = 3, 10
# Lines that are searched for them.
_SEARCHED = 1000

_LANGUAGE_PREFIX = re.compile(r"([a-z]{2,3}(?:-[a-z]+)*|simple):.")
_NO_WORDS = ("# ", DOCUMENT, "\ufeff")
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
        yield from read_blocks(chain(sample, lines), layout, request, _sentence)

    def label_problem(self, label: str, task: str, places: Places) -> str | None:
        """Labels stand between tabs, or in comments."""
        spaces = "spaces around a label or comment are not read"
        return no_field(label) or (None if label == label.strip() else spaces)

    def check(self, sentence: Sentence, places: Places) -> None:
        """Words have neither tabs nor line ends, and do not make their line a comment or the start of a document;
        without a label beside them, they have no spaces either."""
        alone = not any(map(tuple, places.values()))
        check_fields(sentence)
        for number, word in enumerate(sentence.words):
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
            if not width:  # a line for a text
                return f"{nothing}\n"
            return f"# error = {LINE_BREAKS.sub(' ', sentence.error)}\n{nothing}\n\n"
        if not sentence.words:
            pair = [] if sentence.text_pair is None else [sentence.text_pair]
            texts = [sentence.raw_text, *pair, *prediction.sentence_labels.values()]
            return "\t".join(LINE_BREAKS.sub(" ", text) for text in texts) + "\n"
        comments = label_comments(prediction)
        if comments:  # without a label of the whole sentence, only words and tags, as in training data
            comments = [*pair_comment(sentence), *comments]
        return "\n".join([*comments, *_rows_of(prediction), "\n"])


def _sentence(block: Block) -> Sentence:
    column = block.request.column
    return Sentence(
        words=tuple(block.words),
        columns={} if column in (None, TEXT) else {str(column): tuple(block.tags)},
        lines=tuple(block.lines),
        origin=block.request.origin,
        text=comment_value(block.comments, "text") or None,
        text_pair=comment_value(block.comments, "text_pair") or None,
        comments=tuple(block.comments),
        shape=tuple(block.shape),
    )


def _layout(sample: Sequence[Line], request: Request) -> Layout:
    """The layout of a file of which the first lines are given.

    In prediction the words are in the first column, or in the second if the first one counts them: 1, 2, 3 and so on in
    each sentence. What else the first column may hold is not guessed.

    Raises:
        DataError: if there is no such column, or the first column seems to hold something else than words.
    """
    if request.column and Path(request.origin).suffix.lower() == _UNIVERSAL_NER:
        expected = f"{_UNIVERSAL_NER_COLUMNS} columns separated by tabs (index, word, tag and two more)"
        return Layout("\t", _UNIVERSAL_NER_COLUMNS, 0, word=1, tag=2, indexed=True, expected=expected)
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
    return bool(line.strip(" \t")) and not line.startswith(DOCUMENT) and type(line) is not FaultyLine


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
        number: len(cut(line, separator))
        for (number, line), own in zip(rows, separators, strict=True)
        if own == separator
    }
    width = Counter(widths.values()).most_common(1)[0][0]
    return separator, width, next(number for number, found in widths.items() if found == width)


def _columns_of(rows: Sequence[Line], layout: Layout) -> list[list[str]]:
    return [columns for _, line in rows if len(columns := cut(line, layout.separator)) == layout.width]


def _counted(sample: Sequence[Line], separator: str) -> int:
    """The number to which the first column counts the words of a sentence; 0 if it does not count them."""
    ids, most = WordIds(), 0
    for number, line in sample:
        if not line.strip(" \t"):
            ids = WordIds()
        elif _is_row(line) and line[0] != "#":
            try:
                ids.is_word(number, cut(line, separator)[0])
            except DataError:
                return 0
            most = max(most, ids.words)
    return most


def _doubt(rows: Sequence[Sequence[str]], counted: int) -> str | None:
    """What speaks against words in the first column, or in the second if the first one counts; None if nothing does."""
    first, second = ([columns[place] for columns in rows] for place in (0, 1))
    shown = ", ".join(value[:20] for value in first[:4])
    if counted == 1:
        return f"only {shown}, which may be words or count them"
    if counted:
        unlike = all(is_tag(value) or value.isdigit() for value in second)
        return f"{shown}, which may be words or count them" if unlike else None
    if len(first) < _ENOUGH:
        return None
    if not all(map(is_tag, second)):
        if len(set(first)) == 1:
            return f"{first[0][:40]!r} in every line"
        if all(value.isdigit() for value in first):
            return f"only numbers, {shown}"
    if all(map(is_tag, first)):
        return f"only tags, {shown}"
    if all(" " in value for value in first):
        return f"spaces in each, such as {first[0][:40]!r}; texts are --input_format raw or jsonl. If these are words"
    return None


def _check_prefix(layout: Layout, sample: Sequence[Line], request: Request) -> None:
    """Check that the words do not all begin with a language, as in WikiANN's original files."""
    rows = _columns_of(_rows(sample), layout)
    prefixes = [match and match[1] for columns in rows for match in [_LANGUAGE_PREFIX.match(columns[layout.word])]]
    if len(prefixes) >= _ENOUGH and prefixes[0] and len(set(prefixes)) == 1:
        message = f"found {prefixes[0]}: before every word, as in WikiANN's original files; remove it, such as with sed"
        message = f"expected words, {message} 's/^{prefixes[0]}://'"
        raise DataError(message, path=request.origin, line=layout.width_line)


def _rows_of(prediction: Prediction) -> Iterator[str]:
    """The words with their labels, separated by tabs."""
    columns = [column for columns in prediction.columns.values() for column in columns.values()]
    return ("\t".join(map(str, row)) for row in zip(prediction.words, *columns, strict=True))
