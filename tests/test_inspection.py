"""The look at the data before a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import toy
from hyperx.cli import main
from hyperx.cli.options import parse
from hyperx.config import CheckConfig
from hyperx.plan.options import plan_run
from hyperx.plan.report import MOST_FAULTS, DataReport, inspect_data

pytestmark = pytest.mark.usefixtures("isolated")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Data to spoil."""
    return toy.write_data(tmp_path / "own")


@pytest.fixture
def look(own: Path) -> Callable[..., DataReport]:
    """What a look at that data finds."""

    def run(*options: str) -> DataReport:
        words = ["--data_folder", str(own), *toy.DATA, "--disable_progress_bar", *options]
        return inspect_data(plan_run(parse(CheckConfig, words, "check"), trains=False))

    return run


def test_clean_data_is_counted(look: Callable[..., DataReport]) -> None:
    found = look()
    assert found.problems == []
    assert [row[:3] for row in found.rows] == [
        ["ner#en", "train", "96"],
        ["ner#en", "dev", "24"],
        ["ner#en", "test", "30"],
        ["pos#tr", "train", "96"],
        ["pos#tr", "dev", "24"],
        ["pos#tr", "test", "30"],
        # The other pairs of the model, which evaluation would read.
        ["ner#tr", "dev", "24"],
        ["ner#tr", "test", "30"],
        ["pos#en", "dev", "24"],
        ["pos#en", "test", "30"],
    ]
    words = [word for sentence in toy.sentences("tr", 96, 0) for word in sentence]
    assert found.rows[3][3] == str(len(words))
    assert f"NOUN {sum(tag == 'NOUN' for _, tag, _ in words)}" in found.rows[3][4]
    assert [row[5] for row in found.rows[:2]] == ["ner/en/train.tsv", "ner/en/dev.tsv"]


def test_tasks_without_training_pairs_are_noted(look: Callable[..., DataReport]) -> None:
    notes = look("--tasks", "ner", "pos", "dep").notes
    assert "no training pair has the task dep: its head stays untrained, and is used only if named" in notes
    assert not any("task pos" in note for note in notes)


def test_clean_data_ends_with_0_and_writes_nothing(base: list[str], tmp_path: Path, data: Path) -> None:
    before = sorted(data.rglob("*"))
    assert main(["check", *base, "--output_dir", "run"]) == 0
    assert list(tmp_path.iterdir()) == []
    assert sorted(data.rglob("*")) == before


def test_no_encoder_is_needed(base: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *base, "--model_name_or_path", "none/such"]) == 0
    expected = "No problems, but see the notes above. Start training with the same options: hyperx train"
    assert expected in capsys.readouterr().out


def test_sentences_that_training_and_test_share_are_noted(own: Path, look: Callable[..., DataReport]) -> None:
    train, new = toy.sentences("tr", 96, 0), [[("zebra", "NOUN", "O")]]
    toy.write_pos(own / "pos" / "tr" / "test.conllu", [train[3], *new, train[5]])
    toy.write_pos(own / "pos" / "tr" / "dev.conllu", new)
    notes = [note for note in look().notes if "pos#tr" in note]
    assert len(notes) == 1
    assert notes[0].startswith("pos#tr: 2 of 3 test sentences also occur in train, such as «")
    assert " ".join(word for word, *_ in train[3]) in notes[0]


def test_the_problems_of_all_files_are_named_with_their_lines(
    own: Path, look: Callable[..., DataReport], capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(own / "pos" / "tr" / "train.conllu", 3, "3\tbad\t_\tNOUM\t_\t_\t_\t_\t_\t_")
    spoil(own / "pos" / "tr" / "test.conllu", 2, "2\tthree\tcolumns")
    spoil(own / "ner" / "en" / "dev.tsv", 1, "word\tPERSON")
    spoil(own / "ner" / "tr" / "test.tsv", 4, "word")
    problems = look().problems
    expected = ["ner/en/dev.tsv:1: ", "pos/tr/train.conllu:3: ", "pos/tr/test.conllu:2: ", "ner/tr/test.tsv:4: "]
    assert len(problems) == len(expected)
    for place, problem in zip(expected, problems, strict=True):
        assert place in problem
    assert main(["check", "--data_folder", str(own), *toy.DATA, "--disable_progress_bar"]) == 1
    error = capsys.readouterr().err
    assert "4 problems with the data:" in error
    assert all(problem in error for problem in problems)


def test_of_one_problem_on_many_lines_the_first_is_named_and_the_others_counted(
    own: Path, look: Callable[..., DataReport]
) -> None:
    path = own / "pos" / "tr" / "train.conllu"
    path.write_text(path.read_text().replace("\t", " "))
    starts = [1]
    for sentence in path.read_text().split("\n\n"):
        starts.append(starts[-1] + len(sentence.splitlines()) + 1)
    (told,) = look().problems
    lines = ", ".join(map(str, starts[1:11]))
    assert "train.conllu:1: expected 10 columns" in told
    assert told.endswith(f"(95 more like it, first in lines {lines})")


def test_of_very_many_problems_the_first_are_named_and_the_others_counted(
    own: Path, look: Callable[..., DataReport]
) -> None:
    sentences = ("".join(f"{id}\tw\t_\tNOUN\t_\t_\t0\troot\t_\t_\n" for id in (*range(1, n), 0)) for n in range(1, 31))
    (own / "pos" / "tr" / "train.conllu").write_text("\n".join(sentences))
    problems = look().problems
    assert len(problems) == MOST_FAULTS + 1
    assert "expected word 20 of the sentence" in problems[MOST_FAULTS - 1]
    assert "expected word 21 of the sentence" in problems[MOST_FAULTS]
    assert "(9 more faults, first in lines " in problems[MOST_FAULTS]


def test_entity_types_that_training_would_refuse_are_a_problem(look: Callable[..., DataReport]) -> None:
    assert any("LOC" in problem for problem in look("--entity_types", "PER").problems)


def test_labels_that_training_has_not_are_noted(own: Path, look: Callable[..., DataReport]) -> None:
    toy.write_ner(own / "ner" / "en" / "dev.tsv", [[("zebra", "NOUN", "B-ANIMAL"), ("acts", "NOUN", "B-LAW")]])
    toy.write_ner(own / "ner" / "tr" / "test.tsv", [[("zebra", "NOUN", "I-ANIMAL")]])
    found = look()
    assert found.problems == []
    told = "data are unknown to the model and count as errors; map them with label_map in the table"
    assert [note for note in found.notes if "labels" in note] == [
        f"ner#en: the labels B-ANIMAL, B-LAW of its dev {told}",
        f"ner#tr: the labels B-ANIMAL of its test {told}",
    ]
    assert not any("labels" in note for note in look("--entity_types", "PER", "LOC", "ANIMAL", "LAW").notes)


def test_data_of_the_hub_that_cannot_be_had_is_a_problem(look: Callable[..., DataReport]) -> None:
    problems = look("--train_task_language_pairs", "ner#en", "pos#fr").problems
    assert problems
    assert all(problem.startswith("pos#fr ") for problem in problems)


def test_rows_of_the_table_for_pairs_that_are_not_trained_are_checked(
    base: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = "data:\n  ner#tr: {test: tset.tsv}\n  pos#en: {tset: x.conllu}\n"
    (tmp_path / "run.yaml").write_text(table, encoding="utf-8")
    assert main(["check", *base, "--config", str(tmp_path / "run.yaml")]) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert "data table, ner#tr, test: expected a file, found none at" in error
    assert "data table, pos#en: unknown key 'tset'" in error


def spoil(path: Path, line: int, text: str) -> None:
    lines = path.read_text().splitlines()
    lines[line - 1] = text
    path.write_text("\n".join(lines) + "\n")
