"""The learnt mix of all layers that task heads may read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LayerMix(nn.Module):
    """``gamma * sum_i softmax(w)_i h_i`` over the encoder's states (Peters et al. 2018), uniform at the start.

    Args:
        states: number of states: the embedding layer's and one per layer.
    """

    def __init__(self, *, states: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(states))
        self.gamma = nn.Parameter(torch.ones(()))

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """States of ``[B, T, h]`` to their mix ``[B, T, h]``."""
        shares = torch.softmax(self.weight, dim=0)
        return self.gamma * torch.stack([share * state for share, state in zip(shares, states, strict=True)]).sum(dim=0)
