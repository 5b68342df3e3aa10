"""Training in two processes, as on two GPUs, here on the CPU."""

from __future__ import annotations

import shutil
from pathlib import Path

import toy
from hyperx.checkpoint import read_state

pytest_plugins = ["world"]

LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def train(base: list[str], isolated: Path, cache_folder: Path, *options: str) -> None:
    words = [
        "-m",
        "hyperx",
        "train",
        *base,
        "--per_device_train_batch_size",
        "3",
        "--evaluation_strategy",
        "no",
        "--no_length_bucketing",
    ]
    found = toy.spawn([*LAUNCH, *words, *options], cwd=isolated, cache=cache_folder)
    assert found.returncode == 0, found.stderr


def test_a_run_of_two_processes_resumes_exactly(base: list[str], isolated: Path, cache_folder: Path) -> None:
    """Each draws its own dropout for rows of its own lengths."""
    options = ["--max_train_steps", "6", "--save_steps", "3", "--logging_steps", "1", "--output_dir"]
    train(base, isolated, cache_folder, *options, "whole")
    assert read_state(isolated / "whole" / "checkpoint-6")["begun_with"]["processes"] == 2
    shutil.copytree(isolated / "whole", isolated / "run")
    shutil.rmtree(isolated / "run" / "checkpoint-6")
    train(base, isolated, cache_folder, *options, "run", "--resume")
    assert toy.read_log(isolated / "run") == toy.read_log(isolated / "whole")
    whole, run = toy.weights(isolated / "whole", 6), toy.weights(isolated / "run", 6)
    assert all(run[name].equal(tensor) for name, tensor in whole.items())
