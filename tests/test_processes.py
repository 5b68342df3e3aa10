"""Training in two processes, as on two GPUs, here on the CPU."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import toy
from hyperx.checkpoint import read_state
from hyperx.cli import main
from hyperx.training.loop import State

PROGRAM = """
import os, signal, socket, sys
from hyperx.training import loop as training
from hyperx.cli import main

step = training.TrainingRun._step

def told(self, batches):
    if self.accelerator.process_index == 1 and self.progress.step == 3:
        os.kill(os.getpid(), signal.SIGTERM)
    return step(self, batches)

def launch(*words):
    '''Run a command in two processes, as `torchrun` does, but forked: the libraries are loaded once for all runs.'''
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    children = []
    for rank in "01":
        child = os.fork()
        if not child:
            os.environ.update(place, RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2", LOCAL_WORLD_SIZE="2")
            sys.exit(main([*sys.argv[1:], *words]))
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

assert launch("--output_dir", "whole") == [0, 0]
training.TrainingRun._step = told
assert launch("--output_dir", "run") == [143, 143]
training.TrainingRun._step = step
print("steps:", sorted(os.listdir("run")))
assert launch("--output_dir", "run", "--resume") == [0, 0]
print("again, and longer:", flush=True)
again = "--model_name_or_path plain --max_train_steps 4 --save_steps 2 --eval_steps 2 --evaluation_strategy steps"
again += " --max_eval_samples 8 --learning_rate 1e-2 --length_bucketing --per_device_train_batch_size 16"
assert launch(*again.split(), "--output_dir", "two") == [0, 0]
"""


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
def test_a_run_of_two_processes_ends_and_resumes_exactly_and_learns_as_one(
    base: list[str], isolated: Path, cache_folder: Path
) -> None:
    """Only one of them is told to end. Each draws its own dropout for rows of its own lengths.

    Each takes every second row of the batches that one process has; only the mean over words differs a little.
    """
    toy.write_encoder(isolated / "plain", dropout=0.0)
    (isolated / "program.py").write_text(PROGRAM)
    words = ["train", *base, "--per_device_train_batch_size", "3", "--evaluation_strategy", "no"]
    words += ["--no_length_bucketing", "--max_train_steps", "6", "--save_steps", "3", "--logging_steps", "1"]
    found = toy.spawn(["program.py", *words], cwd=isolated, cache=cache_folder)
    assert found.returncode == 0, found.stderr
    assert read_state(isolated / "whole" / "checkpoint-6", State).fingerprint["number of processes"] == 2
    assert "interrupted after step 4; the last checkpoint is run/checkpoint-4" in found.stderr
    assert "steps: ['checkpoint-3', 'checkpoint-4', 'log.jsonl']" in found.stdout
    assert toy.read_log(isolated / "run") == toy.read_log(isolated / "whole")
    whole, run = toy.weights(isolated / "whole", 6), toy.weights(isolated / "run", 6)
    assert all(run[name].equal(tensor) for name, tensor in whole.items())

    assert found.stdout.partition("again, and longer:")[2].count("Modules") == 1
    options = [*base, "--model_name_or_path", "plain", "--max_train_steps", "4", "--logging_steps", "1"]
    options += ["--save_steps", "2", "--eval_steps", "2", "--max_eval_samples", "8", "--learning_rate", "1e-2"]
    assert main(["train", *options, "--per_device_train_batch_size", "32", "--output_dir", "one"]) == 0
    one, two = isolated / "one", isolated / "two"
    assert toy.losses(two) == pytest.approx(toy.losses(one), rel=0.02)
    rates = [[line.get("learning_rate") for line in toy.read_log(run)] for run in (one, two)]
    assert rates[0] == rates[1]
    assert toy.steps_of(two) == toy.steps_of(one) == [2, 4]
