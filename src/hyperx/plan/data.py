"""From the plan of a run to its encoder, label sets and encoded data, which is cached on disk."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from hyperx.data.batch.store import EncodedSplit, cache_key, read_encoded, write_encoded
from hyperx.data.batch.windows import FastTokenizer, SubwordEncoder, Subwords
from hyperx.data.locate.held_out import HeldOutText
from hyperx.data.locate.places import DataPlaces
from hyperx.data.read.labels import unlabelled_words
from hyperx.data.read.sentence import Sentence
from hyperx.encoders.families import longest_input
from hyperx.encoders.loading import LoadedEncoder, load_encoder
from hyperx.errors import ConfigError, DataError, listing
from hyperx.files import user_cache
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.options import Plan
from hyperx.tasks.base import Task

log = logging.getLogger(__name__)

UNDEFINED = "%s: its %s sentences have nothing to find, such as entities: the score is undefined and in no average"
"""What is logged of a pair whose gold data leaves its measure undefined."""


class SplitLoader:
    """Reads, encodes and caches splits, by default inside the user's cache, in windows of ``max_length`` subwords. Text
    that an auxiliary task trains on is kept apart from dev and test data."""

    def __init__(
        self,
        data: DataPlaces,
        tasks: Mapping[str, Task],
        tokenizer: FastTokenizer,
        *,
        max_length: int,
        cache: Path | None = None,
    ) -> None:
        self.data, self.tasks, self.max_length = data, tasks, max_length
        self.cache = cache or user_cache() / "encoded"
        self.encoder = SubwordEncoder(tokenizer, max_length=max_length)
        self.tokenizer_hash = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()

    def load(self, pair: TaskLanguagePair, split: str) -> EncodedSplit:
        """The encoded split; raises a DataError if anything is wrong with its data."""
        task = self.tasks[pair.task]
        apart = held_out(self.data, task, pair, split)
        facts = (self.data.fingerprint(pair, split), apart.fingerprint())

        def sentences() -> Iterator[Sentence]:
            log.info("encoding %s %s: %s", pair, split, self.data.describe(pair, split))
            return apart.removed(self.data.read(pair, split), pair)

        return self.cached(task, facts, sentences)

    def cached(self, task: Task, facts: Sequence[Any], sentences: Callable[[], Iterator[Sentence]]) -> EncodedSplit:
        """The encoded split that a task and some facts (JSON values) determine, from the cache or encoded now."""
        path = self.cache / f"{cache_key(self.tokenizer_hash, self.max_length, task.kind, *facts)}.safetensors"
        if (known := read_encoded(path)) is not None:
            return known
        before = self.encoder.shortened_words
        write_encoded(path, sentences(), partial(task.windows, self.encoder), task.columns)
        if shortened := self.encoder.shortened_words - before:
            message = "%d words of more than %d subwords are represented by their beginning"
            log.warning(message, shortened, self.encoder.longest_word)
        if (written := read_encoded(path)) is None:
            raise DataError("the encoded split cannot be read back; is the disk full?", path=path)
        return written


def held_out(data: DataPlaces, task: Task, pair: TaskLanguagePair, split: str) -> HeldOutText:
    """The text that a split must not have: the dev and test data of its language, if an auxiliary task trains on it."""
    return HeldOutText(data.held_out(pair.language) if task.auxiliary and split == "train" else [])


@dataclass(frozen=True, slots=True)
class RunData:
    """The inputs of a training run: its plan, the loaded encoder, the label set of every task, the encoded training
    split of each of ``plan.trained_pairs``, and the dev split of each evaluation pair."""

    plan: Plan
    encoder: LoadedEncoder
    labels: dict[str, tuple[str, ...]]
    train_splits: list[EncodedSplit]
    eval_splits: dict[TaskLanguagePair, EncodedSplit]


def prepare(plan: Plan) -> RunData:
    """Load the encoder, and read and encode the data.

    Raises:
        ConfigError: if windows are longer than the encoder can read, or it cannot serve a task.
        DataError: if data is missing or malformed.
        EncoderError: if the encoder cannot be loaded.
    """
    options, tasks = plan.config.data, plan.tasks
    encoder = load_encoder(plan.config.model.model_name_or_path)
    limit, subwords = longest_input(encoder.model), Subwords.of(encoder.checked_tokenizer())
    problems = [
        f"{name}: {encoder.name} cannot serve it: {what}"
        for name, task in tasks.items()
        if (what := task.problem(subwords))
    ]
    if limit is not None and options.max_length > limit:
        problems.append(f"--max_length: {encoder.name} reads at most {limit} subwords; found {options.max_length}")
    if problems:
        raise ConfigError(problems)
    loader = SplitLoader(plan.data, tasks, encoder.checked_tokenizer(), max_length=options.max_length)
    silent = plan.config.training.silent
    jobs = [(pair, "train") for pair in plan.train_pairs] + [(pair, "dev") for pair in plan.eval_pairs]
    limits = {"train": options.max_train_samples, "dev": options.max_eval_samples}
    bar = tqdm(jobs, desc="reading data", unit="split", disable=silent, leave=False)
    splits = {(pair, split): loader.load(pair, split).first(limits[split]) for pair, split in bar}
    seen = {pair: label_names(tasks[pair.task], splits[pair, "train"]) for pair in plan.train_pairs}
    labels = label_sets(plan, seen, problems)
    if problems:
        raise DataError(" ".join(problems))
    for (pair, split), own in splits.items():
        for note in label_notes(tasks[pair.task], pair, split, own, labels[pair.task]):
            log.warning(note)
        if split == "dev" and tasks[pair.task].undefined(own):
            log.warning(UNDEFINED, pair, split)
    train_splits = [splits[pair, "train"] for pair in plan.train_pairs]
    if plan.self_train_pairs:
        from hyperx.plan.self_training import SelfLabeller  # needs the model, which `hyperx check` does not

        labeller = SelfLabeller(plan, loader)
        pairs = tqdm(plan.self_train_pairs, desc="labelling raw text", unit="pair", disable=silent, leave=False)
        train_splits += [labeller.load(pair).first(options.max_train_samples) for pair in pairs]
    return RunData(plan, encoder, labels, train_splits, {pair: splits[pair, "dev"] for pair in plan.eval_pairs})


def label_sets(
    plan: Plan, seen: Mapping[TaskLanguagePair, Collection[str]], problems: list[str]
) -> dict[str, tuple[str, ...]]:
    """The label set of every task: from the labels seen in its training data, or as declared; that of the checkpoint
    that the run starts from if it has all of these; beside it they come behind those. Labels that were not declared,
    and too few, are problems."""
    sets = {}
    for name, task in plan.tasks.items():
        own = set().union(*(labels for pair, labels in seen.items() if pair.task == name))
        known = () if plan.start is None else plan.start.config.labels.get(name, ())
        wanted = task.declared(plan.config.data) or own
        labels = sets[name] = known if known and set(wanted) <= set(known) else task.label_set(wanted)
        if plan.beside:
            labels = sets[name] = (*known, *(label for label in labels if label not in known))
        if missing := sorted(own.difference(labels)):
            problems.append(
                f"the training data of {name} has labels that were not declared: {', '.join(missing)}. Declare them "
                "with --entity_types, or map them with --label_map, such as DATE=O"
            )
        elif len(labels) < task.least_labels:
            problems.append(
                f"{name}: expected {task.least_labels} labels or more in the training data, found "
                f"{', '.join(labels) or 'none'}; give it a training pair with more, or leave out the task."
            )
    return sets


def label_names(task: Task, split: EncodedSplit) -> list[str]:
    """The labels of a split, without what stands for none."""
    return [name for name in split.names.get(task.label_column or "", ()) if name != task.no_label]


def unknown_labels(pair: TaskLanguagePair, split: str, own: Iterable[str], known: Collection[str]) -> list[str]:
    """What is said of the labels of a split that the model does not have."""
    if not (unknown := sorted(set(own).difference(known))):
        return []
    what = f"the labels {listing(unknown, most=10)} of its {split} data are unknown to the model and count as errors"
    return [f"{pair}: {what}; map them with label_map in the table"]


def label_notes(
    task: Task, pair: TaskLanguagePair, split: str, encoded: EncodedSplit, known: Collection[str]
) -> list[str]:
    """What is said of words without a label, and of labels that the model does not have."""
    column, notes = task.label_column or "", []
    names = encoded.names.get(column, ())
    if task.no_label in names:
        unlabelled = np.asarray(encoded.targets[column] == names.index(task.no_label))
        if told := unlabelled_words(str(pair), split, int(unlabelled.sum()), len(unlabelled)):
            notes.append(told)
    return notes + unknown_labels(pair, split, label_names(task, encoded), known)
