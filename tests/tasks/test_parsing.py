"""Dependency parsing: the equations word by word, windows, trees, and the official evaluation."""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperx.data.batch.windows import IGNORED, SubwordEncoder, Subwords, Window
from hyperx.data.read.formats import OUTPUT_FORMATS
from hyperx.data.read.labels import UD_RELATIONS
from hyperx.data.read.sentence import Prediction, Sentence
from hyperx.errors import HyperXError
from hyperx.model import HyperX
from hyperx.pairs import TaskLanguagePair
from hyperx.prediction.predictor import Predictor
from hyperx.tasks.base import HeadInput
from hyperx.tasks.parsing import OUT_OF_SIGHT, Arc, DependencyParsing, ParserHead, ParserLogits
from hyperx.tasks.trees import is_tree
from tiny import tiny_bert, tiny_model, tiny_split, tiny_tokenizer

DEP = DependencyParsing()
LABELS = UD_RELATIONS
SUBWORDS = Subwords(pad=0)
SIZE = 6
# Two windows of four and two words; the first position is the root, the last one's subword is special.
WORDS = torch.tensor([[-1, 0, 0, 1, 2, 3, 3, -1], [-1, 0, 1, 1, -1, -1, -1, -1]])
COUNTS = [4, 2]


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def head(*, projections: bool) -> ParserHead:
    """A head whose every weight is random, its dropout off."""
    made = ParserHead(hidden_size=SIZE, relations=len(LABELS), projections=projections).eval()
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.3, generator=random)
    return made


def scores(*, projections: bool) -> tuple[ParserHead, torch.Tensor, ParserLogits]:
    """In double precision: how far sums in single precision differ depends on the processor."""
    made, hidden = head(projections=projections).double(), seeded(2, 8, SIZE).double()
    return made, hidden, made(HeadInput(hidden, WORDS, torch.zeros(9, SIZE)))


# The equations ----------------------------------------------------------------------------------------------------


def vectors(hidden: torch.Tensor, row: int) -> list[torch.Tensor]:
    """The root and the words of a window, each the mean of its subwords."""
    places = [[0], *([i for i, word in enumerate(WORDS[row].tolist()) if word == w] for w in range(COUNTS[row]))]
    return [torch.stack([hidden[row, place] for place in own]).mean(dim=0) for own in places]


def project(module: torch.nn.Module, x: torch.Tensor, *, projections: bool) -> torch.Tensor:
    if not projections:
        return x
    linear = module[0]
    y = linear.weight @ x + linear.bias
    return torch.where(y > 0, y, 0.1 * y)


@pytest.mark.parametrize("projections", [True, False])
def test_scores_are_the_equations(projections: bool) -> None:
    made, hidden, found = scores(projections=projections)
    one = torch.ones(1, dtype=torch.float64)
    relations = found.relations()
    for row, count in enumerate(COUNTS):
        points = vectors(hidden, row)
        for word in range(count):
            for parent in range(count + 1):
                pair = [(points[word + 1], points[parent])] * 2
                (dependent, governor), (dependent_r, governor_r) = (
                    (project(of_word, x, projections=projections), project(of_head, y, projections=projections))
                    for (of_word, of_head), (x, y) in zip(
                        ((made.arc_dependent, made.arc_head), (made.relation_dependent, made.relation_head)),
                        pair,
                        strict=True,
                    )
                )
                arc = torch.cat([dependent, one]) @ made.arcs.weight[0] @ governor
                torch.testing.assert_close(found.arcs[row, word, parent], arc)
                left, right = torch.cat([dependent_r, one]), torch.cat([governor_r, one])
                wanted = torch.stack([left @ weight @ right for weight in made.relations.weight])
                torch.testing.assert_close(relations[row, word, parent], wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("projections", [True, False])
def test_relations_to_some_heads_are_those_of_all(projections: bool) -> None:
    _, _, found = scores(projections=projections)
    heads = torch.tensor([[2, 0, 4, 1], [0, 1, 0, 0]])
    wanted = torch.stack([torch.stack([found.relations()[b, w, heads[b, w]] for w in range(4)]) for b in range(2)])
    torch.testing.assert_close(found.relations_to(heads), wanted, atol=1e-4, rtol=1e-4)


def test_padding_changes_nothing() -> None:
    made, hidden, found = scores(projections=True)
    alone = made(HeadInput(hidden[1:, :5], WORDS[1:, :5], torch.zeros(9, SIZE)))
    torch.testing.assert_close(alone.arcs[0], found.arcs[1, :2, :3])
    torch.testing.assert_close(alone.possible.softmax(-1)[0], found.possible.softmax(-1)[1, :2, :3])
    assert found.possible.softmax(-1)[1, :2, 3:].eq(0).all()


def test_trees_are_decoded_outside_of_mixed_precision() -> None:
    made, hidden = head(projections=True), seeded(2, 8, SIZE)
    windows = [Window(row.numpy(), row.numpy(), 0, COUNTS[index]) for index, row in enumerate(WORDS)]
    with torch.no_grad():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            short = made(HeadInput(hidden, WORDS, torch.zeros(9, SIZE)))
        assert short.dependents.dtype == torch.bfloat16
        long = replace(short, dependents=short.dependents.float(), heads=short.heads.float())
        decoded = [DEP.decode(logits, windows, None, torch.ones(2)) for logits in (short, long)]
        for found, expected in zip(*decoded, strict=True):
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other)


def test_words_are_needed() -> None:
    with pytest.raises(HyperXError, match="needs the word of each subword"):
        head(projections=True)(HeadInput(seeded(2, 8, SIZE), None, torch.zeros(9, SIZE)))


def test_loss_is_the_mean_over_words_of_both_cross_entropies() -> None:
    _, _, found = scores(projections=True)
    labels = torch.full((2, 4, 2), IGNORED)
    gold = {(0, 0): (2, 5), (0, 1): (0, 31), (0, 3): (4, 7), (1, 1): (1, 3)}
    for (row, word), arc in gold.items():
        labels[row, word] = torch.tensor(arc)
    arcs, relations = [], []
    for (row, word), (parent, relation) in gold.items():
        arcs.append(-found.arcs[row, word, : COUNTS[row] + 1].log_softmax(-1)[parent])
        relations.append(-found.relations()[row, word, parent].log_softmax(-1)[relation])
    wanted = torch.stack(arcs).mean() + torch.stack(relations).mean()
    torch.testing.assert_close(DEP.loss(found, labels).sum(), wanted.float(), atol=1e-5, rtol=1e-5)
    assert DEP.loss(found, torch.full((2, 4, 2), IGNORED)).tolist() == [0, 0]


# Labels of a batch ------------------------------------------------------------------------------------------------


def window(words: Sequence[int], start: int, stop: int, **targets: np.ndarray) -> Window:
    numbers = np.array([-1, *words, -1], dtype=np.int32)
    return Window(np.arange(len(numbers), dtype=np.int32), numbers, start, stop, targets=targets)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def test_labels_count_heads_within_the_window_and_leave_out_what_it_does_not_see() -> None:
    targets = {"head": ints(3, 1, 0, 6, 3, 4), "deprel": ints(10, 11, 12, 13, 14, 15)}
    whole = window([0, 0, 1, 2, 3, 4, 5], 0, 6, **targets)
    part = window([2, 3, 4, 5, 5], 3, 6, **targets)
    early = window([0, 1, 2, 3], 0, 3, **targets)
    labels = DEP.labels([whole, part, early], 9)
    none = [IGNORED, IGNORED]
    assert labels.tolist() == [
        [[3, 10], [1, 11], [0, 12], [6, 13], [3, 14], [4, 15]],
        [none, [4, 13], [1, 14], [2, 15], none, none],
        [[3, 10], [1, 11], [0, 12], none, none, none],
    ]
    # A head before or behind the window.
    assert DEP.labels([window([1, 2, 3], 1, 4, **targets)], 5).tolist() == [[none, [0, 12], none]]


# Decoding ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parser() -> HyperX:
    model = tiny_model(
        encoder=tiny_bert(layers=2),
        max_length=20,
        kinds={"dep": "dep"},
        labels={"dep": LABELS},
        trained_pairs=("dep#en",),
        parser_projections=False,
    )
    model.tokenizer = tiny_tokenizer()
    return model


SENTENCES = [["bad", "a", "e"], ["a"], ["ab", "cd", "e"] * 7, ["abc"] * 30, ["\u200b", "ab"]]


def predicted(parser: HyperX, *, batch_size: int) -> list[tuple[Arc, ...]]:
    windows = SubwordEncoder(tiny_tokenizer(), max_length=20).windows(SENTENCES)
    results = Predictor(parser).results(TaskLanguagePair("dep", "de"), windows, batch_size=batch_size)
    return [result.labels for result in results]


def test_every_sentence_is_one_tree_whatever_its_company(parser: HyperX) -> None:
    found = predicted(parser, batch_size=1)
    assert [len(arcs) for arcs in found] == list(map(len, SENTENCES))
    for arcs in found:
        assert is_tree(np.array([arc.head for arc in arcs]))
        assert [arc.relation == "root" for arc in arcs] == [arc.head == 0 for arc in arcs]
    assert predicted(parser, batch_size=3) == predicted(parser, batch_size=64) == found


def test_nothing_but_the_root_is_called_root(parser: HyperX) -> None:
    eager = copy.deepcopy(parser)
    with torch.no_grad():
        # The last row is the bias of the words: `root` is the likeliest relation to every head.
        eager.heads["dep"].relations.weight[LABELS.index("root"), -1, -1] += 1e4
    for arcs in predicted(eager, batch_size=4):
        assert [arc.relation == "root" for arc in arcs] == [arc.head == 0 for arc in arcs]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_a_confidence_is_that_of_the_arc_times_that_of_its_relation(parser: HyperX, temperature: float) -> None:
    unsure = copy.deepcopy(parser)
    unsure.config = replace(unsure.config, temperatures={"dep": {"seen": temperature}})
    with torch.no_grad():
        unsure.heads["dep"].relations.weight.mul_(0.01)  # so that `root`, which no word may have, has its share
    windows = list(SubwordEncoder(tiny_tokenizer(), max_length=20).windows([["bad", "cab", "a", "de", "e"]]))
    (result,) = Predictor(unsure).results(TaskLanguagePair("dep", "en"), windows, batch_size=1)
    ((window,),) = windows
    ids, words = (torch.from_numpy(numbers).long()[None] for numbers in (window.ids, window.words))
    with torch.no_grad():
        logits = unsure("dep#en", ids, None, words=words).logits
    for confidences, by in ((result.confidences, temperature), (result.uncalibrated, 1.0)):
        (arcs,), (relations,) = ((scores.detach() / by).softmax(dim=-1) for scores in (logits.arcs, logits.relations()))
        for word, (arc, confidence) in enumerate(zip(result.labels, confidences, strict=True)):
            relation = relations[word, arc.head, LABELS.index(arc.relation)].item() if arc.head else 1
            assert confidence == pytest.approx(arcs[word, arc.head].item() * relation, rel=1e-4)


def test_windows_are_joined_to_one_tree() -> None:
    """Two windows of three words that share one; each is sure of its own words' heads, counted within the window."""
    windows = [window([0, 1, 2], 0, 2), window([2, 3, 4], 2, 5)]
    sure = [{0: 2, 1: 0}, {2: 0, 3: 1, 4: 2}]  # the second window takes its first word for the root
    parts = []
    for own, heads in zip(windows, sure, strict=True):
        arcs = np.full((own.stop - own.start, 4), -9.0)
        for word, parent in heads.items():
            arcs[word - own.start, parent] = -0.1
        if own.start == 0:
            arcs[1, 3] = -0.5
        parts.append((np.stack([arcs] * 2), np.full((2, *arcs.shape), -0.5), np.full((1, *arcs.shape), 3)))
    result = DEP.join(parts, windows, LABELS)
    # Two words want to be the root; the first window knows another head for its own, at less cost than any other.
    assert [arc.head for arc in result.labels] == [2, 3, 0, 3, 4]
    assert [arc.relation for arc in result.labels] == [LABELS[3], LABELS[3], "root", LABELS[3], LABELS[3]]
    assert result.confidences == pytest.approx([np.exp(-x) for x in (0.6, 1.0, 0.1, 0.6, 0.6)])


def test_arcs_that_no_window_shows_are_the_last_resort() -> None:
    windows = [window([0], 0, 1), window([1], 1, 2)]
    parts = [(np.array([[[-0.1, -9.0]]] * 2), np.full((2, 1, 2), -0.5), np.full((1, 1, 2), 3))] * 2
    result = DEP.join(parts, windows, LABELS)
    assert sorted(arc.head for arc in result.labels) in ([0, 1], [0, 2])
    assert min(result.confidences) == pytest.approx(np.exp(OUT_OF_SIGHT))


# Measures ---------------------------------------------------------------------------------------------------------


def test_scores_by_hand() -> None:
    gold = [(Arc(2, "det"), Arc(0, "root"), Arc(2, "obj")), (Arc(0, "root"),)]
    found = [(Arc(2, "det"), Arc(0, "root"), Arc(1, "obj")), (Arc(0, "acl"),)]
    scored = DEP.score(gold, found)
    assert scored.measures == {"uas": 3 / 4, "las": 2 / 4}
    assert scored.by_label["root"] == pytest.approx({"precision": 1, "recall": 0.5, "f1": 2 / 3, "support": 2})
    assert scored.by_label["obj"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}
    assert DEP.score([], []).measures == {"uas": None, "las": None}


def test_a_word_without_a_relation_counts_for_its_head_alone() -> None:
    scored = DEP.score([(Arc(0, "root"), Arc(1, "_"))], [(Arc(0, "root"), Arc(1, "obj"))])
    assert scored.measures == {"uas": 1, "las": 1}
    assert scored.by_label.keys() == {"root"}


@st.composite
def parsed(draw: st.DrawFn) -> tuple[list[tuple[Arc, ...]], list[tuple[Arc, ...]]]:
    """Gold and predicted trees of some sentences: each word hangs on an earlier one in a drawn order."""

    def tree(words: int) -> tuple[Arc, ...]:
        order = draw(st.permutations(range(1, words + 1)))
        heads = {order[0]: 0} | {
            word: order[draw(st.integers(0, place - 1))] for place, word in enumerate(order[1:], start=1)
        }
        relation = st.sampled_from(["nsubj", "obj", "punct", "aux", "flat", "case"])
        return tuple(Arc(heads[word], "root" if heads[word] == 0 else draw(relation)) for word in range(1, words + 1))

    lengths = draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    return [tree(count) for count in lengths], [tree(count) for count in lengths]


def conllu_of(trees: Sequence[tuple[Arc, ...]]) -> str:
    sentences = [Sentence(tuple(f"w{number}" for number in range(len(arcs)))) for arcs in trees]
    predictions = [
        Prediction(sentence, {"dep": arcs}, {"dep": DEP.annotation(arcs)})
        for sentence, arcs in zip(sentences, trees, strict=True)
    ]
    return "".join(OUTPUT_FORMATS["conllu"].render(one, number) for number, one in enumerate(predictions, start=1))


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(parsed())
def test_las_and_uas_are_those_of_the_official_evaluation(
    trees: tuple[list[tuple[Arc, ...]], list[tuple[Arc, ...]]],
) -> None:
    official = pytest.importorskip("udtools.udeval")
    gold, found = trees
    kind = {"no_gapping": 0, "no_shared_parents_in_coordination": 0, "no_shared_dependents_in_coordination": 0}
    kind |= {"no_control": 0, "no_external_arguments_of_relative_clauses": 0, "no_case_info": 0}
    kind |= {"no_empty_nodes": 0, "multiple_roots_okay": 0}
    files = [official.load_conllu(io.StringIO(conllu_of(side)), "memory", treebank_type=kind) for side in (gold, found)]
    evaluated = official.evaluate(*files)
    measures = DEP.score(gold, found).measures
    assert measures["las"] == pytest.approx(evaluated["LAS"].f1)
    assert measures["uas"] == pytest.approx(evaluated["UAS"].f1)


def test_gold_comes_back_from_disk(tmp_path: Path) -> None:
    sentence = Sentence(words=("a", "b"), columns={"head": (2, 0), "deprel": ("det", "root")})
    split = tiny_split(tmp_path / "split", DEP, [sentence])
    assert DEP.gold(split) == [(Arc(2, "det"), Arc(0, "root"))]
