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
    """A row per method: macro averages of the groups, mean over the seeds and its interval; training time."""
    groups = [
        group for group in AVERAGE_NAMES if any(len(in_group(rows, group)) for rows in comparison.systems.values())
    ]
    table = []
    for name, rows in comparison.systems.items():
        averages = comparison.averages(name)
        runs = rows.drop_duplicates(["seed"])
        table.append([
            name,
            " ".join(f"{rate:g}" for rate in sorted(rows["rate"].unique())),
            str(len(runs)),
            *(_shown(mean_interval(list(averages[group]))) for group in groups),
            f"{runs['seconds'].mean():,.0f}" if runs["seconds"].any() else "",
            f"{runs['text_seconds'].mean():,.0f}" if runs["text_seconds"].any() else "",
        ])  # fmt: skip
    header = ["method", "rate", "seeds", *(AVERAGE_NAMES[group] for group in groups), "seconds", "on raw text"]
    return markdown_table(header, table)


def cells_table(comparison: Comparison) -> str:
    """A row per cell, sorted by group, and a column per method: means over the seeds."""
    table = []
    first = next(iter(comparison.systems.values()))
    for group in GROUPS:
        for pair in dict.fromkeys(in_group(first, group)["pair"]):
            cell = first[first["pair"] == pair].iloc[0]
            values = [
                _shown(mean_interval(list(rows[rows["pair"] == pair]["score"]))) for rows in comparison.systems.values()
            ]
            table.append([pair, AVERAGE_NAMES[group], str(cell["measure"]), f"{cell['sentences']:,}", *values])
    return markdown_table(["cell", "group", "measure", "sentences", *comparison.systems], table, text_columns=3)


def repeats_table(comparison: Comparison) -> str:
    """The cells some of whose sentences also occur in train, with the scores on the others; "" if there are none."""
    table = []
    systems = comparison.systems.values()
    first = next(iter(systems))
    for pair in dict.fromkeys(first[first["in_train"].fillna(0) > 0]["pair"]):
        own = [rows[rows["pair"] == pair] for rows in systems]
        counts = f"{int(own[0].iloc[0]['in_train']):,}"
        without = [list(rows["score_without"].dropna()) for rows in own]
        # Nothing is left of a cell all of whose sentences occur in train.
        table.append([pair, counts, *(_shown(mean_interval(scores)) if scores else "" for scores in without)])
    return markdown_table(["cell", "in train", *comparison.systems], table) if table else ""


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


def curve_table(comparison: Comparison) -> str:
    """A row per method and group: the macro average on dev data by step, mean over the seeds."""
    table = []
    for name in comparison.systems:
        averages = comparison.averages(name)
        by_step = averages.groupby("step").mean()
        for group in by_step.columns:
            table.append(
                [
                    name,
                    AVERAGE_NAMES[group],
                    ", ".join(f"{step}: {100 * value:.1f}" for step, value in by_step[group].items()),
                ]
            )
    return markdown_table(["method", "group", "average by step"], table, text_columns=3)


def comparison_tables(comparison: Comparison, baseline: str, results: Results) -> Iterator[str]:
    """The tables of one comparison."""
    yield averages_table(comparison)
    if baseline in comparison.systems and len(comparison.systems) > 1:
        yield DIFFERENCES + differences_table(comparison, baseline, results)
    yield cells_table(comparison)
    if repeats := repeats_table(comparison):
        yield "Without the sentences that also occur in train:\n\n" + repeats


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
            sections[f"{comparison.title}: {data}"] = "\n".join(comparison_tables(comparison, baseline, results))
    for comparison in comparisons(results, "curve"):
        sections[f"{comparison.title}: dev data while training"] = curve_table(comparison)
    return sections


def write_tables(results: Results, baseline: str, path: Path) -> dict[str, str]:
    """Write all tables as one Markdown page, and return them by heading. Errors as for :func:`all_tables`."""
    sections = all_tables(results, baseline)
    parts = [INTRODUCTION, *(f"## {title}\n\n{text}" for title, text in sections.items())]
    versions = ", ".join(sorted(results.frame()["version"].unique()))
    path.write_text("\n".join([*parts, f"Versions: {versions}\n"]), encoding="utf-8")
    return sections


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
