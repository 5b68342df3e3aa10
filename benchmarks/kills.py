"""Kill training at random moments, and go on each time: ``python benchmarks/kills.py KILLS``.

A small run saves a checkpoint after each step and evaluates after each second one. After every kill its checkpoints
must be whole, and the run is resumed; in the end its weights must be those of a run that nobody killed.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import toy
from hyperx import checkpoint
from hyperx.cli import main as hyperx
from hyperx.model import HyperX
from hyperx.training.loop import State

STEPS = 60


def train(words: list[str], output: str) -> None:
    """Train in this process, without a word."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    sys.exit(hyperx(["train", *words, "--output_dir", output, "--resume"]))


def main(kills: int) -> int:
    """Kill runs; returns how many times something was not as it should be."""
    folder, draw = Path(tempfile.mkdtemp()), random.Random(1)
    os.environ |= {"HF_HUB_OFFLINE": "1", "HYPERX_CACHE": str(folder / "cache")}
    words = ["--model_name_or_path", str(toy.write_encoder(folder / "encoder")), *toy.DATA, *toy.SHAPE, *toy.QUIET]
    words += ["--data_folder", str(toy.write_data(folder / "data")), "--max_train_steps", str(STEPS)]
    words += ["--save_steps", "1", "--eval_steps", "2", "--save_total_limit", "3"]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hyperx.cli.commands", "hyperx.training.loop"])

    def start(output: Path) -> multiprocessing.context.ForkServerProcess:
        process = context.Process(target=train, args=(words, str(output)))
        process.start()
        return process

    whole = start(folder / "whole")
    whole.join()
    expected = toy.weights(folder / "whole", STEPS)
    done = faults = runs = 0
    while done < kills:
        runs, ended, output = runs + 1, False, folder / f"run-{runs}"
        while not ended:
            process = start(output)
            process.join(draw.uniform(0.2, 6) if done < kills else None)
            ended = process.exitcode is not None
            if ended:
                problem = "" if process.exitcode == 0 else f"it ended with {process.exitcode}"
            else:
                os.kill(process.pid or 0, signal.SIGKILL)
                process.join()
                done, problem = done + 1, unusable(output)
            if problem:
                faults += 1
                print(f"run {runs}, kill {done}: {problem}", flush=True)
                break
        if ended and not all(value.equal(expected[name]) for name, value in toy.weights(output, STEPS).items()):
            faults += 1
            print(f"run {runs}: other weights than without kills", flush=True)
        print(f"{done} kills, {runs} runs, {faults} faults", flush=True)
    return faults


def unusable(output: Path) -> str:
    """What is wrong with a run's checkpoints; "" if nothing is."""
    try:
        for path in checkpoint.checkpoints(output):
            HyperX.from_pretrained(path)
            checkpoint.read_state(path, State)
        if (output / checkpoint.BEST).exists():
            HyperX.from_pretrained(output)
    except Exception as error:
        return repr(error)
    return ""


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])) > 0)
