"""Lines of a text file with their numbers, and what is checked of every line, for errors that name file and line."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hyperx.errors import DataError
from hyperx.files import opened

Line = tuple[int, str]
"""The number of a line, counted from 1, and the line."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WIDE_MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_CONTROLS = bytes({*range(32)} - {*b"\t\r\n"})
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh91AY": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}

LINE_BREAKS = re.compile(r"[\t\n\r\0]+")
"""What no field of a line can hold."""

MOST_WORDS = 2_000
"""The most words of a sentence: those of treebanks have some hundreds, a file without blank lines has thousands."""

OnFault = Callable[[DataError], None]
"""What a reader does with a fault after which it can continue."""


def stop(fault: DataError) -> None:
    """Raise the fault, as training and evaluation do."""
    raise fault


@dataclass
class FirstFaults:
    """Counts faults and keeps the first: a large file may have one on every line."""

    most: int
    first: list[DataError] = field(default_factory=list)
    count: int = 0

    def __call__(self, fault: DataError) -> None:
        self.count += 1
        if self.count <= self.most:
            self.first.append(fault)


class FaultyLine(str):
    """A line that is not UTF-8 or has a NUL byte: its text with escapes, and what is wrong. Readers go on behind it."""

    fault: DataError


def whole(line: str) -> str:
    """The line; raises the DataError of one that is not UTF-8."""
    if type(line) is FaultyLine:
        raise line.fault
    return line


def file_lines(path: str | Path) -> Iterator[Line]:
    """The lines of a file; raises a DataError if it cannot be opened, and see :func:`decoded_lines`."""
    try:
        with opened(Path(path)) as file:
            yield from decoded_lines(file, path)
    except OSError as error:
        raise DataError(f"expected a readable file, found: {error.strerror or error}", path=path) from error


def decoded_lines(stream: Iterable[bytes], place: str | Path, first: int = 1) -> Iterator[Line]:
    """The lines of an open binary file, one at a time, with their ends, numbered from the first one's number; one that
    is not UTF-8, or has a NUL byte, is a `FaultyLine`.

    Only a line feed ends a line: U+2028, form feeds and the like may occur within words. A byte order mark at the
    start is dropped; all else, including zero-width characters, is kept.

    Raises:
        DataError: if the first line shows that this is no text in UTF-8 at all.
    """
    for number, raw in enumerate(stream, start=first):
        if number == 1:
            raw = raw.removeprefix(_BYTE_ORDER_MARK)
            if problem := _no_text(raw, place):
                raise DataError(problem, path=place, line=number)
        try:
            line = raw.decode("utf-8")
            if "\0" in line:
                message = "expected text, found a NUL byte; remove it, or convert the file to UTF-8"
                line = _faulty(line.replace("\0", r"\x00"), message, place, number)
            yield number, line
        except UnicodeDecodeError as error:
            found = f"the bytes {raw[error.start : error.end].hex(' ')} at byte {error.start + 1} of the line"
            other = (
                "(a guess: Turkish has CP1254, Central European CP1250, Cyrillic CP1251, Greek CP1253; see `iconv -l`)"
            )
            message = f"expected UTF-8, found {found}; convert it: {_conversion('CP1252', place)} {other}"
            yield number, _faulty(raw.decode("utf-8", errors="backslashreplace"), message, place, number)


def _faulty(text: str, message: str, place: str | Path, number: int) -> FaultyLine:
    line = FaultyLine(text.rstrip("\r\n"))
    line.fault = DataError(message, path=place, line=number)
    return line


def without_ends(lines: Iterable[Line]) -> Iterator[Line]:
    """Numbered lines without their ends, carriage returns included."""
    for number, line in lines:
        yield number, line if type(line) is FaultyLine else line.rstrip("\r\n")


def _no_text(first: bytes, place: str | Path) -> str | None:
    """What the first line shows of a file that is no text, not UTF-8, or has other line ends; None if it does not."""
    if encoding := next((known for mark, known in _WIDE_MARKS.items() if first.startswith(mark)), None):
        return f"expected UTF-8, found the byte order mark of {encoding}; convert it: {_conversion(encoding, place)}"
    if first.startswith(b"version https://git-lfs.github.com/spec/"):
        return "expected data, found a pointer of Git LFS to it; fetch it: git lfs pull"
    if kind := next((kind for mark, kind in _PACKED.items() if first.startswith(mark)), None):
        return f"expected text, found a {kind} file; unpack it, or export it as text"
    # Most characters of an alphabet have NUL or another control character as one of their two bytes.
    if b"\0" in first and 5 * len(first.translate(None, _CONTROLS)) < 3 * len(first):
        likely = _conversion("UTF-16LE" if first.index(0) % 2 else "UTF-16BE", place)
        found = "found NUL bytes, as UTF-16, UTF-32 and files that are no text have"
        return f"expected text in UTF-8, {found}; export it as text, or convert it: {likely}"
    if b"\n" not in first and b"\r" in first.rstrip(b"\r"):
        found = f"found {first.count(13):,} carriage returns and no line feed, as on old Macs"
        return f"expected line feeds at line ends, {found}; convert it: tr '\\r' '\\n' < FILE > NEW"
    return None


def _conversion(encoding: str, place: str | Path) -> str:
    return f"iconv -f {encoding} -t UTF-8 {'FILE' if str(place).startswith('<') else Path(place).name} > NEW"


def check_line(line: str) -> None:
    """Check that a line with one word has no carriage return within; raises a DataError if it has."""
    if "\r" in line:
        found = "a carriage return within it, as old Macs end lines; convert the file: tr '\\r' '\\n' < FILE > NEW"
        raise DataError(f"expected one word on the line, found {found}")


def check_word(word: str) -> None:
    """Check that a word has more than spaces and control characters; raises a DataError if not."""
    if word[:1].isalnum():  # nearly every word: avoids checking each character
        return
    if all(character.isspace() or unicodedata.category(character) == "Cc" for character in word):
        found = f"found {word[:40]!r}: only spaces or control characters; remove the line or fix it"
        raise DataError(f"expected a word, {found}")


def check_length(words: int) -> None:
    """Check that a sentence has no more than `MOST_WORDS` words; raises a DataError if it has."""
    if words > MOST_WORDS:
        found = f"found more than {MOST_WORDS:,} words in one; add what is missing between sentences, or split it"
        raise DataError(f"expected a blank line, or in JSON a new line, after each sentence, {found}")


def stands_on_a_line(text: str) -> bool:
    """Whether a text has no control characters (including tabs), line ends or lone surrogates."""
    return text.isprintable() or not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text)
