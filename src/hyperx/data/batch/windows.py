"""From sentences to windows of subwords, and from windows to tensors."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Encoding
from torch import Tensor

from hyperx.errors import EncoderError, panics_told

IGNORED = -100
"""The label id of a position that has no label: the value that the Hugging Face library uses."""
REMEMBERED = 2**18
"""About how many characters the words may have whose subwords are kept from one call to the next."""
SPACES = ("\u2581", "\u0120")
"""The marks of a space before a word, in SentencePiece and in byte-level BPE."""
SCRIPTS_WITHOUT_SPACES = frozenset(
    ("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "YI")
)
"""The first words of the Unicode names of their letters."""
Ints = NDArray[np.int32]


class FastTokenizer(Protocol):
    """A fast tokenizer of the Hugging Face library, or the embedded encoder's, as far as it is used here."""

    name_or_path: Any
    pad_token_id: Any
    unk_token_id: Any
    mask_token_id: Any

    @property
    def backend_tokenizer(self) -> Any:
        """The tokenizer of the library ``tokenizers``."""

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of the special subwords."""

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Window:
    """A run of whole words, or of text, that fits the encoder. Windows of a sentence overlap; every word is owned by
    exactly one of them. Windows of two texts own nothing: each stands for the whole.

    Args:
        ids: subword ids ``[T]``, special ones included.
        words: for each subword the index of its word in the sentence, -1 for special ones and for a space ``[T]``. In
            text that is not split into words, the index of its text: 0, or 1 in the second of two texts.
        start: the first word that this window owns; in text that is not split into words, the first subword.
        stop: the end of those words (exclusive).
        sentence: index of the sentence in its split, if it comes from one.
        targets: the sentence's annotation by column, if it comes from a split: one number for each word, or one for the
            text.
    """

    ids: Ints
    words: Ints
    start: int = 0
    stop: int = 0
    sentence: int = 0
    targets: Mapping[str, Ints] = field(default_factory=dict)

    @property
    def first_subwords(self) -> NDArray[np.int64]:
        """The position of the first subword of every word that the window owns ``[stop - start]``."""
        begins = self.words != np.concatenate([[-1], self.words[:-1]])
        return np.flatnonzero(begins & (self.words >= self.start) & (self.words < self.stop))

    @property
    def word_range(self) -> range:
        """The words in the window, owned or not."""
        present = self.words[self.words >= 0]
        return range(int(present[0]), int(present[-1]) + 1) if len(present) else range(0)

    @property
    def inner_words(self) -> Ints:
        """:attr:`words` counted from the window's first word ``[T]``."""
        return np.where(self.words >= 0, self.words - self.word_range.start, -1).astype(np.int32)


class SubwordEncoder:
    """Splits sentences into windows.

    A sentence longer than a window is covered by several that overlap by a quarter; a word in the overlap belongs to
    the window in which it is farther from the end. A word or text for which the tokenizer returns nothing (zero-width
    characters) becomes the unknown subword; a word longer than a quarter of a window is represented by its beginning.

    Tokenizers put a subword for the space alone in front of what seldom follows a space: most punctuation, and nearly
    every word of a script without spaces. In running text no space is there, so this subword is removed. Elsewhere it
    belongs to no word: as the first subword of a word it would say the same of all of them.

    Args:
        tokenizer: a fast tokenizer.
        max_length: longest window in subwords, special ones included.
    """

    def __init__(self, tokenizer: FastTokenizer, *, max_length: int) -> None:
        self.backend = tokenizer.backend_tokenizer
        self.backend.no_truncation()
        self.backend.no_padding()
        self.spaces = [piece for space in SPACES if (piece := self.backend.token_to_id(space)) is not None]
        self.unknown: int = tokenizer.unk_token_id if tokenizer.unk_token_id is not None else tokenizer.pad_token_id
        self.max_length = max_length
        self.name = str(tokenizer.name_or_path)
        with panics_told(self.name):
            self.templates = {n: _template(self.backend.encode(*"a" * n), n) for n in (1, 2)}
        around = max(sum(map(len, own)) for own in self.templates.values())
        if max_length - around < 4:
            raise EncoderError(
                f"{self.name}: its {around} subwords around a text leave no room in {max_length} (max_length)"
            )
        self.room = max_length - sum(map(len, self.templates[1]))
        self.overlap = self.longest_word = self.room // 4
        self.shortened_words = 0
        self._known: dict[str, list[int]] = {}
        self._remembered = 0

    def windows(self, sentences: Sequence[Sequence[str]]) -> list[list[Window]]:
        """The windows of each sentence, given its words; those of sentences that fit are views of one array."""
        known = self._subwords_of_words(sentences)
        subwords = [[known[word] for word in words] for words in sentences]
        prefix, suffix = self.templates[1]
        pieces = list(itertools.chain.from_iterable([prefix, *own, suffix] for own in subwords))
        numbers = list(itertools.chain.from_iterable([-1, *range(len(own)), -1] for own in subwords))
        lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
        ids = np.fromiter(itertools.chain.from_iterable(pieces), np.int32, int(lengths.sum()))
        words = np.repeat(np.array(numbers, dtype=np.int32), lengths)
        firsts = (np.cumsum(lengths) - lengths)[lengths > 1]
        words[firsts[np.isin(ids[firsts], self.spaces)]] = -1
        windows, end = [], 0
        for own in subwords:
            begin, end = end, end + len(prefix) + sum(map(len, own)) + len(suffix)
            fits = end - begin <= self.max_length and all(own)
            windows.append([Window(ids[begin:end], words[begin:end], 0, len(own))] if fits else self._cut(own))
        return windows

    def uncovered(self, sentences: Sequence[Sequence[str]]) -> tuple[float, float]:
        """How much of some sentences the tokenizer hardly knows: the share of the words with an unknown subword, and,
        of the words of five characters or more, the share of those that it cuts into single characters."""
        known, words = self._subwords_of_words(sentences), list(itertools.chain.from_iterable(sentences))
        # Digits, and letters of scripts without spaces, may be their own subwords by design.
        long = [w for w in words if len(w) >= 5 and follows_space(w) and not any(map(str.isdigit, w))]
        unknown = sum(self.unknown in known[word] or not known[word] for word in words)
        cut = sum(len(known[word]) >= len(word) for word in long) if len(long) >= 10 else 0
        return unknown / max(len(words), 1), cut / max(len(long), 1)

    def _subwords_of_words(self, sentences: Sequence[Sequence[str]]) -> Mapping[str, list[int]]:
        """The subwords of all words. A tokenizer encodes each word by itself, so words that recur are encoded once."""
        if self._remembered > REMEMBERED:
            self._known, self._remembered = {}, 0
        new = list(set(itertools.chain.from_iterable(sentences)).difference(self._known))
        with panics_told(self.name):
            encodings = self.backend.encode_batch_fast(
                [[word] for word in new], is_pretokenized=True, add_special_tokens=False
            )
        for word, encoding in zip(new, encodings, strict=True):
            ids = encoding.ids
            self._known[word] = ids[1:] if self._has_space(ids) and not follows_space(word) else ids
        self._remembered += sum(map(len, new))
        return self._known

    def _has_space(self, ids: Sequence[int]) -> bool:
        return len(ids) > 1 and ids[0] in self.spaces

    def _cut(self, words: Sequence[list[int]]) -> list[Window]:
        """The windows of a sentence that is too long or has a word without subwords, given those of each word."""
        self.shortened_words += sum(len(pieces) > self.longest_word for pieces in words)
        subwords = [pieces[: self.longest_word] or [self.unknown] for pieces in words]
        numbers = [
            [-1 if place == 0 and self._has_space(pieces) else word for place in range(len(pieces))]
            for word, pieces in enumerate(subwords)
        ]
        windows = []
        for start, stop, own_start, own_stop in cover([len(pieces) for pieces in subwords], self.room, self.overlap):
            own, own_numbers = (list(itertools.chain.from_iterable(rows[start:stop])) for rows in (subwords, numbers))
            windows.append(self._window([own], [own_numbers], own_start, own_stop))
        return windows

    def text_windows(self, texts: Sequence[str]) -> list[list[Window]]:
        """The windows of each text that is not split into words: successive runs of its subwords of about equal length.

        Every subword is in exactly one window. A window's start and stop count subwords of the text.
        """
        windows = []
        for ids in self._subwords(texts):
            parts = -(-len(ids) // self.room)
            ends = itertools.pairwise([len(ids) * part // parts for part in range(parts + 1)])
            windows.append([self._window([ids[i:k]], [[0] * (k - i)], i, k) for i, k in ends])
        return windows

    def pair_windows(self, texts: Sequence[tuple[str, str | None]]) -> list[list[Window]]:
        """The windows of texts and of pairs of texts, with the special subwords that the tokenizer puts around and
        between them. What is longer than a window is covered by several, see :func:`cover_together`."""
        first = self._subwords([text for text, _ in texts])
        second = iter(self._subwords([pair for _, pair in texts if pair is not None]))
        windows = []
        for ids, (_, pair) in zip(first, texts, strict=True):
            both = [ids] if pair is None else [ids, next(second)]
            room = self.max_length - sum(map(len, self.templates[len(both)]))
            parts = [
                [own[part] for own, part in zip(both, window, strict=True)]
                for window in cover_together(list(map(len, both)), room)
            ]
            windows.append([self._window(own, [[n] * len(part) for n, part in enumerate(own)]) for own in parts])
        return windows

    def _subwords(self, texts: Sequence[str]) -> list[list[int]]:
        with panics_told(self.name):
            encodings = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids or [self.unknown] for encoding in encodings]

    def _window(
        self, texts: Sequence[list[int]], numbers: Sequence[list[int]], start: int = 0, stop: int = 0
    ) -> Window:
        """A window of one text or two with the special subwords around them, given :attr:`Window.words` of each."""
        before, *behind = self.templates[len(texts)]
        ids, words = list(before), [-1] * len(before)
        for text, own, special in zip(texts, numbers, behind, strict=True):
            ids += [*text, *special]
            words += [*own, *[-1] * len(special)]
        return Window(np.array(ids, dtype=np.int32), np.array(words, dtype=np.int32), start, stop)


def follows_space(word: str) -> bool:
    """Whether a word begins with a digit, or a letter of a script that puts spaces between words."""
    first = word[:1]
    script = unicodedata.name(first, "").partition(" ")[0]
    return unicodedata.category(first)[0] in "LMN" and script not in SCRIPTS_WITHOUT_SPACES


def _template(encoding: Encoding, texts: int) -> list[list[int]]:
    """The special subwords before, between and after encoded texts."""
    template: list[list[int]] = [[] for _ in range(texts + 1)]
    behind = 0
    for piece, text in zip(encoding.ids, encoding.sequence_ids, strict=True):
        if text is None:
            template[behind].append(piece)
        else:
            behind = text + 1
    return template


def cover(lengths: Sequence[int], room: int, overlap: int) -> Iterator[tuple[int, int, int, int]]:
    """Cover words of given lengths by windows of at most ``room`` subwords that overlap by about ``overlap``.

    Yields ``(start, stop, own_start, own_stop)``: the words of a window, and those that it owns. The owned ranges
    partition the words.
    """
    ends = np.cumsum([0, *lengths])
    start = own_start = 0
    while True:
        stop = max(int(np.searchsorted(ends, ends[start] + room, side="right")) - 1, start + 1)
        if stop >= len(lengths):
            yield start, len(lengths), own_start, len(lengths)
            return
        following = max(int(np.searchsorted(ends, ends[stop] - overlap, side="left")), start + 1)
        own_stop = min(max((following + stop + 1) // 2, own_start + 1), stop)
        yield start, stop, own_start, own_stop
        start, own_start = min(following, own_stop), own_stop


def cover_together(lengths: Sequence[int], room: int) -> Iterator[tuple[slice, ...]]:
    """Cover one text, or two, by windows of at most ``room`` subwords.

    The shorter of two texts is repeated in every window if it takes at most half of the room; else each gets half. The
    windows of a text are equally long, evenly spaced and overlap by a quarter or more; those of two texts advance
    together. Yields the part of each text that is in the window.
    """
    rooms = [max(room // len(lengths), room - sum(lengths) + length) for length in lengths]
    steps = [own - own // 4 for own in rooms]
    rests = [max(length - own, 0) for length, own in zip(lengths, rooms, strict=True)]
    last = max(-(-rest // step) for rest, step in zip(rests, steps, strict=True))
    for window in range(last + 1):
        starts = [rest * window // max(last, 1) for rest in rests]
        yield tuple(slice(start, start + own) for start, own in zip(starts, rooms, strict=True))


# Tensors --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Subwords:
    """The ids of a tokenizer's special subwords, as needed to make batches: for padding, the mask if there is one, and
    all of them; and the number of subwords."""

    pad: int
    mask: int | None = None
    vocabulary_size: int = 0
    special: frozenset[int] = frozenset()

    @classmethod
    def of(cls, tokenizer: FastTokenizer) -> Subwords:
        """Those of a tokenizer; raises an EncoderError if it has none for padding."""
        if tokenizer.pad_token_id is None:
            raise EncoderError(
                f"{tokenizer.name_or_path or 'the tokenizer'}: expected a padding subword, found none. Name one of its "
                "special subwords, such as the one that ends a sentence, as pad_token in its tokenizer_config.json"
            )
        special = frozenset(tokenizer.all_special_ids)
        return cls(tokenizer.pad_token_id, tokenizer.mask_token_id, len(tokenizer), special)


def padded(rows: Sequence[Ints], value: int, length: int | None = None) -> Tensor:
    """Rows of several lengths ``[n, ...]`` to one tensor ``[B, N, ...]``; N is by default the longest."""
    shape = (len(rows), max(map(len, rows)) if length is None else length, *rows[0].shape[1:])
    full = np.full(shape, value, dtype=np.int64)
    for line, row in zip(full, rows, strict=True):
        line[: len(row)] = row
    return torch.from_numpy(full)


def pad_windows(windows: Sequence[Window], pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Subword ids, attention mask and words of some windows, each ``[B, T]``."""
    ids = padded([window.ids for window in windows], pad_id)
    mask = padded([np.ones(len(window.ids), dtype=np.int32) for window in windows], 0)
    words = padded([window.inner_words for window in windows], -1)
    return ids, mask, words
