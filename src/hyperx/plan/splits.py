"""Encoded splits of pairs, from where their data is or from the cache on disk."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from hyperx.data.batch.store import EncodedSplit, cache_key, read_encoded, write_encoded
from hyperx.data.batch.windows import SubwordEncoder
from hyperx.data.locate.held_out import HeldOutText
from hyperx.data.locate.places import DataPlaces
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError
from hyperx.files import user_cache
from hyperx.pairs import TaskLanguagePair
from hyperx.tasks.base import Task

log = logging.getLogger(__name__)


class SplitLoader:
    """Reads, encodes and caches splits. Text that an auxiliary task trains on is kept apart from dev and test data.

    Args:
        data: where that of each pair is.
        tasks: the tasks by name.
        tokenizer: the encoder's fast tokenizer.
        max_length: longest window in subwords.
        cache: folder of encoded splits; by default inside the user's cache.
    """

    def __init__(
        self,
        data: DataPlaces,
        tasks: Mapping[str, Task],
        tokenizer: PreTrainedTokenizerFast,
        *,
        max_length: int,
        cache: Path | None = None,
    ) -> None:
        self.data, self.tasks, self.max_length = data, tasks, max_length
        self.cache = cache or user_cache() / "encoded"
        self.encoder = SubwordEncoder(tokenizer, max_length=max_length)
        self.tokenizer_hash = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()

    def load(self, pair: TaskLanguagePair, split: str) -> EncodedSplit:
        """The encoded split; raises a DataError if anything is wrong with its data."""
        task = self.tasks[pair.task]
        apart = held_out(self.data, task, pair, split)
        facts = (self.data.fingerprint(pair, split), apart.fingerprint())

        def sentences() -> Iterator[Sentence]:
            log.info("encoding %s %s: %s", pair, split, self.data.describe(pair, split))
            return apart.removed(self.data.read(pair, split), pair)

        return self.cached(task, facts, sentences)

    def cached(self, task: Task, facts: Sequence[Any], sentences: Callable[[], Iterator[Sentence]]) -> EncodedSplit:
        """The encoded split that a task and some facts (JSON values) determine: from the cache, or else encoded now."""
        path = self.cache / f"{cache_key(self.tokenizer_hash, self.max_length, task.kind, *facts)}.safetensors"
        if (known := read_encoded(path)) is not None:
            return known
        before = self.encoder.shortened_words
        write_encoded(path, sentences(), partial(task.windows, self.encoder), task.columns)
        if shortened := self.encoder.shortened_words - before:
            longest, message = self.encoder.longest_word, "%d words of more than %d subwords are represented by their"
            log.warning(message + " beginning", shortened, longest)
        if (written := read_encoded(path)) is None:
            raise DataError("the encoded split cannot be read back; is the disk full?", path=path)
        return written


def held_out(data: DataPlaces, task: Task, pair: TaskLanguagePair, split: str) -> HeldOutText:
    """The text that a split must not have: the dev and test data of its language, if an auxiliary task trains on it."""
    return HeldOutText(data.held_out(pair.language) if task.auxiliary and split == "train" else [])
