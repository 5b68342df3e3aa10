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
    still random or shaped only by other tasks, would be an outlier to the projector. With dropout, pairs use the mean
    in training too, at random.

    Args:
        learnt: for each task and language whether the language's own embedding is used ``[T, G]``; in a task without
            any, all are.
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
        layers: int,
        task_dim: int,
        language_dim: int,
        layer_dim: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.task = nn.Parameter(torch.randn(len(learnt), task_dim))
        self.language = nn.Parameter(torch.randn(len(learnt[0]), language_dim))
        self.layer = nn.Parameter(torch.randn(layers, layer_dim)) if layers else None
        rows = [list(own) if any(own) else [True] * len(own) for own in learnt]
        self.register_buffer("learnt", torch.tensor(rows), persistent=False)
        # Kept apart from the buffer, which may be on a device that reading it would have to wait for.
        self.has_means = not all(map(all, rows))

    def language_vectors(self, tasks: Tensor, languages: Tensor) -> Tensor:
        """The language vectors of K pairs ``[K, language_dim]``: an embedding each, or the mean of the learnt ones."""
        own = self.language[languages]
        drops = self.training and self.dropout > 0
        if not self.has_means and not drops:
            return own
        learnt = self.learnt[tasks]
        shares = learnt.to(own.dtype) / learnt.sum(dim=1, keepdim=True)
        kept = learnt.gather(1, languages[:, None])
        if drops:
            kept = kept & (torch.rand(kept.shape, device=kept.device) >= self.dropout)
        return torch.where(kept, own, shares @ self.language)

    @torch.no_grad()
    def add_language(self, trained: Sequence[int] = (), *, reads_own: bool = False) -> None:
        """Append a language without training data.

        The parameter is replaced by a new one, which an existing optimiser does not know.

        Args:
            trained: the languages whose mean becomes its embedding; by default all.
            reads_own: use that embedding, in models in which every language uses its own; else each task uses the mean
                of the languages that it has learnt.
        """
        known = self.language[list(trained)] if trained else self.language
        rows = torch.cat([self.language, known.mean(dim=0, keepdim=True)])
        self.language = nn.Parameter(rows, requires_grad=self.language.requires_grad)
        self.learnt = torch.cat([self.learnt, torch.full_like(self.learnt[:, :1], reads_own)], dim=1)
        self.has_means |= not reads_own

    def forward(self, tasks: Tensor, languages: Tensor) -> Tensor:
        """Source embeddings of K pairs.

        Args:
            tasks: task indices ``[K]``.
            languages: language indices ``[K]``.

        Returns:
            ``[K, L, S]``, or ``[K, 1, S]`` without layer embeddings.
        """
        pair = torch.cat([self.task[tasks], self.language_vectors(tasks, languages)], dim=-1)[:, None]
        if self.layer is None:
            return pair
        layers = self.layer.expand(len(tasks), -1, -1)
        return torch.cat([pair.expand(-1, layers.shape[1], -1), layers], dim=-1)


class SourceProjector(nn.Sequential):
    """``s = W2 relu(W1 source + c1) + c2`` (Hyper-X, section 2).

    Args:
        source_dim: size S of the source embedding.
        hidden_dim: size of the hidden layer.
        projected_dim: size P of the result.
    """

    def __init__(self, *, source_dim: int, hidden_dim: int, projected_dim: int) -> None:
        super().__init__(nn.Linear(source_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, projected_dim))


class UnitScale(nn.Module):
    """``LayerNorm(s) / sqrt(P)``, without weights: a generator's input always has length 1.

    Adam moves a generated weight by about ``lr * sum_i |s_i|`` per step, so the length of s sets the pace of training.
    """

    def forward(self, source: Tensor) -> Tensor:
        """``[..., P]`` to ``[..., P]`` of unit length."""
        size = source.shape[-1]
        return F.layer_norm(source, (size,)) / math.sqrt(size)
