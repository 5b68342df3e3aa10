"""From a task, a language and a layer to the input vector of the generators."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def drawn(*size: int) -> Tensor:
    """Normal random numbers; on the meta device none, where drawing would load a second PyTorch for half a second."""
    values = torch.empty(*size)
    return values if values.is_meta else values.normal_()


class SourceEmbedding(nn.Module):
    """``[e_task(t) ; e_lang(g) ; e_layer(l)]``, each part learnt, N(0, 1) at the start (Hyper-X, section 2).

    Where training data names corpora, ``e_corpus(c)`` follows the language, which is not in the paper: it takes up what
    is an annotation's habit, so that a language's embedding need not, and prediction may ask for a corpus's style.
    A corpus that a task has not learnt, or none, index -1, is the mean of those that it has.

    In place of a language that has not been learnt for a task, the mean of those that have is used: its own embedding,
    still random or shaped only by other tasks, would be an outlier to the projector. A language that is not there,
    index -1, uses the mean as well. With dropout, pairs use the means in training too, at random.

    With relatives, a language's mean weighs each other language by ``exp(k * similarity)``.

    Args:
        learnt: for each task and language whether the language counts in the task's mean ``[T, G]``; in a task without
            any, all do.
        mean_for_untrained: use the mean for the others; else each language that is there uses its own embedding.
        layers: number of adapted layers L; 0 if each layer has generators of its own (no layer embedding).
        task_dim: size of a task embedding.
        language_dim: size of a language embedding.
        layer_dim: size of a layer embedding.
        dropout: probability that a pair uses the mean of languages in a training step.
        relatives: the number k; 0 if all languages weigh alike. The similarities are a parameter that is never trained,
            zero at the start.
        corpora: for each task and language the index of the corpus that the pair was trained on, -1 for none
            ``[T, G]``; no corpus embeddings if there is none at all.
        corpus_dim: size of a corpus embedding.
        corpus_dropout: probability that a pair uses the mean of corpora in a training step.
    """

    learnt: Tensor
    corpora: Tensor
    learnt_corpora: Tensor

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
        relatives: float = 0.0,
        corpora: Sequence[Sequence[int]] = (),
        corpus_dim: int = 0,
        corpus_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout, self.corpus_dropout, self.mean_for_untrained = dropout, corpus_dropout, mean_for_untrained
        self.task = nn.Parameter(drawn(len(learnt), task_dim))
        self.language = nn.Parameter(drawn(len(learnt[0]), language_dim))
        self.relatives, square = relatives, (len(learnt[0]), len(learnt[0]))
        self.similarity = nn.Parameter(torch.zeros(square), requires_grad=False) if relatives else None
        table = [list(own) for own in corpora] or [[-1] * len(own) for own in learnt]
        count = 1 + max(map(max, table))
        self.corpus = nn.Parameter(drawn(count, corpus_dim)) if count else None
        # On the CPU even where the parameters have no place yet, as they are about to be read from a file.
        self.register_buffer("corpora", torch.tensor(table, device="cpu"), persistent=False)
        own_corpora = [[corpus in own for corpus in range(count)] for own in table]
        self.register_buffer("learnt_corpora", torch.tensor(own_corpora, device="cpu"), persistent=False)
        self.layer = nn.Parameter(drawn(layers, layer_dim)) if layers else None
        rows = [list(own) if any(own) else [True] * len(own) for own in learnt]
        self.register_buffer("learnt", torch.tensor(rows, device="cpu"), persistent=False)

    @property
    def size(self) -> int:
        """Size S of a source embedding."""
        return sum(0 if part is None else part.shape[1] for part in (self.task, self.language, self.corpus, self.layer))

    def language_weights(self, tasks: Tensor, languages: Tensor, similar: Tensor | None = None) -> Tensor:
        """What each language weighs in the means of K pairs ``[K, G]``, 0 where the task has not learnt it; how similar
        a language that is not there is to those of the model, if that is known, say the pairs' rows of ``similar``."""
        weights = self.learnt[tasks].to(self.language.dtype)
        if self.similarity is None:
            return weights
        absent = (languages < 0)[:, None]
        rows = torch.where(absent, 0.0 if similar is None else similar, self.similarity.detach()[languages])
        # In its own mean a language has next to no weight, or all if it is alone.
        own = F.one_hot(languages.clamp(min=0), rows.shape[1]).bool() & ~absent
        return weights * (self.relatives * rows).exp().masked_fill(own, 1e-6)

    def language_vectors(self, tasks: Tensor, languages: Tensor, similar: Tensor | None = None) -> Tensor:
        """The language vectors of K pairs ``[K, language_dim]``: an embedding each, or the mean of the learnt ones."""
        weights = self.language_weights(tasks, languages, similar)
        return self._own_or_mean(self.language, languages, weights, self.mean_for_untrained, self.dropout)

    def corpus_vectors(self, tasks: Tensor, corpora: Tensor) -> Tensor:
        """The corpus vectors of K pairs ``[K, corpus_dim]``: an embedding each, or the mean of those of the task; zero
        for a task without any."""
        assert self.corpus is not None
        weights = self.learnt_corpora[tasks].to(self.corpus.dtype)
        return self._own_or_mean(self.corpus, corpora, weights, True, self.corpus_dropout)

    def _own_or_mean(self, table: Tensor, rows: Tensor, weights: Tensor, only_learnt: bool, dropout: float) -> Tensor:
        """Rows of a table ``[K, D]``, or for some of them the mean of the learnt rows, which have weights ``[K, N]``
        above 0; zero if none is learnt."""
        total = weights.sum(dim=1, keepdim=True)
        shares = weights / torch.where(total > 0, total, 1)
        kept = (rows >= 0)[:, None]
        if only_learnt:
            kept = kept & (weights.gather(1, rows.clamp(min=0)[:, None]) > 0)
        if self.training and dropout > 0:
            kept = kept & (torch.rand(kept.shape, device=kept.device) >= dropout)
        return torch.where(kept, table[rows], shares @ table)

    def forward(
        self,
        tasks: Tensor,
        languages: Tensor,
        corpora: Tensor | None = None,
        shifts: Tensor | None = None,
        similar: Tensor | None = None,
    ) -> Tensor:
        """Source embeddings of K pairs ``[K, L, S]``, or ``[K, 1, S]`` without layer embeddings.

        Args:
            tasks: indices of their tasks ``[K]``.
            languages: indices of their languages ``[K]``, -1 for one that is not there.
            corpora: indices of corpora ``[K]``, -1 for the mean; by default those that the pairs were trained on.
            shifts: what is added to what they read as language ``[K, language_dim]``.
            similar: see :meth:`language_weights`.
        """
        language = self.language_vectors(tasks, languages, similar)
        parts = [self.task[tasks], language if shifts is None else language + shifts]
        if self.corpus is not None:
            own = torch.where(languages >= 0, self.corpora[tasks, languages], -1) if corpora is None else corpora
            parts.append(self.corpus_vectors(tasks, own))
        pair = torch.cat(parts, dim=-1)[:, None]
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
