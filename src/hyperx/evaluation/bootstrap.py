"""The difference between two methods, with an interval by the paired bootstrap; needs scipy, an extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Counts = NDArray[np.int32]
"""Number of correct, predicted and gold items of every sentence ``[sentences, 3]``, as ``Task.counts`` gives them."""
LEVEL = 0.95
RESAMPLES = 2_000
BATCH = 50
"""Resamples computed together."""


@dataclass(frozen=True)
class Difference:
    """How much better one method is than another: difference of macro averages, and the ends of its interval."""

    value: float
    low: float
    high: float


def score(counts: NDArray[Any]) -> NDArray[np.float64]:
    """``2 correct / (predicted + gold)`` of sums ``[..., 3]``: the F1 of spans, and the accuracy if as many items are
    predicted as are gold."""
    right, found, wanted = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    return np.asarray(2 * right / np.maximum(found + wanted, 1), dtype=np.float64)


def difference(
    first: Sequence[Mapping[str, Counts]],
    second: Sequence[Mapping[str, Counts]],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """The macro average of one method minus another's, with the interval of a paired bootstrap.

    The sentences within each cell are resampled, the same for both methods and for all seeds, and so are the seeds, the
    same for both methods and for all cells. A single seed, or a cell with a single sentence, stays as it is.

    Args:
        first: for each seed the counts of every cell.
        second: the same for the other method: seeds, cells and sentences in the same order.
        resamples: how many are drawn.
        seed: of the resampling.

    Raises:
        ValueError: if seeds, cells or sentences of the two do not match.
    """
    # By cell the counts [sentences, seeds, methods, 3].
    cells = []
    for name in first[0]:
        both = np.stack([np.stack([counts[name] for counts in method]) for method in (first, second)])
        cells.append(np.ascontiguousarray(both.transpose(2, 1, 0, 3), dtype=np.int64))
    wholes = [np.arange(len(cell)) for cell in cells] + [np.arange(len(first))]
    drawn = [index for index, whole in enumerate(wholes) if len(whole) > 1]

    def statistic(*samples: NDArray[Any], axis: int = -1) -> NDArray[np.float64]:
        """The difference on resampled indices ``[..., n]`` of each cell and of the seeds."""
        assert axis == -1
        chosen: list[NDArray[Any]] = list(wholes)
        for index, sample in zip(drawn, samples, strict=True):
            chosen[index] = sample
        of_cells = []
        for cell, rows in zip(cells, chosen, strict=False):
            scores = score(cell[rows].sum(axis=-4))  # on rows [..., n]: [..., seeds, methods]
            of_cells.append(scores[..., 0] - scores[..., 1])
        by_seed = sum(of_cells[1:], start=of_cells[0]) / len(of_cells)
        seeds = np.broadcast_to(chosen[-1], (*by_seed.shape[:-1], chosen[-1].shape[-1]))
        return np.asarray(np.take_along_axis(by_seed, seeds, axis=-1).mean(axis=-1), dtype=np.float64)

    value = float(statistic(*(wholes[index] for index in drawn)))
    if not drawn:
        return Difference(value, value, value)
    found = stats.bootstrap(
        [wholes[index] for index in drawn],
        statistic,
        n_resamples=resamples,
        batch=BATCH,
        vectorized=True,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Difference(value, float(found.low), float(found.high))
