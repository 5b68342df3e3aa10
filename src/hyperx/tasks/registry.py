"""The kinds of tasks, one line each, and tasks by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from hyperx.data.output import JSON_KEYS
from hyperx.errors import did_you_mean
from hyperx.tasks.base import Task
from hyperx.tasks.classification import TextClassification
from hyperx.tasks.masking import MaskedLanguageModelling
from hyperx.tasks.parsing import DependencyParsing
from hyperx.tasks.tagging import NamedEntities, PartOfSpeech

TASKS: dict[str, type[Task]] = {
    task.kind: task
    for task in (
        NamedEntities,
        PartOfSpeech,
        DependencyParsing,
        MaskedLanguageModelling,
        TextClassification,
    )
}
"""Every kind of task by its name."""


def make_tasks(kinds: Mapping[str, str]) -> dict[str, Task]:
    """Tasks by name, from the kind of each."""
    return {name: TASKS[kind](name) for name, kind in kinds.items()}


def read_kinds(entries: Sequence[str], used: Iterable[str], problems: list[str]) -> dict[str, str]:
    """The kind of every task by its name, in order.

    Args:
        entries: the user's list: ``kind``, or ``name=kind``.
        used: names in use, which are the tasks if nothing is listed.
        problems: the list to which problems are added.
    """
    kinds: dict[str, str] = {}
    for entry in entries or tuple(dict.fromkeys(used)):
        name, separator, kind = entry.partition("=")
        kind = kind if separator else name
        if name in kinds:
            problems.append(f"--tasks: {name!r} is named twice; give each task a name of its own")
        elif kind not in TASKS:
            problems.append(
                f"--tasks: there is no task {kind!r}; there are {', '.join(TASKS)}.{_kind_hint(kind, entries)}"
            )
        elif hasattr(nn.ModuleDict(), name):
            problems.append(f"--tasks: {name!r} is a word that PyTorch keeps for itself; choose another name")
        elif name in JSON_KEYS:
            problems.append(f"--tasks: {name!r} has another meaning in predict's JSON lines; choose another name")
        elif not name.isidentifier():
            problems.append(f"--tasks: expected a name of letters, digits and _; found {name!r}")
        else:
            kinds[name] = kind
    return kinds


def _kind_hint(kind: str, entries: Sequence[str]) -> str:
    close = did_you_mean(kind, TASKS)
    if close or entries:
        return close
    return f" A task with a name of its own needs its kind: --tasks {kind}=KIND, with all other tasks"
