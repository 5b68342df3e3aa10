"""From rows of the plan to the tensors of a batch."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

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
        amounts: for each task the number of its rows, as part 0, and then its ``Task.amounts``.
    """

    pairs: list[TaskLanguagePair]
    input_ids: Tensor
    attention_mask: Tensor | None
    words: Tensor
    labels: Mapping[str, Tensor]
    amounts: Counter[tuple[str, int]]

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

    def __call__(self, rows: Sequence[Row], number: int = 0, own: slice = slice(None)) -> Batch:
        """The own ones of the rows of a batch, grouped by task and by pair. The batch's number in the run and the place
        of a row in it determine what a task draws, so that processes which share a batch draw what one would."""
        chosen = sorted(list(enumerate(rows))[own], key=lambda item: (self.pairs[item[1][0]].task, item[1][0]))
        pairs = [self.pairs[pair] for _, (pair, _) in chosen]
        windows = [self.splits[pair].window(index) for _, (pair, index) in chosen]
        length, labels, amounts = max(len(window.ids) for window in windows), {}, Counter[tuple[str, int]]()
        for name, group in itertools.groupby(range(len(chosen)), key=lambda row: pairs[row].task):
            task, places = self.tasks[name], list(group)
            for row in places if task.auxiliary else ():
                draw = np.random.default_rng((self.seed, number, chosen[row][0]))
                windows[row] = task.masked(windows[row], self.subwords, draw)
            labels[name] = task.labels([windows[row] for row in places], length)
            for part, amount in enumerate([len(places), *task.amounts(labels[name])]):
                amounts[name, part] = amount
        # A mapping that is no dictionary is not moved to a GPU when several processes train.
        return Batch(pairs, *pad_windows(windows, self.subwords.pad), MappingProxyType(labels), amounts)
