"""The package's exceptions: each says what was expected, what was found, where, and what to do."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

MISSING, MOST_FAULTS = object(), 1000
EXPECTED = {
    "int": "a whole number", "float": "a number", "bool": "true or false", "string": "a text", "path": "a path",
    "tuple": "names", "dict": "a table", "model": "an object", "missing": "a value",
    "greater_than_equal": "{ge:.10g} or more", "greater_than": "more than {gt:.10g}",
    "less_than_equal": "at most {le:.10g}", "less_than": "less than {lt:.10g}",
}  # fmt: skip
"""Values in words, by the type of pydantic's error or its first word."""


_CONTROLS = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """The text with the characters that steer a terminal, or that no file can hold, as Python escapes them."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class HyperXError(Exception):
    """Base of every error that a user can cause and fix. The command line prints it without a traceback."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


@contextlib.contextmanager
def panics_told(what: str) -> Iterator[None]:
    """Make a panic of the tokenizers library, which is no Exception, an EncoderError: it trusts its tables."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise EncoderError(f"{what}: the tokenizer's tables are damaged: {error}. Get it again") from error


class ConfigError(HyperXError):
    """Options that contradict each other or name unknown things: one sentence for each problem, naming the option."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(problem_list("options", self.problems))


class UsageError(ConfigError):
    """Words and values of options that cannot be read: a misused command line, which ends with status 2."""


class DataError(HyperXError):
    """Data that is not in the expected form, with its location: the file or hub data set, and the line from 1 if it is
    known."""

    def __init__(self, message: str, *, path: str | Path | None = None, line: int | None = None) -> None:
        self.message, self.path, self.line = message, path, line
        place = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(place + message)


class CheckpointError(HyperXError):
    """A checkpoint that is missing, incomplete, or does not fit its encoder."""


class EncoderError(HyperXError):
    """An encoder that cannot be found, read or adapted."""


def not_expected(name: str, expected: str, found: object) -> HyperXError:
    """The error for an argument of the wrong kind."""
    return HyperXError(f"{name}: expected {expected}; found {type(found).__name__} {repr(found)[:60]}")


def did_you_mean(found: str, known: Iterable[str], *, cutoff: float = 0.5) -> str:
    """A hint for a misspelt name: " Did you mean 'ner'?", or "" if nothing is close. Case does not count.

    Args:
        cutoff: how similar the names must be, from 0 to 1.
    """
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(found.lower(), by_lower, n=1, cutoff=cutoff)
    return f" Did you mean {by_lower[close[0]]!r}?" if close else ""


def listing(names: Sequence[str], *, most: int) -> str:
    """Names separated by commas; those beyond ``most`` are only counted."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def itemised(heading: str, lines: Sequence[str], *, most: int = 20) -> str:
    """A heading and a line for each item; those beyond ``most`` are only counted."""
    items = [*lines[:most], *([f"and {len(lines) - most:,} more"] if len(lines) > most else [])]
    return "\n".join([f"{heading}:", *(f"  - {item}" for item in items)])


def counted(number: int, noun: str) -> str:
    """A number of things: "1 problem", "2,000 problems"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def problem_list(place: str, problems: Sequence[str]) -> str:
    """All problems with the options or the data."""
    return itemised(f"{counted(len(problems), 'problem')} with the {place}", problems, most=len(problems))


def listed(error: ValidationError) -> Sequence[Mapping[str, Any]]:
    """What pydantic found; of very much, as each value takes a kilobyte, only how much it is."""
    if (count := error.error_count()) <= MOST_FAULTS:
        return error.errors()  # type: ignore[return-value]
    return [{"loc": ("values",), "type": "", "msg": f"at most {MOST_FAULTS:,} of another kind", "input": count}]


def faults_of(
    errors: Iterable[Mapping[str, Any]],
    label: Callable[[tuple[int | str, ...]], str],
    known: Mapping[Any, Sequence[str]] | None = None,
) -> list[str]:
    """What pydantic found: what is expected, what is found and what may be meant.

    Args:
        errors: all that it found, as its ``errors()`` lists them.
        label: the place in words by its path; what has one label is told in one line.
        known: the keys that may stand at a path.
    """
    faults: dict[str, tuple[Any, list[str]]] = {}
    lines = []
    for fault in errors:
        path, kind, text = fault["loc"], fault["type"], fault["msg"].removeprefix("Input should be ")
        if kind in ("extra_forbidden", "unexpected_keyword_argument"):
            keys = (known or {}).get(path[:-1], ())
            expected = f"; expected {', '.join(keys)}." + did_you_mean(str(path[-1]), keys) if keys else ""
            lines.append(f"{label(path[:-1])}: unknown key {path[-1]!r}{expected}")
            continue
        words = EXPECTED.get(kind) or EXPECTED.get(kind.partition("_")[0])
        expected = text if words is None else words.format(**fault.get("ctx", {}))
        found = MISSING if kind.startswith("missing") else fault["input"]
        faults.setdefault(label(path), (found, []))[1].append(expected)
    for place, (found, parts) in faults.items():
        hint = did_you_mean(str(found), re.findall(r"'([^']+)'", " ".join(parts)))
        nothing = "nothing" if found is MISSING else "nothing. Write it, or leave the option out"
        shown = nothing if found is None or found is MISSING else repr(found)[:60]
        lines.append(f"{place}: expected {' or '.join(dict.fromkeys(parts))}; found {shown}" + (hint and f".{hint}"))
    return lines
