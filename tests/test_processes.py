"""Training and evaluation in two processes, as on two GPUs, here on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import toy
from hyperx.checkpoint import read_state
from hyperx.cli import main
from hyperx.tasks import parsing
from hyperx.training.loop import State

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")

LAUNCH = """
import os, signal, socket, sys, time
from hyperx.cli import main
from hyperx.errors import HyperXError
from hyperx.prediction.predictor import Predictor
from hyperx.tasks import parsing
from hyperx.training import loop as training

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
            sys.exit(main(words))
        children.append(child)
    statuses = {}
    while children:
        child, status = os.wait()
        statuses[child] = os.waitstatus_to_exitcode(status)
        children.remove(child)
        for other in children if status else ():
            time.sleep(0.1)
            os.kill(other, signal.SIGTERM)
    return [statuses[child] for child in sorted(statuses)]

def second(instead, method):
    '''The method, which does something else first in the second process.'''
    def done(*given):
        if os.environ.get("RANK") == "1":
            instead(*given)
        return method(*given)
    return done

def end(*_):
    os.kill(os.getpid(), signal.SIGTERM)

def fail(reason):
    raise HyperXError(reason)

step, decode = training.TrainingRun._step, Predictor._decoded
"""


def run(program: str, words: list[str], folder: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run a program after the above, with these words in ``sys.argv``."""
    found = toy.forked(LAUNCH + program, words, cwd=folder, cache=cache)
    assert found.returncode == 0, found.stdout + found.stderr
    return found


def test_a_run_ends_and_resumes_exactly_wherever_one_is_told_to(
    base: list[str], isolated: Path, cache_folder: Path
) -> None:
    """Only one of them is told to end: in its step, or where it scores a pair and the other one another. Each draws its
    own dropout for rows of its own lengths, and has losses of its own until they are logged."""
    program = """
words = sys.argv[1:]
assert launch(*words, "--output_dir", "whole") == [0, 0]
told = second(lambda run, _: run.progress.step == 3 and end(), step)
training.TrainingRun._step = told
assert launch(*words, "--output_dir", "run") == [143, 143]
training.TrainingRun._step, Predictor._decoded = step, second(end, decode)
assert launch(*words, "--output_dir", "run", "--resume") == [143, 143]
Predictor._decoded = decode
print("steps:", sorted(os.listdir("run")))
assert launch(*words, "--output_dir", "run", "--resume") == [0, 0]
"""
    words = ["train", *base, "--per_device_train_batch_size", "3", "--eval_steps", "5", "--max_eval_samples", "8"]
    words += ["--no_length_bucketing", "--max_train_steps", "6", "--save_steps", "3", "--logging_steps", "5"]
    words += ["--save_total_limit", "None"]
    found = run(program, words, isolated, cache_folder)
    assert read_state(isolated / "whole" / "checkpoint-6", State).fingerprint["number of processes"] == 2
    for step in (4, 5):
        assert f"interrupted after step {step}; the last checkpoint is run/checkpoint-{step}." in found.stderr
    assert "steps: ['checkpoint-3', 'checkpoint-4', 'checkpoint-5', 'log.jsonl']" in found.stdout
    assert toy.read_log(isolated / "run") == toy.read_log(isolated / "whole")
    whole, resumed = toy.weights(isolated / "whole", 6), toy.weights(isolated / "run", 6)
    assert all(resumed[name].equal(tensor) for name, tensor in whole.items())
    for message, times in (("Modules", 4), ("Trained.", 2)):
        assert found.stdout.count(message) == times
    for message, times in (("step 5 of 6: loss", 2), ("hyperx train: interrupted", 2), ("resuming from", 2)):
        assert found.stderr.count(message) == times


def test_two_processes_learn_and_score_as_one(
    base: list[str], isolated: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes every second row of the batches that one process has, two in a step. How much is labelled in them
    differs, also within a parser: some words have a head without a relation."""
    monkeypatch.setattr(parsing, "DROPOUT", 0.0)
    toy.write_encoder(isolated / "plain", dropout=0.0)
    sentences = toy.sentences("en", 80, 0)
    toy.write_dep(isolated / "trees.conllu", sentences)
    trees = (isolated / "trees.conllu").read_text().replace("\tobj\t", "\t_\t")
    (isolated / "trees.conllu").write_text(trees)
    (isolated / "text.txt").write_text("".join(f"{' '.join(word for word, *_ in one)}\n" for one in sentences))
    table = {"dep#en": {"train": str(isolated / "trees.conllu")}, "mlm#en": {"train": str(isolated / "text.txt")}}
    (isolated / "data.yaml").write_text(json.dumps({"data": table}))
    words = ["train", *base, "--config", "data.yaml", "--model_name_or_path", "plain", "--learning_rate", "3e-3"]
    words += ["--train_task_language_pairs", "ner#en", "pos#tr", "dep#en", "mlm#en", "--max_eval_samples", "20"]
    words += ["--eval_task_language_pairs", "ner#en", "pos#tr", "pos#de"]
    words += ["--max_train_steps", "4", "--save_steps", "4", "--eval_steps", "4", "--logging_steps", "1"]
    words += ["--gradient_accumulation_steps", "2"]
    program = """
parsing.DROPOUT = 0.0
assert launch(*sys.argv[1:], "--per_device_train_batch_size", "8", "--output_dir", "two") == [0, 0]
assert launch("evaluate", "--eval_ckpt", "two", "--no_cuda", "--output", "scores", "--calibration") == [0, 0]
"""
    found = run(program, words, isolated, cache_folder)
    assert main([*words, "--per_device_train_batch_size", "16", "--output_dir", "one"]) == 0
    assert toy.losses("two") == pytest.approx(toy.losses("one"), rel=1e-5)
    two, one = toy.weights("two", 4), toy.weights("one", 4)
    # Adam may move a weight whose gradient is rounding alone.
    far = sum(int((two[name] - tensor).abs().gt(1e-4).sum()) for name, tensor in one.items())
    assert far < 0.001 * sum(tensor.numel() for tensor in one.values())

    # Scores are the same bit for bit.
    checkpoint, own = isolated / "two" / "checkpoint-4", isolated / "scores" / "results.json"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert main(["evaluate", "--eval_ckpt", "two", *toy.QUIET]) == 0
    assert main(["evaluate", "--eval_ckpt", "two", "--split", "dev", "--max_eval_samples", "20", *toy.QUIET]) == 0
    torch.set_num_threads(threads)
    assert own.read_text() == (checkpoint / "results.json").read_text()
    dev = json.loads((checkpoint / "results_dev.json").read_text())
    logged = toy.read_log("two")[-1]
    assert {name: dev[f"dev_{name.replace('#', ':')}_{measure}"] for name, measure in MEASURES.items()} == {
        name: logged[f"dev_{name}"] for name in MEASURES
    }
    for message in ("Modules", "step 4  dev all", "Scores on the test split", "Scores by label are in"):
        assert found.stdout.count(message) == 1


MEASURES = {"ner#en": "f1", "pos#tr": "accuracy", "pos#de": "accuracy"}


def test_an_error_in_one_process_ends_all_with_one_message(base: list[str], isolated: Path, cache_folder: Path) -> None:
    """One that all find, one that the main process finds, and one that the second process has in its share."""
    program = """
words, write = sys.argv[1:], training.checkpoint.write_folder
assert 0 not in launch(*words, "--languages", "nowhere")
assert 0 not in launch(*words, "--max_length", "10000")
training.checkpoint.write_folder = lambda *_: fail("there is no room")
assert 0 not in launch(*words)
training.checkpoint.write_folder, Predictor._decoded = write, second(lambda *_: fail("of the second"), decode)
assert 0 not in launch(*words)
print("killed:", file=sys.stderr, flush=True)
Predictor._decoded = second(lambda *_: os._exit(9), decode)
assert 0 not in launch(*words, "--overwrite_output_dir")
"""
    words = ["train", *base, "--output_dir", "run", "--max_train_steps", "1", "--eval_steps", "1"]
    told, *_ = run(program, words, isolated, cache_folder).stderr.partition("killed:")
    for reason in ("nowhere' is no language", "found 10000", "there is no room", "of the second"):
        assert told.count(reason) == 1, told
    assert told.count("hyperx train:") == 4, told
    assert "Traceback" not in told
