"""The one table of file formats, by file extension."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hyperx.data.read.columns import read_columns
from hyperx.data.read.conllu import ENTITIES, read_conllu
from hyperx.data.read.labelled import LABEL, read_csv, read_jsonl, read_tagged_jsonl, read_tsv
from hyperx.data.read.lines import OnFault, stop
from hyperx.data.read.passages import read_passages
from hyperx.data.read.sentence import Sentence

TREE_COLUMNS = frozenset({"head", "deprel"})
TEXT = "text"
"""The column of tasks that read raw text: no annotation, but the sentence's own text."""


@dataclass(frozen=True, slots=True)
class Format:
    """How files of one kind are read.

    Args:
        read: the reader, given the path, the requested column, what to do with a fault, and the user's names of columns
            if they are unusual.
        endings: the extensions of such files.
        columns: the columns that such files can hold.
    """

    read: Callable[[Path, str, OnFault, Mapping[str, str]], Iterator[Sentence]]
    endings: tuple[str, ...]
    columns: frozenset[str]


FORMATS: tuple[Format, ...] = (
    Format(
        lambda path, column, on_fault, names: read_conllu(path, on_fault, column, names.get("ner", ENTITIES)),
        (".conllu",),
        TREE_COLUMNS | {"upos", "ner", TEXT},
    ),
    Format(
        lambda path, column, on_fault, _: read_columns(path, column, on_fault),
        (".tsv", ".txt", ".conll", ".bio", ".iob2"),
        frozenset({"upos", "ner"}),
    ),
    Format(
        lambda path, column, on_fault, names: read_tagged_jsonl(path, column, on_fault, names),
        (".jsonl",),
        frozenset({"upos", "ner"}),
    ),
    Format(lambda path, _, on_fault, __: read_passages(path, on_fault), (".txt",), frozenset({TEXT})),
    Format(
        lambda path, _, on_fault, __: read_columns(path, "tag", on_fault),
        (".tsv", ".conll", ".bio", ".iob2"),
        frozenset({TEXT}),
    ),
    Format(lambda path, _, on_fault, names: read_tsv(path, on_fault, names), (".tsv",), frozenset({LABEL})),
    Format(lambda path, _, on_fault, names: read_csv(path, on_fault, names), (".csv",), frozenset({LABEL})),
    Format(lambda path, _, on_fault, names: read_jsonl(path, on_fault, names), (".jsonl",), frozenset({LABEL})),
)
"""Every format; the requested column tells apart those that share an extension."""


def endings(column: str | None = None) -> tuple[str, ...]:
    """The extensions of the files that can hold a column; of all files if it is None."""
    known = (ending for one in FORMATS if column is None or column in one.columns for ending in one.endings)
    return tuple(dict.fromkeys(known))


def read_file(
    path: Path, column: str, on_fault: OnFault = stop, names: Mapping[str, str] | None = None
) -> Iterator[Sentence]:
    """Stream a file's sentences in the format that its extension and the column determine.

    Raises:
        DataError: as the format's reader does.
    """
    ending = path.suffix.lower()
    chosen = next(one for one in FORMATS if ending in one.endings and column in one.columns)
    return chosen.read(path, column, on_fault, names or {})


def format_problem(path: Path, column: str) -> str | None:
    """Why a file cannot hold a column, judged by its name; None if it can."""
    if path.suffix.lower() in endings(column):
        return None
    known = f"expected a file that ends in {', '.join(endings(column))}, which can hold {column}"
    return f"{known}; found {path.name!r}; rename or convert it"
