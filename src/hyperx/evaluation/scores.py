"""Scores per pair and per label."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hyperx.data.batch.store import EncodedSplit
from hyperx.model import HyperX
from hyperx.pairs import TaskLanguagePair
from hyperx.prediction.predictor import Predictor
from hyperx.tasks.base import Scores, Task


@dataclass(frozen=True, slots=True)
class PairScores:
    """The scores of one pair.

    Args:
        pair: the task and the language.
        task: the task.
        scores: its measures, from 0 to 1.
        sentences: how many sentences were scored.
        repeats: how many of them also occur in the training split.
        without_repeats: the measures on the other sentences, if there are both repeats and others.
        trained: whether the model was trained on the task; else its head is random, and the score enters no average.
        place: where the data is, as :meth:`~hyperx.data.locate.places.DataPlaces.record` gives it, if that is known.
        limit: the largest number of sentences that were to be scored; None for all.
    """

    pair: TaskLanguagePair
    task: Task
    scores: Scores
    sentences: int
    repeats: int = 0
    without_repeats: Scores | None = None
    trained: bool = True
    place: Mapping[str, Any] | None = None
    limit: int | None = None

    @property
    def value(self) -> float | None:
        """The task's main measure; None if the gold data leaves it undefined."""
        return self.scores.measures[self.task.measure]


def evaluate_pairs(
    model: HyperX,
    splits: Mapping[TaskLanguagePair, EncodedSplit],
    *,
    batch_size: int,
    repeats: Mapping[TaskLanguagePair, Collection[int]] | None = None,
) -> Iterator[PairScores]:
    """Score pairs one by one, in the given order; the scores do not depend on the batch size.

    Args:
        model: the model.
        splits: gold data of each pair.
        batch_size: windows in a batch.
        repeats: for each pair the indices of the sentences that also occur in its training split.
    """
    predictor = Predictor(model)
    for pair, split in splits.items():
        task, again = model.tasks[pair.task], (repeats or {}).get(pair, ())
        results = predictor.results(pair, split.by_sentence(), batch_size=batch_size)
        gold, predicted = task.gold(split), [result.labels for result in results]
        fresh = [index for index in range(len(gold)) if index not in again]
        without = None
        if again and fresh:
            without = task.score([gold[index] for index in fresh], [predicted[index] for index in fresh])
        trained = task.name in model.config.trained_tasks
        yield PairScores(pair, task, task.score(gold, predicted), len(gold), len(again), without, trained)


def averaged(scores: Sequence[PairScores]) -> dict[TaskLanguagePair, float]:
    """The main measure of every pair that enters averages: not of auxiliary tasks, whose measure is of another kind,
    nor of untrained ones, nor where the gold data leaves it undefined."""
    own = [score for score in scores if score.trained and not score.task.auxiliary]
    return {score.pair: score.value for score in own if score.value is not None}
