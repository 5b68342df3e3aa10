"""Memory that a training run keeps, and from which a GPU fetches."""

from __future__ import annotations

import platform
import subprocess
import sys
from unittest import mock

import pytest
import torch

from hyperx.device import placed

PROGRAM = """
import resource
import torch
from hyperx.device import keep_freed_memory

def faults():
    for _ in range(20):
        torch.ones(2**24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = faults()
keep_freed_memory()
print(given_back, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the C library of GNU gives memory back")
def test_freed_memory_is_not_fetched_anew() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    given_back, kept = map(int, done.stdout.split())
    # Beyond 32 MiB the library always gives back; 64 are 16,384 pages.
    assert kept < 16_384 < given_back


@pytest.mark.parametrize(("kind", "pinned"), [("cuda", True), ("cpu", False), ("meta", False)])
def test_only_a_gpu_fetches_from_memory_that_stays_in_place(kind: str, pinned: bool) -> None:
    tensor = mock.Mock(spec=["device", "pin_memory", "to"], device=torch.device("cpu"))
    placed(tensor, torch.device(kind))
    source = tensor.pin_memory.return_value if pinned else tensor
    assert tensor.pin_memory.called == pinned
    source.to.assert_called_once_with(torch.device(kind), non_blocking=kind != "cpu")
