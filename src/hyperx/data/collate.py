"""From windows to the tensors of a batch, padded to the longest of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hyperx.data.encoding import EncodedSplit, Ints, Window
from hyperx.data.sampling import Row
from hyperx.pairs import TaskLanguagePair
from hyperx.tasks.base import IGNORED


@dataclass(frozen=True, slots=True)
class Batch:
    """What the model reads in one step.

    Args:
        pairs: the pair of each row.
        input_ids: ``[B, T]``.
        attention_mask: 1 for subwords, 0 for padding ``[B, T]``.
        labels: label ids at first subwords, -100 elsewhere ``[B, T]``.
    """

    pairs: list[TaskLanguagePair]
    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor


def pad(rows: Sequence[Ints], value: int) -> Tensor:
    """Rows of several lengths to one tensor ``[B, T]``."""
    padded = np.full((len(rows), max(map(len, rows))), value, dtype=np.int64)
    for line, row in zip(padded, rows, strict=True):
        line[: len(row)] = row
    return torch.from_numpy(padded)


def pad_windows(windows: Sequence[Window], pad_id: int) -> tuple[Tensor, Tensor]:
    """Subword ids and attention mask of some windows, each ``[B, T]``."""
    mask = pad([np.ones(len(window.ids), dtype=np.int32) for window in windows], 0)
    return pad([window.ids for window in windows], pad_id), mask


class Collator:
    """Make batches of the training splits of several pairs.

    Args:
        pairs: the pairs that a row's index points to.
        splits: the training split of each.
        labels: the label set of each, by which its labels are numbered.
        pad_id: the tokenizer's padding id.
    """

    def __init__(
        self,
        *,
        pairs: Sequence[TaskLanguagePair],
        splits: Sequence[EncodedSplit],
        labels: Sequence[Sequence[str]],
        pad_id: int,
    ) -> None:
        self.pairs, self.splits, self.pad_id = pairs, splits, pad_id
        self.label_ids = [
            np.array([names.index(name) for name in split.names], dtype=np.int32)[split.labels]
            for split, names in zip(splits, labels, strict=True)
        ]

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """The batch of these rows."""
        windows = [self.splits[pair].window(index) for pair, index in rows]
        labels = [self._labels(pair, window) for (pair, _), window in zip(rows, windows, strict=True)]
        input_ids, mask = pad_windows(windows, self.pad_id)
        return Batch([self.pairs[pair] for pair, _ in rows], input_ids, mask, pad(labels, IGNORED))

    def _labels(self, pair: int, window: Window) -> Ints:
        owned = window.words >= 0
        labels = np.full(len(window.ids), IGNORED, dtype=np.int32)
        first_word = self.splits[pair].label_offsets[window.sentence]
        labels[owned] = self.label_ids[pair][first_word + window.words[owned]]
        return labels
