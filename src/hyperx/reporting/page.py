"""The page: one HTML file, made by the one template from plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hyperx.reporting.pictures import Picture

ROW, OUT = 26, 60
"""Height of a word's row in a tree, and width of its arcs, in pixels."""


class Table(NamedTuple):
    """A table, of whose cells some have a share from 0 to 1, which their background tells."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1
    title: str = ""
    shares: Mapping[tuple[int, int], float] = {}


class Word(NamedTuple):
    """A word or a whole text, its gold and its predicted label, and the arcs to its heads in both trees."""

    text: str
    gold: str
    predicted: str
    right: bool
    arcs: tuple[str, str] | None


@dataclass(frozen=True)
class Section:
    """A part of the page; sentences by pair, each with what is told of it."""

    title: str
    text: str = ""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    sentences: Mapping[str, Sequence[tuple[str, Sequence[Word]]]] = field(default_factory=dict)


def page(title: str, sections: Sequence[Section], facts: Mapping[str, str], missing: Sequence[str] = ()) -> str:
    """The page, with facts at its top and at its end what it lacks; all texts are escaped."""
    from jinja2 import Environment, PackageLoader

    template = Environment(loader=PackageLoader("hyperx.reporting", "."), autoescape=True).get_template("page.html")
    return template.render(title=title, sections=sections, facts=facts, missing=missing, row=ROW, out=OUT)
