"""The evaluation of a checkpoint on the data that it was trained with, or on other data."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from hyperx import checkpoint
from hyperx.config import DataOptions, EvaluateConfig, ModelConfig
from hyperx.data.locate.places import DataPlaces, content_hash
from hyperx.data.locate.spec import DataRecord, language_of
from hyperx.errors import CheckpointError, ConfigError, DataError
from hyperx.files import in_home, missing_encoder
from hyperx.options import flat, value_problems
from hyperx.pairs import TaskLanguagePair, group_of
from hyperx.plan.options import check_paths, data_spec, parse_pairs
from hyperx.prediction.request import task_problem
from hyperx.tasks.registry import kinds_of

# PyTorch is imported where it is needed: what is wrong with the options is said without waiting for it.
if TYPE_CHECKING:
    from hyperx.data.batch.store import EncodedSplit
    from hyperx.evaluation.report import Evaluation
    from hyperx.model import HyperX
    from hyperx.plan.splits import SplitLoader

log = logging.getLogger(__name__)


def evaluate_checkpoint(config: EvaluateConfig) -> Evaluation:
    """Score a checkpoint and add the results to those in its folder, or in another one.

    Raises:
        ConfigError: all problems with the options.
        CheckpointError: if there is no checkpoint, or it does not fit its encoder.
        DataError: if data of a requested pair is missing or malformed.
    """
    problems = value_problems(config)
    check_paths(flat(config), problems)
    pairs = parse_pairs(config.test_task_language_pairs, "--test_task_language_pairs", problems)
    if config.data_folder is not None and not config.data_folder.is_dir():
        problems.append(f"--data_folder: there is no folder {config.data_folder.resolve()}")
    folder, settings = _read_checkpoint(config.eval_ckpt, problems)
    if missing := missing_encoder(config.model_name_or_path or settings.encoder):
        problems.append(f"--model_name_or_path: {missing}")
    for pair in pairs:
        if problem := task_problem(settings, pair.task):
            problems.append(f"--test_task_language_pairs: {pair}: {problem}")
    data = _find_data(config, folder, pairs, settings, problems)
    for pair in pairs:
        if not problems and not data.places.has(pair, config.split):
            problems.append(f"--test_task_language_pairs: {pair} has no {config.split} split")
    weights = folder / checkpoint.WEIGHTS
    known_as = content_hash(weights) if weights.is_file() else ""
    name = "results.json" if config.split == "test" else f"results_{config.split}.json"
    path = (config.output or folder) / name
    if config.output is not None:
        problems += _output_problems(config.output, path, known_as)
    if problems:
        raise ConfigError(problems)
    from hyperx.device import pick_device
    from hyperx.evaluation.results import Results
    from hyperx.model import HyperX

    model = HyperX.from_pretrained(folder, encoder=config.model_name_or_path)
    scores = _scored(config, model.to(pick_device(no_cuda=config.no_cuda)), data)
    try:
        every = Results(path, config.split, known_as).add(scores, model.tasks)
    except OSError as error:
        log.warning("the results cannot be written into %s: %s; they are only shown", path.parent, error.strerror)
        return scores
    return replace(scores, tables=path.with_suffix(".md"), others=len(every) - len(scores))


def _output_problems(folder: Path, path: Path, known_as: str) -> list[str]:
    """What keeps the results of a checkpoint from being written into the folder that --output names."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return [f"--output: expected a folder for the results, cannot make {folder}: {error.strerror}"]
    if not os.access(folder, os.W_OK):
        return [f"--output: {folder} may not be written; name another folder"]
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):  # such a file is set aside
        if json.loads(path.read_text(encoding="utf-8"))["checkpoint"] != known_as:
            return [f"--output: {path} has results of another checkpoint; name a folder for each checkpoint"]
    return []


def _scored(config: EvaluateConfig, model: HyperX, data: _Data) -> Evaluation:
    """Score the pairs whose data can be read, and log scores that do not mean what they seem to."""
    from hyperx.evaluation.report import Evaluation, scoreless
    from hyperx.evaluation.scores import evaluate_pairs
    from hyperx.plan.data import UNDEFINED
    from hyperx.prediction.predictor import Predictor

    splits, silent = _load(config, model, data), config.disable_progress_bar or None  # None: no bar without a terminal
    for language in dict.fromkeys(pair.language for pair in splits):
        Predictor(model).tell_language(language)
    labelled = model.config.labelled_pairs
    repeats = _repeats(config.split, splits, labelled, _loader(model, data.trained))
    evaluated = evaluate_pairs(model, splits, batch_size=config.per_device_eval_batch_size, repeats=repeats)
    scores = tuple(
        replace(score, source=data.places.record(score.pair, config.split), limit=config.max_eval_samples)
        for score in tqdm(evaluated, total=len(splits), desc="evaluating", unit="pair", disable=silent)
    )
    for score in scores:
        if score.value is None:
            log.warning(UNDEFINED, score.pair, config.split)
        elif not score.trained:
            log.warning("%s: its task was not trained: its head is random, and the score is in no average", score.pair)
    # Without training data a score of 0 is a result.
    if told := scoreless([score for score in scores if group_of(score.pair, labelled) == "seen"]):
        log.warning(told)
    return Evaluation(scores, labelled, data.folder)


def _read_checkpoint(path: Path | None, problems: list[str]) -> tuple[Path, ModelConfig]:
    """The folder of a checkpoint and its configuration.

    Raises:
        ConfigError: if none is named, or it cannot be read and there are other ``problems``; all are reported together.
        CheckpointError: if it cannot be read.
    """
    if path is None:
        raise ConfigError(["--eval_ckpt: name a checkpoint or the output folder of a run", *problems])
    try:
        folder = checkpoint.resolve(path)
        return folder, checkpoint.read_config(folder)
    except CheckpointError as error:
        if not problems:
            raise
        raise ConfigError([f"--eval_ckpt: {error}", *problems]) from None


@dataclass(frozen=True, slots=True)
class _Data:
    """Where data is.

    Args:
        places: the data to score.
        trained: the data of training.
        named: the pairs that the options of this command name, which must be scored.
        folder: the folder of local data.
    """

    places: DataPlaces
    trained: DataPlaces
    named: tuple[TaskLanguagePair, ...]
    folder: Path


def _find_data(
    config: EvaluateConfig,
    folder: Path,
    pairs: tuple[TaskLanguagePair, ...],
    settings: ModelConfig,
    problems: list[str],
) -> _Data:
    """The data that the options name, else what the checkpoint records, else what is found now.

    Data that is not found is a problem if the options name it; other pairs may lack data. The hub is asked only for
    what these options or those of the training run name, or training read.
    """
    record = checkpoint.read_json(folder / checkpoint.DATA, DataRecord)
    trained, tasks, moved = DataPlaces(record.data), kinds_of(settings.kinds), config.data_folder is not None
    then = data_spec(
        tasks, DataOptions(data_folder=record.folder, data=record.table, treebanks=record.treebanks), record.label_map
    )
    now = replace(then, table=config.data, treebanks=config.treebanks, folder=config.data_folder or record.folder)
    now.check(problems)
    languages = set(map(language_of, now.treebanks))
    earlier = replace(
        now,
        table={name: entry for name, entry in then.table.items() if TaskLanguagePair.parse(name) not in now},
        treebanks=[entry for entry in then.treebanks if language_of(entry) not in languages],
    )
    if moved:
        # Entries whose data is not in the folder that this command names, if that folder has other data of the pair.
        here = in_home(now.folder).resolve()
        by_entry, by_folder = (
            spec.places(earlier.table_pairs.values()) for spec in (earlier, replace(earlier, table={}))
        )
        outside = {
            pair.key
            for pair in earlier.table_pairs.values()
            if by_folder.inside(pair, here) and not by_entry.inside(pair, here)
        }
        kept = {name: entry for name, entry in earlier.table.items() if TaskLanguagePair.parse(name).key not in outside}
        earlier = replace(earlier, table=kept)
    spec = replace(now, table={**earlier.table, **now.table}, treebanks=(*now.treebanks, *earlier.treebanks))
    every = [TaskLanguagePair(task, language) for task in tasks for language in settings.languages]
    named = pairs or now.named(every)
    stay = [pair for pair in pairs or trained.pairs if pair in trained and not moved and pair not in now]
    found = spec.places([pair for pair in named if pair not in stay and pair.task in tasks])
    problems += chain.from_iterable(found.lacking.values())
    places = trained.only(stay).joined(found)
    if not problems:
        problems += [
            f"{pair}: there is none of its data in --data_folder {spec.folder}, and training read none of the "
            "hub; name the data in a table"
            for pair in named
            if moved and pair in trained and not trained.from_hub(pair) and places.from_hub(pair) and pair not in now
        ]
    if not pairs and not problems:
        places = places.joined(spec.places([pair for pair in every if pair not in places]))
        read = {pair.key for pair in record.read}
        known = [pair for pair in trained.pairs if trained.from_hub(pair) and (pair.key in read or pair in then)]
        places = _asked_for(places, {pair.key for pair in (*named, *known)}, settings, config.split)
    keys = {pair.key for pair in named}
    for key, pair in now.table_pairs.items():
        if key not in keys:
            log.warning("data table: %s is not among the pairs to evaluate; it is not read", pair)
    for entry in now.treebanks:
        if not any((task, language_of(entry)) in keys for task in now.treebank_tasks):
            log.warning("--treebanks: %s is of no pair to evaluate; it is not read", entry)
    return _Data(places, trained, named, spec.folder)


def _asked_for(data: DataPlaces, named: Collection[tuple[str, str]], settings: ModelConfig, split: str) -> DataPlaces:
    """The data to score by default: of the hub only those of the named pairs, and none of untrained tasks."""
    has = [pair for pair in data.pairs if data.has(pair, split)]
    untrained = [pair for pair in has if pair.task not in settings.trained_tasks]
    unasked = [pair for pair in has if pair not in untrained and data.from_hub(pair) and pair.key not in named]
    for what, left_out in (
        ("no training pair had their task", untrained),
        ("only the hub has their data", unasked),
    ):
        if left_out:
            names = " ".join(map(str, left_out))
            log.warning("not scored, as %s: %s. Name them with --test_task_language_pairs to score them", what, names)
    if lacking := [pair for pair in data.pairs if not data.has(pair, split)]:
        log.info("not scored, as they have no %s split: %s", split, " ".join(map(str, lacking)))
    return data.only(pair for pair in data.pairs if pair not in (*untrained, *unasked))


def _loader(model: HyperX, data: DataPlaces) -> SplitLoader:
    from hyperx.plan.splits import SplitLoader

    return SplitLoader(data, model.tasks, model.checked_tokenizer(), max_length=model.config.max_length)


def _load(config: EvaluateConfig, model: HyperX, data: _Data) -> dict[TaskLanguagePair, EncodedSplit]:
    """Encode the requested pairs, or else all pairs of the model that have data."""
    from hyperx.plan.data import label_notes

    loader, splits, asked = _loader(model, data.places), {}, bool(config.test_task_language_pairs)
    scored = [pair for pair in data.trained.pairs if pair.task in model.config.trained_tasks]
    for pair in data.named if asked else scored:
        if pair not in data.places and data.trained.has(pair, config.split) and not data.trained.from_hub(pair):
            log.warning("%s is skipped: it had data at training time, but none was found now", pair)
    wanted = data.named if asked else [pair for pair in data.places.pairs if data.places.has(pair, config.split)]
    silent = config.disable_progress_bar or None  # None: no bar without a terminal
    for pair in tqdm(wanted, desc="reading data", unit="pair", disable=silent, leave=False):
        try:
            splits[pair] = loader.load(pair, config.split).first(config.max_eval_samples)
        except DataError as error:
            if pair in data.named:
                raise
            log.warning("%s is skipped, its data cannot be read: %s", pair, error)
            continue
        labels = model.config.labels[pair.task]
        for note in label_notes(model.tasks[pair.task], pair, config.split, splits[pair], labels):
            log.warning(note)
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
        trained_on = split != "train" and group_of(pair, labelled) == "seen" and loader.data.has(pair, "train")
        # The text of auxiliary tasks is separated from dev and test data before training.
        if trained_on and not loader.tasks[pair.task].auxiliary:
            try:
                found[pair] = splits[pair].repeats(loader.load(pair, "train"))
            except DataError as error:
                log.warning("%s: repeats of training sentences cannot be told: %s", pair, error)
    return found
