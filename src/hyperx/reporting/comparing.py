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
from hyperx.errors import DataError
from hyperx.evaluation.scoring import score_data
from hyperx.files import write_text
from hyperx.pairs import AVERAGE_NAMES, GROUPS, group_of
from hyperx.reporting.page import Section, Table, page
from hyperx.reporting.report import data_to_score
from hyperx.tables import markdown_table

if TYPE_CHECKING:
    from hyperx.evaluation.bootstrap import Counts
    from hyperx.evaluation.scores import PairScores

NOTE = "Percent; differences to the first run, and the ends of their 95 % intervals by the paired bootstrap."
ENDINGS = (".csv", ".md", ".html")


def compare(config: CompareConfig) -> tuple[list[str], list[list[str]], list[str]]:
    """Score runs, and write the table if a file is named for it.

    Returns:
        The header, the rows, and the pairs that not every run has a score of.

    Raises:
        ConfigError: all problems with the options.
        CheckpointError: if there is no checkpoint, or it does not fit its encoder.
        DataError: if data is missing or malformed, or the runs have no pair or other data in common.
    """
    problems, folders = list[str](), config.folders
    if len({*folders}) < max(len(folders), 2):
        problems.append(f"name two or more runs, each once; found {' '.join(map(str, folders)) or 'none'}")
    if config.output is not None and config.output.suffix not in ENDINGS:
        problems.append(f"--output: expected a file {', '.join(ENDINGS)}; found {config.output}")
    found = [data_to_score(config, folder, problems) for folder in folders or [None]]
    from hyperx.device import pick_device
    from hyperx.evaluation.bootstrap import difference
    from hyperx.model import HyperX

    runs, labelled, silent = [], [], config.disable_progress_bar or None  # None: no bar without a terminal
    for folder, options, data in found:
        model = HyperX.from_pretrained(folder, encoder=config.model_name_or_path)
        model.to(pick_device(no_cuda=config.no_cuda))
        run = score_data(options, model, data, keep_answers=True)
        runs.append({score.pair.key: score for score in run if score.trained and not score.task.auxiliary})
        labelled.append(run.labelled)
    common = [key for key in runs[0] if all(key in run and run[key].value is not None for run in runs)]
    if not common:
        raise DataError(f"the runs have no pair with {config.split} data in common")
    counts = [{key: _counts(run[key], runs[0][key]) for key in common} for run in runs]
    groups = {key: group_of(runs[0][key].pair, labelled[0]) for key in common}
    parts = [(str(runs[0][key].pair), str(groups[key]), [key]) for key in common]
    for group in AVERAGE_NAMES:
        own = [key for key in common if groups[key] in {"zero_shot": GROUPS[1:], "all": GROUPS}.get(group, [group])]
        parts += [("macro average", group, own)] if own else []
    rows = []
    for name, group, keys in tqdm(parts, "resampling", disable=silent):
        values = [100 * fmean(run[key].value or 0 for key in keys) for run in runs]
        row = [name, AVERAGE_NAMES[group], f"{values[0]:.1f}"]
        for value, numbers in zip(values[1:], counts[1:], strict=True):
            cells = [{str(key): n for key in keys if (n := one[key]) is not None} for one in (numbers, counts[0])]
            ends = ["", ""]
            if len(cells[0]) == len(keys):
                interval = difference(cells[:1], cells[1:])
                ends = [f"{100 * end:+.1f}" for end in (interval.low, interval.high)]
            row += [f"{value:.1f}", f"{value - values[0]:+.1f}", *ends]
        rows.append(row)
    header = ["pair", "group", str(folders[0])]
    header += [cell for folder in folders[1:] for cell in (str(folder), "difference", "from", "to")]
    left_out = {str(score.pair): None for run in runs for key, score in run.items() if key not in common}
    if config.output is not None:
        write_text(config.output, _written(config.output.suffix, header, rows))
    return header, rows, list(left_out)


def _counts(score: PairScores, first: PairScores) -> Counts | None:
    """The counts of each sentence; None if the measure is not of such. Raises a DataError if the gold data of the first
    run is another."""
    assert score.answers is not None
    assert first.answers is not None
    if score.answers.gold != first.answers.gold:
        what = "the runs would be scored on other data of their own"
        raise DataError(f"{score.pair}: {what}; name data for all of them with --data_folder, or other pairs")
    answers = zip(score.answers.gold, score.answers.results, strict=True)
    numbers = [score.task.counts(gold, result.labels) for gold, result in answers]
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
