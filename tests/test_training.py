"""Real training runs in a toy world: what they write, learn, keep, and take up again."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import re
import runpy
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from allpairspy import AllPairs

import toy
from hyperx import checkpoint
from hyperx.cli import main
from hyperx.cli.options import parse
from hyperx.config import EncoderPart, SamplingOptions, SamplingStrategy, Scheduler, TrainConfig, TrainingOptions
from hyperx.data.batch.sampling import BatchPlan
from hyperx.data.read.sentence import Sentence
from hyperx.errors import ConfigError
from hyperx.files import CACHE_VARIABLE
from hyperx.prediction.predictor import Predictor
from hyperx.tasks.tagging import PartOfSpeech
from hyperx.training import loop as training
from tiny import tiny_split

pytestmark = pytest.mark.usefixtures("isolated")

Go, Says, Log, Patch = Callable[..., int], Callable[..., str], pytest.LogCaptureFixture, pytest.MonkeyPatch

SHORT = [
    "--per_device_train_batch_size", "8", "--max_eval_samples", "8", "--logging_steps", "1",
    "--save_total_limit", "None",
]  # fmt: skip
NO_EVALUATION = ["--evaluation_strategy", "no"]


@pytest.fixture
def go(base: list[str]) -> Callable[..., int]:
    """Train with the shared options, small batches and these."""

    def run(folder: Path | str, *options: str) -> int:
        return main(["train", *base, *SHORT, "--output_dir", str(folder), *options])

    return run


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class Death(SystemExit):
    """The end of a process that saves nothing any more."""


def stop_after(steps: int, patch: Patch, *, told: bool = False) -> None:
    """Have the next run die in the step after so many; or have it told to end, as schedulers of jobs do."""
    step, done = training.TrainingRun._step, []

    def limited(self: Any, batches: Any) -> torch.Tensor:
        if len(done) == steps:
            if not told:
                raise Death
            os.kill(os.getpid(), signal.SIGTERM)
        done.append(1)
        return step(self, batches)

    patch.setattr(training.TrainingRun, "_step", limited)


@pytest.fixture
def dies(go: Go, monkeypatch: Patch) -> Callable[..., None]:
    """Train with these options in the folder ``run`` until the process dies in the step after so many."""

    def run(steps: int, *options: str) -> None:
        with monkeypatch.context() as patch:
            stop_after(steps, patch)
            with pytest.raises(Death):
                go("run", *options)

    return run


def best(run: Path | str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(run, "best.json").read_text())
    return found


# What a run writes and learns -----------------------------------------------------------------------------------------


def test_a_run_writes_checkpoints_the_best_and_a_log(trained: Path) -> None:
    assert toy.steps_of(trained) == [20, 40, 60]
    assert list(toy.losses(trained)) == [10, 20, 30, 40, 50, 60]
    averages = {line["step"]: line["dev_all"] for line in toy.read_log(trained) if "dev_all" in line}
    step = max(averages, key=lambda step: (averages[step], step))
    assert best(trained) == {"checkpoint": f"checkpoint-{step}", "average": max(averages.values()), "of": "all"}
    files = {path.name for path in (trained / "checkpoint-60").iterdir()}
    assert files == {"hyperx.json", "model.safetensors", "data.json", "options.json", "run.json", "state.safetensors"}
    assert {path.name for path in trained.iterdir()} == {"best.json", "log.jsonl"} | {
        f"checkpoint-{step}" for step in (20, 40, 60)
    }


def test_a_run_learns(trained: Path) -> None:
    curve = list(toy.losses(trained).values())
    assert curve[-1] < curve[0] / 3
    last = toy.read_log(trained)[-1]
    tags = Counter(tag for words in toy.sentences("tr", 24, 1) for _, tag, _ in words)
    assert last["dev_pos#tr"] > tags.most_common(1)[0][1] / tags.total() + 0.3
    assert last["dev_ner#en"] > 0.7
    assert last["dev_all"] == last["dev_seen"] == pytest.approx((last["dev_pos#tr"] + last["dev_ner#en"]) / 2)


def test_a_run_follows_from_its_seed(go: Go, tmp_path: Path) -> None:
    options = ["--max_train_steps", "3", *NO_EVALUATION]
    for name, seed in {"a": "1", "b": "1", "c": "2"}.items():
        assert go(name, *options, "--seed", seed) == 0
    a, b, c = (tmp_path / name for name in "abc")
    assert toy.losses(a) == toy.losses(b)
    assert same(toy.weights(a, 3), toy.weights(b, 3))
    assert toy.losses(a) != toy.losses(c)


@pytest.mark.parametrize(
    "options",
    [
        ["--no_mixed_batches", "--no_length_bucketing", "--sampling_strategy", "uniform"],
        ["--no_condition_to_layer_id", "--no_project_source_embeddings", "--generator_start", "published"],
        ["--add_layer_norm_before_adapter", "--add_layer_norm_after_adapter", "--conditional_layer_norm"],
        ["--after_layer_output", "--adapter_non_linearity", "gelu"],
        ["--head_layer", "1", "--train_encoder", "all", "--max_grad_norm", "0"],
        ["--adapters", "pair", "--add_layer_norm_after_adapter"],
        ["--adapters", "stacked", "--languages", "en", "tr", "de"],
        ["--adapters=none", "--languages", "en", "tr", "de"],
    ],
    ids=lambda options: options[0].removeprefix("--"),
)
def test_every_shape_trains_and_is_evaluated(go: Go, options: list[str]) -> None:
    assert go("run", "--max_train_steps", "2", *options) == 0
    assert main(["evaluate", "--eval_ckpt", "run", "--max_eval_samples", "4", *toy.QUIET]) == 0


HOW: dict[str, list[str]] = {
    "sampling_strategy": list(get_args(SamplingStrategy)),
    "gradient_accumulation_steps": ["1", "2"],
    "weight_decay": ["0", "0.1"],
    "max_grad_norm": ["0", "0.5"],
    "temperature": ["0.5", "5"],
    "mixed_batches": ["", "no_"],
    "length_bucketing": ["", "no_"],
    "attention_dropout": ["", "no_"],
    "train_encoder": list(get_args(EncoderPart)),
    "adapters": ["hypernetwork", "shared", "stacked", "none"],
}


@pytest.mark.parametrize("values", list(AllPairs([*HOW.values()])), ids=lambda values: "-".join(values))
def test_every_way_to_train_with_every_other(go: Go, values: list[str]) -> None:
    case = dict(zip(HOW, values, strict=True))
    words: list[str] = []
    for name, value in case.items():
        words += [f"--{value}{name}"] if value in ("", "no_") else [f"--{name}", value]
    assert go("run", *words, "--max_train_steps", "2", "--warmup_steps", "1", *NO_EVALUATION) == 0
    assert all(0 < loss < 10 for loss in toy.losses("run").values())
    assert all(torch.isfinite(tensor).all() for tensor in toy.weights("run", 2).values())


@pytest.mark.parametrize(("options", "what"), [([], "hypernetwork"), (["--adapters", "task"], "plain adapters")])
def test_a_pattern_that_freezes_all_adapters_is_warned_of(go: Go, caplog: Log, options: list[str], what: str) -> None:
    assert go("run", *options, "--freeze_params_regex", ".*", "--max_train_steps", "1", *NO_EVALUATION) == 0
    assert f"--freeze_params_regex: it freezes the {what} as a whole" in caplog.text


def test_all_of_the_model_is_in_training_mode_at_every_step(go: Go, monkeypatch: Patch) -> None:
    step, modes = training.TrainingRun._step, []

    def watched(self: Any, batches: Any) -> torch.Tensor:
        modes.append({module.training for module in self.bare_model.modules()})
        return step(self, batches)

    monkeypatch.setattr(training.TrainingRun, "_step", watched)
    assert go("run", "--max_train_steps", "3", "--eval_steps", "1") == 0
    assert modes == [{True}] * 3


@pytest.fixture
def falling(monkeypatch: Patch) -> None:
    """Every evaluation is worse than the one before."""
    averages = itertools.count(100, -1)
    monkeypatch.setattr(training.Evaluation, "averages", property(lambda _: {"all": next(averages) / 100}))


@pytest.mark.usefixtures("falling")
@pytest.mark.parametrize(
    ("options", "steps"),
    [
        (["--max_train_steps", "6", "--save_steps", "1", "--save_total_limit", "3"], [2, 5, 6]),
        (["--max_train_steps", "20", "--early_stopping_patience", "2"], [2, 6]),
    ],
)
def test_the_best_checkpoint_is_kept_beyond_the_limit_and_by_a_run_that_stops_early(
    go: Go, options: list[str], steps: list[int]
) -> None:
    assert go("run", "--eval_steps", "2", "--learning_rate", "1e-9", *options) == 0
    assert toy.read_log("run")[-1]["step"] == 6
    assert toy.steps_of("run") == steps
    assert best("run")["checkpoint"] == "checkpoint-2"


def test_without_dev_data_only_the_last_checkpoint_is_kept(go: Go, caplog: Log, tmp_path: Path) -> None:
    toy.write_pos(tmp_path / "own" / "pos" / "tr" / "train.conllu", toy.sentences("tr", 8, 0))
    pairs = ["--train_task_language_pairs", "pos#tr", "--data_folder", "own"]
    assert go("run", *pairs, "--max_train_steps", "2") == 0
    assert "pos#tr has no dev split: it is not evaluated while training" in caplog.text
    assert toy.steps_of("run") == [2]
    assert not (tmp_path / "run" / "best.json").exists()


def test_the_best_checkpoint_may_be_chosen_by_one_group(go: Go) -> None:
    pairs = ["--eval_task_language_pairs", "ner#en", "ner#tr"]
    assert go("run", *pairs, "--best_by", "new_pair", "--max_train_steps", "2") == 0
    found, line = best("run"), toy.read_log("run")[-1]
    assert (found["of"], found["average"]) == ("new_pair", line["dev_ner#tr"])


def test_of_equal_averages_the_later_checkpoint_is_the_best(go: Go) -> None:
    still = ["--freeze_params_regex", ".*", "--learning_rate", "1e-9", "--lr_scheduler_type", "constant"]
    steps = ["--max_train_steps", "4", "--eval_steps", "2", "--save_steps", "4"]
    assert go("run", *still, *steps) == 0
    lines = [line for line in toy.read_log("run") if "dev_all" in line]
    assert lines[0]["dev_all"] == lines[1]["dev_all"]
    assert best("run")["checkpoint"] == "checkpoint-4"


def test_without_a_terminal_the_losses_are_lines_of_the_log(go: Go, caplog: Log) -> None:
    """Also that this machine has no mixed precision."""
    caplog.set_level("INFO", "hyperx")
    assert go("run", "--fp16", "--max_train_steps", "4", "--logging_steps", "2", *NO_EVALUATION) == 0
    assert re.findall(r"step (\d) of 4: loss \d+\.\d{3}", caplog.text) == ["2", "4"]
    assert "--fp16: this machine has no mixed precision to offer here; training in 32 bits" in caplog.text


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--best_by", "new_pair"], ["--best_by"]),
        (["--learning_rate", "1e30", "--warmup_steps", "0"], ["training has diverged", "--learning_rate"]),
    ],
)
def test_what_cannot_be_trained_is_told(error: Says, options: list[str], expected: list[str]) -> None:
    message = error("run", "--max_train_steps", "5", "--eval_steps", "9", *options)
    assert all(part in message for part in expected)


# Steps, rates and batches ---------------------------------------------------------------------------------------------


def test_logging_and_checkpointed_activations_change_nothing(go: Go) -> None:
    """Logged losses are means over the steps since the line before."""
    options = ["--max_train_steps", "6", *NO_EVALUATION]
    for name, changes in (("each", []), ("three", ["--logging_steps", "3"]), ("again", ["--gradient_checkpointing"])):
        assert go(name, *options, *changes) == 0
    each, three, again = (toy.losses(name) for name in ("each", "three", "again"))
    values = list(each.values())
    assert three == pytest.approx({3: sum(values[:3]) / 3, 6: sum(values[3:]) / 3}, rel=1e-6)
    assert again == pytest.approx(each, rel=1e-5)


def test_half_batches_twice_are_one_batch(go: Go, monkeypatch: Patch, tmp_path: Path) -> None:
    """Each batch has a mean over its words, so only with equal rows are two halves exactly one whole. Adam would not
    see a sum in place of the mean, but the norm of the gradient shows it."""
    clip, norms = training.Accelerator.clip_grad_norm_, list[float]()
    monkeypatch.setattr(training.Accelerator, "clip_grad_norm_", lambda *given: norms.append(clip(*given).item()))
    for split in ("train", "dev"):
        toy.write_ner(tmp_path / "own" / "ner" / "en" / f"{split}.tsv", toy.sentences("en", 1, 0))
    encoder = toy.write_encoder(tmp_path / "plain", dropout=0.0)
    pairs = ["--train_task_language_pairs", "ner#en", "--data_folder", "own", "--model_name_or_path", str(encoder)]
    for name, rows, batches in (("whole", "32", "1"), ("halves", "16", "2")):
        sizes = ["--per_device_train_batch_size", rows, "--gradient_accumulation_steps", batches]
        assert go(name, *pairs, "--max_train_steps", "5", *NO_EVALUATION, *sizes) == 0
    assert toy.losses("halves") == pytest.approx(toy.losses("whole"), rel=1e-4)
    assert norms[5:] == pytest.approx(norms[:5], rel=1e-3)
    rates = [[line["learning_rate"] for line in toy.read_log(tmp_path / name)] for name in ("whole", "halves")]
    assert rates[0] == rates[1]


def test_gradients_are_clipped_once_a_step(go: Go, monkeypatch: Patch) -> None:
    """Adam does not see the scale of gradients, but for those below its epsilon: they move nothing."""
    clip, times = training.Accelerator.clip_grad_norm_, []
    monkeypatch.setattr(training.Accelerator, "clip_grad_norm_", lambda *given: (times.append(1), clip(*given))[1])
    options = ["--max_train_steps", "1", "--gradient_accumulation_steps", "2", "--lr_scheduler_type", "constant"]
    for name, rate, norm in (("start", "1e-12", "1"), ("clipped", "1e-3", "1e-13"), ("free", "1e-3", "0")):
        assert go(name, *options, *NO_EVALUATION, "--learning_rate", rate, "--max_grad_norm", norm) == 0
    assert len(times) == 2
    start, clipped, free = (toy.weights(name, 1)["heads.pos.bias"] for name in ("start", "clipped", "free"))
    torch.testing.assert_close(clipped, start, atol=1e-6, rtol=0)
    assert (free - start).abs().max() == pytest.approx(1e-3, rel=0.01)


@pytest.mark.parametrize(
    ("options", "windows", "rows", "steps"),
    [
        ({}, 10, 2, 2000),
        ({"num_train_epochs": 1}, 32, 8, 4),
        ({"num_train_epochs": 0.5}, 32, 8, 2),
        ({"num_train_epochs": 1, "gradient_accumulation_steps": 2}, 32, 8, 2),
        ({"num_train_epochs": 5, "max_train_steps": 1}, 32, 8, 1),
        # Rows that do not fill a batch are one step more.
        ({"num_train_epochs": 1}, 10, 4, 3),
        ({"num_train_epochs": 1, "gradient_accumulation_steps": 2}, 10, 4, 2),
    ],
)
def test_epochs_are_passes_over_all_windows(options: dict[str, Any], windows: int, rows: int, steps: int) -> None:
    assert training.total_steps(TrainingOptions(**options), windows=windows, batch_rows=rows) == steps


def test_epochs_count_all_training_data(go: Go) -> None:
    assert go("run", "--max_train_samples", "16", *NO_EVALUATION, "--num_train_epochs", "1") == 0
    assert toy.steps_of("run") == [4]


@pytest.mark.parametrize(
    ("name", "steps", "warmup", "expected"),
    [
        ("linear", 20, None, [0.5, 1, *(1 - step / 18 for step in range(1, 19))]),  # warm-up takes a tenth
        ("linear", 3, 1, [1, 0.5, 0]),
        ("polynomial", 3, 1, [1, (1 + 1e-4) / 2, 1e-4]),
        ("cosine", 3, 1, [1, 0.5, 0]),
        ("cosine_with_restarts", 3, 1, [1, 0.5, 0]),
        ("inverse_sqrt", 3, 1, [1, 2**-0.5, 3**-0.5]),
        ("constant", 3, 1, [1, 1, 1]),
        ("constant_with_warmup", 3, 1, [1, 1, 1]),
    ],
)
def test_schedules(name: Scheduler, steps: int, warmup: int | None, expected: list[float]) -> None:
    """The learning rate that each next step has, as a share of the peak."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    options = TrainingOptions(lr_scheduler_type=name, warmup_steps=warmup)
    schedule, rates = training.make_scheduler(optimizer, options, steps), []
    for _ in range(steps):
        optimizer.step()
        schedule.step()
        rates.append(schedule.get_last_lr()[0] / 1e-3)
    assert rates == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("start", [0, 3])
def test_processes_share_the_rows_of_every_batch(start: int) -> None:
    plan = BatchPlan([np.arange(3, 43)], SamplingOptions(), batch_size=6, seed=1)

    def batches(process: int) -> list[Any]:
        processes = SimpleNamespace(number=process, count=2)
        run: Any = SimpleNamespace(batch_plan=plan, collate=lambda *given: given, processes=processes)
        return list(itertools.islice(training.TrainingRun._batches(run, start), 4))

    for first, second, whole in zip(batches(0), batches(1), plan.batches(start), strict=False):
        assert first[:2] == second[:2] == (whole, first[1])
        assert len(whole[first[2]]) == len(whole[second[2]]) == 3
        assert sorted([*whole[first[2]], *whole[second[2]]]) == sorted(whole)
    # What tasks draw for a batch follows from its number, which goes on when resumed.
    assert [number for _, number, _ in batches(0)] == list(range(start, start + 4))


# Resuming -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def uninterrupted(go: Go, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Runs of seven steps with these options, each trained once for all tests."""

    def run(*options: str) -> Path:
        if options not in _uninterrupted:
            _uninterrupted[options] = tmp_path_factory.mktemp("uninterrupted") / "whole"
            assert go(_uninterrupted[options], *options) == 0
        return _uninterrupted[options]

    return run


_uninterrupted: dict[tuple[str, ...], Path] = {}


@pytest.mark.parametrize(
    ("batches", "stop", "told"),
    [
        *((2, stop, False) for stop in (2, 3, 5, 6)),
        *((1, stop, True) for stop in (1, 2, 6)),
        (3, 2, True),
        (3, 0, True),
    ],
)
def test_a_resumed_run_is_the_uninterrupted_one(
    go: Go,
    dies: Callable[..., None],
    uninterrupted: Callable[..., Path],
    batches: int,
    stop: int,
    told: bool,
    monkeypatch: Patch,
    caplog: Log,
) -> None:
    """The encoder has dropout, so this holds only where the random state is taken up as well. Logged losses are means
    over three steps. A run that is told to end saves a checkpoint within a batch: at a step with an evaluation it is
    not waited for, and the resumed run makes up for it; a step of several batches is done again."""
    options = ["--max_train_steps", "7", "--eval_steps", "3", "--save_steps", "2", "--logging_steps", "3"]
    options += ["--gradient_accumulation_steps", str(batches)]
    whole, saved = uninterrupted(*options), set[int]()
    if told:
        with monkeypatch.context() as patch:
            stop_after(stop, patch, told=True)
            assert go("run", *options) == 143
        done = stop + (batches == 1)
        kept = f"the last checkpoint is run/checkpoint-{done}" if done else "there is no checkpoint yet"
        assert f"interrupted after step {done}; {kept}. Go on with the same command and --resume" in caplog.text
        saved = {done} - {0}
    else:
        dies(stop, *options)
    assert go("run", *options, "--resume") == 0
    assert set(toy.steps_of("run")) == {*toy.steps_of(whole), *saved}
    assert toy.read_log("run") == toy.read_log(whole)
    assert same(toy.weights("run", 7), toy.weights(whole, 7))
    assert best("run") == best(whole)


def test_a_run_that_is_told_to_end_in_an_evaluation_ends_there(go: Go, monkeypatch: Patch) -> None:
    options = ["--max_train_steps", "4", "--eval_steps", "2", "--per_device_eval_batch_size", "2"]
    assert go("whole", *options) == 0
    decode, begun = Predictor._decoded, []

    def told(*given: Any) -> Any:
        begun.append(1)
        if len(begun) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return decode(*given)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "_decoded", told)
        assert go("run", *options) == 130
    assert len(begun) == 3
    assert [line["step"] for line in toy.read_log("run")] == [1, 2]
    assert toy.steps_of("run") == [2]
    assert go("run", *options, "--resume") == 0
    assert toy.read_log("run") == toy.read_log("whole")
    assert same(toy.weights("run", 4), toy.weights("whole", 4))


def test_training_from_python_is_interrupted_in_the_same_way(base: list[str], monkeypatch: Patch) -> None:
    words = [*base, *SHORT, "--max_train_steps", "5", *NO_EVALUATION, "--output_dir", "run"]
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    stop_after(2, monkeypatch, told=True)
    with pytest.raises(KeyboardInterrupt):
        training.train(parse(TrainConfig, words, "train"))
    assert toy.steps_of("run") == [3]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_resumed_run_stops_early_where_the_uninterrupted_one_does(go: Go, dies: Callable[..., None]) -> None:
    options = ["--max_train_steps", "12", "--eval_steps", "2", "--save_steps", "1", "--early_stopping_patience", "2"]
    options += ["--learning_rate", "1e-9"]
    dies(5, *options)
    assert go("run", *options, "--resume") == 0
    assert toy.read_log("run")[-1]["step"] == 6


@pytest.mark.parametrize("stops", [["--early_stopping_patience", "1"], []], ids=["stopped early", "at its end"])
def test_a_finished_run_is_not_gone_on_with(go: Go, stops: list[str]) -> None:
    options = ["--max_train_steps", "8" if stops else "2", "--eval_steps", "1", "--learning_rate", "1e-9", *stops]
    assert go("run", *options) == 0
    log = toy.read_log("run")
    assert go("run", *options, "--resume") == 0
    assert toy.read_log("run") == log


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(
    base: list[str], go: Go, cache_folder: Path, tmp_path: Path
) -> None:
    options = ["--max_train_steps", "4", "--save_steps", "1", *NO_EVALUATION]
    program = (
        "import os, signal, sys\n"
        "from hyperx import checkpoint\n"
        "from hyperx.cli import main\n"
        "write = checkpoint.save_state\n"
        "def killed(folder, state):\n"
        "    if state['progress']['step'] == 3:\n"
        "        (folder / 'state.safetensors').write_bytes(b'half')\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    write(folder, state)\n"
        "checkpoint.save_state = killed\n"
        "main(sys.argv[1:])"
    )
    words = ["train", *base, *SHORT, *options, "--output_dir", "run"]
    done = toy.forked(program, words, cwd=tmp_path, cache=cache_folder)
    assert done.returncode == -signal.SIGKILL, done.stderr
    run = tmp_path / "run"
    assert checkpoint.checkpoints(run)[-1].name == "checkpoint-2"
    assert list(run.glob(".*.part-*"))
    (run / ".best.json.part-1-2").write_text("{")  # what a kill while it is written leaves
    assert go("run", *options, "--resume") == 0
    assert not list(run.glob(".*"))
    assert go("whole", *options) == 0
    assert toy.losses(run) == toy.losses("whole")
    assert same(toy.weights(run, 4), toy.weights("whole", 4))


def test_a_pair_is_as_large_as_its_windows_are_many(tmp_path: Path) -> None:
    long, short = [Sentence(words=tuple("ab" * n), columns={"upos": ("NOUN",) * 2 * n}) for n in (16, 1)]
    splits = [
        tiny_split(tmp_path / name, PartOfSpeech(), rows) for name, rows in (("long", [long]), ("short", [short]))
    ]
    plan = BatchPlan([split.lengths for split in splits], SamplingOptions(temperature=1), batch_size=4, seed=1)
    assert [split.sentence_count for split in splits] == [1, 1]
    assert plan.probabilities.tolist() == pytest.approx(
        [len(splits[0]) / (len(splits[0]) + 1), 1 / (len(splits[0]) + 1)]
    )
    assert len(splits[0]) > 1


@pytest.fixture(scope="module")
def begun_once(base: list[str], data: Path, encoder: Path, cache_folder: Path, tmp_path_factory: Any) -> Path:
    """A folder with runs of two steps, their data and their encoder; one of them started from another."""
    folder: Path = tmp_path_factory.mktemp("begun") / "place"
    shutil.copytree(data, folder / "data")
    shutil.copytree(encoder, folder / "encoder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(cache_folder))
        patch.chdir(folder)
        for name, more in (("run", []), ("first", []), ("second", ["--seed", "2"]), ("warm", WARM)):
            assert main(["train", *base, *SHORT, *OWN, *more, "--output_dir", name]) == 0
    return folder


@pytest.fixture
def begun(isolated: Path, begun_once: Path, monkeypatch: Patch) -> Iterator[None]:  # noqa: ARG001
    """That folder as the working folder; afterwards it is as it was."""
    before = Path(shutil.copytree(begun_once, begun_once.with_name("before")))
    monkeypatch.chdir(begun_once)
    yield
    shutil.rmtree(begun_once)
    before.rename(begun_once)


OWN = ["--data_folder", "data", "--model_name_or_path", "encoder", "--max_train_steps", "2"]
WARM = ["--load_from_ckpt", "first"]


def changed(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def without_first_sentence(split: str) -> None:
    path = Path(f"data/ner/en/{split}.tsv")
    path.write_text(path.read_text().partition("\n\n")[2])


def another_encoder_and_labels() -> None:
    for path in Path("data/ner/en").iterdir():
        changed(path, "-LOC", "-ORG")
    shutil.rmtree("encoder")
    toy.write_encoder(Path("encoder"), seed=5)


def another_start() -> None:
    shutil.rmtree("first")
    Path("second").rename("first")


@pytest.mark.usefixtures("begun")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            another_encoder_and_labels,
            ["encoder_hash: the run began with", "labels: the run began with {'ner': ('O', 'B-PER', 'I-PER', 'B-LOC'"],
        ),
        # With other dev data, the best checkpoint and early stopping would compare scores on two data sets.
        *(
            (partial(without_first_sentence, split), [f"other {name} data of ner#en. Put back what it began with"])
            for split, name in (("train", "training"), ("dev", "dev"))
        ),
        (lambda: Path("data/ner/en/dev.tsv").unlink(), ["other dev data of ner#en"]),
        # Its weights are the same, but not what it computes from them.
        (lambda: changed(Path("encoder/config.json"), '"gelu"', '"relu"'), ["other settings of the encoder"]),
        (another_start, ["other weights of --load_from_ckpt"]),
        (lambda: None, []),
    ],
)
def test_resuming_with_something_else_is_refused(
    go: Go, error: Says, change: Callable[[], None], expected: list[str]
) -> None:
    change()
    options = ["warm", *OWN, *WARM, "--resume"] if change is another_start else ["run", *OWN, "--resume"]
    if not expected:
        assert go(*options) == 0
        return
    message = error(*options)
    assert "--resume: " in message
    assert all(part in message for part in expected)
    assert "pos#tr" not in message


@pytest.mark.usefixtures("begun")
def test_resuming_with_other_options_is_refused_naming_each(base: list[str]) -> None:
    log, others = toy.read_log(Path("run")), ["--seed", "7", "--temperature", "2", "--adapter_dim", "4"]
    words = [*base, *SHORT, *OWN, "--max_train_steps", "9", "--save_total_limit", "9", "--output_dir", "run"]
    with pytest.raises(ConfigError) as caught:
        training.train(parse(TrainConfig, [*words, *others, "--resume"], "train"))
    options = [problem.partition(":")[0] for problem in caught.value.problems]
    assert options == ["--adapter_dim", "--max_train_steps", "--seed", "--temperature"]
    assert "the run began with '123'; found '7'" in caught.value.problems[2]
    assert toy.read_log(Path("run")) == log


@pytest.mark.parametrize("exists", [False, True])
def test_resuming_without_a_checkpoint_starts_anew(go: Go, exists: bool, tmp_path: Path, caplog: Log) -> None:
    if exists:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "log.jsonl").write_text('{"step": 1, "loss": 9.0}\n{"step": 2, "lo')
    assert go("run", "--resume", "--max_train_steps", "2", *NO_EVALUATION) == 0
    assert "has no checkpoint yet; starting from the beginning" in caplog.text
    told = "--resume: there is no folder run; this is a new run, from the beginning"
    assert [one.message for one in caplog.records if "no folder" in one.message] == [told] * (not exists)
    assert list(toy.losses("run")) == [1, 2]
    assert len(toy.read_log("run")) == 2


def test_a_build_of_pytorch_for_one_process_will_do(monkeypatch: Patch) -> None:
    monkeypatch.delattr(torch.distributed, "ReduceOp")
    assert "TrainingRun" in runpy.run_path(str(training.__file__))


# The output folder ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "options", "expected"),
    [
        ("full", [], "full is not empty. Go on with --resume, start anew with --overwrite_output_dir"),
        ("file", [], "--output_dir"),
        ("file", ["--resume"], "--output_dir"),
        ("file/run", ["--temperature", "0"], "/file cannot hold files: Not a directory; name another folder"),
        ("none", ["--max_train_steps", "0"], "--max_train_steps"),
    ],
)
def test_an_output_folder_that_is_of_no_use_is_refused_at_once(
    error: Says, folder: str, options: list[str], expected: str
) -> None:
    Path("full").mkdir()
    for path in ("full/notes.txt", "file"):
        Path(path).write_text("mine")
    message = error(folder, "--max_train_steps", "1", *options)
    assert expected in message
    assert all(option in message for option in options if option.startswith("--t"))
    assert {path.name for path in Path().rglob("*")} == {"full", "notes.txt", "file"}


def test_a_missing_output_folder_is_reported_with_the_other_problems(base: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        training.train(parse(TrainConfig, [*base, "--temperature", "0"], "train"))
    assert sorted(problem.partition(":")[0] for problem in caught.value.problems) == ["--output_dir", "--temperature"]


def test_overwriting_deletes_what_a_run_wrote_and_nothing_else(go: Go, tmp_path: Path) -> None:
    run, options = tmp_path / "run", ["--max_train_steps", "4", "--save_steps", "2"]
    tracked = importlib.util.find_spec("tensorboard") is not None
    options += ["--report_to", "tensorboard"] if tracked else []
    assert go("run", *options) == 0
    events = list(run.rglob("events.out.tfevents*"))
    assert bool(events) == tracked
    for name in ("notes.txt", ".notes.part-1"):
        (run / name).write_text("mine")
    (run / "checkpoint-4").rename(run / "checkpoint-4-to-keep")
    assert go("run", *options, "--max_train_steps", "1", "--overwrite_output_dir") == 0
    assert len(list(run.rglob("events.out.tfevents*"))) == len(events)
    assert {path.name for path in run.iterdir()} - {"hyperx"} == {
        "best.json", "log.jsonl", "checkpoint-1", "notes.txt", ".notes.part-1", "checkpoint-4-to-keep"
    }  # fmt: skip
    assert list(toy.losses(run)) == [1]


def test_overwriting_deletes_nothing_where_a_run_cannot_begin(
    go: Go, error: Says, monkeypatch: Patch, tmp_path: Path
) -> None:
    assert go("run", "--max_train_steps", "1") == 0
    again = ["run", "--max_train_steps", "1", "--overwrite_output_dir"]
    assert "--temperature" in error(*again, "--temperature", "0")
    assert "expected an encoder" in error(*again, "--model_name_or_path", str(tmp_path / "x"))
    pytest.importorskip("tensorboard")

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("no key is configured")

    monkeypatch.setattr("accelerate.Accelerator.init_trackers", refuse)
    with pytest.raises(ValueError, match="no key"):
        go(*again, "--report_to", "tensorboard")
    assert toy.steps_of("run") == [1]


def test_languages_and_tasks_without_training_data_are_named(go: Go, caplog: Log) -> None:
    options = ["--train_task_language_pairs", "ner#en", "--tasks", "ner", "pos", "--languages", "en", "tr", "de"]
    assert go("run", *options, "--max_train_steps", "1", *NO_EVALUATION) == 0
    assert "no training pair has tr, de: these read the mean of the trained languages" in caplog.text
    assert "no training pair has the task pos: its head stays untrained" in caplog.text
