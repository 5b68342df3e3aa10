"""Raw text, one passage per line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hyperx.data.read.lines import OnFault, check_word, no_sentences, numbered_lines, stop
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError


def read_passages(path: str | Path, on_fault: OnFault = stop) -> Iterator[Sentence]:
    """Stream the lines of a file as texts without words; only one is held at a time. Blank lines are skipped.

    ``on_fault`` raises by default; if it does not, a passage with a fault is skipped.

    Raises:
        DataError: with file and line, for a line that is not UTF-8 or has only control characters; and for a file
            without passages.
    """
    found = False
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        found = True
        try:
            check_word(line, path, number)
        except DataError as fault:
            on_fault(fault)
            continue
        yield Sentence(words=(), lines=(number,), source=str(path), text=line)
    if not found:
        raise no_sentences(path)
