"""A model of some pairs, whose adapters are numbers that nothing writes any more: what is exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, cast

import torch
from torch import Tensor, nn

from hyperx.encoders.families import prepared_mask
from hyperx.errors import HyperXError
from hyperx.method.adapter import Rows
from hyperx.model import HyperX, Named
from hyperx.packing import in_8_bits
from hyperx.pairs import TaskLanguagePair
from hyperx.tasks.base import HeadInput
from hyperx.tasks.parsing import ParserLogits

ARCS, RELATIONS = "_arcs", "_relations"
"""What the outputs of a parser are called behind the name of its task."""
BLOCK = 32
"""How many weights share a scale in the embedded encoder's file."""


class FixedPairs(nn.Module):
    """The encoder of a model, the adapters of K pairs and the heads of their tasks.

    Args:
        model: the model.
        pairs: the pairs.
        bits: 8 keeps the adapters in 16 bits, 32 as they are.
    """

    def __init__(self, model: HyperX, pairs: Sequence[TaskLanguagePair], *, bits: int) -> None:
        super().__init__()
        self.encoder, self.injection = model.encoder, model.injection
        self.heads = Named({pair.task: model.heads[pair.task] for pair in pairs})

        def kept(value: Tensor) -> Tensor:
            return (value.half() if bits == 8 else value).contiguous()

        with torch.no_grad():
            weights = model.adapters(pairs)
            self.layers = None if weights is None else [_each(layer, kept) for layer in weights.layers()]
            self.changes = model.layer_changes(pairs)
            self.rows = {task: model.head_rows(task, pairs) for task in self.heads}

    def forward(self, input_ids: Tensor, attention_mask: Tensor, words: Tensor, pair: Tensor) -> dict[str, Tensor]:
        """The logits of every task for all rows, in the form of its head; of a parser the scores of arcs ``[B, W, W +
        1]`` and of the relations to all heads ``[B, W, W + 1, R]``.

        Args:
            input_ids: subword ids ``[B, T]``.
            attention_mask: 1 for subwords, 0 for padding ``[B, T]``.
            words: for each subword the index of its word, -1 for special ones and padding ``[B, T]``; -1 for all if
                neither trees nor labels of texts are wanted, which saves their time.
            pair: the index of each row's pair ``[B]``.
        """
        with self.injection.adapting(self.layers, Rows(pair), self.changes, input_ids.shape):
            mask = prepared_mask(self.encoder, input_ids, attention_mask)
            hidden = self.encoder(input_ids=input_ids, attention_mask=mask).last_hidden_state
        # The parser's head asks for the number of words; a graph takes it as a size.
        width: Any = (words.max() + 1).item()
        torch._check(width >= 0)  # type: ignore[no-untyped-call]
        torch._check(width <= input_ids.shape[1])  # type: ignore[no-untyped-call]
        outputs: dict[str, Tensor] = {}
        for task, head in self.heads.items():
            rows = self.rows[task]
            own = None if rows is None else rows[pair]
            logits = head(HeadInput(hidden, words, hidden, words.new_zeros(1, width), own))
            if isinstance(logits, ParserLogits):
                outputs |= {task + ARCS: logits.possible, task + RELATIONS: logits.relations()}
            elif isinstance(logits, Tensor):
                outputs[task] = logits
            else:
                raise HyperXError(f"{task}: its head gives {type(logits).__name__}, which is not exported")
        return outputs


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A value of adapters with every tensor in it changed."""
    if value is None or isinstance(value, Tensor):
        return None if value is None else change(value)
    if isinstance(value, tuple):
        return tuple(_each(one, change) for one in value)
    return type(value)(*(_each(getattr(value, field.name), change) for field in fields(value)))


def small_embedding(table: nn.Module, *, bits: int) -> nn.Module:
    """Word embeddings in few bytes: in blocks of 4 bits where nothing is lost by it, as with the embedded encoder, else
    with 8 bits in 8 bits."""
    if type(table) is not nn.Embedding:  # some do more than look up
        return table
    weight = table.weight.detach()
    stored = in_blocks(weight) or (in_8_bits(weight) if bits == 8 else None)
    return table if stored is None else SmallEmbedding(*stored)


class SmallEmbedding(nn.Module):
    """Embeddings ``[V, E]`` as whole numbers and scales: int8 ``[V, E]`` with a scale for each row, or uint8 ``[V, E /
    2]`` with two numbers from -8 to 7 in a byte (see :func:`in_blocks`) and a scale for each block."""

    def __init__(self, numbers: Tensor, scales: Tensor) -> None:
        super().__init__()
        self.register_buffer("numbers", numbers)
        self.register_buffer("scales", scales.half() if numbers.dtype == torch.uint8 else scales.float())

    def forward(self, ids: Tensor) -> Tensor:
        stored, table = cast(Tensor, self.numbers), cast(Tensor, self.scales)
        scales, numbers = table[ids].float()[..., None], stored[ids].float()
        numbers = numbers.reshape(*ids.shape, table.shape[1], -1)
        if stored.dtype == torch.uint8:
            high = (numbers / 16).floor()  # not all runtimes have operations on bits
            numbers = torch.cat([numbers - 16 * high, high], dim=-1) - 8
        return (numbers * scales).flatten(-2)


def in_blocks(weight: Tensor) -> tuple[Tensor, Tensor] | None:
    """Embeddings in blocks of 4-bit numbers, as the embedded encoder's file has them: two in a byte ``[V, E / 2]``, the
    lower half of a block in the low bits, and scales in 16 bits ``[V, E / 32]``. None if that is not what they are."""
    if weight.shape[1] % BLOCK:
        return None
    blocks = weight.view(-1, BLOCK)
    # The greatest entry of a block is -8 times its scale.
    scales = (blocks.gather(1, blocks.abs().argmax(dim=1, keepdim=True)) / -8).half()
    numbers = torch.where(scales == 0, 0, blocks / scales.float()).round()
    if not torch.equal(numbers * scales.float(), blocks):
        return None
    whole = (numbers + 8).to(torch.uint8)
    packed = whole[:, : BLOCK // 2] + 16 * whole[:, BLOCK // 2 :]
    return packed.view(len(weight), -1), scales.view(len(weight), -1)
