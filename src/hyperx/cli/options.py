"""Options from the words of a command line, and from a YAML file, over which they have precedence; the help."""

from __future__ import annotations

import ast
import inspect
import logging
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from hyperx.config import (
    AdaptConfig,
    CompareConfig,
    CompressConfig,
    DataOptions,
    ExportConfig,
    ImportConfig,
    PredictConfig,
    ProbeConfig,
    PushConfig,
    SuggestConfig,
)
from hyperx.options import flat, made, meant, option_types
from hyperx.tables import folded

Config = TypeVar("Config")
TABLE = "data"
"""The option that stands in files only."""
POSITIONAL = {"folder", "folders", "names", "repo", "words"}
"""Options whose values stand without their name; of several that a command has each has one."""
REQUIRED: dict[type[Any], set[str]] = {
    AdaptConfig: {"output"},
    DataOptions: {"train_task_language_pairs"},
    PredictConfig: {"language"},
    ProbeConfig: {"language"},
    CompressConfig: {"folder", "output"},
    ExportConfig: {"pairs", "output"},
    ImportConfig: {"folder", "output"},
    PushConfig: {"folder", "repo"},
    CompareConfig: {"folders"},
    SuggestConfig: {"pairs", "output"},
}
"""Options that must be given, on the command line or in a file, by dataclass; missing ones are reported with others."""


def parse(kind: type[Config], arguments: Sequence[str], command: str) -> Config:
    """The options of a command: those of its line, over those of the file that it names; errors as
    :func:`hyperx.options.made`, and a SystemExit after help was shown."""
    if "-h" in arguments or "--help" in arguments:
        show_help(kind, command)
        raise SystemExit(0)
    faults: list[str] = []
    return made(kind, read_words(kind, arguments, faults), place="--", faults=faults)


def read_words(kind: type[Any], words: Sequence[str], problems: list[str]) -> dict[str, Any]:
    """What a command line gives, by option: a text, a list of texts for a list, or a truth value for a flag. Of several
    the last one counts. What is wrong is added to ``problems``."""
    types, values = option_types(kind), dict[str, Any]()
    positional = [name for name in types if name in POSITIONAL]
    names = types.keys() - {TABLE, *positional}
    switches = {f"no_{name}": name for name in names if types[name] is bool}
    for option, given in grouped(words):
        name = option.removeprefix("--").replace("-", "_") if option else next(iter(positional), None)
        if not option and len(positional) > 1:
            values |= zip(positional, given, strict=False)
            if over := given[len(positional) :]:
                problems.append(f"expected {' and '.join(positional)}; found also {' '.join(over)!r}")
        elif name is None:
            path = Path(given[0])
            folder = "checkpoint" if "checkpoint" in names and path.is_dir() else "eval_ckpt"
            likely = "config" if path.suffix in (".yaml", ".yml") else "input" if path.is_file() else folder
            hint = f". Did you mean --{likely} {given[0]}?" if likely in names else ""
            problems.append(f"{' '.join(given)!r} belongs to no option; options begin with --{hint}")
        elif option and not (option.startswith("--") and name in (*names, *switches)):
            near = meant(option, [*names, *switches])
            problems.append(f"there is no option {option}." + (f" Did you mean --{near}?" if near else ""))
        elif name in switches or types[name] is bool:
            flag = switches.get(name, name)
            values[flag] = name not in switches
            if given:
                fault = f"--{name} takes no value; found {' '.join(given)!r}. Write --{flag} or --no_{flag}"
                problems.append(fault)
        elif not given:
            problems.append(f"--{name}: expected a value; found nothing. Write it, or leave the option out")
        elif get_origin(types[name]) is tuple:
            values[name] = given
        elif len(given) > 1:
            found = f"found {' '.join(given)!r}"
            one = f"--{name}: expected one value; {found}" if option else f"expected one {name}; {found}"
            problems.append(one if option else f"{one}; quote a path with spaces")
        elif name == "config" and name in values:
            problems.append(f"--config: expected one file; found {values[name]} and {given[0]}. Join them")
        else:
            values[name] = given[0]
    return values


def grouped(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each option with the words up to the next one; words before the first option, if any, with an empty name."""
    option, given = "", list[str]()
    for word in words:
        if re.match(r"-[^\d.]", word):  # no negative number
            if option or given:
                yield option, given
            option, separator, value = word.partition("=")
            given = [value] if separator else []
        else:
            given.append(word)
    if option or given:
        yield option, given


def show_help(kind: type[Any], command: str) -> None:
    """Print what a command does and its options with their defaults, section by section."""
    paragraphs = [" ".join(part.split()) for part in (inspect.getdoc(kind) or "").split("\n\n")]
    print("\n\n".join([f"usage: hyperx {command} [-h] [OPTIONS]", *paragraphs]))
    width = min(shutil.get_terminal_size().columns, 120)

    def show(text: str, indent: int) -> None:
        later = " " * max(indent, 6)
        print(textwrap.fill(text, width, initial_indent=" " * indent, subsequent_indent=later, break_on_hyphens=False))

    sections: dict[str, Any] = {name: hint for name, hint in get_type_hints(kind).items() if is_dataclass(hint)}
    for title, section in {"": kind, **sections}.items():
        print(f"\n{title} options: {inspect.getdoc(section)}\n" if title else "\noptions:\n")
        defaults, hints, texts = flat(section()), get_type_hints(section), help_texts(section)
        required = REQUIRED.get(section, ())
        for name in sorted(texts, key=lambda name: name not in POSITIONAL):
            if name == TABLE:
                continue
            hint, value = hints[name], defaults[name]
            if hint is bool:
                usage = f"--{name}, --no_{name}" if value else f"--{name}"
            else:
                usage = ("" if name in POSITIONAL else f"--{name} ") + _placeholder(hint, value)
            if name in required:
                default = "(required)"
            elif value is None or value == ():
                default = "" if "default" in texts[name] else "(default: none)"
            else:
                default = f"(default: {('off', 'on')[value] if isinstance(value, bool) else value})"
            show(usage, 2)
            show(f"{texts[name]} {default}", 6)


def _placeholder(hint: Any, default: Any) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"{{{', '.join(map(str, parts))}}}"
    if origin is tuple:
        return "PATH [PATH ...]" if parts[0] is Path else "NAME [NAME ...]"
    if parts:
        return "|".join(_placeholder(part, default) for part in parts if part is not NoneType or default is not None)
    return {str: "TEXT", NoneType: "None"}.get(hint) or hint.__name__.upper()


def help_texts(kind: type[Any]) -> dict[str, str]:
    """The text below each field of a dataclass, as one line: of its own fields, then of those of its base classes. A
    field without text has that of a base."""
    texts: dict[str, str] = {}
    for owner in filter(is_dataclass, kind.__mro__):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(tree, ast.ClassDef)
        for field, below in pairwise(tree.body):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(field.target, ast.Name):
                texts.setdefault(field.target.id, " ".join(str(ast.literal_eval(below.value)).split()))
    return texts


def start_logging() -> None:
    """Show the package's log on standard error, folded for a terminal, where progress bars make way for it."""
    from tqdm import tqdm

    class AboveBars(logging.StreamHandler[Any]):
        def emit(self, record: logging.LogRecord) -> None:
            with tqdm.external_write_mode(file=sys.stderr):
                super().emit(record)

        def format(self, record: logging.LogRecord) -> str:
            return folded(super().format(record), error=True)

    handler = AboveBars()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%X"))
    logger = logging.getLogger("hyperx")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
