"""The results of a checkpoint by pair, gathered from all of its evaluations: ``results.json`` and ``results.md``."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hyperx
from hyperx.errors import HyperXError
from hyperx.evaluation import report
from hyperx.files import taking_turns, write_json, write_text
from hyperx.pairs import UNTRAINED, TaskLanguagePair, macro_averages

if TYPE_CHECKING:  # what is said before PyTorch is loaded needs this module
    from hyperx.evaluation.scores import PairScores
    from hyperx.tasks.base import Task

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Results:
    """The results of one checkpoint on one split, in a folder.

    Args:
        folder: the folder.
        split: the split.
        checkpoint: a hash of the checkpoint's weights, so that scores of two models are never mixed.
        labelled: the pairs that it was trained on with labels.
    """

    folder: Path
    split: str
    checkpoint: str
    labelled: Collection[TaskLanguagePair]

    @property
    def path(self) -> Path:
        """The file with all results."""
        return self.folder / ("results.json" if self.split == "test" else f"results_{self.split}.json")

    @property
    def tables(self) -> Path:
        """The file with the same as tables."""
        return self.path.with_suffix(".md")

    def of_another(self) -> bool:
        """Whether the file holds results of another checkpoint."""
        try:
            return bool(json.loads(self.path.read_text(encoding="utf-8"))["checkpoint"] != self.checkpoint)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return False

    def add(self, scores: Sequence[PairScores], tasks: Mapping[str, Task], data_folder: Path) -> int:
        """Add scores to those that are there; a pair that was scored before gets its new ones.

        Args:
            scores: the scores.
            tasks: the tasks of the model.
            data_folder: the folder of local data, which is left out of paths in tables.

        Returns:
            How many other pairs are there.

        Raises:
            OSError: if the files cannot be written.
        """
        from hyperx.evaluation.scores import averaged

        # Evaluations of several pairs may run at once.
        with taking_turns(self.folder / f".{self.path.name}.lock"):
            again = {score.pair.key for score in scores}
            entries = {
                name: entry
                for name, entry in self._read(tasks).items()
                if TaskLanguagePair.parse(name).key not in again
            }
            others = len(entries)
            entries |= {str(score.pair): self._entry(score) for score in scores}
            every = [_score(name, entry, tasks) for name, entry in entries.items()]
            value = {
                **report.flat_results(every, self.split),
                "split": self.split,
                "checkpoint": self.checkpoint,
                "averages": macro_averages(averaged(every), self.labelled),
                "pairs": entries,
            }
            write_json(self.path, value)
            title = f"Results on the {self.split} split"
            write_text(self.tables, report.results_page(title, every, self.labelled, data_folder))
            return others

    def _entry(self, score: PairScores) -> dict[str, Any]:
        without = score.without_repeats
        return {
            "group": report.shown_group(score, self.labelled),
            "sentences": score.sentences,
            "max_eval_samples": score.limit,
            "source": score.source,
            "measures": score.scores.measures,
            "labels": score.scores.by_label,
            "repeats": score.repeats,
            "without_repeats": None if without is None else without.measures,
            "hyperx": hyperx.__version__,
        }

    def _read(self, tasks: Mapping[str, Task]) -> dict[str, Any]:
        """The entries that are there, by pair. Files with anything else are set aside."""
        from hyperx.evaluation.scores import averaged

        try:
            value = json.loads(self.path.read_text(encoding="utf-8"))
            if "pairs" not in value:
                fault = "it is of an earlier version, which kept the last evaluation alone"
            elif value["checkpoint"] != self.checkpoint:
                fault = "it is of another checkpoint"
            else:
                entries: dict[str, Any] = value["pairs"]
                every = [_score(name, entry, tasks) for name, entry in entries.items()]
                # What can be written again is whole.
                report.results_page("", every, self.labelled, self.folder)
                macro_averages(averaged(every), self.labelled)
                return entries
        except FileNotFoundError:
            return {}
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError, HyperXError) as error:
            fault = f"it is damaged: {error!r}"
        self._set_aside(fault)
        return {}

    def _set_aside(self, fault: str) -> None:
        number = next(n for n in itertools.count(1) if not self.path.with_name(f"{self.path.name}.old-{n}").exists())
        for path in (self.path, self.tables):
            if path.exists():
                path.rename(path.with_name(f"{path.name}.old-{number}"))
        log.warning("%s is set aside as %s.old-%d: %s", self.path, self.path.name, number, fault)


def _score(name: str, entry: Mapping[str, Any], tasks: Mapping[str, Task]) -> PairScores:
    """The scores that an entry was made from."""
    from hyperx.evaluation.scores import PairScores
    from hyperx.tasks.base import Scores

    pair, without = TaskLanguagePair.parse(name), entry["without_repeats"]
    return PairScores(
        pair,
        tasks[pair.task],
        Scores(entry["measures"], entry["labels"]),
        entry["sentences"],
        entry["repeats"],
        None if without is None else Scores(without),
        trained=entry["group"] != UNTRAINED,
        source=entry["source"],
        limit=entry["max_eval_samples"],
    )
