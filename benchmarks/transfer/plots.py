"""Plots: learning curves, and a map of tasks and languages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from hyperx.transfer import AVERAGE_NAMES

from .tables import Comparison, tasks_and_languages

HATCHES = {"seen": "", "new_pair": "....", "new_language": "////"}
"""The hatching of cells by group."""


def save(figure: Figure, folder: Path, name: str, formats: Sequence[str]) -> list[Path]:
    """Write a figure in the given formats."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{ending}" for ending in formats]
    for path in paths:
        figure.savefig(path, dpi=150)
    return paths


def curves(comparison: Comparison) -> Figure:
    """One panel per group, one line per method: mean over the seeds of the macro average by step; the band extends
    from the lowest seed to the highest."""
    averages = {name: 100 * comparison.averages(name) for name in comparison.systems}
    groups = [group for group in AVERAGE_NAMES if any(group in table for table in averages.values())]
    figure = Figure(figsize=(3.2 * len(groups), 3.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(groups)))
    for axes, group in zip(panels, groups, strict=True):
        for name, table in averages.items():
            if group in table:
                by_step = table[group].groupby("step")
                means = by_step.mean()
                (line,) = axes.plot(means.index, means.to_numpy(), marker="o", markersize=3, label=name)
                axes.fill_between(means.index, by_step.min(), by_step.max(), alpha=0.2, color=line.get_color())
        axes.set(title=AVERAGE_NAMES[group], xlabel="steps")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("macro average, dev (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(4, len(averages)))
    figure.suptitle(comparison.title)
    return figure


def heat_map(comparison: Comparison) -> Figure:
    """A panel per method, a row per task, a column per language: mean score over the seeds; zero-shot cells hatched."""
    first = next(iter(comparison.systems.values()))
    tasks, languages = tasks_and_languages(list(dict.fromkeys(first["pair"])))
    count = len(comparison.systems)
    size = (1.8 + 0.62 * len(languages), 1.2 + count * (0.65 + 0.4 * len(tasks)))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(count, 1, squeeze=False)[:, 0]
    groups = dict(zip(first["pair"], first["group"], strict=True))
    for axes, (name, rows) in zip(panels, comparison.systems.items(), strict=True):
        scores = {str(pair): 100 * float(value) for pair, value in rows.groupby("pair")["score"].mean().items()}
        values = np.array([[scores.get(f"{task}#{language}", np.nan) for language in languages] for task in tasks])
        image = axes.imshow(values, cmap="viridis", vmin=0, vmax=100, aspect="auto")
        axes.set_title(name, fontsize="medium", loc="left")
        axes.set_xticks(range(len(languages)), languages)
        axes.set_yticks(range(len(tasks)), tasks)
        for (row, column), value in np.ndenumerate(values):
            if not np.isnan(value):
                _mark(axes, row, column, value, HATCHES[groups[f"{tasks[row]}#{languages[column]}"]])
    figure.colorbar(image, ax=list(panels), label="%", shrink=0.8)
    kinds = [
        Patch(facecolor="lightgrey", edgecolor="black", hatch=HATCHES[group], label=AVERAGE_NAMES[group])
        for group in HATCHES
    ]
    figure.legend(handles=kinds, loc="outside lower center", ncols=3)
    figure.suptitle(comparison.title, fontsize="medium")
    return figure


def _mark(axes: Axes, row: int, column: int, value: float, hatch: str) -> None:
    """Write a cell's score over its hatching."""
    if hatch:
        cell = Rectangle(
            (column - 0.5, row - 0.5), 1, 1, fill=False, hatch=hatch, edgecolor="white", linewidth=0, alpha=0.5
        )
        axes.add_patch(cell)
    colour = "black" if value > 55 else "white"
    box = {"facecolor": "white" if value > 55 else "black", "alpha": 0.35, "pad": 1, "linewidth": 0}
    axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize="small", bbox=box)
