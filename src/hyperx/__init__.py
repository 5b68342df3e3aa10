"""Hyper-X: one hypernetwork that writes the adapters of a frozen multilingual encoder for every task and language."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperx.model import HyperX as HyperX
    from hyperx.tasks.base import Task as Task
    from hyperx.tasks.registry import register_task as register_task

__version__ = "0.1.0"
__all__ = ["HyperX", "Task", "__version__", "register_task"]

_PLACES = {"HyperX": "hyperx.model", "Task": "hyperx.tasks.base", "register_task": "hyperx.tasks.registry"}


def __getattr__(name: str) -> Any:
    # Importing the model imports torch and transformers, which `hyperx --help` should not wait for.
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'hyperx' has no attribute {name!r}")
