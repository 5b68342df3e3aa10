"""The table of data, as a user writes it: for each pair a folder, files, a data set of the hub, or rows in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from hyperx.data.locate.places import SPLIT_NAMES, SPLITS, Forgotten, Rows
from hyperx.data.read.base import LABEL
from hyperx.data.read.rows import known_names
from hyperx.data.read.spans import type_problem
from hyperx.errors import did_you_mean, faults_of


def _expected(what: str) -> PydanticCustomError:
    return PydanticCustomError("expected", what)  # type: ignore[arg-type]


def _read_by(read: Callable[[Any], Any], what: str) -> BeforeValidator:
    """A value as ``read`` makes it; where that gives None, an error that says what is expected."""

    def check(value: Any) -> Any:
        if (made := read(value)) is None:
            raise _expected(what)
        return made

    return BeforeValidator(check)


def _texts(value: Any) -> tuple[str, ...] | None:
    texts = tuple(value) if isinstance(value, list | tuple) else (value,)
    return texts if texts and all(isinstance(one, str) and one for one in texts) else None


def _split(value: Any) -> tuple[str, ...] | Rows | Forgotten | None:
    if isinstance(value, Mapping) and set(value) == {"in_memory", "rows"}:
        return Forgotten(**value)
    rows = Rows.of(value)
    for number, row in enumerate(value if rows and isinstance(value, list | tuple) else (), start=1):
        if not isinstance(row, Mapping):
            raise _expected(f"a mapping as row {number}, such as {{'tokens': [...]}}")
    return rows or _texts(value)


def _label(value: Any) -> str | None:
    # Labels may be numbers; YAML's true is one in Python.
    is_label = isinstance(value, str | int) and not isinstance(value, bool) and value != ""
    return str(value) if is_label else None


def _names(value: Any) -> Any:
    is_names = isinstance(value, Mapping) and all(isinstance(name, str) for name in value.values())
    return value if is_names else None if value is not None else {}


def _mapping(value: Any) -> Any:
    return value if isinstance(value, Mapping) else None if value is not None else {}


Text = Annotated[str, _read_by(lambda value: value if isinstance(value, str) and value else None, "text, in quotes")]
Texts = Annotated[tuple[str, ...], _read_by(_texts, "text, or a list of it, in quotes")]
Split = Annotated[Any, _read_by(_split, "a file, a list of files, or rows in memory")]
Columns = Annotated[dict[str, str], _read_by(_names, "our names and the data set's, such as {words: NAME}")]
Label = Annotated[str, _read_by(_label, "a type or a label, or O for none; true and false in quotes")]
LabelMap = Annotated[dict[Label, Label], _read_by(_mapping, "entity types and what to read them as, such as {DATE: O}")]


class HubEntry(BaseModel):
    """A data set of the hub; a text is its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text
    configuration: Texts = ()
    revision: Text | None = None
    columns: Columns = {}

    @model_validator(mode="before")
    @classmethod
    def _of_name(cls, value: Any) -> Any:
        if isinstance(value, str | Mapping):
            given = {"name": value} if isinstance(value, str) else value
            return {name: one for name, one in given.items() if one is not None}
        raise _expected(f"a name, or a mapping with {', '.join(cls.model_fields)}")


class Entry(BaseModel):
    """The data of a pair; a text is its folder. Single splits go before those of the folder or of the hub."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    train: Split = None
    dev: Split = None
    test: Split = None
    folder: Text | None = None
    hub: HubEntry | None = None
    columns: Columns = {}
    label_map: LabelMap = {}

    @property
    def splits(self) -> dict[str, tuple[str, ...] | Rows | Forgotten]:
        """The files or the rows of single splits."""
        given = {split: getattr(self, split) for split in SPLITS}
        return {split: value for split, value in given.items() if value is not None}

    @model_validator(mode="before")
    @classmethod
    def _of_folder(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"folder": value}
        if not isinstance(value, Mapping):
            raise _expected(f"a folder or a mapping with {', '.join(cls.model_fields)}")
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
        problems += faults_of(error, lambda path: ", ".join([place, *map(str, path)]), known)
        return None
    if entry.folder and entry.hub:
        problems.append(f"{place}: found both folder and hub; keep one, and name single splits beside it")
    if not (entry.folder or entry.hub or entry.splits):
        problems.append(f"{place}: names no data; give folder, hub, or files or rows under {', '.join(SPLITS)}")
    names = known_names(column)
    for where, columns in ((place, entry.columns), (f"{place}, hub", entry.hub.columns if entry.hub else {})):
        for name in {*columns}.difference(names):
            expected = f"unknown key {name!r}; expected {', '.join(names)}.{did_you_mean(name, names)}"
            problems.append(f"{where}, columns: {expected}")
    if entry.label_map and column not in ("ner", LABEL):
        problems.append(
            f"{place}, label_map: only entity types and labels of texts can be mapped; this task reads {column}"
        )
    if column == "ner" and (problem := type_problem([*entry.label_map, *entry.label_map.values()])):
        problems.append(f"{place}, label_map: {problem}")
    return entry


def recorded_entry(value: Any) -> Any:
    """An entry as a JSON value; of rows in memory their number and the hash of their content."""
    if not isinstance(value, Mapping):
        return value
    rows = {key: Rows.of(one) for key, one in value.items()}
    return {key: one if (own := rows[key]) is None else asdict(own.recorded()) for key, one in value.items()}
