"""Where a model runs outside training."""

from __future__ import annotations

import torch


def pick_device(*, no_cuda: bool) -> torch.device:
    """The GPU where there is one and it is wanted, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() and not no_cuda else "cpu")
