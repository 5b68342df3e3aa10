"""The plan of learning a language beside a trained model: a run of training whose model is that of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from hyperx import checkpoint
from hyperx.add_on_file import checked_checkpoint, read_header
from hyperx.config import AdaptConfig, AddOnConfig, DataOptions, ModelConfig, ModelOptions, TrainConfig, TrainingOptions
from hyperx.data.read.hub import LOCAL_ALTERNATIVES
from hyperx.errors import CheckpointError, ConfigError
from hyperx.options import value_problems
from hyperx.pairs import TaskLanguagePair, parse_pairs
from hyperx.plan.options import Plan, output_problems, plan_run, raw_text_of
from hyperx.plan.warm_start import WarmStart
from hyperx.prediction.request import default_tasks, prediction_problems
from hyperx.tasks.registry import KINDS

SAME_OPTION = {
    "--train_task_language_pairs": "--pairs", "--self_train_task_language_pairs": "--pairs", "--output_dir": "--output",
    "--per_device_train_batch_size": "--batch_size", "--self_train_samples": "--text_samples",
    "--self_train_share": "--text_share", "under 'train' in the data table": "as --train",
    "such as ner#en": "such as pos#gsw, or the --language for all tasks", "in the data table, or": "with --train, or",
    LOCAL_ALTERNATIVES: "name labelled sentences with --train, or text with --text",
}  # fmt: skip
"""What options of training are called here, and what they advise."""


@dataclass(frozen=True)
class Adaptation:
    """What is to be learnt, checked: the plan of the run, the checkpoint, and the file to write."""

    config: AdaptConfig
    plan: Plan
    folder: Path
    output: Path
    language: str


def plan_adaptation(config: AdaptConfig) -> Adaptation:
    """The plan, without reading data or loading a model. All problems are one ConfigError, each naming its option."""
    problems = value_problems(config)
    output = config.output if config.output is not None and config.output.name else Path("add-on")
    state = output.with_name(f"{output.name}.run")
    if output != config.output:
        problems.append("--output: name a new file, such as gsw.addon")
    elif output.exists():
        problems.append(f"--output: {output} exists already; name a new file")
    elif (state / checkpoint.OPTIONS).exists() and not config.resume:
        problems.append(f"--output: {state} is left of a run: go on with --resume, or delete it to start anew")
    before = () if config.add_on is None else (config.add_on,)
    folder, settings, add_ons = checked_checkpoint(config.folder, config, problems, before)
    pairs = _pairs(config, settings, problems)
    problems += _model_problems(settings, pairs)
    for file in add_ons:
        config = replace(config, add_on=file)
        with suppress(CheckpointError):  # told with the others
            settings = settings.with_add_on(read_header(file).add_on)
    earlier = settings.add_on_for(pairs[0].language) if pairs else None
    if earlier is not None:
        problems += _earlier_problems(config, earlier, pairs)
        further = {task: labels + earlier.labels.get(task, ()) for task, labels in settings.labels.items()}
        settings = replace(settings, labels=further)
    named = tuple(map(str, pairs))
    # Paths of the table are relative to the data folder.
    files = {name: [str(one.absolute()) for one in getattr(config, name)] for name in ("train", "dev", "text")}
    table = {TaskLanguagePair.parse(name).key: (name, entry) for name, entry in config.data.items() if "#" in name}
    data, names = dict(config.data), dict(SAME_OPTION)
    for pair in pairs:
        name, entry = table.get(pair.key, (str(pair), {}))
        own = {split: files[split] for split in ("train", "dev") if files[split]}
        if own and not isinstance(entry, Mapping):
            problems.append(f"--train, --dev: the data table has {name} already; name its files there")
        elif own:
            data[name] = {**entry, **own}
            names |= {f"data table, {name}, {split}:": f"--{split}:" for split in own}
    if config.text:
        if config.train:
            problems.append("--text stands in place of --train; learn from one, then from the other with --add_on")
        data |= {str(raw_text_of(pair)): {"train": files["text"]} for pair in pairs[:1]}
        names |= {f"data table, {raw_text_of(pair)}, train:": "--text:" for pair in pairs[:1]}
    elif config.rounds > 1:
        problems.append("--rounds is of --text; leave it out")
    if both := {one.resolve() for one in config.train} & {one.resolve() for one in config.dev}:
        problems.append(f"--dev: {min(both)} is among --train, so its scores would say nothing; leave it out")
    for name, entry in data.items():  # what is learnt is read whatever the corpus
        data[name] = (
            {key: one for key, one in entry.items() if key != "corpus"} if isinstance(entry, Mapping) else entry
        )
    tasks = {pair.task: settings.kinds.get(pair.task, pair.task) for pair in pairs}
    run = TrainConfig(
        data=DataOptions(
            tasks=tuple(name if name == kind else f"{name}={kind}" for name, kind in tasks.items()),
            train_task_language_pairs=() if config.text else named,
            eval_task_language_pairs=named if config.text and (config.dev or config.data) else (),
            self_train_task_language_pairs=named if config.text else (),
            self_train_samples=config.text_samples,
            self_train_share=config.text_share,
            data_folder=config.data_folder,
            data=data,
            label_map=config.label_map,
            max_length=settings.max_length,
            max_train_samples=config.max_train_samples,
        ),
        model=ModelOptions(model_name_or_path=config.model_name_or_path or settings.encoder),
        training=TrainingOptions(
            output_dir=state,
            resume=config.resume,
            max_train_steps=config.max_train_steps,
            per_device_train_batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            seed=config.seed,
            no_cuda=config.no_cuda,
            disable_progress_bar=config.disable_progress_bar,
        ),
    )
    problems += _renamed(output_problems(replace(run.training, resume=True)), names)
    try:
        plan = plan_run(run, trains=False, beside=WarmStart(folder, settings))
    except ConfigError as error:
        raise ConfigError(list(dict.fromkeys([*problems, *_renamed(error.problems, names)]))) from None
    if problems:
        raise ConfigError(problems)
    if config.folds and (config.text or plan.eval_pairs):
        raise ConfigError(["--folds is for labelled sentences without dev data; leave it out"])
    return Adaptation(config, plan, folder, output, pairs[0].language)


def _renamed(problems: Iterable[str], names: Mapping[str, str]) -> list[str]:
    """Problems of a run of training, with options as they are called here."""
    told = list(problems)
    for theirs, ours in names.items():
        told = [problem.replace(theirs, ours) for problem in told]
    return told


def _pairs(config: AdaptConfig, settings: ModelConfig, problems: list[str]) -> tuple[TaskLanguagePair, ...]:
    """The pairs to learn, of one language; what is wrong with their options is added to ``problems``."""
    if config.language is not None:
        if config.pairs:
            problems.append("--language stands in place of --pairs; give one of them")
        # Trees and entities lose as often as they gain by what the model itself makes of a text (experiment 26).
        without = ("dep", "ner") if config.text else ()
        tasks = [task for task in default_tasks(settings) if settings.kinds[task] not in without]
        if not tasks:
            problems.append("--language: with --text it means all tasks but trees and entities; name --pairs")
        return tuple(TaskLanguagePair(task, config.language) for task in tasks)
    pairs = parse_pairs(config.pairs, "--pairs", problems, KINDS)
    if len({pair.key[1] for pair in pairs}) > 1:
        problems.append("--pairs: expected one language; adapt to each by itself, into a file of its own")
    return pairs


def _model_problems(settings: ModelConfig, pairs: tuple[TaskLanguagePair, ...]) -> list[str]:
    """What keeps a model from learning pairs beside its weights."""
    problems = []
    adapters = settings.architecture.adapters
    if adapters != "hypernetwork":
        needs = "a language is learnt beside it as a change of what a hypernetwork writes"
        problems.append(f"the checkpoint's adapters are {adapters}; {needs}")
    problems += [f"--pairs: {problem}" for problem in prediction_problems(settings, [pair.task for pair in pairs])]
    untrained = {pair.task for pair in pairs if pair.task in settings.kinds} - settings.trained_tasks
    problems += [f"--pairs: the model's head of {task} was never trained; train it first" for task in untrained]
    return problems


def _earlier_problems(config: AdaptConfig, earlier: AddOnConfig, pairs: tuple[TaskLanguagePair, ...]) -> Iterator[str]:
    """What keeps a run from going on from what was learnt of its language before."""
    place = "the checkpoint" if config.add_on is None else f"--add_on: {config.add_on}"
    if {pair.task for pair in pairs} != set(earlier.tasks):
        learnt = " ".join(earlier.pairs)
        yield f"{place} has learnt {learnt}, and goes on with these alone: name them as --pairs, or learn anew"
    for name in ("rank", "layer_rank"):
        now, then = getattr(config, name), getattr(earlier, name)
        if now not in (None, then):
            yield f"--{name}: {place} has learnt with rank {then}; found {now}. Leave it out"
