"""The encoder families of the Hugging Face library: where things are inside each, one entry per family."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


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
    sum; ``""`` if the "layer" is that block."""
    attention_dropout: str | None = None
    """Inside a layer, the dropout of attention weights: a module, or a number on one. None: unknown, it stays on."""
    first: str | None = None
    """If a layer is not a module of its own, the list whose i-th module begins layer i and has its attention."""
    last: str | None = None
    """The list whose i-th module ends layer i, likewise."""
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
    from torch import nn

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
    "xlm": EncoderLayout(
        layers="ffns", feed_forward="", attention_dropout="dropout", first="attentions", last="layer_norm2"
    ),
    "xlm-roberta": _ROBERTA,
    "xlm-roberta-xl": replace(_ROBERTA, feed_forward="output.dense"),
}
"""Layouts by the model type that an encoder's configuration names."""
