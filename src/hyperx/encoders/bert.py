"""BERT for the embedded encoder, with the names of the Hugging Face library's ``BertModel``, whose import alone takes
longer than everything else up to a first prediction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class BertConfig:
    """Sizes and settings of a :class:`Bert`; fields as in the library's ``BertConfig``."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    pad_token_id: int
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    model_type: str = "bert"
    _attn_implementation: str = "sdpa"

    def to_diff_dict(self) -> dict[str, Any]:
        """All settings."""
        return asdict(self)


class BertOutput(NamedTuple):
    """What a :class:`Bert` returns: the states of the last layer ``[B, T, h]``."""

    last_hidden_state: Tensor


class Bert(nn.Module):
    """Embeddings, layers and nothing above them (Devlin et al., 2019). Positions count from 0."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        width, norm = config.hidden_size, partial(nn.LayerNorm, config.hidden_size, eps=config.layer_norm_eps)
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": _embedding(config.vocab_size, width, config.pad_token_id),
                "position_embeddings": _embedding(config.max_position_embeddings, width),
                "token_type_embeddings": _embedding(config.type_vocab_size, width),
                "LayerNorm": norm(),
                "dropout": nn.Dropout(config.hidden_dropout_prob),
            }
        )
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))})

    def get_input_embeddings(self) -> nn.Module:
        """The word embeddings."""
        return self.embeddings["word_embeddings"]

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> BertOutput:
        """Encode subwords.

        Args:
            input_ids: subword ids ``[B, T]``.
            attention_mask: 0 for padding ``[B, T]``, or False for what a position does not read ``[B, 1, T, T]``; None
                if nothing is padded.
        """
        parts: Any = self.embeddings
        length = input_ids.shape[1]
        states = parts["word_embeddings"](input_ids) + parts["token_type_embeddings"].weight[0]
        states = states + parts["position_embeddings"].weight[:length]
        states = parts["dropout"](parts["LayerNorm"](states))
        if attention_mask is not None and attention_mask.dim() == 2:
            # The fastest kernel of attention takes no mask; a graph cannot depend on the mask's values.
            whole = not torch.compiler.is_compiling() and bool(attention_mask.all())
            attention_mask = None if whole else attention_mask.bool()[:, None, None].expand(-1, 1, length, -1)
        for layer in cast(nn.ModuleList, self.encoder["layer"]):
            states = layer(states, attention_mask)
        return BertOutput(states)


def _embedding(rows: int, width: int, padding: int | None = None) -> nn.Embedding:
    """Embeddings without values: to draw some on the device "meta", PyTorch would load its compiler."""
    return nn.Embedding(rows, width, padding, _weight=torch.empty(rows, width))


class _Layer(nn.Module):
    """Self-attention and the feed-forward block. ``gradient_checkpointing`` is the library's switch."""

    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable[..., Tensor]

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        own = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
        own["dropout"] = nn.Dropout(config.attention_probs_dropout_prob)
        self.attention = nn.ModuleDict({"self": own, "output": _Output(config, width)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, config.intermediate_size)})
        self.output = _Output(config, config.intermediate_size)
        self.heads = config.num_attention_heads

    def __call__(self, *inputs: Any) -> Tensor:
        call = super().__call__
        checkpointed = self.gradient_checkpointing and self.training
        return cast(Tensor, self._gradient_checkpointing_func(call, *inputs) if checkpointed else call(*inputs))

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        own = cast(nn.ModuleDict, self.attention["self"])
        query, key, value = (
            own[name](states).unflatten(-1, (self.heads, -1)).transpose(1, 2) for name in ("query", "key", "value")
        )
        dropped = own["dropout"].p if self.training else 0.0
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=cast(float, dropped))
        states = self.attention["output"](read.transpose(1, 2).flatten(2), states)
        return cast(Tensor, self.output(F.gelu(self.intermediate["dense"](states)), states))


class _Output(nn.Module):
    """The end of a block: a projection, dropout, the residual sum and its norm."""

    def __init__(self, config: BertConfig, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, inner: Tensor, states: Tensor) -> Tensor:
        return cast(Tensor, self.LayerNorm(self.dropout(self.dense(inner)) + states))
