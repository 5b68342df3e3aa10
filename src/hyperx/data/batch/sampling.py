"""Which sentences are in which batch: a plan that depends on the seed alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hyperx.config import SamplingOptions, SamplingStrategy

Row = tuple[int, int]
"""A row of a batch: the index of its pair, and of a window of that pair's split."""

POOL = 16
"""Batches planned together: rows of a pool are sorted by length, so that batches have little padding."""


def pair_probabilities(
    sizes: Sequence[int], *, strategy: SamplingStrategy = "temperature", temperature: float = 5.0
) -> NDArray[np.float64]:
    """``p_i`` proportional to ``n_i ** (1 / temperature)`` for amounts of data n ``[pairs]``; ``size_proportional`` is
    temperature 1, ``uniform`` an infinite temperature."""
    exponent = {"temperature": 1 / temperature, "size_proportional": 1.0, "uniform": 0.0}[strategy]
    unit = max(sizes) if exponent > 1 else 1  # avoids overflow
    weights: NDArray[np.float64] = (np.asarray(sizes, dtype=np.float64) / unit) ** exponent
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


class BatchPlan:
    """An endless sequence of batches.

    Each row draws its pair (without mixed batches each batch draws one for all its rows, as published) and takes the
    pair's next window in an order that is reshuffled at each pass.

    Args:
        lengths: for each pair the length of each of its windows.
        options: how pairs are drawn, and which rows share a batch.
        batch_size: rows of a batch.
        seed: random seed.
    """

    def __init__(
        self, lengths: Sequence[NDArray[np.int64]], options: SamplingOptions, *, batch_size: int, seed: int
    ) -> None:
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.mixed, self.bucketed = options.mixed_batches, options.length_bucketing
        self.probabilities = pair_probabilities(
            list(map(len, lengths)), strategy=options.sampling_strategy, temperature=options.temperature
        )

    def batches(self, start: int = 0) -> Iterator[list[Row]]:
        """The batches from number ``start`` on."""
        random = np.random.default_rng([self.seed, 0])
        streams = [self._stream(pair) for pair in range(len(self.lengths))]
        number = 0
        while True:
            # Rows that may share a batch: all of the pool, or those of one pair.
            draws = POOL * self.batch_size if self.mixed else POOL
            drawn = random.choice(len(streams), size=draws, p=self.probabilities)
            if self.mixed:
                groups = [[next(streams[pair]) for pair in drawn]]
            else:
                counts = np.bincount(drawn, minlength=len(streams)) * self.batch_size
                groups = [[next(stream) for _ in range(count)] for stream, count in zip(streams, counts, strict=True)]
            if self.bucketed:
                groups = [sorted(rows, key=lambda row: self.lengths[row[0]][row[1]]) for rows in groups]
            size = self.batch_size
            batches = [rows[i : i + size] for rows in groups for i in range(0, len(rows), size)]
            for place in random.permutation(len(batches)):
                if number >= start:
                    yield batches[place]
                number += 1

    def _stream(self, pair: int) -> Iterator[Row]:
        """The windows of a pair, pass after pass."""
        random = np.random.default_rng([self.seed, 1, pair])
        while True:
            for window in random.permutation(np.arange(len(self.lengths[pair]), dtype=np.int32)):
                yield pair, int(window)
