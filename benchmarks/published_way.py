"""A training step as in the published program, to be timed: the same computation in the same order, equally wasteful.

Every sentence is padded to 256 subwords, a batch has one pair, the generators run layer by layer for an adapter of size
256 (P = 192, layer ids, projected source, a conditional norm after the adapter: the options of its shell script), and
the optimiser is the plain, unfused one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hyperx.data.batch.store import EncodedSplit
from hyperx.encoders.families import adapter_points, encoder_layers, norm_modules

LENGTH, BOTTLENECK, PROJECTED, EMBEDDING, TAGS = 256, 256, 192, 64, 18


class LayerwiseHypernetwork(nn.Module):
    """One adapter at a time: its weights are generated when its layer needs them."""

    def __init__(self, layers: int, hidden: int) -> None:
        super().__init__()
        self.task, self.language = nn.Parameter(torch.randn(EMBEDDING)), nn.Parameter(torch.randn(EMBEDDING))
        self.layer = nn.Parameter(torch.randn(layers, EMBEDDING))
        self.projector = nn.Sequential(nn.Linear(3 * EMBEDDING, PROJECTED), nn.ReLU(), nn.Linear(PROJECTED, PROJECTED))
        sizes = {"down": BOTTLENECK * hidden, "down_bias": BOTTLENECK, "up": hidden * BOTTLENECK, "up_bias": hidden}
        sizes |= {"scale": hidden, "shift": hidden}
        self.generators = nn.ModuleDict({name: nn.Linear(PROJECTED, size) for name, size in sizes.items()})
        self.hidden = hidden

    def forward(self, index: int, x: Tensor) -> Tensor:
        """The adapter of one layer applied to ``x [B, T, h]``."""
        source = self.projector(torch.cat([self.task, self.language, self.layer[index]]))
        weights = {name: generator(source) for name, generator in self.generators.items()}
        down = weights["down"].view(BOTTLENECK, self.hidden)
        up = weights["up"].view(self.hidden, BOTTLENECK)
        narrow = nn.functional.relu(nn.functional.linear(x, down, weights["down_bias"]))
        wide = nn.functional.linear(narrow, up, weights["up_bias"])
        return x + nn.functional.layer_norm(wide, (self.hidden,), weights["scale"], weights["shift"])


def published_way(encoder: PreTrainedModel, split: EncodedSplit) -> Callable[[], None]:
    """A training step on part-of-speech tags: forward, backward and optimiser on the next 32 windows, padded to 256.
    The norms of the encoder, which is its own, are trained."""
    encoder.train().requires_grad_(False)
    for _, norm in norm_modules(encoder):
        norm.requires_grad_(True)
    hidden_size = encoder.config.hidden_size
    hypernetwork, head = LayerwiseHypernetwork(len(encoder_layers(encoder)), hidden_size), nn.Linear(hidden_size, TAGS)
    for index, point in enumerate(adapter_points(encoder, after_layer_output=False)):
        point.register_forward_hook(lambda _module, _inputs, output, index=index: hypernetwork(index, output))
    parameters = [*hypernetwork.parameters(), *head.parameters()]
    parameters += [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, foreach=False, fused=False)
    windows = itertools.cycle(map(split.window, range(len(split))))

    def step() -> None:
        ids = torch.ones(32, LENGTH, dtype=torch.long)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for row, window in enumerate(itertools.islice(windows, 32)):
            ids[row, : len(window.ids)] = torch.from_numpy(window.ids.astype("int64"))
            mask[row, : len(window.ids)] = 1
            labels[row, torch.from_numpy(window.first_subwords)] = 0
        hidden = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        nn.functional.cross_entropy(head(hidden).flatten(0, 1), labels.flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
