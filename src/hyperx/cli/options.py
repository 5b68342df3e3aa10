"""Options from presets, a YAML file and the command line; the later ones override the earlier."""

from __future__ import annotations

import ast
import inspect
import logging
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro
import yaml
from rich.console import Console
from rich.logging import RichHandler
from tqdm import tqdm
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

import hyperx.config
from hyperx.cli.words import as_list, grouped, meant, read_value, read_words
from hyperx.config import PUBLISHED, DataOptions, EvaluateConfig, ImportConfig, PredictConfig
from hyperx.errors import ConfigError, problem_list
from hyperx.files import in_home
from hyperx.tables import print_text

Config = TypeVar("Config")
TABLE, ENCODER = "data", "model_name_or_path"
REQUIRED: dict[type[Any], set[str]] = {
    DataOptions: {"train_task_language_pairs"},
    EvaluateConfig: {"eval_ckpt"},
    PredictConfig: {"checkpoint", "language"},
    ImportConfig: {"folder", "output"},
}
"""Options that must be given, on the command line or in a file, by dataclass; missing ones are reported with others."""


def parse(kind: type[Config], arguments: Sequence[str], command: str) -> Config:
    """Read the options of a command. A ``~`` at the start of a path means the home folder.

    Args:
        kind: its dataclass of options.
        arguments: its words on the command line.
        command: its name.

    Raises:
        ConfigError: if the file of options is missing or malformed, or names unknown options.
        SystemExit: if a word or a value cannot be read, with a message that has all problems; after help was shown.
    """
    if "-h" in arguments or "--help" in arguments:
        show_help(kind, command)
    hints, problems, faults = option_names(kind), list[str](), list[str]()
    on_the_line = {name: hint for name, hint in hints.items() if name != TABLE}
    given = read_words(arguments, on_the_line, faults, positional=positional(kind))
    files = [" ".join(words) for option, words in grouped(arguments) if option == "--config"]
    if len(files) > 1:
        problems.append(f"--config: expected one file; found {' and '.join(files)}. Join them")
    path = given.get("config")
    file = {} if path is None else dict(read_options(in_home(path), kind, problems))
    table = file.pop(TABLE, {})
    if given.get("preset", file.get("preset")) == "published":
        file = PUBLISHED | file
    values: dict[str, Any] = {TABLE: {str(pair): source for pair, source in table.items()}}
    for name, value in file.items():
        values |= read_value(f"--config: {path}: {name}", name, value, hints[name], faults)
    if faults:
        print_text(f"hyperx {command}: {problem_list('options', [*problems, *faults])}", error=True)
        raise SystemExit(2)
    if problems:
        raise ConfigError(problems)
    return with_home(_built(kind, values | given))


def show_help(kind: type[Any], command: str) -> NoReturn:
    """Print the help of a command and exit."""
    tyro.cli(
        kind,
        args=["--help"],
        prog=f"hyperx {command}",
        use_underscores=True,
        config=(tyro.conf.OmitArgPrefixes,),
        registry=REGISTRY,
    )
    raise SystemExit(0)


def _built(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """A dataclass of options, and those of its sections, with these values; the others have their defaults."""
    changes: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        if is_dataclass(hint):
            changes[name] = _built(hint, values)  # type: ignore[arg-type]
        elif name in values:
            changes[name] = values[name]
    return kind(**changes)


def positional(kind: type[Any]) -> str | None:
    """The option of a command whose values stand without its name, if there is one."""
    hints = get_type_hints(kind, include_extras=True).items()
    return next((name for name, hint in hints if tyro.conf.Positional in get_args(hint)[1:]), None)


def with_home(options: Config) -> Config:
    """Options with ``~`` expanded to the home folder, in all paths of all sections; an encoder may be a path."""
    changes: dict[str, Any] = {}
    for field in fields(options):  # type: ignore[arg-type]
        value = getattr(options, field.name)
        if is_dataclass(value):
            changes[field.name] = with_home(value)
        elif isinstance(value, Path):
            changes[field.name] = in_home(value)
        elif field.name == ENCODER and str(value).startswith("~"):
            changes[field.name] = str(in_home(value))
    return replace(options, **changes)  # type: ignore[type-var]


REGISTRY = ConstructorRegistry()
"""How the parser reads the dataclasses of options, and explains them."""


@REGISTRY.struct_rule
def _options(info: StructTypeInfo) -> StructConstructorSpec | None:
    """The fields of a dataclass of options, each with the text below it as its help.

    The parser's own rule would keep the line breaks of the source.
    """
    if not is_dataclass(info.type) or info.type.__module__ != hyperx.config.__name__:
        return None
    texts, hints = help_texts(info.type), get_type_hints(info.type, include_extras=True)
    required = REQUIRED.get(info.type, set())
    specs = []
    for field in fields(info.type):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        kind, text = hints[field.name], texts.get(field.name)
        shown = kind if text is None else _explained(kind, default, text, required=field.name in required)
        specs.append(StructFieldSpec(name=field.name, type=shown, default=default, helptext=text))
    return StructConstructorSpec(instantiate=info.type, fields=tuple(specs))


def _explained(kind: Any, default: Any, text: str, *, required: bool) -> Any:
    """A type as the help shows it: readable placeholders and defaults, and no negative flag for what is off."""
    hint = f"(default: {('off', 'on')[default] if isinstance(default, bool) else default})"
    if required:
        hint = "(required)"
    elif default is None or default == ():
        hint = "" if "default" in text else "(default: none)"
    metavar = None if isinstance(default, bool) else _placeholder(kind, default)
    shown = tyro.conf.arg(help_behavior_hint=hint, metavar=metavar)
    return Annotated[kind, shown, tyro.conf.FlagCreatePairsOff] if default is False else Annotated[kind, shown]


def _placeholder(kind: Any, default: Any) -> str:
    """The placeholder for the value of an option; it includes None only if that is not the default."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        several = tyro.conf.Positional in parts[1:] and get_origin(parts[0]) is tuple
        return "[NAME ...]" if several else _placeholder(parts[0], default)
    if origin is Literal:
        return f"{{{','.join(map(str, parts))}}}"
    if origin in (Union, UnionType):
        return "|".join(_placeholder(part, default) for part in parts if part is not NoneType or default is not None)
    if origin is tuple:
        return "NAME [NAME ...]"
    return {str: "TEXT", NoneType: "None"}.get(kind) or getattr(kind, "__name__", str(kind)).upper()


@cache
def help_texts(kind: type[Any]) -> dict[str, str]:
    """The text below each field of a dataclass, as one line, including the fields of its base classes."""
    texts: dict[str, str] = {}
    for owner in reversed([parent for parent in kind.__mro__ if is_dataclass(parent)]):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(tree, ast.ClassDef)
        for field, below in pairwise(tree.body):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(field.target, ast.Name):
                texts[field.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return texts


class OptionLoader(yaml.SafeLoader):
    """Loads YAML with the booleans of YAML 1.2, true and false (in 1.1 the language code ``no`` is one too), and
    refuses repeated keys."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Read a mapping; raises a YAMLError that names a repeated key. Merged keys (``<<``) may be repeated."""
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                line = key.start_mark.line + 1
                if key.value in lines:
                    before = f"is already set in line {lines[key.value]}"
                    raise yaml.YAMLError(f"{key.value!r} in line {line} {before}; keep one of them")
                lines[key.value] = line
        return node


# `no` is a language and not a truth value; no option is a date, but a revision may look like one.
_UNREAD = ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp")
OptionLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _UNREAD]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
OptionLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(true|True|false|False)$"), list("tTfF"))


def read_options(path: Path, kind: type[Any], problems: list[str] | None = None) -> Mapping[str, Any]:
    """A YAML mapping of option names to values.

    Args:
        path: the file.
        kind: the dataclass of the options.
        problems: the list to which problems are added; the entries without any are returned.

    Raises:
        ConfigError: if no list is given, and the file is missing, is not such a mapping, or has names that are not
            options.
    """
    found = [] if problems is None else problems
    options = _entries(path, option_names(kind), found)
    if found and problems is None:
        raise ConfigError(found)
    return options


def _entries(path: Path, known: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """The entries of a file that name options and have values; what is wrong with others is added to ``problems``."""
    place = f"--config: {path}"
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=OptionLoader)  # a SafeLoader
    except OSError as error:
        problems.append(f"--config: cannot read {path}: {error.strerror}")
        return {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problems.append(f"{place} is not YAML: {' '.join(str(error).split())}")
        return {}
    if value is not None and not isinstance(value, dict):
        problems.append(f"{place}: expected lines of 'option: value'; found a {type(value).__name__}")
    options: dict[str, Any] = {}
    for name, found in as_mapping(value).items():
        if name not in known:
            near = meant(str(name), known)
            problems.append(
                f"{place}: there is no option {str(name)!r}." + (f" Did you mean {near!r}?" if near else "")
            )
        elif name == "config":
            problems.append(f"{place}: a file of options cannot name another one")
        elif known[name] is bool and str(found).lower() in ("yes", "no", "on", "off"):
            problems.append(f"{place}: {name}: expected true or false; found {found!r}")
        elif name == TABLE and not isinstance(found, dict):
            problems.append(f"{name}: expected a table from pairs to sources; found {found!r}")
        elif name != TABLE and _is_missing(found, known[name]):
            problems.append(f"{place}: {name}: expected a value, found nothing; write one, or leave the line out")
        elif name == "label_map" and any(isinstance(target, list) for target in as_mapping(found).values()):
            problems.append(f"{place}: label_map: expected one type for each, found a list; keep one of it")
        else:
            options[name] = found
    return options


def _is_missing(value: Any, hint: Any) -> bool:
    """Whether a value, or one inside it, is null although the option does not allow null."""
    if value is None:
        return NoneType not in get_args(hint)
    inner = value.values() if isinstance(value, dict) else as_list(value)
    return not isinstance(value, str) and None in [one for found in inner for one in as_list(found)]


def as_mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty mapping."""
    return value if isinstance(value, dict) else {}


def option_names(kind: type[Any]) -> dict[str, Any]:
    """The names of all options of a dataclass, including those of its sections, with their types."""
    hints = get_type_hints(kind)
    names: dict[str, Any] = {}
    for field in fields(kind):
        hint = hints[field.name]
        names |= option_names(hint) if is_dataclass(hint) and isinstance(hint, type) else {field.name: hint}
    return names


def option_defaults(kind: type[Any]) -> dict[str, Any]:
    """The defaults of all options of a dataclass, including those of its sections."""
    defaults: dict[str, Any] = {}
    for field in fields(kind):
        value = field.default if field.default_factory is MISSING else field.default_factory()
        defaults |= option_defaults(type(value)) if is_dataclass(value) else {field.name: value}
    return defaults


class _AboveBars(RichHandler):
    """Shows log lines in a terminal: progress bars make way for them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line above the bars."""
        with tqdm.external_write_mode(file=sys.stderr):
            super().emit(record)


def start_logging() -> None:
    """Show the package's log on standard error: folded for a terminal, one line per message elsewhere."""
    console = Console(stderr=True)
    handler: logging.Handler = _AboveBars(console=console, show_path=False, show_level=False, log_time_format="%X")
    if not console.is_terminal:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%X"))
    logger = logging.getLogger("hyperx")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
