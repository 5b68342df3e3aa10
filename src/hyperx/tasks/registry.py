"""The kinds of tasks, one line each, and what is known of them before PyTorch and a task's class are loaded."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from hyperx.errors import HyperXError, did_you_mean

if TYPE_CHECKING:
    from hyperx.tasks.base import Task

AnyTask = TypeVar("AnyTask", bound="type[Task]")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of task, as far as the options of a run can be checked with it.

    Args:
        made_by: its class, or where that is (``module:class``).
        column: the column of :class:`~hyperx.data.read.sentence.Sentence` by which its data is located and checked.
        reads: whether it needs a sentence's words, or its raw text (or two texts) with one label for all.
        auxiliary: whether it only serves other tasks: its measure enters no average, and it predicts nothing.
        options: the options of training that only this kind reads.
    """

    made_by: str | type[Task]
    column: str
    reads: Literal["words", "text"] = "words"
    auxiliary: bool = False
    options: tuple[str, ...] = ()

    def task_class(self) -> type[Task]:
        """The class, imported if need be."""
        if not isinstance(self.made_by, str):
            return self.made_by
        module, _, name = self.made_by.partition(":")
        made_by: type[Task] = getattr(importlib.import_module(module), name)
        return made_by


RAW_TEXT = "mlm"
"""The kind that reads raw text."""

KINDS: dict[str, Kind] = {
    "ner": Kind("hyperx.tasks.tagging:NamedEntities", "ner", options=("entity_types", "label_map")),
    "pos": Kind("hyperx.tasks.tagging:PartOfSpeech", "upos"),
    "dep": Kind("hyperx.tasks.parsing:DependencyParsing", "head", options=("parser_projections",)),
    RAW_TEXT: Kind("hyperx.tasks.masking:MaskedLanguageModelling", "text", reads="text", auxiliary=True),
    "cls": Kind("hyperx.tasks.classification:TextClassification", "label", reads="text"),
}
"""Every kind of task by its name, which its class has as ``kind``."""


def register_task(task: AnyTask, *, column: str, **facts: Any) -> AnyTask:
    """Add a kind of task whose class is elsewhere: ``hyperx.register_task(MyTask, column="label", reads="text")``.

    The keywords are fields of :class:`Kind`. Raises a HyperXError if another class has that kind.
    """
    known = KINDS.get(task.kind)
    if known is not None and known.task_class() is not task:
        raise HyperXError(f"{task.__name__}: there is a task {task.kind!r} already; give it a kind of its own")
    KINDS[task.kind] = Kind(task, column, **facts)
    return task


def make_tasks(kinds: Mapping[str, str]) -> dict[str, Task]:
    """Tasks by name, from the kind of each."""
    return {name: KINDS[kind].task_class()(name) for name, kind in kinds.items()}


def kinds_of(names: Mapping[str, str]) -> dict[str, Kind]:
    """What is known of tasks by name, from the name of each one's kind; unknown kinds are left out."""
    return {name: KINDS[kind] for name, kind in names.items() if kind in KINDS}


# Names of tasks -------------------------------------------------------------------------------------------------------

JSON_KEYS = frozenset({"sent_id", "text", "text_pair", "words", "space_after", "entities", "confidence", "error"})
JSON_KEYS |= {"start_char", "end_char", "sentence_confidence", "language"}
"""The keys of predicted JSON lines other than the tasks' names, which have the labels."""


def read_kinds(entries: Sequence[str], used: Iterable[str], problems: list[str]) -> dict[str, str]:
    """The kind of every task by its name, in the order of the list of ``kind`` and ``name=kind``, or of the names
    in use if nothing is listed. Problems are added to a list."""
    kinds: dict[str, str] = {}
    for entry in entries or tuple(dict.fromkeys(used)):
        name, separator, kind = entry.partition("=")
        kind = kind if separator else name
        if name in kinds:
            problems.append(f"--tasks: {name!r} is named twice; give each task a name of its own")
        elif kind not in KINDS:
            hint = did_you_mean(kind, KINDS)
            if not (hint or entries):
                hint = f" A task with a name of its own needs its kind: --tasks {kind}=KIND, with all other tasks"
            place = "--tasks" if entries else "pairs"
            problems.append(f"{place}: there is no task {kind!r}; there are {', '.join(KINDS)}.{hint}")
        elif name in JSON_KEYS:
            problems.append(f"--tasks: {name!r} has another meaning in predict's JSON lines; choose another name")
        elif not name.isidentifier():
            problems.append(f"--tasks: expected a name of letters, digits and _; found {name!r}")
        else:
            kinds[name] = kind
    return kinds
