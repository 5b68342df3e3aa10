"""The benchmark of a GPU, run through on the CPU with a tiny encoder, so that it works where there is a GPU."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from accelerate.state import AcceleratorState


@pytest.fixture
def gpu() -> Iterator[ModuleType]:
    """The benchmark's module, and Accelerate's state, which has one precision a process, as it was before any run."""
    AcceleratorState._reset_state(reset_partial_state=True)
    import gpu

    yield gpu
    AcceleratorState._reset_state(reset_partial_state=True)
    del sys.modules["gpu"]


def test_all_rows_are_measured(gpu: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    gpu.main(["--device", "cpu", "--tiny"])
    head, _, *table = capsys.readouterr().out.splitlines()
    assert f"torch {torch.__version__}" in head
    assert all(line.count("|") == 6 for line in table)
    assert [line for line in table if "failed" in line or "not run" in line] == []
    found = [line.split("|")[1].strip() for line in table]
    for what in (
        "training step / bound, 4 x 8, b = 8",
        "training step / bound, 8 x 8, b = 8",
        "the step's share of the card's peak, 8 x 8",
        "Python's part of one step on an idle card, 8 x 8",
        *(f"a step that waits for the card, {kind}, 4 x 8, padded" for kind in gpu.KINDS),
        "step with 8 pairs mixed in a batch / one pair, 8 x 8",
        "peak memory of the step / of the bound, 8 x 8",
    ):
        assert found.count(what) == 1, what


def test_a_row_that_fails_or_comes_too_late_says_so(
    gpu: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail() -> None:
        raise ValueError("one | other\nline")

    for seconds in (60.0, -1.0):
        gpu.Bench(torch.device("cpu"), gpu.TINY, tmp_path, seconds).attempt("a row", fail)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("| a row |  | failed |  | ValueError: one / other line (")
    assert second == "| a row |  | not run |  | too little time was left |"


@pytest.mark.filterwarnings("ignore:.*synchronizing")
def test_the_places_where_a_step_waits(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """PyTorch's watch is switched on and off, and what it says is told from what others say."""
    bench, modes = gpu.Bench(torch.device("cpu"), gpu.TINY, tmp_path, 60.0), []
    bench.gpu = True
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def waits() -> None:
        warnings.warn("detects all synchronizing operations but some", UserWarning, stacklevel=1)
        for _ in range(2):
            warnings.warn("called a synchronizing CUDA operation (Triggered internally)", UserWarning, stacklevel=1)
        assert modes == ["warn"]

    ((place, times),) = bench.places(waits).items()
    assert modes == ["warn", "default"]
    assert (place.partition(":")[0], times) == ("test_gpu_benchmark.py", 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so(gpu: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main([])
    assert "there is no GPU here" in capsys.readouterr().err
