"""Lines of a text file with their numbers, and what is checked of every line, for errors that name file and line."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from hyperx.errors import DataError

Line = tuple[int, str]
"""The number of a line, counted from 1, and the line."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WIDE_MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_POINTER = b"version https://git-lfs.github.com/spec/"
_EXPORT = "export it as text"
_NO_TEXTS = {
    b"\x1f\x8b": "a gzip file; unpack it first",
    b"BZh": "a bzip2 file; unpack it first",
    b"\xfd7zXZ": "an xz file; unpack it first",
    b"\x28\xb5\x2f\xfd": "a zstd file; unpack it first",
    b"PK\x03\x04": f"a zip file, which those of Excel, Word, NumPy and PyTorch are too; unpack it, or {_EXPORT}",
    b"\xd0\xcf\x11\xe0": f"a file of old Excel or Word; {_EXPORT}",
    b"PAR1": f"a Parquet file; {_EXPORT}, or name its folder as a hub data set",
    b"ARROW1": f"an Arrow file; {_EXPORT}",
    b"SQLite format 3": f"an SQLite data base; {_EXPORT}",
    b"%PDF-": f"a PDF file; {_EXPORT}",
    **{bytes([0x80, protocol]): f"a pickle, which is a program and not run; {_EXPORT}" for protocol in range(2, 6)},
}
"""How files begin that are no text -> what they are, and what to do."""
_CONTROLS = bytes({*range(32)} - {*b"\t\r\n"})
_LOOK = 1_000  # bytes of the first line

LINE_BREAKS = re.compile(r"[\t\n\r\0]+")
"""What no field of a line can hold."""

MOST_WORDS = 2_000
"""The most words of a sentence: those of treebanks have some hundreds, a file without blank lines has thousands."""

OnFault = Callable[[DataError], None]
"""What a reader does with a fault after which it can continue."""


def stop(fault: DataError) -> None:
    """Raise the fault, as training and evaluation do."""
    raise fault


class FaultyLine(str):
    """A line that is not UTF-8: its text with escapes, and what is wrong. Readers go on behind it."""

    fault: DataError


def whole(line: str) -> str:
    """The line; raises the DataError of one that is not UTF-8."""
    if type(line) is FaultyLine:
        raise line.fault
    return line


def file_lines(path: str | Path) -> Iterator[Line]:
    """The lines of a file; raises a DataError if it cannot be opened, and see :func:`decoded_lines`."""
    try:
        with Path(path).open("rb") as file:
            yield from decoded_lines(file, path)
    except OSError as error:
        raise DataError(f"expected a readable file, found: {error.strerror or error}", path=path) from error


def decoded_lines(stream: Iterable[bytes], place: str | Path) -> Iterator[Line]:
    """The lines of an open binary file, one at a time, with their ends; one that is not UTF-8 is a `FaultyLine`.

    Only a line feed ends a line: U+2028, form feeds and the like may occur within words. A byte order mark at the
    start is dropped; all else, including zero-width characters, is kept.

    Raises:
        DataError: if the first line shows that this is no text in UTF-8 at all.
    """
    for number, raw in enumerate(stream, start=1):
        if number == 1:
            raw = raw.removeprefix(_BYTE_ORDER_MARK)
            if problem := _no_text(raw, place):
                raise DataError(problem, path=place, line=number)
        try:
            yield number, raw.decode("utf-8")
        except UnicodeDecodeError as error:
            line = FaultyLine(raw.decode("utf-8", errors="backslashreplace").rstrip("\r\n"))
            found = f"the bytes {raw[error.start : error.end].hex(' ')} at byte {error.start + 1} of the line"
            other = "(if it is Latin-1 or of Windows; `iconv -l` lists other encodings)"
            message = f"expected UTF-8, found {found}; convert it: {_conversion('CP1252', place)} {other}"
            line.fault = DataError(message, path=place, line=number)
            yield number, line


def without_ends(lines: Iterable[Line]) -> Iterator[Line]:
    """Numbered lines without their ends, carriage returns included."""
    for number, line in lines:
        yield number, line if type(line) is FaultyLine else line.rstrip("\r\n")


def _no_text(first: bytes, place: str | Path) -> str | None:
    """What the first line shows of a file that is no text, not UTF-8, or has other line ends; None if it does not."""
    if encoding := next((known for mark, known in _WIDE_MARKS.items() if first.startswith(mark)), None):
        return f"expected UTF-8, found the byte order mark of {encoding}; convert it: {_conversion(encoding, place)}"
    if first.startswith(_POINTER):
        return "expected data, found a pointer of Git LFS to it; fetch it: git lfs pull"
    begin = first[:_LOOK]
    if begin.translate(None, _CONTROLS) != begin or not begin.isascii():
        # A text may begin with PAR1, but has no control characters.
        if what := next((what for mark, what in _NO_TEXTS.items() if first.startswith(mark)), None):
            return f"expected text, found {what}"
        if encoding := _wide_encoding(begin):
            return f"expected UTF-8, found NUL bytes as in {encoding}; convert it: {_conversion(encoding, place)}"
    if b"\n" not in first and b"\r" in first.rstrip(b"\r"):
        found = f"found {first.count(13):,} carriage returns and no line feed, as on old Macs"
        return f"expected line feeds at line ends, {found}; convert it: tr '\\r' '\\n' < {_file_name(place)} > NEW"
    return None


def _wide_encoding(begin: bytes) -> str | None:
    """UTF-16 or UTF-32 without a byte order mark, if the first line looks like it; None if not."""
    if b"\0\0\0" in begin:
        return "UTF-32BE" if begin.startswith(b"\0\0") else "UTF-32LE"
    # Most characters of an alphabet have a control character, such as NUL, as one of their two bytes.
    for start, encoding in enumerate(("UTF-16BE", "UTF-16LE")):
        half = begin[start::2]
        if 0 in half and len(half) > 1 and sum(byte in _CONTROLS for byte in half) >= len(half) / 2:
            return encoding
    return None


def _conversion(encoding: str, place: str | Path) -> str:
    return f"iconv -f {encoding} -t UTF-8 {_file_name(place)} > NEW"


def _file_name(place: str | Path) -> str:
    return "FILE" if str(place).startswith("<") else Path(place).name


def check_line(line: str) -> None:
    """Check that a line with one word has no carriage return or NUL byte within; raises a DataError if it has."""
    if "\r" in line or "\0" in line:
        found = "a NUL byte, as files have that are no text, or UTF-16; remove it, or convert the file"
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


def check_length(
    words: int, expected: str = "a blank line after each sentence", advice: str = "add the blank lines"
) -> None:
    """Check that a sentence of training data has no more than `MOST_WORDS` words; raises a DataError if it has."""
    if words > MOST_WORDS:
        found = f"found a sentence of {words:,} words (at most {MOST_WORDS:,} are read)"
        raise DataError(f"expected {expected}, {found}; {advice}")


def stands_on_a_line(text: str) -> bool:
    """Whether a text has no control characters (including tabs), line ends or lone surrogates."""
    return text.isprintable() or not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text)
