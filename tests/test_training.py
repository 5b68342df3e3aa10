"""Real training runs in a toy world: what they write, learn, keep, and take up again."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable
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
from hyperx.prediction.predictor import Predictor
from hyperx.tasks.tagging import PartOfSpeech
from hyperx.training import loop as training
from tiny import tiny_split

pytest_plugins = ["world"]
pytestmark = pytest.mark.usefixtures("isolated")

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


def stop_after(steps: int, patch: pytest.MonkeyPatch, *, told: bool = False) -> None:
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


# What a run writes and learns -----------------------------------------------------------------------------------------


def test_a_run_writes_checkpoints_the_best_and_a_log(trained: Path) -> None:
    assert toy.steps_of(trained) == [20, 40, 60]
    assert list(toy.losses(trained)) == [10, 20, 30, 40, 50, 60]
    averages = {line["step"]: line["dev_all"] for line in toy.read_log(trained) if "dev_all" in line}
    best = json.loads((trained / "best.json").read_text())
    assert best == {
        "checkpoint": f"checkpoint-{max(averages, key=lambda step: (averages[step], step))}",
        "average": max(averages.values()),
        "of": "all",
    }
    files = {path.name for path in (trained / "checkpoint-60").iterdir()}
    assert files == {"hyperx.json", "model.safetensors", "data.json", "options.json", "state.pt"}
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


def test_a_run_follows_from_its_seed(go: Callable[..., int], tmp_path: Path) -> None:
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
def test_every_shape_trains_and_is_evaluated(go: Callable[..., int], options: list[str]) -> None:
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
def test_every_way_to_train_with_every_other(go: Callable[..., int], values: list[str], tmp_path: Path) -> None:
    case = dict(zip(HOW, values, strict=True))
    words: list[str] = []
    for name, value in case.items():
        words += [f"--{value}{name}"] if value in ("", "no_") else [f"--{name}", value]
    assert go("run", *words, "--max_train_steps", "2", "--warmup_steps", "1", *NO_EVALUATION) == 0
    assert all(0 < loss < 10 for loss in toy.losses(tmp_path / "run").values())
    assert all(torch.isfinite(tensor).all() for tensor in toy.weights(tmp_path / "run", 2).values())


@pytest.mark.parametrize(("options", "what"), [([], "hypernetwork"), (["--adapters", "task"], "plain adapters")])
def test_a_pattern_that_freezes_all_adapters_is_warned_of(
    go: Callable[..., int], caplog: pytest.LogCaptureFixture, options: list[str], what: str
) -> None:
    assert go("run", *options, "--freeze_params_regex", ".*", "--max_train_steps", "1", *NO_EVALUATION) == 0
    assert f"--freeze_params_regex: it freezes the {what} as a whole" in caplog.text


def test_all_of_the_model_is_in_training_mode_at_every_step(
    go: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    step, modes = training.TrainingRun._step, []

    def watched(self: Any, batches: Any) -> torch.Tensor:
        modes.append({module.training for module in self.bare_model.modules()})
        return step(self, batches)

    monkeypatch.setattr(training.TrainingRun, "_step", watched)
    assert go("run", "--max_train_steps", "3", "--eval_steps", "1") == 0
    assert modes == [{True}] * 3


@pytest.fixture
def falling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every evaluation is worse than the one before."""
    averages = itertools.count(100, -1)
    monkeypatch.setattr(training.Evaluation, "averages", property(lambda _: {"all": next(averages) / 100}))


@pytest.mark.usefixtures("falling")
def test_checkpoints_beyond_the_limit_are_deleted_but_never_the_best(go: Callable[..., int], tmp_path: Path) -> None:
    options = ["--max_train_steps", "6", "--eval_steps", "2", "--save_steps", "1", "--learning_rate", "1e-9"]
    assert go("run", *options, "--save_total_limit", "3") == 0
    assert toy.steps_of(tmp_path / "run") == [2, 5, 6]
    assert json.loads((tmp_path / "run" / "best.json").read_text())["checkpoint"] == "checkpoint-2"


@pytest.mark.usefixtures("falling")
def test_a_run_stops_early(go: Callable[..., int], tmp_path: Path) -> None:
    options = ["--max_train_steps", "20", "--eval_steps", "2", "--learning_rate", "1e-9"]
    assert go("run", *options, "--early_stopping_patience", "2") == 0
    assert toy.read_log(tmp_path / "run")[-1]["step"] == 6
    assert toy.steps_of(tmp_path / "run") == [2, 6]


def test_without_dev_data_only_the_last_checkpoint_is_kept(
    go: Callable[..., int], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    toy.write_pos(tmp_path / "own" / "pos" / "tr" / "train.conllu", toy.sentences("tr", 8, 0))
    pairs = ["--train_task_language_pairs", "pos#tr", "--data_folder", "own"]
    assert go("run", *pairs, "--max_train_steps", "2") == 0
    assert "pos#tr has no dev split: it is not evaluated while training" in caplog.text
    assert toy.steps_of(tmp_path / "run") == [2]
    assert not (tmp_path / "run" / "best.json").exists()


def test_the_best_checkpoint_may_be_chosen_by_one_group(go: Callable[..., int], tmp_path: Path) -> None:
    pairs = ["--eval_task_language_pairs", "ner#en", "ner#tr"]
    assert go("run", *pairs, "--best_by", "new_pair", "--max_train_steps", "2") == 0
    best, line = json.loads((tmp_path / "run" / "best.json").read_text()), toy.read_log(tmp_path / "run")[-1]
    assert (best["of"], best["average"]) == ("new_pair", line["dev_ner#tr"])


def test_of_equal_averages_the_later_checkpoint_is_the_best(go: Callable[..., int], tmp_path: Path) -> None:
    still = ["--freeze_params_regex", ".*", "--learning_rate", "1e-9", "--lr_scheduler_type", "constant"]
    steps = ["--max_train_steps", "4", "--eval_steps", "2", "--save_steps", "4"]
    assert go("run", *still, *steps) == 0
    lines = [line for line in toy.read_log(tmp_path / "run") if "dev_all" in line]
    assert lines[0]["dev_all"] == lines[1]["dev_all"]
    assert json.loads((tmp_path / "run" / "best.json").read_text())["checkpoint"] == "checkpoint-4"


def test_without_a_terminal_the_losses_are_lines_of_the_log(
    go: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "hyperx")
    assert go("run", "--max_train_steps", "4", "--logging_steps", "2", *NO_EVALUATION) == 0
    assert re.findall(r"step \d of 4: loss \d+\.\d{3}", caplog.text) == re.findall(
        r"step [24] of 4: loss \S+", caplog.text
    )
    assert "step 2 of 4: loss " in caplog.text


def test_choosing_by_a_group_without_pairs_is_refused_before_training(error: Callable[..., str]) -> None:
    message = error("run", "--best_by", "new_pair", "--max_train_steps", "1")
    assert "--best_by" in message


def test_a_diverged_run_says_so(error: Callable[..., str]) -> None:
    message = error("run", "--learning_rate", "1e30", "--warmup_steps", "0", "--max_train_steps", "5", *NO_EVALUATION)
    assert "training has diverged" in message
    assert "--learning_rate" in message


def test_mixed_precision_without_a_gpu_says_so(go: Callable[..., int], caplog: pytest.LogCaptureFixture) -> None:
    assert go("run", "--fp16", "--max_train_steps", "1") == 0
    assert "--fp16: this machine has no mixed precision to offer here; training in 32 bits" in caplog.text


# Steps, rates and batches ---------------------------------------------------------------------------------------------


def test_half_batches_twice_are_one_batch(go: Callable[..., int], tmp_path: Path) -> None:
    """Each batch has a mean over its words, so only with equal rows are two halves exactly one whole."""
    sentence = toy.sentences("en", 1, 0)
    toy.write_ner(tmp_path / "own" / "ner" / "en" / "train.tsv", sentence)
    toy.write_ner(tmp_path / "own" / "ner" / "en" / "dev.tsv", sentence)
    encoder = toy.write_encoder(tmp_path / "plain", dropout=0.0)
    pairs = ["--train_task_language_pairs", "ner#en", "--data_folder", "own", "--model_name_or_path", str(encoder)]
    options = [*pairs, "--max_train_steps", "5", *NO_EVALUATION]
    assert go("whole", *options, "--per_device_train_batch_size", "32") == 0
    assert go("halves", *options, "--per_device_train_batch_size", "16", "--gradient_accumulation_steps", "2") == 0
    assert toy.losses(tmp_path / "halves") == pytest.approx(toy.losses(tmp_path / "whole"), rel=1e-4)
    rates = [[line["learning_rate"] for line in toy.read_log(tmp_path / name)] for name in ("whole", "halves")]
    assert rates[0] == rates[1]


def test_gradients_are_clipped_once_a_step(go: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    clip, times = training.Accelerator.clip_grad_norm_, []

    def counted(self: Any, *given: Any, **named: Any) -> Any:
        times.append(1)
        return clip(self, *given, **named)

    monkeypatch.setattr(training.Accelerator, "clip_grad_norm_", counted)
    assert go("run", "--max_train_steps", "3", "--gradient_accumulation_steps", "2", *NO_EVALUATION) == 0
    assert len(times) == 3


def test_logged_losses_are_means_over_the_steps_since_the_line_before(go: Callable[..., int], tmp_path: Path) -> None:
    options = ["--max_train_steps", "6", *NO_EVALUATION]
    assert go("each", *options, "--logging_steps", "1") == 0
    assert go("three", *options, "--logging_steps", "3") == 0
    each = list(toy.losses(tmp_path / "each").values())
    assert toy.losses(tmp_path / "three") == pytest.approx({3: sum(each[:3]) / 3, 6: sum(each[3:]) / 3}, rel=1e-6)


def test_checkpointed_activations_change_nothing_but_memory(go: Callable[..., int], tmp_path: Path) -> None:
    options = ["--max_train_steps", "4", *NO_EVALUATION]
    assert go("plain", *options) == 0
    assert go("again", *options, "--gradient_checkpointing") == 0
    assert toy.losses(tmp_path / "again") == pytest.approx(toy.losses(tmp_path / "plain"), rel=1e-5)


def test_gradients_are_clipped(go: Callable[..., int], tmp_path: Path) -> None:
    """Adam does not see the scale of gradients, but for those below its epsilon: they move nothing."""
    options = ["--max_train_steps", "1", "--lr_scheduler_type", "constant", *NO_EVALUATION]
    for name, rate, norm in (("start", "1e-12", "1"), ("clipped", "1e-3", "1e-13"), ("free", "1e-3", "0")):
        assert go(name, *options, "--learning_rate", rate, "--max_grad_norm", norm) == 0
    start, clipped, free = (toy.weights(tmp_path / name, 1)["heads.pos.bias"] for name in ("start", "clipped", "free"))
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


def test_epochs_count_all_training_data(go: Callable[..., int], tmp_path: Path) -> None:
    assert go("run", "--max_train_samples", "16", *NO_EVALUATION, "--num_train_epochs", "1") == 0
    assert toy.steps_of(tmp_path / "run") == [4]


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
def test_processes_share_the_rows_of_every_batch_and_draw_each_their_own(start: int) -> None:
    plan = BatchPlan([np.arange(3, 43)], SamplingOptions(), batch_size=6, seed=1)

    def batches(process: int) -> list[Any]:
        accelerator = SimpleNamespace(process_index=process, num_processes=2)
        run: Any = SimpleNamespace(plan=plan, collate=lambda *given: given, accelerator=accelerator)
        return list(itertools.islice(training.TrainingRun._batches(run, start), 4))

    first, second = batches(0), batches(1)
    for (own, _), (others, _), whole in zip(first, second, plan.batches(start), strict=False):
        assert len(own) == len(others) == 3
        assert sorted([*own, *others]) == sorted(whole)
    # What tasks draw for a batch follows from its number: it is another in each process, and goes on when resumed.
    assert sorted(number for _, number in first + second) == list(range(2 * start, 2 * start + 8))


# Resuming -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def uninterrupted(go: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Runs of seven steps with these options, each trained once for all tests."""

    def run(*options: str) -> Path:
        if options not in _uninterrupted:
            _uninterrupted[options] = tmp_path_factory.mktemp("uninterrupted") / "whole"
            assert go(_uninterrupted[options], *options) == 0
        return _uninterrupted[options]

    return run


_uninterrupted: dict[tuple[str, ...], Path] = {}


def assert_same_run(run: Path, whole: Path) -> None:
    assert toy.read_log(run) == toy.read_log(whole)
    assert same(toy.weights(run, 7), toy.weights(whole, 7))
    assert (run / "best.json").read_text() == (whole / "best.json").read_text()


@pytest.mark.parametrize("stop", [2, 3, 5, 6])
def test_a_resumed_run_is_the_uninterrupted_one(
    go: Callable[..., int],
    uninterrupted: Callable[..., Path],
    stop: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The encoder has dropout, so this holds only where the random state is taken up as well."""
    options = ["--max_train_steps", "7", "--eval_steps", "3", "--save_steps", "2", "--gradient_accumulation_steps", "2"]
    whole = uninterrupted(*options)
    with monkeypatch.context() as patch:
        stop_after(stop, patch)
        with pytest.raises(Death):
            go("run", *options)
    assert go("run", *options, "--resume") == 0
    assert toy.steps_of(tmp_path / "run") == toy.steps_of(whole)
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize(("batches", "stop"), [(1, 1), (1, 2), (1, 6), (3, 2), (3, 0)])
def test_a_run_that_is_told_to_end_saves_a_checkpoint_within_a_batch(
    go: Callable[..., int],
    uninterrupted: Callable[..., Path],
    batches: int,
    stop: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At a step with an evaluation it is not waited for; the resumed run makes up for it. A step of several batches
    is done again."""
    options = ["--max_train_steps", "7", "--eval_steps", "3", "--gradient_accumulation_steps", str(batches)]
    whole = uninterrupted(*options)
    with monkeypatch.context() as patch:
        stop_after(stop, patch, told=True)
        assert go("run", *options) == 143
    done = stop + (batches == 1)
    kept = f"the last checkpoint is run/checkpoint-{done}" if done else "there is no checkpoint yet"
    assert f"interrupted after step {done}; {kept}. Go on with the same command and --resume" in caplog.text
    assert go("run", *options, "--resume") == 0
    assert set(toy.steps_of(tmp_path / "run")) == {*toy.steps_of(whole), *([done] if done else [])}
    assert_same_run(tmp_path / "run", whole)


def test_a_run_that_is_told_to_end_in_an_evaluation_ends_there(
    go: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert [line["step"] for line in toy.read_log(tmp_path / "run")] == [1, 2]
    assert toy.steps_of(tmp_path / "run") == [2]
    assert go("run", *options, "--resume") == 0
    assert toy.read_log(tmp_path / "run") == toy.read_log(tmp_path / "whole")
    assert same(toy.weights(tmp_path / "run", 4), toy.weights(tmp_path / "whole", 4))


def test_training_from_python_is_interrupted_in_the_same_way(
    base: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = [*base, *SHORT, "--max_train_steps", "5", *NO_EVALUATION, "--output_dir", "run"]
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    stop_after(2, monkeypatch, told=True)
    with pytest.raises(KeyboardInterrupt):
        training.train(parse(TrainConfig, words, "train"))
    assert toy.steps_of(tmp_path / "run") == [3]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_resumed_run_logs_the_same_means_over_several_steps(
    go: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--max_train_steps", "6", "--save_steps", "2", "--logging_steps", "3", *NO_EVALUATION]
    assert go("whole", *options) == 0
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(Death):
            go("run", *options)
    assert go("run", *options, "--resume") == 0
    assert toy.losses(tmp_path / "run") == toy.losses(tmp_path / "whole")


def test_a_resumed_run_stops_early_where_the_uninterrupted_one_does(
    go: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--max_train_steps", "12", "--eval_steps", "2", "--save_steps", "1", "--early_stopping_patience", "2"]
    with monkeypatch.context() as patch:
        stop_after(5, patch)
        with pytest.raises(Death):
            go("run", *options, "--learning_rate", "1e-9")
    assert go("run", *options, "--learning_rate", "1e-9", "--resume") == 0
    assert toy.read_log(tmp_path / "run")[-1]["step"] == 6


@pytest.mark.parametrize("stops", [["--early_stopping_patience", "1"], []], ids=["stopped early", "at its end"])
def test_a_finished_run_is_not_gone_on_with(go: Callable[..., int], stops: list[str], tmp_path: Path) -> None:
    options = ["--max_train_steps", "8" if stops else "2", "--eval_steps", "1", "--learning_rate", "1e-9", *stops]
    assert go("run", *options) == 0
    log = toy.read_log(tmp_path / "run")
    assert go("run", *options, "--resume") == 0
    assert toy.read_log(tmp_path / "run") == log


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(
    base: list[str], go: Callable[..., int], cache_folder: Path, tmp_path: Path
) -> None:
    options = ["--max_train_steps", "4", "--save_steps", "1", *NO_EVALUATION]
    program = (
        "import os, signal, sys\n"
        "from hyperx import checkpoint\n"
        "from hyperx.cli import main\n"
        "write = checkpoint.save_state\n"
        "def killed(folder, state):\n"
        "    if state['progress']['step'] == 3:\n"
        "        (folder / 'state.pt').write_bytes(b'half')\n"
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
    assert toy.losses(run) == toy.losses(tmp_path / "whole")
    assert same(toy.weights(run, 4), toy.weights(tmp_path / "whole", 4))


def test_a_folder_without_its_description_is_no_checkpoint(go: Callable[..., int], tmp_path: Path) -> None:
    options = ["--max_train_steps", "3", "--save_steps", "1", *NO_EVALUATION]
    assert go("run", *options) == 0
    (tmp_path / "run" / "checkpoint-3" / "hyperx.json").unlink()
    assert checkpoint.resolve(tmp_path / "run").name == "checkpoint-2"


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


def test_resuming_with_other_options_is_refused_naming_each(
    base: list[str], go: Callable[..., int], tmp_path: Path
) -> None:
    assert go("run", "--max_train_steps", "1", *NO_EVALUATION) == 0
    log = toy.read_log(tmp_path / "run")
    words = [*base, *SHORT, "--max_train_steps", "9", *NO_EVALUATION, "--output_dir", "run", "--resume"]
    config = parse(
        TrainConfig,
        [*words, "--seed", "7", "--temperature", "2", "--adapter_dim", "4", "--save_total_limit", "9"],
        "train",
    )
    with pytest.raises(ConfigError) as caught:
        training.train(config)
    options = [problem.partition(":")[0] for problem in caught.value.problems]
    assert options == ["--adapter_dim", "--max_train_steps", "--seed", "--temperature"]
    assert "the run began with '123'; found '7'" in caught.value.problems[2]
    assert toy.read_log(tmp_path / "run") == log


def test_resuming_with_another_encoder_or_other_labels_is_refused(
    go: Callable[..., int], error: Callable[..., str], encoder: Path, data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data, tmp_path / "own")
    shutil.copytree(encoder, tmp_path / "encoder")
    options = ["--data_folder", "own", "--model_name_or_path", "encoder", "--max_train_steps", "1", *NO_EVALUATION]
    assert go("run", *options) == 0
    for path in (tmp_path / "own" / "ner" / "en").iterdir():
        path.write_text(path.read_text().replace("-LOC", "-ORG"))
    shutil.rmtree(tmp_path / "encoder")
    toy.write_encoder(tmp_path / "encoder", seed=5)
    message = error("run", *options, "--resume")
    assert "--resume: encoder_hash: the run began with" in message
    assert "--resume: labels: the run began with {'ner': ('O', 'B-PER', 'I-PER', 'B-LOC', 'I-LOC')" in message


def test_resuming_with_other_data_is_refused(
    go: Callable[..., int], error: Callable[..., str], data: Path, tmp_path: Path
) -> None:
    """With other dev data, the best checkpoint and early stopping would compare scores on two data sets."""
    shutil.copytree(data, tmp_path / "own")
    options = ["--data_folder", "own", "--max_train_steps", "2"]
    assert go("run", *options) == 0
    for split in ("training", "dev"):
        path = tmp_path / "own" / "ner" / "en" / f"{split.removesuffix('ing')}.tsv"
        text = path.read_text()
        path.write_text(text.partition("\n\n")[2])  # without the first sentence
        message = error("run", *options, "--resume")
        assert f"--resume: the run began with other {split} data of ner#en. Put back what it began with" in message
        assert "pos#tr" not in message
        path.write_text(text)
    path.unlink()
    assert "the run began with other dev data of ner#en" in error("run", *options, "--resume")
    path.write_text(text)
    assert go("run", *options, "--resume") == 0


def test_resuming_with_other_settings_of_the_encoder_is_refused(
    go: Callable[..., int], error: Callable[..., str], encoder: Path, tmp_path: Path
) -> None:
    """Its weights are the same, but not what it computes from them."""
    shutil.copytree(encoder, tmp_path / "encoder")
    options = ["--model_name_or_path", "encoder", "--max_train_steps", "1", *NO_EVALUATION]
    assert go("run", *options) == 0
    path = tmp_path / "encoder" / "config.json"
    path.write_text(path.read_text().replace('"gelu"', '"relu"'))
    assert "--resume: the run began with other settings of the encoder" in error("run", *options, "--resume")


def test_resuming_from_another_start_is_refused(
    go: Callable[..., int], error: Callable[..., str], tmp_path: Path
) -> None:
    for name, seed in (("first", "1"), ("second", "2")):
        assert go(name, "--max_train_steps", "1", "--seed", seed, *NO_EVALUATION) == 0
    options = ["--load_from_ckpt", "first", "--max_train_steps", "1", *NO_EVALUATION]
    assert go("run", *options) == 0
    shutil.rmtree(tmp_path / "first")
    (tmp_path / "second").rename(tmp_path / "first")
    assert "--resume: the run began with other weights of --load_from_ckpt" in error("run", *options, "--resume")


@pytest.mark.parametrize("exists", [False, True])
def test_resuming_without_a_checkpoint_starts_anew(
    go: Callable[..., int], exists: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if exists:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "log.jsonl").write_text('{"step": 1, "loss": 9.0}\n{"step": 2, "lo')
    assert go("run", "--resume", "--max_train_steps", "2", *NO_EVALUATION) == 0
    assert "has no checkpoint yet; starting from the beginning" in caplog.text
    assert list(toy.losses(tmp_path / "run")) == [1, 2]
    assert len(toy.read_log(tmp_path / "run")) == 2


# The output folder ----------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_empty_is_refused(error: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    message = error("run", "--max_train_steps", "1")
    assert "--output_dir: run is not empty. Go on with --resume, start anew with --overwrite_output_dir" in message


@pytest.mark.parametrize("options", [[], ["--resume"]])
def test_an_output_folder_that_is_a_file_is_refused(
    error: Callable[..., str], options: list[str], tmp_path: Path
) -> None:
    (tmp_path / "run").write_text("mine")
    assert "--output_dir" in error("run", *options, "--max_train_steps", "1")


def test_the_output_folder_is_not_made_for_a_run_that_is_refused(error: Callable[..., str], tmp_path: Path) -> None:
    error("run", "--max_train_steps", "0")
    assert not (tmp_path / "run").exists()


def test_a_missing_output_folder_is_reported_with_the_other_problems(base: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        training.train(parse(TrainConfig, [*base, "--temperature", "0"], "train"))
    assert sorted(problem.partition(":")[0] for problem in caught.value.problems) == ["--output_dir", "--temperature"]


def test_overwriting_deletes_what_a_run_wrote_and_nothing_else(go: Callable[..., int], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert go("run", "--max_train_steps", "4", "--save_steps", "2") == 0
    (run / "notes.txt").write_text("mine")
    (run / "checkpoint-4").rename(run / "checkpoint-4-to-keep")
    assert go("run", "--max_train_steps", "1", "--overwrite_output_dir") == 0
    assert {path.name for path in run.iterdir()} == {
        "best.json", "log.jsonl", "checkpoint-1", "notes.txt", "checkpoint-4-to-keep"
    }  # fmt: skip
    assert list(toy.losses(run)) == [1]


def test_overwriting_deletes_nothing_where_a_run_cannot_begin(
    go: Callable[..., int], error: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
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
    assert toy.steps_of(tmp_path / "run") == [1]


def test_an_output_folder_below_a_file_is_refused_at_once(error: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    message = error("notes.txt/run", "--temperature", "0")
    assert f"--output_dir: {tmp_path / 'notes.txt'} is a file; name another folder" in message
    assert "--temperature" in message


def test_languages_and_tasks_without_training_data_are_named(
    go: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    options = ["--train_task_language_pairs", "ner#en", "--tasks", "ner", "pos", "--languages", "en", "tr", "de"]
    assert go("run", *options, "--max_train_steps", "1", *NO_EVALUATION) == 0
    assert "no training pair has tr, de: these read the mean of the trained languages" in caplog.text
    assert "no training pair has the task pos: its head stays untrained" in caplog.text


def test_overwriting_deletes_the_logs_of_tensorboard(go: Callable[..., int], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    options = ["--max_train_steps", "1", "--report_to", "tensorboard"]
    assert go("run", *options) == 0
    assert list((tmp_path / "run").rglob("events.out.tfevents*"))
    assert go("run", *options, "--overwrite_output_dir") == 0
