"""The plan of a run: what the options say together, checked and told at once, before data is read or a model loaded.

Names and types of options were checked before (:mod:`hyperx.options`); what the encoder or the model must be asked is
checked when these are there (:mod:`hyperx.plan.data`, :mod:`hyperx.plan.model`).
"""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperx import checkpoint, typology
from hyperx.config import DataOptions, TrainConfig, TrainingOptions
from hyperx.data.locate.places import DataPlaces
from hyperx.data.locate.spec import DataRecord, DataSpec, language_of
from hyperx.data.locate.table import recorded_entry
from hyperx.data.read.spans import type_problem
from hyperx.errors import CheckpointError, ConfigError, did_you_mean
from hyperx.files import is_utf8, missing_encoder, no_folder
from hyperx.languages import canonical, is_language, language_problems, suggestion, treebanks_of
from hyperx.options import flat, value_problems
from hyperx.pairs import TaskLanguagePair, group_of, parse_pairs
from hyperx.plan.warm_start import WarmStart
from hyperx.tasks.registry import KINDS, RAW_TEXT, Kind, kinds_of, make_tasks, read_kinds

# Neither PyTorch nor the encoders' library is imported here: what is wrong is said before they are loaded.
if TYPE_CHECKING:
    from hyperx.tasks.base import Task

log = logging.getLogger(__name__)

POLYNOMIAL_END = 1e-7
"""The learning rate at which the polynomial schedule of the Hugging Face library ends."""


@dataclass(frozen=True)
class Plan:
    """A run: its options, and the tasks, languages, pairs and data that follow from them, checked."""

    config: TrainConfig
    kinds: Mapping[str, str]
    """The kind of every task of the model by the task's name."""
    languages: tuple[str, ...]
    """Every language of the model, as the user spells it."""
    train_pairs: tuple[TaskLanguagePair, ...]
    eval_pairs: tuple[TaskLanguagePair, ...] = ()
    """Pairs to evaluate on during training."""
    self_train_pairs: tuple[TaskLanguagePair, ...] = ()
    """Pairs without labels for self-training."""
    data: DataPlaces = field(default_factory=DataPlaces)
    """The data of every pair of the model that has any."""
    texts: DataPlaces = field(default_factory=DataPlaces)
    """The raw text of pairs without labels."""
    record: DataRecord = field(default_factory=lambda: DataRecord(DataSpec(Path("data"), {}, ())))
    """What a checkpoint keeps of the data."""
    start: WarmStart | None = None
    """The checkpoint that the run starts from."""
    beside: bool = False
    """Whether it learns an add-on of that checkpoint: new labels come behind those that are there."""
    add_ons: tuple[Path, ...] = ()
    """Add-ons that the checkpoint reads where it labels text."""

    @cached_property
    def tasks(self) -> Mapping[str, Task]:
        """Every task of the model by name."""
        return make_tasks(self.kinds)

    @property
    def trained_pairs(self) -> tuple[TaskLanguagePair, ...]:
        """The pairs to train on, those without labels of their own last."""
        return (*self.train_pairs, *self.self_train_pairs)

    @property
    def corpora(self) -> dict[str, str]:
        """The corpora of training pairs that have a named one; only a hypernetwork learns them apart."""
        named = {str(pair): self.data.corpus(pair) for pair in self.train_pairs}
        generated = self.config.architecture.adapters == "hypernetwork"
        return {pair: name for pair, name in named.items() if name is not None and generated}

    @property
    def trained_tasks(self) -> set[str]:
        """The tasks whose heads are trained by this run, or were before."""
        earlier = set() if self.start is None else self.start.config.trained_tasks
        return {pair.task for pair in self.trained_pairs} | earlier


def raw_text_of(pair: TaskLanguagePair) -> TaskLanguagePair:
    """The pair under which the raw text of a pair's language is found."""
    return TaskLanguagePair(RAW_TEXT, pair.language)


def data_spec(tasks: Mapping[str, Kind], options: DataOptions, label_map: Mapping[str, str]) -> DataSpec:
    """What options say of the data of some tasks."""
    columns = {name: kind.column for name, kind in {**KINDS, **tasks}.items()}
    return DataSpec(options.data_folder, columns, tuple(tasks), options.data, label_map, options.treebanks)


def plan_run(config: TrainConfig, *, trains: bool = True, beside: WarmStart | None = None) -> Plan:
    """The plan of a run, which may write into an output folder, without reading data or loading a model; of one that
    learns beside a checkpoint, if that is given. All problems are one ConfigError, each naming its option."""
    problems, data = list[str](), config.data
    if trains:
        problems += output_problems(config.training)
    start = beside or _read_start(config, problems)
    problems += _value_problems(config)
    if data.data_folder != DataOptions().data_folder and not data.data_folder.is_dir():
        problems.append(f"--data_folder: there is no folder {data.data_folder.resolve()}")
    train, evaluate, alone = (
        parse_pairs(getattr(data, name), f"--{name}", problems, KINDS)
        for name in ("train_task_language_pairs", "eval_task_language_pairs", "self_train_task_language_pairs")
    )
    if not data.train_task_language_pairs and not (beside and alone):
        again = "; with --resume name all options that the run began with" * config.training.resume
        problems.append(f"--train_task_language_pairs: name at least one pair, such as ner#en{again}")
    named = tuple(dict.fromkeys((*train, *alone, *evaluate)))
    kinds = read_kinds(data.tasks, [pair.task for pair in named], problems)
    tasks = kinds_of(kinds)
    # All pairs of a language use its first spelling.
    spelt: dict[str, str] = {}
    for pair in named:
        spelt.setdefault(canonical(pair.language), pair.language)
    languages = data.languages or tuple(spelt.values())
    spec = data_spec(tasks, data, _read_label_map(data.label_map, problems))
    spec.check(problems)
    own = [pair for pair in dict.fromkeys((*train, *evaluate)) if pair.task in tasks]
    keys = {pair.key for pair in own}
    others = [TaskLanguagePair(task, language) for task in tasks for language in languages]
    places = spec.places([*own, *(pair for pair in others if pair.key not in keys)])
    texts = spec.places(map(raw_text_of, alone))
    with_dev = tuple(pair for pair in evaluate or train if places.has(pair, "dev"))
    record = spec.record(places, dict.fromkeys((*train, *evaluate)))
    plan = Plan(config, kinds, languages, train, with_dev, alone, places, texts, record, start, beside is not None)

    if start is not None and not beside and config.architecture.adapters == "hypernetwork":
        trained = {pair.key for pair in plan.trained_pairs}
        problems += start.corpora_problems(start.corpora(plan.corpora, trained, kinds, languages))
    # Pairs that no option names may lack data; what names no language is told by itself.
    required = {(task, language) for task, language in (*keys, *spec.table_pairs) if is_language(language)}
    lacking = [reason for pair, reasons in places.lacking.items() if pair.key in required for reason in reasons]
    problems += [*_name_problems(plan, named), *_self_training_problems(plan), *lacking, *_split_problems(plan)]
    problems = list(dict.fromkeys(problems)) or _best_problems(plan)
    if problems:
        raise ConfigError(problems)
    folder = config.training.output_dir
    if trains and config.training.resume and folder is not None and not folder.exists():
        log.warning("--resume: there is no folder %s; this is a new run, from the beginning", folder)
    for pair in (evaluate or train) if beside is None else ():
        if pair not in with_dev:
            log.warning("%s has no dev split: it is not evaluated while training", pair)
    _warn_unused(plan)
    return plan


def output_problems(options: TrainingOptions) -> Iterator[str]:
    """The output folder must be new or empty, unless resumed or overwritten on purpose."""
    folder = options.output_dir
    if folder is None:
        yield "--output_dir: name a folder for the checkpoints"
        return
    if problem := no_folder(folder):
        yield f"--output_dir: {problem}"
    elif options.resume or options.overwrite_output_dir or not folder.exists():
        return
    elif any(path.name != checkpoint.LOCK for path in folder.iterdir()):
        yield f"--output_dir: {folder} is not empty. Go on with --resume, start anew with --overwrite_output_dir"


def _read_start(config: TrainConfig, problems: list[str]) -> WarmStart | None:
    """The checkpoint to start from, if any."""
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


def path_problems(options: Mapping[str, Any]) -> Iterator[str]:
    """All paths must be UTF-8, which is all that the JSON files of a checkpoint can hold."""
    for name, value in [*((f"--{name}", value) for name, value in options.items()), ("working folder", Path.cwd())]:
        if name == "--data":  # of rows in memory there is a hash
            value = {key: recorded_entry(entry) for key, entry in value.items()}
        if not is_utf8(value):
            yield f"{name}: expected a path in UTF-8; found {str(value)!a}. Rename it"


def _value_problems(config: TrainConfig) -> Iterator[str]:
    """Options that do not go together, or ask for what is not there."""
    training, shape, adapters = config.training, config.hypernetwork, config.architecture.adapters
    yield from value_problems(config)
    yield from path_problems(flat(config))
    if training.lr_scheduler_type == "polynomial" and 0 < training.learning_rate <= POLYNOMIAL_END:
        found = f"expected more, found {training.learning_rate}"
        yield f"--learning_rate: the polynomial schedule ends at {POLYNOMIAL_END}; {found}"
    for name in ("freeze_params_regex", "unfreeze_params_regex"):
        try:
            re.compile(getattr(config.model, name) or "")
        except re.error as error:
            yield f"--{name}: {getattr(config.model, name)!r} is not a regular expression: {error}"
    if training.resume and training.overwrite_output_dir:
        yield "--resume goes on with what --overwrite_output_dir deletes; give one of them"
    if missing := missing_encoder(config.model.model_name_or_path):
        yield f"--model_name_or_path: {missing}"
    if training.report_to != "none" and importlib.util.find_spec(training.report_to) is None:
        yield f"--report_to: {training.report_to} is not installed; pip install {training.report_to}"
    if config.hypernetwork.relatives and typology.data_folder() is None:
        yield typology.MISSING
    if training.evaluation_strategy == "no":
        needs = "needs evaluations; --evaluation_strategy no has none"
        if training.early_stopping_patience is not None:
            yield f"--early_stopping_patience {needs}"
        if training.best_by != "all":
            yield f"--best_by {needs}"
    if shape.language_dropout > 0 and not shape.mean_for_untrained and adapters == "hypernetwork":
        yield "--language_dropout has no effect with --no_mean_for_untrained; leave out one of them"
    if shape.conditional_layer_norm and adapters != "hypernetwork":
        nothing = f"with --adapters {adapters} nothing generates norms; leave one of them out"
        yield f"--conditional_layer_norm: {nothing}"
    elif shape.conditional_layer_norm and not (
        shape.add_layer_norm_before_adapter or shape.add_layer_norm_after_adapter
    ):
        norms = "--add_layer_norm_after_adapter or --add_layer_norm_before_adapter"
        yield f"--conditional_layer_norm has no norm to generate; add {norms}"


def _name_problems(plan: Plan, pairs: Iterable[TaskLanguagePair]) -> Iterator[str]:
    """Languages that are unknown or named twice, and pairs whose task or language is not among the declared ones."""
    declared, tasks, languages = plan.config.data, list(plan.kinds), plan.languages
    place = "--languages" if declared.languages else "pairs"
    yield from (f"{place}: {problem}" for problem in language_problems(languages))
    known = set(map(canonical, languages))
    for pair in pairs:
        if declared.tasks and pair.task not in tasks:
            yield f"{pair}: its task is not among --tasks {' '.join(tasks)}.{did_you_mean(pair.task, tasks)}"
        if declared.languages and canonical(pair.language) not in known:
            hint = suggestion(pair.language, languages)
            yield f"{pair}: its language is not among --languages {' '.join(languages)}.{hint}"


def _self_training_problems(plan: Plan) -> Iterator[str]:
    """What keeps pairs from being trained on labels predicted by the checkpoint that the run starts from."""
    option, start, gold = "--self_train_task_language_pairs", plan.start, {pair.key for pair in plan.train_pairs}
    if plan.self_train_pairs and plan.config.model.load_from_ckpt is None and not plan.beside:
        yield f"{option}: name the checkpoint that labels their text with --load_from_ckpt"
    for pair in plan.self_train_pairs:
        if pair.key in gold:
            yield f"{option}: {pair} is trained on its own labels already; name it in one place"
        elif pair.task in plan.kinds and KINDS[plan.kinds[pair.task]].auxiliary:
            advice = "train on the text itself as a training pair"
            yield f"{option}: {pair}: {pair.task} has no labels to give; {advice}"
        elif start is not None and pair.task not in start.config.kinds:
            has = ", ".join(start.config.kinds)
            yield f"{option}: {pair}: {start.folder} has no such task; it has {has}"
        elif start is not None and pair.task not in start.config.trained_tasks:
            has = ", ".join(sorted(start.config.trained_tasks)) or "none"
            never = f"never trained its head of {pair.task}; it has trained {has}"
            yield f"{option}: {pair}: {start.folder} {never}"
    for text in dict.fromkeys(map(raw_text_of, plan.self_train_pairs)):
        yield from plan.texts.lacking.get(text, ())
        if text in plan.texts and not plan.texts.has(text, "train"):
            yield f"{option}: {text} has no train split; name raw text under 'train'"


def _split_problems(plan: Plan) -> Iterator[str]:
    """Training pairs that have data, but none to train on."""
    for pair in plan.train_pairs:
        if pair in plan.data and not plan.data.has(pair, "train"):
            other = [treebank.name for treebank in treebanks_of(pair.language) if "train" in treebank.splits]
            advice = "name a file for it under 'train' in the data table (its dev file may serve, its test file never)"
            if other and pair.task in plan.record.spec.treebank_tasks:
                choice = f"--treebanks {pair.language}={other[0]}"
                advice = f"choose a treebank that has one, such as {choice}, or {advice}"
            yield f"--train_task_language_pairs: {pair} has no train split; {advice}"


def _read_label_map(entries: Sequence[str], problems: list[str]) -> dict[str, str]:
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


def _best_problems(plan: Plan) -> list[str]:
    """An evaluation pair must enter the average that chooses the best checkpoint. If only auxiliary tasks are
    evaluated, and no option asks for a choice, the last checkpoint is used instead."""
    options = plan.config.training
    trained = (
        *plan.train_pairs,
        *(() if plan.start is None else replace(plan.start.config, add_ons=()).labelled_pairs),
    )
    auxiliary = {name for name, kind in kinds_of(plan.kinds).items() if kind.auxiliary}
    averaged = [pair for pair in plan.eval_pairs if pair.task in plan.trained_tasks - auxiliary]
    for pair in plan.eval_pairs:
        if pair.task not in plan.trained_tasks:
            log.warning("%s: the head of %s is not trained; its dev scores enter no average", pair, pair.task)
    if options.evaluation_strategy == "no":
        return []
    if options.best_by != "all" and options.best_by not in {group_of(pair, trained) for pair in averaged}:
        advice = f"add one to --eval_task_language_pairs ({', '.join(map(str, averaged)) or 'none'})"
        return [f"--best_by: no evaluation pair is of the group {options.best_by}; {advice}"]
    alone = ", ".join(map(str, plan.eval_pairs or trained))
    if not averaged and options.early_stopping_patience is not None:
        advice = "add a pair of another task that is evaluated to --eval_task_language_pairs"
        return [f"--early_stopping_patience: {alone} have no score to stop by; {advice}"]
    if not averaged and plan.eval_pairs:
        log.warning("%s have no score to choose a checkpoint by: the last one is the result", alone)
    return []


def _warn_unused(plan: Plan) -> None:
    """Warn of what belongs to no pair of the run: one table may serve several runs, or it is a mistake."""
    data, spec = plan.config.data, plan.record.spec
    pairs = [TaskLanguagePair(task, language) for task in plan.kinds for language in plan.languages]
    known = {pair.key for pair in (*pairs, *plan.texts.pairs)}
    for key, pair in spec.table_pairs.items():
        if key not in known:
            log.warning("data table: %s is no pair of this run's tasks and languages; it is not read", pair)
    named = {pair: name for pair in plan.data.pairs if (name := plan.data.corpus(pair)) is not None}
    learnt = {*plan.corpora.values(), *(() if plan.start is None else plan.start.config.corpus_names)}
    if named and plan.config.architecture.adapters != "hypernetwork":
        log.warning("data table: corpus has no effect: only a hypernetwork learns corpora apart")
        named = {}
    for pair, name in named.items():
        if name not in learnt:
            told = "data table: %s: no training pair has the corpus %r, so its style cannot be followed.%s"
            log.warning(told, pair, name, did_you_mean(name, learnt))
    for entry in data.treebanks:
        if language_of(entry) not in map(canonical, plan.languages):
            log.warning("--treebanks: %s is of no language of this run; it is not read", entry)
    own = ", ".join(spec.tasks)
    if data.treebanks and not spec.treebank_tasks:
        log.warning("--treebanks: no task of this run (%s) reads treebanks; they are not read", own)
    for name in ("label_map", "entity_types"):
        readers = [kind for kind, facts in KINDS.items() if name in facts.options]
        if getattr(data, name) and not {KINDS[kind].column for kind in readers} & {spec.columns[t] for t in spec.tasks}:
            log.warning("--%s has no effect: no task of this run (%s) is %s", name, own, " or ".join(readers))
