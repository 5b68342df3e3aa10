"""The encoder families of the Hugging Face library, one entry each: where layers, adapters and norms are inside."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from hyperx.errors import EncoderError

# The library is imported where it is needed: the embedded encoder can do without.
if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from hyperx.encoders.bert import Bert

    Encoder = PreTrainedModel | Bert


@dataclass(frozen=True, slots=True)
class MaskedLMNames:
    """Where the masked-LM head of a family is among the weights that are published with its encoders: the names of
    the dense layer, of the norm and of the output layer, whose weights are the word embeddings."""

    dense: str
    norm: str
    decoder: str
    activation: str | None = None
    """The field of the configuration that names the activation; None if it is always gelu."""
    epsilon: str | float = "layer_norm_eps"
    """The field with the norm's epsilon, or the number itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderLayout:
    """Where the parts of one family of encoders are, as module paths."""

    layers: str
    """The list of layers inside the model."""
    feed_forward: str
    """Inside a layer, the module whose output is the feed-forward block's, after its dropout and before the residual
    sum."""
    attention_dropout: str | None = None
    """Inside a layer, the dropout of attention weights: a module, or a number on one. None: unknown, it stays on."""
    square_mask: bool = False
    """It takes an attention mask of ``[B, 1, T, T]`` unchanged, and None if there is no padding."""
    any_length: bool = False
    """Positions are relative, so the length of the input is not limited."""
    loads_as: str | None = None
    """The class that loads the encoder alone, if ``AutoModel`` would load more."""
    unroll: Callable[[PreTrainedModel], None] | None = None
    """Makes each use of a layer that is used many times a module of its own, in place."""
    masked_lm: MaskedLMNames | None = None
    """Its masked-LM head, if that is a dense layer, a norm and a bias over the tied word embeddings."""


def unroll_albert(encoder: PreTrainedModel) -> None:
    """Make every use of ALBERT's shared layers a group of one layer, which can be adapted, dropped and run again on its
    own; the uses share their parameters."""
    config: Any = encoder.config
    transformer: Any = encoder.get_submodule("encoder")
    groups, uses, inside = transformer.albert_layer_groups, config.num_hidden_layers, config.inner_group_num
    if len(groups) == uses and inside == 1:
        return
    layers = []
    for use in range(uses):
        group: nn.Module = groups[int(use / (uses / len(groups)))]
        for inner in range(inside):
            shared = (*group.parameters(), *group.buffers(), config)
            own: Any = copy.deepcopy(group, {id(part): part for part in shared})
            own.albert_layers = own.albert_layers[inner : inner + 1]
            layers.append(own)
    transformer.albert_layer_groups = nn.ModuleList(layers)
    config.num_hidden_layers = config.num_hidden_groups = len(layers)
    config.inner_group_num = 1


_TRANSFORM = "cls.predictions.transform"
_BERT_HEAD = MaskedLMNames(f"{_TRANSFORM}.dense", f"{_TRANSFORM}.LayerNorm", "cls.predictions.decoder", "hidden_act")
_LM_HEAD = MaskedLMNames("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder")
_BERT = EncoderLayout(
    layers="encoder.layer",
    feed_forward="output.dropout",
    attention_dropout="attention.self.dropout",
    square_mask=True,
    masked_lm=_BERT_HEAD,
)
_ROBERTA = replace(_BERT, masked_lm=_LM_HEAD)
_HEAD = "lm_predictions.lm_head"
_DEBERTA_HEAD = MaskedLMNames(f"{_HEAD}.dense", f"{_HEAD}.LayerNorm", f"{_HEAD}.decoder", "hidden_act")
_DEBERTA = replace(_BERT, square_mask=False, any_length=True, masked_lm=_DEBERTA_HEAD)
_T5 = EncoderLayout(
    layers="encoder.block",
    feed_forward="layer.1.dropout",
    attention_dropout="layer.0.SelfAttention.dropout",
    square_mask=True,
    any_length=True,
)
_ROTARY = EncoderLayout(
    layers="layers", feed_forward="mlp", attention_dropout="self_attn.attention_dropout", square_mask=True
)
_ROTARY_POST = replace(_ROTARY, feed_forward="post_mlp_dropout")

LAYOUTS: dict[str, EncoderLayout] = {
    "albert": EncoderLayout(
        layers="encoder.albert_layer_groups",
        feed_forward="albert_layers.0.ffn_output",
        attention_dropout="albert_layers.0.attention.attention_dropout",
        square_mask=True,
        unroll=unroll_albert,
        masked_lm=MaskedLMNames("predictions.dense", "predictions.LayerNorm", "predictions.decoder", "hidden_act"),
    ),
    "bert": _BERT,
    "camembert": _ROBERTA,
    "data2vec-text": _ROBERTA,
    "deberta": _DEBERTA,
    "deberta-v2": _DEBERTA,
    "distilbert": EncoderLayout(
        layers="transformer.layer",
        feed_forward="ffn",
        attention_dropout="attention.dropout",
        square_mask=True,
        masked_lm=MaskedLMNames("vocab_transform", "vocab_layer_norm", "vocab_projector", "activation", 1e-12),
    ),
    "electra": replace(
        _BERT,
        masked_lm=MaskedLMNames("generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head"),
    ),
    "ernie": _BERT,
    "eurobert": _ROTARY,
    "gte": replace(_ROTARY_POST, masked_lm=replace(_LM_HEAD, norm="lm_head.norm")),
    "jina_embeddings_v3": replace(_ROTARY_POST, masked_lm=_LM_HEAD),
    "megatron-bert": _BERT,
    "modernbert": EncoderLayout(
        layers="layers",
        feed_forward="mlp",
        attention_dropout="attn.attention_dropout",
        masked_lm=MaskedLMNames("head.dense", "head.norm", "decoder", "classifier_activation", "norm_eps"),
    ),
    "mpnet": replace(_ROBERTA, attention_dropout="attention.attn.dropout"),
    "mt5": replace(_T5, loads_as="MT5EncoderModel"),
    "nomic_bert": replace(_ROTARY_POST, masked_lm=replace(_BERT_HEAD, norm=f"{_TRANSFORM}.layer_norm")),
    "rembert": replace(_BERT, masked_lm=None),
    "roberta": _ROBERTA,
    "roberta-prelayernorm": _ROBERTA,
    "roc_bert": _BERT,
    "roformer": _BERT,
    "t5": replace(_T5, loads_as="T5EncoderModel"),
    "umt5": replace(_T5, loads_as="UMT5EncoderModel"),
    "xlm-roberta": _ROBERTA,
    "xlm-roberta-xl": replace(_ROBERTA, feed_forward="output.dense"),
}
"""Layouts by the model type that an encoder's configuration names."""


# Inside an encoder ----------------------------------------------------------------------------------------------------


def layout_of(encoder: Encoder) -> EncoderLayout:
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


def unroll_shared_layers(encoder: Encoder) -> None:
    """Make every use of a layer that is used many times (ALBERT) a module of its own, in place."""
    if (unroll := layout_of(encoder).unroll) is not None:
        unroll(cast("PreTrainedModel", encoder))


def encoder_layers(encoder: Encoder) -> nn.ModuleList:
    """The encoder's layers, first to last."""
    return cast(nn.ModuleList, encoder.get_submodule(layout_of(encoder).layers))


def adapter_points(encoder: Encoder, *, after_layer_output: bool) -> list[nn.Module]:
    """The module of each layer to whose output the adapter is applied (Hyper-X, section 2): the one that ends the
    feed-forward block, or the whole layer."""
    inside = "" if after_layer_output else layout_of(encoder).feed_forward
    return [layer.get_submodule(inside) for layer in encoder_layers(encoder)]


def keep_layers(encoder: Encoder, count: int) -> None:
    """Drop the layers above the first ``count``, in place, so that states that no head reads are not computed."""
    del encoder_layers(encoder)[count:]
    for holder in (encoder.config, encoder.get_submodule(layout_of(encoder).layers.rpartition(".")[0])):
        for name in ("num_hidden_layers", "num_hidden_groups", "n_layers"):
            if hasattr(holder, name):
                setattr(holder, name, count)


def prepared_mask(encoder: Encoder, input_ids: Tensor, mask: Tensor | None) -> Tensor | None:
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


def longest_input(encoder: Encoder) -> int | None:
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


def disable_attention_dropout(encoder: Encoder) -> None:
    """Switch off the dropout of attention weights, in place, if the layout has it: with it, most attention kernels must
    keep the whole matrix of weights for the backward pass."""
    parent, _, name = (layout_of(encoder).attention_dropout or "").rpartition(".")
    for layer in encoder_layers(encoder) if name else ():
        attention = layer.get_submodule(parent)
        dropout = getattr(attention, name)
        if isinstance(dropout, nn.Dropout):
            dropout.p = 0.0
        else:
            setattr(attention, name, 0.0)


def norm_modules(encoder: Encoder) -> Iterator[tuple[str, nn.Module]]:
    """Every layer norm of the encoder with its name: the part of it that Hyper-X trains."""
    seen: set[nn.Parameter] = set()
    for name, module in encoder.named_modules():
        own = set(module.parameters(recurse=False)) - seen
        if own and re.search(r"norm", type(module).__name__, re.IGNORECASE):
            seen |= own
            yield name, module


def norm_parameters(encoder: Encoder) -> set[int]:
    """The ids of the parameters of :func:`norm_modules`."""
    return {id(parameter) for _, norm in norm_modules(encoder) for parameter in norm.parameters()}
