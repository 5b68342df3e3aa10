"""Runs side by side: scores of pairs and groups, and the differences to the first run."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from hyperx.config import CompareConfig
from hyperx.errors import ConfigError, DataError
from hyperx.evaluation.scoring import find_data, score_data
from hyperx.files import write_text
from hyperx.pairs import AVERAGE_NAMES, GROUPS, TaskLanguagePair
from hyperx.reporting.page import Section, Table, page
from hyperx.reporting.report import output_problems
from hyperx.tables import markdown_table

if TYPE_CHECKING:
    from hyperx.evaluation.bootstrap import Counts
    from hyperx.evaluation.scores import PairScores

NOTE = "Percent; differences to the first run, and the ends of their 95 % intervals by the paired bootstrap."
ENDINGS = (".csv", ".md", ".html")


def compare(config: CompareConfig) -> tuple[list[str], list[list[str]], list[str], list[TaskLanguagePair]]:
    """Score runs, and write the table if a file is named for it.

    Returns:
        The header, the rows, the pairs that not every run has a score of, and those whose data cannot be read.

    Raises:
        ConfigError: all problems with the options.
        CheckpointError: if there is no checkpoint, or it does not fit its encoder.
        DataError: if data is missing or malformed, or the runs have no pair or other data in common.
    """
    problems, folders = [*output_problems(config.output)], config.folders
    if len({*folders}) < max(len(folders), 2):
        problems.append(f"name two or more runs, each once; found {' '.join(map(str, folders)) or 'none'}")
    if config.output is not None and config.output.suffix not in ENDINGS:
        problems.append(f"--output: expected a file {', '.join(ENDINGS)}; found {config.output}")
    found = [(folder, find_data(config, folder, problems)) for folder in folders or [None]]
    if problems:
        raise ConfigError([*dict.fromkeys(problems)])
    from hyperx.evaluation.bootstrap import difference
    from hyperx.model import load

    runs = [score_data(config, load(folder, config), data, keep_answers=True) for folder, data in found]
    scores = [{one.pair.key: one for one in run if one.trained and not one.task.auxiliary} for run in runs]
    first = {
        key: one for key, one in scores[0].items() if all(key in own and own[key].value is not None for own in scores)
    }
    if not first:
        raise DataError(f"the runs have no pair with {config.split} data in common")
    groups = {key: runs[0].group(one) for key, one in first.items()}
    parts = [(str(one.pair), groups[key], [key]) for key, one in first.items()]
    for group in AVERAGE_NAMES:
        among = {"zero_shot": GROUPS[1:], "all": GROUPS}.get(group, (group,))
        if keys := [key for key in first if groups[key] in among]:
            parts.append(("macro average", group, keys))
    counts, rows = [{str(key): _counts(own[key], one) for key, one in first.items()} for own in scores], []
    for name, group, keys in tqdm(parts, "resampling", disable=config.silent):
        values = [100 * fmean(own[key].value or 0 for key in keys) for own in scores]
        row = [name, AVERAGE_NAMES[group], f"{values[0]:.1f}"]
        for value, numbers in zip(values[1:], counts[1:], strict=True):
            cells = [{key: n for key in map(str, keys) if (n := one[key]) is not None} for one in (numbers, counts[0])]
            ends = ["", ""]
            if len(cells[0]) == len(keys):
                interval = difference(cells[:1], cells[1:])
                ends = [f"{100 * end:+.1f}" for end in (interval.low, interval.high)]
            row += [f"{value:.1f}", f"{value - values[0]:+.1f}", *ends]
        rows.append(row)
    header = ["pair", "group", str(folders[0])]
    header += [cell for folder in folders[1:] for cell in (str(folder), "difference", "from", "to")]
    if config.output is not None:
        write_text(config.output, _written(config.output.suffix, header, rows))
    left_out = dict.fromkeys(str(one.pair) for own in scores for key, one in own.items() if key not in first)
    return header, rows, [*left_out], [*dict.fromkeys(pair for run in runs for pair in run.unread)]


def _counts(score: PairScores, first: PairScores) -> Counts | None:
    """The counts of each sentence; None if the measure is not of such. Raises a DataError if the gold data of the first
    run is another."""
    if [gold for gold, _ in score.answers] != [gold for gold, _ in first.answers]:
        what = "the runs would be scored on other data of their own"
        raise DataError(f"{score.pair}: {what}; name data for all of them with --data_folder, or other pairs")
    numbers = [score.task.counts(gold, result.labels) for gold, result in score.answers]
    return None if None in numbers else np.array(numbers, dtype=np.int32)


def _written(ending: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table as a file of this kind."""
    if ending == ".md":
        return markdown_table(header, rows, text_columns=2)
    if ending == ".html":
        return page("Runs side by side", [Section("Scores", NOTE, tables=[Table(header, rows, 2)])], {})
    file = io.StringIO()
    csv.writer(file).writerows([header, *rows])
    return file.getvalue()
