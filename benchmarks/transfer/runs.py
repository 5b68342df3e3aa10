"""One run: a method trained on an experiment with a seed, its cells scored, its rows written."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
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
from .results import Results, Row, Stage, version

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
        method: its name.
        stage: ``search`` scores the seen pairs on dev data, ``dev`` all cells, ``final`` all cells on test data.
        limit: number of sentences of each cell; None for all.
        changes: options that override the method's.
        text_steps: steps on raw text for each language, if the method has any.
        curve_steps: number of steps after which cells with dev data are scored; None for never, and for methods that
            train more than one model on labels.
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
        own = (r for r in rows if (r.experiment, r.method, r.options, r.seed, r.steps, r.rate) == key)
        return wanted <= {(row.stage, row.limit, row.step, row.pair) for row in own}


def options_text(name: str, changes: Mapping[str, Any], text_steps: int) -> str:
    """Changes of a method as text, including steps on raw text if it has any."""
    known = {**changes, **({"text_steps": text_steps} if method(name).text else {})}
    return " ".join(f"{option}={json.dumps(value, ensure_ascii=False)}" for option, value in sorted(known.items()))


@dataclass(frozen=True)
class Phase:
    """One training of a run.

    Args:
        kind: ``text`` trains on raw text; ``self`` also pairs without labels, on raw text that the model of the
            ``teacher`` before it labels.
        tasks: the tasks of the model.
        steps: number of training steps.
        folder: its output folder.
        start: the checkpoint, or the output folder, of a training to start from.
    """

    kind: Literal["text", "labelled", "teacher", "self"]
    tasks: tuple[str, ...]
    steps: int
    folder: Path
    start: Path | None = None

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
        found.append(Phase("text", ("mlm",), run.text_steps * len(table), start))
    if how.by_task:
        for task in tasks:
            if share := experiment.share(task, run.changes):
                found.append(Phase("labelled", (task,), max(1, round(share * run.steps)), folder / task, start))
    elif how.self_training:
        own = max(1, round(how.self_training * run.steps))
        teacher = Phase("teacher", tasks, run.steps - own, folder / "teacher", start)
        found += [teacher, Phase("self", tasks, own, folder / "model", teacher.last_checkpoint)]
    else:
        found.append(Phase("labelled", tasks, run.steps, folder / "model", start))
    return found


def phase_options(run: Run, experiment: Experiment, phase: Phase) -> dict[str, Any]:
    """The options of one training: the experiment's, the method's, the changes, and those of the suite."""
    how, texts, table = method(run.method), experiment.text_table(), experiment.options["data"]
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
        "data": {name: row for name, row in table.items() if TaskLanguagePair.parse(name).task in phase.tasks},
    }
    if phase.kind == "self":
        defaults["self_train_samples"] = SELF_TRAINING_SAMPLES
        pairs = [pair for pair in experiment.places.pairs if experiment.group(pair) != "seen"]
        own |= {
            "self_train_task_language_pairs": [str(pair) for pair in pairs if f"mlm#{pair.language}" in texts],
            "learning_rate": run.rate * SELF_TRAINING_RATE,
            "seed": run.seed + SELF_TRAINING_SEED,
            "data": {**table, **texts},
        }
    if phase.start is not None:
        own["load_from_ckpt"] = str(phase.start)
    if run.curve_steps is not None:
        own |= {
            "evaluation_strategy": "steps",
            "eval_steps": run.curve_steps,
            "eval_task_language_pairs": list(map(str, experiment.cells("dev"))),
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
    seconds, scores = defaultdict[str, float](float), list[CellScore]()
    trained = phases(run, experiment, results.folder)
    for phase in trained:
        seconds["text" if phase.kind == "text" else "labelled"] += train_once(phase_options(run, experiment, phase))
    for phase in trained:
        if phase.kind in ("labelled", "self"):
            own = [pair for pair in run.cells(experiment) if pair.task in phase.tasks]
            scores += evaluate(phase.last_checkpoint, own, run.split, run.limit)
    where = str(run.folder(experiment))
    results.write_counts(where, run.split, run.limit, {str(cell.pair): cell.counts for cell in scores})

    def row(pair: TaskLanguagePair, **fields: Any) -> Row:
        return Row(
            experiment=experiment.name, method=run.method, options=run.options, rate=run.rate, seed=run.seed,
            steps=run.steps, seconds=round(seconds["labelled"], 1), text_seconds=round(seconds["text"], 1), run=where,
            version=version(), pair=str(pair), group=experiment.group(pair),
            measure=experiment.tasks[pair.task].measure, **fields,
        )  # fmt: skip

    rows = []
    if run.curve_steps is not None:
        for line in (trained[-1].folder / checkpoint.LOG).read_text(encoding="utf-8").splitlines():
            values = json.loads(line)
            for pair in experiment.cells("dev"):
                if (value := values.get(f"dev_{pair}")) is not None:
                    count = experiment.sentences(pair, "dev")
                    count = count if run.curve_limit is None else min(count, run.curve_limit)
                    at = {"stage": "curve", "step": values["step"], "split": "dev", "limit": run.curve_limit}
                    rows.append(row(pair, **at, score=value, sentences=count))
    for cell in scores:
        repeated = None if cell.in_train is None else int(cell.in_train.sum())
        at = {"stage": run.stage, "step": run.steps, "split": run.split, "limit": run.limit}
        own_score = {"score": cell.score, "score_without": cell.score_without, "in_train": repeated}
        rows.append(row(cell.pair, **at, **own_score, sentences=len(cell.counts)))
    results.append(rows)
    if not run.keep:
        for phase in trained:
            for folder in checkpoint.checkpoints(phase.folder) if phase.kind != "text" else ():
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
