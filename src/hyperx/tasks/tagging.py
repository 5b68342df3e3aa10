"""Tasks that give each word a label: part-of-speech tagging and named entity recognition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
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
        by_label = _by_label(Counter(wanted), Counter(found), correct)
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
        wanted, found, both = Counter[str](), Counter[str](), Counter[str]()
        for gold_tags, predicted_tags in zip(gold, predicted, strict=True):
            gold_spans, predicted_spans = set(spans(gold_tags)), set(spans(predicted_tags))
            wanted.update(kind for kind, _, _ in gold_spans)
            found.update(kind for kind, _, _ in predicted_spans)
            both.update(kind for kind, _, _ in gold_spans & predicted_spans)
        overall = _precision_recall_f1(wanted.total(), found.total(), both.total())
        del overall["support"]
        pairs = list(zip(_flat(gold), _flat(predicted), strict=True))
        overall["accuracy"] = sum(a == b for a, b in pairs) / max(len(pairs), 1)
        return Scores(overall, _by_label(wanted, found, both))


def _by_label(wanted: Counter[str], found: Counter[str], both: Counter[str]) -> dict[str, dict[str, float]]:
    return {label: _precision_recall_f1(wanted[label], found[label], both[label]) for label in sorted(wanted | found)}


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
