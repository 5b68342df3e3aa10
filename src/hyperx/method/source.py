"""From a task, a language and a layer to the input vector of the generators."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SourceEmbedding(nn.Module):
    """``[e_task(t) ; e_lang(g) ; e_layer(l)]``, each part learnt, N(0, 1) at the start (Hyper-X, section 2).

    In place of a language that has not been learnt for a task, the mean of those that have is used: its own embedding,
    still random or shaped only by other tasks, would be an outlier to the projector. A language that is not there,
    index -1, uses the mean as well. With dropout, pairs use the mean in training too, at random.

    Args:
        learnt: for each task and language whether the language counts in the task's mean ``[T, G]``; in a task without
            any, all do.
        mean_for_untrained: use the mean for the others; else each language that is there uses its own embedding.
        layers: number of adapted layers L; 0 if each layer has generators of its own (no layer embedding).
        task_dim: size of a task embedding.
        language_dim: size of a language embedding.
        layer_dim: size of a layer embedding.
        dropout: probability that a pair uses the mean in a training step.
    """

    learnt: Tensor

    def __init__(
        self,
        *,
        learnt: Sequence[Sequence[bool]],
        mean_for_untrained: bool = True,
        layers: int,
        task_dim: int,
        language_dim: int,
        layer_dim: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout, self.mean_for_untrained = dropout, mean_for_untrained
        self.task = nn.Parameter(torch.randn(len(learnt), task_dim))
        self.language = nn.Parameter(torch.randn(len(learnt[0]), language_dim))
        self.layer = nn.Parameter(torch.randn(layers, layer_dim)) if layers else None
        rows = [list(own) if any(own) else [True] * len(own) for own in learnt]
        self.register_buffer("learnt", torch.tensor(rows), persistent=False)

    def language_vectors(self, tasks: Tensor, languages: Tensor) -> Tensor:
        """The language vectors of K pairs ``[K, language_dim]``: an embedding each, or the mean of the learnt ones."""
        learnt = self.learnt[tasks]
        shares = learnt.to(self.language.dtype) / learnt.sum(dim=1, keepdim=True)
        kept = (languages >= 0)[:, None]
        if self.mean_for_untrained:
            kept = kept & learnt.gather(1, languages.clamp(min=0)[:, None])
        if self.training and self.dropout > 0:
            kept = kept & (torch.rand(kept.shape, device=kept.device) >= self.dropout)
        return torch.where(kept, self.language[languages], shares @ self.language)

    def forward(self, tasks: Tensor, languages: Tensor) -> Tensor:
        """Source embeddings of K pairs ``[K, L, S]``, or ``[K, 1, S]`` without layer embeddings, given the indices of
        their tasks ``[K]`` and languages ``[K]``, -1 for a language that is not there."""
        pair = torch.cat([self.task[tasks], self.language_vectors(tasks, languages)], dim=-1)[:, None]
        if self.layer is None:
            return pair
        layers = self.layer.expand(len(tasks), -1, -1)
        return torch.cat([pair.expand(-1, layers.shape[1], -1), layers], dim=-1)


class SourceProjector(nn.Sequential):
    """``s = W2 relu(W1 source + c1) + c2`` (Hyper-X, section 2), of sizes S, hidden and P."""

    def __init__(self, source_dim: int, hidden_dim: int, projected_dim: int) -> None:
        super().__init__(nn.Linear(source_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, projected_dim))


class UnitScale(nn.Module):
    """``LayerNorm(s) / sqrt(P)``, without weights: a generator's input always has length 1.

    Adam moves a generated weight by about ``lr * sum_i |s_i|`` per step, so the length of s sets the pace of training.
    """

    def forward(self, s: Tensor) -> Tensor:
        """``[..., P]`` to ``[..., P]`` of unit length."""
        return F.layer_norm(s, s.shape[-1:]) / math.sqrt(s.shape[-1])
