"""Where layers, adapters and norms are inside any encoder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hyperx.encoders.families import LAYOUTS, EncoderLayout
from hyperx.errors import EncoderError


def layout_of(encoder: PreTrainedModel) -> EncoderLayout:
    """The layout of an encoder's family; raises an EncoderError that shows how to add the family."""
    family = encoder.config.model_type
    if family in LAYOUTS:
        return LAYOUTS[family]
    inside = {
        name: ", ".join(path for path, _ in module[0].named_modules() if path)
        for name, module in encoder.named_modules()
        if isinstance(module, nn.ModuleList) and len(module)
    }
    raise EncoderError(
        f"encoders of type {family!r} are not known, only {', '.join(LAYOUTS)}. To add the family, write "
        f'LAYOUTS[{family!r}] = EncoderLayout(layers="{next(iter(inside), "PATH.OF.THE.LAYERS")}", '
        'feed_forward="PATH.INSIDE.A.LAYER"), both names from hyperx.encoders.families, where layers is the list of '
        "layers and feed_forward the module that ends a layer's feed-forward block, before the residual sum. The lists "
        "of modules are " + "; ".join(f"{name} with the modules {paths}" for name, paths in inside.items())
    )


def unroll_shared_layers(encoder: PreTrainedModel) -> None:
    """Make every use of a layer that is used many times (ALBERT) a module of its own, in place."""
    if (unroll := layout_of(encoder).unroll) is not None:
        unroll(encoder)


def encoder_layers(encoder: PreTrainedModel) -> nn.ModuleList:
    """The encoder's layers, first to last."""
    return _modules(encoder, layout_of(encoder).layers)


def adapter_points(encoder: PreTrainedModel, *, after_layer_output: bool) -> list[nn.Module]:
    """The module of each layer to whose output the adapter is applied (Hyper-X, section 2): the one that ends the
    feed-forward block, or the whole layer."""
    layout = layout_of(encoder)
    if after_layer_output:
        return list(_modules(encoder, layout.last or layout.layers))
    return [layer.get_submodule(layout.feed_forward) for layer in encoder_layers(encoder)]


def _modules(encoder: PreTrainedModel, path: str) -> nn.ModuleList:
    return cast(nn.ModuleList, encoder.get_submodule(path))


def keep_layers(encoder: PreTrainedModel, count: int) -> None:
    """Drop the layers above the first ``count``, in place, so that states that no head reads are not computed."""
    depth = len(encoder_layers(encoder))
    parent = encoder.get_submodule(layout_of(encoder).layers.rpartition(".")[0])
    for child in parent.children():
        if isinstance(child, nn.ModuleList) and len(child) == depth:  # layers, or their parts list by list
            del child[count:]
    for holder in (encoder.config, parent):
        for name in ("num_hidden_layers", "num_hidden_groups", "n_layers"):
            if hasattr(holder, name):
                setattr(holder, name, count)


def prepared_mask(encoder: PreTrainedModel, input_ids: Tensor, mask: Tensor | None) -> Tensor | None:
    """An attention mask ``[B, T]`` (0 for padding; None if nothing is padded) in a form that the encoder uses without
    inspecting its values.

    Encoders that use PyTorch's attention check whether anything is padded, since its fastest kernel takes no mask. On a
    GPU, that means waiting for it. So the caller decides.
    """
    knows = layout_of(encoder).square_mask and encoder.config._attn_implementation == "sdpa"
    if mask is None:
        return None if knows else torch.ones_like(input_ids)
    if not knows or mask.device.type == "cpu":
        return mask
    return mask.bool()[:, None, None].expand(-1, 1, mask.shape[1], -1)


def longest_input(encoder: PreTrainedModel) -> int | None:
    """How many subwords an encoder can read at once; None if there is no limit."""
    declared: int | None = getattr(encoder.config, "max_position_embeddings", None)
    for name, module in encoder.named_modules():
        # Not every table is an nn.Embedding.
        table = getattr(module, "weight", None) if name.rpartition(".")[2] == "position_embeddings" else None
        if isinstance(table, Tensor) and table.dim() == 2:
            # RoBERTa-like encoders count positions from the padding id on; some have spare rows.
            padding = getattr(module, "padding_idx", None)
            rows = len(table) - (0 if padding is None else padding + 1)
            return rows if declared is None else min(rows, declared)
    return None if layout_of(encoder).any_length else declared


def disable_attention_dropout(encoder: PreTrainedModel) -> None:
    """Switch off the dropout of attention weights, in place, if the layout has it: with it, most attention kernels must
    keep the whole matrix of weights for the backward pass."""
    layout = layout_of(encoder)
    parent, _, name = (layout.attention_dropout or "").rpartition(".")
    for layer in _modules(encoder, layout.first or layout.layers) if name else ():
        attention = layer.get_submodule(parent)
        dropout = getattr(attention, name)
        if isinstance(dropout, nn.Dropout):
            dropout.p = 0.0
        else:
            setattr(attention, name, 0.0)


def norm_modules(encoder: PreTrainedModel) -> Iterator[tuple[str, nn.Module]]:
    """Every layer norm of the encoder with its name: the part of it that Hyper-X trains."""
    seen: set[nn.Parameter] = set()
    for name, module in encoder.named_modules():
        own = set(module.parameters(recurse=False)) - seen
        if own and re.search(r"norm", type(module).__name__, re.IGNORECASE):
            seen |= own
            yield name, module


def norm_parameters(encoder: PreTrainedModel) -> set[int]:
    """The ids of the parameters of :func:`norm_modules`."""
    return {id(parameter) for _, norm in norm_modules(encoder) for parameter in norm.parameters()}
