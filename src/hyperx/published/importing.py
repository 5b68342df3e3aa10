"""Conversion of checkpoints of the published program to checkpoints of this one with the same outputs.

A folder of it holds, for every task, the whole encoder with the hypernetwork inside it and the task's head
(``<task>_model/pytorch_model.bin``), and the arguments (``hyperx_args.bin``). No code in them is run.
"""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from hyperx import checkpoint
from hyperx.config import DataOptions, ImportConfig, ModelConfig
from hyperx.encoders.loading import encoder_folder, has_tokenizer, load_encoder, load_tokenizer
from hyperx.errors import CheckpointError, EncoderError, itemised
from hyperx.files import write_json
from hyperx.model import HyperX
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.options import data_spec
from hyperx.published.arguments import ARGUMENTS, HEADS, LABELS, PublishedRun, checked_options, read_run
from hyperx.tasks.registry import kinds_of

log = logging.getLogger(__name__)

SOURCE = "bert.encoder.hypernet_source_controller."
GENERATORS = "bert.encoder.hypernet."
_PARTS = ("weight", "bias")
# No task reads position ids, and the pooler that some encoders have. The generators are saved twice: the published
# program also assigns them to the layers, at its first step.
_UNUSED = re.compile(r"bert\.(embeddings\.position_ids|pooler\..*|encoder\.layer\.\d+\.output\.hypernet\..*)")

Names = dict[str, str | list[str]]
"""Our names of weights -> the published name, or the names of the tensors to stack."""

_FIXED = {"model_type": "bert", "position_embedding_type": "absolute", "is_decoder": False}
_SETTINGS = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size",
    "initializer_range", "layer_norm_eps", "pad_token_id",
)  # fmt: skip
_NAME_IT = "Name the encoder that the run started from with --model_name_or_path"


def import_published(config: ImportConfig) -> Path:
    """Convert a checkpoint of the published program to one of ours; returns the new folder.

    Raises:
        ConfigError: all problems with the options.
        CheckpointError: if the folder is no published checkpoint, is damaged, or has no hypernetwork.
        EncoderError: if the encoder that the options name cannot be loaded.
    """
    folder, output = checked_options(config)
    run = read_run(folder / ARGUMENTS)
    encoder, tokenizer = read_description(folder, run, config.model_name_or_path)
    settings = _model_config(run, encoder, mean=config.mean_for_untrained_languages)
    tensors = read_tensors(folder, run, encoder, settings)
    inside = {name: tensors.pop(name) for name in list(tensors) if name.startswith("encoder.")}

    def fill(staged: Path) -> None:
        place = staged / checkpoint.ENCODER
        place.mkdir()
        encoder.save_pretrained(place)
        own = {name.removeprefix("encoder."): tensor for name, tensor in inside.items()}
        save_file(own, place / checkpoint.WEIGHTS, {"format": "pt"})
        if tokenizer is not None:
            tokenizer.save_pretrained(place)
        content_hash = load_encoder(place).content_hash
        checkpoint.save_model(staged, replace(settings, encoder_hash=content_hash), tensors)
        # Where evaluation finds data, as for a model that was trained here without a table.
        spec = data_spec(kinds_of({task: task for task in run.kept_tasks}), DataOptions(), {})
        pairs = [TaskLanguagePair(task, language) for task in spec.tasks for language in run.languages]
        write_json(staged / checkpoint.DATA, spec.record(spec.places(pairs), run.pairs).to_json())

    checkpoint.write_folder(output, fill)
    log.info("tasks %s, languages %s", ", ".join(run.kept_tasks), ", ".join(run.languages))
    if left_out := [task for task in run.tasks if task not in LABELS]:
        log.warning("the heads of %s are left out", ", ".join(left_out))
    return output


def _model_config(run: PublishedRun, encoder: BertConfig, *, mean: bool) -> ModelConfig:
    """The configuration of a run's model, whose encoder has no hash yet; ``mean`` as ``mean_for_untrained``."""
    trained = {pair.language for pair in run.pairs}
    if trained and (others := [language for language in run.languages if language not in trained]):
        how = "read the mean of the trained ones here" if mean else "keep their random start, as published"
        log.warning("no training pair has the languages %s: their embeddings %s", ", ".join(others), how)
    positions = encoder.max_position_embeddings
    return ModelConfig(
        encoder=checkpoint.INSIDE,
        encoder_hash="",
        kinds={task: task for task in run.kept_tasks},
        labels={task: LABELS[task] for task in run.kept_tasks},
        languages=run.languages,
        trained_pairs=tuple(map(str, run.pairs)),
        hypernetwork=replace(run.hypernetwork, mean_for_untrained=mean),
        architecture=run.architecture,
        max_length=min(run.max_length or positions, positions),
        trained_inside=(),
    )


def read_description(
    folder: Path, run: PublishedRun, name: str | None
) -> tuple[BertConfig, PreTrainedTokenizerFast | None]:
    """The encoder's configuration and tokenizer, which are not among its weights, each from the first of these places
    that has it: the encoder that ``name`` gives, the checkpoint's own folders, the encoder that its arguments name."""
    places, reason = [folder, *(folder / f"{task}_model" for task in run.tasks)], "the run's arguments name no encoder"
    complete = any((place / "config.json").is_file() for place in places) and any(map(has_tokenizer, places))
    if name is not None:
        places.insert(0, encoder_folder(name, weights=False))
    elif run.model_name_or_path is not None and not complete:
        try:
            places.append(encoder_folder(run.model_name_or_path, weights=False))
        except EncoderError as error:
            reason = str(error)
    path = next((place / "config.json" for place in places if (place / "config.json").is_file()), None)
    if path is None:
        missing = f"{folder} has no config.json of its encoder, and none is to be had elsewhere ({reason})"
        raise CheckpointError(f"{missing}. {_NAME_IT}, a local folder or a model of the hub")
    config, place = _read_config(path), next(filter(has_tokenizer, places), None)
    tokenizer = None if place is None else load_tokenizer(place)
    if tokenizer is None:
        log.warning(
            "no tokenizer could be had (%s): the model can run on subword ids, but not read text. %s, or put its"
            " tokenizer's files into the checkpoint's folder encoder/", reason, _NAME_IT,
        )  # fmt: skip
    elif len(tokenizer) != config.vocab_size:
        sizes = f"the tokenizer has {len(tokenizer):,} subwords and the encoder {config.vocab_size:,}"
        if len(tokenizer) > config.vocab_size:
            raise CheckpointError(f"{sizes}: it is another encoder's. {_NAME_IT}")
        log.warning("%s: see that it is the encoder's own", sizes)
    return config, tokenizer


def _read_config(path: Path) -> BertConfig:
    """The configuration of a BERT, without the arguments that the published program adds to it."""
    value = checkpoint.read_json(path, dict[str, Any])
    if any(value.get(name, wanted) != wanted for name, wanted in _FIXED.items()):
        wanted = ", ".join(f"{name} {value!r}" for name, value in _FIXED.items())
        raise CheckpointError(f"{path}: expected the configuration of an encoder with {wanted}; it is of another one")
    try:
        config = BertConfig(**{name: value[name] for name in _SETTINGS if name in value}, architectures=["BertModel"])
        if not 1 <= config.num_hidden_layers <= 1000:
            raise ValueError("expected 1 to 1000 layers")
        _encoder_without_weights(config)
    except Exception as error:  # the library raises many kinds for values that it cannot use
        raise CheckpointError(f"{path} does not describe a BERT encoder: {' '.join(str(error).split())}") from None
    return config


def _encoder_without_weights(config: BertConfig) -> BertModel:
    """An encoder with shapes but no weights, so that no file can make it allocate memory."""
    with torch.device("meta"):
        return BertModel(config, add_pooling_layer=False)


def hypernetwork_names(run: PublishedRun, layers: int) -> Names:
    """Our names of the hypernetwork's weights -> the published ones, for an encoder of so many layers."""
    options = run.hypernetwork
    names: Names = {
        "source.task": [f"{SOURCE}task_embeddings.{task}" for task in run.kept_tasks],
        "source.language": [f"{SOURCE}lang_embeddings.{language}" for language in run.languages],
    }
    if options.condition_to_layer_id:
        names["source.layer"] = [f"{SOURCE}layer_id_embeddings.layer:{layer}" for layer in range(layers)]
    if options.project_source_embeddings:
        for place in (f"{index}.{part}" for index in (0, 2) for part in _PARTS):
            names[f"projector.{place}"] = f"{SOURCE}source_embedding_MLP.{place}"
    inside = {
        f"{ours}{suffix}": f"meta_{ours}_sampler.{kind}_generator.0"
        for ours in ("down", "up")
        for suffix, kind in (("", "weight"), ("_bias", "bias"))
    }
    norms = {"pre": options.add_layer_norm_before_adapter, "post": options.add_layer_norm_after_adapter}
    for side in (side for side, there in norms.items() if there):
        if options.conditional_layer_norm:
            inside |= {f"norm_{side}.{kind}": f"{side}_layernorm_hypernet.{kind}_generator" for kind in _PARTS}
        else:
            inside[f"norm_{side}"] = f"{side}_layer_norm"
    shared = options.condition_to_layer_id
    sets = [GENERATORS] if shared else [f"{GENERATORS}{layer}." for layer in range(layers)]
    for ours, theirs in inside.items():
        # A norm that is not generated is shared by all layers if the generators are; ours has a row for each.
        own = sets * layers if shared and theirs.endswith("_layer_norm") else sets
        names |= {f"{ours}.{part}": [f"{prefix}{theirs}.{part}" for prefix in own] for part in _PARTS}
    return {f"hypernetwork.{ours}": theirs for ours, theirs in names.items()}


def read_tensors(folder: Path, run: PublishedRun, encoder: BertConfig, settings: ModelConfig) -> dict[str, Tensor]:
    """All weights of a run by the names of our model; encoder and hypernetwork are those of the first task's file."""
    try:
        with torch.device("meta"):
            model = HyperX(_encoder_without_weights(encoder), settings)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder}: no model has the sizes of its arguments and its encoder: {reason}") from None
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    shared, tensors = dict[str, Tensor](), dict[str, Tensor]()
    for task in run.tasks:
        if shared and task not in HEADS:
            continue
        path = folder / f"{task}_model" / "pytorch_model.bin"
        weights = read_weights(path)
        own = {name: weights[name] for name in weights if name.startswith("bert.") and not _UNUSED.fullmatch(name)}
        if not shared:
            shared = own
            inside = [name for name in shapes if name.startswith("encoder.")]
            names: Names = {name: f"bert.{name.removeprefix('encoder.')}" for name in inside}
            names |= hypernetwork_names(run, encoder.num_hidden_layers)
            # The embeddings of tasks that are left out have no place here.
            left_out = {f"{SOURCE}task_embeddings.{task}" for task in run.tasks if task not in HEADS}
            tensors |= _fitted(path, {name: own[name] for name in own if name not in left_out}, names, shapes)
        unequal = (name for name in own.keys() & shared.keys() if not torch.equal(own[name], shared[name]))
        differing = sorted({*(own.keys() ^ shared.keys()), *unequal})
        if differing:
            log.warning(
                "%d of the %d tensors of the encoder and the hypernetwork in %s differ from those in %s, such as %s; "
                "those of %s are taken, and %s may predict otherwise than it did",
                len(differing), len(shared), task, run.tasks[0], differing[0], run.tasks[0], task,
            )  # fmt: skip
        if task in HEADS:
            names = {f"heads.{task}.{ours}": theirs for ours, theirs in HEADS[task].items()}
            head = {name: weights[name] for name in weights if not name.startswith("bert.")}
            tensors |= _fitted(path, head, names, shapes)
    return tensors


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights in an archive of ``torch.save``, which are mapped into memory, not copied."""
    try:
        with zipfile.ZipFile(path) as archive:
            packed = any(member.compress_type for member in archive.infolist())
        weights = {} if packed else torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} has no {path.name}: expected the weights of the task there") from None
    except OSError as error:
        raise CheckpointError(f"{path}: expected a readable file; found: {error.strerror or error}") from None
    except Exception as error:  # torch raises many kinds for a damaged or foreign file
        # Its own message advises running the file's code.
        asked = re.search(r"GLOBAL (\S+)", str(error))
        found = f"it asks for {asked[1]}" if asked else "it is damaged, or no archive as torch.save writes it"
        raise CheckpointError(f"{path}: expected weights alone; {found}. Nothing of it was run") from None
    if packed:
        raise CheckpointError(f"{path}: expected an archive as torch.save writes it; its members are compressed")
    if not isinstance(weights, dict):
        raise CheckpointError(f"{path}: expected weights by name; found a {type(weights).__name__}")
    size = path.stat().st_size
    for name, tensor in weights.items():
        plain = isinstance(name, str) and type(tensor) is Tensor and tensor.layout == torch.strided
        if not plain or tensor.device.type != "cpu" or tensor.numel() * tensor.element_size() > size:
            found = f"another {type(tensor).__name__} at {str(name)[:80]}"
            raise CheckpointError(f"{path}: expected plain tensors by name, no larger than the file; found {found}")
    return weights


def _fitted(
    path: Path, weights: Mapping[str, Tensor], names: Names, shapes: Mapping[str, torch.Size]
) -> dict[str, Tensor]:
    """The weights of a file by our names; raises a CheckpointError that lists all that do not fit our shapes."""
    tensors, problems, used = {}, [], set[str]()
    for ours, theirs in names.items():
        wanted, shape = ([theirs], shapes[ours]) if isinstance(theirs, str) else (theirs, shapes[ours][1:])
        unfit = []
        for name in dict.fromkeys(wanted):
            if (tensor := weights.get(name)) is None:
                unfit.append(f"missing: {name}")
            elif tensor.shape != shape or not tensor.is_floating_point():
                found = f"{str(tensor.dtype).removeprefix('torch.')} of {tuple(tensor.shape)}"
                unfit.append(f"{name}: expected numbers of shape {tuple(shape)}, found {found}")
        if not unfit:
            read = [weights[name].float() for name in wanted]
            tensors[ours] = read[0].clone() if isinstance(theirs, str) else torch.stack(read)
        problems += unfit
        used |= set(wanted)
    problems += [f"unexpected: {name[:120]}" for name in weights if name not in used]
    if problems:
        raise CheckpointError(itemised(f"{path}: the weights do not fit the run's arguments and the encoder", problems))
    return tensors
