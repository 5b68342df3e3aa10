"""The table of data, as a user writes it: for each pair a folder, files, a data set of the hub, or rows in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from hyperx.data.locate.places import SPLIT_NAMES, SPLITS, Forgotten, Rows
from hyperx.data.read.base import LABEL
from hyperx.data.read.rows import known_names
from hyperx.data.read.spans import type_problem
from hyperx.errors import did_you_mean, faults_of, listed


def _expected(what: str) -> PydanticCustomError:
    return PydanticCustomError("expected", what)  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _text(value: Any) -> str:
    value = _plain(value)
    if not (isinstance(value, str) and value):
        raise _expected("text, in quotes")
    return value


def _label(value: Any) -> Any:
    # Labels may be numbers; YAML's true is one in Python.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _split(value: Any) -> tuple[str, ...] | Rows | Forgotten:
    if isinstance(value, Mapping) and set(value) == {"in_memory", "rows"}:
        return Forgotten(**value)
    if rows := Rows.of(value):
        return rows
    texts = tuple(map(_plain, value)) if isinstance(value, list | tuple) else (_plain(value),)
    if texts and isinstance(texts[0], Mapping):
        number = next(number for number, row in enumerate(texts, start=1) if not isinstance(row, Mapping))
        raise _expected(f"a mapping as row {number}, such as {{'tokens': [...]}}")
    if not texts or not all(isinstance(one, str) and one for one in texts):
        raise _expected("a file, a list of files, or rows in memory")
    return texts


def _texts(value: Any) -> tuple[str, ...]:
    texts = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not texts or not all(isinstance(one, str) and one for one in texts):
        raise _expected("text, or a list of texts, in quotes")
    return texts


Text = Annotated[str, BeforeValidator(_text)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Split = Annotated[Any, BeforeValidator(_split)]
Label = Annotated[Text, BeforeValidator(_label)]


class HubEntry(BaseModel):
    """A data set of the hub; a text is its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text
    configuration: Texts = ()
    revision: Text | None = None
    columns: dict[str, Text] = {}

    @model_validator(mode="before")
    @classmethod
    def _of_name(cls, value: Any) -> Any:
        if not isinstance(value, str | Mapping):
            raise _expected(f"a name, or a mapping with {', '.join(cls.model_fields)}")
        given = {"name": value} if isinstance(value, str) else value
        return {key: one for key, one in given.items() if one is not None}


class Entry(BaseModel):
    """The data of a pair; a text is its folder. Single splits go before those of the folder or of the hub."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    train: Split = None
    dev: Split = None
    test: Split = None
    folder: Text | None = None
    hub: HubEntry | None = None
    columns: dict[str, Text] = {}
    label_map: dict[Label, Label] = {}
    corpus: Text | None = None  # whose annotation it is
    licence: Text | None = None  # for the model's card

    @property
    def splits(self) -> dict[str, tuple[str, ...] | Rows | Forgotten]:
        """The files or the rows of single splits."""
        given = {split: getattr(self, split) for split in SPLITS}
        return {split: value for split, value in given.items() if value is not None}

    @model_validator(mode="before")
    @classmethod
    def _of_folder(cls, value: Any) -> Any:
        if isinstance(value, str | os.PathLike):
            return {"folder": value}
        if not isinstance(value, Mapping):
            raise _expected(f"a folder or a mapping with {', '.join(cls.model_fields)}")
        value = {key: one for key, one in value.items() if one is not None or key in SPLIT_NAMES}
        # Data sets in memory have other names of splits.
        names = {key: SPLIT_NAMES.get(key, key) for key in value}
        return value if len({*names.values()}) < len(names) else {names[key]: one for key, one in value.items()}


def read_entry(place: str, value: object, column: str, problems: list[str]) -> Entry | None:
    """An entry of the table; what is wrong with it is added to ``problems``, and None returned if it cannot be read.

    Args:
        place: the entry, for messages.
        value: what the user wrote.
        column: the column that the pair's task reads.
        problems: the list that problems are added to.
    """
    try:
        entry = Entry.model_validate(value)
    except ValidationError as error:
        known = {(): tuple(Entry.model_fields), ("hub",): tuple(HubEntry.model_fields)}

        def label(path: tuple[int | str, ...]) -> str:
            return ", ".join([place, *map(str, path[:-2] if path[-1:] == ("[key]",) else path)])

        problems += faults_of(listed(error), label, known)
        return None
    if entry.folder and entry.hub:
        problems.append(f"{place}: found both folder and hub; keep one, and name single splits beside it")
    if not (entry.folder or entry.hub or entry.splits):
        problems.append(f"{place}: names no data; give folder, hub, or files or rows under {', '.join(SPLITS)}")
    names = known_names(column)
    for name in {*entry.columns, *(entry.hub.columns if entry.hub else ())}.difference(names):
        expected = f"unknown key {name!r}; expected {', '.join(names)}.{did_you_mean(name, names)}"
        problems.append(f"{place}, columns: {expected}")
    if entry.label_map and column not in ("ner", LABEL):
        only = f"only entity types and labels of texts can be mapped; this task reads {column}"
        problems.append(f"{place}, label_map: {only}")
    if column == "ner" and (problem := type_problem([*entry.label_map, *entry.label_map.values()])):
        problems.append(f"{place}, label_map: {problem}")
    return entry


def recorded_entry(value: Any) -> Any:
    """An entry as a JSON value; of rows in memory their number and the hash of their content."""
    if not isinstance(value, Mapping):
        return value
    rows = {key: Rows.of(one) for key, one in value.items()}
    return {key: one if (own := rows[key]) is None else asdict(own.recorded()) for key, one in value.items()}
