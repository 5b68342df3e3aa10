"""Where the data of a model's pairs is: found for a run, kept with its checkpoints, found again for evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hyperx.config import DataOptions
from hyperx.data.resolution import resolve
from hyperx.data.sources import DataSources
from hyperx.errors import ConfigError, HyperXError
from hyperx.pairs import TaskLanguagePair
from hyperx.tasks.base import Task
from hyperx.tasks.masking import MaskedLanguageModelling
from hyperx.tasks.registry import TASKS


def raw_text_of(pair: TaskLanguagePair) -> TaskLanguagePair:
    """The ``mlm`` pair under which the raw text of a pair's language is found."""
    return TaskLanguagePair(MaskedLanguageModelling.kind, pair.language)


def find_sources(
    pairs: Sequence[TaskLanguagePair],
    tasks: Mapping[str, Task],
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


def _columns(tasks: Mapping[str, Task]) -> dict[str, str]:
    """The column of each task, kinds included: a table may serve several runs, so it may have pairs of other tasks."""
    kinds = {kind: task.column for kind, task in TASKS.items()}
    return kinds | {name: task.column for name, task in tasks.items()}


def with_all_pairs(
    sources: DataSources,
    tasks: Mapping[str, Task],
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
    others = DataSources(
        resolve(
            [pair for pair in every if pair not in sources],
            data_folder=data.data_folder,
            table=data.data,
            columns=_columns(tasks),
            label_map=label_map,
            treebanks=data.treebanks,
            lacking=lacking,
        )
    )
    named = table_keys(data.data)
    problems += [problem for pair, found in lacking.items() if pair.key in named for problem in found]
    return sources.joined(others)


def table_keys(table: Iterable[str]) -> set[tuple[str, str]]:
    """The keys of the pairs in a table of data; malformed names are reported where the table is read."""
    keys = set()
    for name in table:
        with contextlib.suppress(HyperXError):
            keys.add(TaskLanguagePair.parse(name).key)
    return keys


def kept_data(sources: DataSources, data: DataOptions, label_map: dict[str, str]) -> dict[str, Any]:
    """What a checkpoint records of its data: where that of every pair of the model is, and how it was found."""
    return {
        "data_folder": str(data.data_folder.resolve()),
        "table": dict(data.data),
        "label_map": label_map,
        "treebanks": data.treebanks,
        "sources": sources.to_json(),
    }
