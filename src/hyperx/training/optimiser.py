"""The number of steps of a run, its learning-rate schedule, and its optimiser with its parameter groups."""

from __future__ import annotations

import itertools
import math
from typing import cast

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from hyperx.config import TrainingOptions
from hyperx.encoders.layout import norm_parameters
from hyperx.method.hypernetwork import PlainNorm
from hyperx.method.source import SourceEmbedding
from hyperx.model import HyperX

DEFAULT_STEPS = 2000


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
