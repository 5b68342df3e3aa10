"""Where a model runs, and how tensors get there."""

from __future__ import annotations

import ctypes
import platform

import torch
from torch import Tensor

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def pick_device(*, no_cuda: bool) -> torch.device:
    """The GPU where there is one and it is wanted, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() and not no_cuda else "cpu")


def placed(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device. A GPU fetches it by itself, from memory that stays in place, while Python goes on."""
    if torch.compiler.is_compiling():  # pinning is nothing that can be in a graph
        return tensor.to(device)
    if tensor.device.type == "cpu" and device.type == "cuda":
        tensor = tensor.pin_memory()
    # Another kind of device might read the memory when it is somebody else's already.
    return tensor.to(device, non_blocking=device.type in ("cuda", "meta"))


def keep_freed_memory() -> None:
    """Let the process keep what a training step frees for the next one, instead of fetching it anew from the system.

    A fetched page is cleared when it is first written, which takes longer than the gradient of a generator. Only the
    C library of GNU gives its memory back and can be told not to; elsewhere nothing happens.
    """
    if platform.libc_ver()[0] == "glibc":
        allocator = ctypes.CDLL(None)
        allocator.mallopt(_MMAP_MAX, 0)
        allocator.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
