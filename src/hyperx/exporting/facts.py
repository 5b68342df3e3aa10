"""What an exported folder says of itself, and what may be exported. Neither PyTorch nor the model is loaded here."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, replace
from typing import Any

from hyperx.add_on_file import checked_checkpoint
from hyperx.config import ExportConfig, ModelConfig
from hyperx.errors import ConfigError, HyperXError
from hyperx.files import not_new
from hyperx.options import value_problems
from hyperx.packing import BITS
from hyperx.pairs import parse_pairs
from hyperx.prediction.request import language_problem, prediction_problems
from hyperx.tasks.registry import KINDS

FORMAT = 1
ONNX, PROGRAM = "model.onnx", "model.pt2"
MISSING = 'needs the packages onnx, onnxscript and onnxruntime: pip install "hyperx-nlp[onnx]"'


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFacts:
    """The file ``export.json`` of a folder in onnx or torch.

    Args:
        format: version of this file and of the inputs and outputs of the model beside it.
        pairs: the labels of each pair, in the order of its logits; the place of a pair is its index as an input.
        max_length: longest input in subwords, special ones included.
        pad_id: the subword that fills shorter rows.
    """

    format: int
    pairs: dict[str, tuple[str, ...]]
    max_length: int
    pad_id: int


def runtime() -> Any:
    """The package onnxruntime, kept from collecting data on how it is used; a HyperXError if it is not there."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it is read while the package is imported
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise HyperXError(f"an exported model in ONNX {MISSING}") from None
    return onnxruntime


def checked_export(config: ExportConfig, settings: ModelConfig | None = None) -> ExportConfig:
    """The options, with the places of files; raises a ConfigError with all that is wrong with them, before weights or
    PyTorch are loaded. Of a model that is loaded already the settings are given."""
    problems = value_problems(config)
    if problem := not_new(config.output):
        problems.append(f"--output: {problem}")
    if config.bits not in BITS:
        problems.append(f"--bits: expected 8 or 32; found {config.bits}")
    elif config.bits == 8 and config.format != "onnx":
        problems.append(f"--bits: 8 needs --format onnx; found {config.format}")
    if config.format == "onnx" and not all(map(importlib.util.find_spec, ("onnx", "onnxruntime", "onnxscript"))):
        problems.append(f"--format onnx {MISSING}")
    if settings is None:
        folder, settings, add_ons = checked_checkpoint(config.folder, config, problems, config.add_on)
        config = replace(config, folder=folder, add_on=add_ons)
    elif config.folder or config.add_on or config.model_name_or_path:
        problems.append("folder, --add_on, --model_name_or_path: the model is loaded already; leave them out")
    if not config.pairs:
        problems.append("--pairs: name the pairs to export, such as: ner#tr pos#tr")
    for pair in parse_pairs(config.pairs, "--pairs", problems, KINDS):
        found = [*prediction_problems(settings, [pair.task]), language_problem(settings, pair.language)]
        problems += [f"--pairs: {one}" for one in found if one]
    shape = settings.architecture
    if config.format == "adapters" and (shape.adapters in ("none", "stacked") or shape.after_layer_output):
        has = "stand behind whole layers" if shape.after_layer_output else f"are {shape.adapters}"
        problems.append(f"--format adapters: expected one in each layer, inside of it; the model's {has}")
    if problems:
        raise ConfigError(problems)
    return config
