"""Lines of a text file with their numbers, for readers whose errors name file and line."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

from hyperx.errors import DataError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


OnFault = Callable[[DataError], None]
"""What a reader does with a fault that it can read on behind."""


def stop(fault: DataError) -> None:
    """Read no further: what training and evaluation do with a fault."""
    raise fault


def numbered_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Stream a UTF-8 file as (line number from 1, line without its end).

    Only a line feed ends a line: U+2028, form feeds and the like may stand within words. A byte order mark at the
    start and carriage returns at line ends are dropped; all else, zero-width characters included, is kept.

    Raises:
        DataError: where the file cannot be opened, or a line is not UTF-8.
    """
    for number, line in whole_lines(path):
        yield number, line.rstrip("\r\n")


def whole_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """The same with the lines' ends."""
    try:
        with Path(path).open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if number == 1:
                    raw = raw.removeprefix(_BYTE_ORDER_MARK)
                yield number, _decode(raw, path, number)
    except OSError as error:
        raise DataError(f"expected a readable file, found: {error.strerror or error}", path=path) from error


def _decode(raw: bytes, path: str | Path, number: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        found = raw[error.start : error.end].hex(" ")
        message = (
            f"expected UTF-8, found the bytes {found} at byte {error.start + 1} of the line; save the file as UTF-8"
        )
        raise DataError(message, path=path, line=number) from error


def check_word(word: str, path: str | Path | None = None, line: int | None = None) -> None:
    """See that a word holds something to read.

    Raises:
        DataError: where it holds nothing but spaces and control characters.
    """
    if word[:1].isalnum():  # nearly every word: spare the look at each character
        return
    if all(character.isspace() or unicodedata.category(character) == "Cc" for character in word):
        message = f"expected a word, found {word[:40]!r}: only spaces or control characters; remove the line or mend it"
        raise DataError(message, path=path, line=line)


def stands_on_a_line(text: str) -> bool:
    """Whether a text holds neither control characters, tabs among them, nor ends of lines, nor half characters."""
    return text.isprintable() or not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text)


def no_sentences(path: str | Path) -> DataError:
    """The error for a file without a single sentence."""
    return DataError(
        "expected sentences, found none: the file is empty or holds only blank lines and comments", path=path
    )
