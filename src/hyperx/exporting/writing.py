"""Writes pairs of a model as ONNX, as a program of PyTorch, or for the library ``adapters``."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hyperx import checkpoint
from hyperx.config import ExportConfig
from hyperx.data.batch.windows import Subwords
from hyperx.encoders.families import encoder_layers
from hyperx.errors import ConfigError, counted
from hyperx.exporting.facts import FORMAT, ONNX, PROGRAM, ExportFacts, runtime
from hyperx.exporting.fixed import FixedPairs, small_embedding
from hyperx.files import write_json
from hyperx.method.adapter import AdapterWeights
from hyperx.model import HyperX
from hyperx.pairs import TaskLanguagePair
from hyperx.tasks.tagging import TaggingTask

log = logging.getLogger(__name__)

OPSET = 20
ADAPTER_CLASSES = {"bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta"}
"""The encoders of which the library adapters has the same modules under the same names, and what it calls them."""
ADAPTER = {"mh_adapter": False, "output_adapter": True, "original_ln_before": False, "original_ln_after": True}
"""An adapter behind the feed-forward block, before the residual sum and its norm, in the words of ``adapters``."""


def export_pairs(config: ExportConfig, model: HyperX | None = None) -> Path:
    """Write pairs of a model, by default of the checkpoint that the options name, into a new folder, complete or not at
    all; returns the folder. The options are those that ``checked_export`` let pass.

    Raises:
        ConfigError: if the encoder cannot be written in this format.
        HyperXError: if the model has no tokenizer, or a task's head gives something unknown.
    """
    if model is None:
        model = HyperX.from_pretrained(config.folder, encoder=config.model_name_or_path, add_ons=config.add_on)
    pairs, output, own = [TaskLanguagePair.parse(name) for name in config.pairs], config.output, model.config
    assert output is not None
    tokenizer: Any = model.checked_tokenizer()
    log.info("writing %s as %s into %s, for half a minute or so", counted(len(pairs), "pair"), config.format, output)

    def fill(folder: Path) -> None:
        place = folder
        if config.format == "adapters":
            place = folder / "encoder"
            write_adapters(folder, model, pairs)
        else:
            write_program(folder, model, pairs, onnx=config.format == "onnx", bits=config.bits)
            facts = ExportFacts(
                format=FORMAT,
                pairs={str(pair): own.labels_of(pair) for pair in pairs},
                max_length=own.max_length,
                pad_id=Subwords.of(tokenizer).pad,
            )
            write_json(folder / checkpoint.EXPORTED, asdict(facts))
            tasks = dict.fromkeys(pair.task for pair in pairs)
            kinds, labels = {task: own.kinds[task] for task in tasks}, {task: own.labels[task] for task in tasks}
            settings = replace(own, kinds=kinds, labels=labels, corpora={})
            write_json(folder / checkpoint.CONFIG, {"format": checkpoint.FORMAT, **settings.to_json()})
        tokenizer.save_pretrained(place)
        # A class that versions 4 and 5 of the library know.
        path, known = place / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"}
        write_json(path, json.loads(path.read_text(encoding="utf-8")) | known)

    training, device, exporter = model.training, model.word_embeddings.device, logging.getLogger("torch.onnx")
    level = exporter.level
    try:
        model.eval().cpu()
        exporter.setLevel(logging.ERROR)  # it tells of packages that it does not need
        with torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="torch|copyreg|onnx")  # of how they call one another
            checkpoint.write_folder(output, fill)
    finally:
        exporter.setLevel(level)
        model.train(training).to(device)
    return output


def write_program(folder: Path, model: HyperX, pairs: Sequence[TaskLanguagePair], *, onnx: bool, bits: int) -> None:
    """Write ``model.onnx`` or ``model.pt2``, which is called as :class:`FixedPairs` is."""
    words = torch.tensor([[-1, 0, 1, -1]] * 2)
    ids, pair = torch.full_like(words, Subwords.of(model.checked_tokenizer()).pad), torch.zeros(2, dtype=torch.int64)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(words), "words": words, "pair": pair}
    sizes = {name: dict.fromkeys(range(value.dim()), torch.export.Dim.DYNAMIC) for name, value in inputs.items()}
    fixed = FixedPairs(model, pairs, bits=bits).eval()
    table = model.encoder.get_input_embeddings()
    small = small_embedding(table, bits=bits)
    try:
        _exchange(model.encoder, table, small)
        program = torch.export.export(fixed, (), inputs, dynamic_shapes=sizes, strict=False)
        names = list(fixed(**inputs))
    finally:
        _exchange(model.encoder, small, table)
    if not onnx:
        torch.export.save(program, folder / PROGRAM)
        return
    written: Any = torch.onnx.export(
        program, dynamo=True, input_names=list(inputs), output_names=names, opset_version=OPSET, verbose=False
    )
    path = folder / ONNX
    if bits == 32:
        written.save(path)
        return
    runtime()
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    graph = written.model_proto
    add_pre_process_metadata(graph)  # else it advises what the exporter has done
    dimensions = {one.name: len(one.dims) for one in graph.graph.initializer}
    # What ends a feed-forward block loses by far the most; and a stack of matrices has no kernel.
    linear = {module: repr(name) for name, module in fixed.named_modules() if isinstance(module, nn.Linear)}
    ends = [[linear[one] for one in layer.modules() if one in linear][-1] for layer in encoder_layers(model.encoder)]
    left = [
        node.name
        for node in graph.graph.node
        if node.op_type == "MatMul"
        and (dimensions.get(node.input[1]) != 2 or any(end in one.value for end in ends for one in node.metadata_props))
    ]
    quantize_dynamic(
        graph,
        path,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=left,
    )


def _exchange(encoder: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a module in the place of another, wherever that is."""
    for module in [*encoder.modules()]:
        for name, child in module.named_children():
            if child is old:
                setattr(module, name, new)


# The library adapters -------------------------------------------------------------------------------------------------


def write_adapters(folder: Path, model: HyperX, pairs: Sequence[TaskLanguagePair]) -> None:
    """Write ``encoder``, which has what was trained in it, and for each pair a folder ``<task>_<language>`` with its
    adapter, and with its head if that gives each subword a label."""
    encoder: Any = model.encoder
    settings = encoder.config.to_diff_dict()
    family = settings["model_type"]
    if family not in ADAPTER_CLASSES:
        found = f"found {family}; use --format torch"
        raise ConfigError([f"--format adapters: expected an encoder of type {', '.join(ADAPTER_CLASSES)}; {found}"])
    place = folder / "encoder"
    place.mkdir()
    write_json(place / "config.json", {name: value for name, value in settings.items() if name[0] != "_"})
    save_file({name: one.contiguous() for name, one in encoder.state_dict().items()}, place / checkpoint.WEIGHTS)
    whole = model.adapters(pairs)
    assert isinstance(whole, AdapterWeights)
    width, size = whole.down.shape[-1], whole.down.shape[-2]
    options = ADAPTER | {
        "reduction_factor": width / size,
        "non_linearity": model.config.architecture.adapter_non_linearity,
        "ln_before": whole.norm_pre is not None,
        "ln_after": whole.norm_post is not None,
    }
    for row, pair in enumerate(pairs):
        name = f"{pair.task}_{pair.language}"
        about = {"name": name, "hidden_size": width, "model_type": family, "model_name": None}
        about |= {"model_class": f"{ADAPTER_CLASSES[family]}AdapterModel", "version": "adapters.1.3.0"}
        own, tensors = folder / name, dict[str, Tensor]()
        own.mkdir()
        write_json(own / "adapter_config.json", {**about, "config": options})
        for number, layer in enumerate(whole.layers()):
            down, parts = "adapter_down.0", {"adapter_up": (layer.up, layer.up_bias)}
            if (norm := layer.norm_pre) is not None:
                down = "adapter_down.1"
                parts |= dict.fromkeys(("adapter_norm_before", "adapter_down.0"), (norm.weight, norm.bias))
            if (norm := layer.norm_post) is not None:
                parts["adapter_norm_after"] = (norm.weight, norm.bias)
            parts[down] = (layer.down, layer.down_bias)
            before = f"{'bert' if family == 'bert' else 'roberta'}.encoder.layer.{number}.output.adapters.{name}"
            for part, (weight, bias) in parts.items():
                tensors[f"{before}.{part}.weight"] = weight[row].clone()
                tensors[f"{before}.{part}.bias"] = bias[row].clone()
        save_file(tensors, own / "adapter.safetensors")
        head: Any = model.heads[pair.task]
        if isinstance(model.tasks[pair.task], TaggingTask) and isinstance(head, nn.Linear):
            weights, labels = torch.cat([head.weight, head.bias[:, None]], dim=1), model.config.labels_of(pair)
            if (rows := model.head_rows(pair.task, [pair])) is not None:
                weights = nn.functional.pad(weights, (0, 0, 0, rows.shape[1] - len(weights))) + rows[0]
            config = {"head_type": "tagging", "layers": 1, "activation_function": "tanh", "dropout_prob": None}
            config |= {"num_labels": len(labels), "label2id": {label: number for number, label in enumerate(labels)}}
            write_json(own / "head_config.json", {**about, "config": config})
            values = {f"heads.{name}.1.weight": weights[:, :-1], f"heads.{name}.1.bias": weights[:, -1]}
            save_file({end: value.clone() for end, value in values.items()}, own / "model_head.safetensors")
