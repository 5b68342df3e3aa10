"""Tables of results."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from hyperx.config import ModelOptions
from hyperx.evaluation.scores import Evaluation, PairScores, add_results
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.model import apply_freezing
from hyperx.tables import markdown_table, print_table
from hyperx.tasks.base import Scores
from hyperx.tasks.parsing import DependencyParsing
from hyperx.tasks.registry import make_tasks
from hyperx.tasks.tagging import PartOfSpeech
from hyperx.training.optimiser import print_modules
from tiny import tiny_model

TRAINED = [TaskLanguagePair("pos", "en"), TaskLanguagePair("pos", "tr")]


def scored(pair: str, value: float, *, repeats: int = 0, without: float | None = None) -> PairScores:
    rest = None if without is None else Scores({"accuracy": without})
    return PairScores(TaskLanguagePair.parse(pair), PartOfSpeech(), Scores({"accuracy": value}), 10, repeats, rest)


def table(*scores: PairScores, labelled: Sequence[TaskLanguagePair] = TRAINED) -> tuple[list[str], list[list[str]]]:
    return Evaluation(scores, tuple(labelled)).table()


def test_seen_pairs_come_first_and_averages_last() -> None:
    header, rows = table(scored("pos#de", 0.5), scored("pos#en", 0.9), scored("pos#tr", 0.8))
    assert header == ["pair", "group", "sentences", "measure", "score"]
    assert [row[0] for row in rows[:3]] == ["pos#en", "pos#tr", "pos#de"]
    assert {row[1]: row[4] for row in rows[3:]} == {
        "seen": "85.0",
        "new language": "50.0",
        "zero-shot (both new)": "50.0",
        "all": "73.3",
    }


def test_repeats_get_columns_where_there_are_any() -> None:
    header, rows = table(scored("pos#en", 0.9, repeats=4, without=0.85), scored("pos#tr", 0.8))
    assert header[5:] == ["in train", "score without"]
    assert [row[5:] for row in rows] == [["4", "85.0"], ["", ""], ["", ""], ["", ""]]


def test_a_split_that_train_repeats_whole_has_no_score_without() -> None:
    _, rows = table(scored("pos#en", 0.9, repeats=10))
    assert rows[0][4:] == ["90.0", "10", ""]


def test_trees_have_a_row_for_each_measure_and_one_in_the_averages() -> None:
    pair = TaskLanguagePair("dep", "en")
    _, rows = table(PairScores(pair, DependencyParsing(), Scores({"uas": 0.9, "las": 0.8}), 3), labelled=[pair])
    assert [row[3:5] for row in rows] == [["las", "80.0"], ["uas", "90.0"], ["", "80.0"], ["", "80.0"]]


def test_results_have_the_published_names_and_scales() -> None:
    trees = PairScores(TaskLanguagePair("dep", "tr"), DependencyParsing(), Scores({"uas": 0.9, "las": 0.8}), 3)
    assert Evaluation((trees, scored("pos#de", 0.5)), ()).flat("test") == {
        "test_dep:tr_uas": 90.0,
        "test_dep:tr_las": 80.0,
        "test_pos:de_accuracy": 0.5,
    }


def test_markdown() -> None:
    assert markdown_table(["pair", "score"], [["a", "1"]]) == "| pair | score |\n| --- | ---: |\n| a | 1 |\n"


def test_cells_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    labels = ["[neutral]", "[/neg]", ":star:", "a|b"]
    print_table("Labels", ["[label]", "count"], [[label, "1"] for label in labels])
    shown = capsys.readouterr().out
    assert all(label in shown for label in ["[label]", *labels])
    assert markdown_table(["x"], [["a|b"]]).endswith("| a\\|b |\n")


def modules(text: str) -> dict[str, list[int]]:
    """The rows of the table of modules."""
    rows = [re.split(r"\s*│\s*", line.strip("│ \n")) for line in text.splitlines() if line.startswith("│")]
    return {name: [int(count.replace(",", "")) for count in counts] for name, *counts in rows}


PUBLISHED_PATTERN = "^(?!.*(hypernet|LayerNorm)).*"


def test_modules_with_what_is_trained(capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_model()
    print_modules(model, ModelOptions())
    rows = modules(capsys.readouterr().out)
    assert rows["encoder: layer norms"] == [7 * 64, 7 * 64]
    assert rows["encoder: embeddings"] == [60 * 32 + 40 * 32 + 2 * 32, 0]
    assert rows["hypernetwork: source"] == [2 * 3 + 3 * 5 + 3 * 4] * 2
    assert rows["head: ner"] == [3 * 32 + 3] * 2
    assert rows["all"][0] == sum(parameter.numel() for parameter in model.parameters())
    assert rows["all"] == [sum(column) for column in zip(*(rows[name] for name in rows if name != "all"), strict=True)]


def test_modules_with_what_the_patterns_matched(capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_model(adapters="stacked")
    patterns = {"freeze_params_regex": PUBLISHED_PATTERN, "unfreeze_params_regex": r".*task-"}
    apply_freezing(model, *patterns.values())
    print_modules(model, ModelOptions(**patterns))
    out = capsys.readouterr().out
    rows = modules(out)
    size = 3 * (2 * 8 * 32 + 8 + 32)
    assert all(option in out for option in patterns)
    assert rows["encoder: embeddings"][1:] == [rows["encoder: embeddings"][0], 0, 0]
    assert rows["encoder: layer norms"][1:] == [0, 0, 7 * 64]
    assert rows["adapter: language-en"] == [size, size, 0, 0]
    assert rows["adapter: task-ner"] == [size, size, size, size]
    assert rows["head: pos"][1:] == [0, 0, rows["head: pos"][0]]


def test_evaluations_at_once_lose_no_results(tmp_path: Path) -> None:
    tasks = make_tasks({"pos": "pos"})

    def add(language: str) -> None:
        own = PairScores(TaskLanguagePair("pos", language), tasks["pos"], Scores({"accuracy": 0.5}), 9)
        new = Evaluation((replace(own, place={"files": ["test"]}),), (), tmp_path)
        add_results(tmp_path / "results.json", new, tasks, split="test", weights="hash")

    languages = ["de", "en", "nl", "ru", "tr", "el", "hi", "es"]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, languages))
    kept = json.loads((tmp_path / "results.json").read_text())["pairs"]
    assert sorted(kept) == sorted(f"pos#{language}" for language in languages)
