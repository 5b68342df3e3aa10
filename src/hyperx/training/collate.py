"""From rows of the plan to the tensors of a batch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hyperx.data.batch.sampling import Row
from hyperx.data.batch.store import EncodedSplit
from hyperx.data.batch.windows import Subwords, pad_windows
from hyperx.device import placed
from hyperx.pairs import TaskLanguagePair
from hyperx.tasks.base import Task


@dataclass(frozen=True, slots=True)
class Batch:
    """The model's input in one step.

    Args:
        pairs: the pair of each row.
        input_ids: ``[B, T]``.
        attention_mask: 1 for subwords, 0 for padding ``[B, T]``; None if nothing is padded (see :meth:`to`).
        words: for each subword the index of its word in the window, -1 for none ``[B, T]``.
        labels: for each task the labels of its rows, in their order and in the form of the task.
    """

    pairs: list[TaskLanguagePair]
    input_ids: Tensor
    attention_mask: Tensor | None
    words: Tensor
    labels: dict[str, Tensor]

    def to(self, device: torch.device) -> Batch:
        """The batch on a device, except the labels, which the model moves: some tasks count theirs before that.

        Whether anything is padded is checked here, on the CPU; otherwise encoders check it and wait for the GPU.
        """
        mask = self.attention_mask
        mask = None if mask is None or bool(mask.all()) else placed(mask, device)
        ids, words = placed(self.input_ids, device), placed(self.words, device)
        return replace(self, input_ids=ids, attention_mask=mask, words=words)


class Collator:
    """Makes batches from the training splits of several pairs: labels are numbered by the label set of each task, and
    the seed is that of what tasks draw at random."""

    def __init__(
        self,
        *,
        pairs: Sequence[TaskLanguagePair],
        splits: Sequence[EncodedSplit],
        tasks: Mapping[str, Task],
        labels: Mapping[str, Sequence[str]],
        subwords: Subwords,
        seed: int = 0,
    ) -> None:
        self.pairs, self.tasks, self.subwords, self.seed = pairs, tasks, subwords, seed
        self.splits = [
            split.numbered(labels[pair.task], tasks[pair.task].no_label)
            for pair, split in zip(pairs, splits, strict=True)
        ]

    def __call__(self, rows: Sequence[Row], number: int = 0) -> Batch:
        """The batch of these rows, grouped by task and by pair; its number in the run determines what tasks draw."""
        rows = sorted(rows, key=lambda row: (self.pairs[row[0]].task, row[0]))
        pairs = [self.pairs[pair] for pair, _ in rows]
        windows = [self.splits[pair].window(index) for pair, index in rows]
        length, labels = max(len(window.ids) for window in windows), {}
        for name, group in itertools.groupby(range(len(rows)), key=lambda row: pairs[row].task):
            task, own, draw = self.tasks[name], list(group), np.random.default_rng((self.seed, number))
            for row in own:
                windows[row] = task.masked(windows[row], self.subwords, draw)
            labels[name] = task.labels([windows[row] for row in own], length)
        return Batch(pairs, *pad_windows(windows, self.subwords.pad), labels)
