"""The page of how-tos: its code runs as it stands there, and its commands are those of the command line."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

import toy
from hyperx.cli import main
from hyperx.tasks.registry import JSON_KEYS, KINDS

pytest_plugins = ["world"]
pytestmark = pytest.mark.usefixtures("isolated")

PAGE = (toy.ROOT / "docs" / "how-to.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"^ +(hyperx .*)$", PAGE, flags=re.MULTILINE)]


@pytest.fixture
def first(trained: Path, tmp_path: Path) -> Path:
    """The page's first run."""
    return Path(shutil.copytree(trained, tmp_path / "runs" / "first"))


@pytest.mark.usefixtures("first")
def test_the_code_runs_as_it_stands_there(tmp_path: Path) -> None:
    serve, publish = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(serve, "docs/how-to.md", "exec"), names)
    assert [answer["ner"][0] for answer in names["answers"]] == ["B-PER", "B-PER"]
    assert names["model"].config.languages == ("en", "tr")
    exec(compile(publish, "docs/how-to.md", "exec"), names)
    assert {path.name for path in (tmp_path / "published").iterdir()} == {"hyperx.json", "model.safetensors"}


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command[:1]))
def test_the_commands_are_understood(command: list[str], base: list[str], data: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Ada Lovelace sees London.\n")
    folder = Path(shutil.copytree(data, tmp_path / "data"))
    shutil.copytree(folder / "ner" / "en", folder / "ner" / "sw")
    more = toy.QUIET if command[0] == "predict" else [*base[:2], *toy.SHAPE, *toy.QUIET, "--max_train_steps", "1"]
    assert main([*command, *more]) == 0


def test_the_line_of_json_has_the_keys_that_are_written() -> None:
    (line,) = re.findall(r"```json\n(.*)\n```", PAGE)
    assert set(json.loads(line)) <= JSON_KEYS | set(KINDS)
