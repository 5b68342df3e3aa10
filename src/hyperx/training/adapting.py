"""Learning a language beside a trained model: the run of an add-on."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn
from transformers import set_seed

from hyperx import checkpoint
from hyperx.config import AddOnConfig
from hyperx.errors import DataError
from hyperx.evaluation.scores import PairScores, evaluate_pairs
from hyperx.model import HyperX
from hyperx.plan.adaptation import Adaptation
from hyperx.plan.data import RunData, prepare
from hyperx.training.loop import TrainingRun, make_accelerator

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
    """Learn an add-on and write it.

    Raises:
        HyperXError: if data, encoder or checkpoint are at fault, training diverges, or the file cannot be written.
        Interrupted: a KeyboardInterrupt, once the state is saved, if the process is asked to end.
    """
    plan, config = adaptation.plan, adaptation.config
    folder = plan.config.training.output_dir
    assert folder is not None
    accelerator = make_accelerator(plan.config.training)
    with checkpoint.locked(folder):
        data = _with_amounts(prepare(plan))
        set_seed(config.seed)
        model = HyperX.from_pretrained(adaptation.folder, encoder=config.model_name_or_path)
        size, places = plan.config.training.per_device_eval_batch_size, plan.data
        model.to(accelerator.device)
        before = list(evaluate_pairs(model, data.eval_splits, batch_size=size, places=places))
        add_on = _add_on(adaptation, data, model)
        if config.add_on is not None:
            model.load_add_on(config.add_on)
        model.learn_language(add_on, anew=config.add_on is None)
        run = TrainingRun(folder, accelerator, model, data)
        run.begin()
        run.run()
        model.load_tensors(checkpoint.read_tensors(checkpoint.resolve(folder)))
        model.save_add_on(adaptation.language, adaptation.output)
        model.load_add_on(adaptation.output)  # as it is stored
        model.learns = None
        after = list(evaluate_pairs(model, data.eval_splits, batch_size=size, places=places))
    shutil.rmtree(folder, ignore_errors=True)
    return Adapted(model.eval(), adaptation.output, add_on, before, after)


def _add_on(adaptation: Adaptation, data: RunData, model: HyperX) -> AddOnConfig:
    """What is to be learnt. A DataError if there are new labels, but no head that could have them."""
    pairs = data.plan.train_pairs
    counts = {str(pair): split.sentence_count for pair, split in zip(pairs, data.train_splits, strict=True)}
    new = {task: labels[len(model.config.labels[task]) :] for task, labels in data.labels.items()}
    new = {task: labels for task, labels in new.items() if labels}
    if adaptation.earlier is not None:
        before = adaptation.earlier.add_on
        if new != before.labels:
            what = "; ".join(f"{task} {' '.join(labels)}" for task, labels in new.items()) or "none"
            raise DataError(f"--add_on: its new labels are others than those of this data: {what}; learn anew without")
        return replace(before, pairs=counts)
    for task, labels in new.items():
        if not isinstance(model.heads[task], nn.Linear):
            raise DataError(f"{task}: the model does not have the labels {', '.join(labels)}, and its head takes none")
    rank = adaptation.config.rank
    rank = default_rank(min(counts.values())) if rank is None else rank
    return AddOnConfig(language=adaptation.language, pairs=counts, rank=rank, labels=new)


def default_rank(sentences: int) -> int:
    """The rank of the changes of adapters for an amount of data."""
    return 4 if sentences >= 5 else 0


def default_steps(sentences: int, batch_size: int) -> int:
    """Optimiser steps for an amount of data: twenty passes over ten sentences, five over a thousand."""
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
