"""The file of results: one JSON object per line for each cell that was scored."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import hyperx
from hyperx.errors import DataError

FILE = "results.jsonl"

Stage = Literal["search", "curve", "dev", "final"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """The score of a cell.

    Args:
        experiment: its name.
        method: its name.
        options: the changes to its options, as text.
        steps: steps of the training; in total if each task has a model of its own.
        stage: ``search`` for a rate, ``curve`` during training, ``dev`` for choices, or ``final``.
        step: the step at which the cell was scored.
        limit: largest number of the split's sentences; None for all.
        pair: the cell.
        group: how far it is from the experiment's training pairs.
        score: from 0 to 1.
        sentences: how many were scored.
        in_train: how many of them also occur in the pair's train split; None if not checked.
        score_without: the score on the others, if there are some of both.
        seconds: of training all models of the run, evaluation during training included; None if not comparable, such
            as those of another machine.
        text_seconds: of training on raw text before that.
        run: its folder, relative to that of the results.
        version: of the package, and the commit.
    """

    experiment: str
    method: str
    options: str
    rate: float
    seed: int
    steps: int
    stage: Stage
    step: int
    split: str
    limit: int | None
    pair: str
    group: str
    measure: str
    score: float
    sentences: int
    in_train: int | None = None
    score_without: float | None = None
    seconds: float | None
    text_seconds: float
    run: str
    version: str


class Results:
    """The rows in an output folder, and the counts of every scored sentence.

    Args:
        folder: the output folder; it need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / FILE

    def append(self, rows: Iterable[Row]) -> None:
        """Append rows in a single write."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows))

    def rows(self) -> list[Row]:
        """All rows; raises a DataError that names a line that is not one."""
        if not self.path.is_file():
            return []
        rows = []
        for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                rows.append(Row(**json.loads(line)))
            except (ValueError, TypeError) as error:
                message = f"expected a row of results ({error}); delete it"
                raise DataError(message, path=self.path, line=number) from None
        return rows

    def frame(self) -> pd.DataFrame:
        """All rows as a table; if a cell was scored twice, the later row."""
        frame = pd.DataFrame([asdict(row) for row in self.rows()], columns=[field.name for field in fields(Row)])
        what = ["experiment", "method", "options", "rate", "seed", "steps", "stage", "step", "split", "limit", "pair"]
        return frame.drop_duplicates(what, keep="last", ignore_index=True)

    def _counts_file(self, run: str, split: str, limit: int | None) -> Path:
        return self.folder / run / f"{split}-{'all' if limit is None else limit}.npz"

    def write_counts(self, run: str, split: str, limit: int | None, counts: Mapping[str, NDArray[np.int32]]) -> None:
        """Keep, for a run, the counts of correct, predicted and gold items of each cell's first sentences."""
        path = self._counts_file(run, split, limit)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, allow_pickle=False, **counts)

    def counts(self, run: str, split: str, limit: int | None) -> dict[str, NDArray[np.int32]]:
        """What :meth:`write_counts` kept; raises a DataError if it cannot be read."""
        path = self._counts_file(run, split, limit)
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except (OSError, ValueError) as error:
            message = f"the counts of a run cannot be read ({error}); delete its rows and run it again"
            raise DataError(message, path=path) from None


def found_rates(frame: pd.DataFrame, *, experiment: str, method: str, options: str, steps: int) -> dict[float, float]:
    """The result of a search among rows: for each rate the average over the seen pairs on dev data and over seeds.

    Rates are compared on equal terms: of searches on different numbers of sentences the largest is used, and only seeds
    that all of its rates have.
    """
    key = {"experiment": experiment, "method": method, "options": options, "steps": steps, "stage": "search"}
    found = frame[(frame[list(key)] == pd.Series(key)).all(axis="columns")]
    limits = found["limit"].astype(float).fillna(np.inf)
    by_rate = found[limits == limits.max()].pivot_table(index="rate", columns="seed", values="score")
    means = by_rate.dropna(axis="columns").mean(axis="columns").dropna()
    return {float(rate): float(value) for rate, value in means.items()}


@cache
def version() -> str:
    """The version of the package, and the commit if it runs from a repository."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        commit = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False).stdout
    except OSError:
        commit = ""
    return f"{hyperx.__version__} {commit}".strip()
