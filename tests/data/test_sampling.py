"""Batches: drawn as the formula says, reproducible, complete passes, little padding."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperx.config import SamplingOptions
from hyperx.data.batch.sampling import POOL, BatchPlan, Row, pair_probabilities

exact = settings(derandomize=True, database=None, deadline=None, max_examples=60)


def plan(
    sizes: list[int], *, batch_size: int = 4, seed: int = 1, mixed: bool = True, bucketed: bool = True
) -> BatchPlan:
    random = np.random.default_rng(7)
    options = SamplingOptions(mixed_batches=mixed, length_bucketing=bucketed)
    return BatchPlan([random.integers(3, 60, size) for size in sizes], options, batch_size=batch_size, seed=seed)


def take(plan: BatchPlan, count: int, start: int = 0) -> list[list[Row]]:
    return list(itertools.islice(plan.batches(start), count))


def padding(plan: BatchPlan, batches: list[list[Row]]) -> int:
    """Positions that hold no subword."""
    lengths = [[int(plan.lengths[pair][window]) for pair, window in batch] for batch in batches]
    return sum(max(row) * len(row) - sum(row) for row in lengths)


@exact
@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=20), st.floats(0.2, 20))
def test_probabilities_follow_the_formula(sizes: list[int], temperature: float) -> None:
    total = sum(size ** (1 / temperature) for size in sizes)
    wanted = [size ** (1 / temperature) / total for size in sizes]
    np.testing.assert_allclose(pair_probabilities(sizes, temperature=temperature), wanted, rtol=1e-9)


def test_a_small_temperature_leaves_the_largest_alone() -> None:
    assert pair_probabilities([5_000, 20_000], temperature=0.0001).tolist() == [0.0, 1.0]


def test_named_strategies_are_temperatures() -> None:
    sizes = [1, 10, 89]
    assert pair_probabilities(sizes, strategy="size_proportional").tolist() == [0.01, 0.1, 0.89]
    assert pair_probabilities(sizes, strategy="uniform").tolist() == [1 / 3] * 3
    np.testing.assert_allclose(pair_probabilities([1, 16], temperature=0.5), [1 / 257, 256 / 257])
    np.testing.assert_allclose(pair_probabilities([1, 32]), [1 / 3, 2 / 3])


@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("start", [1, POOL - 1, POOL, 3 * POOL + 5])
def test_later_start_is_the_same_plan(mixed: bool, start: int) -> None:
    wanted = take(plan([5, 30, 200], mixed=mixed), start + 20)[start:]
    assert take(plan([5, 30, 200], mixed=mixed), 20, start) == wanted
    assert take(plan([5, 30, 200], mixed=mixed, seed=2), 20, start) != wanted


@pytest.mark.parametrize("mixed", [True, False])
def test_pairs_are_drawn_by_their_probability_for_each_row_or_as_published_for_each_batch(mixed: bool) -> None:
    sizes = [10, 320, 2430]
    batches = take(plan(sizes, mixed=mixed), 3000)
    drawn = Counter(pair for batch in batches for pair, _ in (batch if mixed else batch[:1]))
    for pair, probability in enumerate(pair_probabilities(sizes)):
        assert drawn[pair] / drawn.total() == pytest.approx(probability, abs=0.03)
    several = sum(len({pair for pair, _ in batch}) > 1 for batch in batches)
    assert several > 1000 if mixed else several == 0


@exact
@given(st.lists(st.integers(1, 50), min_size=1, max_size=4), st.integers(1, 9), st.booleans(), st.booleans())
def test_batches_are_full_and_passes_complete(sizes: list[int], batch_size: int, mixed: bool, bucketed: bool) -> None:
    wanted = plan(sizes, batch_size=batch_size, mixed=mixed, bucketed=bucketed)
    batches = take(wanted, 3 * POOL)
    assert all(len(batch) == batch_size for batch in batches)
    seen: Counter[Row] = Counter()
    for pool in range(3):
        seen.update(row for batch in batches[pool * POOL : (pool + 1) * POOL] for row in batch)
        for pair, size in enumerate(sizes):
            counts = [seen[pair, window] for window in range(size)]
            # Every window comes once in a pass: at a pool's end all have come equally often, give or take one.
            assert max(counts) - min(counts) <= 1
    assert set(seen) <= {(pair, window) for pair, size in enumerate(sizes) for window in range(size)}


def test_passes_are_shuffled_anew() -> None:
    one = plan([50], batch_size=50, bucketed=False)
    passes = [[window for _, window in batch] for batch in take(one, 3)]
    assert all(sorted(order) == list(range(50)) for order in passes)
    assert len(set(map(tuple, passes))) == 3


def test_pairs_of_one_size_have_orders_of_their_own() -> None:
    both = plan([50, 50])
    first, second = ([window for _, window in itertools.islice(both._stream(pair), 50)] for pair in (0, 1))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second


def test_published_batches_of_a_pair_do_not_come_one_behind_the_other() -> None:
    drawn = [batch[0][0] for batch in take(plan([100, 100], mixed=False), POOL)]
    assert drawn not in (sorted(drawn), sorted(drawn, reverse=True))


@pytest.mark.parametrize("mixed", [True, False])
def test_bucketing_pads_less(mixed: bool) -> None:
    bucketed, unsorted = plan([300, 300], mixed=mixed), plan([300, 300], mixed=mixed, bucketed=False)
    assert padding(bucketed, take(bucketed, 10 * POOL)) < 0.3 * padding(unsorted, take(unsorted, 10 * POOL))


def test_bucketed_batches_come_in_no_order_of_length() -> None:
    wanted = plan([2000])
    lengths = [int(wanted.lengths[0][batch[0][1]]) for batch in take(wanted, POOL)]
    assert lengths not in (sorted(lengths), sorted(lengths, reverse=True))
