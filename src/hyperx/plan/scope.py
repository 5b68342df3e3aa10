"""The scope of a run: all problems with its options are found together, before data is read or a model is loaded."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hyperx import checkpoint
from hyperx.config import DataOptions, TrainConfig, TrainingOptions
from hyperx.data.locate.sources import DataSources
from hyperx.data.locate.treebanks import UD_COLUMNS
from hyperx.data.read.spans import type_problem
from hyperx.errors import CheckpointError, ConfigError, HyperXError, did_you_mean
from hyperx.files import is_utf8, missing_encoder
from hyperx.languages import canonical, language_problems, suggestion, treebanks_of
from hyperx.options import flat, value_problems
from hyperx.pairs import TaskLanguagePair, group_of
from hyperx.plan.pair_data import find_sources, kept_data, named_twice, raw_text_of, treebank_tasks, with_all_pairs
from hyperx.plan.warm_start import WarmStart
from hyperx.tasks.registry import KINDS, RAW_TEXT, Kind, kinds_of, read_kinds

# Neither PyTorch nor the encoders' library is imported here: what is wrong is said before they are loaded.
if TYPE_CHECKING:
    from hyperx.tasks.base import Task

log = logging.getLogger(__name__)
T = TypeVar("T")

POLYNOMIAL_END = 1e-7
"""The learning rate at which the polynomial schedule of the Hugging Face library ends."""


@dataclass(frozen=True)
class Scope:
    """The tasks, languages and pairs of a run, checked.

    Args:
        kinds: the kind of every task of the model by the task's name.
        languages: every language of the model, as the user spells it.
        train_pairs: pairs to train on.
        eval_pairs: pairs to evaluate on during training.
        self_train_pairs: pairs without labels for self-training.
        sources: where the data of the pairs is.
        texts: where the raw text of pairs without labels is.
        kept: what a checkpoint records of it: the sources, the folder of local data and the explicit table.
    """

    kinds: Mapping[str, str]
    languages: tuple[str, ...]
    train_pairs: tuple[TaskLanguagePair, ...]
    eval_pairs: tuple[TaskLanguagePair, ...]
    self_train_pairs: tuple[TaskLanguagePair, ...]
    sources: DataSources
    texts: DataSources
    kept: Mapping[str, Any]

    @cached_property
    def tasks(self) -> Mapping[str, Task]:
        """Every task of the model by name."""
        from hyperx.tasks.registry import make_tasks

        return make_tasks(self.kinds)


def check_run(config: TrainConfig) -> tuple[Scope, WarmStart | None]:
    """Check all options of a training run, and read which checkpoint it starts from, if any.

    Raises:
        ConfigError: all problems together, each naming its option.
    """
    problems = output_dir_problems(config.training)
    start = read_start(config, problems)
    return check_options(config, problems, start), start


def output_dir_problems(options: TrainingOptions) -> list[str]:
    """What is wrong with the output folder: it must be new or empty, unless resumed or overwritten on purpose."""
    output_dir = options.output_dir
    if output_dir is None:
        return ["--output_dir: name a folder for the checkpoints"]
    if problem := _unwritable(output_dir):
        return [f"--output_dir: {problem}; name another folder"]
    if options.resume or options.overwrite_output_dir or not output_dir.exists():
        return []
    if all(path.name == checkpoint.LOCK for path in output_dir.iterdir()):
        return []
    return [f"--output_dir: {output_dir} is not empty. Go on with --resume, start anew with --overwrite_output_dir"]


def _unwritable(folder: Path) -> str | None:
    """Why nothing can be written to a folder, which need not exist yet; None if it can."""
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        return f"{nearest} is a file"
    return None if os.access(nearest, os.W_OK) else f"{nearest} may not be written"


def check_options(config: TrainConfig, found: Iterable[str] = (), start: WarmStart | None = None) -> Scope:
    """Check all options of a run without reading data or loading a model.

    Args:
        config: the options.
        found: problems found before, which are reported with the others.
        start: the checkpoint that the run starts from.

    Raises:
        ConfigError: all problems together, each naming its option.
    """
    problems = [*found, *value_problems(config), *number_problems(config), *contradictions(config)]
    problems += path_problems(flat(config))
    data = config.data
    train = parse_pairs(data.train_task_language_pairs, "--train_task_language_pairs", problems)
    evaluate = parse_pairs(data.eval_task_language_pairs, "--eval_task_language_pairs", problems)
    if data.data_folder != DataOptions().data_folder and not data.data_folder.is_dir():
        problems.append(f"--data_folder: there is no folder {data.data_folder.resolve()}")
    if not data.train_task_language_pairs:
        problems.append("--train_task_language_pairs: name at least one pair, such as ner#en")
    alone = parse_pairs(data.self_train_task_language_pairs, "--self_train_task_language_pairs", problems)
    named = _unique([*train, *alone, *evaluate])
    kinds = read_kinds(data.tasks, [pair.task for pair in named], problems)
    tasks = kinds_of(kinds)
    # All pairs of a language use its first spelling.
    spelt: dict[str, str] = {}
    for pair in named:
        spelt.setdefault(canonical(pair.language), pair.language)
    languages = data.languages or tuple(spelt.values())
    problems += _name_problems(tuple(tasks), languages, named, declared=data)
    problems += named_twice(data.data, data.treebanks, tasks)
    problems += _self_training_problems(config, tasks, train, alone, start)
    label_map = _label_map(data.label_map, problems)
    sources = find_sources(
        _unique([*train, *evaluate]), tasks, data.data_folder, data.data, label_map, data.treebanks, problems
    )
    for pair in train if sources is not None else ():
        assert sources is not None
        if pair.task in tasks and not sources.has(pair, "train"):
            advice = _other_treebank(pair, tasks[pair.task].column)
            problems.append(
                f"--train_task_language_pairs: {pair} has no train split; {advice}name a file for it "
                "under 'train' in the data table (its dev file may serve, its test file never)"
            )
    texts = DataSources(()) if sources is None else find_texts(alone, tasks, data, problems)
    if sources is not None:
        everything = with_all_pairs(sources, tasks, languages, data, label_map, problems)
    if problems or sources is None:
        raise ConfigError(list(dict.fromkeys(problems)))
    evaluate = _eval_pairs(train, evaluate, sources)
    trained = train if start is None else (*train, *start.config.labelled_pairs)
    heads = {pair.task for pair in (*train, *alone)} | (set() if start is None else start.config.trained_tasks)
    averaged = [pair for pair in evaluate if pair.task in heads and not tasks[pair.task].auxiliary]
    for pair in evaluate:
        if pair.task not in heads:
            log.warning("%s: the head of %s is not trained; its dev scores enter no average", pair, pair.task)
    _check_best_by(config, trained, averaged, evaluate)
    _warn_unused(data, tasks, [pair.task for pair in texts.pairs], languages)
    kept = kept_data(everything, data, label_map, _unique([*train, *evaluate]))
    return Scope(kinds, tuple(languages), train, evaluate, alone, everything, texts, kept)


def read_start(config: TrainConfig, problems: list[str]) -> WarmStart | None:
    """The checkpoint to start from, if any; what keeps this run from using it is added to ``problems``."""
    if config.model.load_from_ckpt is None:
        return None
    try:
        start = WarmStart.read(config.model.load_from_ckpt)
    except CheckpointError as error:
        problems.append(f"--load_from_ckpt: {error}")
        return None
    output_dir = config.training.output_dir
    inside = output_dir is not None and output_dir.resolve() in start.folder.resolve().parents
    if inside and config.training.overwrite_output_dir:
        problems.append(f"--load_from_ckpt: --overwrite_output_dir deletes {start.folder}; name another --output_dir")
    problems += start.problems(config)
    return start


def find_texts(
    pairs: Sequence[TaskLanguagePair], tasks: Mapping[str, Kind], data: DataOptions, problems: list[str]
) -> DataSources:
    """Where the raw text of some pairs is; what keeps it from being found is added to ``problems``."""
    names = _unique(map(raw_text_of, pairs))
    # The table has entries of the other tasks too.
    known = {**tasks, **{name.task: KINDS[RAW_TEXT] for name in names}}
    texts = find_sources(names, known, data.data_folder, data.data, {}, (), problems) or DataSources(())
    problems += [
        f"--self_train_task_language_pairs: {name} has no train split; name raw text under 'train'"
        for name in texts.pairs
        if not texts.has(name, "train")
    ]
    return texts


def _self_training_problems(
    config: TrainConfig,
    tasks: Mapping[str, Kind],
    train: Sequence[TaskLanguagePair],
    alone: Sequence[TaskLanguagePair],
    start: WarmStart | None,
) -> Iterator[str]:
    """What keeps pairs from being trained on labels predicted by the checkpoint that the run starts from."""
    option = "--self_train_task_language_pairs"
    if alone and config.model.load_from_ckpt is None:
        yield f"{option}: name the checkpoint that labels their text with --load_from_ckpt"
    known, gold = {} if start is None else start.config.kinds, {pair.key for pair in train}
    for pair in alone:
        if pair.key in gold:
            yield f"{option}: {pair} is trained on its own labels already; name it in one place"
        elif pair.task in tasks and tasks[pair.task].auxiliary:
            yield f"{option}: {pair}: {pair.task} has no labels to give; train on the text itself as a training pair"
        elif start is not None and pair.task not in known:
            yield f"{option}: {pair}: {start.folder} has no such task; it has {', '.join(known)}"
        elif start is not None and pair.task not in start.config.trained_tasks:
            trained = ", ".join(sorted(start.config.trained_tasks)) or "none"
            yield f"{option}: {pair}: {start.folder} never trained its head of {pair.task}; it has trained {trained}"


def number_problems(config: TrainConfig) -> list[str]:
    """Numbers that do not fit each other."""
    training, problems = config.training, []
    if training.lr_scheduler_type == "polynomial" and 0 < training.learning_rate <= POLYNOMIAL_END:
        problems.append(
            f"--learning_rate: the polynomial schedule ends at {POLYNOMIAL_END}; expected more, found "
            f"{training.learning_rate}"
        )
    return problems


def path_problems(options: Mapping[str, Any]) -> list[str]:
    """Paths that are not UTF-8, which the JSON files of a checkpoint cannot hold."""
    return [
        f"{name}: expected a path in UTF-8; found {str(value)!a}. Rename it"
        for name, value in {
            **{f"--{name}": value for name, value in options.items()},
            "working folder": Path.cwd(),
        }.items()
        if not is_utf8(value)
    ]


def contradictions(config: TrainConfig) -> list[str]:
    """Options that contradict each other, or ask for what is not there."""
    training, shape, adapters = config.training, config.hypernetwork, config.architecture.adapters
    problems = []
    for name in ("freeze_params_regex", "unfreeze_params_regex"):
        try:
            re.compile(getattr(config.model, name) or "")
        except re.error as error:
            problems.append(f"--{name}: {getattr(config.model, name)!r} is not a regular expression: {error}")
    if training.resume and training.overwrite_output_dir:
        problems.append("--resume goes on with what --overwrite_output_dir deletes; give one of them")
    if missing := missing_encoder(config.model.model_name_or_path):
        problems.append(f"--model_name_or_path: {missing}")
    if training.report_to != "none" and importlib.util.find_spec(training.report_to) is None:
        problems.append(f"--report_to: {training.report_to} is not installed; pip install {training.report_to}")
    if training.early_stopping_patience is not None and training.evaluation_strategy == "no":
        problems.append("--early_stopping_patience needs evaluations; --evaluation_strategy no has none")
    if training.best_by != "all" and training.evaluation_strategy == "no":
        problems.append("--best_by needs evaluations; --evaluation_strategy no has none")
    if shape.language_dropout > 0 and not shape.mean_for_untrained and adapters == "hypernetwork":
        problems.append("--language_dropout has no effect with --no_mean_for_untrained; leave out one of them")
    if shape.conditional_layer_norm and adapters != "hypernetwork":
        problems.append(
            f"--conditional_layer_norm: with --adapters {adapters} nothing generates norms; leave one of them out"
        )
    elif shape.conditional_layer_norm and not shape.has_norms:
        problems.append(
            "--conditional_layer_norm has no norm to generate; add --add_layer_norm_after_adapter or "
            "--add_layer_norm_before_adapter"
        )
    return problems


def parse_pairs(names: Sequence[str], option: str, problems: list[str]) -> tuple[TaskLanguagePair, ...]:
    """Parse pairs; two spellings of one pair are a problem."""
    pairs: dict[tuple[str, str], TaskLanguagePair] = {}
    for name in names:
        try:
            pair = TaskLanguagePair.parse(name)
        except HyperXError as error:
            problems.append(f"{option}: {error}")
            continue
        if pair.key in pairs:
            problems.append(f"{option}: {pair} is the same pair as {pairs[pair.key]}; name it once")
        pairs.setdefault(pair.key, pair)
    return tuple(pairs.values())


def _name_problems(
    tasks: Sequence[str], languages: Sequence[str], pairs: Iterable[TaskLanguagePair], *, declared: DataOptions
) -> list[str]:
    """Languages that are unknown or named twice, and pairs whose task or language is not among the declared ones."""
    place = "--languages" if declared.languages else "pairs"
    problems = [f"{place}: {problem}" for problem in language_problems(languages)]
    known = set(map(canonical, languages))
    for pair in _unique(pairs):
        if declared.tasks and pair.task not in tasks:
            problems.append(f"{pair}: its task is not among --tasks {' '.join(tasks)}.{did_you_mean(pair.task, tasks)}")
        if declared.languages and canonical(pair.language) not in known:
            hint = suggestion(pair.language, languages)
            problems.append(f"{pair}: its language is not among --languages {' '.join(languages)}.{hint}")
    return problems


def _label_map(entries: Sequence[str], problems: list[str]) -> dict[str, str]:
    mapped: dict[str, str] = {}
    for entry in entries:
        kind, separator, target = entry.partition("=")
        if not (kind and separator and target):
            problems.append(f"--label_map: expected TYPE=TYPE or TYPE=O, such as DATE=O; found {entry!r}")
        elif problem := type_problem([kind, target]):
            problems.append(f"--label_map: {problem}")
        elif mapped.get(kind, target) != target:
            problems.append(f"--label_map: {kind} is mapped to both {mapped[kind]} and {target}; keep one of them")
        mapped[kind] = target
    return mapped


def _other_treebank(pair: TaskLanguagePair, column: str) -> str:
    """Advice for a pair whose treebank has no train split, if another one of the language has."""
    trained = [treebank.name for treebank in treebanks_of(pair.language) if "train" in treebank.splits]
    if column not in UD_COLUMNS or not trained:
        return ""
    return f"choose a treebank that has one, such as --treebanks {pair.language}={trained[0]}, or "


def _eval_pairs(
    train: tuple[TaskLanguagePair, ...], evaluate: tuple[TaskLanguagePair, ...], sources: DataSources
) -> tuple[TaskLanguagePair, ...]:
    """The pairs to evaluate on, by default the training pairs; those without a dev split are left out and logged."""
    with_dev = tuple(pair for pair in evaluate or train if sources.has(pair, "dev"))
    for pair in evaluate or train:
        if pair not in with_dev:
            log.warning("%s has no dev split: it is not evaluated while training", pair)
    return with_dev


def _check_best_by(
    config: TrainConfig,
    trained: Sequence[TaskLanguagePair],
    averaged: Sequence[TaskLanguagePair],
    evaluate: Sequence[TaskLanguagePair],
) -> None:
    """Check that an evaluation pair enters the average that chooses the best checkpoint.

    Raises:
        ConfigError: if there is none. If only auxiliary tasks are evaluated, and no option asks for a choice, the last
            checkpoint is used instead.
    """
    group, patience = config.training.best_by, config.training.early_stopping_patience
    if config.training.evaluation_strategy == "no":
        return
    pairs = ", ".join(map(str, averaged)) or "none"
    if group != "all" and group not in {group_of(pair, trained) for pair in averaged}:
        raise ConfigError(
            [f"--best_by: no evaluation pair is of the group {group}; add one to --eval_task_language_pairs ({pairs})"]
        )
    if not averaged and (evaluate or patience is not None):
        alone = ", ".join(map(str, evaluate or trained))
        if patience is not None:
            raise ConfigError(
                [
                    f"--early_stopping_patience: {alone} have no score to stop by; add a pair of another task that is "
                    "evaluated to --eval_task_language_pairs"
                ]
            )
        log.warning("%s have no score to choose a checkpoint by: the last one is the result", alone)


def _warn_unused(data: DataOptions, tasks: Mapping[str, Kind], texts: Sequence[str], languages: Sequence[str]) -> None:
    """Warn of entries that belong to no pair of the run: one table may serve several runs, or it is a mistake."""
    known = {TaskLanguagePair(task, language).key for task in (*tasks, *texts) for language in languages}
    for name in data.data:
        if TaskLanguagePair.parse(name).key not in known:
            log.warning("data table: %s is no pair of this run's tasks and languages; it is not read", name)
    for entry in data.treebanks:
        if canonical(entry.partition("=")[0]) not in map(canonical, languages):
            log.warning("--treebanks: %s is of no language of this run; it is not read", entry)
    if data.treebanks and not treebank_tasks(tasks):
        log.warning("--treebanks: no task of this run (%s) reads treebanks; they are not read", ", ".join(tasks))
    if not any(task.column == "ner" for task in tasks.values()):
        for name in ("label_map", "entity_types"):
            if getattr(data, name):
                log.warning("--%s has no effect: no task of this run (%s) is ner", name, ", ".join(tasks))


def _unique(items: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(items))
