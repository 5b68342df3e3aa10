"""Weights in few bytes: matrices in 8 bits, and what training changed in an encoder's matrices, in 8 bits or in 2.

In place of a matrix of the encoder, a file may hold ``NAME.change``, which is added to the frozen one. With ``M.scale``
beside it, a matrix ``M`` of int8 is that times a scale for each row; one of uint8 holds four numbers in a byte, each
the index of a level in :data:`LEVELS`, times the scale. Vectors stay in 32 bits: norms and biases together take a few
percent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from hyperx.errors import HyperXError, not_expected

if TYPE_CHECKING:
    from torch import Tensor

    Tensors: TypeAlias = Mapping[str, Tensor]

SCALE, CHANGE = ".scale", ".change"
BITS, ENCODER_BITS = (8, 32), (2, 8, 32)
LEVELS = (-1.5104, -0.4528, 0.4528, 1.5104)
"""The four levels that are closest to normally distributed numbers of variance 1 (Max, 1960)."""


def packed(
    tensors: Tensors, before: Tensors, *, bits: int, encoder_bits: int | None = None, stored: Tensors | None = None
) -> dict[str, Tensor]:
    """Weights as they are stored.

    Args:
        tensors: the weights.
        before: weights before training; of the matrices among them the change is stored.
        bits: 8 or 32, of the entries of matrices.
        encoder_bits: 2, 8 or 32, of the entries of changes; by default ``bits``.
        stored: the same weights as a file has them: what takes no more bits there stays as it is.
    """
    if bits not in BITS:
        raise not_expected("bits", "8 or 32", bits)
    if encoder_bits is not None and encoder_bits not in ENCODER_BITS:
        raise not_expected("encoder_bits", "2, 8 or 32", encoder_bits)
    changed = {name for name, one in tensors.items() if name in before and one.dim() > 1}
    if encoder_bits is not None and not changed:
        raise HyperXError("encoder_bits: the encoder's layers were not trained; leave it out")
    small: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        value, own = tensor.detach().cpu(), encoder_bits if encoder_bits and name in changed else bits
        kept = [one for one in (name, name + CHANGE) if stored and one + SCALE in stored]
        if stored and kept and own >= (8 if stored[kept[0]].dtype.is_signed else 2):
            small |= {one: stored[one] for one in (kept[0], kept[0] + SCALE)}
            continue
        if name in changed:
            value = (value - before[name].detach().cpu()).float()
            name += CHANGE
        if value.dim() > 1 and own < 32 and value.numel():
            value, small[name + SCALE] = in_8_bits(value.float()) if own == 8 else in_2_bits(value.flatten(1))
        small[name] = value
    return small


def in_8_bits(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers from -127 to 127 ``[..., n]`` and the rows' scales ``[..., 1]`` in bfloat16, whose product is at most
    half a scale away from a matrix in float32."""
    import torch

    least = (matrix.abs().amax(-1, keepdim=True) / 127).clamp(min=torch.finfo(torch.float32).tiny)
    # Rounded up to bfloat16, which is the upper half of a float.
    scale = ((least.view(torch.int32) + 0xFFFF) >> 16 << 16).view(torch.float32)
    return (matrix / scale).round().to(torch.int8), scale.bfloat16()


def in_2_bits(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Levels of a matrix ``[m, n]``, four in a byte ``[m, n / 4]``, the columns filled up with any level, and the rows'
    scales ``[m, 1]`` in bfloat16: their standard deviations about 0."""
    import torch

    scale = matrix.pow(2).mean(1, keepdim=True).sqrt().clamp(min=torch.finfo(torch.float32).tiny).bfloat16()
    levels = torch.tensor(LEVELS)
    indices = torch.bucketize(matrix / scale.float(), (levels[1:] + levels[:-1]) / 2)
    indices = torch.nn.functional.pad(indices, (0, -matrix.shape[1] % 4)).view(len(matrix), -1, 4)
    return (indices << torch.arange(0, 8, 2)).sum(-1).to(torch.uint8), scale


def unpacked(stored: Mapping[str, Tensor], faults: list[str]) -> dict[str, Tensor]:
    """Stored weights in 32 bits; changes remain (see :func:`restored`). Scales that are missing or do not fit are added
    to ``faults``."""
    import torch

    whole: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        if tensor.dtype in (torch.int8, torch.uint8):
            scale, shape = stored.get(name + SCALE, torch.empty(0)), (*tensor.shape[:-1], 1)
            if (scale.shape, scale.dtype) == (shape, torch.bfloat16):
                if tensor.dtype == torch.uint8:
                    indices = tensor[..., None].int() >> torch.arange(0, 8, 2) & 3
                    tensor = torch.tensor(LEVELS)[indices].flatten(-2)
                whole[name] = tensor * scale.float()
            else:
                expected = f"{shape} in torch.bfloat16, one for each row of {tuple(tensor.shape)}"
                found = f"{tuple(scale.shape)} in {scale.dtype}" if name + SCALE in stored else "none"
                faults.append(f"{name + SCALE}: expected {expected}; found {found}")
        elif not (name.endswith(SCALE) and name.removesuffix(SCALE) in stored):
            whole[name] = tensor
    return whole


def restored(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], faults: list[str]) -> dict[str, Tensor]:
    """Weights whose changes are added to those of a model around the encoder as it was; what does not fit is added to
    ``faults``."""
    whole = dict(tensors)
    for name, weight in own.items():
        if (change := whole.pop(name + CHANGE, None)) is None:
            continue
        rows, columns = len(weight), weight.numel() // len(weight)
        filled = (rows, columns + -columns % 4)  # as those in 2 bits
        if change.shape in (weight.shape, (rows, columns), filled):
            if change.shape == filled:
                change = change[:, :columns]
            whole[name] = weight.detach() + change.reshape(weight.shape).to(weight.device)
        else:
            faults.append(f"{name}: expected {CHANGE} {tuple(weight.shape)}; found {CHANGE} {tuple(change.shape)}")
            whole[name] = weight
    return whole
