"""From a run's scope to its encoder, label sets and encoded data."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from hyperx.config import DataOptions, TrainConfig
from hyperx.data.batch.padding import Subwords
from hyperx.data.batch.store import EncodedSplit
from hyperx.data.read.labels import unlabelled_words
from hyperx.encoders.layout import longest_input
from hyperx.encoders.loading import LoadedEncoder, load_encoder
from hyperx.errors import ConfigError, DataError, listing
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.scope import Scope
from hyperx.plan.splits import SplitLoader
from hyperx.plan.warm_start import WarmStart
from hyperx.tasks.base import Task

log = logging.getLogger(__name__)

UNDEFINED = "%s: its %s sentences have nothing to find, such as entities: the score is undefined and in no average"
"""What is logged of a pair whose gold data leaves its measure undefined."""


@dataclass(frozen=True, slots=True)
class RunData:
    """The inputs of a training run.

    Args:
        encoder: the loaded encoder.
        tasks: the tasks by name.
        labels: label set by task.
        languages: every language of the model.
        train_pairs: pairs to train on, those without labels of their own last.
        train_splits: the encoded training split of each.
        eval_splits: the encoded dev split of each evaluation pair.
        kept: where the data is, for the checkpoints.
        self_trained_pairs: the training pairs without labels of their own.
    """

    encoder: LoadedEncoder
    tasks: Mapping[str, Task]
    labels: dict[str, tuple[str, ...]]
    languages: tuple[str, ...]
    train_pairs: tuple[TaskLanguagePair, ...]
    train_splits: list[EncodedSplit]
    eval_splits: dict[TaskLanguagePair, EncodedSplit]
    kept: Mapping[str, Any]
    self_trained_pairs: tuple[TaskLanguagePair, ...] = ()


def prepare(config: TrainConfig, scope: Scope, start: WarmStart | None = None) -> RunData:
    """Load the encoder, and read and encode the data; label sets may come from a checkpoint to start from.

    Raises:
        ConfigError: if windows are longer than the encoder can read.
        DataError: if data is missing or malformed.
        EncoderError: if the encoder cannot be loaded.
    """
    encoder = load_encoder(config.model.model_name_or_path)
    check_tasks(scope.tasks, encoder)
    loader = SplitLoader(
        scope.sources,
        scope.tasks,
        encoder.checked_tokenizer(),
        max_length=checked_length(config, encoder),
    )
    jobs = [(pair, "train") for pair in scope.train_pairs] + [(pair, "dev") for pair in scope.eval_pairs]
    bar = tqdm(
        jobs, desc="reading data", unit="split", disable=config.training.disable_progress_bar or None, leave=False
    )
    splits = {(pair, split): loader.load(pair, split) for pair, split in bar}
    train_splits = [splits[pair, "train"].first(config.data.max_train_samples) for pair in scope.train_pairs]
    labels = label_sets(scope, train_splits, config.data, {} if start is None else start.config.labels)
    if problems := label_problems(scope.tasks, labels):
        raise DataError(" ".join(problems))
    for (pair, split), found in splits.items():
        warn_of_labels(scope.tasks[pair.task], pair, split, found, labels[pair.task])
        if split == "dev" and scope.tasks[pair.task].undefined(found.first(config.data.max_eval_samples)):
            log.warning(UNDEFINED, pair, split)
    train_splits += _self_labelled(config, scope, start, loader)
    return RunData(
        encoder=encoder,
        tasks=scope.tasks,
        labels=labels,
        languages=scope.languages,
        train_pairs=(*scope.train_pairs, *scope.self_train_pairs),
        train_splits=train_splits,
        eval_splits={pair: splits[pair, "dev"].first(config.data.max_eval_samples) for pair in scope.eval_pairs},
        kept=scope.kept,
        self_trained_pairs=scope.self_train_pairs,
    )


def _self_labelled(
    config: TrainConfig, scope: Scope, start: WarmStart | None, loader: SplitLoader
) -> list[EncodedSplit]:
    """The training splits of the pairs without labels, labelled by the checkpoint that the run starts from."""
    if start is None or not scope.self_train_pairs:
        return []
    from hyperx.plan.self_training import SelfLabeller  # needs the model, which `hyperx check` does not

    labeller = SelfLabeller(start, config, scope, loader)
    silent = config.training.disable_progress_bar or None
    bar = tqdm(scope.self_train_pairs, desc="labelling raw text", unit="pair", disable=silent, leave=False)
    return [labeller.load(pair).first(config.data.max_train_samples) for pair in bar]


def check_tasks(tasks: Mapping[str, Task], encoder: LoadedEncoder) -> None:
    """Check that an encoder can serve the tasks; raises a ConfigError that names those that it cannot."""
    subwords = Subwords.of(encoder.checked_tokenizer())
    found = {name: task.problem(subwords) for name, task in tasks.items()}
    if problems := [f"{name}: {encoder.name} cannot serve it: {what}" for name, what in found.items() if what]:
        raise ConfigError(problems)


def checked_length(config: TrainConfig, encoder: LoadedEncoder) -> int:
    """The longest window, which the encoder must be able to read.

    Raises:
        ConfigError: if it is longer than the encoder's limit.
    """
    limit = longest_input(encoder.model)
    if limit is not None and config.data.max_length > limit:
        raise ConfigError(
            [f"--max_length: {encoder.name} reads at most {limit} subwords; found {config.data.max_length}"]
        )
    return config.data.max_length


def label_sets(
    scope: Scope, splits: Sequence[EncodedSplit], data: DataOptions, known: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """The label set of every task, see :func:`label_set`; ``known`` has those of the checkpoint to start from."""
    seen: dict[str, set[str]] = {task: set() for task in scope.tasks}
    for pair, split in zip(scope.train_pairs, splits, strict=True):
        seen[pair.task].update(label_names(scope.tasks[pair.task], split))
    return {task: label_set(scope.tasks[task], names, data, known.get(task, ())) for task, names in seen.items()}


def label_set(task: Task, seen: Collection[str], data: DataOptions, known: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The labels of a task, from its training data or as declared; the known ones if they include all of these.

    Raises:
        DataError: if training data has an entity type that was not declared.
    """
    wanted = task.declared(data) or seen
    labels = known if known and set(wanted) <= set(known) else task.label_set(wanted)
    if missing := sorted(set(seen).difference(labels)):
        raise DataError(
            f"the training data of {task.name} has labels that were not declared: {', '.join(missing)}. Declare them "
            "with --entity_types, or map them with --label_map, such as DATE=O"
        )
    return labels


def label_names(task: Task, split: EncodedSplit) -> list[str]:
    """The labels of a split, without what stands for none."""
    return [name for name in split.names.get(task.label_column or "", ()) if name != task.no_label]


def label_problems(tasks: Mapping[str, Task], labels: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A problem for each task that has too few labels to be trained."""
    return [
        f"{name}: expected {tasks[name].least_labels} labels or more in the training data, found "
        f"{', '.join(known) or 'none'}; give it a training pair with more, or leave out the task."
        for name, known in labels.items()
        if len(known) < tasks[name].least_labels
    ]


def unknown_labels(pair: TaskLanguagePair, split: str, found: Iterable[str], known: Collection[str]) -> str | None:
    """A message about the labels of a split that the model does not have; None if it has all."""
    if not (unknown := sorted(set(found).difference(known))):
        return None
    what = f"the labels {listing(unknown, most=10)} of its {split} data are unknown to the model and count as errors"
    return f"{pair}: {what}; map them with label_map in the table"


def warn_of_labels(
    task: Task, pair: TaskLanguagePair, split: str, encoded: EncodedSplit, known: Collection[str]
) -> None:
    """Warn of the labels of a split that the model does not have, and of words without a label."""
    column = task.label_column or ""
    names = encoded.names.get(column, ())
    if task.no_label in names:
        unlabelled = np.asarray(encoded.targets[column] == names.index(task.no_label))
        if told := unlabelled_words(str(pair), split, int(unlabelled.sum()), len(unlabelled)):
            log.warning(told)
    if told := unknown_labels(pair, split, label_names(task, encoded), known):
        log.warning(told)
