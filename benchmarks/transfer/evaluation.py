"""The evaluation of a checkpoint that keeps the counts of correct, predicted and gold items of every sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from hyperx import HyperX, checkpoint
from hyperx.data.locate.places import DataPlaces
from hyperx.data.locate.spec import DataRecord
from hyperx.device import pick_device
from hyperx.errors import ConfigError
from hyperx.evaluation.bootstrap import Counts, score
from hyperx.pairs import TaskLanguagePair, group_of
from hyperx.plan.data import SplitLoader
from hyperx.prediction.predictor import Predictor
from hyperx.tasks.base import Task

BATCH = 32


@dataclass(frozen=True)
class CellScore:
    """The result of an evaluation for one cell; ``in_train`` tells which sentences also occur in the pair's train
    split, if the model was trained on it."""

    pair: TaskLanguagePair
    measure: str
    counts: Counts
    in_train: NDArray[np.bool_] | None

    @property
    def score(self) -> float:
        """The score over all sentences."""
        return float(score(self.counts.sum(axis=0)))

    @property
    def score_without(self) -> float | None:
        """The score over the sentences that are not in train, if there are some of both."""
        if self.in_train is None or not self.in_train.any() or self.in_train.all():
            return None
        return float(score(self.counts[~self.in_train].sum(axis=0)))


def check_countable(task: Task) -> None:
    """Check that a task can be scored sentence by sentence; raises a ConfigError if not."""
    if task.measure not in ("f1", "accuracy"):
        raise ConfigError([f"{task.name}: the suite scores tasks by f1 or accuracy; found one with {task.measure}"])


def count(task: Task, gold: Sequence[Any], predicted: Sequence[Any]) -> Counts:
    """Count a task's results, sentence by sentence. Errors as for :func:`check_countable`."""
    check_countable(task)
    return np.array([*map(task.counts, gold, predicted)], dtype=np.int32).reshape(-1, 3)


def evaluate(folder: Path, pairs: Sequence[TaskLanguagePair], split: str, limit: int | None) -> list[CellScore]:
    """Score the first ``limit`` sentences (None: all) of some cells of a checkpoint, on the data recorded in it."""
    model = HyperX.from_pretrained(folder)
    model.to(pick_device(no_cuda=False)).eval()
    places = DataPlaces(checkpoint.read_json(folder / checkpoint.DATA, DataRecord).data)
    loader = SplitLoader(places, model.tasks, model.checked_tokenizer(), max_length=model.config.max_length)
    labelled = model.config.labelled_pairs
    found = []
    for pair in tqdm(pairs, desc="evaluating", unit="cell", disable=None):
        task, gold = model.tasks[pair.task], loader.load(pair, split).first(limit)
        style = model.config.style(pair.task, places.corpus(pair))
        results = Predictor(model).results(pair, gold.by_sentence(), batch_size=BATCH, style=style)
        predicted = [result.labels for result in results]
        counts = count(task, task.gold(gold), predicted)
        in_train = None
        if split != "train" and group_of(pair, labelled) == "seen":
            repeats = gold.repeats(loader.load(pair, "train"))
            in_train = np.isin(np.arange(len(counts)), list(repeats))
        found.append(CellScore(pair, task.measure, counts, in_train))
    return found
