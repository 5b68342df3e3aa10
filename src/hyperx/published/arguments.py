"""The arguments of a published run: a pickled ``argparse.Namespace``, read without running anything.

Python's own unpickler calls whatever a file names. :func:`read_arguments` interprets the few instructions that plain
values need, calls nothing, and accepts two names: ``argparse.Namespace`` and the scheduler type of transformers.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from hyperx.config import PUBLISHED, ArchitectureOptions, HypernetworkOptions, ImportConfig
from hyperx.data.read.labels import UD_RELATIONS
from hyperx.errors import CheckpointError, ConfigError, itemised
from hyperx.files import not_new
from hyperx.languages import language_problems
from hyperx.options import made, option_types, value_problems
from hyperx.pairs import TaskLanguagePair

ARGUMENTS = "hyperx_args.bin"
LIMIT = 1 << 20
"""Largest size in bytes of a file of arguments; real ones have a few thousand."""
LABELS = {
    "ner": ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"),
    "pos": (
        "NOUN", "PUNCT", "ADP", "NUM", "SYM", "SCONJ", "ADJ", "PART", "DET", "CCONJ", "PROPN", "PRON", "X", "_", "ADV",
        "INTJ", "VERB", "AUX",
    ),
    "dep": ("_", *(relation for relation in UD_RELATIONS if relation != "_")),
}  # fmt: skip
"""By task whose head is read (not ``mlm``), its labels in the order of their ids, those of the hub's data sets."""
HEADS = {
    "ner": {"weight": "cls.weight", "bias": "cls.bias"},
    "pos": {"weight": "cls.weight", "bias": "cls.bias"},
    "dep": {"arcs.weight": "biaffine_arcs.weight", "relations.weight": "biaffine_rels.weight"},
}
"""By task, our names of the head's parameters -> the published ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRun:
    """The model that the arguments of a published run describe, by the names of the arguments."""

    tasks: tuple[str, ...] = ()
    """The encoder of the first is the one that all share."""
    languages: tuple[str, ...] = ()
    train_task_language_pairs: tuple[str, ...] = ()
    model_name_or_path: str | None = None
    """The encoder that it started from."""
    max_length: int = 256
    """Longest sentence in subwords; 0 is the longest that the encoder can read."""
    no_hypernet: bool = False
    """It has no hypernetwork, and no adapter at all."""
    hypernetwork: HypernetworkOptions = field(default_factory=HypernetworkOptions)
    architecture: ArchitectureOptions = field(default_factory=ArchitectureOptions)

    @property
    def kept_tasks(self) -> tuple[str, ...]:
        """The tasks whose heads are read."""
        return tuple(task for task in self.tasks if task in HEADS)

    @property
    def pairs(self) -> tuple[TaskLanguagePair, ...]:
        """The pairs trained on. The published program splits at each ``#`` and takes the first two parts."""
        split = ((name + "#").split("#") for name in self.train_task_language_pairs)
        return tuple(TaskLanguagePair(parts[0], parts[1]) for parts in split)


def read_run(path: Path) -> PublishedRun:
    """Read a file of arguments; missing arguments have the published program's defaults. All that is wrong with the
    others is one CheckpointError."""
    values = {name: value for name, value in read_arguments(path).items() if value is not None}
    if isinstance(activation := values.get("adapter_non_linearity"), str):
        values["adapter_non_linearity"] = activation.lower()
    for name in ("tasks", "languages", "train_task_language_pairs"):
        if isinstance(values.get(name), list | tuple):
            values[name] = list(dict.fromkeys(values[name]))
    known = option_types(PublishedRun)
    try:
        run = made(PublishedRun, {name: value for name, value in (PUBLISHED | values).items() if name in known})
        problems = [*(problem.removeprefix("--") for problem in value_problems(run)), *_run_problems(run)]
    except ConfigError as error:
        problems = list(error.problems)
    if problems:
        raise CheckpointError(itemised(f"{path}: the arguments do not describe a model", problems))
    return run


def _run_problems(run: PublishedRun) -> Iterator[str]:
    if run.no_hypernet:
        yield "no_hypernet: the run has no hypernetwork and no adapter at all: there is nothing of Hyper-X to import"
    unknown = [task for task in run.tasks if task not in (*HEADS, "mlm")]
    yield from (f"tasks: expected {', '.join(HEADS)}, mlm; found {task!r}" for task in unknown)
    if not run.kept_tasks and not unknown:
        yield f"tasks: expected one of {', '.join(HEADS)}; found {', '.join(run.tasks) or 'none'}"
    if not run.languages:
        yield "languages: expected one or more; found none"
    yield from (f"languages: {problem}" for problem in language_problems(run.languages))
    for pair in run.pairs:
        if pair.task not in run.tasks or pair.language not in run.languages:
            yield f"train_task_language_pairs: {pair} is not of the run's tasks and languages"


def checked_options(config: ImportConfig) -> tuple[Path, Path]:
    """The folders to read and to write; raises a ConfigError with all problems."""
    problems = []
    folder, output = config.folder or Path(), config.output or Path()
    if config.folder is None:
        problems.append("name the folder of a published checkpoint, such as outputs/checkpoint-100000")
    elif not (folder / ARGUMENTS).is_file():
        inner = [(len(path.parent.name), path.parent.name) for path in folder.glob(f"checkpoint-*/{ARGUMENTS}")]
        hint = f"; name one of the checkpoints in it, such as {max(inner)[1]}" if inner else ""
        what = f"has no {ARGUMENTS}" if folder.is_dir() else "is no folder"
        problems.append(f"{folder} {what}: expected a checkpoint of the published program{hint}")
    if problem := not_new(config.output):
        problems.append(f"--output: {problem}")
    if problems:
        raise ConfigError(problems)
    return folder, output


class _Name(Enum):
    """The names that a file may refer to; they are never looked up."""

    NAMESPACE = "argparse Namespace"
    SCHEDULER = "transformers.trainer_utils SchedulerType"


class _Namespace(dict[str, Any]):
    """What the file makes of ``argparse.Namespace``."""


class _Refused(Exception):
    """The file contains something other than a namespace of plain values."""


def read_arguments(path: Path) -> dict[str, Any]:
    """The arguments in a file, by name, that are texts, numbers, truth values, None, or lists of them. One that is
    missing, too large, damaged or anything but a plain namespace is a CheckpointError."""
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > LIMIT:
        raise CheckpointError(f"{path}: expected arguments of at most {LIMIT:,} bytes; it holds more")
    try:
        arguments = _interpreted(data)
    except _Refused as error:
        expected = "expected a plain argparse.Namespace of texts, numbers and lists"
        raise CheckpointError(f"{path}: {expected}; found {error}. Nothing of the file was run") from None
    except Exception as error:  # whatever follows from instructions that do not fit one another
        raise CheckpointError(f"{path} is damaged or no pickle: {' '.join(str(error).split())[:200]}") from None

    def is_plain(value: Any) -> bool:
        return all(isinstance(one, str | int | float | None) for one in (value if isinstance(value, list) else [value]))

    plain = {id(one): is_plain(one) for one in {id(value): value for value in arguments.values()}.values()}
    return {name: value for name, value in arguments.items() if plain[id(value)]}  # many names may have one list


def _interpreted(data: bytes) -> dict[str, Any]:
    """The namespace in a pickle of any protocol from 2 on, by the instructions that such a namespace needs."""
    stack, marks, memo = list[Any](), list[int](), dict[Any, Any]()

    def above_mark() -> list[Any]:
        start = marks.pop()
        values = stack[start:]
        del stack[start:]
        return values

    for opcode, argument, _ in pickletools.genops(data):
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                marks.append(len(stack))
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_TUPLE":
                stack.append({"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}[opcode.name]())
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE" | "SHORT_BINUNICODE":
                stack.append(argument)
            case "APPEND" | "APPENDS":
                values = above_mark() if opcode.name == "APPENDS" else [stack.pop()]
                stack[-1].extend(values)
            case "SETITEM" | "SETITEMS":
                values = above_mark() if opcode.name == "SETITEMS" else [stack.pop(-2), stack.pop()]
                if not all(isinstance(key, str) for key in values[::2]):
                    raise _Refused("a mapping whose keys are no texts")
                stack[-1].update(zip(values[::2], values[1::2], strict=True))
            case "TUPLE1":
                stack.append((stack.pop(),))
            case "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                memo[len(memo) if argument is None else argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL" | "STACK_GLOBAL":
                module_and_name = argument if argument is not None else f"{stack.pop(-2):s} {stack.pop():s}"
                if module_and_name not in [name.value for name in _Name]:
                    raise _Refused(f"the name {module_and_name.replace(' ', '.')}")
                stack.append(_Name(module_and_name))
            case "REDUCE":  # only SchedulerType(text), which is read as the text
                called, given = stack.pop(-2), stack.pop()
                if called is not _Name.SCHEDULER or not isinstance(given, tuple) or not isinstance(given[0], str):
                    raise _Refused("a call")
                stack.append(given[0])
            case "NEWOBJ":  # only Namespace()
                made, given = stack.pop(-2), stack.pop()
                if made is not _Name.NAMESPACE or not isinstance(given, tuple) or given:
                    raise _Refused("an object of another class")
                stack.append(_Namespace())
            case "BUILD":  # only the values of a namespace
                values = stack.pop()
                if not isinstance(stack[-1], _Namespace) or type(values) is not dict:
                    raise _Refused("a state of another object")
                stack[-1].update(values)
            case "STOP":
                value = stack.pop()
                if not isinstance(value, _Namespace):
                    raise _Refused(f"a {type(value).__name__.strip('_').lower()}")
                return value
            case name:
                raise _Refused(f"the instruction {name}")
    raise ValueError("it has no end")
