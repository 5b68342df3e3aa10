"""Lines of a text file with their numbers, for readers whose errors name file and line."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from hyperx.errors import DataError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_GZIP_MARK = b"\x1f\x8b"

MOST_WORDS = 2_000
"""The most words of a sentence: those of treebanks have some hundreds, a file without blank lines has thousands."""

OnFault = Callable[[DataError], None]
"""What a reader does with a fault after which it can continue."""


def stop(fault: DataError) -> None:
    """Raise the fault, as training and evaluation do."""
    raise fault


def numbered_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Stream a UTF-8 file as (line number from 1, line without its end).

    Only a line feed ends a line: U+2028, form feeds and the like may occur within words. A byte order mark at the
    start and carriage returns at line ends are dropped; all else, including zero-width characters, is kept.

    Raises:
        DataError: if the file cannot be opened, or a line is not UTF-8.
    """
    return without_ends(whole_lines(path))


def whole_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """The same with line ends."""
    try:
        with Path(path).open("rb") as file:
            yield from decoded_lines(file, path)
    except OSError as error:
        raise DataError(f"expected a readable file, found: {error.strerror or error}", path=path) from error


def decoded_lines(stream: Iterable[bytes], place: str | Path) -> Iterator[tuple[int, str]]:
    """The lines of an open file, one at a time, as (number from 1, line with its end), without a byte order mark.

    Args:
        stream: the lines in bytes, such as a binary file.
        place: the name of the file in errors.

    Raises:
        DataError: if a line is not UTF-8.
    """
    for number, raw in enumerate(stream, start=1):
        if number == 1:
            raw = raw.removeprefix(_BYTE_ORDER_MARK)
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(_not_utf8(raw, error, number), path=place, line=number) from error
        yield number, line


def without_ends(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends."""
    for number, line in lines:
        yield number, line.rstrip("\r\n")


def _not_utf8(raw: bytes, error: UnicodeDecodeError, number: int) -> str:
    """The message for a line that is not UTF-8."""
    if number == 1 and raw.startswith(_UTF_16_MARKS):
        return "expected UTF-8, found the byte order mark of UTF-16; convert the text, such as with iconv"
    if number == 1 and raw.startswith(_GZIP_MARK):
        return "expected text, found a gzip file; unpack it first"
    found = f"the bytes {raw[error.start : error.end].hex(' ')} at byte {error.start + 1} of the line"
    return f"expected UTF-8, found {found}; convert the text, such as with iconv -f latin1 -t utf-8"


def check_word(word: str, path: str | Path | None = None, line: int | None = None) -> None:
    """Check that a word has visible content.

    Raises:
        DataError: if it contains only spaces and control characters.
    """
    if word[:1].isalnum():  # nearly every word: avoids checking each character
        return
    if all(character.isspace() or unicodedata.category(character) == "Cc" for character in word):
        message = f"expected a word, found {word[:40]!r}: only spaces or control characters; remove the line or fix it"
        raise DataError(message, path=path, line=line)


def check_length(words: int, path: str | Path | None = None, line: int | None = None) -> None:
    """Check that a sentence of a file with one word per line has no more than `MOST_WORDS` words.

    Args:
        words: their number.
        path: the file.
        line: the line of the first.

    Raises:
        DataError: if it has more, as where the blank lines between sentences are missing.
    """
    if words > MOST_WORDS:
        found = f"found a sentence of {words:,} words (at most {MOST_WORDS:,} are read)"
        raise DataError(f"expected a blank line after each sentence, {found}; add the blank lines", path=path, line=line)


def stands_on_a_line(text: str) -> bool:
    """Whether a text has no control characters (including tabs), line ends or lone surrogates."""
    return text.isprintable() or not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text)


def no_sentences(path: str | Path) -> DataError:
    """The error for a file without a single sentence."""
    return DataError(
        "expected sentences, found none: the file is empty or holds only blank lines and comments", path=path
    )


def no_words(path: str | Path, line: int) -> DataError:
    """The error for a sentence that has only comments, at the line of the first."""
    message = "expected a sentence, found comments without words; remove them or add the words"
    return DataError(message, path=path, line=line)
