"""The README's code runs as it stands there; the pages keep to what a screen can show, and name all that is public."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import hyperx
import toy

pytest_plugins = ["world"]

README = (toy.ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [toy.ROOT / "README.md", toy.ROOT / "CONTRIBUTING.md", *sorted((toy.ROOT / "docs").glob("*.md"))]


@pytest.mark.usefixtures("isolated")
def test_the_code_of_the_readme_runs(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(trained, tmp_path / "runs" / "quickstart")
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        exec(compile(code, "README.md", "exec"), names)
    assert "('Angela', 'Merkel', 'wohnt', 'in', 'Berlin', '.')" in capsys.readouterr().out


def test_the_readme_is_short() -> None:
    assert README.count("\n") <= 170


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_have_at_most_eight_columns(page: Path) -> None:
    rules = re.findall(r"^\|(?: *:?-+:? *\|)+$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert all(rule.count("|") <= 9 for rule in rules)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_pages_name_are_there(page: Path) -> None:
    if page.name == "experiments.md":  # which tells of what was
        return
    package = Path(hyperx.__file__).parent
    named = re.findall(r"`(?:src/hyperx/|hyperx/)?((?:\w+/)+\w+\.py)`", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (package / name).exists() and not (toy.ROOT / name).exists()] == []


def test_the_page_of_the_api_has_all_public_names() -> None:
    described = re.findall(
        r"^::: hyperx\.(\w+)", (toy.ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(described) == sorted(set(hyperx.__all__) - {"__version__"})
