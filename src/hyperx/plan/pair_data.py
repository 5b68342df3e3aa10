"""Where the data of a model's pairs is: found for a run, kept with its checkpoints, found again for evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperx.config import DataOptions
from hyperx.data.locate.resolution import resolve
from hyperx.data.locate.sources import DataSources
from hyperx.data.locate.treebanks import UD_COLUMNS
from hyperx.errors import ConfigError, HyperXError
from hyperx.languages import canonical
from hyperx.pairs import TaskLanguagePair
from hyperx.tasks.registry import KINDS, RAW_TEXT, Kind


def raw_text_of(pair: TaskLanguagePair) -> TaskLanguagePair:
    """The ``mlm`` pair under which the raw text of a pair's language is found."""
    return TaskLanguagePair(RAW_TEXT, pair.language)


def find_sources(
    pairs: Sequence[TaskLanguagePair],
    tasks: Mapping[str, Kind],
    data_folder: Path,
    table: Mapping[str, object],
    label_map: Mapping[str, str],
    treebanks: Sequence[str],
    problems: list[str],
) -> DataSources | None:
    """Where the data of some pairs is; None if there are problems, which are added to ``problems``."""
    try:
        return DataSources(
            resolve(
                [pair for pair in pairs if pair.task in tasks],
                data_folder=data_folder,
                table=table,
                columns=_columns(tasks),
                label_map=label_map,
                treebanks=treebanks,
            )
        )
    except ConfigError as error:
        problems += error.problems
        return None


def _columns(tasks: Mapping[str, Kind]) -> dict[str, str]:
    """The column of each task, kinds included: a table may serve several runs, so it may have pairs of other tasks."""
    kinds = {kind: task.column for kind, task in KINDS.items()}
    return kinds | {name: task.column for name, task in tasks.items()}


def with_all_pairs(
    sources: DataSources,
    tasks: Mapping[str, Kind],
    languages: Sequence[str],
    data: DataOptions,
    label_map: dict[str, str],
    problems: list[str],
) -> DataSources:
    """The sources of every pair of the model that has data, so that evaluation finds them without further options.

    A pair that no option names may lack data; if data of a pair in the table is not found, the reason is added to
    ``problems``.
    """
    every = [TaskLanguagePair(task, language) for task in tasks for language in languages]
    lacking: dict[TaskLanguagePair, list[str]] = {}
    others = available([pair for pair in every if pair not in sources], tasks, data, label_map, lacking)
    named = table_keys(data.data)
    problems += [problem for pair, found in lacking.items() if pair.key in named for problem in found]
    return sources.joined(others)


def available(
    pairs: Sequence[TaskLanguagePair],
    tasks: Mapping[str, Kind],
    data: DataOptions,
    label_map: Mapping[str, str],
    lacking: dict[TaskLanguagePair, list[str]] | None = None,
) -> DataSources:
    """The sources of those pairs that have data; why others have none is added to ``lacking``."""
    return DataSources(
        resolve(
            pairs,
            data_folder=data.data_folder,
            table=data.data,
            columns=_columns(tasks),
            label_map=label_map,
            treebanks=data.treebanks,
            lacking={} if lacking is None else lacking,
        )
    )


@dataclass(frozen=True, slots=True)
class NamedData:
    """The data that one command names. It contains the pairs that this is the data of.

    Args:
        table: the table of data.
        treebanks: the chosen treebanks.
        tasks: the tasks of the model.
    """

    table: Mapping[str, object]
    treebanks: Sequence[str]
    tasks: Mapping[str, Kind]

    @property
    def languages(self) -> set[str]:
        """The languages whose treebanks are chosen, in canonical form."""
        return set(map(language_of, self.treebanks))

    def __contains__(self, pair: TaskLanguagePair) -> bool:
        by_treebank = pair.task in treebank_tasks(self.tasks) and pair.key[1] in self.languages
        return by_treebank or pair.key in table_keys(self.table)

    def pairs(self, known: Sequence[TaskLanguagePair]) -> tuple[TaskLanguagePair, ...]:
        """The pairs of the model's tasks, the known ones as they are spelt there; others are of new languages."""
        codes = [entry.partition("=")[0] for entry in self.treebanks]
        others = [TaskLanguagePair(task, code) for task in sorted(treebank_tasks(self.tasks)) for code in codes]
        with contextlib.suppress(HyperXError):  # reported where the table is read
            others += [TaskLanguagePair.parse(name) for name in self.table]
        every = [*(pair for pair in known if pair in self), *(pair for pair in others if pair.task in self.tasks)]
        first: dict[tuple[str, str], TaskLanguagePair] = {}
        for pair in every:
            first.setdefault(pair.key, pair)
        return tuple(first.values())


def language_of(entry: str) -> str:
    """The canonical language of an entry of ``--treebanks``."""
    return canonical(entry.partition("=")[0])


def named_twice(table: Iterable[str], treebanks: Iterable[str], tasks: Mapping[str, Kind]) -> list[str]:
    """A problem for each pair whose data one command names in two places: in the table and by treebanks."""
    chosen, read = {language_of(entry): entry for entry in treebanks}, treebank_tasks(tasks)
    return [
        f"--treebanks: {chosen[language]} names data of {task}#{language}, and so does the data table; keep one of them"
        for task, language in sorted(table_keys(table))
        if task in read and language in chosen
    ]


def treebank_tasks(tasks: Mapping[str, Kind]) -> set[str]:
    """The tasks that treebanks have data for."""
    return {name for name, task in tasks.items() if task.column in UD_COLUMNS}


def table_keys(table: Iterable[str]) -> set[tuple[str, str]]:
    """The keys of the pairs in a table of data; malformed names are reported where the table is read."""
    keys = set()
    for name in table:
        with contextlib.suppress(HyperXError):
            keys.add(TaskLanguagePair.parse(name).key)
    return keys


def kept_data(
    sources: DataSources, data: DataOptions, label_map: dict[str, str], read: Iterable[TaskLanguagePair]
) -> dict[str, Any]:
    """What a checkpoint records of its data: where that of every pair of the model is, and how it was found.

    Args:
        sources: the data of every pair.
        data: the options by which it was found.
        label_map: entity types to read as others.
        read: the pairs whose data the run reads. That of the others may be what the hub has by default.
    """
    return {
        "read": list(map(str, read)),
        "data_folder": str(data.data_folder.resolve()),
        "table": dict(data.data),
        "label_map": label_map,
        "treebanks": data.treebanks,
        "sources": sources.to_json(),
    }
