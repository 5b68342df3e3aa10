"""From windows to the tensors of a batch, padded to the longest of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hyperx.data.batch.sampling import Row
from hyperx.data.batch.store import EncodedSplit
from hyperx.data.batch.windows import Ints, Window
from hyperx.device import placed
from hyperx.pairs import TaskLanguagePair
from hyperx.tasks.base import IGNORED, BatchFacts, Example, Subwords, Task, padded


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
        return Batch(
            self.pairs,
            placed(self.input_ids, device),
            None if mask is None or bool(mask.all()) else placed(mask, device),
            placed(self.words, device),
            self.labels,
        )


def pad_windows(
    windows: Sequence[Window], pad_id: int, ids: Sequence[Ints] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Subword ids, attention mask and words of some windows, each ``[B, T]``.

    Args:
        windows: the windows.
        pad_id: the tokenizer's padding id.
        ids: subword ids to use instead of the windows' own.
    """
    mask = padded([np.ones(len(window.ids), dtype=np.int32) for window in windows], 0)
    words = padded([window.inner_words for window in windows], -1)
    return padded(ids or [window.ids for window in windows], pad_id), mask, words


class Collator:
    """Makes batches from the training splits of several pairs.

    Args:
        pairs: the pairs that a row's index points to.
        splits: the training split of each.
        tasks: the tasks by name.
        labels: the label set of each task, by which labels are numbered.
        subwords: the tokenizer's special ones.
        seed: seed of what tasks draw at random.
    """

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
        self.pairs, self.splits, self.tasks, self.subwords, self.seed = pairs, splits, tasks, subwords, seed
        self.targets = [
            {
                column: _numbered(values, split.names.get(column), labels[pair.task], tasks[pair.task].no_label)
                for column, values in split.targets.items()
            }
            for pair, split in zip(pairs, splits, strict=True)
        ]

    def __call__(self, rows: Sequence[Row], number: int = 0) -> Batch:
        """The batch of these rows, grouped by task and by pair.

        Args:
            rows: the rows.
            number: number of the batch in the run, which determines what tasks draw.
        """
        rows = sorted(rows, key=lambda row: (self.pairs[row[0]].task, row[0]))
        examples = [self._example(pair, index) for pair, index in rows]
        ids: list[Ints] = [example.window.ids for example in examples]
        by_task: dict[str, list[int]] = {}
        for row, (pair, _) in enumerate(rows):
            by_task.setdefault(self.pairs[pair].task, []).append(row)
        facts = BatchFacts(self.subwords, max(map(len, ids)), (self.seed, number))
        labels = {}
        for task, own in by_task.items():
            own_ids, labels[task] = self.tasks[task].batch([examples[row] for row in own], facts)
            for row, row_ids in zip(own, own_ids, strict=True):
                ids[row] = row_ids
        tensors = pad_windows([example.window for example in examples], self.subwords.pad, ids)
        return Batch([self.pairs[pair] for pair, _ in rows], *tensors, labels)

    def _example(self, pair: int, index: int) -> Example:
        split = self.splits[pair]
        window = split.window(index)
        part = slice(split.target_offsets[window.sentence], split.target_offsets[window.sentence + 1])
        return Example(window, {column: values[part] for column, values in self.targets[pair].items()})


def _numbered(values: Ints, names: Sequence[str] | None, labels: Sequence[str], no_label: str | None) -> Ints:
    """Map the numbers of a split's own label names to those of the task's label set; other numbers stay unchanged."""
    if names is None:
        return values
    numbers = [IGNORED if name == no_label else labels.index(name) for name in names]
    return np.array(numbers, dtype=np.int32)[values]
