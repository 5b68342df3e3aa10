"""A device that never answers, in place of a GPU: what asks it, or makes it wait for the CPU, is an error here.

Tensors on the device ``meta`` have shapes and no values. So a training step that gets through on it reads nothing back,
which on a GPU would mean waiting until all that was asked of it before is done. What that device lets pass and a GPU
does not, the two modes of :func:`never_answers` refuse: copies that wait, of tensors and of lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device("meta")
"""The device that never answers."""

ASKING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class WaitingError(Exception):
    """A GPU would have been waited for."""


def _on_device(value: object) -> bool:
    return isinstance(value, Tensor) and value.device.type == DEVICE.type


class _Operations(TorchDispatchMode):
    """Refuses operations whose result depends on values, and copies that wait."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        name = func.overloadpacket.__name__
        if _on_device(args[0] if args else None):
            if name in ASKING:
                raise WaitingError(f"{name}: its result is a value of the device")
            if name in INDEXING:
                _check_indices(name, args[1])
        if name == "_to_copy":
            _check_copy(args[0], named.get("device", args[0].device), named.get("non_blocking", False))
        if name == "copy_":
            _check_copy(args[1], args[0].device, args[2] if len(args) > 2 else named.get("non_blocking", False))
        return func(*args, **named)


def _check_indices(name: str, indices: Sequence[Tensor | None]) -> None:
    for index in indices:
        if index is not None and index.dtype in (torch.bool, torch.uint8):
            raise WaitingError(f"{name}: how many a mask chooses is a value of the device")
        if index is not None and not _on_device(index):
            raise WaitingError(f"{name}: its indices come from the CPU")


def _check_copy(source: Tensor, device: torch.device, non_blocking: bool) -> None:
    if _on_device(source) and device.type != DEVICE.type:
        raise WaitingError(f"a copy to {device}")
    if not _on_device(source) and device.type == DEVICE.type and not non_blocking:
        raise WaitingError("a copy to the device that waits; see hyperx.device.placed")


class _Lists(TorchFunctionMode):
    """Refuses numbers of Python where they become tensors on the device, which that device does without a word."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and torch.device(named.get("device") or "cpu").type == DEVICE.type:
            raise WaitingError("a tensor made of numbers on the device; make it on the CPU, see hyperx.device.placed")
        if func in (Tensor.__getitem__, Tensor.__setitem__) and _on_device(args[0]):
            parts = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(part, list | range) for part in parts):
                raise WaitingError("an index that is a list")
        return func(*args, **named)


@contextmanager
def never_answers() -> Iterator[None]:
    """Inside it, what would wait for a GPU raises a :class:`WaitingError`, or an error of PyTorch's own."""
    with _Operations(), _Lists():
        yield
