"""The page on adding a task: its class works as it stands there, through the command line."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import hyperx
import toy
from hyperx.cli import main
from hyperx.model import HyperX
from hyperx.tasks.registry import KINDS

pytestmark = pytest.mark.usefixtures("isolated")

PAGE = (toy.ROOT / "docs" / "add-a-task.md").read_text(encoding="utf-8")
CLASS, LINE, TESTS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
COMMANDS = re.findall(r"^    (?:.*\| )?hyperx (.*)$", PAGE, flags=re.MULTILINE)

RANKS = [verb for pair in zip(toy.VERBS[::2], toy.VERBS[1::2], strict=True) for verb in pair]
"""A text has one star for the first two verbs, two for the next two, and three for the others."""


@pytest.fixture
def names() -> Iterator[dict[str, object]]:
    """What the page defines, its kind of task being registered."""
    found: dict[str, object] = {}
    exec(compile(CLASS, "docs/add-a-task.md", "exec"), found)
    exec(LINE, {"hyperx": hyperx, **found})
    yield found
    del KINDS["rating"]


def write(folder: Path) -> None:
    """Texts with one to three stars, and entities."""
    draw = random.Random(0)
    for language, split, count in [("en", "train", 150), ("en", "dev", 20), ("en", "test", 40), ("de", "test", 40)]:
        path = folder / "stars" / language / f"{split}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = []
        for _ in range(count):
            verb = draw.choice(RANKS)
            rows.append(f"{draw.choice(toy.NOUNS)} {verb} {draw.choice(toy.NOUNS)} .\t{RANKS.index(verb) // 2 + 1}\n")
        path.write_text("text\tlabel\n" + "".join(rows))
    toy.write_data(folder)


@pytest.mark.usefixtures("names")
def test_the_class_works_as_it_stands_there(encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, evaluate, predict = (command.split() for command in COMMANDS)
    assert (train[0], evaluate[0], predict[0]) == ("train", "evaluate", "predict")
    write(tmp_path / "data")
    steps = ["--max_train_steps", "120", "--eval_steps", "60", "--save_steps", "120", "--learning_rate", "2e-2"]
    assert main([*train, "--model_name_or_path", str(encoder), *toy.SHAPE, *steps, *toy.QUIET]) == 0
    assert main([*evaluate, *toy.QUIET]) == 0
    best = tmp_path / "runs/stars" / json.loads((tmp_path / "runs/stars/best.json").read_text())["checkpoint"]
    results = json.loads((best / "results.json").read_text())
    assert results["test_stars:en_accuracy"] > 0.6
    assert results["test_stars:de_within_one"] > 0.9
    assert HyperX.from_pretrained(best).config.labels["stars"] == ("1", "2", "3")
    (tmp_path / "in.txt").write_text(f"cat {RANKS[0]} dog .\ncat {RANKS[-1]} dog .\n")
    capsys.readouterr()
    assert main([*predict, "--input", "in.txt", *toy.QUIET]) == 0
    assert [int(line.split("\t")[1]) for line in capsys.readouterr().out.splitlines()] in ([1, 3], [1, 2], [2, 3])


def test_its_tests_pass(names: dict[str, object]) -> None:
    exec(compile(TESTS, "docs/add-a-task.md", "exec"), names)
    tests = [test for name, test in names.items() if name.startswith("test_") and callable(test)]
    assert len(tests) == 2
    for test in tests:
        test()
