"""The kinds of tasks, one line each, and tasks by name."""

from __future__ import annotations

from collections.abc import Mapping

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
"""Every kind of task by its name; :data:`hyperx.tasks.kinds.KINDS` has a line for each, too."""


def make_tasks(kinds: Mapping[str, str]) -> dict[str, Task]:
    """Tasks by name, from the kind of each."""
    return {name: TASKS[kind](name) for name, kind in kinds.items()}
