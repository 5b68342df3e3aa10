"""Measures against hand counts and a set computation; label sets; the loss."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperx.data.batch.windows import IGNORED
from hyperx.data.read.labels import UPOS_TAGS
from hyperx.data.read.spans import spans
from hyperx.tasks.base import HeadFacts, HeadInput
from hyperx.tasks.registry import make_tasks
from hyperx.tasks.tagging import TaggingTask

TASKS = make_tasks({"ner": "ner", "pos": "pos"})
NER, POS = TASKS["ner"], TASKS["pos"]
exact = settings(derandomize=True, database=None, deadline=None, max_examples=150)
Span = tuple[int, str, int, int]


def strict_spans(sentences: list[list[str]]) -> set[Span]:
    """(sentence, type, first, last) of spans that begin with B- and go on with I- of the same type."""
    found = set()
    for number, tags in enumerate(sentences):
        for first, tag in enumerate(tags):
            if not tag.startswith("B-"):
                continue
            last = first
            while last + 1 < len(tags) and tags[last + 1] == "I-" + tag[2:]:
                last += 1
            found.add((number, tag[2:], first, last))
    return found


def brute_force(gold: set[Span], predicted: set[Span]) -> dict[str, float]:
    both = len(gold & predicted)
    precision = both / len(predicted) if predicted else 0.0
    recall = both / len(gold) if gold else 0.0
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if both else 0.0,
    }


@st.composite
def tagged(draw: st.DrawFn, labels: list[str]) -> tuple[list[list[str]], list[list[str]]]:
    """Gold and predicted labels of some sentences; often they agree."""
    tag = st.sampled_from(labels)
    word = st.tuples(tag, tag) | tag.map(lambda label: (label, label))
    sentences = draw(st.lists(st.lists(word, min_size=1, max_size=8), min_size=1, max_size=5))
    gold, predicted = ([[pair[side] for pair in sentence] for sentence in sentences] for side in (0, 1))
    return gold, predicted


# Named entities ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gold", "predicted", "precision", "recall"),
    [
        ("B-PER I-PER O B-LOC", "B-PER I-PER O B-LOC", 1, 1),
        ("B-PER I-PER O B-LOC", "B-PER O O B-LOC", 1 / 2, 1 / 2),
        ("B-PER I-PER O B-LOC", "B-ORG I-ORG O B-LOC", 1 / 2, 1 / 2),
        ("B-PER I-PER O O", "O I-PER O O", 0, 0),
        ("B-PER I-PER O O", "I-PER I-PER O O", 0, 0),
        ("B-PER I-PER O O", "B-PER I-LOC O O", 0, 0),
        ("B-PER I-PER O O", "B-PER B-PER O O", 0, 0),
        ("B-PER O O O", "B-PER O B-LOC B-ORG", 1 / 3, 1),
        ("B-PER B-PER B-PER O", "B-PER O O O", 1, 1 / 3),
        ("B-PER O O O", "O O O O", 0, 0),
    ],
)
def test_span_f1_by_hand(gold: str, predicted: str, precision: float, recall: float) -> None:
    measures = NER.score([gold.split()], [predicted.split()]).measures
    f1 = 2 * precision * recall / (precision + recall) if precision else 0
    accuracy = sum(a == b for a, b in zip(gold.split(), predicted.split(), strict=True)) / 4
    assert measures == pytest.approx({"precision": precision, "recall": recall, "f1": f1, "accuracy": accuracy})


@exact
@given(tagged(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]))
def test_span_f1_is_a_set_computation(sentences: tuple[list[list[str]], list[list[str]]]) -> None:
    gold, predicted = sentences
    scores = NER.score(gold, predicted)
    wanted, found = strict_spans(gold), strict_spans(predicted)
    measures = {name: value for name, value in scores.measures.items() if name != "accuracy"}
    undefined = dict.fromkeys(("precision", "recall", "f1"))
    assert measures == (pytest.approx(brute_force(wanted, found)) if wanted else undefined)
    kinds = {span[1] for span in wanted | found}
    assert set(scores.by_label) == kinds
    for kind in kinds:
        of_kind = {span for span in wanted if span[1] == kind}, {span for span in found if span[1] == kind}
        assert scores.by_label[kind] == pytest.approx(brute_force(*of_kind) | {"support": len(of_kind[0])})


def test_spans_do_not_cross_sentences() -> None:
    measures = NER.score([["B-PER"], ["I-PER"]], [["B-PER"], ["O"]]).measures
    assert measures["f1"] == 1


@pytest.mark.parametrize("predicted", ["B-PER O O O", "O O O O"])
def test_without_gold_spans_their_measures_are_undefined(predicted: str) -> None:
    measures = NER.score([["O"] * 4], [predicted.split()]).measures
    accuracy = predicted.split().count("O") / 4
    assert measures == {"precision": None, "recall": None, "f1": None, "accuracy": accuracy}


@pytest.mark.parametrize(
    ("seen", "labels"),
    [
        ([], "O B-PER I-PER B-ORG I-ORG B-LOC I-LOC"),
        (["O"], "O B-PER I-PER B-ORG I-ORG B-LOC I-LOC"),
        (["I-LOC", "O", "B-PER"], "O B-PER I-PER B-LOC I-LOC"),
        (["B-MISC", "B-LOC", "B-DATE-TIME"], "O B-LOC I-LOC B-DATE-TIME I-DATE-TIME B-MISC I-MISC"),
    ],
)
def test_entity_labels(seen: list[str], labels: str) -> None:
    assert NER.label_set(seen) == NER.label_set(reversed(seen)) == tuple(labels.split())


# Parts of speech --------------------------------------------------------------------------------------------------


def test_pos_labels_are_fixed() -> None:
    assert POS.label_set(["NOUN"]) == POS.label_set([]) == UPOS_TAGS
    assert len(set(UPOS_TAGS)) == 18


def test_accuracy_by_hand() -> None:
    """A word with the tag `_` has none: it is not scored."""
    scores = POS.score([["NOUN", "NOUN", "VERB", "ADJ"], ["_"]], [["NOUN", "VERB", "VERB", "X"], ["X"]])
    assert scores.measures == {"accuracy": 0.5}
    assert scores.by_label == {
        "NOUN": pytest.approx({"precision": 1, "recall": 0.5, "f1": 2 / 3, "support": 2}),
        "VERB": pytest.approx({"precision": 0.5, "recall": 1, "f1": 2 / 3, "support": 1}),
        "X": {"precision": 0, "recall": 0, "f1": 0, "support": 0},
        "ADJ": {"precision": 0, "recall": 0, "f1": 0, "support": 1},
    }


@exact
@given(tagged(["NOUN", "VERB", "ADJ", "X"]))
def test_accuracy_is_a_set_computation(sentences: tuple[list[list[str]], list[list[str]]]) -> None:
    gold, predicted = (
        [(i, j, label) for i, row in enumerate(side) for j, label in enumerate(row)] for side in sentences
    )
    scores = POS.score(*sentences)
    assert scores.measures == pytest.approx({"accuracy": len(set(gold) & set(predicted)) / len(gold)})
    for label, measures in scores.by_label.items():
        wanted, found = ({place for place in side if place[2] == label} for side in (gold, predicted))
        assert measures == pytest.approx(brute_force(wanted, found) | {"support": len(wanted)})


# Loss and head ----------------------------------------------------------------------------------------------------


def test_loss_is_the_mean_cross_entropy_of_labelled_positions() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 4, generator=random, requires_grad=True)
    labels = torch.randint(0, 4, (3, 5), generator=random)
    labels[torch.rand(3, 5, generator=random) < 0.4] = IGNORED
    loss = POS.loss(logits, labels)
    wanted = [
        -torch.log_softmax(logits[row, position], dim=0)[labels[row, position]]
        for row in range(3)
        for position in range(5)
        if labels[row, position] != IGNORED
    ]
    torch.testing.assert_close(loss, torch.stack(wanted).mean())
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()))


def test_loss_without_labels_is_zero_with_zero_gradient() -> None:
    logits = torch.randn(2, 3, 4, requires_grad=True)
    loss = NER.loss(logits, torch.full((2, 3), IGNORED))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.equal(torch.zeros(2, 3, 4))


def test_loss_in_half_precision_is_computed_in_full() -> None:
    logits = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.tensor([[0, 1, 3]])
    assert NER.loss(logits, labels).equal(NER.loss(logits.float(), labels))


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_what_both_tasks_have(task: TaggingTask) -> None:
    head = task.head(HeadFacts(hidden_size=6, embedding_size=6, vocabulary_size=9), ("a", "b", "c"))
    assert head(HeadInput(torch.zeros(2, 5, 6), None, torch.zeros(9, 6))).shape == (2, 5, 3)
    assert task.score([], []).measures.keys() >= {task.measure}
    assert set(task.score([], []).measures.values()) == {None}
    with pytest.raises(ValueError, match="zip"):
        task.score([["O", "O"]], [["O"]])


@exact
@given(tagged(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]))
def test_span_f1_is_that_of_nervaluate(sentences: tuple[list[list[str]], list[list[str]]]) -> None:
    evaluator = pytest.importorskip("nervaluate.evaluator", reason="nervaluate needs Python 3.11")
    gold, predicted = sentences

    def listed(tags: list[str]) -> list[dict[str, object]]:
        return [{"label": kind, "start": start, "end": end - 1} for kind, start, end in spans(tags)]

    kinds = ["PER", "LOC"]
    if not any(map(listed, gold)):
        return
    results = evaluator.Evaluator([listed(t) for t in gold], [listed(t) for t in predicted], tags=kinds, loader="dict")
    expected = results.evaluate()["overall"]["strict"].f1
    assert NER.score(gold, predicted).measures["f1"] == pytest.approx(expected)


# Decoding ---------------------------------------------------------------------------------------------------------

LABELS = NER.label_set([])


def is_bio(tags: Sequence[str]) -> bool:
    """Whether every I- stands behind a label of its type."""
    return all(tag[0] != "I" or before[1:] == tag[1:] for before, tag in itertools.pairwise(("O", *tags)))


@exact
@given(st.lists(st.lists(st.integers(-4, 0), min_size=7, max_size=7), min_size=1, max_size=3))
def test_entities_are_the_best_well_formed_labels(rows: list[list[int]]) -> None:
    """Against all sequences of labels. Small whole numbers: some sequences are equally good."""
    scores = np.array([rows] * 2, dtype=np.float32)
    found = NER.join([scores], [], LABELS)
    assert is_bio(found.labels)
    sequences = itertools.product(range(len(LABELS)), repeat=len(rows))
    well_formed = [path for path in sequences if is_bio([LABELS[label] for label in path])]
    best = max(sum(rows[word][label] for word, label in enumerate(path)) for path in well_formed)
    path = [LABELS.index(label) for label in found.labels]
    assert sum(rows[word][label] for word, label in enumerate(path)) == best
    assert found.confidences == pytest.approx([np.exp(rows[word][label]) for word, label in enumerate(path)])


@exact
@given(st.lists(st.sampled_from(LABELS), min_size=1, max_size=12), st.integers(1, 11))
def test_well_formed_labels_are_found_as_they_are_over_windows(tags: list[str], cut: int) -> None:
    for word, (before, tag) in enumerate(itertools.pairwise(("O", *tags))):
        tags[word] = tag if is_bio([before.replace("I-", "B-"), tag]) else tag.replace("I-", "B-")
    scores = np.log(np.where(np.array(tags)[:, None] == np.array(LABELS), 0.4, 0.1))
    parts = [np.stack([part] * 2) for part in (scores[:cut], scores[cut:]) if len(part)]
    assert NER.join(parts, [], LABELS).labels == tuple(tags)


def test_an_entity_is_mended_by_what_is_most_probable() -> None:
    """Labels that no sentence can have, taken one by one: PER continued as ORG, and an I- at the beginning."""
    scores = np.full((2, 2, 7), -9.0)
    scores[:, 0, LABELS.index("B-PER")], scores[:, 0, LABELS.index("B-ORG")] = -0.5, -0.6
    scores[:, 1, LABELS.index("I-ORG")], scores[:, 1, LABELS.index("I-PER")] = -0.1, -0.8
    assert NER.join([scores], [], LABELS).labels == ("B-ORG", "I-ORG")
    assert NER.join([scores[:, 1:]], [], LABELS).labels == ("O",)
    assert POS.join([scores], [], LABELS).labels == ("B-PER", "I-ORG")
