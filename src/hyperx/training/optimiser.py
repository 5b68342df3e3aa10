"""What is trained, and how: the number of steps, the optimiser and its parameter groups, the learning rates."""

from __future__ import annotations

import itertools
import math
import re
from typing import cast

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from hyperx.config import ModelOptions, TrainingOptions
from hyperx.encoders.families import norm_parameters
from hyperx.method.hypernetwork import PlainNorm
from hyperx.method.source import SourceEmbedding
from hyperx.model import HyperX
from hyperx.plan.model import public_names
from hyperx.tables import print_table

DEFAULT_STEPS = 2000


def print_modules(model: HyperX, options: ModelOptions) -> None:
    """Print the model's modules: their parameters, those that each regular expression of the options matched, and those
    that are trained."""
    given = {f"--{name}": getattr(options, name) for name in ("freeze_params_regex", "unfreeze_params_regex")}
    given = {option: re.compile(pattern) for option, pattern in given.items() if pattern is not None}
    public = {id(parameter): name for name, parameter in public_names(model)}
    parts = {"encoder": "encoder", "hypernetwork": "hypernetwork", "plain_adapters": "adapter", "heads": "head"}
    rows: dict[str, list[int]] = {}
    for name, parameter in model.named_parameters():
        visible = public.get(id(parameter))
        top, part, *_ = f"{visible or name}.".split(".")
        part = "layer norms" if top == "encoder" and "LayerNorm" in (visible or "") else part
        matched = [visible is not None and bool(pattern.match(visible)) for pattern in given.values()]
        counts = [parameter.numel() * flag for flag in (True, *matched, parameter.requires_grad)]
        row = rows.setdefault(f"{parts[top]}: {part}" if top in parts else top, [0] * len(counts))
        row[:] = map(sum, zip(row, counts, strict=True))
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    header = ["module", "parameters", *(f"matched by {option}" for option in given), "trained"]
    print_table("Modules", header, [[name, *(f"{count:,}" for count in row)] for name, row in rows.items()])


def total_steps(options: TrainingOptions, windows: int, batch_rows: int) -> int:
    """Optimiser steps of the run: as many as given, or those of the epochs if only these are given."""
    if options.max_train_steps is not None:
        return options.max_train_steps
    if options.num_train_epochs is None:
        return DEFAULT_STEPS
    rows_of_step = batch_rows * options.gradient_accumulation_steps
    return max(1, math.ceil(options.num_train_epochs * windows / rows_of_step))


def make_optimizer(model: HyperX, options: TrainingOptions, device: torch.device) -> AdamW:
    """Fused AdamW (one pass instead of several) over the trained parameters, with weight decay on matrices only, and a
    rate of its own for the encoder, except its norms."""
    spared = without_decay(model)
    encoder = {id(parameter) for parameter in model.encoder.parameters()} - norm_parameters(model.encoder)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # The rate of the first group is the one that is logged.
    groups = [
        {
            "params": [p for p in parameters if (id(p) in encoder, id(p) in spared) == (inside, exempt)],
            "lr": options.learning_rate * (options.encoder_learning_rate_scale if inside else 1.0),
            "weight_decay": 0.0 if exempt else options.weight_decay,
        }
        for inside, exempt in itertools.product((False, True), repeat=2)
    ]
    return AdamW(groups, lr=options.learning_rate, fused=device.type in ("cpu", "cuda"))


def without_decay(model: HyperX) -> set[int]:
    """The ids of the parameters without weight decay: biases, norms, embeddings and the activation's own."""
    whole = (nn.Embedding, nn.LayerNorm, SourceEmbedding, PlainNorm)
    modules: list[nn.Module] = [module for module in model.modules() if isinstance(module, whole)]
    if isinstance(model.activation, nn.Module):
        modules.append(model.activation)
    spared = {id(parameter) for module in modules for parameter in module.parameters()}
    biases = {id(parameter) for name, parameter in model.named_parameters() if name.endswith("bias")}
    return spared | biases | norm_parameters(model.encoder)


def make_scheduler(optimizer: AdamW, options: TrainingOptions, steps: int) -> LRScheduler:
    """The learning-rate schedule of a run with this number of steps."""
    warmup = steps // 10 if options.warmup_steps is None else options.warmup_steps
    # The polynomial schedule divides by the number of steps after warm-up, which must not be 0.
    scheduler = get_scheduler(
        options.lr_scheduler_type, optimizer, num_warmup_steps=warmup, num_training_steps=max(steps, warmup + 1)
    )
    return cast(LRScheduler, scheduler)
