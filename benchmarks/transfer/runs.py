"""One run: a method trained on an experiment with a seed, its cells scored, its rows written."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import yaml

from hyperx import checkpoint
from hyperx.checkpoint import LOG
from hyperx.cli.options import parse, start_logging
from hyperx.config import TrainConfig
from hyperx.errors import HyperXError
from hyperx.files import write_json
from hyperx.pairs import TaskLanguagePair
from hyperx.training.loop import train

from .evaluation import CellScore, check_countable, evaluate
from .experiment import Experiment
from .methods import Method, method
from .results import Results, Row, Stage, counts_name, version

log = logging.getLogger("hyperx.suite")

SELF_TRAINING_SAMPLES = 1000
"""Sentences of each pair without labels that are labelled in self-training."""
SELF_TRAINING_RATE = 0.5
"""Factor on the learning rate in self-training."""
SELF_TRAINING_SEED = 1_000
"""Added to the seed in self-training: with the same seed it would begin with the same batches as its teacher."""
OWN_OPTIONS = frozenset((
    "data", "data_folder", "disable_progress_bar", "eval_steps", "eval_task_language_pairs", "evaluation_strategy",
    "languages", "learning_rate", "load_from_ckpt", "max_eval_samples", "max_train_steps", "num_train_epochs",
    "output_dir", "resume", "save_steps", "save_total_limit", "seed", "self_train_task_language_pairs", "tasks",
    "train_task_language_pairs",
))  # fmt: skip
"""Options of ``hyperx train`` that follow from the experiment and the suite's own options."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A method trained with a rate and a seed, and what is to be scored.

    Args:
        method: name of the method.
        seed: seed of the training.
        steps: number of training steps.
        rate: learning rate.
        stage: ``search`` scores the seen pairs on dev data, ``dev`` all cells, ``final`` all cells on test data.
        limit: number of sentences of each cell; None for all.
        changes: options that override the method's.
        text_steps: steps on raw text for each language, if the method has any.
        curve_steps: number of steps after which cells with dev data are scored; None for never.
        curve_limit: number of sentences of each cell for that.
        save_steps: steps between checkpoints.
        keep: keep the last checkpoint.
    """

    method: str
    seed: int
    steps: int
    rate: float
    stage: Stage
    limit: int | None
    changes: Mapping[str, Any] = field(default_factory=dict)
    text_steps: int = 100
    curve_steps: int | None = None
    curve_limit: int | None = 500
    save_steps: int = 100
    keep: bool = False

    @property
    def split(self) -> str:
        """The split that is scored."""
        return "test" if self.stage == "final" else "dev"

    @property
    def options(self) -> str:
        """The changes to the method's options as text, which identify comparable runs."""
        return options_text(self.method, self.changes, self.text_steps)

    def cells(self, experiment: Experiment) -> list[TaskLanguagePair]:
        """The cells that are scored."""
        cells = experiment.cells(self.split)
        return [pair for pair in cells if self.stage != "search" or experiment.group(pair) == "seen"]

    def folder(self, experiment: Experiment) -> Path:
        """Its folder, relative to the output folder."""
        name = f"{self.stage}_steps-{self.steps}_rate-{self.rate:g}_seed-{self.seed}{_suffix(self.options)}"
        return Path(experiment.name, self.method, name)

    def text_folder(self, experiment: Experiment) -> Path:
        """The folder of its training on raw text, which runs of all rates share."""
        return Path(experiment.name, self.method, f"text_seed-{self.seed}{_suffix(self.options)}")

    def is_done(self, experiment: Experiment, rows: Sequence[Row]) -> bool:
        """Whether all its cells, and those of its learning curve, are among some rows."""
        key = (experiment.name, self.method, self.options, self.seed, self.steps, self.rate)
        wanted = {(self.stage, self.limit, self.steps, str(pair)) for pair in self.cells(experiment)}
        if self.curve_steps is not None:
            step = min(self.curve_steps, self.steps)
            wanted |= {("curve", self.curve_limit, step, str(pair)) for pair in experiment.cells("dev")}
        return wanted <= {
            (row.stage, row.limit, row.step, row.pair)
            for row in rows
            if (row.experiment, row.method, row.options, row.seed, row.steps, row.rate) == key
        }


@dataclass(frozen=True)
class Phase:
    """One training of a run.

    Args:
        tasks: the tasks of the model.
        steps: number of training steps.
        begin: the step of a joint model after which it begins.
        end: the step of a joint model with which it ends.
        folder: its output folder.
        start: the checkpoint, or the output folder, of a training to start from.
        self_training: train pairs without labels on raw text that the model of ``start`` labels.
    """

    tasks: tuple[str, ...]
    steps: int
    begin: int
    end: int
    folder: Path
    start: Path | None = None
    self_training: bool = False

    @property
    def share(self) -> float:
        """Number of its steps for each step of a joint model."""
        return self.steps / (self.end - self.begin)

    def joint_step(self, step: int, every: int) -> int:
        """The scored step of a joint model to which one of its steps corresponds, or its last."""
        whole = self.begin + round(step / self.share / every) * every
        return self.end if step == self.steps else min(whole, self.end)

    @property
    def last_checkpoint(self) -> Path:
        """The checkpoint of its last step."""
        return self.folder / f"checkpoint-{self.steps}"


def options_text(name: str, changes: Mapping[str, Any], text_steps: int) -> str:
    """Changes of a method as text, including steps on raw text if it has any."""
    known = {**changes, **({"text_steps": text_steps} if method(name).text else {})}
    return " ".join(f"{option}={json.dumps(value, ensure_ascii=False)}" for option, value in sorted(known.items()))


def _suffix(options: str) -> str:
    return f"_{hashlib.sha256(options.encode()).hexdigest()[:8]}" if options else ""


def phases(run: Run, experiment: Experiment, output: Path) -> list[Phase]:
    """The trainings of a run, without that on raw text: one, one for each trained task, or two one after the other."""
    folder, how = output / run.folder(experiment), method(run.method)
    start, tasks = output / run.text_folder(experiment) if how.text else None, tuple(experiment.tasks)
    if how.by_task:
        shares = {task: experiment.share(task, run.changes) for task in tasks}
        return [
            Phase((task,), max(1, round(share * run.steps)), 0, run.steps, folder / task, start)
            for task, share in shares.items()
            if share
        ]
    if not how.self_training:
        return [Phase(tasks, run.steps, 0, run.steps, folder / "model", start)]
    turn = run.steps - max(1, round(how.self_training * run.steps))
    teacher = Phase(tasks, turn, 0, turn, folder / "teacher", start)
    return [teacher, Phase(tasks, run.steps - turn, turn, run.steps, folder / "model", teacher.last_checkpoint, True)]


def phase_options(run: Run, experiment: Experiment, phase: Phase) -> dict[str, Any]:
    """The options of one training."""
    how = method(run.method)
    dev = [str(pair) for pair in experiment.cells("dev") if pair.task in phase.tasks]
    curve: dict[str, Any] = {"evaluation_strategy": "no", "eval_task_language_pairs": []}
    if run.curve_steps is not None:
        curve = {
            "evaluation_strategy": "steps",
            "eval_steps": max(1, round(run.curve_steps * phase.share)),
            "eval_task_language_pairs": dev,
            "max_eval_samples": run.curve_limit,
            # The last checkpoint is scored, whichever is best; but no zero-shot pair may influence the choice.
            "best_by": "seen",
        }
    return {
        **_common_options(run, experiment, _phase_defaults(how, phase), phase.steps, phase.folder),
        "tasks": [f"{name}={experiment.kinds[name]}" for name in phase.tasks],
        "train_task_language_pairs": [str(pair) for pair in experiment.train_pairs if pair.task in phase.tasks],
        "data": experiment.table(phase.tasks),
        **(_self_training_options(run, experiment) if phase.self_training else {}),
        **({} if phase.start is None else {"load_from_ckpt": str(phase.start)}),
        **curve,
    }


def _phase_defaults(how: Method, phase: Phase) -> dict[str, Any]:
    """The method's options in one training."""
    return {
        **how.options,
        **({} if how.warmup is None else {"warmup_steps": round(how.warmup * phase.steps)}),
        **({"self_train_samples": SELF_TRAINING_SAMPLES} if phase.self_training else {}),
    }


def _self_training_options(run: Run, experiment: Experiment) -> dict[str, Any]:
    """The options for self-training of the pairs without labels."""
    texts = experiment.text_table()
    pairs = [pair for pair in experiment.sources.pairs if experiment.group(pair) != "seen"]
    return {
        "self_train_task_language_pairs": [str(pair) for pair in pairs if f"mlm#{pair.language}" in texts],
        "learning_rate": run.rate * SELF_TRAINING_RATE,
        "seed": run.seed + SELF_TRAINING_SEED,
        "data": {**experiment.options["data"], **texts},
    }


def text_options(run: Run, experiment: Experiment, how: Method, folder: Path) -> dict[str, Any]:
    """The options of the training on raw text; raises a HyperXError if the experiment has none."""
    table = experiment.text_table()
    if not table:
        raise HyperXError(
            f"{run.method}: no language of {experiment.name} has a local train split to take raw text from"
        )
    if without := [name for name in experiment.languages if f"mlm#{name}" not in table]:
        log.warning("%s: no raw text of %s: read with the mean of the others' adapters", run.method, ", ".join(without))
    return {
        **_common_options(run, experiment, how.text, run.text_steps * len(table), folder),
        "tasks": ["mlm"],
        "train_task_language_pairs": list(table),
        "data": table,
        "evaluation_strategy": "no",
        "eval_task_language_pairs": [],
        "learning_rate": how.rate,
    }


def _common_options(
    run: Run, experiment: Experiment, own: Mapping[str, Any], steps: int, folder: Path
) -> dict[str, Any]:
    return {
        **experiment.options,
        **own,
        **run.changes,
        "languages": list(experiment.languages),
        "max_train_steps": steps,
        "learning_rate": run.rate,
        "seed": run.seed,
        "save_steps": run.save_steps,
        "save_total_limit": 1,
        "output_dir": str(folder),
        "disable_progress_bar": not sys.stderr.isatty(),
    }


def perform(run: Run, experiment: Experiment, results: Results) -> None:
    """Train, score, write the rows, and delete the checkpoints unless they are to be kept.

    Raises:
        HyperXError: if the options or the data are at fault, or training diverges.
    """
    for task in experiment.tasks.values():
        check_countable(task)
    output, how, text_seconds = results.folder, method(run.method), 0.0
    if how.text:
        folder = output / run.text_folder(experiment)
        text_seconds = train_once(text_options(run, experiment, how, folder))
    trained = phases(run, experiment, output)
    seconds = sum(train_once(phase_options(run, experiment, phase)) for phase in trained)
    cells = run.cells(experiment)
    scores: list[CellScore] = []
    for phase in trained[-1:] if how.self_training else trained:
        own = [pair for pair in cells if pair.task in phase.tasks]
        scores += evaluate(phase.last_checkpoint, own, run.split, run.limit)
    where = str(run.folder(experiment))
    results.write_counts(where, counts_name(run.split, run.limit), {str(cell.pair): cell.counts for cell in scores})
    shared = {
        "experiment": experiment.name, "method": run.method, "options": run.options, "rate": run.rate,
        "seed": run.seed, "steps": run.steps, "seconds": round(seconds, 1), "text_seconds": round(text_seconds, 1),
        "run": where, "version": version(),
    }  # fmt: skip
    results.append([*_curve_rows(run, experiment, trained, shared), *_rows(run, experiment, scores, shared)])
    if not run.keep:
        for phase in trained:
            for folder in checkpoint.checkpoints(phase.folder):
                shutil.rmtree(folder)


def train_once(options: Mapping[str, Any]) -> float:
    """Train with some options, resuming an interrupted run; returns the seconds that it took in all calls together."""
    folder, steps = Path(options["output_dir"]), options["max_train_steps"]
    kept = folder.with_name(f"{folder.name}.seconds.json")
    goes_on = kept.is_file() and bool(checkpoint.checkpoints(folder))
    spent = float(json.loads(kept.read_text(encoding="utf-8"))) if goes_on else 0.0
    if (folder / f"checkpoint-{steps}" / checkpoint.CONFIG).is_file():
        return spent
    folder.parent.mkdir(parents=True, exist_ok=True)
    file = folder.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(dict(options), allow_unicode=True, sort_keys=False), encoding="utf-8")
    begun = folder.is_dir() and any(folder.iterdir())
    config = parse(TrainConfig, ["--config", str(file), *(["--resume"] if begun else [])], "train")
    begin = time.perf_counter()
    try:
        train(config)
    finally:
        spent += time.perf_counter() - begin
        write_json(kept, spent)
    return spent


def _rows(run: Run, experiment: Experiment, scores: Sequence[CellScore], shared: Mapping[str, Any]) -> Iterator[Row]:
    for cell in scores:
        yield Row(
            **shared,
            stage=run.stage,
            step=run.steps,
            split=run.split,
            limit=run.limit,
            pair=str(cell.pair),
            group=experiment.group(cell.pair),
            measure=cell.measure,
            score=cell.score,
            sentences=len(cell.counts),
            in_train=None if cell.in_train is None else int(cell.in_train.sum()),
            score_without=cell.score_without,
        )


def _curve_rows(run: Run, experiment: Experiment, trained: Sequence[Phase], shared: Mapping[str, Any]) -> Iterator[Row]:
    """The scores during training, from the log; steps of a model for a single task are converted to joint steps."""
    if run.curve_steps is None:
        return
    for phase in trained:
        found: dict[tuple[int, str], float] = {}
        for line in (phase.folder / LOG).read_text(encoding="utf-8").splitlines():
            values = json.loads(line)
            step = phase.joint_step(values["step"], run.curve_steps)
            found |= {(step, key[4:]): value for key, value in values.items() if key.startswith("dev_") and "#" in key}
        for (step, name), value in found.items():
            pair = TaskLanguagePair.parse(name)
            sentences = experiment.sentences(pair, "dev")
            yield Row(
                **shared,
                stage="curve",
                step=step,
                split="dev",
                limit=run.curve_limit,
                pair=name,
                group=experiment.group(pair),
                measure=experiment.tasks[pair.task].measure,
                score=value,
                sentences=sentences if run.curve_limit is None else min(sentences, run.curve_limit),
            )


def attempt(run: Run, experiment: Experiment, output: Path) -> int:
    """Perform a run; returns the exit status: 0 for success, 1 for a problem that was printed, 130 if interrupted."""
    start_logging()
    try:
        perform(run, experiment, Results(output))
    except HyperXError as error:
        print(f"{experiment.name} {run.method} seed {run.seed} rate {run.rate:g}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def attempt_apart(run: Run, experiment: Experiment, output: Path) -> int:
    """The same in a process of its own, so that no run inherits the memory or the threads of another."""
    process = multiprocessing.get_context("spawn").Process(target=_exit_with, args=(run, experiment, output))
    process.start()
    try:
        process.join()
    except KeyboardInterrupt:
        process.join()
        return 130
    return process.exitcode or 0


def _exit_with(run: Run, experiment: Experiment, output: Path) -> None:
    stop_with_parent()
    sys.exit(attempt(run, experiment, output))


def stop_with_parent() -> None:
    """Interrupt this process, as Ctrl-C does, once its parent has ended for whatever reason."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A shell makes background processes ignore Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=_interrupt_after, args=(parent.sentinel,), daemon=True).start()


def _interrupt_after(sentinel: int) -> None:
    wait([sentinel])
    os.kill(os.getpid(), signal.SIGINT)
