"""Options by name: values of a command line, of a file or of Python, checked and made a configuration."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from hyperx.config import PUBLISHED
from hyperx.errors import ConfigError, told
from hyperx.files import in_home

Config = TypeVar("Config")

SYNONYMS = {
    "learning_rate": "lr learn_rate rate",
    "per_device_train_batch_size": "batch batch_size bs bsz train_batch_size",
    "per_device_eval_batch_size": "batch batch_size bs bsz train_batch_size eval_batch_size test_batch_size",
    "batch_size": "batch bs bsz train_batch_size eval_batch_size test_batch_size per_device_eval_batch_size",
    "num_train_epochs": "epoch epochs num_epochs n_epochs max_epochs",
    "max_train_steps": "step steps max_steps num_steps train_steps iterations",
    "gradient_accumulation_steps": "accumulation_steps grad_accum accumulate",
    "max_grad_norm": "clip clipping grad_clip gradient_clipping",
    "weight_decay": "decay wd l2",
    "warmup_steps": "warmup num_warmup_steps",
    "lr_scheduler_type": "scheduler lr_scheduler schedule",
    "early_stopping_patience": "patience early_stopping",
    "output": "out output_dir output_folder out_dir output_path save_dir",
    "output_dir": "out output output_folder out_dir output_path save_dir",
    "input": "in file text input_file input_path stdin",
    "checkpoint": "model model_path model_dir model_name load ckpt eval_ckpt run load_from_ckpt checkpoint_path",
    "eval_ckpt": "model model_path model_dir model_name load checkpoint ckpt run load_from_ckpt checkpoint_path",
    "load_from_ckpt": "checkpoint ckpt eval_ckpt run checkpoint_path",
    "model_name_or_path": "model model_path model_dir model_name load encoder base_model pretrained",
    "data_folder": "data data_dir data_path dataset datasets corpus",
    "tasks": "task",
    "language": "lang langs languages lng",
    "languages": "lang langs language lng",
    "train_task_language_pairs": "pair pairs task_language_pairs train_pairs train",
    "eval_task_language_pairs": "dev_pairs eval_pairs",
    "test_task_language_pairs": "pair pairs task_language_pairs test_pairs test dev_pairs eval_pairs",
    "no_cuda": "device cpu gpu cuda use_cpu use_cuda no_gpu",
    "seed": "random_seed random_state",
    "disable_progress_bar": "quiet silent progress no_progress progress_bar",
    "max_length": "max_len max_seq_length max_seq_len seq_len",
    "fp16": "amp half bf16 mixed_precision precision",
    "config": "cfg config_file yaml",
    "output_format": "format",
    "confidence": "confidences probabilities scores",
    "max_train_samples": "limit max_samples",
    "max_eval_samples": "limit max_samples",
    "resume": "resume_from_checkpoint continue",
    "overwrite_output_dir": "overwrite force",
    "adapter_non_linearity": "activation",
    "adapters": "no_hypernet adapter_sharing adapter",
    "": "verbose debug log_level v",
}
"""What options are called elsewhere, which a command has the first of; there is nothing like the last ones."""


def option_types(kind: type[Any], *, ranges: bool = False) -> dict[str, Any]:
    """The type of every option of a dataclass and of its sections, with the range of numbers if asked for."""
    types: dict[str, Any] = {}
    for name, hint in get_type_hints(kind, include_extras=ranges).items():
        types |= option_types(hint, ranges=ranges) if is_dataclass(hint) else {name: hint}  # type: ignore[arg-type]
    return types


def flat(config: Any) -> dict[str, Any]:
    """The value of every option of a configuration and of its sections."""
    values: dict[str, Any] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        values |= flat(value) if is_dataclass(value) else {field.name: value}
    return values


def made(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """A configuration with the options that are named and the defaults of the others, see :func:`read_values`.

    Raises:
        ConfigError: all names and values that do not fit.
    """
    problems: list[str] = []
    read = read_values(kind, values, problems)
    if problems:
        raise ConfigError(problems)
    return built(kind, read)


def built(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """A configuration with values of the right types. Those of a preset lie below them."""
    values = {**PUBLISHED, **values} if values.get("preset") == "published" else values
    parts = {
        name: built(hint, values) if is_dataclass(hint) else values[name]  # type: ignore[arg-type]
        for name, hint in get_type_hints(kind).items()
        if is_dataclass(hint) or name in values
    }
    return kind(**parts)


def read_values(kind: type[Any], values: Mapping[str, Any], problems: list[str], *, place: str = "") -> dict[str, Any]:
    """Values as the types of their options; what does not fit is added to ``problems``.

    Text is read as numbers, paths and truth values. A list of names may be one name, or a mapping (``tr: tr_boun``
    stands for ``tr=tr_boun``). A ``~`` at the start of a path means the home folder.

    Args:
        kind: the dataclass of the options.
        values: values by the names of options.
        problems: the list to which problems are added.
        place: what stands before an option's name in messages.
    """
    types = option_types(kind)
    texts: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in values.items():
        if name not in types:
            near = meant(str(name), types)
            problems.append(f"{place}there is no option {str(name)!r}." + (f" Did you mean {near!r}?" if near else ""))
            continue
        if get_origin(types[name]) is tuple:
            value = _names(value, join=name == "treebanks")
            # The text of a label may have a comma.
            if name != "label_map" and any("," in one for one in value if isinstance(one, str)):
                spaced = " ".join(" ".join(map(str, value)).replace(",", " ").split())
                problems.append(
                    f"{place}{name}: expected values with spaces between them; found commas. Write: {spaced}"
                )
                continue
        (texts if isinstance(value, str) else others)[name] = value
    # Of what is no text nothing is converted: a truth value is no number.
    read = _fitting(types, texts, problems, place, strict=False) | _fitting(types, others, problems, place, strict=True)
    for name, value in read.items():
        if isinstance(value, Path):
            read[name] = in_home(value)
        elif name == "model_name_or_path" and str(value).startswith("~"):
            read[name] = str(in_home(value))
    return read


def value_problems(config: Any) -> list[str]:
    """What is wrong with the values of a configuration: numbers out of range and, if made in Python, types."""
    problems: list[str] = []
    _fitting(option_types(type(config), ranges=True), flat(config), problems, "--", strict=True)
    return problems


def meant(name: str, known: Collection[str]) -> str | None:
    """The option that a user most likely meant by a name; None if none is close."""
    plain = name.lower().lstrip("-").replace("-", "_")
    if plain in known:
        return plain
    if options := [option for option, others in SYNONYMS.items() if plain in others.split()]:
        return next((option for option in options if option in known), None)
    return next(iter(difflib.get_close_matches(plain, known, n=1, cutoff=0.5)), None)


def _fitting(
    types: Mapping[str, Any], values: Mapping[str, Any], problems: list[str], place: str, *, strict: bool
) -> dict[str, Any]:
    """The values as their types; what does not fit is added to ``problems``."""
    settings = ConfigDict(strict=strict, protected_namespaces=())
    fields_of = {name: (types[name], ...) for name in values}
    try:
        return dict(create_model("Options", __config__=settings, **fields_of).model_validate(dict(values)))  # type: ignore[call-overload]
    except ValidationError as error:
        problems += told(error, lambda path: f"{place}{path[0]}")
        return {}


def _names(value: Any, *, join: bool) -> tuple[Any, ...]:
    """A list of names, of which a file may have one, or a mapping; its lists are joined if asked for."""
    if isinstance(value, Mapping):
        joined = {
            key: "+".join(map(str, one)) if join and isinstance(one, list) and None not in one else one
            for key, one in value.items()
        }
        return tuple(f"{key}={one}" if isinstance(one, str | int | float) else one for key, one in joined.items())
    several = value if isinstance(value, list | tuple) else [value]
    return tuple(str(one) if isinstance(one, int | float) else one for one in several)
