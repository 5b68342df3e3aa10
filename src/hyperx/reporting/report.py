"""A run as one page: what there is of it becomes sections, and what there is not is told."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

from hyperx import checkpoint
from hyperx.config import ReportConfig
from hyperx.errors import CheckpointError, ConfigError, DataError
from hyperx.evaluation.scoring import find_data, score_data
from hyperx.files import no_folder, opened, placeless, write_text
from hyperx.pairs import TaskLanguagePair
from hyperx.reporting.page import page

PACKAGES = ("jinja2", "matplotlib", "scipy")
"""What the extra ``report`` brings."""


def output_problems(output: Path | None) -> Iterator[str]:
    """Why a file cannot be made: where it would be, or for lack of packages."""
    if output is not None and (output.is_dir() or not output.parent.is_dir()):
        what = "that is a folder" if output.is_dir() else f"there is no folder {output.parent}"
        yield f"--output: expected a file; found {output}: {what}"
    if lacking := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        yield f'{", ".join(lacking)} not found; the extra has it: pip install "hyperx-nlp[report]"'


def read_log(path: Path) -> Iterator[tuple[str, float, float]]:
    """The name, step and value of all that a run has logged; nothing if there is no such file."""
    text = b""
    if path.is_file():
        with opened(path) as file:
            text = file.read()
    for number, line in enumerate(text.decode(errors="replace").splitlines(), start=1):
        try:
            values = json.loads(line)
            step = float(values.pop("step"))
            yield from [(name, step, float(value)) for name, value in values.items() if value is not None]
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            what = "expected an object with a step and numbers, as training writes it"
            raise CheckpointError(f"{path}:{number}: {what}; found {line[:60]!r}") from error


def report(config: ReportConfig) -> tuple[int, tuple[TaskLanguagePair, ...]]:
    """Write the page of a run, and its pictures if a folder is named for them; returns how many there are, and the
    pairs that were not scored, as their data cannot be read.

    Raises:
        ConfigError: all problems with the options.
        CheckpointError: if there is no checkpoint, it does not fit its encoder, or the run's log is damaged.
        DataError: if data that the options name is missing or malformed.
    """
    folder, problems = checkpoint.resolve(config.folder), [*output_problems(config.output)]
    if config.pictures is not None and (problem := no_folder(config.pictures)):
        problems.append(f"--pictures: {problem}")
    data = find_data(config, folder, problems)
    if problems:
        raise ConfigError(problems)
    in_run = folder in checkpoint.checkpoints(folder.parent)
    log = list(read_log(folder.parent / checkpoint.LOG)) if in_run else []
    from hyperx.model import load
    from hyperx.reporting import sections as make

    model, evaluation, missing = load(folder, config), None, list[str]()
    try:
        evaluation = score_data(config, model, data, keep_answers=True)
    except DataError as error:
        if config.test_task_language_pairs or config.data_folder or config.data:
            raise
        missing.append(f"What predictions would tell: {error}.")
    sections = [*make.scores(folder, model, evaluation), *make.curves(log, model), *make.adapters(model, evaluation)]
    if evaluation is not None:
        sections += make.predictions(evaluation, data.places, config.split)
    sections.append(make.sizes(folder))
    titles = {"Scores": "predictions or results", "Learning curves": checkpoint.LOG, "Adapters": "two pairs with any"}
    told = {section.title for section in sections}
    missing += [f"{title}: the run has no {what}." for title, what in titles.items() if title not in told]
    scored, unread = 0, tuple[TaskLanguagePair, ...]()
    if evaluation is not None:
        scored, unread = sum(score.sentences for score in evaluation), evaluation.unread
    missing += [f"Scores of {pair}: its data cannot be read." for pair in unread]
    facts = {"Trained on": model.config.trained_on, "Encoder": placeless(model.config.encoder)}
    facts["Scored here"] = f"{scored:,} sentences of the {config.split} split"
    named = folder if folder in checkpoint.ready_made().values() else (config.folder or folder).resolve()
    write_text(config.output, page(f"Run {named.name}", sections, facts=facts, missing=missing))
    drawn = [picture for section in sections for picture in section.pictures]
    if config.pictures is not None:
        config.pictures.mkdir(parents=True, exist_ok=True)
        for picture in drawn:
            picture.save(config.pictures)
    return len(drawn), unread
