"""A look at the data of a run before it starts: counts, duplicates and every problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from tqdm.auto import tqdm

from hyperx.data.locate.places import SPLITS, short_place
from hyperx.data.read.labels import unlabelled_words
from hyperx.data.read.lines import FirstFaults
from hyperx.errors import DataError
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.options import Plan
from hyperx.tasks.registry import RAW_TEXT, make_tasks

MOST_FAULTS = 20
"""How many kinds of faults of a split are listed: those that expect the same are one, which may be on every line."""


@dataclass
class DataReport:
    """What a look at the data found: a row for every split, what a user should know, and what would stop a run."""

    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    labels: dict[tuple[TaskLanguagePair, str], set[str]] = field(default_factory=dict)
    """The labels of every split."""
    header = ("pair", "split", "sentences", "words", "labels", "data")


def inspect_data(plan: Plan) -> DataReport:
    """Read every split of every pair that a run names or that has files, and report."""
    # Imported here, so that `hyperx check` says what is wrong with its options before it waits for PyTorch.
    from hyperx.plan.data import label_sets, unknown_labels

    report = DataReport()
    local = (pair for pair in plan.data.pairs if not plan.data.from_hub(pair))
    pairs = dict.fromkeys([*plan.train_pairs, *plan.eval_pairs, *local])
    for pair in tqdm(pairs, desc="reading data", unit="pair", disable=plan.config.training.silent):
        train = _inspect(plan, pair, "train", report) if pair in plan.train_pairs else set()
        for split in SPLITS[1:]:
            _inspect(plan, pair, split, report, train)
    for text in plan.texts.pairs:
        if text not in pairs:
            _inspect(plan, text, "train", report)
    report.notes += [
        f"no training pair has the task {task}: its head stays untrained, and is used only if named"
        for task in plan.tasks
        if task not in plan.trained_tasks
    ]
    if not report.problems:  # faulty labels have been told already, each with its line
        seen = {pair: labels for (pair, split), labels in report.labels.items() if split == "train"}
        sets = label_sets(plan, seen, report.problems)
        for (pair, split), labels in report.labels.items():
            if pair.task in sets:
                report.notes += unknown_labels(pair, split, labels, sets[pair.task])
    return report


def _inspect(
    plan: Plan, pair: TaskLanguagePair, split: str, report: DataReport, known: Collection[int] = ()
) -> set[int]:
    """Count a split and its known sentences; returns hashes of its sentences, since texts may be large."""
    from hyperx.plan.data import held_out

    if pair in plan.texts:
        data, task = plan.texts, make_tasks({RAW_TEXT: RAW_TEXT})[RAW_TEXT]
    else:
        data, task = plan.data, plan.tasks[pair.task]
    if not data.has(pair, split):
        return set()
    hashes, labels, again = set[int](), Counter[str](), list[str]()
    kinds, count, words, complete = dict[Any, FirstFaults](), 0, 0, False

    def faults(fault: DataError) -> None:
        kind = (fault.path, fault.message.partition(", found")[0])
        kinds.setdefault(kind if kind in kinds or len(kinds) < MOST_FAULTS else None, FirstFaults(11))(fault)

    try:
        for sentence in held_out(plan.data, task, pair, split).removed(data.read(pair, split, faults), pair):
            count += 1
            texts = [text for text in (sentence.text, sentence.text_pair) if text is not None]
            content = hash(sentence.words or tuple(texts))
            hashes.add(content)
            words += len(sentence.words) or sum(len(text.split()) for text in texts)
            labels.update(map(str, sentence.columns[task.label_column]) if task.label_column else ())
            if content in known:
                again.append(" ".join(sentence.words or texts)[:60])
        complete = True
    except DataError as fault:
        faults(fault)
    for kind, own in kinds.items():
        lines = ", ".join(str(fault.line) for fault in own.first[1:] if fault.line)  # rows have none
        more = f" ({own.count - 1:,} more {'like it' if kind else 'faults'}{lines and f', first in lines {lines}'})"
        report.problems.append(f"{pair} {split}: {own.first[0]}{more if own.count > 1 else ''}")
    if not complete:
        return set()
    if told := unlabelled_words(str(pair), split, labels.pop(task.no_label or "", 0), words):
        report.notes.append(told)
    if len(labels) == 1 and count > 1:
        report.notes.append(f"{pair}: all {labels.total():,} labels of its {split} data are {next(iter(labels))}")
    report.labels[pair, split] = set(labels)
    common = "  ".join(f"{label} {number:,}" for label, number in labels.most_common(8))
    more = f"  and {len(labels) - 8} more" if len(labels) > 8 else ""
    place = short_place(data.record(pair, split), plan.record.spec.folder)
    report.rows.append([str(pair), split, f"{count:,}", f"{words:,}", common + more, place])
    if again:
        repeats = f"{len(again):,} of {count:,} {split} sentences also occur in train"
        report.notes.append(f"{pair}: {repeats}, such as «{again[0]}»")
    return hashes
