"""Memory that a training run keeps, and from which a GPU fetches."""

from __future__ import annotations

import platform
from pathlib import Path
from unittest import mock

import pytest
import torch

import toy
from hyperx.device import placed

PROGRAM = """
import resource, sys
import torch
from hyperx.device import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()

def step():
    torch.ones(2**24)

for _ in range(20):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the C library of GNU gives memory back")
def test_freed_memory_is_not_fetched_anew(tmp_path: Path) -> None:
    faults = {how: int(toy.forked(PROGRAM, [how], cwd=tmp_path, cache=tmp_path).stdout) for how in ("keep", "give")}
    # Beyond 32 MiB the library always gives back; 64 are 16,384 pages.
    assert faults["keep"] < 16_384 < faults["give"]


@pytest.mark.parametrize(("kind", "pinned"), [("cuda", True), ("cpu", False), ("meta", False)])
def test_only_a_gpu_fetches_from_memory_that_stays_in_place(kind: str, pinned: bool) -> None:
    tensor = mock.Mock(spec=["device", "pin_memory", "to"], device=torch.device("cpu"))
    placed(tensor, torch.device(kind))
    source = tensor.pin_memory.return_value if pinned else tensor
    assert tensor.pin_memory.called == pinned
    source.to.assert_called_once_with(torch.device(kind), non_blocking=kind != "cpu")
