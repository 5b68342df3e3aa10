"""Tagging: the same labels for any batch size, order and company."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperx.data.batch.store import EncodedSplit
from hyperx.data.batch.windows import SubwordEncoder, Window
from hyperx.data.read.sentence import Sentence
from hyperx.evaluation.scores import PairScores, evaluate_pairs
from hyperx.model import HyperX
from hyperx.pairs import TaskLanguagePair
from hyperx.prediction.predictor import POOL, SPREAD, Predictor, batches_alike
from hyperx.tasks.base import Result
from hyperx.tasks.tagging import PartOfSpeech
from tiny import LABELS, tiny_bert, tiny_model, tiny_split, tiny_tokenizer

PAIR = TaskLanguagePair("pos", "de")
RANDOM = random.Random(0)


def word() -> str:
    return "".join(RANDOM.choices("abcde", k=RANDOM.randint(1, 4)))


# Lengths from one word to several windows of 20 subwords, and words that the tokenizer makes nothing of.
SENTENCES = [[word() for _ in range(count)] for count in (1, 9, 3, 40, 2, 1, 17, 25, 4, 6)] + [["\u200b", "ab", "x"]]


def windows_of(sentences: Sequence[Sequence[str]]) -> list[list[Window]]:
    return list(SubwordEncoder(tiny_tokenizer(), max_length=20).windows(sentences))


def label(
    model: HyperX, sentences: Sequence[Sequence[str]], *, batch_size: int = 4, pair: TaskLanguagePair = PAIR
) -> list[Result]:
    return list(Predictor(model).results(pair, windows_of(sentences), batch_size=batch_size))


def assert_same(found: Sequence[Result], wanted: Sequence[Result]) -> None:
    assert [words.labels for words in found] == [words.labels for words in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.confidences == pytest.approx(other.confidences, abs=1e-5)


@pytest.fixture(scope="module")
def model() -> HyperX:
    model = tiny_model(encoder=tiny_bert(layers=2), max_length=20)
    model.tokenizer = tiny_tokenizer()
    return model


@pytest.fixture(scope="module")
def alone(model: HyperX) -> list[Result]:
    """Every sentence by itself."""
    return [label(model, [sentence], batch_size=1)[0] for sentence in SENTENCES]


def test_labels_are_the_best_logits_at_first_subwords(model: HyperX, alone: list[Result]) -> None:
    """One short sentence by hand."""
    index = 2
    encoding = tiny_tokenizer()(SENTENCES[index], is_split_into_words=True)
    starts = [encoding.word_ids().index(number) for number in range(3)]
    ids = torch.tensor([encoding["input_ids"]])
    with torch.no_grad():
        probabilities = model("pos#de", ids, torch.ones_like(ids)).logits[0].softmax(dim=-1)[starts]
    assert alone[index].labels == tuple(LABELS["pos"][row.argmax()] for row in probabilities)
    assert alone[index].confidences == pytest.approx(probabilities.max(dim=-1).values.tolist(), abs=1e-6)


def test_every_word_has_a_label(alone: list[Result]) -> None:
    assert [len(words.labels) for words in alone] == [len(words.confidences) for words in alone]
    assert [len(words.labels) for words in alone] == list(map(len, SENTENCES))
    assert len({label for words in alone for label in words.labels}) > 1
    assert all(0 < confidence <= 1 for words in alone for confidence in words.confidences)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 64])
@pytest.mark.parametrize("enough", [0, 9, 256])
def test_batch_size_changes_nothing(
    model: HyperX, alone: list[Result], batch_size: int, enough: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hyperx.prediction.predictor.ENOUGH", {"cpu": enough})
    assert_same(label(model, SENTENCES, batch_size=batch_size), alone)


@pytest.mark.parametrize("order", [range(10, -1, -1), [3, 3, 0, 10, 7, 3]])
def test_order_and_company_change_nothing(model: HyperX, alone: list[Result], order: Sequence[int]) -> None:
    assert_same(label(model, [SENTENCES[index] for index in order]), [alone[index] for index in order])


@settings(derandomize=True, database=None, deadline=None)
@given(st.lists(st.integers(2, 60)).map(sorted), st.integers(1, 10), st.integers(0, 300))
def test_batches_hold_all_windows_and_differ_little_in_length(lengths: list[int], batch_size: int, enough: int) -> None:
    batches = list(batches_alike(lengths, batch_size, enough))
    assert [place for rows in batches for place in rows] == list(range(len(lengths)))
    for rows, following in itertools.pairwise(batches):
        reason = lengths[following.start] > lengths[rows.start] * SPREAD
        assert len(rows) == batch_size or (reason and sum(lengths[rows.start : rows.stop]) >= enough)
    for rows in batches:
        assert 1 <= len(rows) <= batch_size
        before_last = lengths[rows.start : rows.stop - 1]
        assert sum(before_last) < enough or lengths[rows.stop - 1] <= lengths[rows.start] * SPREAD


def test_sentences_are_read_a_pool_at_a_time(model: HyperX, alone: list[Result]) -> None:
    read = []

    def endless() -> Iterator[list[Window]]:
        for windows in itertools.cycle(windows_of(SENTENCES)):
            read.append(windows)
            yield windows

    results = Predictor(model).results(PAIR, endless(), batch_size=1)
    first = next(results)
    assert len(read) == POOL
    count = 2 * POOL + 3
    wanted = list(itertools.islice(itertools.cycle(alone), count))
    assert_same([first, *itertools.islice(results, count - 1)], wanted)


def test_empty_sentence_and_no_sentences(model: HyperX, alone: list[Result]) -> None:
    found = label(model, [[], SENTENCES[1], []])
    assert [words.labels for words in found] == [(), alone[1].labels, ()]
    assert label(model, []) == []


def test_pairs_differ(model: HyperX, alone: list[Result]) -> None:
    other = label(model, SENTENCES, pair=TaskLanguagePair("pos", "tr"))
    assert [words.confidences for words in other] != [words.confidences for words in alone]


@pytest.fixture
def split(tmp_path: Path) -> EncodedSplit:
    """The sentences with some tags."""
    sentences = [
        Sentence(words=tuple(words), columns={"upos": tuple(LABELS["pos"][i % 3] for i in range(len(words)))})
        for words in SENTENCES
    ]
    return tiny_split(tmp_path / "split", PartOfSpeech(), sentences, max_length=20)


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_scores_what_the_predictor_says(model: HyperX, split: EncodedSplit, training: bool) -> None:
    assert [len(windows) for windows in split.by_sentence()] == list(map(len, windows_of(SENTENCES)))
    pairs = [PAIR, TaskLanguagePair("pos", "en")]
    model.train(training)
    results = list(evaluate_pairs(model, dict.fromkeys(pairs, split), batch_size=3))
    assert model.training == training
    model.eval()
    assert [result.pair for result in results] == pairs
    for result in results:
        predicted = [list(words.labels) for words in label(model, SENTENCES, pair=result.pair)]
        wanted = PartOfSpeech().score(PartOfSpeech().gold(split), predicted)
        assert result.scores.by_label == wanted.by_label
        assert result.scores.measures.items() > wanted.measures.items()  # and calibration errors
        assert result.value == result.scores.measures["accuracy"]
        assert result.sentences == len(SENTENCES)


def test_the_score_without_repeats_is_that_of_the_other_sentences(
    model: HyperX, alone: list[Result], split: EncodedSplit
) -> None:
    def scored(repeats: set[int]) -> PairScores:
        return next(evaluate_pairs(model, {PAIR: split}, batch_size=3, repeats={PAIR: repeats}))

    repeats = {1, 3, 6}
    others = [index for index in range(len(SENTENCES)) if index not in repeats]
    gold = PartOfSpeech().gold(split)
    wanted = PartOfSpeech().score([gold[index] for index in others], [alone[index].labels for index in others])
    found = scored(repeats)
    assert (found.repeats, found.sentences, found.without_repeats) == (3, len(SENTENCES), wanted)
    assert wanted.measures["accuracy"] != found.value == scored(set()).value
    assert scored(set()).without_repeats is None
    assert scored(set(range(len(SENTENCES)))).without_repeats is None
