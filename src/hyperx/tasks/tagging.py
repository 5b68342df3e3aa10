"""Tasks that give each word a label: part-of-speech tagging and named entity recognition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hyperx.config import DataOptions
from hyperx.data.batch.windows import IGNORED, Ints, Window
from hyperx.data.read.labels import NO_LABEL, UPOS_TAGS
from hyperx.data.read.spans import span_confidence, spans
from hyperx.tasks.base import HeadFacts, HeadInput, Result, Scores, Task, precision_recall_f1, scores_by_label

Floats = NDArray[np.floating[Any]]

ENTITY_TYPES = ("PER", "ORG", "LOC")


class LinearHead(nn.Linear):
    """A linear layer on every hidden state, ``[B, T, h]`` to ``[B, T, labels]``; those of first subwords count."""

    takes_rows = True

    def forward(self, given: HeadInput) -> Tensor:  # type: ignore[override]
        return given.changed(super().forward(given.hidden), given.hidden)


class TaggingTask(Task):
    """A linear head on the first subword of every word."""

    def head(self, facts: HeadFacts, labels: Sequence[str]) -> nn.Module:
        return LinearHead(facts.hidden_size, len(labels))

    def labels(self, windows: Sequence[Window], length: int) -> Tensor:
        """Label ids at the first subwords of owned words ``[B, T]``."""
        labels = np.full((len(windows), length), IGNORED)
        for row, window in zip(labels, windows, strict=True):
            row[window.first_subwords] = window.targets[self.column][window.start : window.stop]
        return torch.from_numpy(labels)

    def decode(self, logits: Any, windows: Sequence[Window], labels: Tensor | None, temperatures: Tensor) -> list[Any]:
        """The log-probabilities of each label at each owned word ``[2, words, labels]``."""
        scores = self.log_probabilities(logits, temperatures).cpu().numpy()
        return [scores[:, row][:, window.first_subwords] for row, window in enumerate(windows)]

    def join(self, parts: Sequence[Any], windows: Sequence[Window], labels: Sequence[str]) -> Result:
        """The labels of the words of all windows, in order."""
        scores = np.concatenate(parts, axis=1)[..., : len(labels)]  # other languages of the batch may have more
        best = self.best(scores[0], labels)
        plain, calibrated = np.exp(scores[:, np.arange(len(best)), best], dtype=np.float64).tolist()
        return Result(tuple(labels[label] for label in best.tolist()), tuple(calibrated), tuple(plain))

    def best(self, scores: Floats, labels: Sequence[str]) -> Ints:
        """The label of each word ``[words]``, given the log-probabilities of all ``[words, labels]``."""
        return np.asarray(scores.argmax(axis=1), dtype=np.int32)


class PartOfSpeech(TaggingTask):
    """Universal part-of-speech tags, measured by accuracy over words."""

    kind = "pos"
    no_label = NO_LABEL
    measure = "accuracy"

    def label_set(self, seen: Iterable[str]) -> tuple[str, ...]:
        """Always the 17 universal tags and ``_``."""
        return UPOS_TAGS

    def score(self, gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Scores:
        """Accuracy, and precision, recall and F1 of each tag, over the words that have one."""
        pairs = zip(_flat(gold), _flat(predicted), strict=True)
        tagged = [pair for pair in pairs if pair[0] != NO_LABEL]
        return label_accuracy([tag for tag, _ in tagged], [tag for _, tag in tagged])


def label_accuracy(gold: Sequence[str], predicted: Sequence[str]) -> Scores:
    """Accuracy, and precision, recall and F1 of each label, from two lists of labels."""
    correct = Counter(a for a, b in zip(gold, predicted, strict=True) if a == b)
    by_label = scores_by_label(Counter(gold), Counter(predicted), correct)
    return Scores({"accuracy": correct.total() / len(gold) if gold else None}, by_label)


class NamedEntities(TaggingTask):
    """Named entities in BIO, measured by the F1 of exact spans. Predictions are always well-formed BIO."""

    kind = "ner"
    measure = "f1"

    def declared(self, options: DataOptions) -> tuple[str, ...]:
        """B- and I- of the types that the user names."""
        return tuple(f"{prefix}-{kind}" for kind in options.entity_types for prefix in "BI")

    def label_set(self, seen: Iterable[str]) -> tuple[str, ...]:
        """O, then B- and I- of every type: PER, ORG and LOC first, others in alphabetical order."""
        types = {label[2:] for label in seen if label != "O"}
        ordered = [known for known in ENTITY_TYPES if known in types or not types]
        ordered += sorted(types.difference(ENTITY_TYPES))
        return ("O", *(f"{prefix}-{kind}" for kind in ordered for prefix in "BI"))

    def best(self, scores: Floats, labels: Sequence[str]) -> Ints:
        """The most probable sequence in which every I- continues an entity of its type: another I- is in no span."""
        return best_path(scores, bio_moves(tuple(labels)))

    def decisions(self, logits: Any, labels: Tensor, names: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        """Each word that is in an entity, or would be: the many others would decide the temperature by themselves."""
        ((scores, right),) = super().decisions(logits, labels, names)
        inside = (right != names.index("O")) | (scores.argmax(dim=-1) != names.index("O"))
        return [(scores[inside], right[inside])]

    def outcomes(self, gold: Any, labels: Any, confidences: Any) -> list[tuple[float, bool]]:
        """Of each predicted entity."""
        right = spans(gold)
        return [(span_confidence(confidences[one[1] : one[2]]), one in right) for one in spans(labels)]

    def counts(self, gold: Any, labels: Any) -> tuple[int, int, int]:
        """Those of entities."""
        wanted, found = set(spans(gold)), set(spans(labels))
        return len(wanted & found), len(found), len(wanted)

    def score(self, gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Scores:
        """Span F1, precision and recall (type and both ends must agree), which are undefined if gold has no span, and
        accuracy over words."""
        in_gold, in_predicted, in_both = Counter[str](), Counter[str](), Counter[str]()
        for gold_tags, predicted_tags in zip(gold, predicted, strict=True):
            gold_spans, predicted_spans = set(spans(gold_tags)), set(spans(predicted_tags))
            in_gold.update(kind for kind, _, _ in gold_spans)
            in_predicted.update(kind for kind, _, _ in predicted_spans)
            in_both.update(kind for kind, _, _ in gold_spans & predicted_spans)
        overall = precision_recall_f1(in_gold.total(), in_predicted.total(), in_both.total())
        measures = {name: overall[name] if in_gold else None for name in ("precision", "recall", "f1")}
        pairs = list(zip(_flat(gold), _flat(predicted), strict=True))
        measures["accuracy"] = sum(a == b for a, b in pairs) / len(pairs) if pairs else None
        return Scores(measures, scores_by_label(in_gold, in_predicted, in_both))


@cache
def bio_moves(labels: tuple[str, ...]) -> NDArray[np.bool_]:
    """Whether a label may follow another ``[before, after]``; a sentence may begin as after O (the last row)."""
    inside = [label.removeprefix("I-") if label.startswith("I-") else None for label in labels]
    return np.array(
        [[kind is None or before in (f"B-{kind}", f"I-{kind}") for kind in inside] for before in (*labels, "O")]
    )


def best_path(scores: Floats, moves: NDArray[np.bool_]) -> Ints:
    """The allowed path with the highest sum of scores ``[words, labels]`` (Viterbi 1967), given :func:`bio_moves`."""
    best = np.asarray(scores.argmax(axis=1), dtype=np.int32)
    if not len(best) or moves[np.r_[-1, best[:-1]], best].all():
        return best
    cost = np.where(moves, 0.0, -np.inf)
    total, back = scores[0] + cost[-1], np.zeros(scores.shape, dtype=np.int32)
    for word in range(1, len(scores)):
        paths = total[:, None] + cost[:-1]
        back[word] = paths.argmax(axis=0)
        total = paths.max(axis=0) + scores[word]
    best[-1] = total.argmax()
    for word in range(len(best) - 1, 0, -1):
        best[word - 1] = back[word, best[word]]
    return best


def _flat(sentences: Sequence[Sequence[str]]) -> list[str]:
    return [label for sentence in sentences for label in sentence]
