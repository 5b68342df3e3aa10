"""What `hyperx predict` reads, from standard input or a file: one sentence at a time, never all at once.

A new input format is one class, its name in `InputFormat` of config.py, and one line in `INPUT_FORMATS`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hyperx.config import InputFormat
from hyperx.data.conllu import blocks, comment_value
from hyperx.data.labelled import TextRows, json_rows
from hyperx.data.lines import check_word, decoded_lines, stands_on_a_line, without_ends
from hyperx.data.sentence import Sentence
from hyperx.errors import DataError
from hyperx.segmentation import WordSegmenter, check_whole, is_visible, text_sentence, word_segmenter

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


def read_input(
    stream: Iterable[bytes],
    input_format: InputFormat,
    *,
    language: str,
    source: str = "<stdin>",
    reads: Collection[str] = ("words",),
) -> Iterator[Sentence]:
    """Stream the sentences of a text, holding one sentence in memory at a time.

    Args:
        stream: a file opened in binary mode, such as ``sys.stdin.buffer``.
        input_format: the format of the text.
        language: the language of the text, by whose rules raw text is segmented.
        source: the name of the stream in errors.
        reads: whether tasks need ``words``, ``text`` or both. Without ``words`` running text is not segmented; with
            ``text`` a tab separates two texts of a line.

    Raises:
        DataError: with stream and line, if the text is not UTF-8 or not in this format, or if raw text is in a script
            that cannot be segmented.
    """
    reader = INPUT_FORMATS[input_format](language=language, source=source, reads=reads)
    return reader.sentences(without_ends(decoded_lines(stream, source)))


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
    """Converts lines to sentences.

    Args:
        language: the language of the text.
        source: the name of the stream in errors and sentences.
        reads: whether tasks need ``words``, ``text`` or both.
    """

    def __init__(self, *, language: str, source: str, reads: Collection[str] = ("words",)) -> None:
        self.language, self.source, self.reads = language, source, reads

    @abstractmethod
    def sentences(self, lines: Iterable[tuple[int, str]]) -> Iterator[Sentence]:
        """Stream the sentences of numbered lines.

        Raises:
            DataError: with stream and line, if a line is not in this format.
        """


class TextReader(InputReader):
    """Texts, which are segmented if words are needed."""

    @cached_property
    def _segmenter(self) -> WordSegmenter:
        return word_segmenter(self.language)

    def sentence(self, text: str, number: int) -> Sentence | None:
        """A text of a line, with its words if they are needed; None if it has no visible character.

        Raises:
            DataError: see :meth:`hyperx.segmentation.WordSegmenter.segment` for what is refused.
        """
        try:
            found = text_sentence(text, self._segmenter if "words" in self.reads else None)
        except DataError as error:
            raise DataError(error.message, path=self.source, line=number) from error
        return found and replace(found, lines=(number,) * max(len(found.words), 1), source=self.source)


class RawReader(TextReader):
    """Running text, one sentence per line. Lines without a visible character are skipped.

    Every run of white space counts as one space; but if a task reads texts, a tab separates two texts.
    """

    def sentences(self, lines: Iterable[tuple[int, str]]) -> Iterator[Sentence]:
        """Read line by line; a line with more than two texts, or with an empty one of two, is refused."""
        for number, line in lines:
            texts = line.split("\t") if "text" in self.reads else [line]
            first, *others = [" ".join(text.split()) for text in texts]
            sentence = self.sentence(first, number)
            if others and any(map(is_visible, [first, *others])):
                if sentence is None or not is_visible(others[0]) or len(others) > 1:
                    message = f"expected a text, or two with one tab between them, found {line[:60]!r}"
                    raise DataError(message, path=self.source, line=number)
                sentence = replace(sentence, text_pair=others[0])
            if sentence is not None:
                yield sentence


class JsonlReader(TextReader):
    """One JSON object per line with ``text``, and ``text_pair`` for two texts (or the other names that training data
    may have), or with ``words``, which stay as they are. Its ``sent_id``, or else ``id``, is kept with the sentence;
    all other keys are skipped."""

    def sentences(self, lines: Iterable[tuple[int, str]]) -> Iterator[Sentence]:
        """Read line by line; texts stay as they are."""
        rows = TextRows(self.source, labelled=False)
        for number, row in json_rows(lines, self.source):
            if "words" in self.reads and isinstance(row.get("words"), list):
                yield self._of_words(row, number)
                continue
            given = rows.sentence(row, number)
            sentence = self.sentence(given.raw_text, number)
            assert sentence is not None, "a row has a text"
            yield replace(sentence, text=given.text, text_pair=given.text_pair, comments=_sent_id(row))

    def _of_words(self, row: Mapping[str, Any], number: int) -> Sentence:
        """A sentence given by its words."""
        words = row["words"]
        if not words or not all(isinstance(word, str) for word in words):
            message = f'expected words as a list of texts, such as ["a", "b"], found {str(words)[:40]}'
            raise DataError(message, path=self.source, line=number)
        try:
            words = checked_words(words)
        except DataError as error:
            raise DataError(error.message, path=self.source, line=number) from error
        text, pair = (value if isinstance(value := row.get(name), str) else None for name in ("text", "text_pair"))
        return Sentence(
            words=words,
            lines=(number,) * len(words),
            source=self.source,
            text=text,
            text_pair=pair,
            comments=_sent_id(row),
        )


class ColumnsReader(InputReader):
    """One word per line, in the first column, with the rest of the line skipped; a blank line ends the sentence.

    Columns are separated by tabs if the line has one, else by spaces, as in training data; ``-DOCSTART-`` lines are
    skipped.
    """

    def sentences(self, lines: Iterable[tuple[int, str]]) -> Iterator[Sentence]:
        """Read line by line; a word of only spaces or control characters is refused."""
        words: list[tuple[int, str]] = []
        for number, line in lines:
            if line.startswith("-DOCSTART-"):
                continue
            if line.strip(" \t"):
                word = line.partition("\t")[0] if "\t" in line else line.strip(" ").partition(" ")[0]
                check_word(word, self.source, number)
                words.append((number, word))
            elif words:
                yield self._sentence(words)
                words = []
        if words:
            yield self._sentence(words)

    def _sentence(self, words: Sequence[tuple[int, str]]) -> Sentence:
        numbers, forms = zip(*words, strict=True)
        return Sentence(words=forms, lines=numbers, source=self.source)


class TokensReader(InputReader):
    """Words separated by white space, one sentence per line. Blank lines are skipped.

    A no-break space does not separate words. A sentence has neither a text nor spaces.
    """

    def sentences(self, lines: Iterable[tuple[int, str]]) -> Iterator[Sentence]:
        """Split every line; a word of only no-break spaces or control characters is refused."""
        for number, line in lines:
            words = tuple(word for word in _SEPARATORS.split(line) if word)
            if not words or line.isspace():
                continue
            for word in words:
                check_word(word, self.source, number)
            yield Sentence(words=words, lines=(number,) * len(words), source=self.source)


class ConlluReader(InputReader):
    """CoNLL-U; sentences keep every line and comment. Annotation is kept, not interpreted."""

    def sentences(self, lines: Iterable[tuple[int, str]]) -> Iterator[Sentence]:
        """Parse block by block; comments without words are refused, at the end of the stream too."""
        advice = "fix the line, or say with --input_format what the text is"
        for block in blocks(lines, self.source, advice=advice):
            yield ConlluSentence(
                **block.facts(),
                text_pair=comment_value(block.comments, "text_pair"),
                rows=tuple(map(tuple, block.rows)),
            )


INPUT_FORMATS: dict[InputFormat, type[InputReader]] = {
    "raw": RawReader,
    "jsonl": JsonlReader,
    "tokens": TokensReader,
    "columns": ColumnsReader,
    "conllu": ConlluReader,
}
"""Every input format by its name."""


def _sent_id(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The id of a JSON object as a CoNLL-U comment; nothing if it has none, or none that fits on one line."""
    for key in ("sent_id", "id"):
        value = row.get(key)
        if isinstance(value, int | str) and str(value).strip() and stands_on_a_line(str(value)):
            return (f"# sent_id = {str(value).strip()}",)
    return ()
