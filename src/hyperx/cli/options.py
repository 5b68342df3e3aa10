"""Options from presets, a YAML file and the command line; the later ones override the earlier."""

from __future__ import annotations

import argparse
import ast
import inspect
import logging
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro
import yaml
from rich.console import Console
from rich.logging import RichHandler
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

import hyperx.config
from hyperx.config import PUBLISHED, DataOptions, EvaluateConfig, ImportConfig, PredictConfig
from hyperx.errors import ConfigError, did_you_mean
from hyperx.files import in_home

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
        SystemExit: by the command-line parser, with its message.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", type=Path, action="append", default=[])
    early.add_argument("--preset")
    given, _ = early.parse_known_args([word for word in arguments if word not in ("-h", "--help")])
    known = option_names(kind)
    if len(given.config) > 1:
        raise ConfigError([f"--config: expected one file; found {' and '.join(map(str, given.config))}. Join them"])
    file = dict(read_options(in_home(given.config[0]), kind)) if given.config and "config" in known else {}
    table = file.pop(TABLE, None)
    preset = (given.preset or file.get("preset")) if "preset" in known else None
    words = as_words(PUBLISHED if preset == "published" else {}) + as_words(file) + list(arguments)
    parsed = tyro.cli(
        kind,
        args=settled_flags(words, option_defaults(kind)),
        prog=f"hyperx {command}",
        use_underscores=True,
        config=(tyro.conf.OmitArgPrefixes,),
        registry=REGISTRY,
    )
    found = with_home(parsed)
    return found if table is None else with_table(found, table)


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


def settled_flags(words: Sequence[str], defaults: Mapping[str, Any]) -> list[str]:
    """Keep the last form of each flag that is off by default, so that ``--no_fp16`` undoes what a file sets.

    The parser has no such negative form, or the help would be full of ``--no_no_cuda``.
    """
    flags = {f"--{sign}{name}": name for name, default in defaults.items() if default is False for sign in ("", "no_")}
    forms = [word.replace("-", "_").replace("__", "--", 1) for word in words]
    last = {flags[form]: index for index, form in enumerate(forms) if form in flags}
    return [
        word
        for index, (word, form) in enumerate(zip(words, forms, strict=True))
        if form not in flags or (last[flags[form]] == index and form == f"--{flags[form]}")
    ]


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


def read_options(path: Path, kind: type[Any]) -> Mapping[str, Any]:
    """A YAML mapping of option names to values.

    Raises:
        ConfigError: if the file is missing, is not such a mapping, or has names that are not options.
    """
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=OptionLoader)  # a SafeLoader
    except OSError as error:
        raise ConfigError([f"--config: cannot read {path}: {error.strerror}"]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"--config: {path} is not YAML: {' '.join(str(error).split())}"]) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError([f"--config: {path}: expected lines of 'option: value'; found a {type(value).__name__}"])
    known = option_names(kind)
    problems = [
        f"--config: {path}: there is no option {str(name)!r}.{did_you_mean(str(name), known)}"
        for name in value
        if name not in known
    ]
    problems += [
        f"--config: {path}: {name}: expected true or false; found {found!r}"
        for name, found in value.items()
        if str(found).lower() in ("yes", "no", "on", "off") and name in known and known[name] is bool
    ]
    problems += [
        f"--config: {path}: {name}: expected a value, found nothing; write one, or leave the line out"
        for name, found in value.items()
        if name in known and name != TABLE and _is_missing(found, known[name])
    ]
    if any(isinstance(target, list) for target in as_mapping(value.get("label_map")).values()):
        problems.append(f"--config: {path}: label_map: expected one type for each, found a list; keep one of it")
    if "config" in value:
        problems.append(f"--config: {path}: a file of options cannot name another one")
    if problems:
        raise ConfigError(problems)
    return value


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


def as_words(options: Mapping[str, Any]) -> list[str]:
    """Options as the words of a command line."""
    words: list[str] = []
    for name, value in options.items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no_{name}")
        elif isinstance(value, list | tuple):
            words += [f"--{name}", *map(str, value)]
        elif isinstance(value, dict):
            # As `label_map`, `tasks` and `treebanks` are written on the command line.
            words += [f"--{name}", *(f"{key}={'+'.join(map(str, as_list(found)))}" for key, found in value.items())]
        else:
            words += [f"--{name}", str(value)]
    return words


def as_list(value: Any) -> Sequence[Any]:
    """A value as a list, unless it is one."""
    return value if isinstance(value, list | tuple) else [value]


def with_table(config: Config, table: Any) -> Config:
    """The options with the explicit table of data in its section."""
    if not isinstance(table, dict):
        raise ConfigError([f"data: expected a table from pairs to sources; found {table!r}"])
    named = {str(pair): source for pair, source in table.items()}
    section = getattr(config, "data", None)
    if is_dataclass(section):
        return replace(config, data=replace(section, data=named))  # type: ignore[type-var]
    return replace(config, data=named)  # type: ignore[type-var]


def start_logging() -> None:
    """Show the package's log on standard error: folded for a terminal, one line per message elsewhere."""
    console = Console(stderr=True)
    handler: logging.Handler = RichHandler(console=console, show_path=False, show_level=False, log_time_format="%X")
    if not console.is_terminal:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%X"))
    logger = logging.getLogger("hyperx")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
