"""Dependency parsing: biaffine arcs and relations (Dozat and Manning 2017), decoded to one tree per sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hyperx.data.batch.store import EncodedSplit
from hyperx.data.batch.windows import IGNORED, Window, padded
from hyperx.data.read.labels import NO_LABEL, UD_RELATIONS
from hyperx.errors import HyperXError
from hyperx.tasks.base import HeadFacts, HeadInput, Result, Scores, Task, cross_entropy, labelled, scores_by_label
from hyperx.tasks.trees import best_tree

ARC_SIZE, RELATION_SIZE, DROPOUT, SLOPE = 500, 100, 0.33, 0.1
"""Sizes, dropout and negative slope of the projections (Dozat and Manning 2017, table 1)."""

ROOT = "root"

OUT_OF_SIGHT = -1e4
"""Score of an arc between words that are never in one window: possible, but the last choice."""


class Arc(NamedTuple):
    """The arc of a word in its tree: the number of the word that it depends on, from 1 (0 for the root), and the
    universal relation."""

    head: int
    relation: str


@dataclass(frozen=True, slots=True)
class ParserLogits:
    """Scores of B windows of up to W words.

    Args:
        arcs: for each word the score of each head ``[B, W, W + 1]``; head 0 is the root, head i the window's i-th word.
        count: number of words of each window ``[B]``; scores beyond them are meaningless.
        dependents: vectors of words as dependents, for the relations ``[B, W, r]``.
        heads: vectors of the root and words as heads, for the relations ``[B, W + 1, r]``.
        scorer: the biaffine scores of relations.
        root: number of the relation to the root.
    """

    arcs: Tensor
    count: Tensor
    dependents: Tensor
    heads: Tensor
    scorer: Biaffine
    root: int = UD_RELATIONS.index(ROOT)

    @property
    def possible(self) -> Tensor:
        """Arc scores, lowest for heads beyond the window's words ``[B, W, W + 1]``."""
        heads = torch.arange(self.arcs.shape[2], device=self.arcs.device)
        return self.arcs.float().masked_fill((heads > self.count[:, None])[:, None], torch.finfo(torch.float32).min)

    def relations(self) -> Tensor:
        """Scores of all relations to all heads ``[B, W, W + 1, R]``."""
        scores: Tensor = self.scorer(self.dependents, self.heads)
        return scores

    def relations_to(self, heads: Tensor) -> Tensor:
        """Scores of all relations of each word to one head ``[B, W]``: ``[B, W, R]``."""
        chosen = self.heads.gather(1, heads[..., None].expand(-1, -1, self.heads.shape[2]))
        return self.scorer.pairwise(self.dependents, chosen)


class Biaffine(nn.Module):
    """``[x ; 1]^T W_o [y ; 1]`` for each output o (Dozat and Manning 2017, equations 6 and 9); without ``head_bias`` no
    1 is appended to y."""

    def __init__(self, *, size: int, outputs: int, head_bias: bool) -> None:
        super().__init__()
        self.head_bias = head_bias
        self.weight = nn.Parameter(torch.zeros(outputs, size + 1, size + head_bias))

    def _with_bias(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        # Trees are decoded outside of autocast, which may have left words in a lower precision than the weights.
        x, y = x.to(self.weight.dtype), y.to(self.weight.dtype)
        return nn.functional.pad(x, (0, 1), value=1.0), nn.functional.pad(y, (0, int(self.head_bias)), value=1.0)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """``x [B, W, n]`` against every ``y [B, V, n]``: ``[B, W, V, outputs]``."""
        x, y = self._with_bias(x, y)
        return (x[:, None] @ self.weight @ y[:, None].transpose(2, 3)).permute(0, 2, 3, 1)

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        """``x [B, W, n]`` each against its ``y [B, W, n]``: ``[B, W, outputs]``."""
        x, y = self._with_bias(x, y)
        return (torch.einsum("bwi,oij->bwoj", x, self.weight) * y[:, :, None]).sum(dim=-1)


class ParserHead(nn.Module):
    """Arcs and relations between words, each the mean of its subwords; the root is the first position.

    With projections projected words are scored, as Dozat and Manning do, otherwise the encoder's own, as published.
    """

    def __init__(
        self, *, hidden_size: int, relations: int, projections: bool, root: int = UD_RELATIONS.index(ROOT)
    ) -> None:
        super().__init__()
        self.root = root
        arc, relation = (ARC_SIZE, RELATION_SIZE) if projections else (hidden_size, hidden_size)

        def project(size: int) -> nn.Module:
            if not projections:
                return nn.Identity()
            return nn.Sequential(nn.Linear(hidden_size, size), nn.LeakyReLU(SLOPE), nn.Dropout(DROPOUT))

        self.arc_dependent, self.arc_head = project(arc), project(arc)
        self.relation_dependent, self.relation_head = project(relation), project(relation)
        self.arcs = Biaffine(size=arc, outputs=1, head_bias=False)
        self.relations = Biaffine(size=relation, outputs=relations, head_bias=True)
        if not projections:
            nn.init.xavier_uniform_(self.arcs.weight)
            nn.init.xavier_uniform_(self.relations.weight)

    def forward(self, given: HeadInput) -> ParserLogits:
        if given.words is None:
            raise HyperXError("dependency parsing needs the word of each subword: pass words, [B, T], -1 for none")
        words, count = word_means(given.hidden, given.words, None if given.labels is None else given.labels.shape[1])
        heads = torch.cat([given.hidden[:, :1], words], dim=1)
        arcs = self.arcs(self.arc_dependent(words), self.arc_head(heads)).squeeze(-1)
        dependents, heads = self.relation_dependent(words), self.relation_head(heads)
        return ParserLogits(arcs, count, dependents, heads, self.relations, self.root)


def word_means(hidden: Tensor, words: Tensor, width: int | None = None) -> tuple[Tensor, Tensor]:
    """From hidden states ``[B, T, h]`` and the word of each subword (-1 for none) to the mean of each word's subwords
    ``[B, W, h]``, zero beyond a window's words, and the number of words of each ``[B]``. W is given if it is known:
    reading it from a GPU would mean waiting for it."""
    count = words.amax(dim=1) + 1
    numbers = torch.arange(int(count.max()) if width is None else width, device=words.device)
    belongs = (words[:, None] == numbers[:, None]).to(hidden.dtype)
    return belongs @ hidden / belongs.sum(dim=-1, keepdim=True).clamp(min=1), count


class DependencyParsing(Task):
    """Trees of universal relations, measured by LAS and UAS over words."""

    kind = "dep"
    columns = ("head", "deprel")
    no_label = NO_LABEL
    measure = "las"
    further_measures = ("uas",)
    as_percent = frozenset({"las", "uas"})

    def label_set(self, seen: Iterable[str]) -> tuple[str, ...]:
        """Always the 37 universal relations and ``_``."""
        return UD_RELATIONS

    def head(self, facts: HeadFacts, labels: Sequence[str]) -> nn.Module:
        size, projections = facts.hidden_size, facts.options.parser_projections
        return ParserHead(hidden_size=size, relations=len(labels), projections=projections, root=labels.index(ROOT))

    def loss(self, logits: ParserLogits, labels: Tensor) -> Tensor:
        """Cross-entropy of the heads, and that of the relations to the gold heads; each a mean over words."""
        heads, relations = labels.unbind(dim=-1)
        of_relations = cross_entropy(logits.relations_to(heads.clamp(min=0)), relations)
        return torch.stack([cross_entropy(logits.possible, heads), of_relations])

    def amounts(self, labels: Tensor) -> list[int]:
        return [int(count) for count in (labels != IGNORED).flatten(0, -2).sum(dim=0)]

    def labels(self, windows: Sequence[Window], length: int) -> Tensor:
        """Head and relation of each owned word ``[B, W, 2]``, heads counted within the window; ignored if the head is
        outside."""
        rows = []
        for window in windows:
            words, own = window.word_range, slice(window.start, window.stop)
            arcs = np.full((len(words), 2), IGNORED, dtype=np.int32)
            heads = window.targets["head"][own]
            inside = np.where(heads == 0, 0, heads - words.start)
            visible = (heads == 0) | ((inside >= 1) & (inside <= len(words)))
            owned = arcs[window.start - words.start : window.stop - words.start]
            owned[visible, 0] = inside[visible]
            owned[visible, 1] = window.targets["deprel"][own][visible]
            rows.append(arcs)
        return padded(rows, IGNORED)

    def decisions(self, logits: ParserLogits, labels: Tensor, names: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        """Of each word the head, and the relation to the right head."""
        heads, relations = labels.unbind(dim=-1)
        return [labelled(logits.possible, heads), labelled(logits.relations_to(heads.clamp(min=0)), relations)]

    def decode(
        self, logits: ParserLogits, windows: Sequence[Window], labels: Tensor | None, temperatures: Tensor
    ) -> list[Any]:
        """For each owned word the log-probabilities of each head, and those and the id of the best relation to it."""
        relations = self.log_probabilities(logits.relations(), temperatures)
        relations[..., logits.root] = -torch.inf  # no word but the root of the tree has it
        numbers = relations[:1].argmax(dim=-1)
        certain = relations.gather(-1, numbers.expand(2, *numbers.shape[1:])[..., None]).squeeze(-1)
        arcs = self.log_probabilities(logits.possible, temperatures)
        arrays = [tensor.cpu().numpy() for tensor in (arcs, certain, numbers)]
        parts = []
        for row, window in enumerate(windows):
            words = window.word_range
            own = slice(window.start - words.start, window.stop - words.start)
            parts.append(tuple(array[:, row, own, : len(words) + 1] for array in arrays))
        return parts

    def join(self, parts: Sequence[Any], windows: Sequence[Window], labels: Sequence[str]) -> Result:
        """One tree over the whole sentence; the relation is ``root`` for its root and for no other word."""
        count, root = windows[-1].stop, labels.index(ROOT)
        arcs = np.full((count, count + 1), OUT_OF_SIGHT)
        shown = [np.array([0, *(word + 1 for word in window.word_range)]) for window in windows]
        for (scores, _, _), window, heads in zip(parts, windows, shown, strict=True):
            arcs[window.start : window.stop, heads] = np.maximum(scores[0], OUT_OF_SIGHT)
        tree = best_tree(arcs)
        numbers, sure = np.where(tree == 0, root, 0), np.full((2, count), OUT_OF_SIGHT)
        for (scores, log_probabilities, (best,)), window, heads in zip(parts, windows, shown, strict=True):
            own, place = np.nonzero(tree[window.start : window.stop, None] == heads)
            words = window.start + own
            numbers[words] = np.where(place == 0, root, best[own, place])
            # The root of the tree has its relation for sure.
            relation = np.where(place == 0, 0.0, log_probabilities[:, own, place])
            sure[:, words] = np.maximum(scores[:, own, place], OUT_OF_SIGHT) + relation
        plain, calibrated = np.exp(sure).tolist()
        result = tuple(Arc(int(head), labels[number]) for head, number in zip(tree, numbers, strict=True))
        return Result(result, tuple(calibrated), tuple(plain))

    def gold(self, split: EncodedSplit) -> list[tuple[Arc, ...]]:
        return [tuple(map(Arc, columns["head"], columns["deprel"])) for columns in split.annotation()]

    def counts(self, gold: Any, labels: Any) -> tuple[int, int, int]:
        """Those of the words that have a relation."""
        right = [arc == other for arc, other in zip(gold, labels, strict=True) if arc.relation != NO_LABEL]
        return sum(right), len(right), len(right)

    def score(self, gold: Sequence[Sequence[Arc]], predicted: Sequence[Sequence[Arc]]) -> Scores:
        """UAS over all words and LAS over those with a relation, as the CoNLL 2018 shared task counts them, and each
        relation's F1."""
        pairs = [arcs for both in zip(gold, predicted, strict=True) for arcs in zip(*both, strict=True)]
        related = [arcs for arcs in pairs if arcs[0].relation != NO_LABEL]
        both = Counter(arc.relation for arc, other in related if arc == other)
        by_label = scores_by_label(
            Counter(arc.relation for arc, _ in related), Counter(arc.relation for _, arc in related), both
        )
        attached = sum(arc.head == other.head for arc, other in pairs)
        uas = attached / len(pairs) if pairs else None
        return Scores({"uas": uas, "las": both.total() / len(related) if related else None}, by_label)

    def annotation(self, labels: Sequence[Arc]) -> dict[str, tuple[str | int, ...]]:
        return {"head": tuple(arc.head for arc in labels), "deprel": tuple(arc.relation for arc in labels)}
