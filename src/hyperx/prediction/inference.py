"""Results for any number of sentences in constant memory, the same for any batch size and order."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from hyperx.data.batch.windows import Window
from hyperx.device import placed
from hyperx.pairs import TaskLanguagePair
from hyperx.tasks.base import IGNORED, BatchFacts, Example, Result, Subwords, padded
from hyperx.tasks.collate import pad_windows

if TYPE_CHECKING:
    from hyperx.method.adapter import Adapters
    from hyperx.model import HyperX

POOL = 32
"""Batches read ahead and sorted by length."""
SPREAD = 9 / 8
"""Largest ratio of the longest window of a batch to its shortest."""
ENOUGH = {"cpu": 256}
"""By device type, the number of subwords from which a larger batch is no faster per subword."""
ENOUGH_ELSEWHERE = 2**14


class PairPredictor:
    """Run one pair of a model; its adapters are generated once.

    Args:
        model: the model, in evaluation mode while it is used.
        pair: the task and the language.
        batch_size: windows in a batch.
        subwords: the tokenizer's special ones; by default those of the model's tokenizer.
    """

    def __init__(
        self, model: HyperX, pair: TaskLanguagePair, *, batch_size: int, subwords: Subwords | None = None
    ) -> None:
        self.model, self.pair, self.batch_size = model, pair, batch_size
        self.subwords = model.subwords() if subwords is None else subwords
        with torch.inference_mode():
            self.adapters: Adapters | None = model.adapters([pair])
        self.task, self.labels = model.tasks[pair.task], model.config.labels[pair.task]

    def predict(self, sentences: Iterable[Sequence[Window]]) -> Iterator[Result]:
        """The results of sentences given as windows, in order."""
        sentences = iter(sentences)
        while pool := list(itertools.islice(sentences, POOL * self.batch_size)):
            yield from self._predict_pool(pool)

    def _predict_pool(self, pool: list[Sequence[Window]]) -> Iterator[Result]:
        places = [(index, place) for index, windows in enumerate(pool) for place in range(len(windows))]
        places.sort(key=lambda item: len(pool[item[0]][item[1]].ids))
        parts: list[list[Any]] = [[None] * len(windows) for windows in pool]
        lengths = [len(pool[index][place].ids) for index, place in places]
        device = next(self.model.parameters()).device
        for rows in batches_alike(lengths, self.batch_size, ENOUGH.get(device.type, ENOUGH_ELSEWHERE)):
            batch = places[rows.start : rows.stop]
            found = self._decode([pool[index][place] for index, place in batch])
            for (index, place), part in zip(batch, found, strict=True):
                parts[index][place] = part
        for windows, own in zip(pool, parts, strict=True):
            yield self.task.join(own, windows, self.labels)

    @torch.inference_mode()
    def _decode(self, windows: Sequence[Window]) -> list[Any]:
        device = next(self.model.parameters()).device
        ids, labels = None, None
        if self.task.auxiliary:
            # Such a task draws what to predict: the same for a window in any batch.
            facts = [BatchFacts(self.subwords, len(window.ids), (window.sentence, window.start)) for window in windows]
            drawn = [self.task.batch([Example(w, {})], own) for w, own in zip(windows, facts, strict=True)]
            ids, labels = [rows[0] for rows, _ in drawn], padded([row[0].numpy() for _, row in drawn], IGNORED)
        input_ids, mask, words = (placed(tensor, device) for tensor in pad_windows(windows, self.subwords.pad, ids))
        output = self.model(
            self.pair,
            input_ids,
            mask,
            labels,
            words,
            adapters=self.adapters,
        )
        return self.task.decode(output.logits, windows, labels)


def batches_alike(lengths: Sequence[int], batch_size: int, enough: int) -> Iterator[range]:
    """Group windows into batches that need little padding.

    A batch that has enough subwords ends before a window that is much longer than its shortest one, see :data:`SPREAD`.

    Args:
        lengths: the number of subwords of each window, in ascending order.
        batch_size: the largest number of windows in a batch.
        enough: the number of subwords from which a larger batch gains nothing.
    """
    start = subwords = 0
    for place, length in enumerate(lengths):
        if place - start == batch_size or (subwords >= enough and length > lengths[start] * SPREAD):
            yield range(start, place)
            start, subwords = place, 0
        subwords += length
    if lengths:
        yield range(start, len(lengths))
