"""From sentences to windows of subwords, kept as flat arrays and cached on disk."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from transformers import PreTrainedTokenizerFast

from hyperx.data.sentence import Sentence

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
CHUNK = 1000
Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Window:
    """A run of whole words that fits the encoder.

    Args:
        ids: subword ids ``[T]``, special ones included.
        words: for each subword the index in its sentence of the word that it begins and that this window owns, -1
            elsewhere ``[T]``. Every word of a sentence is owned by exactly one window.
        sentence: index of the sentence.
    """

    ids: Ints
    words: Ints
    sentence: int


class SubwordEncoder:
    """Cut sentences into windows.

    A sentence longer than a window is covered by several that overlap by a quarter; a word in the overlap belongs to
    the window in which it stands farther from the end. A word that the tokenizer makes nothing of (zero-width
    characters) becomes the unknown subword; a word longer than a quarter of a window is represented by its beginning.

    Args:
        tokenizer: a fast tokenizer.
        max_length: longest window in subwords, special ones included.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, *, max_length: int) -> None:
        self.backend = tokenizer.backend_tokenizer
        self.backend.no_truncation()
        self.backend.no_padding()
        self.unknown: int = tokenizer.unk_token_id if tokenizer.unk_token_id is not None else tokenizer.pad_token_id
        plain = self.backend.encode(["a"], is_pretokenized=True, add_special_tokens=False).ids
        full = self.backend.encode(["a"], is_pretokenized=True, add_special_tokens=True).ids
        before = next(i for i in range(len(full)) if full[i : i + len(plain)] == plain)
        self.prefix, self.suffix = full[:before], full[before + len(plain) :]
        self.room = max_length - len(self.prefix) - len(self.suffix)
        self.overlap = self.longest_word = self.room // 4
        self.shortened_words = 0

    def windows(self, sentences: Iterable[Sequence[str]]) -> Iterator[list[Window]]:
        """The windows of each sentence, given its words; constant memory."""
        sentences = iter(sentences)
        index = 0
        while chunk := list(itertools.islice(sentences, CHUNK)):
            encodings = self.backend.encode_batch(
                [list(words) for words in chunk], is_pretokenized=True, add_special_tokens=False
            )
            for words, encoding in zip(chunk, encodings, strict=True):
                yield list(self._cut(index, len(words), encoding.ids, encoding.word_ids))
                index += 1

    def _cut(self, sentence: int, words: int, ids: list[int], word_ids: list[int | None]) -> Iterator[Window]:
        first = [i for i, word in enumerate(word_ids) if i == 0 or word != word_ids[i - 1]]
        if len(first) == words and len(ids) <= self.room:
            yield self._window(sentence, ids, first, 0)
            return
        subwords = self._by_word(words, ids, word_ids)
        for start, stop, own_start, own_stop in cover([len(pieces) for pieces in subwords], self.room, self.overlap):
            flat = [piece for pieces in subwords[start:stop] for piece in pieces]
            starts = np.cumsum([0, *(len(pieces) for pieces in subwords[start:stop])])[:-1]
            yield self._window(sentence, flat, starts[own_start - start : own_stop - start].tolist(), own_start)

    def _by_word(self, words: int, ids: list[int], word_ids: list[int | None]) -> list[list[int]]:
        subwords: list[list[int]] = [[] for _ in range(words)]
        for piece, word in zip(ids, word_ids, strict=True):
            # Without special subwords every subword has a word.
            subwords[cast(int, word)].append(piece)
        self.shortened_words += sum(len(pieces) > self.longest_word for pieces in subwords)
        return [pieces[: self.longest_word] or [self.unknown] for pieces in subwords]

    def _window(self, sentence: int, ids: list[int], starts: Sequence[int], first_word: int) -> Window:
        full = np.array([*self.prefix, *ids, *self.suffix], dtype=np.int32)
        words = np.full(len(full), -1, dtype=np.int32)
        words[np.array(starts, dtype=np.int64) + len(self.prefix)] = np.arange(first_word, first_word + len(starts))
        return Window(full, words, sentence)


def cover(lengths: Sequence[int], room: int, overlap: int) -> Iterator[tuple[int, int, int, int]]:
    """Cover words of given lengths by windows of at most ``room`` that overlap by about ``overlap``.

    Yields:
        ``(start, stop, own_start, own_stop)``: the words of a window, and those of them that it owns. The owned
        ranges partition the words.
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


@dataclass(frozen=True, slots=True)
class EncodedSplit:
    """One split of one pair, ready to batch.

    Args:
        ids: subword ids of all windows, end to end.
        words: :attr:`Window.words` of all windows, end to end.
        offsets: where window i begins, and the end ``[windows + 1]``.
        sentences: the sentence of each window ``[windows]``.
        labels: index into ``names`` of each word's label, sentences end to end.
        label_offsets: where sentence i's words begin, and the end ``[sentences + 1]``.
        names: the labels that occur.
    """

    ids: Ints
    words: Ints
    offsets: NDArray[np.int64]
    sentences: Ints
    labels: Ints
    label_offsets: NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sentences)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Subwords of each window ``[windows]``."""
        return np.diff(self.offsets)

    def window(self, index: int) -> Window:
        """One window."""
        part = slice(self.offsets[index], self.offsets[index + 1])
        return Window(self.ids[part], self.words[part], int(self.sentences[index]))

    def gold(self) -> list[list[str]]:
        """The labels of every sentence."""
        return [
            [self.names[label] for label in self.labels[start:stop]]
            for start, stop in itertools.pairwise(self.label_offsets)
        ]

    def repeats(self, other: EncodedSplit) -> set[int]:
        """The sentences whose subwords are those of a sentence of ``other``, by index."""
        known = set(other._subwords_by_sentence())
        return {index for index, subwords in enumerate(self._subwords_by_sentence()) if subwords in known}

    def _subwords_by_sentence(self) -> Iterator[bytes]:
        for _, windows in itertools.groupby(range(len(self)), key=lambda index: self.sentences[index]):
            yield b"".join(self.window(index).ids.tobytes() for index in windows)

    def first(self, sentences: int | None) -> EncodedSplit:
        """The first so many sentences; all of them where None."""
        if sentences is None or sentences >= len(self.label_offsets) - 1:
            return self
        windows = int(np.searchsorted(self.sentences, sentences))
        subwords, words = self.offsets[windows], self.label_offsets[sentences]
        return EncodedSplit(
            self.ids[:subwords],
            self.words[:subwords],
            self.offsets[: windows + 1],
            self.sentences[:windows],
            self.labels[:words],
            self.label_offsets[: sentences + 1],
            self.names,
        )


def encode(sentences: Iterable[Sentence], column: str, encoder: SubwordEncoder) -> EncodedSplit:
    """Encode a split; sentences need the annotation ``column``."""
    kept: list[tuple[str, ...]] = []

    def words() -> Iterator[tuple[str, ...]]:
        for sentence in sentences:
            kept.append(tuple(str(label) for label in sentence.columns[column]))
            yield sentence.words

    windows = list(itertools.chain.from_iterable(encoder.windows(words())))
    if encoder.shortened_words:
        log.warning(
            "%d words of more than %d subwords are represented by their beginning",
            encoder.shortened_words,
            encoder.longest_word,
        )
        encoder.shortened_words = 0
    names = tuple(sorted({label for labels in kept for label in labels}))
    index = {name: i for i, name in enumerate(names)}
    return EncodedSplit(
        ids=np.concatenate([window.ids for window in windows]),
        words=np.concatenate([window.words for window in windows]),
        offsets=np.cumsum([0, *(len(window.ids) for window in windows)]),
        sentences=np.array([window.sentence for window in windows], dtype=np.int32),
        labels=np.array([index[label] for labels in kept for label in labels], dtype=np.int32),
        label_offsets=np.cumsum([0, *(len(labels) for labels in kept)]),
        names=names,
    )


def cache_key(*facts: object) -> str:
    """A file name for what follows from these facts alone."""
    return hashlib.sha256(json.dumps([FORMAT_VERSION, *facts], sort_keys=True).encode()).hexdigest()[:32]


def save_encoded(split: EncodedSplit, path: Path) -> None:
    """Write a split, beside and renamed into place, so that no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        name: np.ascontiguousarray(getattr(split, name))
        for name in EncodedSplit.__dataclass_fields__
        if name != "names"
    }
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(handle)
    save_file(arrays, temporary, metadata={"names": json.dumps(split.names)})
    Path(temporary).replace(path)


def load_encoded(path: Path) -> EncodedSplit | None:
    """Read what :func:`save_encoded` wrote; None where there is nothing, or nothing readable."""
    try:
        with safe_open(path, "np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return EncodedSplit(**arrays, names=tuple(json.loads(file.metadata()["names"])))
    except (FileNotFoundError, SafetensorError, TypeError, KeyError, ValueError):
        return None
