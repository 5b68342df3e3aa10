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
        endings: of the names of such files.
        columns: the columns that such files can hold.
    """

    read: Callable[[Path, str, OnFault], Iterator[Sentence]]
    endings: tuple[str, ...]
    columns: frozenset[str]


FORMATS: tuple[Format, ...] = (
    Format(lambda path, _, on_fault: read_conllu(path, on_fault), (".conllu",), TREE_COLUMNS | {"upos", "ner"}),
    Format(read_columns, (".tsv", ".txt", ".conll", ".bio", ".iob2"), frozenset({"upos", "ner"})),
)
"""Every format; the column that is wanted tells apart those that share an ending."""


def endings(column: str | None = None) -> tuple[str, ...]:
    """The endings of the files that can hold a column; of all files where None."""
    known = (ending for one in FORMATS if column is None or column in one.columns for ending in one.endings)
    return tuple(dict.fromkeys(known))


def read_file(path: Path, column: str, on_fault: OnFault = stop) -> Iterator[Sentence]:
    """Stream a file's sentences in the format that its ending and the column name.

    Raises:
        DataError: as the format's reader does.
    """
    ending = path.suffix.lower()
    return next(one for one in FORMATS if ending in one.endings and column in one.columns).read(path, column, on_fault)


def format_problem(path: Path, column: str) -> str | None:
    """Why a file cannot hold a column, judged by its name; None where it can."""
    if path.suffix.lower() in endings(column):
        return None
    known = f"expected a file that ends in {', '.join(endings(column))}, which can hold {column}"
    return f"{known}; found {path.name!r}; rename or convert it"
