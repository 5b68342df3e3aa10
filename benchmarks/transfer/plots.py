"""Plots: learning curves, and the cells of all methods in one grid."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from hyperx.pairs import AVERAGE_NAMES, GROUPS

from .tables import Comparison

WIDTH = 9.0
"""Width of the grid in inches; at 100 pixels per inch, as wide as a page."""
SATURATED = 10.0
"""Difference in points at which the colours end."""


def curves(comparison: Comparison) -> Figure:
    """One panel per group, one line per method: mean over the seeds of the macro average by step; the band extends
    from the lowest seed to the highest."""
    averages = 100 * comparison.averages()
    figure = Figure(figsize=(3.2 * averages.shape[1], 3.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, averages.shape[1]))
    for axes, (group, values) in zip(panels, averages.items(), strict=True):
        for name in comparison.systems:
            by_step = values[name].groupby("step")
            means = by_step.mean()
            (line,) = axes.plot(means.index, means.to_numpy(), marker="o", markersize=3, label=name)
            axes.fill_between(means.index, by_step.min(), by_step.max(), alpha=0.2, color=line.get_color())
        axes.set(title=AVERAGE_NAMES[str(group)], xlabel="steps")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("macro average, dev (%)")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(4, len(comparison.systems))
    )
    figure.suptitle(comparison.title)
    return figure


def heat_map(comparison: Comparison) -> Figure:
    """A row per method, a column per cell: the scores, means over seeds. The colour is the difference to the strongest
    baseline of the column, whose score is bold; a baseline is any method but Hyper-X."""
    rows = comparison.rows
    scores = 100 * rows.pivot_table(index="system", columns="pair", values="score", sort=False)
    groups = dict(zip(rows["pair"], rows["group"], strict=True))
    pairs = sorted(scores.columns, key=lambda pair: (GROUPS.index(groups[pair]), pair.partition("#")[0]))
    ours = scores.index.str.startswith("hyper-x")
    ranked = scores.mean(axis="columns").sort_values(ascending=False).index
    names = [*(name for name in ranked if name.startswith("hyper-x")), *ranked.drop(scores.index[ours])]
    strongest = scores[~ours if not ours.all() else ours].max()
    shown, differences = scores.loc[names, pairs], (scores - strongest).loc[names, pairs]

    figure = Figure(figsize=(WIDTH, 1.9 + 0.27 * len(names)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(differences, cmap="PuOr", vmin=-SATURATED, vmax=SATURATED, aspect="auto")
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xticks(range(len(pairs)), pairs, fontsize=8, rotation="vertical" if len(pairs) > 20 else "horizontal")
    axes.tick_params(length=0)
    for (row, column), value in np.ndenumerate(shown.to_numpy()):
        difference = differences.iat[row, column]
        axes.text(
            column,
            row,
            f"{value:.0f}" if len(pairs) > 20 else f"{value:.1f}",
            ha="center",
            va="center",
            fontsize=7.5,
            color="white" if abs(difference) > 0.7 * SATURATED else "black",
            weight="bold" if difference == 0 else "normal",
        )
    of_columns = [groups[pair] for pair in pairs]
    for group in dict.fromkeys(of_columns):
        middle = np.mean([place for place, own in enumerate(of_columns) if own == group])
        axes.text(float(middle), -0.62, AVERAGE_NAMES[group], ha="center", va="bottom", fontsize=8)
    for place, (one, other) in enumerate(pairwise(of_columns)):
        if one != other:
            axes.axvline(place + 0.5, color="black", linewidth=1)
    if 0 < ours.sum() < len(names):
        axes.axhline(ours.sum() - 0.5, color="black", linewidth=1)
    bar = figure.colorbar(
        image, ax=axes, location="bottom", extend="both", aspect=60, shrink=0.6, ticks=[-10, -5, 0, 5, 10]
    )
    bar.set_label("points above or below the strongest baseline of the column (bold)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    axes.set_title(comparison.title, fontsize=9, pad=18)
    return figure
