"""Classification of texts and of pairs of texts: sentiment, topic, natural language inference and the like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hyperx.data.batch.windows import Window
from hyperx.errors import HyperXError
from hyperx.tasks.base import HeadFacts, HeadInput, Result, Scores, Task
from hyperx.tasks.tagging import label_accuracy


class MeanHead(nn.Linear):
    """A linear layer on the mean of the text's hidden states ``[B, T, h]`` without special subwords: ``[B, labels]``.

    The mean suits any encoder: not all have a special first subword, and few of those were trained to represent the
    text in it. For frozen encoders the mean represents sentences better (Reimers and Gurevych 2019).
    """

    takes_rows = True

    def forward(self, given: HeadInput) -> Tensor:  # type: ignore[override]
        if given.words is None:
            raise HyperXError("classification needs the text's subwords: pass words, [B, T], -1 for special ones")
        means = text_means(given.hidden, given.words)
        return given.changed(super().forward(means), means)


def text_means(hidden: Tensor, words: Tensor) -> Tensor:
    """The mean over all subwords except special ones and padding: ``[B, T, h]`` to ``[B, h]``."""
    inside = (words >= 0).to(hidden.dtype)[..., None]
    return (hidden * inside).sum(dim=1) / inside.sum(dim=1).clamp(min=1)


class TextClassification(Task):
    """One label for a text or a pair of texts, measured by accuracy.

    A text longer than a window is trained on window by window; its predicted label is the one with the highest mean of
    the windows' probabilities.
    """

    kind = "cls"
    least_labels = 2
    measure = "accuracy"
    further_measures = ("macro_f1",)

    def head(self, facts: HeadFacts, labels: Sequence[str]) -> nn.Module:
        return MeanHead(facts.hidden_size, len(labels))

    def labels(self, windows: Sequence[Window], length: int) -> Tensor:
        """Label ids ``[B]``."""
        return torch.tensor([int(window.targets[self.column][0]) for window in windows])

    def decode(self, logits: Any, windows: Sequence[Window], labels: Tensor | None, temperatures: Tensor) -> list[Any]:
        """The probabilities of each window's labels ``[2, labels]``."""
        return list(self.log_probabilities(logits, temperatures).exp().transpose(0, 1).cpu().numpy())

    def join(self, parts: Sequence[Any], windows: Sequence[Window], labels: Sequence[str]) -> Result:
        """The label with the highest mean probability over the windows."""
        probabilities = np.stack(parts).astype(np.float64).mean(axis=0)
        best = int(probabilities[0].argmax())
        return Result(labels[best], float(probabilities[1, best]), float(probabilities[0, best]))

    def score(self, gold: Sequence[str], predicted: Sequence[str]) -> Scores:
        """Accuracy and macro F1 over all labels that occur or are predicted; precision, recall and F1 of each."""
        scores = label_accuracy(gold, predicted)
        f1 = [measures["f1"] for measures in scores.by_label.values()]
        return Scores({**scores.measures, "macro_f1": sum(f1) / len(f1) if f1 else None}, scores.by_label)
