"""The results of a checkpoint by pair, gathered from all of its evaluations: ``results.json`` and ``results.md``."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hyperx
from hyperx.errors import HyperXError
from hyperx.evaluation.report import Evaluation
from hyperx.evaluation.scores import PairScores
from hyperx.files import taking_turns, write_json, write_text
from hyperx.pairs import UNTRAINED, TaskLanguagePair
from hyperx.tasks.base import Scores, Task

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Results:
    """The file with the results of one checkpoint on one split; tables of the same stand beside it.

    Args:
        path: the file.
        split: the split.
        checkpoint: a hash of the checkpoint's weights, so that scores of two models are never mixed.
    """

    path: Path
    split: str
    checkpoint: str

    def add(self, new: Evaluation, tasks: Mapping[str, Task]) -> Evaluation:
        """Add scores to those that are there; a pair that was scored before gets its new ones.

        Args:
            new: the scores.
            tasks: the tasks of the model.

        Returns:
            The scores of all pairs that are there now.

        Raises:
            OSError: if the files cannot be written.
        """
        # Evaluations of several pairs may run at once.
        with taking_turns(self.path.with_name(f".{self.path.name}.lock")):
            again = {score.pair.key for score in new}
            entries = {
                name: entry
                for name, entry in self._read(new, tasks).items()
                if TaskLanguagePair.parse(name).key not in again
            }
            entries |= {str(score.pair): _entry(score, new.group(score)) for score in new}
            every = _evaluation(new, entries, tasks)
            value = {"split": self.split, "checkpoint": self.checkpoint, "averages": every.averages, "pairs": entries}
            write_json(self.path, every.flat(self.split) | value)
            write_text(self.path.with_suffix(".md"), every.page(f"Results on the {self.split} split"))
            return every

    def _read(self, new: Evaluation, tasks: Mapping[str, Task]) -> dict[str, Any]:
        """The entries that are there, by pair. Files with anything else are set aside."""
        try:
            value = json.loads(self.path.read_text(encoding="utf-8"))
            if value["checkpoint"] == self.checkpoint:
                entries: dict[str, Any] = value["pairs"]
                _evaluation(new, entries, tasks).page("")  # what can be written again is whole
                return entries
            fault = "it is of another checkpoint"
        except FileNotFoundError:
            return {}
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError, HyperXError) as error:
            fault = f"it is damaged or of an earlier version: {error!r}"
        number = next(n for n in itertools.count(1) if not self.path.with_name(f"{self.path.name}.old-{n}").exists())
        for path in (self.path, self.path.with_suffix(".md")):
            if path.exists():
                path.rename(path.with_name(f"{path.name}.old-{number}"))
        log.warning("%s is set aside as %s.old-%d: %s", self.path, self.path.name, number, fault)
        return {}


def _entry(score: PairScores, group: str) -> dict[str, Any]:
    """What is kept of a pair, as a JSON value."""
    without = score.without_repeats
    return {
        "group": group,
        "sentences": score.sentences,
        "max_eval_samples": score.limit,
        "source": score.source,
        "measures": score.scores.measures,
        "labels": score.scores.by_label,
        "repeats": score.repeats,
        "without_repeats": None if without is None else without.measures,
        "hyperx": hyperx.__version__,
    }


def _evaluation(new: Evaluation, entries: Mapping[str, Any], tasks: Mapping[str, Task]) -> Evaluation:
    """The scores that entries were made from, of the same model as new ones."""
    scores = [
        PairScores(
            pair := TaskLanguagePair.parse(name),
            tasks[pair.task],
            Scores(entry["measures"], entry["labels"]),
            entry["sentences"],
            entry["repeats"],
            None if (without := entry["without_repeats"]) is None else Scores(without),
            trained=entry["group"] != UNTRAINED,
            source=entry["source"],
            limit=entry["max_eval_samples"],
        )
        for name, entry in entries.items()
    ]
    return Evaluation(tuple(scores), new.labelled, new.data_folder)
