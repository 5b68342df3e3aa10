"""Where a model runs, and how tensors get there."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Mapping

import torch
from torch import Tensor

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def pick_device(*, no_cuda: bool) -> torch.device:
    """The GPU if there is one and ``no_cuda`` is not set, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() and not no_cuda else "cpu")


def placed(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device. To a GPU it is copied asynchronously from pinned memory, while Python goes on."""
    if torch.compiler.is_compiling():  # pinning cannot be part of a graph
        return tensor.to(device)
    if tensor.device.type == "cpu" and device.type == "cuda":
        tensor = tensor.pin_memory()
    # Another kind of device might read the memory after it has been reused.
    return tensor.to(device, non_blocking=device.type in ("cuda", "meta"))


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of the tensors that hold NaN or infinity."""
    # A sum takes an eighth of the time; it may be infinite only because of its size.
    return [name for name, tensor in tensors.items() if not tensor.sum().isfinite() and not tensor.isfinite().all()]


def keep_freed_memory() -> None:
    """Keep memory that a training step frees in the process for the next step; only with glibc, which returns it.

    The system clears a new page when it is first written, which takes longer than the gradient of a generator.
    """
    if platform.libc_ver()[0] == "glibc":
        allocator = ctypes.CDLL(None)
        allocator.mallopt(_MMAP_MAX, 0)
        allocator.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
