"""Learning a language beside a trained model: the run of an add-on."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import Accelerator
from transformers import set_seed

from hyperx import checkpoint
from hyperx.config import AddOnConfig
from hyperx.encoders.families import disable_attention_dropout
from hyperx.errors import ConfigError, DataError, HyperXError
from hyperx.evaluation.scores import PairScores, evaluate_pairs
from hyperx.files import sha256, write_json
from hyperx.model import HyperX
from hyperx.options import flat
from hyperx.plan.adaptation import Adaptation
from hyperx.plan.data import RunData, prepare
from hyperx.training.loop import TrainingRun, make_accelerator

CHANGEABLE = {"config", "disable_progress_bar", "no_cuda", "output", "resume"}
"""Options that a resumed run may have otherwise."""
EVALUATIONS = 10
"""How often a run is scored on dev data."""


@dataclass(frozen=True)
class Adapted:
    """What was learnt: the model with it, the file, what it is, and the dev scores without it and with it."""

    model: HyperX
    output: Path
    add_on: AddOnConfig
    before: list[PairScores]
    after: list[PairScores]


def adapt(adaptation: Adaptation) -> Adapted:
    """Learn an add-on, in one round or several, and write it.

    Raises:
        HyperXError: if data, encoder or checkpoint are at fault, training diverges, or the file cannot be written.
        Interrupted: a KeyboardInterrupt, once the state is saved, if the process is asked to end.
    """
    plan, config, language = adaptation.plan, adaptation.config, adaptation.language
    options, folder = plan.config.training, plan.config.training.output_dir
    assert folder is not None
    accelerator = make_accelerator(options)
    if accelerator.num_processes > 1:
        raise HyperXError("hyperx adapt learns in one process; start it without a launcher of several")
    with checkpoint.locked(folder):
        _check_same(adaptation, folder)
        model = HyperX.from_pretrained(adaptation.folder, encoder=config.model_name_or_path).to(accelerator.device)
        if not plan.config.model.attention_dropout:
            disable_attention_dropout(model.encoder)
        assert model.hypernetwork is not None
        # Its pairs read what they will in prediction.
        model.hypernetwork.source.dropout = model.hypernetwork.source.corpus_dropout = 0.0
        learnt, before = config.add_on, list[PairScores]()
        for number in range(1, config.rounds + 1):
            training = replace(options, output_dir=folder / f"round-{number}")
            own = replace(plan, config=replace(plan.config, training=training))
            data = _with_amounts(prepare(replace(own, add_ons=() if learnt is None else (learnt,))))
            if number == 1:
                before = _scored(model, data)
            done = folder / f"round-{number}.addon"
            if not done.exists():
                _learn(adaptation, accelerator, model, data, learnt, done)
            learnt = done
        assert learnt is not None
        model.load_add_on(learnt)  # as it is stored
        after, add_on = _scored(model, data), model.config.add_on_for(language)
        assert add_on is not None
        learnt.replace(adaptation.output)
    shutil.rmtree(folder, ignore_errors=True)
    return Adapted(model.eval(), adaptation.output, add_on, before, after)


def _check_same(adaptation: Adaptation, folder: Path) -> None:
    """Keep what the run began with, or refuse to resume another one; raises a ConfigError."""
    config, path = adaptation.config, folder / checkpoint.OPTIONS
    files = [*config.train, *config.text, *config.dev, *([] if config.add_on is None else [config.add_on])]
    now = {name: str(value) for name, value in flat(config).items() if name not in CHANGEABLE}
    now |= {f"content of {file}": sha256(file) for file in [*files, adaptation.folder / checkpoint.WEIGHTS]}
    if path.exists():
        then = checkpoint.read_json(path, dict[str, str])
        if changed := [name for name in sorted({**then, **now}) if then.get(name) != now.get(name)]:
            told = [f"--resume: {name}: the run began with {then.get(name)}; found {now.get(name)}" for name in changed]
            raise ConfigError([*told, f"put back what it began with, or delete {folder} to start anew"])
    write_json(path, now)


def _scored(model: HyperX, data: RunData) -> list[PairScores]:
    size = data.plan.config.training.per_device_eval_batch_size
    return list(evaluate_pairs(model, data.eval_splits, batch_size=size, places=data.plan.data))


def _learn(
    adaptation: Adaptation, accelerator: Accelerator, model: HyperX, data: RunData, learnt: Path | None, done: Path
) -> None:
    """One round: go on from what was learnt, if there is anything, and write what it is then."""
    folder = data.plan.config.training.output_dir
    assert folder is not None
    set_seed(data.plan.config.training.seed)
    if learnt is not None:
        model.load_add_on(learnt)
    known = model.config.add_on_for(adaptation.language)
    model.learn_language(_add_on(adaptation, data, model, known), anew=known is None)
    run = TrainingRun(folder, accelerator, model, data)
    run.begin()
    run.run()
    model.load_tensors(checkpoint.read_tensors(checkpoint.resolve(folder)))
    model.save_add_on(adaptation.language, done)
    model.learns = None


def _add_on(adaptation: Adaptation, data: RunData, model: HyperX, known: AddOnConfig | None) -> AddOnConfig:
    """What is to be learnt, given what was learnt of the language before. A DataError if there are new labels, but they
    cannot be learnt."""
    plan = data.plan
    splits = dict(zip(plan.trained_pairs, data.train_splits, strict=True))
    new = {task: labels[len(model.config.labels[task]) :] for task, labels in data.labels.items()}
    new = {task: labels for task, labels in new.items() if labels}
    # What was learnt stands in the order of its tasks.
    order = [pair.task for pair in splits] if known is None else known.tasks
    counts = {str(pair): splits[pair].sentence_count for task in order for pair in splits if pair.task == task}
    by_itself = bool(plan.self_train_pairs)
    if known is not None:
        if further := {task: set(labels) - {*known.labels.get(task, ())} for task, labels in new.items()}:
            told = [f"{task} {' '.join(sorted(labels))}" for task, labels in further.items() if labels]
            if told:
                raise DataError(f"labels that were not learnt before: {'; '.join(told)}; learn all of them anew")
        return replace(known, pairs=counts, self_trained=by_itself and known.self_trained)
    for task, labels in new.items():
        if not getattr(model.heads[task], "takes_rows", False):
            raise DataError(f"{task}: the model does not have the labels {', '.join(labels)}, and its head takes none")
    rank = adaptation.config.rank
    rank = default_rank(min(counts.values())) if rank is None else rank
    return AddOnConfig(language=adaptation.language, pairs=counts, rank=rank, labels=new, self_trained=by_itself)


def default_rank(sentences: int) -> int:
    """The rank of the changes of adapters for an amount of data."""
    return 4 if sentences >= 5 else 0


def default_steps(sentences: int, batch_size: int) -> int:
    """Optimiser steps for an amount of data: 36 for ten sentences, 113 for a hundred, 356 for a thousand."""
    passes = 60 / math.sqrt(max(sentences, 9) / 9)
    return max(20, round(passes * sentences / batch_size))


def _with_amounts(data: RunData) -> RunData:
    """The data, with options that follow from its amount."""
    plan = data.plan
    training, sentences = plan.config.training, sum(split.sentence_count for split in data.train_splits)
    steps = training.max_train_steps or default_steps(sentences, training.per_device_train_batch_size)
    every = max(1, steps // EVALUATIONS)
    batch = min(training.per_device_train_batch_size, sentences)
    training = replace(
        training,
        max_train_steps=steps,
        per_device_train_batch_size=batch,
        eval_steps=every,
        save_steps=steps,
        logging_steps=every,
    )
    return replace(data, plan=replace(plan, config=replace(plan.config, training=training)))
