"""What ends a run, or keeps it from its checkpoints: signals, another run, a full disk, weights that are no numbers."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import toy
from hyperx.cli import main
from hyperx.errors import EncoderError, HyperXError
from hyperx.model import HyperX
from hyperx.training import loop as training

pytestmark = pytest.mark.usefixtures("isolated")

NO_EVALUATION = ["--evaluation_strategy", "no"]
SHORT = ["--per_device_train_batch_size", "8", "--logging_steps", "1", *NO_EVALUATION]


@pytest.fixture
def go(base: list[str]) -> Callable[..., int]:
    """Train with the shared options, small batches and these."""

    def run(folder: Path | str, *options: str) -> int:
        return main(["train", *base, *SHORT, "--output_dir", str(folder), *options])

    return run


# Signals --------------------------------------------------------------------------------------------------------------

IMPORTING = """
import os, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            try:
                os.kill(os.getpid(), int(sys.argv[2]))
            except BaseException:
                pass  # as some libraries do

sys.meta_path.insert(0, Finder())
from hyperx.cli import main
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize(("module", "number"), [("yaml", signal.SIGINT), ("accelerate", signal.SIGTERM)])
def test_a_signal_in_an_import_is_not_swallowed(
    base: list[str], cache_folder: Path, module: str, number: signal.Signals, tmp_path: Path
) -> None:
    words = ["train", *base, *SHORT, "--output_dir", "run", "--max_train_steps", "1"]
    done = toy.spawn(["-c", IMPORTING, module, str(int(number)), *words], cwd=tmp_path, cache=cache_folder)
    assert done.returncode == 128 + number
    assert done.stderr == "\nhyperx train: interrupted\n"
    assert not list(tmp_path.iterdir())


TWICE = """
import os, signal, sys, time
from hyperx.training import loop as training
from hyperx.cli import main

def step(self, batches):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(training.interruption.SAME)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)

training.TrainingRun._step = step
sys.exit(main(sys.argv[1:]))
"""


def test_a_second_signal_ends_a_run_at_once_and_the_next_run_cleans_up(
    base: list[str], go: Callable[..., int], cache_folder: Path, tmp_path: Path
) -> None:
    words = ["train", *base, *SHORT, "--output_dir", "run", "--max_train_steps", "1"]
    done = toy.forked(TWICE, words, cwd=tmp_path, cache=cache_folder)
    assert done.returncode == 143
    assert done.stderr.endswith("\nhyperx train: interrupted\n")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    # The lock went with the process, and its file does not count.
    assert go("run", "--max_train_steps", "1") == 0
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"checkpoint-1", "log.jsonl"}


# Two runs at once -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", [[], ["--resume"], ["--overwrite_output_dir"]])
def test_a_second_run_in_an_output_folder_is_refused_while_the_first_lives(
    go: Callable[..., int],
    option: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    step, second = training.TrainingRun._step, []

    def and_meanwhile(self: Any, batches: Any) -> torch.Tensor:
        if self.progress.step in (0, 2):
            second.append(go("run", *option, "--max_train_steps", "3", "--save_steps", "1"))
        return step(self, batches)

    monkeypatch.setattr(training.TrainingRun, "_step", and_meanwhile)
    assert go("run", "--max_train_steps", "3", "--save_steps", "1") == 0
    assert second == [1, 1]
    assert f"--output_dir: another run is training into {Path('run')}" in capsys.readouterr().err
    assert list(toy.losses(tmp_path / "run")) == [1, 2, 3]
    assert toy.steps_of(tmp_path / "run") == [2, 3]


# Saving ---------------------------------------------------------------------------------------------------------------

FULL = """
import resource, sys
from hyperx.training import loop as training
from hyperx.cli import main

step = training.TrainingRun._step
free = resource.getrlimit(resource.RLIMIT_FSIZE)

def filled(self, batches):
    if self.progress.step == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), free[1]))
    return step(self, batches)

limits = sys.argv[1].split(",")
words = sys.argv[2:]
for limit in limits:
    training.TrainingRun._step = filled
    found = [main([*words, "--output_dir", f"run-{limit}"])]
    resource.setrlimit(resource.RLIMIT_FSIZE, free)
    training.TrainingRun._step = step
    found.append(main([*words, "--output_dir", f"run-{limit}", "--resume"]))
    print("ended with", *found)
"""


def test_a_full_disk_costs_nothing_that_was_saved(
    base: list[str], go: Callable[..., int], cache_folder: Path, tmp_path: Path
) -> None:
    """Here no file may be larger than so many bytes: the log, the weights and the state fail in turn, and the JSON."""
    limits = [200, 1000, 60_000]
    options = ["--max_train_steps", "4", "--save_steps", "2"]
    given = [",".join(map(str, limits)), "train", *base, *SHORT, *options]
    done = toy.forked(FULL, given, cwd=tmp_path, cache=cache_folder)
    assert "Traceback" not in done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("ended")] == ["ended with 1 0"] * len(limits)
    assert go("whole", *options) == 0
    for limit in limits:
        run = f"run-{limit}"
        said = [line for line in done.stderr.splitlines() if line.startswith("hyperx train") and f"into {run}:" in line]
        assert len(said) == 1
        assert f"the last checkpoint is {run}/checkpoint-2. Make room, then go on with the same command and" in said[0]
        assert toy.losses(tmp_path / run) == toy.losses(tmp_path / "whole")
        found, expected = toy.weights(tmp_path / run, 4), toy.weights(tmp_path / "whole", 4)
        assert all(found[name].equal(tensor) for name, tensor in expected.items())
        assert {path.name for path in (tmp_path / run).iterdir()} == {"checkpoint-2", "checkpoint-4", "log.jsonl"}


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of training is an error."""

    def refuse(*_: object) -> None:
        raise AssertionError("it trains")

    monkeypatch.setattr(training.TrainingRun, "_step", refuse)


@pytest.mark.usefixtures("untrained")
def test_a_path_that_no_checkpoint_can_hold_is_refused_before_training(
    error: Callable[..., str],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        shutil.copytree(data, folder / "data")
    except OSError:
        pytest.skip("the file system takes no such names")
    message = error("run", "--data_folder", str(folder / "data"))
    assert "--data_folder: expected a path in UTF-8; found '" in message
    assert r"caf\udce9/data'. Rename it" in message
    assert "--output_dir: expected a path in UTF-8" in error(folder / "run")
    assert main(["evaluate", "--eval_ckpt", str(folder)]) == 1
    assert "--eval_ckpt: expected a path in UTF-8" in capsys.readouterr().err
    with pytest.raises(HyperXError, match=r"expected the path of a checkpoint in UTF-8; found '.*udce9'\. Rename it"):
        HyperX.from_pretrained(folder)
    monkeypatch.chdir(folder)
    assert "working folder: expected a path in UTF-8" in error("run")
    assert [path.name for path in folder.iterdir()] == ["data"]


@pytest.mark.usefixtures("untrained")
def test_saving_is_tried_before_training(
    error: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    message = error("run", "--max_train_steps", "1")
    assert "--output_dir: run cannot hold a checkpoint: [Errno 28] No space left on device" in message
    assert not list(tmp_path.iterdir())


def test_room_for_the_checkpoints_is_looked_for_before_training(
    go: Callable[..., int], error: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 3 * (11_183 * 4)  # of the trained weights, and two values of the optimiser for each
    options = ["--max_train_steps", "6", "--save_steps", "2"]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3 * size - 1))
    message = error("run", *options, "--save_total_limit", "2")
    assert "run has room for 403kB; 3 checkpoints, which are there at the same time, take 403kB" in message
    assert not list(tmp_path.iterdir())
    assert go("run", *options, "--save_total_limit", "1") == 0
    # What is to be deleted makes room.
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * size))
    assert go("run", *options, "--save_total_limit", "2", "--overwrite_output_dir") == 0
    # No more is asked for than a run can write.
    assert go("few", "--max_train_steps", "2", "--save_steps", "1", "--save_total_limit", "100") == 0
    # A run that goes on deletes nothing first.
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    for limit in ("None", "2"):
        message = error("run", *options, "--save_total_limit", limit, "--resume")
        assert "run has room for 0.00B; 1 checkpoints" in message


# Weights --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(trained: Path, isolated: Path) -> Path:
    """A copy of the trained run."""
    return Path(shutil.copytree(trained, isolated / "run"))


def change(folder: Path, made: Callable[[torch.Tensor], torch.Tensor]) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["heads.pos.bias"] = made(tensors["heads.pos.bias"])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("command", ["evaluate", "predict", "load", "resume"])
@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda tensor: tensor.index_fill(0, torch.tensor(3), torch.nan), "heads.pos.bias holds NaN or infinity"),
        (lambda tensor: tensor.half(), "heads.pos.bias: expected torch.float32, found torch.float16"),
    ],
    ids=["nan", "half"],
)
def test_weights_that_are_no_numbers_or_of_another_type_are_refused(
    go: Callable[..., int],
    command: str,
    made: Callable[[torch.Tensor], torch.Tensor],
    expected: str,
    run: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if command == "resume":
        assert go("run", "--overwrite_output_dir", "--max_train_steps", "1") == 0
        change(run / "checkpoint-1", made)
        status = go("run", "--resume", "--max_train_steps", "1")
    else:
        change(run / "checkpoint-60", made)
        status = {
            "evaluate": lambda: main(["evaluate", "--eval_ckpt", "run/checkpoint-60", *toy.QUIET]),
            "predict": lambda: main(["predict", "--checkpoint", "run/checkpoint-60", "--language", "en", *toy.QUIET]),
            "load": lambda: go("new", "--load_from_ckpt", "run/checkpoint-60", "--max_train_steps", "1"),
        }[command]()
    assert status == 1
    assert expected in " ".join(capsys.readouterr().err.split())


def test_a_state_that_is_no_numbers_is_refused(go: Callable[..., int], error: Callable[..., str]) -> None:
    assert go("run", "--max_train_steps", "1") == 0
    path = Path("run/checkpoint-1/state.safetensors")
    with safe_open(path, "pt") as file:
        state, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    state["moments.2.exp_avg"][0] = torch.inf
    save_file(state, path, metadata)
    message = error("run", "--max_train_steps", "1", "--resume")
    assert "state.safetensors is damaged: moments.2.exp_avg holds NaN or infinity" in message


def test_a_run_that_diverges_between_two_lines_of_the_log_saves_nothing_of_it(
    error: Callable[..., str], tmp_path: Path
) -> None:
    options = ["--learning_rate", "1e30", "--warmup_steps", "0", "--max_train_steps", "9", "--logging_steps", "9"]
    message = error("run", *options, "--save_steps", "3")
    assert "holds NaN or infinity at step 3: training has diverged" in message
    assert not toy.steps_of(tmp_path / "run")


@pytest.mark.usefixtures("untrained")
def test_an_encoder_that_is_no_numbers_is_refused(error: Callable[..., str], encoder: Path, tmp_path: Path) -> None:
    shutil.copytree(encoder, tmp_path / "encoder")
    tensors = load_file(tmp_path / "encoder" / "model.safetensors")
    tensors["encoder.layer.1.output.dense.bias"][3] = torch.nan
    save_file(tensors, tmp_path / "encoder" / "model.safetensors", metadata={"format": "pt"})
    message = error("run", "--model_name_or_path", "encoder", "--max_train_steps", "1")
    assert "encoder: encoder.layer.1.output.dense.bias holds NaN or infinity" in message


def test_a_model_that_is_no_numbers_is_not_saved(trained: Path, tmp_path: Path) -> None:
    model = HyperX.from_pretrained(trained)
    with torch.no_grad():
        for value in (torch.nan, -torch.inf):
            model.heads["pos"].bias[0] = value
            with pytest.raises(HyperXError, match=r"heads\.pos\.bias holds NaN or infinity"):
                model.save_pretrained(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["encoder", None])
def test_an_encoder_whose_tokenizer_is_gone_is_named(run: Path, encoder: Path, place: str | None) -> None:
    shutil.copytree(encoder, "encoder", ignore=shutil.ignore_patterns("tokenizer*"))
    if place is None:
        HyperX.from_pretrained(run, encoder=encoder).save_pretrained("model")
        settings = json.loads(Path("model/hyperx.json").read_text())
        Path("model/hyperx.json").write_text(json.dumps({**settings, "encoder": str(Path("encoder").resolve())}))
    with pytest.raises(EncoderError, match=r"encoder: expected a tokenizer, found none of .*Save the encoder's"):
        HyperX.from_pretrained(run if place else "model", encoder=place)


# Messages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "hyperx.json"])
def test_of_a_damaged_checkpoint_the_whole_one_beside_it_is_named(
    run: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    best = json.loads((run / "best.json").read_text())["checkpoint"]
    (run / best / name).write_bytes((run / best / name).read_bytes()[:-9])
    others = [step for step in (20, 40, 60) if f"checkpoint-{step}" != best]
    (run / f"checkpoint-{others[1]}" / "model.safetensors").write_bytes(b"")
    assert main(["evaluate", "--eval_ckpt", "run", *toy.QUIET]) == 1
    assert f"run/checkpoint-{others[0]} beside it is whole" in " ".join(capsys.readouterr().err.split())


def test_a_file_of_a_checkpoint_stands_for_it(
    go: Callable[..., int], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("model.safetensors", "hyperx.json"):
        assert main(["evaluate", "--eval_ckpt", f"run/checkpoint-60/{name}", *toy.QUIET]) == 0
    assert (run / "checkpoint-60" / "results.json").is_file()
    assert go("new", "--load_from_ckpt", "run/best.json", "--max_train_steps", "1") == 0
    assert main(["evaluate", "--eval_ckpt", "run/log.jsonl", *toy.QUIET]) == 1
    assert "run/log.jsonl is a file: expected a folder with hyperx.json" in " ".join(capsys.readouterr().err.split())


def test_a_model_that_predicts_no_entity_is_told(
    base: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for split, names in (("train", 0), ("dev", 9), ("test", 9)):
        plain = [[(word, tag, "O") for word, tag, _ in words] for words in toy.sentences("en", 20, 0)]
        toy.write_ner(tmp_path / "own" / "ner" / "en" / f"{split}.tsv", [*plain, *toy.sentences("en", names, 1)])
    pairs = ["--train_task_language_pairs", "ner#en", "--entity_types", "PER", "LOC", "--data_folder", "own"]
    options = ["--max_train_steps", "20", "--learning_rate", "1e-2", "--output_dir", "run"]
    assert main(["train", *base, *pairs, *options]) == 0
    told = "score 0 for ner#en: nothing is right yet, as when a model predicts no entity at all. Train more steps"
    assert told in caplog.text
    assert main(["evaluate", "--eval_ckpt", "run", *toy.QUIET]) == 0
    assert caplog.text.count(told) == 2
