"""Files and tables of data, and what is found of them, that several tests share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hyperx.data.locate.places import DataPlaces
from hyperx.data.locate.spec import DataSpec
from hyperx.errors import ConfigError
from hyperx.pairs import TaskLanguagePair

COLUMNS = {"pos": "upos", "ner": "ner", "dep": "head", "mood": "label", "mlm": "text", "cls": "label"}

Table = Mapping[str, object]


def pairs(*names: str) -> list[TaskLanguagePair]:
    return [TaskLanguagePair.parse(name) for name in names]


def spec(folder: Path, table: Table | None = None, **options: Any) -> DataSpec:
    return DataSpec(folder, COLUMNS, tuple(COLUMNS), table or {}, **options)


def build(folder: Path, *names: str, table: Table | None = None, **options: Any) -> DataPlaces:
    return spec(folder, table, **options).located(pairs(*names))


def problems(folder: Path, *names: str, table: Table | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        build(folder, *names, table=table)
    return caught.value.problems


def problem(folder: Path, *names: str, table: Table | None = None) -> str:
    (found,) = problems(folder, *names, table=table)
    return found


def put(folder: Path, name: str, text: str = "a\tO\n") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
