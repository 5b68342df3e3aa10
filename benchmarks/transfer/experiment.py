"""An experiment: a configuration of ``hyperx train`` whose table of data names the cells to score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hyperx.config import DataOptions, SamplingOptions, TrainConfig
from hyperx.data.batch.sampling import pair_probabilities
from hyperx.data.locate.places import DataPlaces
from hyperx.data.locate.spec import DataSpec
from hyperx.errors import ConfigError
from hyperx.files import in_home
from hyperx.options import made, read_yaml
from hyperx.pairs import Group, TaskLanguagePair, group_of
from hyperx.tasks.base import Task
from hyperx.tasks.registry import kinds_of, make_tasks, read_kinds

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

Pairs = tuple[TaskLanguagePair, ...]


@dataclass(frozen=True)
class Experiment:
    """What is trained on and what is scored: the options in a file (with the requested folder of data), the kind of
    every task, and where the data of every pair of its table is."""

    name: str
    options: Mapping[str, Any]
    kinds: Mapping[str, str]
    places: DataPlaces
    _counts: dict[tuple[TaskLanguagePair, str], int] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, name: str, data_folder: Path | None = None) -> Experiment:
        """Read an experiment by its name among the examples, or by its path; the data may be in another folder.

        A file may build on another one, its ``base``; then ``leave_out`` names training pairs of that one to leave
        out, and only its training pairs are scored.

        Raises:
            ConfigError: if there is no such file, it trains nothing, or data of its table is missing.
        """
        path = Path(name) if Path(name).suffix else EXAMPLES / f"{name}.yaml"
        options = _extended(path)
        made(TrainConfig, options)  # tells what is wrong in it
        folder = in_home(data_folder or Path(options.get("data_folder", DataOptions().data_folder))).resolve()
        pairs = _pairs(options.get("data", {}))
        if not pairs or not options.get("train_task_language_pairs"):
            raise ConfigError(
                [f"{path}: expected train_task_language_pairs and a table 'data' with the cells to score"]
            )
        problems: list[str] = []
        kinds = read_kinds(options.get("tasks", ()), [pair.task for pair in pairs], problems)
        if problems:
            raise ConfigError(problems)
        columns = {name: kind.column for name, kind in kinds_of(kinds).items()}
        places = DataSpec(folder, columns, tuple(columns), options["data"]).located(pairs)
        return cls(path.stem, {**options, "data_folder": str(folder)}, kinds, places)

    @cached_property
    def train_pairs(self) -> Pairs:
        """The pairs with training data, in the file's order."""
        return _pairs(self.options["train_task_language_pairs"])

    @cached_property
    def tasks(self) -> Mapping[str, Task]:
        """Its tasks by name."""
        return make_tasks(self.kinds)

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Its languages."""
        return tuple(self.options.get("languages") or dict.fromkeys(pair.language for pair in self.places.pairs))

    def cells(self, split: str) -> Pairs:
        """The pairs of the table that have a split."""
        return tuple(pair for pair in self.places.pairs if self.places.has(pair, split))

    def group(self, pair: TaskLanguagePair) -> Group:
        """The group of a cell, which depends on the experiment, not on what a single model was trained on."""
        return group_of(pair, self.train_pairs)

    def sentences(self, pair: TaskLanguagePair, split: str) -> int:
        """How many sentences a split has."""
        if (pair, split) not in self._counts:
            self._counts[pair, split] = sum(1 for _ in self.places.read(pair, split))
        return self._counts[pair, split]

    def share(self, task: str, changes: Mapping[str, Any]) -> float:
        """The share of a task's rows in joint batches, with some options changed."""
        given, default = {**self.options, **changes}, SamplingOptions()
        most = given.get("max_train_samples")
        counts = [self.sentences(pair, "train") for pair in self.train_pairs]
        shares = pair_probabilities(
            [count if most is None else min(count, most) for count in counts],
            strategy=given.get("sampling_strategy", default.sampling_strategy),
            temperature=given.get("temperature", default.temperature),
        )
        return float(sum(share for pair, share in zip(self.train_pairs, shares, strict=True) if pair.task == task))

    def text_table(self) -> dict[str, dict[str, list[str]]]:
        """Raw text by pair (``mlm#de``): that of the train splits of the language's pairs.

        The dev and test splits are in the table too, so that none of their sentences is trained on. Languages without
        a train split are left out.
        """
        texts: dict[str, dict[str, set[str]]] = {language: {} for language in self.languages}
        for split in ("train", "dev", "test"):
            for pair in self.cells(split):
                files = self.places.record(pair, split).get("files")
                if files and pair.language in texts:
                    texts[pair.language].setdefault(split, set()).update(files)
        return {
            f"mlm#{language}": {split: sorted(paths) for split, paths in own.items()}
            for language, own in texts.items()
            if "train" in own
        }


def _extended(path: Path) -> dict[str, Any]:
    """The options of a file and of its base."""
    options = read_yaml(path)
    if "base" not in options:
        return options
    left_out = options.pop("leave_out", [])
    base = read_yaml(path.parent / options.pop("base"))
    trained = base["train_task_language_pairs"]
    if unknown := set(left_out) - set(trained):
        raise ConfigError([f"{path}: leave_out: {', '.join(sorted(unknown))}: not among the base's training pairs"])
    if left_out:
        base["data"] = {pair: row for pair, row in base["data"].items() if pair in trained}
        base["train_task_language_pairs"] = [pair for pair in trained if pair not in left_out]
    return {**base, **options}


def _pairs(names: Sequence[str] | Mapping[str, Any]) -> Pairs:
    return tuple(map(TaskLanguagePair.parse, names))
