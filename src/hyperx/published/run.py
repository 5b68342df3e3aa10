"""The model that the arguments of a published run describe, and what the published program fixes for its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hyperx.config import PUBLISHED, HypernetworkOptions, ImportConfig
from hyperx.data.read.labels import UD_RELATIONS
from hyperx.errors import CheckpointError, ConfigError, itemised
from hyperx.languages import language_problems
from hyperx.pairs import TaskLanguagePair
from hyperx.published.pickled import read_arguments

T = TypeVar("T")

ARGUMENTS = "hyperx_args.bin"

DIMENSION_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class PublishedTask:
    """What the published program fixes for a task.

    Args:
        labels: its labels in the order of their ids.
        head: our names of the head's parameters -> the published ones.
    """

    labels: tuple[str, ...]
    head: Mapping[str, str]


_ENTITIES = "O B-PER I-PER B-ORG I-ORG B-LOC I-LOC"
_TAGS = "NOUN PUNCT ADP NUM SYM SCONJ ADJ PART DET CCONJ PROPN PRON X _ ADV INTJ VERB AUX"
_LINEAR = {"weight": "cls.weight", "bias": "cls.bias"}
TASKS = {
    "ner": PublishedTask(tuple(_ENTITIES.split()), _LINEAR),
    "pos": PublishedTask(tuple(_TAGS.split()), _LINEAR),
    "dep": PublishedTask(
        ("_", *(relation for relation in UD_RELATIONS if relation != "_")),
        {"arcs.weight": "biaffine_arcs.weight", "relations.weight": "biaffine_rels.weight"},
    ),
}
"""Tasks whose heads are read. The ids of labels are those of the hub's data sets."""
AUXILIARY = ("mlm",)
"""Tasks whose heads are left out."""


@dataclass(frozen=True, slots=True)
class PublishedRun:
    """The model that the arguments of a published run describe.

    Args:
        tasks: its tasks; the encoder of the first is the one that all share.
        languages: its languages.
        pairs: the pairs that it was trained on.
        encoder: the encoder that it started from, as its user spelled it.
        hypernetwork: shape of the hypernetwork.
        activation: the adapters' non-linearity.
        after_layer_output: adapters after whole layers.
        max_length: longest sentence in subwords; 0 is the longest that the encoder can read.
    """

    tasks: tuple[str, ...]
    languages: tuple[str, ...]
    pairs: tuple[TaskLanguagePair, ...]
    encoder: str | None
    hypernetwork: HypernetworkOptions
    activation: str
    after_layer_output: bool
    max_length: int

    @property
    def kept_tasks(self) -> tuple[str, ...]:
        """The tasks whose heads are read."""
        return tuple(task for task in self.tasks if task in TASKS)

    @classmethod
    def read(cls, path: Path) -> PublishedRun:
        """Read a file of arguments; missing arguments have the published program's defaults.

        Raises:
            CheckpointError: if the file is not a plain namespace, or arguments are of the wrong kind or unknown.
        """
        return cls.from_arguments(read_arguments(path), path)

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any], path: Path) -> PublishedRun:
        """Check arguments that were read from a file, as :meth:`read` does."""
        found = _Arguments(arguments)
        options = HypernetworkOptions.__dataclass_fields__
        shape: dict[str, Any] = {name: found.size(name) for name in options if name.endswith("_dim")}
        flags = {
            name: found.take(name, bool, bool(PUBLISHED.get(name, False)))
            for name, option in options.items()
            if isinstance(option.default, bool)
        }
        run = cls(
            tasks=found.texts("tasks"),
            languages=found.texts("languages"),
            pairs=tuple(map(_pair, found.texts("train_task_language_pairs", required=False))),
            encoder=found.take("model_name_or_path", str, "") or None,
            hypernetwork=HypernetworkOptions(**shape, **flags, generator_start="published"),
            activation=found.take("adapter_non_linearity", str, "relu").lower(),
            after_layer_output=found.take("after_layer_output", bool, False),
            max_length=found.take("max_length", int, 256) or 0,
        )
        if found.take("no_hypernet", bool, False):
            found.problems.append(
                "no_hypernet: the run has no hypernetwork and no adapter at all: there is nothing of Hyper-X to import"
            )
        problems = [*found.problems, *_name_problems(run)]
        if problems:
            raise CheckpointError(itemised(f"{path}: the arguments do not describe a model", problems))
        return run


class _Arguments:
    """The arguments of a run, each checked as it is read; problems are collected."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.problems: list[str] = []

    def take(self, name: str, kind: type[T], default: T) -> T:
        """One argument, which must be of a kind; None counts as missing."""
        value = self.values.get(name)
        if value is None:
            return default
        # In Python, a boolean is an integer.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.problems.append(f"{name}: expected {kind.__name__}; found {type(value).__name__}")
            return default
        return value

    def size(self, name: str) -> int:
        """A number from 1 to the limit."""
        value = self.take(name, int, int(PUBLISHED[name]))
        if not 1 <= value <= DIMENSION_LIMIT:
            self.problems.append(f"{name}: expected 1 to {DIMENSION_LIMIT:,}; found another number")
            return 1
        return value

    def texts(self, name: str, *, required: bool = True) -> tuple[str, ...]:
        """A list of strings, without repetitions."""
        values = self.take(name, list, [])
        if not all(isinstance(value, str) for value in values):
            self.problems.append(f"{name}: expected a list of texts")
            return ()
        if required and not values:
            self.problems.append(f"{name}: expected one or more; found none")
        return tuple(dict.fromkeys(values))


def _pair(name: str) -> TaskLanguagePair:
    # The published program splits at each `#` and takes the first two parts.
    task, _, rest = name.partition("#")
    return TaskLanguagePair(task, rest.partition("#")[0])


def _name_problems(run: PublishedRun) -> list[str]:
    """Tasks and languages that are unknown, or two spellings of one language."""
    known = [*TASKS, *AUXILIARY]
    problems = [f"tasks: expected {', '.join(known)}; found {task!r}" for task in run.tasks if task not in known]
    if run.tasks and not problems and not run.kept_tasks:
        problems.append(f"tasks: expected one of {', '.join(TASKS)}; found {', '.join(run.tasks)} alone")
    problems += [f"languages: {problem}" for problem in language_problems(run.languages)]
    for pair in run.pairs:
        if pair.task not in run.tasks or pair.language not in run.languages:
            problems.append(f"train_task_language_pairs: {pair} is not of the run's tasks and languages")
    return problems


def checked_options(config: ImportConfig) -> tuple[Path, Path]:
    """The folders to read and to write.

    Raises:
        ConfigError: all problems with them.
    """
    problems = []
    folder, output = config.folder or Path(), config.output or Path()
    if config.folder is None:
        problems.append("name the folder of a published checkpoint, such as outputs/checkpoint-100000")
    elif not (folder / ARGUMENTS).is_file():
        names = (path.parent.name for path in folder.glob(f"checkpoint-*/{ARGUMENTS}"))
        inner = sorted(names, key=lambda name: (len(name), name))  # by their steps
        hint = f"; name one of the checkpoints in it, such as {inner[-1]}" if inner else ""
        what = f"has no {ARGUMENTS}" if folder.is_dir() else "is no folder"
        problems.append(f"{folder} {what}: expected a checkpoint of the published program{hint}")
    if config.output is None:
        problems.append("--output: name a new folder for the checkpoint")
    elif output.exists() and (not output.is_dir() or any(output.iterdir())):
        problems.append(f"--output: {output} exists already; name a new folder")
    if problems:
        raise ConfigError(problems)
    return folder, output
