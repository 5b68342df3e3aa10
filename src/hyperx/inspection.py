"""A look at the data of a run before it starts: counts, duplicates and every problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from tqdm.auto import tqdm

from hyperx.config import TrainConfig
from hyperx.data.resolution import SPLITS
from hyperx.data.splits import held_out
from hyperx.errors import DataError
from hyperx.pairs import TaskLanguagePair
from hyperx.preparation import Scope, check_options, label_set, read_start


@dataclass
class DataReport:
    """What a look at the data found.

    Args:
        rows: pair, split, sentences, words and labels of every split that was read.
        notes: what a user should know, such as duplicates.
        problems: what would stop a run.
        seen: the labels of each task's training data.
    """

    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seen: dict[str, set[str]] = field(default_factory=dict)
    header = ("pair", "split", "sentences", "words", "labels")


def inspect_data(config: TrainConfig) -> DataReport:
    """Read every split of every pair that a run with these options names, and report.

    Raises:
        ConfigError: all problems with the options.
    """
    problems: list[str] = []
    read_start(config, problems)
    scope = check_options(config, problems)
    found = DataReport()
    pairs = dict.fromkeys([*scope.train_pairs, *scope.eval_pairs])
    pairs |= dict.fromkeys(pair for pair in scope.sources.pairs if not scope.sources.from_hub(pair))
    for pair in tqdm(pairs, desc="reading data", unit="pair", disable=config.training.disable_progress_bar):
        train = _inspect_split(scope, pair, "train", found) if pair in scope.train_pairs else set()
        for split in SPLITS[1:]:
            _inspect_split(scope, pair, split, found, train)
    # Faulty labels are named already, each with its line.
    for task, labels in found.seen.items() if not found.problems else ():
        try:
            label_set(scope.tasks[task], labels, config.data.entity_types)
        except DataError as fault:
            found.problems.append(str(fault))
    return found


def _inspect_split(
    scope: Scope, pair: TaskLanguagePair, split: str, found: DataReport, known: Collection[int] = ()
) -> set[int]:
    """Count one split, and in it the sentences that are known; the hashes of its sentences, as texts may be large."""
    sources, task = scope.sources, scope.tasks[pair.task]
    if not sources.has(pair, split):
        return set()
    hashes, labels, again = set[int](), Counter[str](), list[str]()
    count = words = 0

    def note(fault: DataError) -> None:
        found.problems.append(f"{pair} {split}: {fault}")

    try:
        sentences = held_out(sources, task, pair, split).removed(sources.read(pair, split, note), pair)
        for sentence in sentences:
            count += 1
            content = hash(sentence.words or (sentence.text, sentence.text_pair))
            hashes.add(content)
            words += len(sentence.words) or len((sentence.text or "").split())
            labels.update(map(str, sentence.columns[task.label_column]) if task.label_column else ())
            if content in known:
                again.append(" ".join(sentence.words or (sentence.text or "",))[:60])
    except DataError as fault:
        note(fault)
        return set()
    if split == "train":
        found.seen.setdefault(pair.task, set()).update(labels)
    common = "  ".join(f"{label} {number:,}" for label, number in labels.most_common(8))
    more = f"  and {len(labels) - 8} more" if len(labels) > 8 else ""
    found.rows.append([str(pair), split, f"{count:,}", f"{words:,}", common + more])
    if again:
        found.notes.append(
            f"{pair}: {len(again):,} of {count:,} {split} sentences also stand in train, such as «{again[0]}»"
        )
    return hashes
