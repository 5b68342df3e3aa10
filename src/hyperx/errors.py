"""The package's exceptions: each says what was expected, what was found, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path


class HyperXError(Exception):
    """Base of every error that a user can cause and fix. The command line prints it without a traceback."""


class ConfigError(HyperXError):
    """Options that contradict each other or name unknown things, all problems reported together.

    Args:
        problems: one sentence per problem, each naming the option at fault.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(problem_list("options", self.problems))


class DataError(HyperXError):
    """Data that is not in the expected form, with its location.

    Args:
        message: what was expected, what was found and what to do.
        path: the file, or the name of the hub data set.
        line: the line number, counted from 1, if known.
    """

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
    """A hint for a misspelt name: " Did you mean 'ner'?", or "" if nothing is close.

    Args:
        found: the name.
        known: the right names.
        cutoff: how similar they must be, from 0 to 1. Case does not count.
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
    more = len(lines) - most
    items = [*lines[:most], *([f"and {more:,} more"] if more > 0 else [])]
    return "\n".join([f"{heading}:", *(f"  - {item}" for item in items)])


def problem_list(place: str, problems: Sequence[str]) -> str:
    """All problems with the options or the data."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return itemised(f"{count} with the {place}", problems, most=len(problems))
