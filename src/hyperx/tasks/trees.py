"""The best tree over arc scores, with a single root and without cycles.

The compiled libraries for this have no build for every Python that Hyper-X runs on, and networkx takes minutes for a
sentence of 300 words. Here one of 3,000 takes a second at most.
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
    """Each node's head ``[N]`` in the best tree over a graph, with any number of arcs from its root, node 0, given the
    score of each head for each node ``[N, N]``, -inf on the diagonal.

    Cycles of best arcs are contracted to a node each (Chu and Liu 1965, Edmonds 1967), on a path that is followed until
    it leads to the root (Gabow et al. 1986). Only rows are joined, columns stay those of the graph, so that each of the
    at most N contractions takes N steps for each node of its cycle.
    """
    heads, count = best_heads(full), len(full)
    nodes = np.arange(count)
    within = np.where(ends(heads) == 0, 0, nodes)  # the node that each is a part of now; 0 where the way leads there
    # Of every node, contracted ones behind: what an arc from each head gains over those inside, and where it enters;
    # the arc that is chosen; and the node that it was contracted into.
    gains, entries = dict(enumerate(full)), dict(enumerate(np.broadcast_to(nodes[:, None], full.shape)))
    arcs, outer = [*zip(heads.tolist(), range(count), strict=True)], dict[int, int]()
    for start in np.flatnonzero(within):
        path, node = list[int](), int(within[start])
        while node != 0:
            if node in path:
                cycle, node = path[path.index(node) :], len(arcs)
                del path[-len(cycle) :]
                every = np.stack([(own := gains.pop(one)) - own[arcs[one][0]] for one in cycle])
                best = every.argmax(axis=0), nodes
                gains[node], entries[node] = every[best], np.stack([entries.pop(one) for one in cycle])[best]
                inside = np.isin(within, cycle)
                within[inside], gains[node][inside] = node, -np.inf
                head = int(gains[node].argmax())
                arcs.append((head, int(entries[node][head])))
                outer.update(dict.fromkeys(cycle, node))
            path.append(node)
            node = int(within[arcs[node][0]])
        within[np.isin(within, path)] = 0
    # From the outside in, an arc takes the place of those of all nodes that it enters on its way.
    entered = set[int]()
    for node in range(len(arcs) - 1, 0, -1):
        if node not in entered:
            heads[inner := arcs[node][1]] = arcs[node][0]
            while inner != node:
                entered.add(inner)
                inner = outer[inner]
    return heads
