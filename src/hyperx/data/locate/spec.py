"""How the data of pairs is found: in the table, else in chosen treebanks, else in a local folder, else on the hub."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from hyperx.data.locate.folders import (
    UD_COLUMNS,
    checked_files,
    choose_treebanks,
    folder_of,
    likely_meant,
    named_test,
    release_folder,
    splits_of,
)
from hyperx.data.locate.places import SPLITS, DataPlaces, Files, Forgotten, Hub, PairData, PairName, Place, Rows
from hyperx.data.locate.table import Entry, HubEntry, read_entry, recorded_entry
from hyperx.data.read.base import TEXT
from hyperx.data.read.hub import LOCAL_ALTERNATIVES, HubData
from hyperx.errors import ConfigError, HyperXError, did_you_mean
from hyperx.files import in_home
from hyperx.languages import (
    Treebank,
    canonical,
    find_treebank,
    known_languages,
    suggestion,
    treebanks_of,
    wikiann_configuration,
)
from hyperx.pairs import TaskLanguagePair

_UD, _UD_27, _WIKIANN = (
    "commul/universal_dependencies",
    "universal-dependencies/universal_dependencies",
    "unimelb-nlp/wikiann",
)
_CONFIGURATIONS: dict[str, Callable[[str], str | None]] = {
    **dict.fromkeys((_UD, _UD_27), lambda language: next((one.name for one in treebanks_of(language)), None)),
    _WIKIANN: wikiann_configuration,
}
_DEFAULTS = {**dict.fromkeys(UD_COLUMNS, _UD), "ner": _WIKIANN}

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class DataSpec:
    """What a command says of its data.

    Local folders are `<folder>/<task>/<language>` with files `{train,dev,test}.*`; raw text to train on may also be a
    file `<folder>/<task>/<language>.txt`. A treebank is read from its folder in a release, `UD_...`, if that is in the
    folder of local data. The hub's defaults are UD's default treebank of the language and WikiANN.

    Args:
        folder: the folder of local data; relative paths of the table start there.
        columns: task -> the column that it reads: `upos`, `ner`, `head` or `label`; `text` for raw text. A table may
            serve several runs, so it has all kinds of tasks too.
        tasks: the tasks of the model.
        table: pair -> its data, see :mod:`hyperx.data.locate.table`.
        label_map: entity types to read as others, or as O, in every pair; a pair's own map takes precedence.
        treebanks: UD treebanks to read instead of defaults and local folders, such as `en=en_ewt+en_gum`.
    """

    folder: Path
    columns: Mapping[str, str]
    tasks: Sequence[str]
    table: Mapping[str, Any] = field(default_factory=dict)
    label_map: Mapping[str, str] = field(default_factory=dict)
    treebanks: Sequence[str] = ()

    def check(self, problems: list[str]) -> None:
        """Note what is wrong with the names of the table's pairs and with the treebanks, or named in both."""
        choose_treebanks(self.treebanks, problems)
        chosen, first = {language_of(entry): entry for entry in self.treebanks}, dict[Key, TaskLanguagePair]()
        for name in self.table:
            try:
                pair = TaskLanguagePair.parse(name)
            except HyperXError as error:
                problems.append(f"data table: {error}")
                continue
            if pair.task not in self.columns:
                problems.append(f"data table: {self.unknown_task(pair)}")
            elif pair.task in self.treebank_tasks and pair.key[1] in chosen:
                both = f"{chosen[pair.key[1]]} names data of {pair}, and so does the data table"
                problems.append(f"--treebanks: {both}; keep one of them")
            if first.setdefault(pair.key, pair) != pair:
                problems.append(f"data table: {first[pair.key]} and {pair} are one pair; keep one of them")

    def unknown_task(self, pair: TaskLanguagePair) -> str:
        """What is said of a pair whose task nobody knows."""
        known = f"{pair}: unknown task {pair.task!r}; expected one of {', '.join(self.columns)}."
        return known + did_you_mean(pair.task, self.columns)

    def places(self, pairs: Iterable[TaskLanguagePair]) -> DataPlaces:
        """The data of each pair from the first place that has it; why others have none is in `lacking`.

        Nothing is opened and no network is used.
        """
        return _Search(self).places(pairs)

    def located(self, pairs: Iterable[TaskLanguagePair]) -> DataPlaces:
        """The data of pairs that must have some; raises a ConfigError with all problems."""
        problems: list[str] = []
        self.check(problems)
        places = self.places(pairs)
        problems += chain.from_iterable(places.lacking.values())
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))
        return places

    @property
    def treebank_tasks(self) -> list[str]:
        """The tasks that treebanks have data for."""
        return [task for task in self.tasks if self.columns[task] in UD_COLUMNS]

    @property
    def table_pairs(self) -> dict[Key, TaskLanguagePair]:
        """The pairs of the table by their keys; malformed names, which :meth:`check` tells, are left out."""
        return {key: pair for key, (pair, _) in _entries(self.table).items()}

    def __contains__(self, pair: TaskLanguagePair) -> bool:
        """Whether the table or the treebanks name data of a pair."""
        chosen = map(language_of, self.treebanks)
        return pair.key in self.table_pairs or (pair.task in self.treebank_tasks and pair.key[1] in chosen)

    def named(self, known: Iterable[TaskLanguagePair]) -> tuple[TaskLanguagePair, ...]:
        """The pairs that the table or the treebanks name, the known ones as they are spelt there."""
        codes = [entry.partition("=")[0] for entry in self.treebanks]
        others = [TaskLanguagePair(task, code) for task in sorted(self.treebank_tasks) for code in codes]
        others += [pair for pair in self.table_pairs.values() if pair.task in self.tasks]
        first: dict[Key, TaskLanguagePair] = {}
        for pair in (*(pair for pair in known if pair in self), *others):
            first.setdefault(pair.key, pair)
        return tuple(first.values())

    def record(self, data: DataPlaces, read: Iterable[TaskLanguagePair]) -> DataRecord:
        """What a checkpoint keeps, given the data of every pair of the model and the pairs whose data the run reads."""
        table = {name: recorded_entry(value) for name, value in self.table.items()}
        return DataRecord(replace(self, folder=self.folder.resolve(), table=table), tuple(read), data.recorded())


@dataclass(frozen=True, slots=True)
class DataRecord:
    """What a checkpoint keeps of its data: how it was found, and where that of every pair of the model is.

    Args:
        spec: by what it was found.
        read: the pairs whose data the run read. That of the others may be what the hub has by default.
        data: the data of every pair.
    """

    spec: DataSpec
    read: tuple[PairName, ...] = ()
    data: tuple[PairData, ...] = ()

    __pydantic_config__ = ConfigDict(extra="forbid")

    def to_json(self) -> dict[str, Any]:
        """A JSON value of which `files.read_json` makes the record again."""
        return dict(TypeAdapter(DataRecord).dump_python(self, mode="json"))


def language_of(entry: str) -> str:
    """The canonical language of an entry of ``--treebanks``."""
    return canonical(entry.partition("=")[0])


def _entries(table: Mapping[str, object]) -> dict[Key, tuple[TaskLanguagePair, object]]:
    entries: dict[Key, tuple[TaskLanguagePair, object]] = {}
    for name, value in table.items():
        with contextlib.suppress(HyperXError):
            pair = TaskLanguagePair.parse(name)
            entries.setdefault(pair.key, (pair, value))
    return entries


class _Search:
    """One search for data, of one pair after the other."""

    def __init__(self, spec: DataSpec) -> None:
        self.spec, self.folder = spec, in_home(spec.folder).resolve()
        self.chosen, self.entries = choose_treebanks(spec.treebanks, []), _entries(spec.table)

    def places(self, pairs: Iterable[TaskLanguagePair]) -> DataPlaces:
        found: dict[Key, PairData] = {}
        lacking: dict[TaskLanguagePair, list[str]] = {}
        for pair in dict.fromkeys(pairs):
            problems = lacking[pair] = []
            if pair.key in found:
                first = found[pair.key].pair
                same = f"{first} and {pair} are one pair: {pair.language!r} names the same language"
                problems.append(f"{same}; keep one")
            else:
                found[pair.key] = self._pair(pair, problems)
        # No file that any pair of the run or of the table is tested on may be trained on, under any name.
        known = {key for key, data in found.items() if data.splits}
        others = [pair for key, (pair, _) in self.entries.items() if key not in known]
        tested = DataPlaces([*(self._pair(pair, []) for pair in others), *found.values()]).files("test")
        for data in found.values():
            for path in files_of(data.splits, "train"):
                real = path.resolve()
                if real in tested or named_test(path) or named_test(real):
                    what = f"the test file of {tested[real]}" if real in tested else "a test file by its name"
                    advice = "train on a train or dev file, and keep test files for the end"
                    lacking[data.pair].append(f"{data.pair}: train names {path}, which is {what}; {advice}")
        rows = {one.content: data.pair for data in found.values() if isinstance(one := data.splits.get("test"), Rows)}
        for data in found.values():
            if isinstance(train := data.splits.get("train"), Rows) and train.content in rows:
                advice = "train on others, and keep test data for the end"
                lacking[data.pair].append(f"{data.pair}: train has the test rows of {rows[train.content]}; {advice}")
        lacking = {pair: problems for pair, problems in lacking.items() if problems}
        return DataPlaces([data for data in found.values() if data.pair not in lacking], lacking)

    def _pair(self, pair: TaskLanguagePair, problems: list[str]) -> PairData:
        """One pair's data from the first place that has it."""
        column = self.spec.columns.get(pair.task)
        if column is None:
            problems.append(self.spec.unknown_task(pair))
            return PairData(pair, "", {})
        label_map = self.spec.label_map if column == "ner" else {}
        if pair.key not in self.entries:
            return PairData(pair, column, self._unnamed(pair, column, problems), label_map)
        name, value = self.entries[pair.key]
        place = f"data table, {name}"
        entry = read_entry(place, value, column, problems)
        if entry is None:
            return PairData(pair, column, {})
        splits = self._from_table(pair, entry, column, place, problems)
        files = [path for split in splits for path in files_of(splits, split)]
        rows = any(isinstance(one, Rows | Forgotten) for one in splits.values())
        # Of CoNLL-U a user may name the key of MISC that has entities; files of other formats have no names of columns.
        named = {*entry.columns} - (
            {"ner"} if column == "ner" and all(path.suffix.lower() == ".conllu" for path in files) else set()
        )
        if named and not (entry.hub or rows or column == "label"):
            also = " (of CoNLL-U, name the key of MISC that has entities: {ner: KEY})" if column == "ner" else ""
            what = f"only labelled texts have columns to name here; this task reads {column}"
            problems.append(f"{place}: {what}{also}")
        return PairData(pair, column, splits, {**label_map, **entry.label_map}, entry.columns)

    def _from_table(
        self, pair: TaskLanguagePair, entry: Entry, column: str, place: str, problems: list[str]
    ) -> dict[str, Place]:
        splits: dict[str, Place] = {}
        if entry.folder:
            splits = splits_of(self.folder / in_home(entry.folder), column, place, problems)
        elif entry.hub:
            hub = Hub(self._hub(pair, entry.hub, entry.columns, f"{place}, hub", problems))
            # Most data sets of raw text have no other split.
            splits = {"train": hub} if column == TEXT else _by_split(hub, treebanks_of(pair.language))
        for split, given in entry.splits.items():
            if isinstance(given, tuple):
                paths = [self.folder / in_home(name) for name in given]
                splits[split] = Files(checked_files(paths, column, f"{place}, {split}", problems))
            else:
                splits[split] = given
        return splits

    def _hub(
        self, pair: TaskLanguagePair, entry: HubEntry, columns: Mapping[str, str], place: str, problems: list[str]
    ) -> HubData:
        names = entry.configuration
        if entry.name in _CONFIGURATIONS and not names:
            default = self._configuration(pair, entry.name, f"{place}: ", problems)
            names = (default,) if default else ()
        elif entry.name in (_UD, _UD_27):
            # A name that is not among the language's treebanks may belong to another release or another language.
            known = [find_treebank(pair.language, one) for one in names]
            names = tuple(treebank.name if treebank else one for treebank, one in zip(known, names, strict=True))
        # A copy of a data set on this machine is found like any other path of the table.
        local = self.folder / in_home(entry.name)
        return HubData(
            str(local) if local.is_dir() else entry.name, names, entry.revision, {**columns, **entry.columns}
        )

    def _unnamed(self, pair: TaskLanguagePair, column: str, problems: list[str]) -> dict[str, Place]:
        """The splits of a pair that the table does not name."""
        is_ud = column in UD_COLUMNS
        if is_ud and (chosen := self.chosen.get(canonical(pair.language))):
            return self._treebanks(chosen, column, str(pair), problems)
        if place := folder_of(self.folder, pair, column, problems):
            return splits_of(place, column, str(pair), problems)
        own = self.folder / pair.task / pair.language
        if near := likely_meant(self.folder, pair):
            problems.append(
                f"{pair}: expected its data in {own}, found {near}; rename it, or name it in the data table"
            )
            return {}
        if is_ud and (default := treebanks_of(pair.language)[:1]):
            return self._treebanks(default, column, str(pair), problems)
        missing = f"{pair}: no folder {own}" + (f" and no file {own}.txt" if column == TEXT else "")
        if (name := _DEFAULTS.get(column)) is None:
            problems.append(f"{missing}, and the task has no default data set; {LOCAL_ALTERNATIVES}")
            return {}
        configuration = self._configuration(pair, name, f"{missing}, and ", problems)
        return dict.fromkeys(SPLITS, Hub(HubData(name, (configuration,)))) if configuration else {}

    def _treebanks(
        self, treebanks: Sequence[Treebank], column: str, place: str, problems: list[str]
    ) -> dict[str, Place]:
        """The splits of treebanks, read one after the other: from a release on this machine, else from the hub."""
        folders = {treebank.folder: release_folder(self.folder, treebank) for treebank in treebanks}
        if not any(folders.values()):
            return _by_split(Hub(HubData(_UD, tuple(treebank.name for treebank in treebanks))), treebanks)
        for name, folder in folders.items():
            if folder is None:
                problems.append(f"{place}: expected the treebank's folder {name} beside the others, found none")
        found = [splits_of(folder, column, place, problems) for folder in folders.values() if folder]
        files = {split: tuple(path for one in found for path in files_of(one, split)) for split in SPLITS}
        return {split: Files(files[split]) for split in SPLITS if files[split]}

    def _configuration(self, pair: TaskLanguagePair, name: str, before: str, problems: list[str]) -> str | None:
        """A data set's own code for the pair's language; `before` begins the message if it has none."""
        configuration = _CONFIGURATIONS[name](pair.language)
        if configuration is None:
            has = [code for code in known_languages() if _CONFIGURATIONS[name](code)]
            missing = f"{before}{name} has no default for the language {pair.language!r}"
            problems.append(f"{missing}; {LOCAL_ALTERNATIVES}.{suggestion(pair.language, has)}")
        return configuration


def files_of(splits: Mapping[str, Place], split: str) -> tuple[Path, ...]:
    """The files of a split; none if it is elsewhere."""
    place = splits.get(split)
    return place.files if isinstance(place, Files) else ()


def _by_split(place: Hub, treebanks: Sequence[Treebank]) -> dict[str, Place]:
    """Each split from the configurations that have it. This is known only for the newest UD: others have all three."""
    hub = place.hub
    if hub.name != _UD or hub.revision or not hub.configurations:
        return dict.fromkeys(SPLITS, place)
    known = {treebank.name: treebank.splits for treebank in treebanks}
    names = {split: tuple(one for one in hub.configurations if split in known.get(one, SPLITS)) for split in SPLITS}
    return {split: Hub(replace(hub, configurations=names[split])) for split in SPLITS if names[split]}
