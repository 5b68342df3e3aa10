"""Masking against its definition, the tied head against its equation, and perplexity by hand."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hyperx.data.batch.windows import IGNORED, SubwordEncoder, Subwords, Window
from hyperx.data.read.sentence import Sentence
from hyperx.model import HyperX
from hyperx.pairs import TaskLanguagePair
from hyperx.prediction.predictor import Predictor
from hyperx.tasks.base import HeadFacts, HeadInput
from hyperx.tasks.masking import MaskedLanguageModelling, MaskedLMHead
from hyperx.tasks.registry import make_tasks
from tiny import tiny_model, tiny_tokenizer

MLM = make_tasks({"mlm": "mlm"})["mlm"]
exact = settings(derandomize=True, database=None, deadline=None, max_examples=100)

PAD, UNK, CLS, SEP, MASK = range(5)
SUBWORDS = Subwords(pad=PAD, mask=MASK, vocabulary_size=60, special=frozenset(range(5)))


def window(ids: list[int], sentence: int = 0, start: int = 0) -> Window:
    """The subwords between two special ones."""
    full = np.array([CLS, *ids, SEP], dtype=np.int32)
    words = np.array([-1, *[0] * len(ids), -1], dtype=np.int32)
    return Window(full, words, start, start + len(ids), sentence)


def masked(windows: list[Window], *seed: int) -> tuple[list[np.ndarray], torch.Tensor]:
    draw = np.random.default_rng(seed or (0,))
    found = [MLM.masked(window, SUBWORDS, draw) for window in windows]
    return [window.ids for window in found], MLM.labels(found, max(len(window.ids) for window in found))


# Masking --------------------------------------------------------------------------------------------------------------


@exact
@given(st.lists(st.integers(0, 59), min_size=1, max_size=80), st.integers(0, 99))
def test_what_is_hidden(ids: list[int], seed: int) -> None:
    """Only ordinary subwords are asked for; a seventh of them, and one at least; all else stays as it is."""
    given_window = window(ids)
    (found,), labels = masked([given_window], seed)
    asked = (labels[0] != IGNORED).numpy()
    ordinary = np.array([False, *(i >= 5 for i in ids), False])
    assert not (asked & ~ordinary).any()
    wanted = 0.15 * ordinary.sum()
    assert asked.sum() == (0 if not ordinary.any() else max(1, round(wanted)))
    assert abs(asked.sum() - wanted) <= 0.5 or wanted < 1
    assert (labels[0].numpy()[asked] == given_window.ids[asked]).all()
    assert (found[~asked] == given_window.ids[~asked]).all()
    assert set(found[asked]) <= {MASK, *range(5, 60)}
    assert found.dtype == given_window.ids.dtype


def test_shares_of_masked_replaced_and_kept() -> None:
    """Of 15,000 asked positions; a random subword is the old one in one of 55 draws."""
    given_window = window([7] * 1000)
    fates = Counter[str]()
    replaced = set()
    for seed in range(100):
        (found,), labels = masked([given_window], seed)
        for value in found[(labels[0] != IGNORED).numpy()].tolist():
            fates["masked" if value == MASK else "kept" if value == 7 else "replaced"] += 1
            replaced.add(value)
    assert fates.total() == 100 * 150
    shares = {fate: count / fates.total() for fate, count in fates.items()}
    # A random special subword would be no text: the mask stands in for it.
    special = 0.1 * 5 / 60
    assert shares == pytest.approx(
        {"masked": 0.8 + special, "replaced": 0.1 * 54 / 60, "kept": 0.1 + 0.1 / 60}, abs=0.01
    )
    assert replaced == {MASK, *range(5, 60)}


def test_every_place_is_hidden_now_and_then() -> None:
    places = {
        int(place) for seed in range(200) for place in (masked([window([9] * 20)], seed)[1][0] != IGNORED).nonzero()
    }
    assert places == set(range(1, 21))


def test_rows_are_padded_to_the_batch() -> None:
    draw = np.random.default_rng(0)
    windows = [MLM.masked(window(ids), SUBWORDS, draw) for ids in ([8] * 10, [9] * 3)]
    labels = MLM.labels(windows, 30)
    assert labels.shape == (2, 30)
    assert (labels[:, 12:] == IGNORED).all()
    assert (labels[1, 5:] == IGNORED).all()


def test_a_tokenizer_without_a_mask_is_a_problem() -> None:
    assert "no mask subword" in (MLM.problem(Subwords(pad=0)) or "")
    assert MLM.problem(SUBWORDS) is None
    assert make_tasks({"pos": "pos"})["pos"].problem(Subwords(pad=0)) is None


# The head -------------------------------------------------------------------------------------------------------------


def literal(head: MaskedLMHead, hidden: list[float], embeddings: list[list[float]], epsilon: float) -> list[float]:
    """The equation for one position, number by number."""

    def linear(weight: list[list[float]], x: list[float], bias: list[float]) -> list[float]:
        return [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weight, bias, strict=True)]

    x = linear(head.dense.weight.tolist(), hidden, head.dense.bias.tolist())
    x = [0.5 * value * (1 + math.erf(value / math.sqrt(2))) for value in x]
    mean = sum(x) / len(x)
    scale = math.sqrt(sum((value - mean) ** 2 for value in x) / len(x) + epsilon)
    weight, bias = head.norm.weight.tolist(), head.norm.bias.tolist()
    x = [(value - mean) / scale * w + b for value, w, b in zip(x, weight, bias, strict=True)]
    return linear(embeddings, x, head.bias.tolist())


def random_head() -> MaskedLMHead:
    torch.manual_seed(0)
    head = MaskedLMHead(HeadFacts(hidden_size=6, embedding_size=4, vocabulary_size=9, norm_epsilon=1e-3))
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    return head


def test_the_head_is_its_equation() -> None:
    head = random_head()
    hidden, embeddings = torch.randn(2, 3, 6), torch.randn(9, 4)
    logits = head(HeadInput(hidden, None, embeddings))
    assert logits.shape == (2, 3, 9)
    for row in range(2):
        for place in range(3):
            wanted = literal(head, hidden[row, place].tolist(), embeddings.tolist(), 1e-3)
            assert logits[row, place].tolist() == pytest.approx(wanted, abs=1e-4)


def test_with_labels_only_their_places_are_computed() -> None:
    head = random_head()
    hidden, embeddings = torch.randn(2, 3, 6), torch.randn(9, 4)
    labels = torch.tensor([[IGNORED, 3, IGNORED], [5, IGNORED, 8]])
    everywhere = head(HeadInput(hidden, None, embeddings))
    logits = head(HeadInput(hidden, None, embeddings, labels))
    torch.testing.assert_close(logits, torch.stack([everywhere[0, 1], everywhere[1, 0], everywhere[1, 2]]))
    wanted = nn.functional.cross_entropy(everywhere.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(MLM.loss(logits, labels), wanted)


def test_without_anything_hidden_the_loss_is_zero() -> None:
    head = random_head()
    labels = torch.full((2, 3), IGNORED)
    loss = MLM.loss(head(HeadInput(torch.randn(2, 3, 6), None, torch.randn(9, 4), labels)), labels)
    loss.backward()
    assert loss.item() == 0
    assert head.bias.grad is not None
    assert head.bias.grad.equal(torch.zeros(9))


@pytest.fixture
def masked_model(monkeypatch: pytest.MonkeyPatch) -> HyperX:
    model = tiny_model(labels={"mlm": ()}, trained_pairs=("mlm#en",))
    model.tokenizer = object()
    monkeypatch.setattr(Subwords, "of", lambda _: SUBWORDS)
    return model


def test_the_embeddings_are_the_encoders_and_stay_frozen(masked_model: HyperX) -> None:
    model = masked_model
    shapes = {name: tuple(parameter.shape) for name, parameter in model.heads["mlm"].named_parameters()}
    assert shapes == {
        "dense.weight": (32, 32), "dense.bias": (32,), "norm.weight": (32,), "norm.bias": (32,), "bias": (60,),
    }  # fmt: skip
    assert not any("word_embeddings" in name for name in model.trained_names())
    ids = torch.randint(5, 60, (2, 8))
    labels = torch.full((2, 8), IGNORED)
    labels[:, 3] = ids[:, 3]
    output = model("mlm#en", ids, torch.ones_like(ids), labels=labels)
    output.loss.backward()
    assert model.word_embeddings.grad is None
    assert all(parameter.grad is not None for parameter in model.heads["mlm"].parameters())
    before = output.logits
    with torch.no_grad():
        model.word_embeddings[7] += 1
        # The last row of logits reads the embedding as it is now.
        after = model("mlm#en", ids, torch.ones_like(ids), labels=labels).logits
    assert not torch.equal(before[:, 7], after[:, 7])


def test_an_encoder_that_is_trained_as_a_whole_trains_its_embeddings_through_the_head_too(masked_model: HyperX) -> None:
    model = masked_model
    model.requires_grad_(True)
    ids = torch.full((1, 4), 8)
    labels = torch.tensor([[IGNORED, 8, IGNORED, IGNORED]])
    model("mlm#en", ids, torch.ones_like(ids), labels=labels).loss.backward()
    # Subword 50 stands nowhere in the batch: only the decoder reads its embedding.
    assert model.word_embeddings.grad is not None
    assert model.word_embeddings.grad[50].abs().sum() > 0


# Perplexity -----------------------------------------------------------------------------------------------------------


def test_perplexity_by_hand() -> None:
    """Three subwords of probability 1/2, 1/4 and 1/8 over two windows: the geometric mean is 1/4."""
    logits = torch.log(torch.tensor([[0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.125, 0.375, 0.25, 0.25]]))
    labels = torch.tensor([[IGNORED, 0, 2], [IGNORED, IGNORED, 0], [IGNORED, IGNORED, IGNORED]])
    windows = [window([6, 6]), window([6, 6], start=2), window([6, 6], sentence=1)]
    parts = MLM.decode(logits, windows, labels, torch.ones(3))
    assert [count for _, count in parts] == [2, 1, 0]
    assert [loss for loss, _ in parts] == pytest.approx([math.log(8), math.log(8), 0], abs=1e-6)
    results = [MLM.join(parts[:2], windows[:2], ()), MLM.join(parts[2:], windows[2:], ())]
    assert results[0].labels == (pytest.approx(math.log(64)), 3)
    scores = MLM.score([None, None], [result.labels for result in results])
    assert scores.measures == {"perplexity": pytest.approx(4.0)}
    assert scores.by_label == {}


def test_perplexity_is_a_number_if_there_is_text() -> None:
    assert MLM.score([], []).measures == {"perplexity": None}
    assert MLM.score([None], [(1e9, 1)]).measures["perplexity"] < math.inf


def test_results_do_not_depend_on_the_company(masked_model: HyperX) -> None:
    """What is hidden in a window follows from its place; batches and their order change nothing."""
    model = masked_model
    draw = np.random.default_rng(0)
    passages = []
    for sentence in range(12):
        lengths = draw.integers(1, 30, size=draw.integers(1, 4)).tolist()
        starts = np.cumsum([0, *lengths]).tolist()
        passages.append(
            [
                window(draw.integers(5, 60, size=length).tolist(), sentence, start)
                for length, start in zip(lengths, starts, strict=False)
            ]
        )

    def results(batch_size: int, order: list[int]) -> dict[int, tuple[float, int]]:
        windows = [passages[index] for index in order]
        results = Predictor(model).results(TaskLanguagePair("mlm", "en"), windows, batch_size=batch_size)
        found = [result.labels for result in results]
        return dict(zip(order, found, strict=True))

    alone, together = results(1, list(range(12))), results(5, list(range(12))[::-1])
    for index in range(12):
        assert together[index][1] == alone[index][1] >= 1
        assert together[index][0] == pytest.approx(alone[index][0], rel=1e-4)
    losses = [loss for loss, _ in alone.values()]
    assert len(set(losses)) == len(losses)


def test_the_same_passage_is_asked_otherwise_at_another_place(masked_model: HyperX) -> None:
    model = masked_model
    passages = [[window(list(range(5, 25)), *place)] for place in ((0, 0), (0, 20), (1, 0), (0, 0))]
    results = Predictor(model).results(TaskLanguagePair("mlm", "en"), passages, batch_size=4)
    losses = [result.labels[0] for result in results]
    assert losses[0] == losses[3]
    assert len(set(losses)) == 3


# Windows of text ------------------------------------------------------------------------------------------------------

ENCODER = SubwordEncoder(tiny_tokenizer(), max_length=16)
TEXTS = st.lists(st.text("abcdex \u200b", max_size=120), max_size=12)


@exact
@given(TEXTS)
def test_text_windows_hold_every_subword_once(texts: list[str]) -> None:
    windows = ENCODER.text_windows(texts)
    assert len(windows) == len(texts)
    for text, own in zip(texts, windows, strict=True):
        wanted = ENCODER.backend.encode(text, add_special_tokens=False).ids or [UNK]
        assert [int(i) for window in own for i in window.ids[1:-1]] == wanted
        assert all(window.ids[0] == CLS and window.ids[-1] == SEP for window in own)
        assert all(len(window.ids) <= 16 for window in own)
        assert len(own) == math.ceil(len(wanted) / 14)
        assert max(len(w.ids) for w in own) - min(len(w.ids) for w in own) <= 1
        assert [w.stop - w.start for w in own] == [len(w.ids) - 2 for w in own]
        assert [w.start for w in own] == [0, *(w.stop for w in own)][:-1]
        assert all((w.words == np.where(np.isin(np.arange(len(w.ids)), [0, len(w.ids) - 1]), -1, 0)).all() for w in own)


def test_the_task_reads_the_text_of_sentences() -> None:
    assert isinstance(MLM, MaskedLanguageModelling)
    sentences = [Sentence(words=("x", "y"), text="bad bad"), Sentence(words=(), text="a")]
    (first,), (second,) = MLM.windows(ENCODER, sentences)
    assert first.ids.tolist() == [CLS, 14, 14, SEP]
    assert second.ids.tolist() == [CLS, 4, SEP]
