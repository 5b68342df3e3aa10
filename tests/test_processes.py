"""Training in two processes, as on two GPUs, here on the CPU."""

from __future__ import annotations

from pathlib import Path

import toy
from hyperx.checkpoint import read_state

pytest_plugins = ["world"]

TOLD = """
import os, signal, sys
from hyperx import training
from hyperx.cli import main

step = training.TrainingRun._step

def told(self, batches):
    if self.accelerator.process_index == 1 and self.progress.step == 3:
        os.kill(os.getpid(), signal.SIGTERM)
    return step(self, batches)

training.TrainingRun._step = told
sys.exit(main(sys.argv[1:]))
"""
LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def train(base: list[str], isolated: Path, cache_folder: Path, *options: str, program: str | None = None) -> str:
    """Train in two processes; returns what they say."""
    if program is not None:
        (isolated / "program.py").write_text(program)
    words = [
        *(["-m", "hyperx"] if program is None else ["program.py"]),
        "train",
        *base,
        "--per_device_train_batch_size",
        "3",
        "--evaluation_strategy",
        "no",
        "--no_length_bucketing",
    ]
    found = toy.spawn([*LAUNCH, *words, *options], cwd=isolated, cache=cache_folder)
    assert (found.returncode == 0) == (program is None), found.stderr
    return found.stderr


def test_a_run_of_two_processes_ends_and_resumes_exactly(base: list[str], isolated: Path, cache_folder: Path) -> None:
    """Only one of them is told to end. Each draws its own dropout for rows of its own lengths."""
    options = ["--max_train_steps", "6", "--save_steps", "3", "--logging_steps", "1", "--output_dir"]
    train(base, isolated, cache_folder, *options, "whole")
    assert read_state(isolated / "whole" / "checkpoint-6")["begun_with"]["number of processes"] == 2
    told = train(base, isolated, cache_folder, *options, "run", program=TOLD)
    assert "interrupted after step 4; the last checkpoint is run/checkpoint-4" in told
    assert toy.steps_of(isolated / "run") == [3, 4]
    train(base, isolated, cache_folder, *options, "run", "--resume")
    assert toy.read_log(isolated / "run") == toy.read_log(isolated / "whole")
    whole, run = toy.weights(isolated / "whole", 6), toy.weights(isolated / "run", 6)
    assert all(run[name].equal(tensor) for name, tensor in whole.items())
