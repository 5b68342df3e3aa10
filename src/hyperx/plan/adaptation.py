"""The plan of learning a language beside a trained model: a run of training whose model is that of a checkpoint."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from hyperx import checkpoint
from hyperx.add_on_file import AddOnHeader, add_on_problems, read_header
from hyperx.config import AdaptConfig, DataOptions, ModelConfig, ModelOptions, TrainConfig, TrainingOptions
from hyperx.errors import CheckpointError, ConfigError
from hyperx.files import in_home, missing_encoder
from hyperx.languages import canonical
from hyperx.options import value_problems
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.options import Plan, parse_pairs, plan_run, raw_text_of
from hyperx.plan.warm_start import WarmStart
from hyperx.prediction.request import predictable, prediction_problems

SAME_OPTION = {
    "--train_task_language_pairs": "--pairs", "--self_train_task_language_pairs": "--pairs", "--output_dir": "--output",
}  # fmt: skip
"""What options of training are called here."""


@dataclass(frozen=True)
class Adaptation:
    """What is to be learnt, checked: the plan of the run, and what was learnt before."""

    config: AdaptConfig
    plan: Plan
    folder: Path
    """The checkpoint."""
    output: Path
    language: str
    earlier: AddOnHeader | None


def plan_adaptation(config: AdaptConfig) -> Adaptation:
    """The plan, without reading data or loading a model. All problems are one ConfigError, each naming its option."""
    problems = value_problems(config)
    output = config.output or Path("add-on")
    if config.output is None:
        problems.append("--output: name a new file, such as gsw.addon")
    elif output.exists():
        problems.append(f"--output: {output} exists already; name a new file")
    try:
        folder = checkpoint.resolve(config.folder)
        settings = checkpoint.read_config(folder)
    except CheckpointError as error:
        raise ConfigError([*problems, str(error)]) from None
    pairs = _pairs(config, settings, problems)
    problems += _model_problems(config, settings, pairs)
    earlier = None
    if config.add_on is not None:
        with suppress(CheckpointError):  # told with the others
            earlier = read_header(config.add_on)
            problems += _earlier_problems(config.add_on, earlier, pairs)
        problems += add_on_problems([str(config.add_on)], folder)
    named = tuple(map(str, pairs))
    # Paths of the table are relative to the data folder.
    files = {name: [str(in_home(one).absolute()) for one in getattr(config, name)] for name in ("train", "dev", "text")}
    given = {name: files[name] for name in ("train", "dev") if files[name]}
    table = {**config.data, **(dict.fromkeys(named, given) if given else {})}
    if config.text:
        if config.train:
            problems.append("--text stands in place of --train; learn from one, then from the other with --add_on")
        table |= {str(raw_text_of(pair)): {"train": files["text"]} for pair in pairs[:1]}
    elif config.rounds > 1:
        problems.append("--rounds is of --text; leave it out")
    tasks = {pair.task: settings.kinds.get(pair.task, pair.task) for pair in pairs}
    run = TrainConfig(
        data=DataOptions(
            tasks=tuple(name if name == kind else f"{name}={kind}" for name, kind in tasks.items()),
            train_task_language_pairs=() if config.text else named,
            eval_task_language_pairs=named if config.text and config.dev else (),
            self_train_task_language_pairs=named if config.text else (),
            self_train_samples=config.text_samples,
            self_train_share=config.text_share,
            data_folder=config.data_folder,
            data=table,
            label_map=config.label_map,
            max_length=settings.max_length,
            max_train_samples=config.max_train_samples,
        ),
        model=ModelOptions(model_name_or_path=config.model_name_or_path or settings.encoder),
        training=TrainingOptions(
            output_dir=output.with_name(f"{output.name}.run"),
            resume=config.resume,
            max_train_steps=config.max_train_steps,
            per_device_train_batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            seed=config.seed,
            no_cuda=config.no_cuda,
            disable_progress_bar=config.disable_progress_bar,
        ),
    )
    try:
        plan = plan_run(run, beside=WarmStart(folder, settings))
    except ConfigError as error:
        own = [*error.problems]
        for theirs, ours in SAME_OPTION.items():
            own = [problem.replace(theirs, ours) for problem in own]
        raise ConfigError(list(dict.fromkeys([*problems, *own]))) from None
    if problems:
        raise ConfigError(problems)
    if not plan.eval_pairs:
        plan = replace(plan, config=replace(run, training=replace(run.training, evaluation_strategy="no")))
    return Adaptation(config, plan, folder, output, pairs[0].language, earlier)


def _pairs(config: AdaptConfig, settings: ModelConfig, problems: list[str]) -> tuple[TaskLanguagePair, ...]:
    """The pairs to learn, of one language; what is wrong with their options is added to ``problems``."""
    if config.language is not None:
        if config.pairs:
            problems.append("--language stands in place of --pairs; give one of them")
        tasks = [task for task in predictable(settings) if task in settings.trained_tasks]
        return tuple(TaskLanguagePair(task, config.language) for task in tasks)
    pairs = parse_pairs(config.pairs, "--pairs", problems)
    if not config.pairs:
        problems.append("--pairs: name at least one pair, such as pos#gsw, or the --language for all tasks")
    if len({pair.key[1] for pair in pairs}) > 1:
        problems.append("--pairs: expected one language; adapt to each by itself, into a file of its own")
    return pairs


def _model_problems(config: AdaptConfig, settings: ModelConfig, pairs: tuple[TaskLanguagePair, ...]) -> list[str]:
    """What keeps a model from learning pairs beside its weights."""
    problems = []
    adapters = settings.architecture.adapters
    if adapters != "hypernetwork":
        needs = "a language is learnt beside it as a change of what a hypernetwork writes"
        problems.append(f"the checkpoint's adapters are {adapters}; {needs}")
    if missing := missing_encoder(config.model_name_or_path or settings.encoder):
        problems.append(f"--model_name_or_path: {missing}")
    problems += [f"--pairs: {problem}" for problem in prediction_problems(settings, [pair.task for pair in pairs])]
    untrained = {pair.task for pair in pairs if pair.task in settings.kinds} - settings.trained_tasks
    problems += [f"--pairs: the model's head of {task} was never trained; train it first" for task in untrained]
    return problems


def _earlier_problems(path: Path, earlier: AddOnHeader, pairs: tuple[TaskLanguagePair, ...]) -> list[str]:
    """What keeps a run from going on from an add-on."""
    problems = []
    if pairs and canonical(earlier.add_on.language) != pairs[0].key[1]:
        problems.append(f"--add_on: {path} is of {earlier.add_on.language}; --pairs name {pairs[0].language}")
    missing = [str(pair) for pair in pairs if pair.task not in earlier.add_on.tasks]
    if missing or len(pairs) != len(earlier.add_on.pairs):
        problems.append(f"--add_on: {path} has learnt {', '.join(earlier.add_on.pairs)}; name the same --pairs")
    return problems
