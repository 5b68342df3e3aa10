"""Weights in few bytes: matrices in 8 bits, and what training changed in an encoder's matrices, whole or of low rank.

In place of a matrix of the encoder, a file may hold ``NAME.change``, which is added to the frozen one, or its factors
``NAME.left`` and ``NAME.right``. With ``M.scale`` beside it, any matrix ``M`` is in 8 bits: int8 times a scale for each
row. Vectors stay in 32 bits: norms and biases together take a few percent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hyperx.errors import HyperXError, not_expected

if TYPE_CHECKING:
    from torch import Tensor

SCALE, CHANGE, LEFT, RIGHT = ".scale", ".change", ".left", ".right"


def packed(
    tensors: Mapping[str, Tensor], before: Mapping[str, Tensor], *, bits: int, rank: int | None
) -> dict[str, Tensor]:
    """Weights as they are stored.

    Args:
        tensors: the weights.
        before: weights before training; of the matrices among them the change is stored.
        bits: 8 or 32, of the entries of matrices.
        rank: rank K to which a change is cut, unless factors take more than the whole.
    """
    import torch

    sizes = [one.flatten(1).shape for name, one in tensors.items() if name in before and one.dim() > 1]
    most = max((rows * columns // (rows + columns) for rows, columns in sizes), default=0)
    if bits not in (8, 32):
        raise not_expected("bits", "8 or 32", bits)
    if rank is not None and not sizes:
        raise HyperXError("encoder_rank: the encoder's layers were not trained; leave it out")
    if rank is not None and rank not in range(1, most + 1):
        raise not_expected("encoder_rank", f"1 to {most}, beyond which factors take no less", rank)
    small: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        parts = {name: tensor.detach().cpu()}
        if name in before and tensor.dim() > 1:
            change = (parts[name] - before[name].detach()).float()
            parts, flat = {name + CHANGE: change}, change.flatten(1)
            if rank is not None and rank * sum(flat.shape) < flat.numel():
                svd = torch.linalg.svd(flat, full_matrices=False)
                # The columns on the left are of one length, so that one scale suits a row.
                parts = {name + LEFT: svd.U[:, :rank], name + RIGHT: svd.S[:rank, None] * svd.Vh[:rank]}
        for part, value in parts.items():
            small[part] = value
            if bits == 8 and value.dim() > 1:
                small[part], small[part + SCALE] = in_8_bits(value.float())
    return small


def in_8_bits(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers from -127 to 127 ``[..., n]`` and the rows' scales ``[..., 1]`` in bfloat16, whose product is at most
    half a scale away from a matrix in float32."""
    import torch

    least = (matrix.abs().amax(-1, keepdim=True) / 127).clamp(min=torch.finfo(torch.float32).tiny)
    # Rounded up to bfloat16, which is the upper half of a float.
    scale = ((least.view(torch.int32) + 0xFFFF) >> 16 << 16).view(torch.float32)
    return (matrix / scale).round().to(torch.int8), scale.bfloat16()


def unpacked(stored: Mapping[str, Tensor], faults: list[str]) -> dict[str, Tensor]:
    """Stored weights in 32 bits; changes remain (see :func:`restored`). Scales that are missing or do not fit are added
    to ``faults``."""
    import torch

    whole: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        if tensor.dtype == torch.int8:
            scale, shape = stored.get(name + SCALE, torch.empty(0)), (*tensor.shape[:-1], 1)
            if (scale.shape, scale.dtype) == (shape, torch.bfloat16):
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
        parts = {part: whole.pop(name + part) for part in (CHANGE, LEFT, RIGHT) if name + part in whole}
        if not parts:
            continue
        if {LEFT, RIGHT} == parts.keys() and parts[LEFT].shape[1:] == parts[RIGHT].shape[:1]:
            parts = {CHANGE: parts[LEFT] @ parts[RIGHT]}
        rows, columns = len(weight), weight.numel() // len(weight)
        if {CHANGE} == parts.keys() and parts[CHANGE].shape in (weight.shape, (rows, columns)):
            whole[name] = weight.detach() + parts[CHANGE].view(weight.shape).to(weight.device)
        else:
            found = ", ".join(f"{part} {tuple(tensor.shape)}" for part, tensor in parts.items())
            expected = f"{CHANGE} {tuple(weight.shape)}, or {LEFT} ({rows}, K) and {RIGHT} (K, {columns})"
            faults.append(f"{name}: expected {expected}; found {found}")
            whole[name] = weight
    return whole
