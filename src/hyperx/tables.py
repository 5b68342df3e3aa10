"""Tables in the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

Rows = Sequence[Sequence[str]]
LONG_CELL = 24
FILE_WIDTH = 160


def print_table(title: str, header: Sequence[str], rows: Rows, *, text_columns: int = 1) -> None:
    """Print a table to the terminal, its first columns as text and the others as numbers.

    If the terminal is too narrow, long cells are folded and short ones stay whole.
    """
    table = Table(title=title, title_justify="left")
    for index, name in enumerate(header):
        widest = max((len(row[index]) for row in rows), default=0)
        justify: Literal["left", "right"] = "left" if index < text_columns or widest > LONG_CELL else "right"
        table.add_column(Text(name), justify=justify, min_width=min(max(widest, len(name)), LONG_CELL))
    for row in rows:
        table.add_row(*map(Text, row))  # literally: a label such as [neutral] is not markup
    console = Console()
    # A file or a pipe has no width of its own: nothing needs to be folded there.
    (console if console.is_terminal else Console(width=FILE_WIDTH)).print(table)


def markdown_table(header: Sequence[str], rows: Rows, *, text_columns: int = 1) -> str:
    """The same as a Markdown table."""
    rule = ["---" if index < text_columns else "---:" for index in range(len(header))]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (header, rule, *rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in escaped)
