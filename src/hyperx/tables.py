"""Tables in the terminal and in Markdown, and text that a terminal's width folds between words."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Sequence

from hyperx.errors import printable

Rows = Sequence[Sequence[str]]
FILE_WIDTH = 160


def print_table(title: str, header: Sequence[str], rows: Rows, *, text_columns: int = 1) -> None:
    """Print a table to the terminal, its first columns as text and others as numbers if they hold no letter. If it is
    too narrow, the spaces around cells go and the widest columns are folded."""
    from rich.cells import cell_len  # messages do not wait for it
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width of its own
        console = Console(width=FILE_WIDTH)
    columns = list(zip(header, *rows, strict=True))
    words = [max((cell_len(word) for cell in cells for word in cell.split()), default=1) for cells in columns]
    space = 1 if sum(words) + 3 * len(columns) < console.width else 0
    table = Table(title=title, title_justify="left", padding=(0, space))
    for index, (name, *cells) in enumerate(columns):
        is_text = index < text_columns or any(letter.isalpha() for cell in cells for letter in cell)
        table.add_column(Text(name), justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))  # a label such as [neutral] is not markup
    console.print(table)


def print_text(text: str, *, error: bool = False) -> None:
    """Print lines to standard output or error, folded for a terminal."""
    print(folded(text, error=error), file=sys.stderr if error else sys.stdout)


def folded(text: str, *, error: bool = False) -> str:
    """Lines folded between words, under their beginning, if standard output (or error) is a terminal; what would steer
    that is escaped."""
    text = printable(text)
    if not (sys.stderr if error else sys.stdout).isatty():
        return text
    width = shutil.get_terminal_size().columns
    fold = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False, replace_whitespace=False)
    lines = []
    for line in text.splitlines():
        fold.subsequent_indent = " " * len(re.match(r" *(- |\d\d:\d\d:\d\d )?", line)[0])  # type: ignore[index]
        lines.append(fold.fill(line))
    return "\n".join(lines)


def markdown_table(header: Sequence[str], rows: Rows, *, text_columns: int = 1) -> str:
    """The same as a Markdown table."""
    rule = ["---" if index < text_columns else "---:" for index in range(len(header))]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (header, rule, *rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in escaped)
