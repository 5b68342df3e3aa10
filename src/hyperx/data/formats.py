"""The one table of file formats, by the ending of a file's name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hyperx.data.columns import read_columns
from hyperx.data.conllu import read_conllu
from hyperx.data.lines import OnFault, stop
from hyperx.data.sentence import Sentence

TREE_COLUMNS = frozenset({"head", "deprel"})


@dataclass(frozen=True, slots=True)
class Format:
    """How files of one kind are read.

    Args:
        read: the reader, given the path, the column that is wanted, and what to do with a fault.
        trees: whether the format holds heads and relations.
    """

    read: Callable[[Path, str, OnFault], Iterator[Sentence]]
    trees: bool = False


_COLUMNS = Format(read_columns)

FORMATS: dict[str, Format] = {
    ".conllu": Format(lambda path, _, on_fault: read_conllu(path, on_fault), trees=True),
    ".tsv": _COLUMNS,
    ".txt": _COLUMNS,
    ".conll": _COLUMNS,
    ".bio": _COLUMNS,
    ".iob2": _COLUMNS,
}
"""Ending of the file's name -> format."""


def read_file(path: Path, column: str, on_fault: OnFault = stop) -> Iterator[Sentence]:
    """Stream a file's sentences in the format that its ending names.

    Raises:
        DataError: as the format's reader does.
    """
    return FORMATS[path.suffix.lower()].read(path, column, on_fault)


def format_problem(path: Path, column: str) -> str | None:
    """Why a file cannot hold a column, judged by its name; None where it can."""
    known = FORMATS.get(path.suffix.lower())
    if known is None:
        return f"expected a file that ends in {', '.join(FORMATS)}, found {path.name!r}; rename or convert it"
    if column in TREE_COLUMNS and not known.trees:
        return f"expected a .conllu file, since {path.suffix} holds no trees; found {path.name!r}"
    return None
