"""Classification: the head's mean, windows joined to one label, and measures against a literal count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperx.data.batch.windows import Window
from hyperx.tasks.base import HeadFacts, HeadInput
from hyperx.tasks.registry import make_tasks

MOOD = make_tasks({"mood": "cls"})["mood"]
LABELS = ("bad", "fair", "good")
exact = settings(derandomize=True, database=None, deadline=None, max_examples=100)


def window(length: int, label: int = 0) -> Window:
    words = np.array([-1, *[0] * length, -1], dtype=np.int32)
    return Window(np.arange(length + 2, dtype=np.int32), words, targets={"label": np.array([label])})


def test_labels_are_those_of_the_data_in_alphabetical_order() -> None:
    assert MOOD.label_set(["good", "bad", "good", "10", "9"]) == ("10", "9", "bad", "good")
    assert MOOD.label_set([]) == ()
    assert MOOD.least_labels == 2


def test_the_head_reads_the_mean_of_the_texts_subwords() -> None:
    head = MOOD.head(HeadFacts(hidden_size=6, embedding_size=6, vocabulary_size=9), LABELS)
    hidden = torch.randn(3, 7, 6, generator=torch.Generator().manual_seed(0))
    words = torch.tensor([[-1, 0, 0, -1, -1, 1, -1], [-1, 0, -1, -1, -1, -1, -1], [0, 0, 0, 0, 0, 1, 1]])
    logits = head(HeadInput(hidden, words, torch.zeros(9, 6)))
    assert logits.shape == (3, 3)
    chosen = [[1, 2, 5], [1], list(range(7))]
    for row, places in enumerate(chosen):
        mean = sum(hidden[row, place] for place in places) / len(places)
        torch.testing.assert_close(logits[row], head.weight @ mean + head.bias)


def test_a_batch_has_one_label_a_window() -> None:
    labels = MOOD.labels([window(3 + row, label) for row, label in enumerate([2, 0, 2])], 7)
    assert labels.tolist() == [2, 0, 2]
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    expected = -sum(torch.log_softmax(logits[row], dim=0)[label] for row, label in enumerate([2, 0, 2])) / 3
    torch.testing.assert_close(MOOD.loss(logits, labels), expected)


def test_the_windows_probabilities_are_averaged() -> None:
    shares = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.5, 0.4], [0.2, 0.5, 0.3]])
    windows = [window(4)] * 3
    result = MOOD.join(MOOD.decode(shares.log() + 5, windows, None, torch.ones(3)), windows, LABELS)
    assert (result.labels, result.confidences) == ("fair", pytest.approx(1.3 / 3))
    first = MOOD.join(MOOD.decode(shares[:1].log(), windows[:1], None, torch.ones(1)), windows[:1], LABELS)
    assert (first.labels, first.confidences) == ("bad", pytest.approx(0.6))
    assert MOOD.annotation("fair") == {}


def test_a_temperature_changes_confidences_alone() -> None:
    """The label stays that of the highest mean at temperature 1, although at 0.1 another one's mean is higher."""
    shares = torch.tensor([[0.55, 0.45, 0.0], [0.55, 0.45, 0.0], [0.05, 0.35, 0.6]])
    windows = [window(4)] * 3
    result = MOOD.join(MOOD.decode(shares.log() + 5, windows, None, torch.full((3,), 0.1)), windows, LABELS)
    cooled = (shares**10 / (shares**10).sum(dim=1, keepdim=True)).mean(dim=0)
    assert LABELS.index(result.labels) == shares.mean(dim=0).argmax() != cooled.argmax()
    assert result.confidences == pytest.approx(float(cooled[LABELS.index(result.labels)]))
    assert result.uncalibrated == pytest.approx(float(shares.mean(dim=0).max()))


@exact
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), max_size=12))
def test_measures_are_a_literal_count(pairs: list[tuple[str, str]]) -> None:
    gold, predicted = [a for a, _ in pairs], [b for _, b in pairs]
    scores = MOOD.score(gold, predicted)
    f1 = []
    for label in sorted({*gold, *predicted}):
        right = sum(a == b == label for a, b in pairs)
        f1.append(2 * right / (gold.count(label) + predicted.count(label)))
        assert scores.by_label[label]["f1"] == pytest.approx(f1[-1])
        assert scores.by_label[label]["support"] == gold.count(label)
    assert scores.measures == pytest.approx(
        {
            "accuracy": sum(a == b for a, b in pairs) / len(pairs) if pairs else None,
            "macro_f1": sum(f1) / len(f1) if f1 else None,
        }
    )
    assert MOOD.measure in scores.measures
