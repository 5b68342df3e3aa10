"""Where the splits of pairs are, and how they are read: files, data sets of the hub, or rows in memory."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter

from hyperx.data.locate.annotation import prepared
from hyperx.data.read.base import Request
from hyperx.data.read.formats import read_file
from hyperx.data.read.hub import HubData
from hyperx.data.read.lines import OnFault, stop
from hyperx.data.read.rows import RowReader, class_names, read_rows
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError, counted
from hyperx.files import sha256
from hyperx.languages import canonical
from hyperx.pairs import TaskLanguagePair

SPLITS = ("train", "dev", "test")
SPLIT_NAMES = {**{split: split for split in SPLITS}, **dict.fromkeys(("val", "valid", "validation"), "dev")}
"""Names that splits have in folders and data sets -> ours."""

Parts = Iterable[tuple[str, Iterator[Sentence]]]
"""Parts of a split, each of which may be written in a scheme of its own: origin and sentences."""


@dataclass(frozen=True, slots=True)
class Files:
    """Files that are read one after the other, as absolute paths. Links are not resolved: their own names count."""

    files: tuple[Path, ...]

    def describe(self, _split: str) -> str:
        return ", ".join(map(str, self.files))

    def fingerprint(self) -> Any:
        return [file_fingerprint(path) for path in self.files]

    def parts(self, _split: str, data: PairData, on_fault: OnFault) -> Parts:
        facts = (data.column, on_fault, data.columns, data.pair.language)
        return ((str(path), read_file(path, *facts)) for path in self.files)


@dataclass(frozen=True, slots=True)
class Hub:
    """A data set of the hub, or a local copy of one."""

    hub: HubData

    def describe(self, split: str) -> str:
        return self.hub.describe(split)

    def fingerprint(self) -> Any:
        files = sorted(path for path in Path(self.hub.name).rglob("*") if path.is_file())
        return [asdict(self.hub), [file_fingerprint(path) for path in files]]

    def parts(self, split: str, data: PairData, _on_fault: OnFault) -> Parts:
        yield self.describe(split), self.hub.read(split, data.column)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Rows that were in memory when a model was trained: the hash of their content, and their number."""

    in_memory: str
    rows: int

    def describe(self, _split: str) -> str:
        return f"{counted(self.rows, 'row')} in memory"

    def fingerprint(self) -> Any:
        return self.in_memory

    def parts(self, split: str, data: PairData, _on_fault: OnFault) -> Parts:
        raise DataError(
            f"{data.pair}: expected its {split} data, found only a record that training was given "
            f"{self.describe(split)}; give them again under '{data.pair}' in data, or name files there"
        )


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows in memory: mappings, or a data set of the datasets library.

    Args:
        rows: one for each sentence or text.
        labels: the names of labels that are numbers, by column of the rows.
    """

    rows: Sequence[Mapping[str, Any]]
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any) -> Rows | None:
        """The rows of a list of mappings alone, or of a data set; None if it is neither, or empty."""
        if isinstance(value, list | tuple):
            return cls(value) if value and all(isinstance(row, Mapping) for row in value) else None
        # A stream has no length, and none of its rows can be read twice.
        if not (hasattr(value, "column_names") and hasattr(value, "__len__") and len(value)):
            return None
        features = getattr(value, "features", None)
        return cls(value, class_names(features)) if isinstance(features, Mapping) else None

    def describe(self, split: str) -> str:
        return f"{split} split in memory ({counted(len(self.rows), 'row')})"

    @cached_property
    def content(self) -> str:
        """The hash of labels and rows."""
        digest = hashlib.sha256(json.dumps(self.labels, sort_keys=True).encode())
        for row in self.rows:
            named = {str(name): value for name, value in row.items()}
            digest.update(json.dumps(named, sort_keys=True, default=str).encode() + b"\n")
        return digest.hexdigest()

    def recorded(self) -> Forgotten:
        """What a checkpoint keeps of them."""
        return Forgotten(self.content, len(self.rows))

    def fingerprint(self) -> Any:
        return self.content

    def parts(self, split: str, data: PairData, on_fault: OnFault) -> Parts:
        origin = f"{data.pair} {split} in memory"
        yield origin, read_rows(self.rows, RowReader(Request(origin, data.column, on_fault, data.columns), self.labels))


Place = Files | Hub | Forgotten | Rows
"""Where a split is: ``describe`` says it for people, ``fingerprint`` is a JSON value that changes with the content, and
``parts`` reads the sentences."""
PairName = Annotated[TaskLanguagePair, BeforeValidator(TaskLanguagePair.parse), PlainSerializer(str)]


@dataclass(frozen=True, slots=True)
class PairData:
    """Where one pair's splits are, and how they are read.

    Args:
        pair: the pair, in the user's spelling.
        column: the column that the task reads.
        splits: the place of each available split.
        label_map: entity types to read as others, or as O; labels of texts to read as others.
        columns: our names -> the column names in the data, if they are unusual.
        corpus: the name of the corpus, whose style of annotation the pair has, if it was given.
    """

    pair: PairName
    column: str
    splits: Mapping[str, Place]
    label_map: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    corpus: str | None = None


class DataPlaces:
    """The data of some pairs. A pair is found under any code of its language.

    Args:
        data: one value for each pair.
        lacking: why other pairs that were looked for have no data.
    """

    def __init__(
        self, data: Iterable[PairData] = (), lacking: Mapping[TaskLanguagePair, Sequence[str]] | None = None
    ) -> None:
        self._data = {one.pair.key: one for one in data}
        self.lacking = lacking or {}

    @property
    def pairs(self) -> tuple[TaskLanguagePair, ...]:
        """The pairs, in the user's spelling."""
        return tuple(data.pair for data in self._data.values())

    def __contains__(self, pair: TaskLanguagePair) -> bool:
        return pair.key in self._data

    def corpus(self, pair: TaskLanguagePair) -> str | None:
        """The corpus of a pair, if it has a named one."""
        return self._data[pair.key].corpus if pair in self else None

    def only(self, pairs: Iterable[TaskLanguagePair]) -> DataPlaces:
        """The data of some of the pairs."""
        return DataPlaces([self._data[pair.key] for pair in pairs])

    def joined(self, other: DataPlaces) -> DataPlaces:
        """This data and another's, which goes before it if both have a pair."""
        return DataPlaces({**self._data, **other._data}.values())

    def has(self, pair: TaskLanguagePair, split: str) -> bool:
        """Whether a pair has a split: the network is not asked whether a hub data set really has it."""
        return pair in self and split in self._data[pair.key].splits

    def from_hub(self, pair: TaskLanguagePair) -> bool:
        """Whether any split of a pair would be read from the hub."""
        return pair in self and any(isinstance(place, Hub) for place in self._data[pair.key].splits.values())

    def inside(self, pair: TaskLanguagePair, folder: Path) -> bool:
        """Whether the data of a pair is known, and all of it is files in a folder."""
        places = self._data[pair.key].splits.values() if pair in self else ()
        files = [Path(os.path.normpath(path)) for one in places if isinstance(one, Files) for path in one.files]
        return bool(files) and all(path.is_relative_to(folder) for path in files) and not self.from_hub(pair)

    def held_out(self, language: str) -> list[tuple[PairData, str]]:
        """The dev and test splits of a language that are on this machine; those of one place once."""
        own = {}
        for data in self._data.values():
            for split in ("dev", "test") if data.pair.key[1] == canonical(language) else ():
                if isinstance(place := data.splits.get(split), Files | Rows):
                    own[place] = (data, split)
        return list(own.values())

    def describe(self, pair: TaskLanguagePair, split: str) -> str:
        """Where a split is, for people; raises a DataError if there is none."""
        return self._split(pair, split)[1].describe(split)

    def record(self, pair: TaskLanguagePair, split: str) -> dict[str, Any]:
        """Where a split is, as a JSON value; raises a DataError if there is none."""
        return dict(_RECORD.dump_python(_recorded(self._split(pair, split)[1]), mode="json"))

    def read(self, pair: TaskLanguagePair, split: str, on_fault: OnFault = stop) -> Iterator[Sentence]:
        """Stream a split's sentences, checked, with entity tags in BIO and mapped.

        Spans that begin with an I- against the scheme get a B-; their number is logged. Faults after which reading can
        continue go to ``on_fault``, which raises them by default.

        Raises:
            DataError: if there is no such split; while reading, with file and line, for whatever is wrong in it.
        """
        data, place = self._split(pair, split)
        return chain.from_iterable(
            prepared(sentences, data.column, data.label_map, origin, on_fault)
            for origin, sentences in place.parts(split, data, on_fault)
        )

    def fingerprint(self, pair: TaskLanguagePair, split: str) -> Any:
        """A JSON value that changes whenever the result of `read` may."""
        data, place = self._split(pair, split)
        return [split, place.fingerprint(), data.column, dict(data.label_map), dict(data.columns), pair.key[1]]

    def _split(self, pair: TaskLanguagePair, split: str) -> tuple[PairData, Place]:
        if pair not in self:
            known = ", ".join(map(str, self.pairs)) or "none"
            raise DataError(f"expected a pair whose data is known ({known}), found {pair}")
        data = self._data[pair.key]
        if split not in data.splits:
            found = ", ".join(data.splits) or "none"
            advice = f"add a {split} file to the pair's folder, or name one under {split} in the data table"
            raise DataError(f"expected a {split} split of {pair}, found {found}; {advice}")
        return data, data.splits[split]

    def recorded(self) -> tuple[PairData, ...]:
        """The data as a checkpoint keeps it: of rows in memory their number and the hash of their content."""
        return tuple(
            replace(data, splits={split: _recorded(place) for split, place in data.splits.items()})
            for data in self._data.values()
        )


_RECORD = TypeAdapter(Files | Hub | Forgotten)


def _recorded(place: Place) -> Files | Hub | Forgotten:
    return place.recorded() if isinstance(place, Rows) else place


def file_fingerprint(path: Path) -> list[str]:
    """A file's extension, which determines its reader, and a hash of its content."""
    return [path.suffix.lower(), content_hash(path)]


def content_hash(path: Path) -> str:
    """A hash of a file's content; raises a DataError if it cannot be read."""
    try:
        return sha256(path)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}; was it moved?", path=path) from error


def short_place(record: Mapping[str, Any], folder: Path | None = None) -> str:
    """Where a split is by its :meth:`DataPlaces.record`, in few words; paths without the folder of local
    data, or else without the working folder."""
    if "in_memory" in record:
        return "in memory"
    hub = record.get("hub")
    first, *others = map(Path, record["files"] if hub is None else [hub["name"]])
    root = next((root for root in (folder, Path.cwd()) if root and first.is_relative_to(root)), None)
    place = str(first.relative_to(root) if root else first)
    if hub is None:
        return f"{place} and {len(others)} more" if others else place
    name = place if first.is_absolute() else f"hub: {place}"
    return " ".join(filter(None, [name, "+".join(hub["configurations"]), hub["revision"] and f"at {hub['revision']}"]))
