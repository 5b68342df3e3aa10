"""The results of a checkpoint by pair, gathered from all of its evaluations: ``results.json`` and ``results.md``."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hyperx
from hyperx.errors import HyperXError
from hyperx.evaluation.scores import Evaluation, PairScores
from hyperx.files import taking_turns, write_json, write_text
from hyperx.pairs import UNTRAINED, TaskLanguagePair
from hyperx.tasks.base import Scores, Task

log = logging.getLogger(__name__)


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
            value = json.loads(path.read_text(encoding="utf-8"))
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
        trained, place, limit = entry["group"] != UNTRAINED, entry["source"], entry["max_eval_samples"]
        scores.append(
            PairScores(pair, tasks[pair.task], own, entry["sentences"], entry["repeats"], rest, trained, place, limit)
        )
    return Evaluation(tuple(scores), new.labelled, new.data_folder)
