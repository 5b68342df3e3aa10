"""What is learnt of one language beside a model whose own weights stay as they are.

::

    e_lang <- e_lang + shift             the same for all of its tasks
    D      <- D + A_D B_D                for each of its tasks and each layer, of rank r; U likewise
    logits <- [logits ; 0] + R x + r     with rows for the labels of a linear head, and for those that the model lacks
    W      <- W + B A                    for each linear module inside the encoder's layers, of rank s (Hu et al. 2022)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from hyperx.method.adapter import AdapterWeights
from hyperx.method.source import drawn

PACE = 10.0
"""The shift is learnt in units of this: an embedding's entries are about 1, those of a projection a tenth of that."""
ROW_PACE = 0.25
"""And the rows, and the changes of the encoder's layers, in units of this (experiments 21 and 25)."""


class AddOn(nn.Module):
    """The shift of one language, and the changes of its adapters; changes nothing as it starts.

    Args:
        tasks: number N of its tasks.
        language_dim: size of a language embedding.
        layers: number L of adapted layers.
        hidden_size: hidden size h of the encoder.
        adapter_dim: bottleneck size b.
        rank: rank r of the changes; 0 for the shift alone.
        labels: for each task how many labels of its linear head it changes, and how many it has that the model lacks.
        linears: inputs and outputs of the linear modules inside the encoder's layers.
        layer_rank: rank s of their changes; 0 for none.
        near: number G of the model's languages, if it weighs them by how similar they are to one that it lacks; else 0.
    """

    def __init__(
        self,
        *,
        tasks: int,
        language_dim: int,
        layers: int,
        hidden_size: int,
        adapter_dim: int,
        rank: int,
        labels: Sequence[tuple[int, int]],
        linears: Sequence[tuple[int, int]],
        layer_rank: int,
        near: int,
    ) -> None:
        super().__init__()
        h, b = hidden_size, adapter_dim
        self.shift = nn.Parameter(torch.zeros(language_dim))
        self.down_in = nn.Parameter(drawn(tasks, layers, rank, h) * h**-0.5)
        self.down_out = nn.Parameter(torch.zeros(tasks, layers, b, rank))
        self.up_in = nn.Parameter(drawn(tasks, layers, rank, b) * b**-0.5)
        self.up_out = nn.Parameter(torch.zeros(tasks, layers, h, rank))
        self.labels = labels
        self.rows = nn.ParameterList(torch.zeros(sum(counts), h + 1) for counts in labels)
        # Of all modules end to end: many small tensors would take more bytes for their names.
        inputs, outputs = (sum(sizes) if layer_rank else 0 for sizes in zip(*linears, strict=True))
        scale = torch.cat([torch.full((size,), size**-0.5) for size, _ in linears])[:inputs]
        self.layer_in = nn.Parameter(drawn(layer_rank, inputs) * scale / ROW_PACE)
        self.layer_out = nn.Parameter(torch.zeros(layer_rank, outputs))
        # A fact, kept since what is learnt is a change of what the language read then.
        self.near = nn.Parameter(torch.zeros(near), requires_grad=False)

    def learn(self) -> None:
        """Make all trained that is learnt."""
        self.requires_grad_(True)
        self.near.requires_grad_(False)

    @torch.no_grad()
    def weaken(self, strength: float) -> None:
        """Keep a share of the shift and of the changes; labels that the model lacks stay as they are."""
        heads = [rows[:known] for rows, (known, _) in zip(self.rows, self.labels, strict=True)]
        for own in (self.shift, self.down_out, self.up_out, self.layer_out, *heads):
            own.mul_(strength)

    @property
    def language_shift(self) -> Tensor:
        """What is added to the language's embedding ``[language_dim]``."""
        return PACE * self.shift

    def changed(self, weights: AdapterWeights, row: int, task: int) -> AdapterWeights:
        """The adapters of K pairs, of which that in a row is changed as one of the add-on's tasks is."""
        down, up = (
            torch.cat([own[:row], own[row : row + 1] + out[task] @ into[task], own[row + 1 :]])
            for own, out, into in (
                (weights.down, self.down_out, self.down_in),
                (weights.up, self.up_out, self.up_in),
            )
        )
        return replace(weights, down=down, up=up)


@dataclass(frozen=True, slots=True, eq=False)
class LayerChanges:
    """The changes of the linear modules inside the encoder's layers for K pairs, all modules end to end.

    Args:
        inner: ``[K, s, inputs]``.
        outer: ``[K, s, outputs]``; zero for pairs that change nothing.
    """

    inner: Tensor
    outer: Tensor

    @classmethod
    def of(cls, add_ons: Sequence[AddOn | None]) -> LayerChanges | None:
        """Those of K pairs, given the add-on that each reads; None if none changes them."""
        own = [one if one is not None and len(one.layer_in) else None for one in add_ons]
        some = [one for one in own if one is not None]
        if not some:
            return None
        most = max(len(one.layer_in) for one in some)
        none = some[0].layer_in[:0], some[0].layer_out[:0]
        inner, outer = (
            torch.stack([ROW_PACE * pad(part, (0, 0, 0, most - len(part))) for part in parts])
            for parts in zip(*(none if one is None else (one.layer_in, one.layer_out) for one in own), strict=True)
        )
        return cls(inner, outer)

    def applied(self, x: Tensor, inputs: slice, outputs: slice, rows: Tensor | None) -> Tensor:
        """What is added to the outputs ``[B, T, outputs]`` of a module for its inputs ``x`` ``[B, T, inputs]``, given
        the pair of each row; None if K is 1."""
        inner, outer = self.inner[..., inputs], self.outer[..., outputs]
        inner, outer = (inner[0], outer[0]) if rows is None else (inner[rows], outer[rows])
        return x @ inner.mT @ outer


Use = tuple[AddOn, int]
"""An add-on, and which of its tasks a pair is of."""


def language_shifts(uses: Sequence[Use | None], size: int) -> Tensor | None:
    """What is added to the language embeddings of K pairs ``[K, size]``; None if nothing is."""
    added = [None if use is None else use[0].language_shift for use in uses]
    like = next((one for one in added if one is not None), None)
    return None if like is None else torch.stack([like.new_zeros(size) if one is None else one for one in added])
