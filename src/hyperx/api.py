"""Training, evaluation and prediction from Python: the same options, checks and errors as on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperx.config import AdaptConfig, EvaluateConfig, ExportConfig, TrainConfig
from hyperx.errors import ConfigError, not_expected
from hyperx.exporting.facts import checked_export
from hyperx.options import flat, made

# PyTorch is imported where it is needed: what is wrong with the options is said without waiting for it.
if TYPE_CHECKING:
    from hyperx.data.read.sentence import Prediction
    from hyperx.evaluation.scores import Evaluation
    from hyperx.exporting.running import ExportedModel
    from hyperx.model import HyperX


def train(config: TrainConfig | None = None, /, **options: Any) -> HyperX:
    """Train a model; returns that of the best checkpoint, in evaluation mode.

    For example::

        model = hyperx.train(train_task_language_pairs=["ner#en"], languages=["en", "de"], output_dir="runs/first")

    Args:
        config: options, over which ``options`` have precedence.
        options: the options of ``hyperx train`` by their names. ``data`` is the table of data: for each pair a folder,
            files, a data set of the hub, or splits in memory, as lists of dictionaries or ``datasets.Dataset``:
            ``{"ner#en": {"train": rows, "dev": rows}}``.

    Raises:
        ConfigError: all problems with the options, before any model is loaded.
        DataError: if data is missing or malformed.
        EncoderError: if the encoder cannot be loaded.
        HyperXError: if training diverges, a checkpoint cannot be written, or another run writes into the folder.
    """
    if not isinstance(config, TrainConfig | None):
        raise not_expected("config", "a TrainConfig; give options by their names", config)
    # What stands at its default gives way to a preset and a file, as on the command line.
    defaults = flat(TrainConfig())
    set_before = {} if config is None else {n: value for n, value in flat(config).items() if value != defaults[n]}
    run = made(TrainConfig, set_before | options)
    from hyperx.plan.options import plan_run

    plan = plan_run(run)
    from hyperx.model import HyperX
    from hyperx.training import loop

    return HyperX.from_pretrained(loop.train(run, plan), encoder=run.model.model_name_or_path)


def adapt(**options: Any) -> HyperX:
    """Learn a language, or more of it, from a few labelled sentences, beside a trained model whose own weights stay as
    they are; returns the model with what was learnt, in evaluation mode.

    For example::

        model = hyperx.adapt(pairs=["pos#gsw"], train="few.conllu", output="gsw.addon")

    Args:
        options: the options of ``hyperx adapt`` by their names; ``folder`` is the checkpoint, and ``data`` the table of
            data as for :func:`train`.

    Raises:
        ConfigError: all problems with the options, before any model is loaded.
        CheckpointError: if there is no checkpoint.
        DataError: if data is missing or malformed.
    """
    config = made(AdaptConfig, options)
    from hyperx.plan.adaptation import plan_adaptation

    adaptation = plan_adaptation(config)
    from hyperx.training import adapting

    return adapting.adapt(adaptation).model


def evaluate(model: HyperX | str | Path, pairs: str | Sequence[str] = (), **options: Any) -> Evaluation:
    """Score a model on pairs, trained or not.

    For example::

        scores = hyperx.evaluate("runs/first", ["ner#en", "ner#de"], split="test")
        scores["ner#de"].value, scores.averages["zero_shot"]

    Args:
        model: a checkpoint, or an output folder, whose best checkpoint is used; the results are added to those in the
            folder. Or a model, whose results are only returned.
        pairs: the pairs to evaluate; by default those that ``hyperx evaluate`` scores.
        options: the options of ``hyperx evaluate`` by their names, such as ``split``, and ``data``, the table of data
            as for :func:`train`.

    Raises:
        ConfigError: all problems with the options.
        CheckpointError: if there is no checkpoint, or it does not fit its encoder.
        DataError: if data of a requested pair is missing or malformed.
    """
    from hyperx.evaluation.scoring import evaluate_checkpoint

    given = {"test_task_language_pairs": "pairs", "eval_ckpt": "model"}
    if not isinstance(model, str | Path):
        given["model_name_or_path"] = "model, which has its encoder"
    if taken := [f"{name}: give it as {argument}" for name, argument in given.items() if name in options]:
        raise ConfigError(taken)
    if len(pairs):
        options["test_task_language_pairs"] = pairs
    if isinstance(model, str | Path):
        return evaluate_checkpoint(made(EvaluateConfig, {**options, "eval_ckpt": model}))
    from hyperx.model import HyperX

    if not isinstance(model, HyperX):
        raise not_expected("model", "a model, or the folder of a checkpoint", model)
    return evaluate_checkpoint(made(EvaluateConfig, options), model)


def export(model: HyperX | str | Path | None = None, **options: Any) -> Path:
    """Write pairs of a model as files that run without this library, each pair with its adapters as numbers; returns
    their folder.

    For example::

        hyperx.export(pairs=["ner#tr", "pos#tr"], format="onnx", output="tr-onnx")

    Args:
        model: a model, or a checkpoint, by default the ready-made model.
        options: the options of ``hyperx export`` by their names.

    Raises:
        ConfigError: all problems with the options.
        CheckpointError: if there is no checkpoint, or it does not fit its encoder.
    """
    loaded = None
    if not isinstance(model, str | Path | None):
        from hyperx.model import HyperX

        loaded = model if isinstance(model, HyperX) else None
    config = made(ExportConfig, options if loaded else {"folder": model, **options})
    config = checked_export(config, None if loaded is None else loaded.config)
    from hyperx.exporting.writing import export_pairs

    return export_pairs(config, loaded)


def predict(
    texts: Iterable[str | Iterable[str]],
    *,
    language: str,
    model: HyperX | ExportedModel | str | Path | None = None,
    task: str | Iterable[str] | None = None,
    text_pairs: Iterable[str] | None = None,
    like: str | None = None,
    style: str | None = None,
    confidences: bool = False,
    batch_size: int = 32,
) -> list[Prediction]:
    """Label texts or their words by a model, or by the checkpoint or the exported pairs in a folder, which are loaded
    for this call, or by default by the ready-made model. The other arguments are those of
    :meth:`hyperx.HyperX.predict`."""
    from hyperx.exporting.running import ExportedModel, load_model
    from hyperx.model import HyperX

    loaded = model if isinstance(model, HyperX | ExportedModel) else load_model(model)
    return loaded.predict(
        texts,
        task=task,
        language=language,
        text_pairs=text_pairs,
        like=like,
        style=style,
        confidences=confidences,
        batch_size=batch_size,
    )
