"""Masked language modelling on raw text (Devlin et al. 2019), which trains the weights that other tasks share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hyperx.data.batch.store import EncodedSplit
from hyperx.data.batch.windows import IGNORED, SubwordEncoder, Subwords, Window, padded
from hyperx.data.read.sentence import Sentence
from hyperx.device import placed
from hyperx.tasks.base import HeadFacts, HeadInput, Result, Scores, Task, cross_entropy

ASKED = 0.15
"""Share of a window's subwords that are to be predicted (Devlin et al. 2019, section 3.1)."""
MASKED, REPLACED = 0.8, 0.1
"""Shares of those that are replaced by the mask subword or by a random one; the others are left as they are."""
LARGEST_EXPONENT = 700.0
"""A perplexity with a larger exponent would overflow."""


class MaskedLMHead(nn.Module):
    """``norm(act(dense x)) W_E^T + bias`` with the encoder's word embeddings ``W_E [V, E]``, which are given at every
    call and belong to the encoder: the head neither trains nor saves them."""

    def __init__(self, facts: HeadFacts) -> None:
        super().__init__()
        from transformers.activations import ACT2FN  # takes a second, which `hyperx check` can avoid

        self.dense = nn.Linear(facts.hidden_size, facts.embedding_size)
        self.activation = ACT2FN[facts.activation]
        self.norm = nn.LayerNorm(facts.embedding_size, eps=facts.norm_epsilon)
        self.bias = nn.Parameter(torch.zeros(facts.vocabulary_size))

    def forward(self, given: HeadInput) -> Tensor:
        """Logits at the M positions that have labels ``[M, V]``, row by row; without labels at all ``[B, T, V]``.

        Labels on the CPU are counted there; counting them on a GPU would mean waiting for it.
        """
        hidden = given.hidden
        if given.labels is not None:
            asked = (given.labels.flatten() != IGNORED).nonzero().squeeze(1)
            hidden = hidden.flatten(0, 1).index_select(0, placed(asked, hidden.device))
        return nn.functional.linear(self.norm(self.activation(self.dense(hidden))), given.embeddings, self.bias)


class MaskedLanguageModelling(Task):
    """Masked subwords are predicted from those around them; measured by perplexity."""

    kind = "mlm"
    columns = ()
    measure = "perplexity"
    counts_labels = True
    starts_from_masked_lm = True

    def problem(self, subwords: Subwords) -> str | None:
        if subwords.mask is None:
            return "its tokenizer has no mask subword to hide others with; choose one that was trained by masking"
        return None

    def windows(self, encoder: SubwordEncoder, sentences: Sequence[Sentence]) -> list[list[Window]]:
        return encoder.text_windows([sentence.text or "" for sentence in sentences])

    def head(self, facts: HeadFacts, labels: Sequence[str]) -> nn.Module:
        return MaskedLMHead(facts)

    def loss(self, logits: Any, labels: Tensor) -> Tensor:
        """Mean negative log-likelihood of the subwords to predict."""
        return cross_entropy(logits, placed(labels[labels != IGNORED], logits.device))

    def masked(self, window: Window, subwords: Subwords, draw: np.random.Generator) -> Window:
        """A window of which some subwords are to be predicted: of those that are not special 15 %, but at least one.

        80 % of them are masked, 10 % replaced by a random subword, 10 % left as they are. Targets ``asked`` ``[T]``
        are the original ids at these places, else :data:`IGNORED`.
        """
        assert subwords.mask is not None, "see problem"
        special = list(subwords.special)
        ordinary = np.flatnonzero((window.words >= 0) & ~np.isin(window.ids, special))
        count = min(len(ordinary), max(1, round(ASKED * len(ordinary))))
        asked = draw.choice(ordinary, count, replace=False)
        ids, labels = window.ids.copy(), np.full(len(window.ids), IGNORED, dtype=np.int32)
        labels[asked] = ids[asked]
        fate = draw.random(count)
        random = draw.integers(subwords.vocabulary_size, size=count)
        random[np.isin(random, special)] = subwords.mask
        ids[asked] = np.where(fate < MASKED, subwords.mask, np.where(fate < MASKED + REPLACED, random, ids[asked]))
        return replace(window, ids=ids, targets={"asked": labels})

    def labels(self, windows: Sequence[Window], length: int) -> Tensor:
        """The ids to predict at their places ``[B, T]``."""
        return padded([window.targets["asked"] for window in windows], IGNORED, length)

    def decode(self, logits: Any, windows: Sequence[Window], labels: Tensor | None, temperatures: Tensor) -> list[Any]:
        """For each window the sum of the negative log-likelihoods, and their number."""
        assert labels is not None
        asked = labels != IGNORED
        losses = nn.functional.cross_entropy(logits.float(), labels[asked].to(logits.device), reduction="none")
        rows = asked.nonzero()[:, 0].numpy()
        sums = np.bincount(rows, weights=losses.cpu().double().numpy(), minlength=len(windows))
        return list(zip(sums.tolist(), np.bincount(rows, minlength=len(windows)).tolist(), strict=True))

    def join(self, parts: Sequence[Any], windows: Sequence[Window], labels: Sequence[str]) -> Result:
        """Both sums over the windows of a passage."""
        return Result((math.fsum(loss for loss, _ in parts), sum(count for _, count in parts)))

    def gold(self, split: EncodedSplit) -> list[Any]:
        """None for each passage: the text itself is predicted."""
        return [None] * split.sentence_count

    def score(self, gold: Sequence[Any], predicted: Sequence[tuple[float, int]]) -> Scores:
        """``exp(loss / count)`` over all subwords to predict."""
        total, count = math.fsum(loss for loss, _ in predicted), sum(count for _, count in predicted)
        return Scores({"perplexity": math.exp(min(total / count, LARGEST_EXPONENT)) if count else None})
