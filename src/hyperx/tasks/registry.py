"""The tasks, one line each."""

from __future__ import annotations

from hyperx.tasks.base import Task
from hyperx.tasks.tagging import NamedEntities, PartOfSpeech

TASKS: dict[str, Task] = {task.name: task for task in (NamedEntities(), PartOfSpeech())}
"""Every task by its name."""
