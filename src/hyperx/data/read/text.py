"""Running text, one passage or sentence per line, and words between spaces."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from hyperx.data.read.base import TEXT, LineFormat, Request
from hyperx.data.read.lines import check_word
from hyperx.data.read.segmentation import is_visible, text_sentence
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError

# No-break spaces may occur within a word, as in the number `10 000`.
_SEPARATORS = re.compile(r"[^\S\u00a0\u2007\u202f]+")


class RawFormat(LineFormat):
    """Running text, one sentence per line; lines without a visible character are skipped.

    Every run of white space counts as one space; but if a task reads texts, a tab separates two texts. In training
    data a line is a passage and stays as it is.
    """

    def reader(self, request: Request) -> Callable[[str, int], Sentence | None]:
        """A line of more than two texts, or with an empty one of two, is refused."""
        return lambda line, number: (_passage if request.column == TEXT else _sentence)(line, number, request)


class TokensFormat(LineFormat):
    """Words separated by white space, one sentence per line; blank lines are skipped.

    A no-break space does not separate words. A sentence has neither a text nor spaces.
    """

    def reader(self, request: Request) -> Callable[[str, int], Sentence | None]:
        """A word of only no-break spaces or control characters is refused."""

        def read(line: str, number: int) -> Sentence | None:
            words = tuple(word for word in _SEPARATORS.split(line) if word)
            if not words or line.isspace():
                return None
            for word in words:
                check_word(word)
            return Sentence(words, lines=(number,) * len(words), origin=request.origin)

        return read


def _passage(line: str, number: int, request: Request) -> Sentence | None:
    if not line.strip():
        return None
    check_word(line)
    return Sentence((), lines=(number,), origin=request.origin, text=line)


def _sentence(line: str, number: int, request: Request) -> Sentence | None:
    texts = line.split("\t") if "text" in request.reads else [line]
    first, *others = [" ".join(text.split()) for text in texts]
    sentence = text_sentence(first, request.segmenter)
    if others and any(map(is_visible, [first, *others])):
        if sentence is None or not is_visible(others[0]) or len(others) > 1:
            raise DataError(f"expected a text, or two with one tab between them, found {line[:60]!r}")
        sentence = replace(sentence, text_pair=others[0])
    return sentence and replace(sentence, lines=(number,) * max(len(sentence.words), 1), origin=request.origin)
