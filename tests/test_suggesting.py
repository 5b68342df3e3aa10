"""Which sentences of a text are chosen for people to label."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperx
import toy
from hyperx.cli import main
from hyperx.data.read.formats import read_file
from hyperx.prediction.request import read_texts
from hyperx.prediction.suggesting import PRIOR, chosen, suggest
from tiny import tiny_model, tiny_tokenizer

pytestmark = pytest.mark.usefixtures("isolated")


def cosine(one: Sequence[int], other: Sequence[int], every: Sequence[Sequence[int]]) -> float:
    """Literally that of the two sentences' tf-idf."""
    first, second = (
        {item: count * math.log(len(every) / sum(item in own for own in every)) for item, count in Counter(own).items()}
        for own in (one, other)
    )
    norms = [math.sqrt(sum(weight**2 for weight in own.values())) for own in (first, second)]
    product = sum(weight * second.get(item, 0.0) for item, weight in first.items())
    return product / (norms[0] * norms[1]) if all(norms) else 0.0


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_each_is_as_uncertain_as_possible_and_unlike_those_before(data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=5), min_size=1, max_size=8))
    doubts = data.draw(st.lists(st.floats(0.01, 1), min_size=len(texts), max_size=len(texts)))
    samples = data.draw(st.integers(1, 9))
    found = chosen(np.array(doubts), [np.array(own, dtype=np.int32) for own in texts], samples)
    assert len(found) == len(set(found)) == min(samples, len(texts))
    for place, own in enumerate(found):
        worth = {
            index: doubts[index]
            * (1 - max((cosine(texts[index], texts[one], texts) for one in found[:place]), default=0))
            for index in range(len(texts))
            if index not in found[:place]
        }
        assert worth[own] == pytest.approx(max(worth.values()), abs=1e-9)


def test_of_equals_the_first_is_chosen_and_of_copies_no_second_before_all_others() -> None:
    texts = [np.array(own, dtype=np.int32) for own in ([1, 2], [1, 2], [3, 4], [5, 6])]
    assert chosen(np.array([0.9, 0.9, 0.2, 0.2]), texts, 4) == [0, 2, 3, 1]


def test_uncertainty_is_a_mean_over_words_to_which_average_ones_are_added() -> None:
    model = tiny_model()
    model.tokenizer = tiny_tokenizer()
    texts = [["Ada"], ["cat", "sees", "Ada"], ["the", "river"], ["Alan", "Turing", "takes", "the", "house", "."]]
    found = suggest(
        model, read_texts(texts, None, language="en", reads={"words"}), tasks=["ner", "pos"], language="en", samples=3
    )
    doubts = [
        [1 - value for task in ("ner", "pos") for value in one.confidences[task]]
        for one in hyperx.predict(texts, model=model, task=["ner", "pos"], language="en", confidences=True)
        if one.confidences is not None
    ]
    mean = sum(map(sum, doubts)) / sum(map(len, doubts))
    wanted = [(sum(own) + PRIOR * mean) / (len(own) + PRIOR) for own in doubts]
    first = max(range(len(texts)), key=lambda index: wanted[index])
    assert [*found[0].words] == texts[first]
    assert len(found) == 3
    assert found[0].labels.keys() == {"ner", "pos"}
    assert suggest(model, [], tasks=["ner"], language="en", samples=3) == []


# The command ----------------------------------------------------------------------------------------------------------

TEXT = "cat sees Ada Lovelace .\nriver likes London !\ndog finds tree .\nGrace Hopper moves stone .\n"


@pytest.fixture
def words(trained: Path) -> list[str]:
    """The command, with a file of four sentences."""
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    return ["suggest", str(trained), *toy.QUIET, "--input", "text.txt"]


def test_what_is_suggested_is_corrected_and_learnt(
    words: list[str], trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--pairs", "ner#gsw", "--output", "few.json", "--samples", "2"]) == 0
    assert "Chosen: 2 of 4 sentences, in few.json" in " ".join(capsys.readouterr().out.split())
    tasks = json.loads(Path("few.json").read_text(encoding="utf-8"))
    label = {"value": {"start": 0, "end": 3, "text": tasks[0]["data"]["text"][:3], "labels": ["PER"]}, "type": "labels"}
    export = [{"id": 1, "data": one["data"], "annotations": [{"result": [label]}]} for one in tasks[:1]]
    Path("export.json").write_text(json.dumps(export), encoding="utf-8")
    learn = ["--train", "export.json", "--max_train_steps", "2", "--folds", "0", "--output", "gsw.addon"]
    assert main(["adapt", str(trained), *toy.QUIET, "--pairs", "ner#gsw", *learn]) == 0
    capsys.readouterr()
    again = ["--pairs", "ner#gsw", "--add_on", "gsw.addon", "--labelled", "export.json", "--output", "more.jsonl"]
    assert main([*words, *again]) == 0
    more = [json.loads(line)["text"] for line in Path("more.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {*more} == {*TEXT.splitlines()} - {tasks[0]["data"]["text"]}


def test_several_tasks_stand_in_one_file_of_conllu(words: list[str]) -> None:
    assert (
        main(
            [*words, "--pairs", "pos#de", "ner#de", "--output", "few.conllu", "--pool", "3", "--input_format", "tokens"]
        )
        == 0
    )
    file = Path("few.conllu").absolute()
    assert file.read_text(encoding="utf-8").count("# sent_id") == 3
    # By its own labels the model is right.
    scores = hyperx.evaluate(words[1], ["pos#de"], split="train", data={"pos#de": {"train": str(file)}}, no_cuda=True)
    assert scores["pos#de"].value == 1
    assert next(read_file(file, "ner")).columns["ner"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--output", "a.jsonl"], "--pairs: name a pair"),
        (
            ["--pairs", "ner#de", "pos#en", "--output", "a.conllu"],
            "--pairs: name a pair, such as ner#sw, or several of one",
        ),
        (["--pairs", "ner#de"], "--output: name a file that ends in .jsonl or .json or .conllu"),
        (["--pairs", "ner#de", "pos#de", "--output", "a.json"], "for several pairs .conllu"),
        (["--pairs", "ner#de", "--output", "text.jsonl"], "--output: text.jsonl exists already"),
    ],
)
def test_what_cannot_be_written_is_refused(
    words: list[str], options: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("text.jsonl").touch()
    assert main([*words, *options]) == 1
    assert expected in " ".join(capsys.readouterr().err.split())


def test_trees_and_labels_of_texts_need_a_format_that_holds_them(
    strange: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("text.txt").write_text("$x$ 1\n$x$ 2\n", encoding="utf-8")
    words = ["suggest", str(strange), *toy.QUIET, "--input", "text.txt", "--pairs"]
    assert main([*words, "dep#en", "--output", "few.json"]) == 1
    assert "cannot hold dep; name a file that ends in .conllu" in " ".join(capsys.readouterr().err.split())
    assert main([*words, "mood#en", "--output", "few.conllu"]) == 1
    assert "cannot hold mood; name a file that ends in .jsonl or .json" in " ".join(capsys.readouterr().err.split())
    for name in ("few.json", "few.jsonl"):
        assert main([*words, "mood#en", "--output", name]) == 0
    rows = [json.loads(line) for line in Path("few.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["text"] for row in rows} == {"$x$ 1", "$x$ 2"}
    (value,) = json.loads(Path("few.json").read_text(encoding="utf-8"))[0]["predictions"][0]["result"]
    assert value["value"]["choices"] == rows[0]["label"]
