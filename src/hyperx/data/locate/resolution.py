"""Where each pair's data is: the user's table, chosen treebanks, a local folder or the hub, in this order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from hyperx.data.locate.treebanks import UD_COLUMNS, choose_treebanks, release_folder
from hyperx.data.read.base import LABEL, TEXT
from hyperx.data.read.formats import endings, format_problem
from hyperx.data.read.hub import LOCAL_ALTERNATIVES, HubSource
from hyperx.data.read.rows import known_names
from hyperx.data.read.spans import type_problem
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

SPLITS = ("train", "dev", "test")

_UD, _UD_27, _WIKIANN = (
    "commul/universal_dependencies",
    "universal-dependencies/universal_dependencies",
    "unimelb-nlp/wikiann",
)
_CONFIGURATIONS: dict[str, Callable[[str], str | None]] = {
    _UD: lambda language: next((treebank.name for treebank in treebanks_of(language)), None),
    _WIKIANN: wikiann_configuration,
}
_CONFIGURATIONS[_UD_27] = _CONFIGURATIONS[_UD]
_DEFAULTS = {**dict.fromkeys(UD_COLUMNS, _UD), "ner": _WIKIANN}

_PAIR_KEYS = (*SPLITS, "folder", "hub", "columns", "label_map")
_MAPPED = ("ner", LABEL)
_HUB_KEYS = ("name", "configuration", "revision", "columns")

# File names by convention, and those of UD releases, whose largest treebanks split train into parts (-train-a, ...).
_PLAIN_NAMES = {**{split: split for split in SPLITS}, **dict.fromkeys(("val", "valid", "validation"), "dev")}
_RELEASE_NAME = re.compile(r"(?P<treebank>.+)-ud-(?P<split>train|dev|test)(?P<part>-.+)?")
_SPLIT_WORDS = frozenset(_PLAIN_NAMES)
_RELEASE_ENDINGS = (".conllu", ".iob2")  # a release's .txt files hold the raw text


@dataclass(frozen=True, slots=True)
class FileSource:
    """Files that are read one after the other, as absolute paths. Links are not resolved: their own names count."""

    files: tuple[Path, ...]

    def describe(self, _split: str) -> str:
        """The files, for people."""
        return ", ".join(map(str, self.files))


Source = FileSource | HubSource


@dataclass(frozen=True, slots=True)
class PairSources:
    """Where one pair's splits are.

    Args:
        pair: the pair, in the user's spelling.
        column: the column that the task reads.
        splits: the source of each available split.
        label_map: entity types to read as others, or as O; labels of texts to read as others.
        columns: our names -> the column names in files of labelled texts, if they are unusual.
    """

    pair: TaskLanguagePair
    column: str
    splits: Mapping[str, Source]
    label_map: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)


def resolve(
    pairs: Iterable[TaskLanguagePair],
    *,
    data_folder: Path,
    table: Mapping[str, object] | None = None,
    columns: Mapping[str, str],
    label_map: Mapping[str, str] | None = None,
    treebanks: Sequence[str] = (),
    lacking: dict[TaskLanguagePair, list[str]] | None = None,
) -> list[PairSources]:
    """Find each pair's data: in the table, else in chosen treebanks, else in a local folder, else on the hub.

    Nothing is opened and no network is used. Local folders are `<data_folder>/<task>/<language>` with files
    `{train,dev,test}.*`; raw text to train on may also be a file `<data_folder>/<task>/<language>.txt`. The hub's
    defaults are UD's default treebank of the language and WikiANN. A treebank is read from its folder in a release,
    `UD_...`, if that is in the data folder.

    Args:
        pairs: the pairs.
        data_folder: the folder of local data; relative paths of the table start there.
        table: pair -> folder, or a mapping with `folder` or `hub` (name, configuration, revision, columns), files
            under `train`, `dev` and `test`, `columns` of labelled texts, and `label_map`.
        columns: task -> the column that it reads: `upos`, `ner`, `head` or `label`; `text` for raw text.
        label_map: entity types to read as others, or as O, in every pair; a pair's own map takes precedence.
        treebanks: UD treebanks to read instead of defaults and local folders, such as `en=en_ewt+en_gum`.
        lacking: if given, pairs without data are added with the reasons and left out, and nothing is raised.

    Raises:
        ConfigError: with all problems together: paths without data, unknown keys and file extensions, two sources for
            one pair, training on a test file, languages without a default.
    """
    resolver = _Resolver(data_folder, columns, dict(label_map or {}), treebanks)
    entries, distinct = resolver.entries(table or {}), resolver.distinct(pairs)
    general, found = resolver.problems, []
    own: dict[TaskLanguagePair, list[str]] = {}
    for pair in distinct:
        resolver.problems = own.setdefault(pair, [])
        found.append(resolver.pair(pair, entries))
    resolved = [sources for sources in found if sources]
    tests = resolver.test_files(resolved, entries)
    for sources in resolved:
        resolver.problems = own[sources.pair]
        resolver.refuse_test_files(sources, tests)
    if lacking is not None:
        lacking |= {pair: problems for pair, problems in own.items() if problems}
    elif every := [*general, *chain.from_iterable(own.values())]:
        raise ConfigError(list(dict.fromkeys(every)))
    return [sources for sources in resolved if not own[sources.pair]]


_Entries = dict[tuple[str, str], tuple[TaskLanguagePair, object]]


class _Resolver:
    """One resolution: what it reads from, and the problems that it has found."""

    def __init__(
        self,
        data_folder: Path,
        columns: Mapping[str, str],
        label_map: Mapping[str, str],
        treebanks: Sequence[str] = (),
    ) -> None:
        self.data_folder, self.columns, self.label_map = in_home(data_folder).resolve(), columns, label_map
        self.problems: list[str] = []
        self.chosen = choose_treebanks(treebanks, self.problems)

    def distinct(self, pairs: Iterable[TaskLanguagePair]) -> list[TaskLanguagePair]:
        """Each pair once; two spellings of one pair are a problem."""
        seen: dict[tuple[str, str], TaskLanguagePair] = {}
        for pair in pairs:
            first = seen.setdefault(pair.key, pair)
            if first != pair:
                self.problems.append(
                    f"{first} and {pair} are one pair: {pair.language!r} names the same language; keep one"
                )
        return list(seen.values())

    def entries(self, table: Mapping[str, object]) -> _Entries:
        """The table by pair."""
        if not isinstance(table, Mapping):
            self.problems.append(f"data table: expected a mapping from pairs to their data, found {table!r}")
            return {}
        entries: _Entries = {}
        for name, value in table.items():
            try:
                pair = TaskLanguagePair.parse(str(name))
            except HyperXError as error:
                self.problems.append(f"data table: {error}")
                continue
            if pair.task not in self.columns:
                self.problems.append(f"data table: {self._unknown_task(pair)}")
            first, _ = entries.setdefault(pair.key, (pair, value))
            if first != pair:
                self.problems.append(f"data table: {first} and {pair} are one pair; keep one of them")
        return entries

    def pair(self, pair: TaskLanguagePair, entries: _Entries) -> PairSources | None:
        """One pair's data from the first place that has it."""
        if pair.task not in self.columns:
            self.problems.append(self._unknown_task(pair))
            return None
        column = self.columns[pair.task]
        label_map = self.label_map if column == "ner" else {}
        if pair.key in entries:
            return self._from_table(pair, *entries[pair.key], label_map)
        return PairSources(pair, column, self._unnamed(pair, column), label_map)

    def _unnamed(self, pair: TaskLanguagePair, column: str) -> dict[str, Source]:
        """The splits of a pair that the table does not name."""
        is_ud = column in UD_COLUMNS
        if is_ud and (chosen := self.chosen.get(canonical(pair.language))):
            return self._treebanks(chosen, column, str(pair))
        if place := self._local(pair, column):
            return self._folder(place, column, str(pair))
        if near := self._near(pair):
            expected = f"expected its data in {self.data_folder / pair.task / pair.language}, found {near}"
            self.problems.append(f"{pair}: {expected}; rename it, or name it in the data table")
            return {}
        if is_ud and (default := treebanks_of(pair.language)[:1]):
            return self._treebanks(default, column, str(pair))
        return self._default_hub(pair, column)

    def _unknown_task(self, pair: TaskLanguagePair) -> str:
        known = f"{pair}: unknown task {pair.task!r}; expected one of {', '.join(self.columns)}."
        return known + did_you_mean(pair.task, self.columns)

    # The table

    def _from_table(
        self, pair: TaskLanguagePair, name: TaskLanguagePair, value: object, label_map: Mapping[str, str]
    ) -> PairSources:
        place, column = f"data table, {name}", self.columns[pair.task]
        if isinstance(value, str):
            value = {"folder": value}
        if not isinstance(value, Mapping):
            self.problems.append(
                f"{place}: expected a folder or a mapping with {', '.join(_PAIR_KEYS)}, found {value!r}"
            )
            return PairSources(pair, column, {})
        self._check_keys(value, _PAIR_KEYS, place)
        columns = self._columns(value.get("columns"), column, f"{place}, columns")
        splits = self._whole(pair, value, columns, place)
        for split in SPLITS:
            if split in value:
                splits[split] = FileSource(self._files(value[split], column, f"{place}, {split}"))
        if columns and column != LABEL and not _names_entities(columns, column, splits):
            named = f"only labelled texts have columns to name here; this task reads {column}"
            also = " (of CoNLL-U, name the key of MISC that has entities: {ner: KEY})" if column == "ner" else ""
            self.problems.append(f"{place}: {named}{also}")
        if not splits and not set(value) & {"folder", "hub"}:
            self.problems.append(f"{place}: names no data; give folder, hub, or files under {', '.join(SPLITS)}")
        own = self._label_map(value.get("label_map", {}), column, f"{place}, label_map")
        return PairSources(pair, column, splits, {**label_map, **own}, columns)

    def _columns(self, value: object, column: str, place: str) -> Mapping[str, str]:
        """Our names of columns -> the data's."""
        if not value:
            return {}
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value.values()):
            self.problems.append(f"{place}: expected our names and the data set's, found {value!r}")
            return {}
        self._check_keys(value, known_names(column), place)
        return value

    def _whole(
        self, pair: TaskLanguagePair, value: Mapping[str, Any], columns: Mapping[str, str], place: str
    ) -> dict[str, Source]:
        """The splits of a folder or a hub data set."""
        column = self.columns[pair.task]
        if "folder" in value and "hub" in value:
            self.problems.append(f"{place}: found both folder and hub; keep one, and name single splits beside it")
        if "folder" in value:
            folder = self._path(value["folder"], f"{place}, folder")
            return self._folder(folder, column, place) if folder else {}
        source = self._hub(pair, value["hub"], columns, f"{place}, hub") if "hub" in value else None
        if source and column == TEXT:
            return {"train": source}  # most data sets of raw text have no other split
        return _by_split(source, treebanks_of(pair.language)) if source else {}

    def _check_keys(self, value: Mapping[str, Any], known: Sequence[str], place: str) -> None:
        for key in value:
            if key not in known:
                hint = did_you_mean(str(key), known)
                self.problems.append(f"{place}: unknown key {key!r}; expected {', '.join(known)}.{hint}")

    def _path(self, value: object, place: str) -> Path | None:
        if isinstance(value, str) and value:
            return self.data_folder / in_home(value)
        self.problems.append(f"{place}: expected a path, found {value!r}")
        return None

    def _files(self, value: object, column: str, place: str) -> tuple[Path, ...]:
        values = value if isinstance(value, list | tuple) else [value]
        if not values:
            self.problems.append(f"{place}: expected a file or a list of files, found an empty list")
        paths = [path for one in values if (path := self._path(one, place))]
        for path in paths:
            if not path.is_file():
                self.problems.append(
                    f"{place}: expected a file, found {'a folder' if path.is_dir() else 'none'} at {path}"
                )
            elif problem := format_problem(path, column):
                self.problems.append(f"{place}: {problem}")
        return tuple(paths)

    def _label_map(self, value: object, column: str, place: str) -> Mapping[str, str]:
        if not value:
            return {}
        pairs = value.items() if isinstance(value, Mapping) else [("", None)]
        named = [text for pair in pairs for text in pair]
        # Labels may be numbers; YAML's true is one in Python.
        if not all(isinstance(text, str | int) and not isinstance(text, bool) and text != "" for text in named):
            quotes = "; write true and false in quotes" if any(isinstance(text, bool) for text in named) else ""
            expected = "expected entity types and what to read them as, such as {DATE: O}"
            self.problems.append(f"{place}: {expected}, found {value!r}{quotes}")
            return {}
        if column not in _MAPPED:
            self.problems.append(
                f"{place}: only entity types and labels of texts can be mapped; this task reads {column}"
            )
        if column == "ner" and (problem := type_problem(map(str, named))):
            self.problems.append(f"{place}: {problem}")
        return {str(label): str(target) for label, target in pairs}

    def _hub(self, pair: TaskLanguagePair, value: object, columns: Mapping[str, str], place: str) -> HubSource | None:
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
            self.problems.append(f"{place}: expected a mapping with {', '.join(_HUB_KEYS)}, found {value!r}")
            return None
        self._check_keys(value, _HUB_KEYS, place)
        columns = {**columns, **self._columns(value.get("columns"), self.columns[pair.task], f"{place}, columns")}
        if not isinstance(value.get("revision"), str | None):
            found = value["revision"]
            self.problems.append(f"{place}: expected text for revision, found {found!r}; write it in quotes")
        name = value["name"]
        configurations = self._configurations(pair, name, value.get("configuration"), place)
        # A copy of a data set on this machine is found like any other path of the table.
        local = self.data_folder / in_home(name)
        return HubSource(str(local) if local.is_dir() else name, configurations, value.get("revision"), columns)

    def _configurations(self, pair: TaskLanguagePair, name: str, value: object, place: str) -> tuple[str, ...]:
        """The configurations that the table names, or else the one of the pair's language."""
        if value is None:
            default = self._configuration(pair, name, f"{place}: ") if name in _CONFIGURATIONS else None
            return (default,) if default else ()
        given = value if isinstance(value, list | tuple) else [value]
        named = [one for one in given if isinstance(one, str) and one]
        if not named or len(named) < len(given):
            expected = "expected text, or a list of it, for configuration"
            self.problems.append(f"{place}: {expected}, found {value!r}; write it in quotes")
            return ()
        if name not in (_UD, _UD_27):
            return tuple(named)
        # A name that is not among the language's treebanks may belong to another release or another language.
        known = [find_treebank(pair.language, one) for one in named]
        return tuple(treebank.name if treebank else one for treebank, one in zip(known, named, strict=True))

    # Folders

    def _local(self, pair: TaskLanguagePair, column: str) -> Path | None:
        """`<data_folder>/<task>/<language>`, a folder or for raw text also a file, under any code of the language; the
        user's own spelling comes first."""
        parent = self.data_folder / pair.task
        places: dict[Path, str] = {}
        for path in sorted(parent.iterdir()) if parent.is_dir() else []:
            if path.is_dir():
                places[path] = path.name
            elif column == TEXT and path.suffix.lower() in endings(TEXT):
                places[path] = path.stem
        same = [path for path, name in places.items() if canonical(name) == canonical(pair.language)]
        matching = [path for path in same if places[path] == pair.language] or same
        if len(matching) > 1:
            names = " and ".join(map(str, matching))
            what = "folders or files" if column == TEXT else "folders"
            message = f"{pair}: found two {what} of one language, {names}; keep one or name it in the data table"
            self.problems.append(message)
        return matching[0] if matching else None

    def _near(self, pair: TaskLanguagePair) -> Path | None:
        """What is likely meant as a pair's folder, under a name that is not read: one of another case, with the name of
        the language, with language and task swapped; or a file."""
        code = canonical(pair.language)
        known = known_languages().get(code)
        name = known.name.lower() if known else code
        for task in sorted(self.data_folder.iterdir()) if self.data_folder.is_dir() else []:
            if task.name.lower() == pair.task.lower() and task.is_dir():
                for path in sorted(task.iterdir()):
                    own = path.stem if _is_data(path) else path.name
                    if own.lower() == name or canonical(own) == code:
                        return path
        swapped = [self.data_folder / language / pair.task for language in (pair.language, code)]
        return next((path for path in swapped if path.is_dir()), None)

    def _folder(self, folder: Path, column: str, place: str) -> dict[str, Source]:
        """The splits of a folder: `{train,dev,test}.*`, or a UD or UNER release. A file of raw text is a train one."""
        if column == TEXT and folder.is_file():
            return {"train": FileSource(self._files(str(folder), column, place))}
        if not folder.is_dir():
            self.problems.append(f"{place}: {_no_folder(folder)}")
            return {}
        by_split: dict[str, list[Path]] = {}
        for path in sorted(path for path in folder.iterdir() if path.is_file()):
            if split := _split_of(path):
                by_split.setdefault(split, []).append(path)
        if not by_split:
            found = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
            named = f"train, dev (or validation) or test with the extension {', '.join(endings(column))}"
            self.problems.append(
                f"{place}: expected files in {folder} named {named}, or as in UD releases; found {found}"
            )
        for path in sorted(folder.iterdir()) if by_split else []:
            split = _PLAIN_NAMES.get(path.name.partition(".")[0].lower())
            if split and split not in by_split:
                known = f"expected {split} with the extension {', '.join(endings(column))}, found {path}"
                self.problems.append(f"{place}: {known}; rename or convert it")
        for split, paths in by_split.items():
            self._check_one_source(paths, split, place)
            self.problems.extend(f"{place}: {problem}" for path in paths if (problem := format_problem(path, column)))
        return {split: FileSource(tuple(by_split[split])) for split in SPLITS if split in by_split}

    def _check_one_source(self, paths: Sequence[Path], split: str, place: str) -> None:
        """Several files make one split only if they are the parts of one treebank."""
        if len(paths) > 1 and (len(set(map(_parts_of, paths))) > 1 or None in map(_parts_of, paths)):
            names = " and ".join(path.name for path in paths)
            where = f"{place}: found {names} for {split} in {paths[0].parent}"
            self.problems.append(f"{where}; keep one, or name the file in the data table")

    # Treebanks and the hub

    def _treebanks(self, treebanks: Sequence[Treebank], column: str, place: str) -> dict[str, Source]:
        """The splits of treebanks, read one after the other: from a release on this machine, else from the hub."""
        folders = {treebank.folder: release_folder(self.data_folder, treebank) for treebank in treebanks}
        if not any(folders.values()):
            return _by_split(HubSource(_UD, tuple(treebank.name for treebank in treebanks)), treebanks)
        for name, folder in folders.items():
            if folder is None:
                self.problems.append(f"{place}: expected the treebank's folder {name} beside the others, found none")
        found = [self._folder(folder, column, place) for folder in folders.values() if folder]
        files = {split: tuple(path for one in found for path in _split_files(one, split)) for split in SPLITS}
        return {split: FileSource(files[split]) for split in SPLITS if files[split]}

    def _default_hub(self, pair: TaskLanguagePair, column: str) -> dict[str, Source]:
        place = self.data_folder / pair.task / pair.language
        missing = f"{pair}: no folder {place}" + (f" and no file {place}.txt" if column == TEXT else "")
        name = _DEFAULTS.get(column)
        if name is None:
            self.problems.append(f"{missing}, and the task has no default data set; {LOCAL_ALTERNATIVES}")
            return {}
        configuration = self._configuration(pair, name, f"{missing}, and ")
        return dict.fromkeys(SPLITS, HubSource(name, (configuration,))) if configuration else {}

    def _configuration(self, pair: TaskLanguagePair, name: str, before: str) -> str | None:
        """A data set's own code for the pair's language; `before` begins the message if it has none."""
        configuration = _CONFIGURATIONS[name](pair.language)
        if configuration is None:
            missing = f"{before}{name} has no default for the language {pair.language!r}"
            self.problems.append(f"{missing}; {LOCAL_ALTERNATIVES}.{suggestion(pair.language, _with_data(name))}")
        return configuration

    # Train on test

    def test_files(self, resolved: Sequence[PairSources], entries: _Entries) -> dict[Path, TaskLanguagePair]:
        """The files, with links resolved, that any pair of the run or of the table is tested on."""
        return {
            path.resolve(): sources.pair
            for sources in [*self._rest(resolved, entries), *resolved]
            for path in _paths(sources, "test")
        }

    def refuse_test_files(self, sources: PairSources, tests: Mapping[Path, TaskLanguagePair]) -> None:
        """Note a problem for each test file, under any name, among the files to train on."""
        for path in _paths(sources, "train"):
            real = path.resolve()
            if real in tests or _named_test(path) or _named_test(real):
                what = f"the test file of {tests[real]}" if real in tests else "a test file by its name"
                advice = "train on a train or dev file, and keep test files for the end"
                self.problems.append(f"{sources.pair}: train names {path}, which is {what}; {advice}")

    def _rest(self, resolved: Sequence[PairSources], entries: _Entries) -> list[PairSources]:
        """The table's other pairs; their problems are not reported."""
        done = {sources.pair.key for sources in resolved}
        other = _Resolver(self.data_folder, self.columns, {})
        others = [pair for key, (pair, _) in entries.items() if key not in done and pair.task in self.columns]
        return [sources for pair in others if (sources := other.pair(pair, entries))]


def _no_folder(folder: Path) -> str:
    if folder.is_file():
        return f"expected a folder, found the file {folder}; say which split it is, such as {{test: {folder.name}}}"
    advice = "a data set of the hub is written {hub: {name: ..., configuration: ...}}"
    return f"expected a folder, found none at {folder}; {advice}"


def _split_of(path: Path) -> str | None:
    """The split of a file by its name; None for other files."""
    if path.suffix.lower() in _RELEASE_ENDINGS and (match := _RELEASE_NAME.fullmatch(path.stem)):
        return match["split"]
    return _PLAIN_NAMES.get(path.stem.lower()) if path.suffix.lower() in endings() else None


def _is_data(path: Path) -> bool:
    return path.suffix.lower() in endings() and path.is_file()


def _parts_of(path: Path) -> tuple[str, str] | None:
    """What the parts of one split have in common; None for a file that is a split of its own."""
    match = _RELEASE_NAME.fullmatch(path.stem)
    return (match["treebank"], path.suffix) if match and match["part"] else None


def _named_test(path: Path) -> bool:
    """Whether the last name of a split in a file's name is test."""
    words = [word for word in re.findall("[a-z]+", path.name.lower()) if word in _SPLIT_WORDS]
    return words[-1:] == ["test"]


def _paths(sources: PairSources, split: str) -> tuple[Path, ...]:
    return _split_files(sources.splits, split)


def _split_files(splits: Mapping[str, Source], split: str) -> tuple[Path, ...]:
    source = splits.get(split)
    return source.files if isinstance(source, FileSource) else ()


def _by_split(source: HubSource, treebanks: Sequence[Treebank]) -> dict[str, Source]:
    """Each split from the configurations that have it. This is known only for the newest UD: others have all three."""
    if source.name != _UD or source.revision or not source.configurations:
        return dict.fromkeys(SPLITS, source)
    known = {treebank.name: treebank.splits for treebank in treebanks}
    names = {split: tuple(one for one in source.configurations if split in known.get(one, SPLITS)) for split in SPLITS}
    return {split: replace(source, configurations=names[split]) for split in SPLITS if names[split]}


def _names_entities(columns: Mapping[str, str], column: str, splits: Mapping[str, Source]) -> bool:
    """Whether names of columns are only that of the entities in CoNLL-U files."""
    files = [path for split in splits for path in _split_files(splits, split)]
    return column == "ner" and set(columns) == {"ner"} and all(path.suffix.lower() == ".conllu" for path in files)


def _with_data(name: str) -> list[str]:
    """The codes of the languages that a data set of the hub has."""
    return [code for code in known_languages() if _CONFIGURATIONS[name](code)]
