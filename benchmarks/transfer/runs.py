"""One run: a method trained on an experiment with a seed, its cells scored, its rows written."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from hyperx import checkpoint
from hyperx.config import TrainConfig
from hyperx.errors import HyperXError
from hyperx.files import write_json
from hyperx.options import made
from hyperx.pairs import TaskLanguagePair
from hyperx.training.loop import train

from .evaluation import CellScore, check_countable, evaluate
from .experiment import Experiment
from .methods import method
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

    def folder(self, experiment: Experiment, *, text: bool = False) -> Path:
        """Its folder, relative to the output folder; or that of its training on raw text, which runs of all rates
        share."""
        before = "text" if text else f"{self.stage}_steps-{self.steps}_rate-{self.rate:g}"
        digest = f"_{hashlib.sha256(self.options.encode()).hexdigest()[:8]}" if self.options else ""
        return Path(experiment.name, self.method, f"{before}_seed-{self.seed}{digest}")

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


def options_text(name: str, changes: Mapping[str, Any], text_steps: int) -> str:
    """Changes of a method as text, including steps on raw text if it has any."""
    known = {**changes, **({"text_steps": text_steps} if method(name).text else {})}
    return " ".join(f"{option}={json.dumps(value, ensure_ascii=False)}" for option, value in sorted(known.items()))


@dataclass(frozen=True)
class Phase:
    """One training of a run.

    Args:
        kind: ``text`` trains on raw text; ``self`` also pairs without labels, on raw text that the model of ``start``
            labels.
        tasks: the tasks of the model.
        steps: number of training steps.
        begin: the step of a joint model after which it begins.
        end: the step of a joint model with which it ends.
        folder: its output folder.
        start: the checkpoint, or the output folder, of a training to start from.
    """

    kind: Literal["text", "labelled", "self"]
    tasks: tuple[str, ...]
    steps: int
    begin: int
    end: int
    folder: Path
    start: Path | None = None

    @property
    def share(self) -> float:
        """Number of its steps for each step of a joint model."""
        return self.steps / (self.end - self.begin)

    @property
    def last_checkpoint(self) -> Path:
        """The checkpoint of its last step."""
        return self.folder / f"checkpoint-{self.steps}"


def phases(run: Run, experiment: Experiment, output: Path) -> list[Phase]:
    """The trainings of a run: one, one for each trained task, or two one after the other; before them that on raw text.

    Raises:
        HyperXError: if there is no raw text to train on.
    """
    folder, how, start = output / run.folder(experiment), method(run.method), None
    tasks, found = tuple(experiment.tasks), list[Phase]()
    if how.text:
        table = experiment.text_table()
        if not table:
            raise HyperXError(
                f"{run.method}: no language of {experiment.name} has a local train split to take raw text from"
            )
        if without := [name for name in experiment.languages if f"mlm#{name}" not in table]:
            told = "%s: no raw text of %s: read with the mean of the others' adapters"
            log.warning(told, run.method, ", ".join(without))
        start = output / run.folder(experiment, text=True)
        found.append(Phase("text", ("mlm",), run.text_steps * len(table), 0, run.steps, start))
    if how.by_task:
        shares = {task: experiment.share(task, run.changes) for task in tasks}
        found += [
            Phase("labelled", (task,), max(1, round(share * run.steps)), 0, run.steps, folder / task, start)
            for task, share in shares.items()
            if share
        ]
    elif how.self_training:
        turn = run.steps - max(1, round(how.self_training * run.steps))
        teacher = Phase("labelled", tasks, turn, 0, turn, folder / "teacher", start)
        last = Phase("self", tasks, run.steps - turn, turn, run.steps, folder / "model", teacher.last_checkpoint)
        found += [teacher, last]
    else:
        found.append(Phase("labelled", tasks, run.steps, 0, run.steps, folder / "model", start))
    return found


def phase_options(run: Run, experiment: Experiment, phase: Phase) -> dict[str, Any]:
    """The options of one training: the experiment's, the method's, the changes, and those of the suite."""
    how, texts = method(run.method), experiment.text_table()
    own = {
        "languages": list(experiment.languages), "max_train_steps": phase.steps, "learning_rate": run.rate,
        "seed": run.seed, "save_steps": run.save_steps, "save_total_limit": 1, "output_dir": str(phase.folder),
        "disable_progress_bar": not sys.stderr.isatty(), "evaluation_strategy": "no", "eval_task_language_pairs": [],
    }  # fmt: skip
    if phase.kind == "text":
        own |= {"tasks": ["mlm"], "train_task_language_pairs": list(texts), "data": texts, "learning_rate": how.rate}
        return {**experiment.options, **how.text, **run.changes, **own}
    defaults = dict(how.options)
    if how.warmup is not None:
        defaults["warmup_steps"] = round(how.warmup * phase.steps)
    own |= {
        "tasks": [f"{name}={experiment.kinds[name]}" for name in phase.tasks],
        "train_task_language_pairs": [str(pair) for pair in experiment.train_pairs if pair.task in phase.tasks],
        "data": experiment.table(phase.tasks),
    }
    if phase.kind == "self":
        defaults["self_train_samples"] = SELF_TRAINING_SAMPLES
        pairs = [pair for pair in experiment.sources.pairs if experiment.group(pair) != "seen"]
        own |= {
            "self_train_task_language_pairs": [str(pair) for pair in pairs if f"mlm#{pair.language}" in texts],
            "learning_rate": run.rate * SELF_TRAINING_RATE,
            "seed": run.seed + SELF_TRAINING_SEED,
            "data": {**experiment.options["data"], **texts},
        }
    if phase.start is not None:
        own["load_from_ckpt"] = str(phase.start)
    if run.curve_steps is not None:
        own |= {
            "evaluation_strategy": "steps",
            "eval_steps": max(1, round(run.curve_steps * phase.share)),
            "eval_task_language_pairs": [str(pair) for pair in experiment.cells("dev") if pair.task in phase.tasks],
            "max_eval_samples": run.curve_limit,
            # The last checkpoint is scored, whichever is best; but no zero-shot pair may influence the choice.
            "best_by": "seen",
        }
    return {**experiment.options, **defaults, **run.changes, **own}


def perform(run: Run, experiment: Experiment, results: Results) -> None:
    """Train, score, write the rows, and delete the checkpoints unless they are to be kept.

    Raises:
        HyperXError: if the options or the data are at fault, or training diverges.
    """
    for task in experiment.tasks.values():
        check_countable(task)
    seconds = {"text": 0.0, "labelled": 0.0, "self": 0.0}
    trained = phases(run, experiment, results.folder)
    for phase in trained:
        seconds[phase.kind] += train_once(phase_options(run, experiment, phase))
    trained = [phase for phase in trained if phase.kind != "text"]
    scores: list[CellScore] = []
    for phase in trained:
        if phase.end == run.steps:  # a teacher ends before
            own = [pair for pair in run.cells(experiment) if pair.task in phase.tasks]
            scores += evaluate(phase.last_checkpoint, own, run.split, run.limit)
    where = str(run.folder(experiment))
    results.write_counts(where, counts_name(run.split, run.limit), {str(cell.pair): cell.counts for cell in scores})
    shared: dict[str, Any] = {
        "experiment": experiment.name, "method": run.method, "options": run.options, "rate": run.rate,
        "seed": run.seed, "steps": run.steps, "seconds": round(seconds["labelled"] + seconds["self"], 1),
        "text_seconds": round(seconds["text"], 1), "run": where, "version": version(),
    }  # fmt: skip
    rows = [
        Row(
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
        for cell in scores
    ]
    results.append([*_curve_rows(run, experiment, trained, shared), *rows])
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
    begin = time.perf_counter()
    try:
        train(made(TrainConfig, {"config": file, "resume": begun}))
    finally:
        spent += time.perf_counter() - begin
        write_json(kept, spent)
    return spent


def _curve_rows(run: Run, experiment: Experiment, trained: Sequence[Phase], shared: Mapping[str, Any]) -> Iterator[Row]:
    """The scores during training, from the log; steps of a model for a single task are converted to joint steps."""
    every = run.curve_steps
    for phase in trained if every is not None else ():
        found: dict[tuple[int, str], float] = {}
        for line in (phase.folder / checkpoint.LOG).read_text(encoding="utf-8").splitlines():
            values = json.loads(line)
            whole = phase.begin + round(values["step"] / phase.share / every) * every
            step = phase.end if values["step"] == phase.steps else min(whole, phase.end)
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
