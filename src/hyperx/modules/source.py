"""From a task, a language and a layer to the vector that the generators read."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SourceEmbedding(nn.Module):
    """``[e_task(t) ; e_lang(g) ; e_layer(l)]``, each part learnt, N(0, 1) at the start (Hyper-X, section 2).

    A language without training data reads the mean of the trained language embeddings: its own random start would
    be an outlier to the projector.

    Args:
        tasks: number of tasks T.
        trained_languages: for each language whether a training pair has it; all False counts as all True.
        layers: number of adapted layers L; 0 where each layer has generators of its own (no layer embedding).
        task_dim: size of a task embedding.
        language_dim: size of a language embedding.
        layer_dim: size of a layer embedding.
    """

    trained: Tensor

    def __init__(
        self,
        *,
        tasks: int,
        trained_languages: Sequence[bool],
        layers: int,
        task_dim: int,
        language_dim: int,
        layer_dim: int,
    ) -> None:
        super().__init__()
        self.task = nn.Parameter(torch.randn(tasks, task_dim))
        self.language = nn.Parameter(torch.randn(len(trained_languages), language_dim))
        self.layer = nn.Parameter(torch.randn(layers, layer_dim)) if layers else None
        trained = list(trained_languages) if any(trained_languages) else [True] * len(trained_languages)
        self.register_buffer("trained", torch.tensor(trained), persistent=False)
        # Kept beside the buffer, which may live on a device whose answer would have to be waited for.
        self.has_untrained = not all(trained)

    @property
    def dim(self) -> int:
        """Size S of the concatenated source embedding."""
        return self.task.shape[1] + self.language.shape[1] + (0 if self.layer is None else self.layer.shape[1])

    def language_vectors(self) -> Tensor:
        """Language embeddings ``[G, language_dim]``, untrained rows replaced by the mean of the trained ones."""
        if not self.has_untrained:
            return self.language
        shares = self.trained.to(self.language.dtype) / self.trained.sum()
        return torch.where(self.trained[:, None], self.language, shares @ self.language)

    @torch.no_grad()
    def add_language(self) -> None:
        """Append a language without training data."""
        self.language = nn.Parameter(torch.cat([self.language, torch.zeros_like(self.language[:1])]))
        self.trained = torch.cat([self.trained, torch.zeros_like(self.trained[:1])])
        self.has_untrained = True

    def forward(self, tasks: Tensor, languages: Tensor) -> Tensor:
        """Source embeddings of K pairs.

        Args:
            tasks: task indices ``[K]``.
            languages: language indices ``[K]``.

        Returns:
            ``[K, L, S]``, or ``[K, 1, S]`` without layer embeddings.
        """
        pair = torch.cat([self.task[tasks], self.language_vectors()[languages]], dim=-1)[:, None]
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

    Adam moves a generated weight by about ``lr * sum_i |s_i|`` a step, so the length of s sets the pace of training.
    """

    def forward(self, source: Tensor) -> Tensor:
        """``[..., P]`` to ``[..., P]`` of unit length."""
        size = source.shape[-1]
        return F.layer_norm(source, (size,)) / math.sqrt(size)
