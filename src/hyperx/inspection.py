"""A look at the data of a run before it starts: counts, duplicates and every problem."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tqdm.auto import tqdm

from hyperx.config import TrainConfig
from hyperx.data.resolution import SPLITS
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
        train = _inspect_split(scope, pair, "train", found) if pair in scope.train_pairs else None
        for split in SPLITS[1:]:
            other = _inspect_split(scope, pair, split, found)
            if train is not None and other is not None:
                _note_duplicates(pair, split, train, other, found)
    # Faulty labels are named already, each with its line.
    for task, labels in found.seen.items() if not found.problems else ():
        try:
            label_set(scope.tasks[task], labels, config.data.entity_types)
        except DataError as fault:
            found.problems.append(str(fault))
    return found


def _inspect_split(scope: Scope, pair: TaskLanguagePair, split: str, found: DataReport) -> list[tuple[str, ...]] | None:
    """Count one split; its sentences, or None where it cannot be read."""
    sources, column = scope.sources, scope.tasks[pair.task].label_column
    if not sources.has(pair, split):
        return None
    sentences: list[tuple[str, ...]] = []
    labels, words = Counter[str](), 0

    def note(fault: DataError) -> None:
        found.problems.append(f"{pair} {split}: {fault}")

    try:
        for sentence in sources.read(pair, split, note):
            sentences.append(sentence.words or (sentence.text or "",))
            words += len(sentence.words) or len((sentence.text or "").split())
            labels.update(map(str, sentence.columns[column]) if column else ())
    except DataError as fault:
        note(fault)
        return None
    if split == "train":
        found.seen.setdefault(pair.task, set()).update(labels)
    common = "  ".join(f"{label} {count:,}" for label, count in labels.most_common(8))
    more = f"  and {len(labels) - 8} more" if len(labels) > 8 else ""
    found.rows.append([str(pair), split, f"{len(sentences):,}", f"{words:,}", common + more])
    return sentences


def _note_duplicates(
    pair: TaskLanguagePair,
    split: str,
    train: list[tuple[str, ...]],
    other: list[tuple[str, ...]],
    found: DataReport,
) -> None:
    known = set(train)
    same = [words for words in other if words in known]
    if same:
        example = " ".join(same[0])[:60]
        found.notes.append(
            f"{pair}: {len(same):,} of {len(other):,} {split} sentences also stand in train, such as «{example}»"
        )
