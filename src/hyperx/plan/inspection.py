"""A look at the data of a run before it starts: counts, duplicates and every problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from tqdm.auto import tqdm

from hyperx.config import DataOptions, TrainConfig
from hyperx.data.locate.resolution import SPLITS
from hyperx.data.locate.sources import short_source
from hyperx.data.read.labels import unlabelled_words
from hyperx.errors import DataError
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.scope import Scope, check_options, read_start
from hyperx.plan.warm_start import WarmStart

MOST_FAULTS = 20
"""How many faults of a split are listed one by one."""


@dataclass
class DataReport:
    """What a look at the data found.

    Args:
        rows: pair, split, sentences, words, labels and source of every split that was read.
        notes: what a user should know, such as duplicates.
        problems: what would stop a run.
        labels: the labels of every split that was read.
    """

    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    labels: dict[tuple[TaskLanguagePair, str], set[str]] = field(default_factory=dict)
    header = ("pair", "split", "sentences", "words", "labels", "data")


@dataclass
class _Faults:
    """The faults of one split, of which only the first are listed: a file with spaces for tabs has one on every line.

    Args:
        place: the pair and the split.
        problems: the list that they are added to.
    """

    place: str
    problems: list[str]
    total: int = 0

    def note(self, fault: DataError) -> None:
        self.total += 1
        if self.total <= MOST_FAULTS:
            self.problems.append(f"{self.place}: {fault}")

    def count_others(self) -> None:
        if self.total > MOST_FAULTS:
            self.problems.append(f"{self.place}: and {self.total - MOST_FAULTS:,} more faults, not listed")


def inspect_data(config: TrainConfig) -> DataReport:
    """Read every split of every pair that a run with these options names, and report.

    Raises:
        ConfigError: all problems with the options.
    """
    problems: list[str] = []
    start = read_start(config, problems)
    scope = check_options(config, problems, start)
    found = DataReport()
    pairs = dict.fromkeys([*scope.train_pairs, *scope.eval_pairs])
    pairs |= dict.fromkeys(pair for pair in scope.sources.pairs if not scope.sources.from_hub(pair))
    for pair in tqdm(pairs, desc="reading data", unit="pair", disable=config.training.disable_progress_bar or None):
        train = _inspect_split(scope, pair, "train", found) if pair in scope.train_pairs else set()
        for split in SPLITS[1:]:
            _inspect_split(scope, pair, split, found, train)
    for text in scope.texts.pairs:
        if text not in pairs:
            _inspect_split(scope, text, "train", found)
    trained = {pair.task for pair in (*scope.train_pairs, *scope.self_train_pairs)}
    trained |= set() if start is None else start.config.trained_tasks
    found.notes += [
        f"no training pair has the task {task}: its head stays untrained, and is used only if named"
        for task in scope.tasks
        if task not in trained
    ]
    # Faulty labels have been reported already, each with its line.
    if not found.problems:
        _inspect_labels(scope, found, config.data, start)
    return found


def _inspect_labels(scope: Scope, found: DataReport, data: DataOptions, start: WarmStart | None) -> None:
    """Build the label sets of the training data, and compare the other splits with them."""
    from hyperx.plan.preparation import label_problems, label_set, unknown_labels

    labels: dict[str, tuple[str, ...]] = {}
    for name, task in scope.tasks.items():
        train = [own for (pair, split), own in found.labels.items() if (pair.task, split) == (name, "train")]
        known = () if start is None else start.config.labels.get(name, ())
        try:
            labels[name] = label_set(task, set[str]().union(*train), data, known)
        except DataError as fault:
            found.problems.append(str(fault))
    found.problems += label_problems(scope.tasks, labels)
    for (pair, split), own in found.labels.items():
        if pair.task in labels and (told := unknown_labels(pair, split, own, labels[pair.task])):
            found.notes.append(told)


def _inspect_split(
    scope: Scope, pair: TaskLanguagePair, split: str, found: DataReport, known: Collection[int] = ()
) -> set[int]:
    """Count a split and its known sentences; returns hashes of its sentences, since texts may be large."""
    # Imported here, so that `hyperx check` says what is wrong with its options before it waits for PyTorch.
    from hyperx.plan.splits import held_out
    from hyperx.tasks.masking import MaskedLanguageModelling

    is_text = pair in scope.texts
    sources, task = (scope.texts, MaskedLanguageModelling()) if is_text else (scope.sources, scope.tasks[pair.task])
    if not sources.has(pair, split):
        return set()
    hashes, labels, again = set[int](), Counter[str](), list[str]()
    count = words = 0
    faults = _Faults(f"{pair} {split}", found.problems)

    try:
        sentences = held_out(scope.sources, task, pair, split).removed(sources.read(pair, split, faults.note), pair)
        for sentence in sentences:
            count += 1
            texts = [text for text in (sentence.text, sentence.text_pair) if text is not None]
            content = hash(sentence.words or tuple(texts))
            hashes.add(content)
            words += len(sentence.words) or sum(len(text.split()) for text in texts)
            labels.update(map(str, sentence.columns[task.label_column]) if task.label_column else ())
            if content in known:
                again.append(" ".join(sentence.words or texts)[:60])
    except DataError as fault:
        faults.note(fault)
        return set()
    finally:
        faults.count_others()
    if told := unlabelled_words(str(pair), split, labels.pop(task.no_label or "", 0), words):
        found.notes.append(told)
    if len(labels) == 1 and count > 1:
        found.notes.append(f"{pair}: all {labels.total():,} labels of its {split} data are {next(iter(labels))}")
    found.labels[pair, split] = set(labels)
    common = "  ".join(f"{label} {number:,}" for label, number in labels.most_common(8))
    more = f"  and {len(labels) - 8} more" if len(labels) > 8 else ""
    place = short_source(sources.record(pair, split), Path(scope.kept["data_folder"]))
    found.rows.append([str(pair), split, f"{count:,}", f"{words:,}", common + more, place])
    if again:
        found.notes.append(
            f"{pair}: {len(again):,} of {count:,} {split} sentences also occur in train, such as «{again[0]}»"
        )
    return hashes
