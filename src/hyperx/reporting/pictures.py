"""Curves and heat maps, for pages and as files."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

INK, MARK = "#010203", "#e07b39"
"""Black that becomes the colour of the text around an SVG, and the colour of frames."""
COLOURS = ("#2a9d8f", "#e07b39", "#7b6fd0", "#c2518f", "#6a994e", "#3d8bcf", "#b58900", "#8a8f98")
"""Colours of lines that are seen on white and on black."""
MOST_NAMED = 16
"""Lines that a legend names, and columns whose cells have their numbers."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "hyperx",  # the same picture has the same bytes
    "text.parse_math": False,  # a name may have two dollar signs
    "font.size": 9,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}


@dataclass(frozen=True)
class Picture:
    """A figure of matplotlib, the name of its files, and what it shows in words."""

    name: str
    text: str
    figure: Figure

    def svg(self) -> Markup:
        """The figure for a page: its texts are escaped, and its black is the colour of the text around."""
        file = io.StringIO()
        self._write(file, format="svg", transparent=True)
        text = file.getvalue()
        text = re.sub("<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
        return Markup(text.replace(INK, "currentColor"))

    def save(self, folder: Path) -> None:
        """Write the figure as PNG and SVG into a folder that is there."""
        self._write(folder / f"{self.name}.png", dpi=150)
        self._write(folder / f"{self.name}.svg", metadata={"Date": None})

    def _write(self, file: Any, **named: Any) -> None:
        with rc_context(STYLE), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # a browser has other fonts
            self.figure.savefig(file, **named)


def lines(
    name: str,
    text: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    axes_names: tuple[str, str],
    *,
    dashed: Collection[str] = (),
    diagonal: bool = False,
) -> Picture:
    """Curves ``(x, y)`` by their names."""
    with rc_context(STYLE):
        figure = Figure(figsize=(5, 3.2), layout="constrained")
        axes = figure.subplots()
        if diagonal:
            axes.plot([0, 100], [0, 100], color=INK, linewidth=0.6, alpha=0.5)
        for number, (label, points) in enumerate(series.items()):
            colour, style = COLOURS[number % len(COLOURS)], "--" if label in dashed else "-"
            axes.plot(
                *zip(*points, strict=True), color=colour, linestyle=style, label=label, marker="o", markersize=2.5
            )
        if 1 < len(series) <= MOST_NAMED:
            figure.legend(loc="outside right upper", frameon=False, fontsize=8)
        axes.set(xlabel=axes_names[0], ylabel=axes_names[1])
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2)
    return Picture(name, text, figure)


def heat_map(
    name: str,
    text: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float]],
    *,
    span: tuple[float, float] = (-1, 1),
    framed: Collection[tuple[int, int]] = (),
    colours: str = "YlGnBu",
    form: str = "{:.0f}",
) -> Picture:
    """Values of cells by row and column, coloured over a span; those of NaN stay empty, and some have a frame."""
    many = len(columns) > MOST_NAMED
    size = 1.6 + (0.22 if many else 0.42) * len(columns), 0.9 + 0.24 * len(rows)
    with rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(values, vmin=span[0], vmax=span[1], cmap=colours, aspect="auto")
        for (row, column), value in np.ndenumerate(np.array(values)):
            if not many and not np.isnan(value):
                red, green, blue, _ = image.to_rgba(np.array(value))
                ink = "#000000" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "#ffffff"
                axes.text(column, row, form.format(value), ha="center", va="center", color=ink, fontsize=7)
        for row, column in framed:
            axes.add_patch(Rectangle((column - 0.44, row - 0.4), 0.88, 0.8, fill=False, color=MARK, linewidth=1.6))
        axes.set_xticks(range(len(columns)), columns, rotation=90 if many else 60 if max(map(len, columns)) > 4 else 0)
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
        axes.spines[:].set_visible(False)
    return Picture(name, text, figure)
