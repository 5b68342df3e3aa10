"""From the rows of results to tables: averages of the groups, cells, differences, rates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hyperx.errors import DataError, did_you_mean
from hyperx.pairs import AVERAGE_NAMES, GROUPS
from hyperx.tables import markdown_table

from .bootstrap import Mean, difference, mean_interval
from .evaluation import Counts
from .results import Results, counts_name, found_rates

INTRODUCTION = """# Transfer

Percent. Averages are macro averages over cells; ± is the 95 % interval over seeds (Student's t).
"""

DIFFERENCES = """Differences of macro averages with the 95 % interval of the paired bootstrap. It resamples the
sentences within each cell, the same for both methods, and the seeds if there are two or more.

"""


FILES = {"final": "cells", "dev": "dev", "curve": "curves"}
"""How the files of plots and data begin, by stage."""


@dataclass(frozen=True)
class Comparison:
    """Comparable runs of one experiment: with the same number of steps, scored on the same sentences.

    Args:
        experiment: its name.
        steps: number of training steps.
        limit: number of sentences of each cell; None for all.
        systems: the rows of each method, by its name in tables.
    """

    experiment: str
    steps: int
    limit: int | None
    systems: Mapping[str, pd.DataFrame]

    @property
    def title(self) -> str:
        """The title in headings."""
        what = "all sentences" if self.limit is None else f"the first {self.limit:,} sentences of each cell"
        return f"{self.experiment}, {self.steps:,} steps, {what}"

    @property
    def file(self) -> str:
        """The part of file names that identifies it."""
        return f"{self.experiment}-{self.steps}-{'all' if self.limit is None else self.limit}"

    def averages(self, name: str) -> pd.DataFrame:
        """The macro averages of a method: one row per seed (and step), one column per group."""
        rows = self.systems[name]
        return pd.DataFrame({group: _average(rows, group) for group in AVERAGE_NAMES}).dropna(axis="columns", how="all")


def comparisons(results: Results, stage: str) -> list[Comparison]:
    """All runs, grouped into comparable ones.

    Raises:
        DataError: if two runs that should be comparable have different cells.
    """
    rows = results.frame()
    rows = rows[rows["stage"] == stage]
    found = []
    for (experiment, steps, limit), part in rows.groupby(["experiment", "steps", "limit"], dropna=False, sort=True):
        systems = dict(_systems(part))
        _check_cells(systems)
        found.append(Comparison(str(experiment), int(steps), None if pd.isna(limit) else int(limit), systems))
    return found


def _systems(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each method by name, with its changes, and with its rate if there are several."""
    for (method, options), part in rows.groupby(["method", "options"], sort=False):
        rates = sorted(part["rate"].unique())
        for rate in rates:
            name = f"{method} {options}".strip() + (f" rate={rate:g}" if len(rates) > 1 else "")
            yield name, part[part["rate"] == rate]


def _check_cells(systems: Mapping[str, pd.DataFrame]) -> None:
    cells: dict[frozenset[str], str] = {}
    for name, rows in systems.items():
        for seed, own in rows.groupby("seed"):
            cells.setdefault(frozenset(own["pair"]), f"{name}, seed {seed}")
    if len(cells) > 1:
        (some, one), (others, other), *_ = cells.items()
        raise DataError(
            f"{one} and {other} do not compare, for one alone has {', '.join(sorted(some ^ others))}; delete the rows "
            "of one of them and run it again"
        )


def _average(rows: pd.DataFrame, group: str) -> pd.Series:
    own = in_group(rows, group)
    steps = own.groupby(["step", "seed"])
    # Models for single tasks may have been scored at other steps: a step that lacks a cell has no group average.
    return steps["score"].mean()[steps["pair"].nunique() == own["pair"].nunique()]


def in_group(rows: pd.DataFrame, group: str) -> pd.DataFrame:
    """The rows of a group, of both new groups, or all."""
    if group == "all":
        return rows
    return rows[rows["group"] != "seen"] if group == "zero_shot" else rows[rows["group"] == group]


def averages_table(comparison: Comparison) -> str:
    """A row per method: macro averages of the groups, mean over the seeds and its interval; training time.

    No table has more than eight columns, which is what a page shows without scrolling.
    """
    groups = [
        group for group in AVERAGE_NAMES if any(len(in_group(rows, group)) for rows in comparison.systems.values())
    ]
    table = []
    for name, rows in comparison.systems.items():
        averages = comparison.averages(name)
        runs = rows.drop_duplicates(["seed"])
        text = runs["text_seconds"].mean() if runs["text_seconds"].any() else 0
        table.append([
            name,
            f"{len(runs)}, " + " ".join(f"{rate:g}" for rate in sorted(rows["rate"].unique())),
            *(_shown(mean_interval(list(averages[group]))) for group in groups),
            (f"{runs['seconds'].mean():,.0f}" if runs["seconds"].any() else "") + (f" + {text:,.0f}" if text else ""),
        ])  # fmt: skip
    header = ["method", "seeds, rate", *(AVERAGE_NAMES[group] for group in groups), "seconds (+ on raw text)"]
    return markdown_table(header, table)


def cells_data(comparison: Comparison) -> pd.DataFrame:
    """A row per method and cell: percent, means over the seeds with their intervals, with all sentences and without
    those that also occur in train (empty where nothing is left)."""
    rows = []
    for name, runs in comparison.systems.items():
        for group in GROUPS:
            for pair, cell in in_group(runs, group).groupby("pair", sort=False):
                first, without = cell.iloc[0], list(cell["score_without"].dropna())
                rows.append({
                    "method": name,
                    "pair": pair,
                    "group": AVERAGE_NAMES[group],
                    "measure": first["measure"],
                    "sentences": first["sentences"],
                    "seeds": len(cell),
                    **_percent("score", list(cell["score"])),
                    "in_train": 0 if pd.isna(first["in_train"]) else int(first["in_train"]),
                    **_percent("score_without", without),
                })  # fmt: skip
    return pd.DataFrame(rows)


def curve_data(comparison: Comparison) -> pd.DataFrame:
    """A row per method and step: the macro averages on dev data in percent, means over the seeds."""
    means = {name: 100 * comparison.averages(name).groupby("step").mean() for name in comparison.systems}
    return pd.concat(means, names=["method"]).reset_index()


def _percent(name: str, scores: list[float]) -> dict[str, float | None]:
    if not scores:
        return {name: None, f"{name}_interval": None}
    mean = mean_interval(scores)
    return {name: 100 * mean.value, f"{name}_interval": None if mean.half is None else 100 * mean.half}


def differences_table(comparison: Comparison, baseline: str, results: Results) -> str:
    """A row per method: the baseline's macro averages minus its own, with the intervals of the paired bootstrap.

    Raises:
        DataError: if the counts of a run are missing, or two runs have counts of different sentences.
    """
    counts = {name: _counts(comparison, rows, results) for name, rows in comparison.systems.items()}
    first = comparison.systems[baseline]
    groups = {group: list(dict.fromkeys(in_group(first, group)["pair"])) for group in AVERAGE_NAMES}
    table = []
    for name in comparison.systems:
        if name == baseline:
            continue
        seeds = sorted(counts[baseline].keys() & counts[name].keys())
        if not seeds:
            table.append([name, "0", *("" for pairs in groups.values() if pairs)])
            continue
        shown = []
        for pairs in filter(None, groups.values()):
            ours, theirs = (
                [{pair: counts[who][seed][pair] for pair in pairs} for seed in seeds] for who in (baseline, name)
            )
            try:
                found = difference(ours, theirs)
            except ValueError:
                message = (
                    f"{baseline} and {name} were scored on other sentences; delete the rows of one and run it again"
                )
                raise DataError(message, path=results.path) from None
            shown.append(f"{100 * found.value:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})")
        table.append([name, str(len(seeds)), *shown])
    return markdown_table(
        [f"{baseline} less", "seeds", *(AVERAGE_NAMES[group] for group, pairs in groups.items() if pairs)], table
    )


def _counts(comparison: Comparison, rows: pd.DataFrame, results: Results) -> dict[int, dict[str, Counts]]:
    runs = rows.drop_duplicates(["seed"])
    return {
        int(seed): results.counts(str(run), counts_name(str(split), comparison.limit))
        for seed, run, split in zip(runs["seed"], runs["run"], runs["split"], strict=True)
    }


def rates_table(results: Results) -> str:
    """The results of searches: one row per method, with the best rate marked; "" if there are none."""
    frame = results.frame()
    searches = frame[frame["stage"] == "search"][["experiment", "method", "options", "steps"]].drop_duplicates()
    table = []
    for experiment, method, options, steps in searches.itertuples(index=False):
        found = found_rates(frame, experiment=experiment, method=method, options=options, steps=steps)
        best = max(found, key=lambda rate: found[rate], default=None)
        shown = {rate: f"{rate:g}: {100 * value:.1f}" for rate, value in found.items()}
        values = [f"**{text}**" if rate == best else text for rate, text in shown.items()]
        table.append([experiment, f"{method} {options}".strip(), f"{steps:,}", ", ".join(values)])
    header = ["experiment", "method", "steps", "average of the seen pairs on dev, by rate"]
    return markdown_table(header, table, text_columns=2) if table else ""


def comparison_tables(comparison: Comparison, baseline: str, results: Results) -> Iterator[str]:
    """The tables of one comparison: averages and differences."""
    yield averages_table(comparison)
    if baseline in comparison.systems and len(comparison.systems) > 1:
        yield DIFFERENCES + differences_table(comparison, baseline, results)


def all_tables(results: Results, baseline: str) -> dict[str, str]:
    """All tables as Markdown, by heading; raises a DataError if no experiment has the baseline."""
    sections = {}
    if rates := rates_table(results):
        sections["Rates"] = rates
    compared = {stage: comparisons(results, stage) for stage in ("final", "dev")}
    names = list(
        dict.fromkeys(name for each in compared.values() for comparison in each for name in comparison.systems)
    )
    if names and baseline not in names:
        raise DataError(
            f"--baseline: no run of {baseline!r} is there: {', '.join(names)}.{did_you_mean(baseline, names)}",
            path=results.path,
        )
    for stage, data in (("final", "test data"), ("dev", "dev data, to choose by")):
        for comparison in compared[stage]:
            tables = "\n".join(comparison_tables(comparison, baseline, results))
            sections[f"{comparison.title}: {data}"] = f"{tables}\n{_link('Every cell', stage, comparison)}\n"
    for comparison in comparisons(results, "curve"):
        sections[f"{comparison.title}: dev data while training"] = _link("Averages by step", "curve", comparison) + "\n"
    return sections


def _link(text: str, stage: str, comparison: Comparison) -> str:
    return f"{text}: [{_data_name(stage, comparison)}](data/{_data_name(stage, comparison)})."


def _data_name(stage: str, comparison: Comparison) -> str:
    return f"{FILES[stage]}-{comparison.file}.csv"


def write_tables(results: Results, baseline: str, path: Path) -> dict[str, str]:
    """Write all tables as one Markdown page, and return them by heading. Errors as for :func:`all_tables`."""
    sections = all_tables(results, baseline)
    parts = [INTRODUCTION, *(f"## {title}\n\n{text}" for title, text in sections.items())]
    versions = ", ".join(sorted(results.frame()["version"].unique()))
    path.write_text("\n".join([*parts, f"Versions: {versions}\n"]), encoding="utf-8")
    return sections


def write_data(results: Results, folder: Path) -> None:
    """Write what the tables link: every cell and every curve, a CSV file for each comparison."""
    folder.mkdir(exist_ok=True)
    for stage in FILES:
        for comparison in comparisons(results, stage):
            data = curve_data(comparison) if stage == "curve" else cells_data(comparison)
            data.to_csv(folder / _data_name(stage, comparison), index=False, float_format="%.1f")


def update_page(page: Path, sections: Mapping[str, str]) -> None:
    """Insert tables into a Markdown page, each between a comment with its heading and ``<!-- end -->``.

    Raises:
        DataError: if the page is missing, or has an unknown heading.
    """
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


def _shown(mean: Mean) -> str:
    return f"{100 * mean.value:.1f}" + ("" if mean.half is None else f" ± {100 * mean.half:.1f}")
