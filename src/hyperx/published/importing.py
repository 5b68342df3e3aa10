"""Conversion of checkpoints of the published program to checkpoints of this one with the same outputs.

A folder of the published program holds, for every task, the whole encoder with the hypernetwork inside it and the
task's head (``<task>_model/pytorch_model.bin``), and its arguments (``hyperx_args.bin``). No code in them is run.
``trainer_args.bin`` is never opened.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import BertConfig, PreTrainedModel

from hyperx import checkpoint
from hyperx.config import Activation, ArchitectureOptions, DataOptions, ImportConfig, ModelConfig
from hyperx.encoders.loading import LoadedEncoder, load_encoder
from hyperx.errors import CheckpointError, ConfigError
from hyperx.files import write_json
from hyperx.model import HyperX
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.options import data_spec
from hyperx.published.encoder import UNSEEN, Description, describe_encoder, shape_of
from hyperx.published.run import ARGUMENTS, TASKS, PublishedRun, checked_options
from hyperx.published.weights import read_tensors, read_weights, weights_path
from hyperx.tasks.registry import kinds_of

log = logging.getLogger(__name__)


def import_published(config: ImportConfig) -> Path:
    """Convert a checkpoint of the published program to one of ours.

    Returns:
        The new checkpoint's folder.

    Raises:
        ConfigError: all problems with the options.
        CheckpointError: if the folder is not a published checkpoint, is damaged, or has no hypernetwork.
        EncoderError: if the encoder that the options name cannot be loaded.
    """
    folder, output = checked_options(config)
    run = PublishedRun.read(folder / ARGUMENTS)
    described = describe_encoder(folder, run, config.model_name_or_path)
    settings = model_config(run, described.config, mean=config.mean_for_untrained_languages)
    shared = read_weights(weights_path(folder, run.tasks[0]))
    model = _shape_of_model(folder, described.config, settings)
    tensors = read_tensors(folder, run, shared, model)
    inside = {name.removeprefix("encoder."): tensors.pop(name) for name in list(tensors) if name.startswith("encoder.")}
    base = _base_encoder(described) if config.changes_only else None

    def fill(staged: Path) -> None:
        if base is None:
            name, content_hash = checkpoint.INSIDE, _write_encoder(staged / checkpoint.ENCODER, described, inside)
            changed = {}
        else:
            name, content_hash, changed = base.name, base.content_hash, _changes(base, inside)
        found = replace(settings, encoder=name, encoder_hash=content_hash, trained_inside=tuple(changed))
        checkpoint.save_model(staged, found, {**tensors, **changed})
        write_json(staged / checkpoint.DATA, _data(run))

    checkpoint.write_folder(output, fill)
    _log_run(run)
    return output


def _shape_of_model(folder: Path, encoder: BertConfig, settings: ModelConfig) -> HyperX:
    """A model with shapes but no weights, against which the weights of the files are checked."""
    try:
        with torch.device("meta"):
            return HyperX(shape_of(encoder), settings)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder}: no model has the sizes of its arguments and its encoder: {reason}") from None


def model_config(run: PublishedRun, encoder: BertConfig, *, mean: bool = False) -> ModelConfig:
    """The configuration of a run's model; its encoder is not named yet.

    Args:
        run: the arguments of the run.
        encoder: the encoder's configuration.
        mean: use the mean of the trained languages for those without a training pair.
    """
    trained = tuple(language for language in run.languages if language in {pair.language for pair in run.pairs})
    if len(trained) < len(run.languages) and trained:
        others = ", ".join(language for language in run.languages if language not in trained)
        how = "read the mean of the trained ones here" if mean else "keep their random start, as published"
        log.warning("no training pair has the languages %s: their embeddings %s", others, how)
    positions = encoder.max_position_embeddings
    return ModelConfig(
        encoder="",
        encoder_hash="",
        kinds={task: task for task in run.kept_tasks},
        labels={task: TASKS[task].labels for task in run.kept_tasks},
        languages=run.languages,
        trained_pairs=tuple(map(str, run.pairs)),
        hypernetwork=replace(run.hypernetwork, mean_for_untrained=mean),
        architecture=ArchitectureOptions(
            adapter_non_linearity=cast(Activation, run.activation),
            after_layer_output=run.after_layer_output,
            head_layer="last",
            parser_projections=False,
        ),
        max_length=min(run.max_length or positions, positions),
    )


def _log_run(run: PublishedRun) -> None:
    log.info("tasks %s, languages %s", ", ".join(run.kept_tasks), ", ".join(run.languages))
    if left_out := [task for task in run.tasks if task not in TASKS]:
        log.warning("the heads of %s are left out", ", ".join(left_out))


def _write_encoder(folder: Path, described: Description, weights: Mapping[str, Tensor]) -> str:
    """Write the encoder in the hub's format; returns the hash of its weights as they are read back."""
    folder.mkdir()
    described.config.save_pretrained(folder)
    save_file(dict(weights), folder / checkpoint.WEIGHTS, {"format": "pt"})
    if described.tokenizer is not None:
        described.tokenizer.save_pretrained(folder)
    return load_encoder(folder, tokenizer=False).content_hash


def _base_encoder(described: Description) -> LoadedEncoder:
    """The encoder that the run started from.

    Raises:
        ConfigError: if its name is not known.
        CheckpointError: if the named encoder is another one.
    """
    if described.named is None:
        raise ConfigError(["--changes_only: name the encoder that the run started from with --model_name_or_path"])
    base = load_encoder(described.named)
    own = shape_of(described.config)
    different = [name for name in UNSEEN if getattr(base.model.config, name, None) != getattr(own.config, name)]
    if _shapes(base.model) != _shapes(own):
        different.append("the shapes of their weights")
    if different:
        raise CheckpointError(
            f"--changes_only: {base.name} is not the encoder that the run started from: they differ in "
            f"{', '.join(different)}"
        )
    return base


def _shapes(model: PreTrainedModel) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def _changes(base: LoadedEncoder, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights, by their names in the model, that differ from those of the encoder that the run started from."""
    own = base.model.state_dict()
    changed = {f"encoder.{name}": tensor for name, tensor in weights.items() if not torch.equal(tensor, own[name])}
    log.info("%d of the encoder's %d weights differ from %s", len(changed), len(weights), base.name)
    return changed


def _data(run: PublishedRun) -> dict[str, Any]:
    """Where evaluation finds data, as for a model that was trained here without a table."""
    spec = data_spec(kinds_of({task: task for task in run.kept_tasks}), DataOptions(), {})
    pairs = [TaskLanguagePair(task, language) for task in spec.tasks for language in run.languages]
    return spec.record(spec.places(pairs), run.pairs).to_json()
