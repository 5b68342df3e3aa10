"""The evaluation of a checkpoint on the data that it was trained with, or on other data."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from hyperx import checkpoint, report
from hyperx.config import DataOptions, EvaluateConfig, ModelConfig
from hyperx.data.sources import DataSources
from hyperx.data.splits import SplitLoader
from hyperx.data.storage import EncodedSplit
from hyperx.device import pick_device
from hyperx.errors import ConfigError, DataError
from hyperx.evaluation import PairScores, evaluate_pairs
from hyperx.files import write_json
from hyperx.languages import canonical
from hyperx.model import HyperX
from hyperx.pair_data import find_sources, table_keys, with_all_pairs
from hyperx.pairs import TaskLanguagePair
from hyperx.preparation import warn_of_labels
from hyperx.scope import parse_pairs
from hyperx.tasks.registry import make_tasks
from hyperx.transfer import group_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation found, and where it was written.

    Args:
        scores: one value per pair.
        labelled: the pairs that the model was trained on with labels, which count as seen.
        tables: the file with the scores by label, in the checkpoint; None if it could not be written.
    """

    scores: list[PairScores]
    labelled: tuple[TaskLanguagePair, ...]
    tables: Path | None


def evaluate_checkpoint(config: EvaluateConfig) -> Evaluation:
    """Score a checkpoint and write the results into its folder.

    Raises:
        ConfigError: all problems with the options.
        CheckpointError: if there is no checkpoint, or it does not fit its encoder.
        DataError: if data of a requested pair is missing or malformed.
    """
    if config.eval_ckpt is None:
        raise ConfigError(["--eval_ckpt: name a checkpoint or the output folder of a run"])
    folder = checkpoint.resolve(config.eval_ckpt)
    settings = checkpoint.read_config(folder)
    problems: list[str] = []
    pairs = _asked_pairs(config, tuple(settings.labels), problems)
    data = _find_data(config, folder, pairs, settings, problems)
    for pair in pairs:
        if not problems and not data.sources.has(pair, config.split):
            problems.append(f"--test_task_language_pairs: {pair} has no {config.split} split")
    for name in ("per_device_eval_batch_size", "max_eval_samples"):
        value = getattr(config, name)
        if value is not None and value < 1:
            problems.append(f"--{name}: expected 1 or more; found {value}")
    if problems:
        raise ConfigError(problems)
    model = HyperX.from_pretrained(folder, encoder=config.model_name_or_path)
    model.to(pick_device(no_cuda=config.no_cuda))
    splits = _load(config, model, pairs, data)
    labelled = settings.labelled_pairs
    with tqdm(total=len(splits), desc="evaluating", unit="pair", disable=config.disable_progress_bar) as bar:
        scores = evaluate_pairs(
            model,
            splits,
            batch_size=config.per_device_eval_batch_size,
            repeats=_repeats(config.split, splits, labelled, _loader(model, data.trained)),
            done=lambda _: bar.update(),
        )
    return Evaluation(scores, labelled, _write(scores, labelled, config.split, folder))


def _write(scores: list[PairScores], labelled: tuple[TaskLanguagePair, ...], split: str, folder: Path) -> Path | None:
    """Write the results into the checkpoint; returns the file of the tables, or None if they cannot be written."""
    name = "results" if split == "test" else f"results_{split}"
    tables = folder / f"{name}.md"
    if (folder / f"{name}.json").exists():
        log.warning("the results of an earlier evaluation in %s are replaced", folder)
    try:
        write_json(folder / f"{name}.json", report.flat_results(scores, split))
        report.write_results(tables, f"Results on the {split} split", scores, labelled)
    except OSError as error:
        log.warning("the results cannot be written into %s: %s; they are only shown", folder, error.strerror)
        return None
    return tables


def _asked_pairs(config: EvaluateConfig, tasks: Iterable[str], problems: list[str]) -> tuple[TaskLanguagePair, ...]:
    option = "--test_task_language_pairs"
    pairs = parse_pairs(config.test_task_language_pairs, option, problems)
    known = ", ".join(tasks)
    problems += [
        f"{option}: {pair}: the model has no such task; it has {known}" for pair in pairs if pair.task not in tasks
    ]
    return pairs


@dataclass(frozen=True, slots=True)
class _Data:
    """Where data is.

    Args:
        sources: the data to score.
        trained: the data that the model was trained on.
    """

    sources: DataSources
    trained: DataSources


def _find_data(
    config: EvaluateConfig,
    folder: Path,
    pairs: tuple[TaskLanguagePair, ...],
    settings: ModelConfig,
    problems: list[str],
) -> _Data:
    """The data recorded in the checkpoint, and data found now that the options ask for or training did not know.

    Data that is not found is a problem if the options name it; other pairs may lack data.
    """
    data = checkpoint.read_json(folder / checkpoint.DATA)
    trained, tasks = DataSources.from_json(data["sources"]), make_tasks(settings.kinds)
    elsewhere = config.data_folder is not None or bool(config.data)
    if config.data_folder is not None and not config.data_folder.is_dir():
        problems.append(f"--data_folder: there is no folder {config.data_folder.resolve()}")
    chosen = [_language_of(entry) for entry in config.treebanks]
    place = DataOptions(
        data_folder=config.data_folder or Path(data["data_folder"]),
        data={**data["table"], **config.data},
        treebanks=(*config.treebanks, *(entry for entry in data["treebanks"] if _language_of(entry) not in chosen)),
    )
    stay = [
        pair
        for pair in pairs or trained.pairs
        if pair in trained and not elsewhere and canonical(pair.language) not in chosen
    ]
    every = [TaskLanguagePair(task, language) for task in tasks for language in settings.languages]
    table = table_keys(config.data)
    named = pairs or [pair for pair in every if canonical(pair.language) in chosen or pair.key in table]
    found = find_sources(
        [pair for pair in named if pair not in stay],
        tasks,
        place.data_folder,
        place.data,
        data["label_map"],
        place.treebanks,
        problems,
    )
    sources = trained.only(stay).joined(found or DataSources(()))
    if not pairs and not problems:
        sources = with_all_pairs(sources, tasks, settings.languages, place, data["label_map"], [])
    return _Data(sources, trained)


def _language_of(entry: str) -> str:
    """The canonical language of an entry of --treebanks."""
    return canonical(entry.partition("=")[0])


def _loader(model: HyperX, sources: DataSources) -> SplitLoader:
    return SplitLoader(sources, model.tasks, model.checked_tokenizer(), max_length=model.config.max_length)


def _load(
    config: EvaluateConfig, model: HyperX, pairs: tuple[TaskLanguagePair, ...], data: _Data
) -> dict[TaskLanguagePair, EncodedSplit]:
    """Encode the requested pairs, or else all pairs of the model that have data."""
    loader, splits = _loader(model, data.sources), {}
    for pair in pairs or data.trained.pairs:
        if pair not in data.sources and data.trained.has(pair, config.split):
            log.warning("%s is skipped: it had data at training time, but none was found now", pair)
    wanted = pairs or [pair for pair in data.sources.pairs if data.sources.has(pair, config.split)]
    for pair in tqdm(wanted, desc="reading data", unit="pair", disable=config.disable_progress_bar, leave=False):
        try:
            splits[pair] = loader.load(pair, config.split).first(config.max_eval_samples)
        except DataError as error:
            if pairs:
                raise
            log.warning("%s is skipped, its data cannot be read: %s", pair, error)
            continue
        labels = model.config.labels[pair.task]
        warn_of_labels(model.tasks[pair.task], pair, config.split, splits[pair], labels)
    for language in dict.fromkeys(pair.language for pair in splits):
        model.admit_language(language)
    if not splits:
        raise DataError(f"no pair of the model has data in the {config.split} split; name --data_folder")
    return splits


def _repeats(
    split: str,
    splits: dict[TaskLanguagePair, EncodedSplit],
    labelled: tuple[TaskLanguagePair, ...],
    loader: SplitLoader,
) -> dict[TaskLanguagePair, set[int]]:
    """For each seen pair the sentences, by index, that also occur in train, as some data sets repeat them.

    The loader is that of the training data, wherever the scored data is.
    """
    found = {}
    for pair in splits:
        trained_on = split != "train" and group_of(pair, labelled) == "seen" and loader.sources.has(pair, "train")
        # The text of auxiliary tasks is separated from dev and test data before training.
        if trained_on and not loader.tasks[pair.task].auxiliary:
            try:
                found[pair] = splits[pair].repeats(loader.load(pair, "train"))
            except DataError as error:
                log.warning("%s: repeats of training sentences cannot be told: %s", pair, error)
    return found
