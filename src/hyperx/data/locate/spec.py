"""How the data of pairs is found: in the table, else in chosen treebanks, else in a local folder, else on the hub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hmac import compare_digest
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
from hyperx.data.locate.places import SPLIT_NAMES, SPLITS, DataPlaces, Files, Hub, PairData, PairName, Place, Rows
from hyperx.data.locate.table import Entry, read_entry, recorded_entry
from hyperx.data.read.base import TEXT
from hyperx.data.read.hub import LOCAL_ALTERNATIVES, HubData
from hyperx.errors import ConfigError, HyperXError, did_you_mean
from hyperx.files import in_home, own_mark, placeless
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

_UD, _WIKIANN = "commul/universal_dependencies", "unimelb-nlp/wikiann"

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
        chosen = {language_of(entry): entry for entry in self.treebanks}
        for pair, _ in _entries(self.table, problems).values():
            if pair.task not in self.columns:
                problems.append(f"data table: {self.unknown_task(pair)}")
            elif pair.task in self.treebank_tasks and pair.key[1] in chosen:
                both = f"{chosen[pair.key[1]]} names data of {pair}, and so does the data table"
                problems.append(f"--treebanks: {both}; keep one of them")

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
        return {key: pair for key, (pair, _) in _entries(self.table, []).items()}

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
        sentences: how many sentences each pair was trained on.
    """

    spec: DataSpec
    read: tuple[PairName, ...] = ()
    data: tuple[PairData, ...] = ()
    sentences: Mapping[str, int] = field(default_factory=dict)
    mark: str = ""
    """By whom it was written, see :attr:`own`."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    def to_json(self) -> dict[str, Any]:
        """A JSON value of which `files.read_json` makes the record again, with the user's own mark."""
        value = TypeAdapter(DataRecord).dump_python(replace(self, mark=""), mode="json")
        return {**value, "mark": own_mark(value)}

    @property
    def own(self) -> bool:
        """Whether this user wrote it. The paths of others are not followed."""
        return compare_digest(self.to_json()["mark"], self.mark)

    def placeless(self) -> DataRecord:
        """What of it others may see, and what may be followed of theirs: of paths only what is below the folder of
        data, and nothing of where the pairs' files are."""
        named = {
            name: entry.get("hub") if isinstance(entry, Mapping) else None for name, entry in self.spec.table.items()
        }
        kept = [name for name, hub in named.items() if hub is None or _on_hub(hub)]
        table = {name: _placeless(self.spec.table[name], self.spec.folder) for name in kept}
        places = [(one, one.splits.values()) for one in self.data]
        data = tuple(one for one, own in places if all(isinstance(to, Hub) and _on_hub(to.hub.name) for to in own))
        return replace(self, spec=replace(self.spec, folder=Path("data"), table=table), data=data)


def _on_hub(hub: Any) -> bool:
    """Whether a name, or that in an entry of the table, is of the hub alone: for a folder here, and for a format, whose
    name has no owner, the library would read files of this machine."""
    name = str(hub.get("name") if isinstance(hub, Mapping) else hub)
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) is not None and not Path(name).exists()


def _placeless(entry: Any, folder: Path) -> Any:
    """An entry of the data table, of its paths only what is below the folder of data, or the name."""
    if isinstance(entry, str):
        return placeless(entry, folder)
    if isinstance(entry, Sequence):
        return [_placeless(one, folder) for one in entry]
    if not isinstance(entry, Mapping):
        return entry
    named = {*SPLIT_NAMES, "folder", "hub", "name"}
    return {key: _placeless(value, folder) if key in named else value for key, value in entry.items()}


def language_of(entry: str) -> str:
    """The canonical language of an entry of ``--treebanks``."""
    return canonical(entry.partition("=")[0])


def _entries(table: Mapping[str, object], problems: list[str]) -> dict[Key, tuple[TaskLanguagePair, object]]:
    """The entries of a table by the keys of their pairs."""
    entries: dict[Key, tuple[TaskLanguagePair, object]] = {}
    for name, value in table.items():
        try:
            pair = TaskLanguagePair.parse(name)
        except HyperXError as error:
            problems.append(f"data table: {error}")
            continue
        first, _ = entries.setdefault(pair.key, (pair, value))
        if first != pair:
            problems.append(f"data table: {first} and {pair} are one pair; keep one of them")
    return entries


class _Search:
    """One search for data, of one pair after the other."""

    def __init__(self, spec: DataSpec) -> None:
        self.spec, self.folder = spec, in_home(spec.folder).resolve()
        self.chosen, self.entries = choose_treebanks(spec.treebanks, []), _entries(spec.table, [])

    def places(self, pairs: Iterable[TaskLanguagePair]) -> DataPlaces:
        data: dict[Key, PairData] = {}
        lacking: dict[TaskLanguagePair, list[str]] = {}
        for pair in dict.fromkeys(pairs):
            problems = lacking[pair] = []
            if pair.key in data:
                same = f"{data[pair.key].pair} and {pair} are one pair: {pair.language!r} names the same language"
                problems.append(f"{same}; keep one")
            else:
                data[pair.key] = self._pair(pair, problems)
        # Nothing that any pair of the run or of the table is tested on may be trained on, under any name.
        known = {key for key, own in data.items() if own.splits}
        others = [self._pair(pair, []) for key, (pair, _) in self.entries.items() if key not in known]
        tested = {one: own.pair for own in (*others, *data.values()) for one in _contents(own, "test")}
        for own in data.values():
            for real, name in _contents(own, "train").items():
                by_name = isinstance(real, Path) and any(map(named_test, (real, Path(name))))
                if real in tested or by_name:
                    what = f"the test data of {tested[real]}" if real in tested else "a test file by its name"
                    advice = "train on a train or dev file, and keep test files for the end"
                    lacking[own.pair].append(f"{own.pair}: train names {name}, which is {what}; {advice}")
        lacking = {pair: problems for pair, problems in lacking.items() if problems}
        return DataPlaces([own for own in data.values() if own.pair not in lacking], lacking)

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
        # Of CoNLL-U a user may name the key of MISC that has entities; files of other formats have no names of columns.
        files = [one for one in splits.values() if isinstance(one, Files)]
        has_key = all(path.suffix.lower() == ".conllu" for one in files for path in one.files) and column == "ner"
        if {*entry.columns} - ({"ner"} if has_key else set()) and len(files) == len(splits) > 0 and column != "label":
            what = "only labelled texts have columns to name here; this task reads"
            also = " (of CoNLL-U, name the key of MISC that has entities: {ner: KEY})" if column == "ner" else ""
            problems.append(f"{place}: {what} {column}{also}")
        return PairData(pair, column, splits, {**label_map, **entry.label_map}, entry.columns, entry.corpus)

    def _from_table(
        self, pair: TaskLanguagePair, entry: Entry, column: str, place: str, problems: list[str]
    ) -> Mapping[str, Place]:
        splits: dict[str, Place] = {}
        if entry.folder:
            path, start = self.folder / in_home(entry.folder), self._start(entry.folder)
            splits |= splits_of(path, column, place, problems, start)
        elif entry.hub:
            name, names = entry.hub.name, entry.hub.configuration
            if not names and name in (_UD, _WIKIANN):
                names = self._configuration(pair, name, f"{place}, hub: ", problems)
            elif name == _UD:
                # A name that is not among the language's treebanks may belong to another release or another language.
                treebanks = [(find_treebank(pair.language, one), one) for one in names]
                names = tuple(treebank.name if treebank else one for treebank, one in treebanks)
            # A copy of a data set on this machine is found like any other path of the table.
            local = self.folder / in_home(name)
            columns = {**entry.columns, **entry.hub.columns}
            hub = Hub(HubData(str(local) if local.is_dir() else name, names, entry.hub.revision, columns))
            # Most data sets of raw text have no other split.
            splits |= {"train": hub} if column == TEXT else _by_split(hub, treebanks_of(pair.language))
        for split, given in entry.splits.items():
            if isinstance(given, tuple):
                paths, starts = [self.folder / in_home(one) for one in given], [*map(self._start, given)]
                splits[split] = Files(checked_files(paths, column, f"{place}, {split}", problems, starts))
            else:
                splits[split] = given
        return splits

    def _start(self, path: str) -> str:
        """Where a path of the table starts, for messages of what is not there; "" if it is absolute."""
        if in_home(path).is_absolute():
            return ""
        here = f", and {path} is there from the working folder: name its whole path" if Path(path).exists() else ""
        return f"; relative paths start at --data_folder ({self.spec.folder}){here}"

    def _unnamed(self, pair: TaskLanguagePair, column: str, problems: list[str]) -> Mapping[str, Place]:
        """The splits of a pair that the table does not name."""
        is_ud = column in UD_COLUMNS
        if is_ud and (chosen := self.chosen.get(canonical(pair.language))):
            return self._treebanks(chosen, column, str(pair), problems)
        if place := folder_of(self.folder, pair, column, problems):
            return splits_of(place, column, str(pair), problems)
        if problems:
            return {}
        own = self.folder / pair.task / pair.language
        tabled = {language for _, language in self.entries}
        if near := likely_meant(self.folder, pair, self.spec.columns, tabled):
            problems.append(f"{pair}: expected its data in {own}, {near}")
            return {}
        if is_ud and (default := treebanks_of(pair.language)[:1]):
            return self._treebanks(default, column, str(pair), problems)
        missing = f"{pair}: no folder {own}" + (f" and no file {own}.txt" if column == TEXT else "")
        if not is_ud and column != "ner":
            problems.append(f"{missing}, and the task has no default data set; {LOCAL_ALTERNATIVES}")
            return {}
        name = _UD if is_ud else _WIKIANN
        names = self._configuration(pair, name, f"{missing}, and ", problems)
        return dict.fromkeys(SPLITS, Hub(HubData(name, names))) if names else {}

    def _treebanks(
        self, treebanks: Sequence[Treebank], column: str, place: str, problems: list[str]
    ) -> Mapping[str, Place]:
        """The splits of treebanks, read one after the other: from a release on this machine, else from the hub."""
        folders = {treebank.folder: release_folder(self.folder, treebank) for treebank in treebanks}
        if not any(folders.values()):
            return _by_split(Hub(HubData(_UD, tuple(treebank.name for treebank in treebanks))), treebanks)
        files: dict[str, tuple[Path, ...]] = dict.fromkeys(SPLITS, ())
        for name, folder in folders.items():
            if folder is None:
                problems.append(f"{place}: expected the treebank's folder {name} beside the others, found none")
                continue
            for split, own in splits_of(folder, column, place, problems).items():
                files[split] += own.files
        return {split: Files(paths) for split, paths in files.items() if paths}

    def _configuration(self, pair: TaskLanguagePair, name: str, before: str, problems: list[str]) -> tuple[str, ...]:
        """A data set's own code for the pair's language; `before` begins the message if it has none."""

        def code_of(language: str) -> str | None:
            treebanks = treebanks_of(language)
            return wikiann_configuration(language) if name == _WIKIANN else treebanks[0].name if treebanks else None

        if own := code_of(pair.language):
            return (own,)
        missing = f"{before}{name} has no default for the language {pair.language!r}; {LOCAL_ALTERNATIVES}."
        problems.append(missing + suggestion(pair.language, list(filter(code_of, known_languages()))))
        return ()


def _contents(data: PairData, split: str) -> dict[Path | str, str]:
    """What a split holds, as it is known by any name, with its name: files with links resolved, or rows in memory."""
    place = data.splits.get(split)
    if isinstance(place, Files):
        return {path.resolve(): str(path) for path in place.files if path.exists()}
    return {place.content: "rows in memory"} if isinstance(place, Rows) else {}


def _by_split(place: Hub, treebanks: Sequence[Treebank]) -> Mapping[str, Place]:
    """Each split from the configurations that have it. This is known only for the newest UD: others have all three."""
    hub = place.hub
    if hub.name != _UD or hub.revision or not hub.configurations:
        return dict.fromkeys(SPLITS, place)
    known = {treebank.name: treebank.splits for treebank in treebanks}
    names = {split: tuple(one for one in hub.configurations if split in known.get(one, SPLITS)) for split in SPLITS}
    return {split: Hub(replace(hub, configurations=names[split])) for split in SPLITS if names[split]}
