"""The best tree over arc scores, with a single root and without cycles."""

from __future__ import annotations

import importlib.util

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Heads = NDArray[np.int64]

# There is no ready-made build for the newest Pythons, where the slower library is used.
FAST = importlib.util.find_spec("ufal") is not None and importlib.util.find_spec("ufal.chu_liu_edmonds") is not None


def best_tree(scores: Matrix, *, fast: bool = FAST) -> Heads:
    """The heads of the tree with the highest sum of scores among those with exactly one root.

    Args:
        scores: the score of each head for each word ``[W, W + 1]``, all finite; head 0 is the root, head i the i-th
            word. A word's score as its own head does not matter.
        fast: use the compiled library.

    Returns:
        Each word's head, from 0 (the root) to W ``[W]``.
    """
    full = np.zeros((len(scores) + 1, len(scores) + 1))
    full[1:] = scores
    # Usually the best heads of all words form a tree already, and no tree can be better.
    np.fill_diagonal(full, -np.inf)
    greedy: Heads = full[1:].argmax(axis=1)
    if is_tree(greedy):
        return greedy
    np.fill_diagonal(full, 0.0)
    # A second root costs more than any other change of the tree can gain.
    full[1:, 0] -= (np.ptp(full) + 1) * len(full)
    return _compiled(full) if fast else _networkx(full)


def is_tree(heads: Heads) -> bool:
    """Whether heads have one root, which every word reaches."""
    if (heads == 0).sum() != 1:
        return False
    above = np.concatenate([[0], heads])
    # Each round doubles the number of steps taken at once.
    for _ in range(len(above).bit_length()):
        above = above[above]
    return not above.any()


def _compiled(full: Matrix) -> Heads:
    from ufal.chu_liu_edmonds import chu_liu_edmonds

    heads, _ = chu_liu_edmonds(full)
    return np.array(heads[1:], dtype=np.int64)


def _networkx(full: Matrix) -> Heads:
    import networkx

    words = range(1, len(full))
    graph = networkx.DiGraph()
    graph.add_weighted_edges_from(
        (head, word, full[word, head]) for word in words for head in range(len(full)) if head != word
    )
    tree = networkx.maximum_spanning_arborescence(graph)
    return np.array([next(tree.predecessors(word)) for word in words], dtype=np.int64)
