"""Learning a language beside a trained model: the run of an add-on."""

from __future__ import annotations

import logging
import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import cast

from accelerate import Accelerator
from transformers import set_seed

from hyperx import checkpoint
from hyperx.config import AdaptConfig, AddOnConfig
from hyperx.encoders.families import disable_attention_dropout
from hyperx.errors import DataError, HyperXError
from hyperx.evaluation.scores import evaluate_pairs
from hyperx.files import sha256, write_json
from hyperx.languages import canonical
from hyperx.method.add_on import AddOn
from hyperx.model import HyperX
from hyperx.options import flat
from hyperx.plan.adaptation import Adaptation
from hyperx.plan.data import RunData, prepare
from hyperx.training.loop import TrainingRun, make_accelerator
from hyperx.training.resuming import check_same

log = logging.getLogger(__name__)

CHANGEABLE = {"config", "disable_progress_bar", "no_cuda", "output", "resume"}
"""Options that a resumed run may have otherwise."""
EVALUATIONS = 10
"""How often a run is scored on dev data."""
STRENGTHS = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Shares of what was learnt that are tried on held-out sentences."""
AS_GOOD = 0.015
"""How far the score of the largest share that is kept may be below the best: a few sentences tell no less apart."""
BY_ITSELF = 60
"""Most steps of learning what the model itself makes of a text."""
FEWEST, RANK, LAYER_RANK = 5, 4, 3
"""From how many sentences on more than the embedding's shift is learnt, and the ranks of what changes in the adapters
and, where labels are not predicted ones, in the encoder's layers."""
FOLDS = {20: 5, 50: 2, 200: 1}
"""In how many parts labelled sentences are held out in turn by default, by how many there are at most; 1 holds out half
of them once. Few sentences tell little in few parts (experiment 25), and many take minutes."""


@dataclass(frozen=True)
class Adapted:
    """What was learnt: the model with it, the file, what it is; for each pair its score without it and with it, on dev
    data or on labelled sentences that were held out in turn; and the share that is kept of it."""

    model: HyperX
    output: Path
    add_on: AddOnConfig
    scores: dict[str, tuple[float | None, float | None]]
    measured_on: str
    strength: float


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
        made_of = _checked_same(adaptation, folder)
        model = HyperX.from_pretrained(adaptation.folder, encoder=config.model_name_or_path).to(accelerator.device)
        if not plan.config.model.attention_dropout:
            disable_attention_dropout(model.encoder)
        assert model.hypernetwork is not None
        # Its pairs read what they will in prediction.
        model.hypernetwork.source.dropout = model.hypernetwork.source.corpus_dropout = 0.0
        start = None
        if config.add_on is not None:
            model.load_add_on(config.add_on)
        if model.config.add_on_for(language) is not None:
            start = folder / "start.addon"
            model.save_add_on(language, start)
        # By pair, those before (None) and with a share of what was learnt.
        scores, measured_on = dict[str, dict[float | None, list[float]]](), "dev data"
        strengths = STRENGTHS if start is None else STRENGTHS[:1]

        def score(data: RunData, strength: float | None) -> None:
            size = options.per_device_eval_batch_size
            for one in evaluate_pairs(model, data.eval_splits, batch_size=size, places=data.plan.data):
                own = scores.setdefault(str(one.pair), {}).setdefault(strength, [])
                own += [] if one.value is None else [one.value]

        def mean(strength: float | None) -> float:
            values = [fmean(own[strength]) for own in scores.values() if own.get(strength)]
            return fmean(values) if values else 0.0

        def learn(data: RunData, name: str, start: Path | None) -> Path:
            done = folder / f"{name}.addon"
            if not done.exists():
                run = _begun(adaptation, accelerator, model, _with_amounts(data, folder / name), start)
                write_json(folder / checkpoint.OPTIONS, made_of)  # from here on there is a run to go on with
                run.run()
                model.load_tensors(checkpoint.read_tensors(checkpoint.resolve(folder / name)))
                model.save_add_on(language, done)
                model.learns = None
            model.load_add_on(done)  # as it is stored
            return done

        def stand_at(file: Path, strength: float) -> None:
            model.load_add_on(file)
            cast(AddOn, model.add_ons[canonical(language)]).weaken(strength)

        best = 1.0
        for number in range(1, config.rounds + 1):
            data = prepare(replace(plan, add_ons=() if start is None else (start,)))
            if number == 1:
                score(data, None)
                turns = _turns(config, data)
                parts = max(turns, 2)
                for fold in range(turns):
                    measured_on = "a half that was held out" if turns == 1 else f"{parts} parts held out in turn"
                    part = _fold(data, fold, parts)
                    log.info("part %d of %d is held out", fold + 1, parts)
                    _go_back(model, language, start)
                    score(part, None)
                    done = learn(replace(part, eval_splits={}), f"fold-{fold + 1}", start)
                    for strength in strengths:
                        stand_at(done, strength)
                        score(part, strength)
                highest = max(map(mean, strengths))
                best = max(strength for strength in strengths if mean(strength) >= highest - AS_GOOD)
                _go_back(model, language, start)
            count = sum(split.sentence_count for split in data.train_splits)
            log.info("round %d of %d: learning from all %s sentences", number, config.rounds, f"{count:,}")
            start = learn(data, f"round-{number}", start)
            if best < 1:
                stand_at(start, best)
                start = folder / "kept.addon"
                model.save_add_on(language, start)
        score(data, best)
        add_on = model.config.add_on_for(language)
        assert start is not None
        assert add_on is not None
        start.replace(adaptation.output)
    shutil.rmtree(folder, ignore_errors=True)
    means = {
        pair: (fmean(own[None]) if own.get(None) else None, fmean(own[best]) if own.get(best) else None)
        for pair, own in scores.items()
    }
    return Adapted(model.eval(), adaptation.output, add_on, means, measured_on, best)


def _go_back(model: HyperX, language: str, start: Path | None) -> None:
    """Forget what was learnt of a language since the start."""
    if start is not None:
        model.load_add_on(start)
    elif model.config.add_on_for(language) is not None:
        model.remove_add_on(language)


def _turns(config: AdaptConfig, data: RunData) -> int:
    """How often sentences are held out: never if there is dev data, or no label."""
    counts = [split.sentence_count for split in data.train_splits]
    if min(counts) < 2 or data.eval_splits or data.plan.self_train_pairs:
        return 0
    default = next((folds for most, folds in FOLDS.items() if sum(counts) <= most), 0)
    return min(default if config.folds is None else config.folds, *counts)


def _fold(data: RunData, fold: int, folds: int) -> RunData:
    """Data to learn from without a part of its sentences, which is scored."""
    splits = [
        [split.some([i for i in range(split.sentence_count) if (i % folds == fold) == held]) for held in (False, True)]
        for split in data.train_splits
    ]
    held_out = dict(zip(data.plan.trained_pairs, (held for _, held in splits), strict=True))
    return replace(data, train_splits=[rest for rest, _ in splits], eval_splits=held_out)


def _checked_same(adaptation: Adaptation, folder: Path) -> dict[str, str]:
    """What a run is made of: settings, and hashes of files. A ConfigError if the one in the folder began otherwise."""
    config, path = adaptation.config, folder / checkpoint.OPTIONS
    files = [*config.train, *config.text, *config.dev, *([] if config.add_on is None else [config.add_on])]
    now = {name: str(value) for name, value in flat(config).items() if name not in CHANGEABLE}
    now |= {f"content of {file}": sha256(file) for file in [*files, adaptation.folder / checkpoint.WEIGHTS]}
    if path.exists():
        check_same(checkpoint.read_json(path, dict[str, str]), now, "setting")
    return now


def _begun(
    adaptation: Adaptation, accelerator: Accelerator, model: HyperX, data: RunData, start: Path | None
) -> TrainingRun:
    """One round, which goes on from what was learnt, if there is anything."""
    training = data.plan.config.training
    assert training.output_dir is not None
    set_seed(training.seed)
    if start is not None:
        model.load_add_on(start)
    known = None if start is None else model.config.add_on_for(adaptation.language)
    model.learn_language(_add_on(adaptation, data, model, known), anew=known is None)
    run = TrainingRun(training.output_dir, accelerator, model, data)
    run.begin(tells=False)
    return run


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
    ranks = adaptation.config.rank, adaptation.config.layer_rank
    default = (0, 0) if min(counts.values()) < FEWEST else (RANK, 0 if by_itself else LAYER_RANK)
    rank, layer_rank = (own if given is None else given for own, given in zip(default, ranks, strict=True))
    return AddOnConfig(
        language=adaptation.language,
        pairs=counts,
        rank=rank,
        layer_rank=layer_rank,
        labels=new,
        self_trained=by_itself,
    )


def default_steps(sentences: int, batch_size: int) -> int:
    """Optimiser steps for an amount of data: 36 for ten sentences, 113 for a hundred, 356 for a thousand."""
    passes = 60 / math.sqrt(max(sentences, 9) / 9)
    return max(20, round(passes * sentences / batch_size))


def _with_amounts(data: RunData, output_dir: Path) -> RunData:
    """The data, with options that follow from its amount."""
    plan = data.plan
    training, sentences = plan.config.training, sum(split.sentence_count for split in data.train_splits)
    steps = default_steps(sentences, training.per_device_train_batch_size)
    steps = training.max_train_steps or (min(steps, BY_ITSELF) if plan.self_train_pairs else steps)
    every = max(1, steps // EVALUATIONS)
    training = replace(
        training,
        output_dir=output_dir,
        evaluation_strategy="steps" if data.eval_splits else "no",
        max_train_steps=steps,
        per_device_train_batch_size=min(training.per_device_train_batch_size, sentences),
        eval_steps=every,
        save_steps=steps,
        logging_steps=every,
    )
    return replace(data, plan=replace(plan, config=replace(plan.config, training=training)))
