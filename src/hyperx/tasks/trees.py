"""The best tree over arc scores, with a single root and without cycles.

The compiled libraries for this have no build for every Python that Hyper-X runs on, and networkx takes minutes for a
sentence of 300 words.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Heads = NDArray[np.int64]


def best_tree(scores: Matrix) -> Heads:
    """Each word's head ``[W]`` in the tree with the highest sum of scores among those with exactly one root.

    Args:
        scores: the score of each head for each word ``[W, W + 1]``, all finite; head 0 is the root, head i the i-th
            word. A word's score as its own head does not matter.
    """
    full = np.zeros((len(scores) + 1, len(scores) + 1))
    full[1:] = scores
    np.fill_diagonal(full, -np.inf)
    heads = best_heads(full)
    # Usually these form a tree with one root already, and no tree can be better.
    if is_tree(heads[1:]):
        return heads[1:]
    # A second root costs more than any other change of the tree can gain.
    np.fill_diagonal(full, 0.0)
    full[1:, 0] -= (np.ptp(full) + 1) * len(full)
    np.fill_diagonal(full, -np.inf)
    return best_arborescence(full)[1:]


def is_tree(heads: Heads) -> bool:
    """Whether the heads of words ``[W]`` have one root, which every word reaches."""
    return bool((heads == 0).sum() == 1) and not ends(np.concatenate([[0], heads])).any()


def best_heads(full: Matrix) -> Heads:
    """The best head of each node by itself ``[N]``; node 0 is its own."""
    heads: Heads = full.argmax(axis=1)
    heads[0] = 0
    return heads


def ends(heads: Heads) -> Heads:
    """Where each node's way along its heads leads: 0, or to a node of the cycle in which it ends ``[N]``."""
    # Each round doubles the number of steps taken at once.
    for _ in range(len(heads).bit_length()):
        heads = heads[heads]
    return heads


def best_arborescence(full: Matrix) -> Heads:
    """Each node's head ``[N]`` in the best tree over a graph (Chu and Liu 1965, Edmonds 1967), with any number
    of arcs from its root, node 0, given the score of each head for each node ``[N, N]``, -inf on the diagonal."""
    heads, contractions = best_heads(full), []
    while (starts := ends(heads)).any():
        start = int(starts.max())
        nodes = [start]
        while (head := int(heads[nodes[-1]])) != start:
            nodes.append(head)
        cycle = np.array(nodes)
        others = np.setdiff1d(np.arange(len(full)), cycle)
        # A smaller graph, in which the cycle is one node, the last. What an arc into it gains over the arc of the cycle
        # that it replaces:
        gains = full[np.ix_(cycle, others)] - full[cycle, heads[cycle]][:, None]
        leaving = full[np.ix_(others, cycle)]
        smaller = np.full((len(others) + 1, len(others) + 1), -np.inf)
        smaller[:-1, :-1] = full[np.ix_(others, others)]
        smaller[-1, :-1] = gains.max(axis=0)
        smaller[:-1, -1] = leaving.max(axis=1)
        # The node of the cycle that each of the others is best attached to as head, and as dependent.
        contractions.append((heads, others, cycle[gains.argmax(axis=0)], cycle[leaving.argmax(axis=1)]))
        full, heads = smaller, best_heads(smaller)
    for larger, others, entries, exits in reversed(contractions):
        above, into = heads[:-1], heads[-1]
        larger[others] = np.where(above == len(others), exits, np.append(others, -1)[above])
        larger[entries[into]] = others[into]
        heads = larger
    return heads
