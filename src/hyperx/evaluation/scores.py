"""Scores per pair and per label, tables of them, and the results of a checkpoint, gathered from all its evaluations."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import hyperx
from hyperx.data.batch.store import EncodedSplit
from hyperx.data.locate.places import DataPlaces, short_place
from hyperx.errors import HyperXError
from hyperx.evaluation.calibration import expected_calibration_error
from hyperx.files import read_json, taking_turns, write_json, write_text
from hyperx.model import HyperX
from hyperx.pairs import AVERAGE_NAMES, GROUPS, UNTRAINED, TaskLanguagePair, group_of, macro_averages
from hyperx.prediction.predictor import Predictor
from hyperx.processes import Processes
from hyperx.tables import markdown_table
from hyperx.tasks.base import Result, Scores, Task

log = logging.getLogger(__name__)
CALIBRATION_ERRORS = ("uncalibrated_ece", "ece")
"""Measures of tasks with confidences: the expected calibration error without temperatures, and with the model's."""
Answer: TypeAlias = tuple[Any, Result]
"""The gold labels of a sentence, in the form of its task, and what the model answered."""


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
        style: the corpus whose annotation was followed, if it was not that of the pair's training data or the mean.
        place: where the data is, as :meth:`~hyperx.data.locate.places.DataPlaces.record` gives it, if that is known.
        limit: the largest number of sentences that were to be scored; None for all.
        answers: of each sentence what was scored, if that was to be kept.
    """

    pair: TaskLanguagePair
    task: Task
    scores: Scores
    sentences: int
    repeats: int = 0
    without_repeats: Scores | None = None
    trained: bool = True
    style: str | None = None
    place: Mapping[str, Any] | None = None
    limit: int | None = None
    answers: Sequence[Answer] = ()

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
    places: DataPlaces | None = None,
    keep_answers: bool = False,
) -> Iterator[PairScores]:
    """Score the gold data of pairs one by one; the scores do not depend on the batch size.

    Args:
        model: the model.
        splits: gold data of each pair.
        batch_size: windows in a batch.
        repeats: for each pair the indices of the sentences that also occur in its training split.
        places: where the data is; the style of its corpus is followed, if the task has learnt it.
        keep_answers: whether scores keep what they are of.
    """
    predictor = Predictor(model)
    for pair, split in splits.items():
        task, again = model.tasks[pair.task], (repeats or {}).get(pair, ())
        style = None if places is None else model.config.style(pair.task, places.corpus(pair))
        results = [*predictor.results(pair, split.by_sentence(), batch_size=batch_size, style=style)]
        gold, predicted = task.gold(split), [result.labels for result in results]
        fresh = [index for index in range(len(gold)) if index not in again]
        without = None
        if again and fresh:
            without = task.score([gold[index] for index in fresh], [predicted[index] for index in fresh])
        trained = task.name in model.config.trained_tasks
        confidences = [result.uncalibrated for result in results], [result.confidences for result in results]
        errors = {
            name: expected_calibration_error([*chain.from_iterable(map(task.outcomes, gold, predicted, own))])
            for name, own in zip(CALIBRATION_ERRORS, confidences, strict=True)
            if None not in own
        }
        scores = task.score(gold, predicted)
        scores = replace(scores, measures={**scores.measures, **errors})
        answers = [*zip(gold, results, strict=True)] if keep_answers else ()
        yield PairScores(pair, task, scores, len(gold), len(again), without, trained, style, answers=answers)


def share(
    splits: Mapping[TaskLanguagePair, EncodedSplit], processes: Processes
) -> dict[TaskLanguagePair, EncodedSplit]:
    """The pairs that this process scores, each exactly as if it was alone: the processes take turns, by size."""
    order = sorted(splits, key=lambda pair: -len(splits[pair].ids))
    return {pair: splits[pair] for pair in order[processes.number :: processes.count]}


def joined(own: Iterable[PairScores], splits: Iterable[TaskLanguagePair], processes: Processes) -> list[PairScores]:
    """The scores of all processes, in the order of the splits."""
    scores = {score.pair: score for score in chain(*processes.gathered(list(own)))}
    return [scores[pair] for pair in splits]


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation:
    """The scores of a model, by pair: ``scores["ner#de"].value``. A notebook shows them as a table.

    Args:
        scores: one value per pair.
        labelled: the pairs that the model was trained on with labels, which count as seen.
        data_folder: the folder of local data, which tables leave out of paths.
        tables: the file with the scores by label, and those of earlier evaluations; None if none was written.
        others: the number of other pairs in that file, scored earlier.
        calibration: whether tables show calibration errors.
        unread: the pairs that were not scored, as their data cannot be read.
    """

    scores: tuple[PairScores, ...]
    labelled: tuple[TaskLanguagePair, ...]
    data_folder: Path | None = None
    tables: Path | None = None
    others: int = 0
    calibration: bool = False
    unread: tuple[TaskLanguagePair, ...] = ()

    def __iter__(self) -> Iterator[PairScores]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, pair: str | TaskLanguagePair) -> PairScores:
        key = TaskLanguagePair.parse(pair).key
        for score in self.scores:
            if score.pair.key == key:
                return score
        raise KeyError(f"{pair}; there are {', '.join(str(score.pair) for score in self.scores)}")

    def __repr__(self) -> str:
        return markdown_table(*self.table(), text_columns=2)

    _repr_markdown_ = __repr__

    @property
    def averages(self) -> dict[str, float]:
        """Macro averages of the main measures: of ``seen`` pairs, of a ``new_pair`` of a task and a language that were
        trained, of a ``new_language``, of both (``zero_shot``), and of ``all``. Auxiliary tasks, whose measure is of
        another kind, untrained ones, and pairs whose gold data leaves the measure undefined are in none."""
        own = [score for score in self.scores if score.trained and not score.task.auxiliary]
        return macro_averages({score.pair: score.value for score in own if score.value is not None}, self.labelled)

    def group(self, score: PairScores) -> str:
        """The group of a pair, or that its task was not trained."""
        return group_of(score.pair, self.labelled) if score.trained else UNTRAINED

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows: one row per pair and measure, seen pairs first, then the averages of the groups.

        If sentences also occur in train, two more columns show how many, and the score on the others. If evaluations
        had different limits to the number of sentences, a column shows these. The last shows the data, if it is known.
        """
        repeated, placed = (any(score.repeats for score in self), any(score.place for score in self))
        limited = len({score.limit for score in self}) > 1
        header = ["pair", "group", "sentences", "measure", "score"]
        header += ["in train", "score without"] * repeated + ["at most"] * limited + ["data"] * placed
        order, rows = (*GROUPS, UNTRAINED), []
        for score in sorted(self, key=lambda score: order.index(self.group(score))):
            group, without = self.group(score), score.without_repeats
            errors = [name for name in CALIBRATION_ERRORS if self.calibration and name in score.scores.measures]
            for measure in (score.task.measure, *score.task.further_measures, *errors):
                value = shown(score, score.scores.measures[measure])
                row = [str(score.pair), AVERAGE_NAMES.get(group, group), f"{score.sentences:,}", measure, value]
                if repeated:
                    row.append(f"{score.repeats:,}" if score.repeats else "")
                    row.append("" if without is None else shown(score, without.measures.get(measure)))
                if limited:
                    row.append("" if score.limit is None else f"{score.limit:,}")
                if placed:
                    row.append("" if score.place is None else short_place(score.place, self.data_folder))
                rows.append(row)
        for name, average in self.averages.items():
            rows.append(["macro average", AVERAGE_NAMES[name], "", "", f"{100 * average:.1f}", *[""] * len(header[5:])])
        return header, rows

    def page(self, title: str) -> str:
        """The tables as Markdown, with the scores of each label."""
        rows = []
        for score in self:
            for label, measures in score.scores.by_label.items():
                percent = [f"{100 * measures[name]:.1f}" for name in ("precision", "recall", "f1")]
                rows.append([str(score.pair), label, *percent, f"{measures['support']:,.0f}"])
        header = ["pair", "label", "precision", "recall", "F1", "support"]
        return f"# {title}\n\n{self!r}\n## By label\n\n{markdown_table(header, rows, text_columns=2)}"

    def flat(self, split: str) -> dict[str, float | None]:
        """All measures under the published program's names, such as ``test_ner:de_f1``, and on its scales: LAS and UAS
        from 0 to 100, other scores from 0 to 1, None if undefined."""
        return {
            f"{split}_{score.pair.task}:{score.pair.language}_{name}": 100 * value
            if name in score.task.as_percent and value is not None
            else value
            for score in self
            for name, value in score.scores.measures.items()
        }


def shown(score: PairScores, value: float | None) -> str:
    """A value of a measure as text: in percent, except perplexities; a dash if it is undefined."""
    if value is None:
        return "-"
    return f"{value:.1f}" if score.task.auxiliary else f"{100 * value:.1f}"


def scoreless(scores: Sequence[PairScores]) -> str:
    """What to do about pairs of trained tasks with a score of exactly 0; "" if there are none."""
    pairs = [str(score.pair) for score in scores if score.value == 0 and score.trained and not score.task.auxiliary]
    told = "nothing is right yet, as when a model predicts no entity at all. Train more steps, or with a higher"
    return f"score 0 for {', '.join(pairs)}: {told} --learning_rate" if pairs else ""


# The file of results --------------------------------------------------------------------------------------------------


def add_results(path: Path, new: Evaluation, tasks: Mapping[str, Task], *, split: str, weights: str) -> Evaluation:
    """Add scores to those in a file, and make its tables; a pair that was scored before gets its new ones.

    Args:
        path: the file.
        new: the scores.
        tasks: the tasks of the model.
        split: the split.
        weights: a hash of the checkpoint's weights: scores of two models are never mixed.

    Returns:
        The scores of all pairs that are there now. Raises an OSError if they cannot be written.
    """
    tables = path.with_suffix(".md")
    # Evaluations of several pairs may run at once.
    with taking_turns(path.with_name(f".{path.name}.lock")):
        entries, fault = {}, ""
        try:
            value = read_json(path, dict[str, Any])
            if value["checkpoint"] == weights:
                _evaluation(new, value["pairs"], tasks).page("")  # what can be written again is whole
                entries = value["pairs"]
            else:
                fault = "it is of another checkpoint"
        except FileNotFoundError:
            pass
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError, HyperXError) as error:
            fault = f"it is damaged or of an earlier version: {error!r}"
        if fault:
            number = next(n for n in itertools.count(1) if not path.with_name(f"{path.name}.old-{n}").exists())
            for old in (path, tables):
                if old.exists():
                    old.rename(old.with_name(f"{old.name}.old-{number}"))
            log.warning("%s is set aside as %s.old-%d: %s", path, path.name, number, fault)
        again = {score.pair.key for score in new}
        entries = {name: entry for name, entry in entries.items() if TaskLanguagePair.parse(name).key not in again}
        for score in new:
            entries[str(score.pair)] = {
                "group": new.group(score),
                "sentences": score.sentences,
                "max_eval_samples": score.limit,
                "source": score.place,
                "style": score.style,
                "measures": score.scores.measures,
                "labels": score.scores.by_label,
                "repeats": score.repeats,
                "without_repeats": None if score.without_repeats is None else score.without_repeats.measures,
                "hyperx": hyperx.__version__,
            }
        every = _evaluation(new, entries, tasks)
        value = {"split": split, "checkpoint": weights, "averages": every.averages, "pairs": entries}
        write_json(path, every.flat(split) | value)
        write_text(tables, every.page(f"Results on the {split} split"))
        return every


def _evaluation(new: Evaluation, entries: Mapping[str, Any], tasks: Mapping[str, Task]) -> Evaluation:
    """The scores that entries were made from, of the same model as new ones."""
    scores = []
    for name, entry in entries.items():
        pair, without = TaskLanguagePair.parse(name), entry["without_repeats"]
        own, rest = Scores(entry["measures"], entry["labels"]), None if without is None else Scores(without)
        scores.append(
            PairScores(
                pair,
                tasks[pair.task],
                own,
                entry["sentences"],
                entry["repeats"],
                rest,
                trained=entry["group"] != UNTRAINED,
                style=entry["style"],
                place=entry["source"],
                limit=entry["max_eval_samples"],
            )
        )
    return Evaluation(tuple(scores), new.labelled, new.data_folder, calibration=new.calibration)
