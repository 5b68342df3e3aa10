"""The evaluation of a model on the data that it was trained with, or on other data."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tqdm.auto import tqdm

from hyperx import checkpoint
from hyperx.add_on_file import checked_checkpoint
from hyperx.config import DataOptions, EvaluateConfig, ModelConfig, ScoringOptions
from hyperx.data.locate.places import DataPlaces, content_hash
from hyperx.data.locate.spec import DataRecord, language_of
from hyperx.errors import ConfigError, DataError, HyperXError, listing
from hyperx.files import in_home, no_folder, read_json
from hyperx.options import flat, value_problems
from hyperx.pairs import TaskLanguagePair, group_of, parse_pairs
from hyperx.plan.options import data_spec, path_problems
from hyperx.prediction.request import task_problem
from hyperx.processes import ALONE, Processes, several
from hyperx.tasks.registry import KINDS, kinds_of

# PyTorch is imported where it is needed: what is wrong with the options is said without waiting for it.
if TYPE_CHECKING:
    from hyperx.data.batch.store import EncodedSplit
    from hyperx.evaluation.scores import Evaluation
    from hyperx.model import HyperX

log = logging.getLogger(__name__)


def evaluate_checkpoint(config: EvaluateConfig, model: HyperX | None = None, *, together: bool = False) -> Evaluation:
    """Score a checkpoint and add the results to those in its folder, or in another one; or score a model.

    Args:
        config: the options.
        model: a model, whose results are only returned; its data is what it was trained with, if it comes from a
            checkpoint.
        together: whether all processes of a launcher call this, and share the pairs.

    Raises:
        ConfigError: all problems with the options.
        CheckpointError: if there is no checkpoint, or it does not fit its encoder.
        DataError: if data of a requested pair is missing or malformed.
    """
    problems, path, weights = list[str](), None, ""
    if model is not None and config.output is not None:
        problems.append("--output: the results of a model are only returned; evaluate the folder of a checkpoint")
    if model is not None and config.add_on:
        problems.append("--add_on: a model in memory reads its own; see its load_add_on")
    data = find_data(config, config.eval_ckpt, problems, model, config.add_on)
    folder = data.checkpoint
    # The results of a ready-made model, or one of the hub, are those of its card.
    own = None if config.add_on or checkpoint.read_only(folder) else folder
    output = config.output or own
    if config.output is not None and (problem := no_folder(config.output)):
        problems.append(f"--output: {problem}")
    elif model is None and folder is not None and output is not None:
        path = output / (checkpoint.RESULTS if config.split == "test" else f"results_{config.split}.json")
        parts = [path for path in (folder / checkpoint.WEIGHTS, *data.add_ons) if path.is_file()]
        weights = " ".join(map(content_hash, parts))
        with suppress(OSError, LookupError, HyperXError):  # such a file is set aside
            path.parent.mkdir(parents=True, exist_ok=True)
            if config.output and path.exists() and read_json(path, dict[str, Any])["checkpoint"] != weights:
                other = f"{path} has results of another checkpoint; name a folder for each checkpoint"
                problems.append(f"--output: {other}")
    if problems:
        raise ConfigError(problems)
    from hyperx.evaluation.scores import add_results
    from hyperx.model import load

    processes = ALONE
    if together and several():
        from accelerate import PartialState

        processes = Processes(PartialState(cpu=config.no_cuda))
    model = load(folder, config, data.add_ons) if model is None else model
    scores = replace(score_data(config, model, data, processes=processes), calibration=config.calibration)
    if path is None or processes.number:
        return scores
    try:
        every = add_results(path, scores, model.tasks, split=config.split, weights=weights)
    except OSError as error:
        log.warning("the results cannot be written into %s: %s; they are only shown", path.parent, error.strerror)
        return scores
    return replace(scores, tables=path.with_suffix(".md"), others=len(every) - len(scores))


class Data(NamedTuple):
    """Where the data to score and that of training is; the pairs that must be scored, as options name them; the folder
    of local data; the checkpoint, which a model in memory may lack, and the files of its add-ons."""

    places: DataPlaces
    trained: DataPlaces
    named: tuple[TaskLanguagePair, ...]
    folder: Path
    checkpoint: Path | None
    add_ons: tuple[Path, ...] = ()


def find_data(
    config: ScoringOptions,
    named: Path | None,
    problems: list[str],
    model: HyperX | None = None,
    add_ons: Sequence[Path] = (),
) -> Data:
    """The data to score, of the checkpoint that is named or of a model in memory; what is wrong with the options is
    added to problems, and raised if there is no checkpoint."""
    problems += [*value_problems(config), *path_problems(flat(config))]
    pairs = parse_pairs(config.test_task_language_pairs, "--test_task_language_pairs", problems, KINDS)
    if config.data_folder is not None and not config.data_folder.is_dir():
        problems.append(f"--data_folder: there is no folder {config.data_folder.resolve()}")
    folder: Path | None
    if model is not None:
        folder, settings = model.folder, model.config
    else:
        option = "--eval_ckpt: " if isinstance(config, EvaluateConfig) else ""
        folder, settings, add_ons = checked_checkpoint(named, config, problems, add_ons, option)
    for pair in pairs:
        if problem := task_problem(settings, pair.task):
            problems.append(f"--test_task_language_pairs: {pair}: {problem}")
    record = DataRecord(data_spec(kinds_of(settings.kinds), DataOptions(), {}))
    # A model in memory, or one of the hub, may have been saved alone.
    alone = model is not None or checkpoint.read_only(folder)
    if folder is not None and (not alone or (folder / checkpoint.DATA).is_file()):
        record = checkpoint.read_json(folder / checkpoint.DATA, DataRecord)
        if not record.own:
            if record.data:
                told = "%s was written elsewhere: of the files that it names none is read; name the data, such as with "
                log.warning(told + "--data_folder", folder / checkpoint.DATA)
            record = record.placeless()
    data = Data(*_find_data(config, record, pairs, settings, problems), folder, tuple(add_ons))
    for pair in pairs:
        if not problems and not data.places.has(pair, config.split):
            problems.append(f"--test_task_language_pairs: {pair} has no {config.split} split")
    return data


def _find_data(
    config: ScoringOptions,
    record: DataRecord,
    pairs: tuple[TaskLanguagePair, ...],
    settings: ModelConfig,
    problems: list[str],
) -> tuple[DataPlaces, DataPlaces, tuple[TaskLanguagePair, ...], Path]:
    """The data that the options name, else what the checkpoint records, else what is there now.

    Data that is not there is a problem if the options name it; other pairs may lack data. The hub is asked only for
    what these options or those of the training run name, or training read.
    """
    tasks, moved, then, trained = kinds_of(settings.kinds), config.data_folder, record.spec, DataPlaces(record.data)
    now = replace(then, table=config.data, treebanks=config.treebanks, folder=moved or then.folder)
    now.check(problems)
    languages = set(map(language_of, now.treebanks))
    table = {name: entry for name, entry in then.table.items() if TaskLanguagePair.parse(name) not in now}
    treebanks = [entry for entry in then.treebanks if language_of(entry) not in languages]
    spec = replace(now, table={**table, **now.table}, treebanks=(*now.treebanks, *treebanks))

    def find(wanted: Iterable[TaskLanguagePair]) -> tuple[DataPlaces, list[str]]:
        """Data of pairs, and why others have none. Files in a folder that this command names come before an entry of
        the training's table that leads elsewhere."""
        wanted, here = list(wanted), in_home(now.folder).resolve()
        places = spec.places(wanted)
        lacking = places.lacking
        if moved is not None:
            local = replace(spec, table=now.table).places(wanted)
            nearer = [pair for pair in local.pairs if local.inside(pair, here) and not places.inside(pair, here)]
            places = places.joined(local.only(nearer))
        return places, list(chain.from_iterable(own for pair, own in lacking.items() if pair not in places))

    every = [TaskLanguagePair(task, language) for task in tasks for language in settings.languages]
    named = pairs or now.named(every)
    stay = [pair for pair in pairs or trained.pairs if pair in trained and not moved and pair not in now]
    named_places, lacking = find(pair for pair in named if pair not in stay and pair.task in tasks)
    problems += lacking
    places = trained.only(stay).joined(named_places)
    for pair in named if moved and not problems else ():
        if pair in trained and not trained.from_hub(pair) and places.from_hub(pair) and pair not in now:
            only = f"there is none of its data in --data_folder {spec.folder}, and training read none of the hub"
            problems.append(f"{pair}: {only}; name the data in a table")
    if not pairs and not problems:
        more, lacking = find(pair for pair in every if pair not in places)
        places = places.joined(more)
        for told in lacking:
            if moved and ": no folder " not in told:  # there are files that cannot be read as the pair's
                log.warning("not scored: %s", told)
        has = [pair for pair in places.pairs if places.has(pair, config.split)]
        untrained = [pair for pair in has if pair.task not in settings.trained_tasks]
        read = {pair.key for pair in record.read}
        known = {pair.key for pair in trained.pairs if trained.from_hub(pair) and (pair.key in read or pair in then)}
        asked = {pair.key for pair in named} | known
        unasked = [p for p in has if p not in untrained and places.from_hub(p) and p.key not in asked]
        for why, left_out in {
            "no training pair had their task": untrained,
            "only the hub has their data": unasked,
        }.items():
            if left_out:
                told = "not scored, as %s: %s. Name them with --test_task_language_pairs to score them"
                log.warning(told, why, listing([*map(str, left_out)], most=20).replace(",", ""))
        if split_lacking := [str(pair) for pair in places.pairs if pair not in has]:
            log.info("not scored, as they have no %s split: %s", config.split, " ".join(split_lacking))
        places = places.only(pair for pair in places.pairs if pair not in (*untrained, *unasked))
    keys = {pair.key for pair in named}
    for key, pair in now.table_pairs.items():
        if key not in keys:
            log.warning("data table: %s is not among the pairs to evaluate; it is not read", pair)
    for entry in now.treebanks:
        if not any((task, language_of(entry)) in keys for task in now.treebank_tasks):
            log.warning("--treebanks: %s is of no pair to evaluate; it is not read", entry)
    return places, trained, named, spec.folder


def score_data(
    config: ScoringOptions, model: HyperX, data: Data, *, keep_answers: bool = False, processes: Processes = ALONE
) -> Evaluation:
    """Score the requested pairs, or else all pairs of the model that have data; log scores that mean something else."""
    from hyperx.evaluation.scores import Evaluation, evaluate_pairs, joined, scoreless, share
    from hyperx.plan.data import UNDEFINED

    split, labelled = config.split, model.config.labelled_pairs
    with processes.one_first():
        splits, repeats, unread = read_splits(config, model, data)
    own = share(splits, processes)
    evaluated = evaluate_pairs(
        model,
        own,
        batch_size=config.per_device_eval_batch_size,
        repeats=repeats,
        places=data.places,
        keep_answers=keep_answers,
    )
    bar = tqdm(evaluated, total=len(own), desc="evaluating", unit="pair", disable=config.silent)
    scores = tuple(
        replace(score, place=data.places.record(score.pair, split), limit=config.max_eval_samples)
        for score in joined(bar, splits, processes)
    )
    for score in scores:
        if score.value is None:
            log.warning(UNDEFINED, score.pair, split)
        elif not score.trained:
            log.warning("%s: its task was not trained: its head is random, and the score is in no average", score.pair)
    # Without training data a score of 0 is a result.
    if told := scoreless([score for score in scores if group_of(score.pair, labelled) == "seen"]):
        log.warning(told)
    return Evaluation(scores, labelled, data.folder, unread=unread)


def read_splits(
    config: ScoringOptions, model: HyperX, data: Data
) -> tuple[dict[TaskLanguagePair, EncodedSplit], dict[TaskLanguagePair, set[int]], tuple[TaskLanguagePair, ...]]:
    """The gold data of what is to be scored, of seen pairs the indices of sentences that training read too, and the
    pairs whose data cannot be read; logs what is unlike what was asked for."""
    from hyperx.plan.data import SplitLoader, label_notes
    from hyperx.prediction.predictor import Predictor

    split, labelled, asked = config.split, model.config.labelled_pairs, bool(config.test_task_language_pairs)
    loader, train_loader = (
        SplitLoader(places, model.tasks, model.checked_tokenizer(), max_length=model.config.max_length)
        for places in (data.places, data.trained)
    )
    for pair in data.named if asked else data.trained.pairs:
        gone = pair not in data.places and data.trained.has(pair, split) and not data.trained.from_hub(pair)
        if gone and (asked or pair.task in model.config.trained_tasks):
            log.warning("%s is skipped: it had data at training time, but none was found now", pair)
    wanted = data.named if asked else [pair for pair in data.places.pairs if data.places.has(pair, split)]
    splits: dict[TaskLanguagePair, EncodedSplit] = {}
    repeats: dict[TaskLanguagePair, set[int]] = {}
    for pair in tqdm(wanted, desc="reading data", unit="pair", disable=config.silent, leave=False):
        task = model.tasks[pair.task]
        try:
            splits[pair] = loader.load(pair, split).first(config.max_eval_samples)
        except DataError as error:
            if pair in data.named:
                raise
            log.warning("%s is skipped, its data cannot be read: %s", pair, error)
            continue
        for note in label_notes(task, pair, split, splits[pair], model.config.labels_of(pair)):
            log.warning(note)
        # Some data sets repeat sentences. The text of auxiliary tasks is kept apart from dev and test data in training.
        seen = split != "train" and group_of(pair, labelled) == "seen" and data.trained.has(pair, "train")
        if seen and not task.auxiliary:
            try:
                repeats[pair] = splits[pair].repeats(train_loader.load(pair, "train"))
            except DataError as error:
                log.warning("%s: repeats of training sentences cannot be told: %s", pair, error)
    if not splits:
        raise DataError(f"no pair of the model has data in the {split} split; name --data_folder")
    for language in dict.fromkeys(pair.language for pair in splits):
        Predictor(model).tell_language(language)
    keys = {pair.key for pair in splits}
    unread = tuple(pair for pair in data.places.pairs if data.places.has(pair, split) and pair.key not in keys)
    return splits, repeats, unread
