"""Folders as the published program writes them, and what its model computes: its names, written out by hand."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import BertConfig, BertModel
from transformers.activations import ACT2FN
from transformers.trainer_utils import SchedulerType

OPTIONS: dict[str, Any] = {
    "tasks": ["ner", "pos"],
    "languages": ["en", "tr"],
    "train_task_language_pairs": ["ner#en", "pos#tr"],
    "eval_task_language_pairs": ["ner#tr"],
    "condition_to_layer_id": True,
    "project_source_embeddings": True,
    "language_embedding_dim": 6,
    "task_embedding_dim": 5,
    "layer_id_embedding_dim": 4,
    "projected_source_embedding_dim": 7,
    "source_hidden_dim": 9,
    "add_layer_norm_before_adapter": False,
    "add_layer_norm_after_adapter": False,
    "adapter_dim": 8,
    "adapter_non_linearity": "relu",
    "conditional_layer_norm": False,
    "no_hypernet": False,
    "after_layer_output": False,
    "max_length": 256,
    "model_name_or_path": "outputs/none/such",
    "lr_scheduler_type": SchedulerType.POLYNOMIAL,
    "learning_rate": 1e-4,
    "output_dir": None,
}
LABELS = {"ner": 7, "pos": 18, "dep": 38}
SOURCE = "bert.encoder.hypernet_source_controller"


@dataclass
class Published:
    """A run of the published program.

    Args:
        options: its arguments.
        shared: the weights of encoder and hypernetwork, which every task's file holds.
        heads: by task the weights of its head.
        config: the encoder's configuration.
    """

    options: dict[str, Any]
    shared: dict[str, Tensor]
    heads: dict[str, dict[str, Tensor]]
    config: BertConfig
    changed: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def second_copies(self) -> dict[str, Tensor]:
        """The generators once more, under every layer that had one placed in it."""
        copies = {}
        for layer in range(self.config.num_hidden_layers if not self.options["after_layer_output"] else 0):
            prefix = "bert.encoder.hypernet." + ("" if self.options["condition_to_layer_id"] else f"{layer}.")
            place = f"bert.encoder.layer.{layer}.output.hypernet."
            copies |= {
                place + name.removeprefix(prefix): tensor
                for name, tensor in self.shared.items()
                if name.startswith(prefix)
            }
        return copies

    def write(self, folder: Path, *, config: bool = True) -> Path:
        """Write the run's checkpoint, and a file of training arguments that nobody may open."""
        for task in self.options["tasks"]:
            own = folder / f"{task}_model"
            own.mkdir(parents=True)
            weights = self.shared | self.second_copies() | self.heads[task] | self.changed.get(task, {})
            torch.save(weights, own / "pytorch_model.bin")
        self.write_arguments(folder)
        (folder / "trainer_args.bin").write_bytes(pickle.dumps(Hostile("touch trained")))
        if config:
            self.config.to_json_file(folder / "config.json")
        return folder

    def write_arguments(self, folder: Path, **changes: Any) -> None:
        """Write the arguments as Python 3.7, which the program was made for, does."""
        self.options |= changes
        (folder / "hyperx_args.bin").write_bytes(pickle.dumps(argparse.Namespace(**self.options), 3))


class Hostile:
    """Something whose pickle runs a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        import os

        return os.system, (self.command,)


def published_run(encoder: BertModel, *, seed: int = 0, **changes: Any) -> Published:
    """A run with random weights of every kind that its arguments ask for, around an encoder."""
    options = OPTIONS | changes
    random = torch.Generator().manual_seed(seed)
    shared = encoder.state_dict(prefix="bert.")
    shared["bert.embeddings.position_ids"] = torch.arange(encoder.config.max_position_embeddings)[None]

    def add(target: dict[str, Tensor], name: str, *shape: int) -> None:
        target[name] = torch.randn(*shape, generator=random) * 0.3

    def linear(name: str, outputs: int, inputs: int) -> None:
        add(shared, f"{name}.weight", outputs, inputs)
        add(shared, f"{name}.bias", outputs)

    layers, hidden, bottleneck = encoder.config.num_hidden_layers, encoder.config.hidden_size, options["adapter_dim"]
    for task in options["tasks"]:
        add(shared, f"{SOURCE}.task_embeddings.{task}", options["task_embedding_dim"])
    for language in options["languages"]:
        add(shared, f"{SOURCE}.lang_embeddings.{language}", options["language_embedding_dim"])
    width = options["task_embedding_dim"] + options["language_embedding_dim"]
    if options["condition_to_layer_id"]:
        width += options["layer_id_embedding_dim"]
        for layer in range(layers):
            add(shared, f"{SOURCE}.layer_id_embeddings.layer:{layer}", options["layer_id_embedding_dim"])
    options["source_embedding_dim"] = width
    if options["project_source_embeddings"]:
        linear(f"{SOURCE}.source_embedding_MLP.0", options["source_hidden_dim"], width)
        width = options["projected_source_embedding_dim"]
        linear(f"{SOURCE}.source_embedding_MLP.2", width, options["source_hidden_dim"])
    options["projected_source_embedding_dim"] = width
    for prefix in generator_prefixes(options, layers):
        linear(f"{prefix}.meta_up_sampler.weight_generator.0", hidden * bottleneck, width)
        linear(f"{prefix}.meta_up_sampler.bias_generator.0", hidden, width)
        linear(f"{prefix}.meta_down_sampler.weight_generator.0", bottleneck * hidden, width)
        linear(f"{prefix}.meta_down_sampler.bias_generator.0", bottleneck, width)
        for side, option in (("pre", "before"), ("post", "after")):
            if options[f"add_layer_norm_{option}_adapter"] and options["conditional_layer_norm"]:
                linear(f"{prefix}.{side}_layernorm_hypernet.weight_generator", hidden, width)
                linear(f"{prefix}.{side}_layernorm_hypernet.bias_generator", hidden, width)
            elif options[f"add_layer_norm_{option}_adapter"]:
                add(shared, f"{prefix}.{side}_layer_norm.weight", hidden)
                add(shared, f"{prefix}.{side}_layer_norm.bias", hidden)
    heads: dict[str, dict[str, Tensor]] = {task: {} for task in options["tasks"]}
    for task, head in heads.items():
        if task == "dep":
            add(head, "biaffine_arcs.weight", 1, hidden + 1, hidden)
            add(head, "biaffine_rels.weight", LABELS[task], hidden + 1, hidden + 1)
        elif task == "mlm":
            add(head, "cls.predictions.bias", encoder.config.vocab_size)
        else:
            add(head, "cls.weight", LABELS[task], hidden)
            add(head, "cls.bias", LABELS[task])
    return Published(options, shared, heads, encoder.config)


def generator_prefixes(options: Mapping[str, Any], layers: int) -> list[str]:
    """One set of generators, or one a layer."""
    if options["condition_to_layer_id"]:
        return ["bert.encoder.hypernet"]
    return [f"bert.encoder.hypernet.{layer}" for layer in range(layers)]


def published_hidden(run: Published, ids: Tensor, mask: Tensor, task: str, language: str) -> Tensor:
    """What the published model's heads read, layer by layer with the weights under their published names."""
    encoder = BertModel(run.config, add_pooling_layer=False).eval()
    encoder.load_state_dict(
        {name.removeprefix("bert."): run.shared[name] for name in run.shared if "hypernet" not in name}, strict=False
    )
    for index, layer in enumerate(encoder.encoder.layer):
        point = layer if run.options["after_layer_output"] else layer.output.dropout
        point.register_forward_hook(_hook(run, task, language, index))
    with torch.no_grad():
        return encoder(input_ids=ids, attention_mask=mask).last_hidden_state


def _hook(run: Published, task: str, language: str, layer: int) -> Any:
    def apply(_module: Any, _inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return published_adapter(run, output[0], task, language, layer), *output[1:]
        return published_adapter(run, output, task, language, layer)

    return apply


def published_adapter(run: Published, x: Tensor, task: str, language: str, layer: int) -> Tensor:
    """``x + norm_post(U act(D norm_pre(x) + d) + u)``."""
    weights, options = run.shared, run.options
    source = torch.cat([weights[f"{SOURCE}.task_embeddings.{task}"], weights[f"{SOURCE}.lang_embeddings.{language}"]])
    if options["condition_to_layer_id"]:
        source = torch.cat([source, weights[f"{SOURCE}.layer_id_embeddings.layer:{layer}"]])

    def linear(name: str, value: Tensor) -> Tensor:
        return weights[f"{name}.weight"] @ value + weights[f"{name}.bias"]

    if options["project_source_embeddings"]:
        source = linear(f"{SOURCE}.source_embedding_MLP.0", source).relu()
        source = linear(f"{SOURCE}.source_embedding_MLP.2", source)
    prefixes = generator_prefixes(options, run.config.num_hidden_layers)
    prefix = prefixes[0] if options["condition_to_layer_id"] else prefixes[layer]

    def norm(value: Tensor, side: str) -> Tensor:
        if options["conditional_layer_norm"]:
            place = f"{prefix}.{side}_layernorm_hypernet"
            weight, bias = linear(f"{place}.weight_generator", source), linear(f"{place}.bias_generator", source)
        else:
            weight, bias = (weights[f"{prefix}.{side}_layer_norm.{part}"] for part in ("weight", "bias"))
        return F.layer_norm(value, x.shape[-1:], weight, bias)

    def projection(name: str, value: Tensor, *shape: int) -> Tensor:
        place = f"{prefix}.meta_{name}_sampler"
        weight, bias = linear(f"{place}.weight_generator.0", source), linear(f"{place}.bias_generator.0", source)
        return F.linear(value, weight.view(*shape), bias)

    hidden, bottleneck = x.shape[-1], options["adapter_dim"]
    read = norm(x, "pre") if options["add_layer_norm_before_adapter"] else x
    narrow = ACT2FN[options["adapter_non_linearity"]](projection("down", read, bottleneck, hidden))
    written = projection("up", narrow, hidden, bottleneck)
    return x + (norm(written, "post") if options["add_layer_norm_after_adapter"] else written)
