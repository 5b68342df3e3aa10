"""A new model around an encoder, ready to train: its initial weights, and what is frozen."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from hyperx.config import ModelConfig
from hyperx.encoders.families import disable_attention_dropout, norm_parameters
from hyperx.encoders.masked_lm import read_masked_lm
from hyperx.errors import ConfigError
from hyperx.languages import canonical
from hyperx.model import HyperX
from hyperx.plan.data import RunData
from hyperx.plan.warm_start import SIMILARITY
from hyperx.typology import similarities, without_features

log = logging.getLogger(__name__)


def build_model(data: RunData) -> HyperX:
    """A new model around the run's encoder, whose layers above the one that the heads read are dropped. A
    CheckpointError if the checkpoint to start from does not fit."""
    plan, loaded = data.plan, data.encoder
    options, shape, start = plan.config.model, plan.config.architecture, plan.start
    before = None if start is None else start.config.architecture.head_layer
    settings = ModelConfig(
        encoder=loaded.name,
        encoder_hash=loaded.content_hash,
        kinds=dict(plan.kinds),
        labels=data.labels,
        languages=plan.languages,
        trained_pairs=tuple(map(str, plan.trained_pairs)),
        self_trained_pairs=tuple(map(str, plan.self_train_pairs)),
        corpora=plan.corpora,
        hypernetwork=plan.config.hypernetwork,
        architecture=replace(shape, head_layer=shape.head_layer or before or loaded.head_layer or "last"),
        max_length=plan.config.data.max_length,
    )
    settings = settings if start is None else start.continued(settings)
    trained = settings.trained_languages
    if untrained := [language for language in settings.languages if canonical(language) not in trained]:
        log.info("no training pair has %s: these read %s", ", ".join(untrained), settings.stand_in)
    for task in settings.kinds:
        if task not in settings.trained_tasks:
            log.warning("no training pair has the task %s: its head stays untrained, and is used only if named", task)
    model = HyperX(loaded.model, settings)
    model.tokenizer = loaded.tokenizer
    source = None if model.hypernetwork is None else model.hypernetwork.source
    if source is not None and source.similarity is not None:
        source.similarity.copy_(torch.from_numpy(similarities(settings.languages)))
        if unknown := without_features(settings.languages):
            log.warning("--relatives: no features of %s: there all languages weigh alike", ", ".join(unknown))
    # The encoder's own masked-LM head was trained on its last layer. Even if heads read another layer it is the best
    # start: it has learnt to map hidden states to word embeddings, and how frequent words are.
    heads = [model.heads[name] for name, one in model.tasks.items() if one.starts_from_masked_lm]
    own = read_masked_lm(loaded.folder, loaded.model) if heads and loaded.folder is not None else None
    for head in heads:
        if own is None:
            log.info("%s comes without a masked-LM head: a new one is trained over its word embeddings", loaded.name)
        else:
            head.load_state_dict(own)
    if start is not None:
        start.load_into(model, model.config)
    if not options.attention_dropout:
        disable_attention_dropout(model.encoder)
    if options.train_encoder is not None:
        model.train_encoder(options.train_encoder)
    apply_freezing(model, options.freeze_params_regex, options.unfreeze_params_regex)
    outside = [parameter for name, parameter in public_names(model) if not name.startswith("encoder.")]
    if outside and not any(parameter.requires_grad for parameter in outside):
        what = "hypernetwork" if model.plain_adapters is None else "plain adapters"
        log.warning("--freeze_params_regex: it freezes the %s as a whole; the adapters stay as they start", what)
    return model


def public_names(model: HyperX) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters by the names that a user's pattern is matched with, which follow the published program.

    Names of the hypernetwork contain ``hypernet``, those of plain adapters ``adapter``, those of all norms of any
    encoder ``LayerNorm``. Heads and an activation's own weights are always trained, so left out here.
    """
    norms = norm_parameters(model.encoder)
    for name, parameter in model.named_parameters():
        if name.startswith(("heads.", "activation.")) or name == SIMILARITY:
            continue
        if id(parameter) in norms and "LayerNorm" not in name:
            name = re.sub(r"\.(\w+)$", r".LayerNorm.\1", name)
        yield name, parameter


def apply_freezing(model: HyperX, freeze: str | None, unfreeze: str | None) -> None:
    """Freeze parameters by name, as the published program does: ``freeze`` freezes what it matches, from the start of a
    name, and makes all else trained; then ``unfreeze`` makes what it matches trained. Without patterns nothing changes.
    A ConfigError if a pattern matches nothing."""
    parameters = dict(public_names(model))
    patterns = {"--freeze_params_regex": freeze, "--unfreeze_params_regex": unfreeze}
    problems = [
        f"{option}: {pattern!r} matches no parameter; names are such as {', '.join(list(parameters)[:3])}"
        for option, pattern in patterns.items()
        if pattern is not None and not any(re.match(pattern, name) for name in parameters)
    ]
    if problems:
        raise ConfigError(problems)
    for name, parameter in parameters.items():
        if freeze is not None:
            parameter.requires_grad_(not re.match(freeze, name))
        if unfreeze is not None and re.match(unfreeze, name):
            parameter.requires_grad_(True)
