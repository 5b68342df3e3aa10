"""Tasks that give each word a label: part-of-speech tagging and named entity recognition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from nervaluate.evaluator import Evaluator
from torch import Tensor, nn

from hyperx.data.labels import UPOS_TAGS
from hyperx.data.spans import spans
from hyperx.tasks.base import IGNORED, Scores, Task

ENTITY_TYPES = ("PER", "ORG", "LOC")


class TaggingTask(Task):
    """A linear head on the first subword of every word."""

    def head(self, *, hidden_size: int, labels: Sequence[str]) -> nn.Module:
        """Linear, ``[B, T, h]`` to ``[B, T, labels]``."""
        return nn.Linear(hidden_size, len(labels))

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, mean over the words."""
        total = nn.functional.cross_entropy(
            logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        return total / torch.clamp((labels != IGNORED).sum(), min=1)


class PartOfSpeech(TaggingTask):
    """Universal part-of-speech tags, measured by accuracy over words."""

    name = "pos"
    column = "upos"
    measure = "accuracy"

    def label_set(self, seen: Iterable[str]) -> tuple[str, ...]:  # noqa: ARG002
        """Always the 17 universal tags and ``_``."""
        return UPOS_TAGS

    def score(self, gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Scores:
        """Accuracy, and precision, recall and F1 of each tag."""
        wanted, found = _flat(gold), _flat(predicted)
        correct = Counter(a for a, b in zip(wanted, found, strict=True) if a == b)
        counts, found_counts = Counter(wanted), Counter(found)
        by_label = {
            label: _precision_recall_f1(counts[label], found_counts[label], correct[label])
            for label in sorted(counts | found_counts)
        }
        return Scores({"accuracy": sum(correct.values()) / max(len(wanted), 1)}, by_label)


class NamedEntities(TaggingTask):
    """Named entities in BIO, measured by the F1 of exact spans."""

    name = "ner"
    column = "ner"
    measure = "f1"

    def label_set(self, seen: Iterable[str]) -> tuple[str, ...]:
        """O, then B- and I- of every type: PER, ORG and LOC first, further ones in alphabetical order."""
        types = {label[2:] for label in seen if label != "O"}
        ordered = [known for known in ENTITY_TYPES if known in types or not types]
        ordered += sorted(types.difference(ENTITY_TYPES))
        return ("O", *(f"{prefix}-{kind}" for kind in ordered for prefix in "BI"))

    def score(self, gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Scores:
        """Span F1, precision and recall (type and both ends must agree), and accuracy over words."""
        wanted, found = [_span_dicts(tags) for tags in gold], [_span_dicts(tags) for tags in predicted]
        kinds = sorted({span["label"] for sentence in [*wanted, *found] for span in sentence})
        if not wanted:
            return Scores({"precision": 0.0, "recall": 0.0, "f1": 0.0, "accuracy": 0.0})
        results = Evaluator(wanted, found, tags=kinds, loader="dict").evaluate()
        by_label = {kind: _strict(results["entities"][kind]) for kind in kinds}
        measures = {name: value for name, value in _strict(results["overall"]).items() if name != "support"}
        pairs = list(zip(_flat(gold), _flat(predicted), strict=True))
        return Scores(measures | {"accuracy": sum(a == b for a, b in pairs) / max(len(pairs), 1)}, by_label)


def _span_dicts(tags: Sequence[str]) -> list[dict[str, Any]]:
    """Strict BIO spans in the form that nervaluate reads, ends included."""
    return [{"label": kind, "start": start, "end": end - 1} for kind, start, end in spans(tags)]


def _strict(results: Mapping[str, Any]) -> dict[str, float]:
    strict = results["strict"]
    return {
        "precision": float(strict.precision),
        "recall": float(strict.recall),
        "f1": float(strict.f1),
        "support": strict.possible,
    }


def _precision_recall_f1(wanted: int, found: int, both: int) -> dict[str, float]:
    """From counts; 0 where a count is 0."""
    return {
        "precision": both / max(found, 1),
        "recall": both / max(wanted, 1),
        "f1": 2 * both / max(wanted + found, 1),
        "support": wanted,
    }


def _flat(sentences: Sequence[Sequence[str]]) -> list[str]:
    return [label for sentence in sentences for label in sentence]
