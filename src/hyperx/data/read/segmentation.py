"""Raw text to sentences, by the rules of sentencex, and to words, by those of spaCy's tokenizers: no model, some 70
languages, one set of rules for all others. Chinese, Japanese and Thai are cut by :mod:`hyperx.data.read.unspaced`.

Words are pieces of the text: contractions that Universal Dependencies splits into other forms (French *du* into *de*
and *le*) stay as they are written, and Vietnamese is split at every space. Punctuation that an invisible character
separates from its word, such as a right-to-left mark before a full stop, stays with the word.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

from hyperx.data.read.sentence import Offsets, Sentence
from hyperx.data.read.unspaced import UNSPACED, Cut, cut_of
from hyperx.errors import DataError
from hyperx.languages import canonical

if TYPE_CHECKING:  # spaCy takes about a second to import on top of torch, and most commands never segment
    from spacy.language import Language

LONGEST_CHUNK = 250
"""Longest run of characters without a space that is cut: spaCy's rules take quadratic time (1 s for 2,000 ``$``)."""

LONGEST_PART = 10_000
"""Most characters that are split into sentences at a time: sentencex takes quadratic time (5 s for 80,000 ``«``)."""

TOKENS_BEFORE_RELOAD = 2_000_000
"""Tokens after which the rules are reloaded: spaCy keeps some 20 bytes of each token, even in a memory zone."""

# Languages whose code in spaCy differs from that of `canonical`.
_SPACY_CODES = {"ku": "kmr", "no": "nb", "sh": "hr"}


class WordSegmenter:
    """Splits lines of raw text into words; a language for which spaCy has no rules by its rules for all languages.

    The rules are loaded with the first line, which takes up to a second: :func:`word_segmenter` keeps them. Threads may
    share a segmenter.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._lock = threading.Lock()
        self._tokens_since_loading = 0

    @cached_property
    def _spacy(self) -> Language:
        import pkgutil

        import spacy
        import spacy.lang

        language = canonical(self.language)
        code = _SPACY_CODES.get(language, language)
        known = {module.name for module in pkgutil.iter_modules(spacy.lang.__path__) if module.ispkg}
        # The rule tokenizer in every language: the defaults of a few (Korean, Vietnamese) need further libraries.
        rules = {"nlp": {"tokenizer": {"@tokenizers": "spacy.Tokenizer.v1"}}}
        return spacy.blank(code if code in known else "xx", config=rules)

    def segment(self, line: str) -> Sentence | None:
        """The words of a line, or None if it has none.

        The sentence's text is the line with every run of white space (including tabs and no-break spaces) as one
        space, and without pieces between spaces that consist of control and format characters only. The words, joined
        according to ``space_after``, give exactly that text; their offsets are those in the line as it is. A word never
        contains a space; combining marks and invisible characters after a word belong to it and do not begin the next
        one.

        Raises:
            DataError: if the line is in a script without spaces that nothing installed cuts (see `cut_of`), or it
                contains a lone surrogate, which no encoding can write.
        """
        check_whole(line)
        cut = cut_of(line, canonical(self.language))
        chunks = [chunk for chunk in line.split() if is_visible(chunk)]
        if not chunks:
            return None
        # A line's last word is followed by white space, the line end, as in treebanks.
        words, space_after = zip(*_attached(self._pieces(chunks, cut)), strict=True)
        return Sentence(
            words=words,
            text=" ".join(chunks),
            space_after=(*space_after[:-1], True),
            offsets=offsets_in(line, words),
        )

    def _pieces(self, chunks: Iterable[str], cut: Cut | None) -> Iterator[tuple[str, bool]]:
        def cutter(chunk: str) -> Cut | None:
            return cut if cut and UNSPACED.search(chunk) else _whole if len(chunk) > LONGEST_CHUNK else None

        for own, group in groupby(chunks, key=cutter):
            if own is None:
                tokens = self._tokens(" ".join(group))
            else:
                tokens = [(word, at == len(words)) for words in map(own, group) for at, word in enumerate(words, 1)]
            for token, space in [*tokens[:-1], (tokens[-1][0], True)]:
                # Some rules make one token of several words, such as Russian «и т.д.».
                *parts, last = token.split(" ")
                for part in parts:
                    yield part, True
                yield last, space

    def _tokens(self, text: str) -> list[tuple[str, bool]]:
        with self._lock:  # spaCy's tokenizer and its memory zones serve one thread at a time
            if self._tokens_since_loading > TOKENS_BEFORE_RELOAD:
                del self._spacy
                self._tokens_since_loading = 0
            # Outside a memory zone spaCy keeps every string that it ever saw.
            with self._spacy.memory_zone():
                tokens = [(token.text, bool(token.whitespace_)) for token in self._spacy.tokenizer(text)]
            self._tokens_since_loading += len(tokens)
        return tokens


def _whole(chunk: str) -> list[str]:
    return [chunk]


@lru_cache(maxsize=64)
def word_segmenter(language: str) -> WordSegmenter:
    """The segmenter of a language that all of a process share; those of the last languages are kept."""
    return WordSegmenter(language)


def is_visible(text: str) -> bool:
    """Whether a text has any character other than white space, control and format characters."""
    return text.isalnum() or any(not char.isspace() and unicodedata.category(char) not in ("Cc", "Cf") for char in text)


def offsets_in(text: str, words: Iterable[str]) -> Offsets | None:
    """Where each of the words stands in a text that has them one after the other, and between them nothing visible;
    None if the text is another."""
    offsets, end = [], 0
    for word in words:
        start = text.find(word, end)
        if start < 0 or is_visible(text[end:start]):
            return None
        offsets.append((start, end := start + len(word)))
    return None if is_visible(text[end:]) else tuple(offsets)


def sentences(text: str, language: str) -> list[str]:
    """The sentences of running text, for :meth:`hyperx.HyperX.predict`, by the rules of sentencex for the language.

    Blank lines separate paragraphs; all other white space counts as one space. Thai marks no ends of sentences: there
    a sentence is a line. Raises a DataError if the text contains a lone surrogate.
    """
    return [" ".join(piece.split()) for piece in sentence_pieces(text, language) if is_visible(piece)]


def sentence_pieces(text: str, language: str) -> Iterator[str]:
    """The sentences of a text with the white space around them: joined, they give the text."""
    import sentencex

    check_whole(text)
    if canonical(language) == "th":
        yield from re.findall(r".*\n|.+", text)
        return
    for paragraph in re.split(r"(\n\s*\n)", text):
        start = 0
        while part := paragraph[start : start + LONGEST_PART]:
            *own, last = sentencex.segment(canonical(language), part)
            for piece in own if own and start + len(part) < len(paragraph) else (*own, last):
                yield piece
                start += len(piece)


def text_sentence(text: str, segmenter: WordSegmenter | None) -> Sentence | None:
    """A text with its words, or without words if no segmenter is given; None if it has no visible character. Raises a
    DataError like :meth:`WordSegmenter.segment`."""
    if segmenter is not None:
        return segmenter.segment(text)
    check_whole(text)
    return Sentence(words=(), text=text) if is_visible(text) else None


def check_whole(line: str) -> None:
    """Check that a text can be encoded; raises a DataError if it contains a lone surrogate."""
    try:
        line.encode("utf-8")
    except UnicodeEncodeError as error:
        found = line[error.start : error.end]
        raise DataError(f"expected whole characters, found a lone surrogate, {found!r}; write it as UTF-8") from error


def _attached(pieces: Iterable[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
    """Move marks, invisible characters, skin tones and joined emoji from the start of a piece to the word before it,
    from which no space separates them."""
    before, space_before = "", True
    for piece, space in pieces:
        own = 0
        if not space_before:
            own = next((at for at, char in enumerate(piece) if not _attaches(char)), len(piece))
            is_joined = before.endswith("\u200d") and unicodedata.category(piece[0]) == "So"
            if is_joined or all(map(_attaches, before)):
                own = len(piece)
        before, rest = before + piece[:own], piece[own:]
        if rest:
            if before:
                yield before, space_before
            before = rest
        space_before = space
    if before:
        yield before, space_before


def _attaches(char: str) -> bool:
    is_skin_tone = "\U0001f3fb" <= char <= "\U0001f3ff"
    return not char.isalnum() and (is_skin_tone or unicodedata.category(char) in ("Cc", "Cf", "Mc", "Me", "Mn"))
