"""Tables in the terminal and in Markdown, and text that a terminal's width folds between words."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Sequence
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

Rows = Sequence[Sequence[str]]
FILE_WIDTH = 160


def print_table(title: str, header: Sequence[str], rows: Rows, *, text_columns: int = 1) -> None:
    """Print a table to the terminal, its first columns as text and others as numbers if they hold no letter.

    If the terminal is too narrow, the widest columns are folded, between words where that is enough.
    """
    console = Console()
    # A file or a pipe has no width of its own: nothing needs to be folded there.
    width = console.width if console.is_terminal else FILE_WIDTH
    columns = [[name, *(row[index] for row in rows)] for index, name in enumerate(header)]
    words = [max((cell_len(word) for cell in cells for word in cell.split()), default=1) for cells in columns]
    room = width - len(columns) - 1  # for the cells and the spaces around them, without the borders
    # Where words would have to be broken, a table does without these spaces.
    space = 1 if sum(words) + 2 * len(columns) <= room else 0
    table = Table(title=title, title_justify="left", padding=(0, space))
    widths = _widths(columns, words, room - 2 * space * len(columns))
    for index, (cells, wide) in enumerate(zip(columns, widths, strict=True)):
        is_text = index < text_columns or any(letter.isalpha() for cell in cells[1:] for letter in cell)
        justify: Literal["left", "right"] = "left" if is_text else "right"
        table.add_column(Text(cells[0]), justify=justify, width=wide, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # literally: a label such as [neutral] is not markup
    (console if console.is_terminal else Console(width=width)).print(table)


def _widths(columns: Sequence[Sequence[str]], words: Sequence[int], room: int) -> list[int]:
    """The widths of columns that share some room: the widest give way, and words are broken only if need be.

    Args:
        columns: the cells of each column.
        words: the length of its longest word.
        room: the sum of their widths, at most.
    """
    whole, broken = [max(map(cell_len, cells)) for cells in columns], [1] * len(columns)
    widths, least = (whole, words) if sum(words) <= room else (list(words), broken)
    while sum(widths) > max(room, len(widths)):
        widest = max((index for index in range(len(widths)) if widths[index] > least[index]), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def print_text(text: str, *, error: bool = False) -> None:
    """Print lines to standard output or error, folded for a terminal."""
    print(folded(text, error=error), file=sys.stderr if error else sys.stdout)


def folded(text: str, *, error: bool = False) -> str:
    """Lines as a terminal needs them: folded between words, under their beginning; words such as long paths stay whole.

    If standard output (or error) is no terminal, the lines stay as they are.
    """
    console = Console(stderr=error)
    return "\n".join(_folded(line, console.width) for line in text.splitlines()) if console.is_terminal else text


def _folded(line: str, width: int) -> str:
    indent = " " * re.match(" *(- )?", line).end()  # type: ignore[union-attr]
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )


def markdown_table(header: Sequence[str], rows: Rows, *, text_columns: int = 1) -> str:
    """The same as a Markdown table."""
    rule = ["---" if index < text_columns else "---:" for index in range(len(header))]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (header, rule, *rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in escaped)
