"""Which languages of a model have adapters alike, and the map of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hyperx.device import placed
from hyperx.errors import ConfigError, HyperXError
from hyperx.languages import canonical, language_name
from hyperx.method.adapter import AdapterStack
from hyperx.model import HyperX
from hyperx.pairs import TaskLanguagePair

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSING = '--plot: needs the package matplotlib: pip install "hyperx-nlp[plots]"'


def similar_adapters(model: HyperX, task: str) -> tuple[list[str], Tensor]:
    """The languages that a task was trained in, and how similar what its generators read is for each two of them, the
    cosine over all layers of the differences from their mean ``[N, N]``; none if the model has no hypernetwork.

    The generators are linear, so this is how alike the adapters are; embeddings may be far apart and give the same.

    Raises:
        HyperXError: if the model has no such task.
    """
    if task not in model.config.kinds:
        raise HyperXError(f"the model has no task {task}; it has {', '.join(model.config.kinds)}")
    languages = model.config.languages
    rows = [row for row, code in enumerate(languages) if (task, canonical(code)) in model.config.trained_keys]
    if (hypernetwork := model.eval().hypernetwork) is None or len(rows) < 2:
        return [], torch.zeros(0, 0)
    own = [list(model.config.kinds).index(task)] * len(rows)
    indices = placed(torch.tensor([own, rows]), hypernetwork.source.task.device)
    with torch.inference_mode():
        read = hypernetwork.projected(*indices).flatten(1).float().cpu()
    read = torch.nn.functional.normalize(read - read.mean(dim=0), dim=1)
    return [languages[row] for row in rows], read @ read.T


def adapter_similarity(model: HyperX, pairs: Sequence[TaskLanguagePair]) -> Tensor | None:
    """How alike the adapters of K distinct pairs are in each of L layers, the cosines of all their weights' differences
    from the mean of the pairs ``[L, K, K]``; None if the model has no adapters."""
    with torch.inference_mode():
        adapters, layers = model.eval().adapters(pairs), list[Tensor]()
    for layer in () if adapters is None else adapters.layers():
        parts = layer.parts if isinstance(layer, AdapterStack) else (layer,)
        weights = [own.flatten(1) for one in parts for own in (one.down, one.down_bias, one.up, one.up_bias)]
        flat = torch.cat(weights, dim=1).float().cpu()
        flat = torch.nn.functional.normalize(flat - flat.mean(dim=0), dim=1)
        layers.append(flat @ flat.T)
    return torch.stack(layers) if layers else None


def language_map(similarity: Tensor) -> Tensor:
    """A place for each of N languages ``[N, 2]``, by classical scaling: distances are as near as two dimensions permit
    to ``sqrt(2 - 2 similarity)``, those between the unit vectors that have these cosines."""
    centred = similarity - similarity.mean(dim=0, keepdim=True)
    centred = centred - centred.mean(dim=1, keepdim=True)
    values, vectors = torch.linalg.eigh(centred.double())
    places = vectors[:, -2:].flip(1) * values[-2:].flip(0).clamp(min=0).sqrt()
    # An eigenvector's sign is arbitrary: the largest entry is made positive, so that every machine draws the same.
    places = places * places.gather(0, places.abs().argmax(dim=0, keepdim=True)).sign()
    return torch.as_tensor(places)


def language_figure(languages: list[str], similarity: Tensor, *, size: tuple[float, float]) -> Figure:
    """The map of languages as a figure of matplotlib, which must be there, of a size in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes, places = figure.subplots(), language_map(similarity)
    axes.scatter(places[:, 0], places[:, 1], s=14)
    for code, place in zip(languages, places.tolist(), strict=True):
        axes.annotate(language_name(code), place, xytext=(3, 3), textcoords="offset points", fontsize=8)
    axes.set_axis_off()
    axes.set_aspect("equal", "datalim")
    return figure


def draw_map(languages: list[str], similarity: Tensor, task: str, file: Path) -> None:
    """Draw the map of languages.

    Raises:
        ConfigError: if matplotlib is not installed.
        OSError: if the file cannot be written.
    """
    try:
        figure = language_figure(languages, similarity, size=(9, 6.5))
    except ImportError:
        raise ConfigError([MISSING]) from None
    figure.axes[0].set_title(f"Languages with like adapters of {task} are near each other")
    figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
