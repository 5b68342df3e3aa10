"""The best tree against every tree there is."""

from __future__ import annotations

import itertools

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperx.tasks.trees import best_tree, is_tree

exact = settings(derandomize=True, database=None, deadline=None, max_examples=200)


def reaches_root(heads: tuple[int, ...], word: int) -> bool:
    seen = set()
    while word:
        if word in seen:
            return False
        seen.add(word)
        word = heads[word - 1]
    return True


def all_trees(words: int) -> list[tuple[int, ...]]:
    """Every choice of heads with one root that is reached from everywhere."""
    return [
        heads
        for heads in itertools.product(range(words + 1), repeat=words)
        if heads.count(0) == 1 and all(reaches_root(heads, word) for word in range(1, words + 1))
    ]


TREES = {words: all_trees(words) for words in range(1, 6)}


@exact
@given(words=st.integers(1, 5), seed=st.integers(0, 2**32 - 1), low=st.booleans())
def test_no_tree_is_better(words: int, seed: int, low: bool) -> None:
    random = np.random.default_rng(seed)
    scores = random.normal(size=(words, words + 1)) * 3
    if low:  # arcs that are hardly possible, as those between words of different windows
        scores[random.random(scores.shape) < 0.5] = -1e4
    totals = {tree: sum(scores[word, head] for word, head in enumerate(tree)) for tree in TREES[words]}
    found = best_tree(scores)
    assert totals[tuple(found.tolist())] == pytest.approx(max(totals.values()))


@pytest.mark.parametrize("words", [2, 3, 6])
def test_a_second_root_is_not_worth_its_price(words: int) -> None:
    """The root is the best head of every word, by as much as scores differ at all."""
    scores = np.zeros((words, words + 1))
    scores[:, 0] = 1.0
    assert (best_tree(scores) == 0).sum() == 1


@pytest.mark.parametrize("words", TREES)
def test_trees_are_known(words: int) -> None:
    found = {heads for heads in itertools.product(range(words + 1), repeat=words) if is_tree(np.array(heads))}
    assert found == set(TREES[words])


@exact
@given(words=st.integers(6, 25), seed=st.integers(0, 2**32 - 1))
def test_trees_of_longer_sentences_are_those_of_another_library(words: int, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(words, words + 1))
    # A root as dear as this is taken once, as our trees have it.
    scores[:, 0] -= 1e3
    graph = networkx.DiGraph()
    graph.add_weighted_edges_from(
        (head, word, scores[word - 1, head])
        for word in range(1, words + 1)
        for head in range(words + 1)
        if head != word
    )
    tree = networkx.maximum_spanning_arborescence(graph)
    assert best_tree(scores).tolist() == [next(tree.predecessors(word)) for word in range(1, words + 1)]


@pytest.mark.parametrize("rising", [False, True])
def test_a_text_of_3000_words_takes_no_minute(rising: bool) -> None:
    """Also where each word prefers later heads, so that nearly all words are in cycles inside cycles."""
    scores = np.random.default_rng(0).normal(size=(3000, 3001))
    if rising:
        scores = scores * 1e-9 + np.arange(3001)
    tree = best_tree(scores)
    assert is_tree(tree)
    if rising:
        assert (np.delete(tree, -1) == 3000).all()
