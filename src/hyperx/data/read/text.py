"""What `hyperx predict` reads, from standard input or a file: one sentence at a time, never all at once.

A new input format is one class, its name in `InputFormat` of config.py, and one line in `INPUT_FORMATS`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any

from hyperx.config import InputFormat
from hyperx.data.read.columns import column_blocks, layout_of_words
from hyperx.data.read.conllu import blocks, comment_value
from hyperx.data.read.labelled import TEXT_COLUMNS, WORD_KEYS, TextRows, json_object
from hyperx.data.read.lines import (
    FaultyLine,
    OnFault,
    check_word,
    decoded_lines,
    stands_on_a_line,
    stop,
    without_ends,
)
from hyperx.data.read.segmentation import WordSegmenter, check_whole, is_visible, text_sentence, word_segmenter
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError, listing

Row = tuple[str, ...]
"""The ten columns of a CoNLL-U line."""

# No-break spaces may occur within a word, as in the number `10 000`.
_SEPARATORS = re.compile(r"[^\S\u00a0\u2007\u202f]+")


@dataclass(frozen=True, slots=True)
class ConlluSentence(Sentence):
    """A sentence with its original CoNLL-U lines, so that a writer can fill single columns.

    Args:
        rows: the columns of every line that is not a comment: words, multiword ranges and empty nodes.
    """

    rows: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class ColumnsSentence(Sentence):
    """A sentence with the lines that it was read from, so that a writer can answer line by line.

    Args:
        shape: the lines that are not of words, also the blank ones before the sentence, and None for that of a word.
    """

    shape: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Gap(ColumnsSentence):
    """What stands in the place of a sentence that is not there: a blank line, or one that cannot be read.

    Args:
        error: what is wrong; empty for a blank line.
    """

    error: str = ""


def read_input(
    stream: Iterable[bytes],
    input_format: InputFormat,
    *,
    language: str,
    source: str = "<stdin>",
    reads: Collection[str] = ("words",),
    on_fault: OnFault = stop,
    fills: bool = False,
    aligns: bool = False,
    word_column: int | None = None,
) -> Iterator[Sentence]:
    """Stream the sentences of a text, holding one sentence in memory at a time.

    Args:
        stream: a file opened in binary mode, such as ``sys.stdin.buffer``.
        input_format: the format of the text.
        language: the language of the text, by whose rules raw text is segmented.
        source: the name of the stream in errors.
        reads: whether tasks need ``words``, ``text`` or both. Without ``words`` running text is not segmented; with
            ``text`` a tab separates two texts of a line.
        on_fault: called for every sentence that cannot be read; raises by default. If it does not, the next one is
            read.
        fills: give out a :class:`Gap` in the place of such a sentence.
        aligns: give out a :class:`Gap` for every blank line too, and lines of columns as they are.
        word_column: the column of the words in ``columns``, counted from 1; by default found.

    Raises:
        DataError: with stream and line, if the text is not UTF-8 or not in this format, or if raw text is in a script
            that cannot be segmented.
    """
    reader = INPUT_FORMATS[input_format](
        language=language,
        source=source,
        reads=reads,
        on_fault=on_fault,
        fills=fills,
        aligns=aligns,
        word_column=word_column,
    )
    return reader.sentences(without_ends(decoded_lines(stream, source, mark_faults=True)))


def in_order(values: Any) -> tuple[Any, ...] | None:
    """The items of a list, an array, a series, a generator or any other iterable with an order of its own; else None.

    Text and bytes are no lists of their characters. Tables, which iterate over the names of their columns, mappings and
    sets are none either.
    """
    if isinstance(values, str | bytes | bytearray | Mapping | set | frozenset) or hasattr(values, "columns"):
        return None
    try:
        items = iter(values)
    except TypeError:
        return None
    return tuple(items)


def checked_words(words: Iterable[str]) -> tuple[str, ...]:
    """The words of a sentence, checked.

    Raises:
        DataError: if a sentence is not a sequence of words, or a word has a lone surrogate or no visible content.
    """
    found = in_order(words)
    if found is None or not all(isinstance(word, str) for word in found):
        raise DataError(f"expected a sequence of words, found {str(words)[:60]!r}")
    for word in found:
        check_whole(word)
        check_word(word)
    return tuple(map(str.__str__, found))  # strings of numpy are strings, but print otherwise


class InputReader(ABC):
    """Converts lines to sentences; the arguments are those of :func:`read_input`."""

    def __init__(
        self,
        *,
        language: str,
        source: str,
        reads: Collection[str] = ("words",),
        on_fault: OnFault = stop,
        fills: bool = False,
        aligns: bool = False,
        word_column: int | None = None,
    ) -> None:
        self.language, self.source, self.reads = language, source, reads
        self.on_fault, self.fills, self.aligns = on_fault, fills, aligns
        self.word_column = word_column

    @abstractmethod
    def sentences(self, lines: Iterable[tuple[int, str]]) -> Iterator[Sentence]:
        """Stream the sentences of numbered lines.

        Raises:
            DataError: with stream and line, if a line is not in this format.
        """

    def gap(self, fault: DataError, text: str | None, shape: Sequence[str | None] = ()) -> Iterator[Gap]:
        """Report a fault; after that, what stands in the place of its sentence, if anything should."""
        self.on_fault(fault)
        if self.fills:
            yield Gap((), text=text, source=self.source, error=str(fault), shape=tuple(shape))


class LineReader(InputReader):
    """One sentence per line; lines without a visible character are skipped."""

    def sentences(self, lines: Iterable[tuple[int, str]]) -> Iterator[Sentence]:
        """Read line by line."""
        for number, line in lines:
            try:
                if type(line) is FaultyLine:
                    raise line.fault
                sentence = self.sentence(line, number)
            except DataError as error:
                yield from self.gap(DataError(error.message, path=self.source, line=number), line)
                continue
            if sentence is not None:
                yield sentence
            elif self.aligns:
                yield Gap((), text="", source=self.source)

    @abstractmethod
    def sentence(self, line: str, number: int) -> Sentence | None:
        """The sentence of a line with its number; None if it has none.

        Raises:
            DataError: if the line is not in this format.
        """

    def _placed(self, sentence: Sentence, number: int) -> Sentence:
        """A sentence with its place."""
        return replace(sentence, lines=(number,) * max(len(sentence.words), 1), source=self.source)

    @cached_property
    def _segmenter(self) -> WordSegmenter | None:
        return word_segmenter(self.language) if "words" in self.reads else None


class RawReader(LineReader):
    """Running text, one sentence per line. Lines without a visible character are skipped.

    Every run of white space counts as one space; but if a task reads texts, a tab separates two texts.
    """

    def sentence(self, line: str, number: int) -> Sentence | None:
        """A line of more than two texts, or with an empty one of two, is refused."""
        texts = line.split("\t") if "text" in self.reads else [line]
        first, *others = [" ".join(text.split()) for text in texts]
        sentence = text_sentence(first, self._segmenter)
        if others and any(map(is_visible, [first, *others])):
            if sentence is None or not is_visible(others[0]) or len(others) > 1:
                raise DataError(f"expected a text, or two with one tab between them, found {line[:60]!r}")
            sentence = replace(sentence, text_pair=others[0])
        return sentence and self._placed(sentence, number)


class JsonlReader(LineReader):
    """One JSON object per line with ``text``, and ``text_pair`` for two texts (or the other names that training data
    may have), or with ``words`` or ``tokens``, which stay as they are, and ``space_after``. Its ``sent_id``, or else
    ``id``, is kept with the sentence; all other keys are skipped."""

    @cached_property
    def _rows(self) -> TextRows:
        return TextRows(self.source, labelled=False)

    def sentence(self, line: str, number: int) -> Sentence | None:
        """Texts stay as they are. Words are read if a task needs them, or if there is no text."""
        if not line.strip():
            return None
        row = json_object(line, '{"text": ...} or {"words": [...]}')
        if (words := _given_words(row)) is not None:
            if "words" in self.reads or row.get("text") is None:
                return self._of_words(row, words, number)
        elif not _texts(row):
            texts, found = " or ".join(TEXT_COLUMNS["text"]), listing(list(row), most=10) or "none"
            raise DataError(f"expected a column named {texts}, or words or tokens, which list words; found {found}")
        given = self._rows.sentence(row, None)
        sentence = text_sentence(given.raw_text, self._segmenter)
        assert sentence is not None, "a row has a text"
        own = replace(sentence, text=given.text, text_pair=given.text_pair, comments=_sent_id(row))
        return self._placed(own, number)

    def _of_words(self, row: Mapping[str, Any], words: Sequence[Any], number: int) -> Sentence:
        """A sentence given by its words."""
        if not words or not all(isinstance(word, str) for word in words):
            raise DataError(f'expected words as a list of texts, such as ["a", "b"], found {str(words)[:40]}')
        words = checked_words(words)
        return Sentence(
            words=words,
            lines=(number,) * len(words),
            source=self.source,
            text=_text_of(row, "text"),
            text_pair=_text_of(row, "text_pair"),
            space_after=_space_after(row, words),
            comments=_sent_id(row),
        )


class ColumnsReader(InputReader):
    """One word per line with the rest of the line skipped; a blank line ends the sentence.

    The word is in the first column, or in the second if the first one counts words, or where the user says. Columns,
    comments and ``-DOCSTART-`` lines are told apart as in training data: see :class:`hyperx.data.read.columns.Layout`.
    """

    def sentences(self, lines: Iterable[tuple[int, str]]) -> Iterator[Sentence]:
        """Read block by block."""
        choose = partial(layout_of_words, self.word_column, self.source)
        for block in column_blocks(lines, choose, shapes=self.aligns):
            if not block.first_line:
                yield Gap((), text="", source=self.source, shape=tuple(block.shape))
                continue
            sentence = block.sentence()
            if sentence is None:
                yield from self.gap(block.faults[0], comment_value(block.comments, "text"), block.shape)
            elif self.aligns:
                facts = {name.name: getattr(sentence, name.name) for name in fields(sentence)}
                yield ColumnsSentence(**facts, shape=tuple(block.shape))
            else:
                yield sentence


class TokensReader(LineReader):
    """Words separated by white space, one sentence per line. Blank lines are skipped.

    A no-break space does not separate words. A sentence has neither a text nor spaces.
    """

    def sentence(self, line: str, number: int) -> Sentence | None:
        """Split a line; a word of only no-break spaces or control characters is refused."""
        words = tuple(word for word in _SEPARATORS.split(line) if word)
        if not words or line.isspace():
            return None
        for word in words:
            check_word(word)
        return Sentence(words=words, lines=(number,) * len(words), source=self.source)


class ConlluReader(InputReader):
    """CoNLL-U; sentences keep every line and comment. Annotation is kept, not interpreted."""

    def sentences(self, lines: Iterable[tuple[int, str]]) -> Iterator[Sentence]:
        """Parse block by block; comments without words are refused, at the end of the stream too."""
        advice = "fix the line, or say with --input_format what the text is"
        faults: list[DataError] = []
        for block in blocks(lines, self.source, faults.append, advice=advice):
            try:
                if faults:
                    raise faults.pop()
                yield ConlluSentence(
                    **block.facts(),
                    text_pair=comment_value(block.comments, "text_pair"),
                    rows=tuple(map(tuple, block.rows)),
                )
            except DataError as fault:
                yield from self.gap(fault, comment_value(block.comments, "text"))


INPUT_FORMATS: dict[InputFormat, type[InputReader]] = {
    "raw": RawReader,
    "jsonl": JsonlReader,
    "tokens": TokensReader,
    "columns": ColumnsReader,
    "conllu": ConlluReader,
}
"""Every input format by its name."""


def _given_words(row: Mapping[str, Any]) -> Sequence[Any] | None:
    """The list under ``words`` or ``tokens``; None if there is none.

    Raises:
        DataError: if there are two, and they differ.
    """
    found = [row[name] for name in WORD_KEYS if isinstance(row.get(name), list)]
    if len(found) == 2 and found[0] != found[1]:
        raise DataError("expected words or tokens, found both, and they differ; leave one of them out")
    return found[0] if found else None


def _texts(row: Mapping[str, Any]) -> bool:
    """Whether an object has a text, under any of its names."""
    return any(name.strip().lower() in TEXT_COLUMNS["text"] for name in row)


def _text_of(row: Mapping[str, Any], name: str) -> str | None:
    """A text beside words; None if there is none.

    Raises:
        DataError: if it is no text.
    """
    value = row.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not is_visible(value):
        raise DataError(f"expected a text in {name}, found {value!r:.40}; write one or leave the key out")
    check_whole(value)
    return value


def _space_after(row: Mapping[str, Any], words: Sequence[str]) -> tuple[bool, ...] | None:
    """For each word whether a space follows it, as `JsonlWriter` writes it; None if that is unknown.

    Raises:
        DataError: if there is another number of values, or one is neither true nor false.
    """
    found = row.get("space_after")
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != len(words) or not all(isinstance(value, bool) for value in found):
        raise DataError(f"expected space_after as {len(words)} times true or false, one a word, found {found!r:.60}")
    return tuple(found)


def _sent_id(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The id of a JSON object as a CoNLL-U comment; nothing if it has none, or none that fits on one line."""
    for key in ("sent_id", "id"):
        value = row.get(key)
        if isinstance(value, int | str) and str(value).strip() and stands_on_a_line(str(value)):
            return (f"# sent_id = {str(value).strip()}",)
    return ()
