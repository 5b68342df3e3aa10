"""From the rows of results to tables: averages of the groups, cells, differences, rates."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from hyperx.errors import DataError, did_you_mean
from hyperx.evaluation.bootstrap import LEVEL, Counts, difference
from hyperx.pairs import AVERAGE_NAMES, GROUPS
from hyperx.tables import markdown_table

from .results import Results, Stage, found_rates

INTRODUCTION = """# Transfer

Percent. Averages are macro averages over cells; ± is the 95 % interval over seeds (Student's t).
"""

DIFFERENCES = """Differences of macro averages with the 95 % interval of the paired bootstrap. It resamples the
sentences within each cell, the same for both methods, and the seeds if there are two or more.

"""

STAGES: dict[Stage, tuple[str, str]] = {
    "final": ("cells", "test data"),
    "dev": ("dev", "dev data, to choose by"),
    "curve": ("curves", "dev data while training"),
}
"""How the names of files with plots and data begin, and what headings say, by stage."""


@dataclass(frozen=True)
class Mean:
    """A mean over seeds, and half the width of its interval, which one seed does not have."""

    value: float
    half: float | None


def mean_interval(values: Sequence[float]) -> Mean:
    """Mean and Student's t interval: ``mean ± t s / sqrt(n)``."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return Mean(mean, None)
    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Mean(mean, float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * spread)


@dataclass(frozen=True)
class Comparison:
    """Comparable runs of one experiment: of the same stage and number of steps, scored on the same sentences.

    Args:
        stage: the stage.
        experiment: its name.
        steps: number of training steps.
        limit: number of sentences of each cell; None for all.
        rows: the rows; ``system`` is the name of method, options and rate in tables.
    """

    stage: Stage
    experiment: str
    steps: int
    limit: int | None
    rows: pd.DataFrame

    @property
    def title(self) -> str:
        """The title in plots."""
        what = "all sentences" if self.limit is None else f"the first {self.limit:,} sentences of each cell"
        return f"{self.experiment}, {self.steps:,} steps, {what}"

    @property
    def file(self) -> str:
        """The name of files, without an ending."""
        return f"{STAGES[self.stage][0]}-{self.experiment}-{self.steps}-{'all' if self.limit is None else self.limit}"

    @property
    def systems(self) -> list[str]:
        """The names of its methods."""
        return list(self.rows["system"].unique())

    def averages(self) -> pd.DataFrame:
        """The macro averages: a row for each system, step and seed, a column for each group that has cells."""
        own = {group: in_group(self.rows, group) for group in AVERAGE_NAMES}
        keys = ["system", "step", "seed"]
        means = {group: rows.groupby(keys, sort=False)["score"].mean() for group, rows in own.items() if len(rows)}
        return pd.concat(means, axis="columns", sort=False)


def comparisons(results: Results) -> list[Comparison]:
    """All runs, grouped into comparable ones; raises a DataError if those of one group have different cells."""
    frame, found = results.frame(), []
    for stage in STAGES:
        keys = frame[frame["stage"] == stage].groupby(["experiment", "steps", "limit"], dropna=False, sort=True)
        for (experiment, steps, limit), part in keys:
            systems = []
            for (method, options), own in part.groupby(["method", "options"], sort=False):
                for rate, rows in own.groupby("rate"):
                    several = f" rate={rate:g}" if own["rate"].nunique() > 1 else ""
                    systems.append(rows.assign(system=f"{method} {options}".strip() + several))
            rows = pd.concat(systems)
            _check_cells(rows)
            most = None if pd.isna(limit) else int(limit)
            found.append(Comparison(stage, str(experiment), int(steps), most, rows))
    return found


def _check_cells(rows: pd.DataFrame) -> None:
    cells: dict[frozenset[str], str] = {}
    for (system, seed), own in rows.groupby(["system", "seed"], sort=False):
        cells.setdefault(frozenset(own["pair"]), f"{system}, seed {seed}")
    if len(cells) > 1:
        (some, one), (others, other), *_ = cells.items()
        raise DataError(
            f"{one} and {other} do not compare, for one alone has {', '.join(sorted(some ^ others))}; delete the rows "
            "of one of them and run it again"
        )


def in_group(rows: pd.DataFrame, group: str) -> pd.DataFrame:
    """The rows of a group, of both new groups, or all."""
    if group == "all":
        return rows
    return rows[rows["group"] != "seen"] if group == "zero_shot" else rows[rows["group"] == group]


def averages_table(comparison: Comparison) -> str:
    """A row per method: macro averages of the groups, mean over the seeds and its interval; training time.

    No table has more than eight columns, which is what a page shows without scrolling.
    """
    averages, table = comparison.averages(), []
    for system, rows in comparison.rows.groupby("system", sort=False):
        runs, shown = rows.drop_duplicates("seed"), []
        for _, values in averages.loc[system].items():
            mean = mean_interval(list(values))
            shown.append(f"{100 * mean.value:.1f}" + ("" if mean.half is None else f" ± {100 * mean.half:.1f}"))
        seconds, text = (
            f"{runs[name].mean():,.0f}" if runs[name].any() else "" for name in ("seconds", "text_seconds")
        )
        rates = " ".join(f"{rate:g}" for rate in sorted(rows["rate"].unique()))
        table.append([system, f"{len(runs)}, {rates}", *shown, seconds + (f" + {text}" if text else "")])
    header = ["method", "seeds, rate", *map(AVERAGE_NAMES.__getitem__, averages), "seconds (+ on raw text)"]
    return markdown_table(header, table)


def cells_data(comparison: Comparison) -> pd.DataFrame:
    """A row per method and cell: percent, means over the seeds with their intervals, with all sentences and without
    those that also occur in train (empty where nothing is left)."""
    table = []
    for system, rows in comparison.rows.groupby("system", sort=False):
        for group in GROUPS:
            for pair, cell in in_group(rows, group).groupby("pair", sort=False):
                first = cell.iloc[0]
                line = {"method": system, "pair": pair, "group": AVERAGE_NAMES[group], "measure": first["measure"]}
                line |= {"sentences": first["sentences"], "seeds": len(cell), **_percent(cell, "score")}
                line["in_train"] = 0 if pd.isna(first["in_train"]) else int(first["in_train"])
                table.append(line | _percent(cell, "score_without"))
    return pd.DataFrame(table)


def _percent(cell: pd.DataFrame, name: str) -> dict[str, float | None]:
    scores = list(cell[name].dropna())
    if not scores:
        return {name: None, f"{name}_interval": None}
    mean = mean_interval(scores)
    return {name: 100 * mean.value, f"{name}_interval": None if mean.half is None else 100 * mean.half}


def curve_data(comparison: Comparison) -> pd.DataFrame:
    """A row per method and step: the macro averages on dev data in percent, means over the seeds."""
    means = (100 * comparison.averages()).groupby(["system", "step"], sort=False).mean()
    return means.reset_index().rename(columns={"system": "method"})


def differences_table(comparison: Comparison, baseline: str, results: Results) -> str:
    """A row per method: the baseline's macro averages minus its own, with the intervals of the paired bootstrap.

    Raises:
        DataError: if the counts of a run are missing, or two runs have counts of different sentences.
    """
    runs = comparison.rows.drop_duplicates(["system", "seed"])
    counts: dict[str, dict[int, Mapping[str, Counts]]] = {system: {} for system in comparison.systems}
    for system, seed, run, split in runs[["system", "seed", "run", "split"]].itertuples(index=False):
        counts[system][int(seed)] = results.counts(run, split, comparison.limit)
    first = comparison.rows[comparison.rows["system"] == baseline]
    groups = {AVERAGE_NAMES[group]: list(in_group(first, group)["pair"].unique()) for group in AVERAGE_NAMES}
    groups = {group: pairs for group, pairs in groups.items() if pairs}
    table = []
    for system in comparison.systems:
        if system == baseline:
            continue
        seeds = sorted(counts[baseline].keys() & counts[system].keys())
        shown = []
        for pairs in groups.values() if seeds else ():
            both = ([{pair: counts[who][seed][pair] for pair in pairs} for seed in seeds] for who in (baseline, system))
            try:
                found = difference(*both)
            except ValueError:
                message = (
                    f"{baseline} and {system} were scored on other sentences; delete the rows of one, run it again"
                )
                raise DataError(message, path=results.path) from None
            shown.append(f"{100 * found.value:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})")
        table.append([system, str(len(seeds)), *(shown or [""] * len(groups))])
    return markdown_table([f"{baseline} less", "seeds", *groups], table)


def rates_table(results: Results) -> str:
    """The results of searches: one row per method, with the best rate marked; "" if there are none."""
    frame, table = results.frame(), []
    keys = ["experiment", "method", "options", "steps"]
    for key in frame[frame["stage"] == "search"][keys].drop_duplicates().to_dict("records"):
        found = found_rates(frame, **key)
        best = max(found, key=lambda rate: found[rate], default=None)
        shown = {rate: f"{rate:g}: {100 * value:.1f}" for rate, value in found.items()}
        values = ", ".join(f"**{text}**" if rate == best else text for rate, text in shown.items())
        table.append([key["experiment"], f"{key['method']} {key['options']}".strip(), f"{key['steps']:,}", values])
    header = ["experiment", "method", "steps", "average of the seen pairs on dev, by rate"]
    return markdown_table(header, table, text_columns=2) if table else ""


def all_tables(results: Results, compared: Sequence[Comparison], baseline: str) -> dict[str, str]:
    """All tables as Markdown, by heading; raises a DataError if no experiment has the baseline."""
    names = {system: None for each in compared if each.stage != "curve" for system in each.systems}
    if names and baseline not in names:
        message = f"--baseline: no run of {baseline!r} is there: {', '.join(names)}.{did_you_mean(baseline, names)}"
        raise DataError(message, path=results.path)
    rates = rates_table(results)
    sections = {"Rates": rates} if rates else {}
    for each in compared:
        file, text = f"[{each.file}.csv](data/{each.file}.csv).\n", ""
        if each.stage != "curve":
            text = averages_table(each) + "\n"
            if baseline in each.systems and len(each.systems) > 1:
                text += f"{DIFFERENCES}{differences_table(each, baseline, results)}\n"
        text += ("Averages by step: " if each.stage == "curve" else "Every cell: ") + file
        sections[f"{each.title}: {STAGES[each.stage][1]}"] = text
    return sections


def write_data(compared: Sequence[Comparison], folder: Path) -> None:
    """Write what the tables link: every cell and every curve, a CSV file for each comparison."""
    folder.mkdir(exist_ok=True)
    for each in compared:
        data = curve_data(each) if each.stage == "curve" else cells_data(each)
        data.to_csv(folder / f"{each.file}.csv", index=False, float_format="%.1f")


def update_page(page: Path, sections: Mapping[str, str]) -> None:
    """Insert tables into a Markdown page, each between a comment with its heading and ``<!-- end -->``; raises a
    DataError if the page is missing, or has an unknown heading."""
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path=page) from error

    def filled(found: re.Match[str]) -> str:
        title = found["title"]
        if title not in sections:
            raise DataError(f"expected a heading of tables.md, found {title!r}", path=page)
        return f"<!-- {title} -->\n\n{sections[title].strip()}\n\n<!-- end -->"

    pattern = r"<!-- (?P<title>(?!end )[^\n]+?) -->\n.*?<!-- end -->"
    page.write_text(re.sub(pattern, filled, text, flags=re.DOTALL), encoding="utf-8")
