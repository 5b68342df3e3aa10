"""Hyper-X: one hypernetwork that writes the adapters of a frozen multilingual encoder for every task and language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperx.model import HyperX as HyperX

__version__ = "0.1.0"
__all__ = ["HyperX", "__version__"]


def __getattr__(name: str) -> Any:
    # Importing the model imports torch and transformers, which `hyperx --help` should not wait for.
    if name == "HyperX":
        from hyperx.model import HyperX

        return HyperX
    raise AttributeError(f"module 'hyperx' has no attribute {name!r}")
