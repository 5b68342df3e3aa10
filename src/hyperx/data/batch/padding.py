"""From windows to tensors, padded to the longest of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from hyperx.data.batch.windows import Ints, Window
from hyperx.errors import EncoderError

IGNORED = -100
"""The label id of a position that has no label: the value that the Hugging Face library uses."""


@dataclass(frozen=True, slots=True)
class Subwords:
    """The ids of a tokenizer's special subwords, as needed to make batches: for padding, the mask if there is one, and
    all of them; and the number of subwords."""

    pad: int
    mask: int | None = None
    vocabulary_size: int = 0
    special: frozenset[int] = frozenset()

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast) -> Subwords:
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
