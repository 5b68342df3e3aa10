"""Encoded splits of pairs, from their sources or from the cache on disk."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from hyperx.data.encoding import EncodedSplit, SubwordEncoder, cache_key, encode, load_encoded, save_encoded
from hyperx.data.sources import DataSources
from hyperx.pairs import TaskLanguagePair
from hyperx.tasks.registry import TASKS

log = logging.getLogger(__name__)


class SplitLoader:
    """Read, encode and cache splits.

    Args:
        sources: where each pair's data is.
        tokenizer: the encoder's fast tokenizer.
        max_length: longest window in subwords.
        cache: folder of encoded splits; None does not cache.
    """

    def __init__(
        self, sources: DataSources, tokenizer: PreTrainedTokenizerFast, *, max_length: int, cache: Path | None
    ) -> None:
        self.sources, self.cache, self.max_length = sources, cache, max_length
        self.encoder = SubwordEncoder(tokenizer, max_length=max_length)
        self.tokenizer_hash = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest() if cache else ""

    def load(self, pair: TaskLanguagePair, split: str) -> EncodedSplit:
        """The encoded split; a DataError tells what is wrong with its source."""
        path = None
        if self.cache is not None:
            facts = (self.tokenizer_hash, self.max_length, TASKS[pair.task].column)
            path = self.cache / f"{cache_key(*facts, self.sources.fingerprint(pair, split))}.safetensors"
            if (cached := load_encoded(path)) is not None:
                return cached
        log.info("encoding %s %s: %s", pair, split, self.sources.describe(pair, split))
        encoded = encode(self.sources.read(pair, split), TASKS[pair.task].column, self.encoder)
        if path is not None:
            save_encoded(encoded, path)
        return encoded
