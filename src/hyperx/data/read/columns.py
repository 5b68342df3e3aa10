"""Columns: one word per line and a blank line after each sentence, as in CoNLL-2003, WikiANN and Universal NER."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path

from hyperx.data.read.base import TEXT, Request, Writer, check_fields, no_field
from hyperx.data.read.blocks import DOCUMENT, Block, Layout, comment_value, cut, is_tag, read_blocks
from hyperx.data.read.conllu import NOTHING, label_comments, pair_comment
from hyperx.data.read.lines import LINE_BREAKS, FaultyLine, Line, without_ends
from hyperx.data.read.segmentation import offsets_in
from hyperx.data.read.sentence import Places, Prediction, Sentence
from hyperx.errors import DataError

log = logging.getLogger(__name__)

_UNIVERSAL_NER = Layout(
    "\t", 5, "5 columns separated by tabs (index, word, tag and two more)", "fix the line", word=1, tag=2, indexed=True
)
# Rows that tell the layout of a file, three at least and ten at most, so that a stream does not wait for long; and how
# many lines that may be comments are searched for them.
_ENOUGH, _MOST, _SEARCHED = 3, 10, 10_000
_ID = re.compile(r"[0-9]+([-.][0-9]+)?")
_PREFIX = re.compile(r"([a-z]{2,3}(?:-[a-z]+)*|simple):.")
_NO_WORDS = ("# ", DOCUMENT, "\ufeff")
"""What begins a comment or a document, or a file."""


def read_columns(lines: Iterable[Line], request: Request) -> Iterator[Sentence]:
    """Columns, split at the tab if there are tabs (words may contain spaces, or begin with `#`), else at spaces.

    In training data the first column is the word and the last the tag. `.iob2` files have index, word, tag and two more
    columns; lines whose index is a range (`1-2`) or an empty node's (`1.1`) are left out. In prediction the word is in
    the first column, or in the second if the first one counts words, or where the user says. Blank lines end sentences;
    `-DOCSTART-` lines are skipped. :meth:`Layout.columns` says which lines are comments.
    """
    lines = without_ends(lines)
    sample = _sample(lines)
    yield from read_blocks(chain(sample, lines), _layout(sample, request), request, _sentence)


def _sentence(block: Block, request: Request) -> Sentence:
    text = comment_value(block.comments, "text") or None
    return Sentence(
        words=tuple(block.words),
        columns={} if request.column in (None, TEXT) else {str(request.column): tuple(block.tags)},
        lines=tuple(block.lines),
        origin=request.origin,
        text=text,
        text_pair=comment_value(block.comments, "text_pair") or None,
        offsets=offsets_in(text, block.words) if request.column is None and text else None,
        comments=tuple(block.comments),
    )


# What a file is like --------------------------------------------------------------------------------------------------


def _sample(lines: Iterator[Line]) -> list[Line]:
    """The first lines, up to the blank one behind enough rows."""
    sample: list[Line] = []
    rows = comments = 0
    for number, line in lines:
        sample.append((number, line))
        if _may_be_row(line):
            comments += line[0] == "#"
            rows += line[0] != "#"
        if rows == _MOST or comments == _SEARCHED or (rows >= _ENOUGH and not line.strip(" \t")):
            break
    return sample


def _may_be_row(line: str) -> bool:
    return bool(line.strip(" \t")) and not line.startswith(DOCUMENT) and type(line) is not FaultyLine


def _layout(sample: Sequence[Line], request: Request) -> Layout:
    """The layout of most of the first rows of a file.

    Raises:
        DataError: if its columns cannot be read, or their values do not look like words.
    """
    if request.column and Path(request.origin).suffix.lower() == ".iob2":
        return _UNIVERSAL_NER
    lines = [(number, line) for number, line in sample if _may_be_row(line)]
    for comment in ("# ", "#"):  # the lines that are surely those of words, if there are any
        lines = [(number, line) for number, line in lines if not line.startswith(comment)] or lines
    lines = lines[:_MOST] or [(0, "")]
    separator = Counter("\t" if "\t" in line else " " for _, line in lines).most_common(1)[0][0]
    rows = {number: cut(line, separator) for number, line in lines if ("\t" in line) == (separator == "\t")}
    width = Counter(map(len, rows.values())).most_common(1)[0][0]
    rows = {number: row for number, row in rows.items() if len(row) == width}
    first = next(iter(rows))
    usual = f" where line {first} has {width}"
    if request.column:
        advice = "write only word, tab and tag, or '# ' before a comment; the name of a CoNLL-U file ends in .conllu"
        expected = 2 if separator == "\t" else max(width, 2)
        layout = Layout(separator, expected, "a word and its tag", advice, usual if width == expected else "", tag=-1)
    else:
        try:
            word, indexed = _word_column(rows, request)
        except DataError as error:
            raise DataError(error.message, path=request.origin, line=first) from error
        advice = "write tabs between columns where a word holds spaces, and '# ' before a comment"
        layout = Layout(separator, width, "a line of a word", advice, usual, word=word, indexed=indexed)
    prefixes = {match and match[1] for row in rows.values() for match in [_PREFIX.match(row[layout.word])]}
    prefix = prefixes.pop()
    if len(rows) >= _ENOUGH and prefix and not prefixes:
        found = f"found {prefix}: before every word, as in WikiANN's original files"
        message = f"expected words, {found}; remove it, such as with sed 's/^{prefix}://'"
        raise DataError(message, path=request.origin, line=first)
    return layout


def _word_column(rows: Mapping[int, Sequence[str]], request: Request) -> tuple[int, bool]:
    """The column of the words, and whether another counts them, given rows by line; a DataError if nothing tells.

    It is the first one, or the second if the first one counts: 1, 2, 3 and so on in the first sentence of several
    words. What else the first column may hold is not guessed.
    """
    asked, lines = request.word_column, list(rows)
    first, second, *_ = [*zip(*rows.values(), strict=True), ()]
    width = len(rows[lines[0]])
    if asked is not None and asked > width:
        raise DataError(f"expected the words in column {asked} (--word_column), found {width}; name one of them")
    if width == 1:
        return 0, False
    steps = [after - before for before, after in pairwise(lines)]
    end = next((place for place, (one, other) in enumerate(pairwise(steps), 2) if one == 1 < other), len(lines))
    numbers = [int(value) for value in first[:end] if value.isdecimal() and len(value) < 10]
    counts = all(map(_ID.fullmatch, first[:end])) and numbers[:1] == [1]
    counts = counts and all(after in (before + 1, 1) for before, after in pairwise(numbers))
    if counts:
        is_doubtful = max(numbers) == 1 or all(is_tag(value) or value.isdecimal() for value in second)
    else:
        alike = (len(set(first)) == 1 or all(map(str.isdecimal, first))) and not all(map(is_tag, second))
        is_doubtful = alike or all(map(is_tag, first)) or all(" " in value for value in first)
        is_doubtful = is_doubtful and len(rows) >= _ENOUGH
    if asked is None and is_doubtful:
        found = f"{', '.join(value[:20] for value in first[:4])}, which may be no words"
        advice = "say with --word_column which column has them, counted from 1, or for texts --input_format raw"
        raise DataError(f"expected words in the first column, found {found}; {advice}")
    word = asked - 1 if asked else int(counts)
    why = " (--word_column)" if asked else ", as the first one counts them" if word else ""
    log.info("%s: %d columns; the words are in column %d%s", request.origin, width, word + 1, why)
    if width == 10 and counts:
        log.warning("%s looks like CoNLL-U: --input_format conllu keeps its columns and ranges", request.origin)
    return word, word > 0 and counts


# Writing --------------------------------------------------------------------------------------------------------------


class ColumnsWriter(Writer):
    """Writes the word and each task's labels between tabs.

    A label of the whole sentence comes before it, as ``# sentiment = good``, and before the label the second of two
    texts, as ``# text_pair = ...``. If no task needed the words, there is one line per text: the text or texts, and the
    labels. In the place of a sentence that could not be read there is ``_`` with labels ``_``, below ``# error = ...``.
    """

    def label_problem(self, label: str, task: str, places: Places) -> str | None:
        """Labels stand between tabs, or in comments."""
        return no_field(label, edges=False)

    def check(self, sentence: Sentence, places: Places) -> None:
        """Words have neither tabs nor line ends, and do not make their line a comment or the start of a document;
        without a label beside them, they have no spaces either."""
        alone = not any(map(tuple, places.values()))

        def problem(word: str) -> str | None:
            if word.startswith(_NO_WORDS):
                return "columns take it for a comment, or for the start of a document"
            return "spaces separate columns where no tab does" if alone and " " in word else None

        check_fields(sentence, problem)

    def render(self, prediction: Prediction, number: int) -> str:
        """The lines of a sentence and a blank one, or the line of a text."""
        sentence = prediction.sentence
        columns = [column for columns in prediction.columns.values() for column in columns.values()]
        rows = ["\t".join(map(str, row)) for row in zip(prediction.words, *columns, strict=True)]
        nothing = "\t".join([NOTHING] * (1 + (len(columns) or len(prediction.labels))))
        if sentence.error is not None:
            if not columns:  # a line for a text
                return f"{nothing}\n"
            return f"# error = {LINE_BREAKS.sub(' ', sentence.error)}\n{nothing}\n\n"
        if not sentence.words:
            pair = [] if sentence.text_pair is None else [sentence.text_pair]
            texts = [sentence.raw_text, *pair, *prediction.sentence_labels.values()]
            return "\t".join(LINE_BREAKS.sub(" ", text) for text in texts) + "\n"
        comments = [] if sentence.language is None else [f"# language = {sentence.language}"]
        comments += label_comments(prediction)
        if comments:  # without a label of the whole sentence, only words and tags, as in training data
            comments = [*pair_comment(sentence), *comments]
        return "\n".join([*comments, *rows, "\n"])
