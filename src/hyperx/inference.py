"""Labels for any number of sentences in constant memory, the same for any batch size and order."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperx.data.collate import pad_windows
from hyperx.data.encoding import Window
from hyperx.pairs import TaskLanguagePair

if TYPE_CHECKING:
    from hyperx.model import HyperX
    from hyperx.modules.adapter import Adapters

POOL = 32
"""Batches read ahead and sorted by length."""


@dataclass(frozen=True, slots=True)
class WordLabels:
    """What the model says of the words of one sentence.

    Args:
        labels: the label of each word.
        confidences: its probability, from 0 to 1.
    """

    labels: tuple[str, ...]
    confidences: tuple[float, ...]


class PairTagger:
    """Label words for one pair; its adapters are generated once.

    Args:
        model: the model, in evaluation mode while it is used.
        pair: the task and the language.
        batch_size: windows in a batch.
        pad_id: the tokenizer's padding id.
    """

    def __init__(self, model: HyperX, pair: TaskLanguagePair, *, batch_size: int, pad_id: int) -> None:
        self.model, self.pair, self.batch_size, self.pad_id = model, pair, batch_size, pad_id
        with torch.inference_mode():
            self.adapters: Adapters = model.adapters([pair])
        self.names = np.array(model.config.labels[pair.task])

    def label(self, sentences: Iterable[Sequence[Window]]) -> Iterator[WordLabels]:
        """The labels of sentences given as windows, in their order."""
        sentences = iter(sentences)
        while pool := list(itertools.islice(sentences, POOL * self.batch_size)):
            yield from self._label_pool(pool)

    def _label_pool(self, pool: list[Sequence[Window]]) -> Iterator[WordLabels]:
        windows = [(index, window) for index, windows in enumerate(pool) for window in windows]
        windows.sort(key=lambda item: len(item[1].ids))
        sizes = [1 + max((int(window.words.max()) for window in windows), default=-1) for windows in pool]
        ids = [np.zeros(size, dtype=np.int64) for size in sizes]
        confidences = [np.zeros(size, dtype=np.float64) for size in sizes]
        for start in range(0, len(windows), self.batch_size):
            batch = windows[start : start + self.batch_size]
            for (index, window), best, probability in zip(batch, *self._best([w for _, w in batch]), strict=True):
                owned = window.words >= 0
                ids[index][window.words[owned]] = best[: len(owned)][owned]
                confidences[index][window.words[owned]] = probability[: len(owned)][owned]
        for best, probability in zip(ids, confidences, strict=True):
            yield WordLabels(tuple(self.names[best].tolist()), tuple(probability.tolist()))

    @torch.inference_mode()
    def _best(self, windows: Sequence[Window]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The best label and its probability at every position, each ``[B, T]``."""
        device = next(self.model.parameters()).device
        input_ids, mask = (tensor.to(device) for tensor in pad_windows(windows, self.pad_id))
        logits = self.model(self.pair, input_ids, mask, adapters=self.adapters).logits
        assert isinstance(logits, Tensor)
        probabilities, best = logits.float().softmax(dim=-1).max(dim=-1)
        return best.cpu().numpy(), probabilities.double().cpu().numpy()
