"""Plain bottleneck adapters: every weight is stored and trained directly, none is generated."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hyperx.config import AdapterSharing, HypernetworkOptions
from hyperx.method.adapter import Adapters, AdapterStack, AdapterWeights, NormWeights
from hyperx.method.hypernetwork import PUBLISHED_STD, PlainNorm

Weights = TypeVar("Weights", NormWeights, AdapterWeights)


class PlainAdapter(nn.Module):
    """One bottleneck adapter in each of L layers, with the same equation, sizes, norms and start as a generated one."""

    def __init__(self, *, hidden_size: int, layers: int, options: HypernetworkOptions) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.zeros(layers, options.adapter_dim, hidden_size))
        self.down_bias = nn.Parameter(torch.zeros(layers, options.adapter_dim))
        self.up = nn.Parameter(torch.zeros(layers, hidden_size, options.adapter_dim))
        self.up_bias = nn.Parameter(torch.zeros(layers, hidden_size))

        def norm(wanted: bool) -> PlainNorm | None:
            return PlainNorm(hidden_size=hidden_size, layers=layers) if wanted else None

        self.norm_pre = norm(options.add_layer_norm_before_adapter)
        self.norm_post = norm(options.add_layer_norm_after_adapter)
        if options.generator_start == "published":
            nn.init.normal_(self.down, std=PUBLISHED_STD)
            nn.init.normal_(self.up, std=PUBLISHED_STD)
        else:
            nn.init.normal_(self.down, std=hidden_size**-0.5)

    def forward(self) -> AdapterWeights:
        """The weights without the K dimension: ``down [L, b, h]`` and so on."""
        norms = [
            None if norm is None else NormWeights(norm.weight, norm.bias) for norm in (self.norm_pre, self.norm_post)
        ]
        return AdapterWeights(self.down, self.down_bias, self.up, self.up_bias, *norms)


class PlainAdapters(nn.ModuleDict):
    """The adapters of all pairs without a hypernetwork, called as one: the baselines that Hyper-X is compared with.

    Adapters are named by what shares them: ``shared``, ``task-ner``, ``language-tr`` or ``pair-ner#tr``. Only tasks,
    languages or pairs with training data have one; others use a mean: a language (task) that of the trained languages
    (tasks), a pair that of its task's trained pairs, or of all pairs if there are none.

    Args:
        sharing: what shares an adapter; ``stacked`` puts the task's on the language's.
        tasks: names of all tasks.
        languages: names of all languages.
        trained_pairs: task and language of the pairs with training data; none counts as all.
        layers: number L of adapted layers.
        hidden_size: hidden size h of the encoder.
        options: bottleneck size, norms and initialisation.
    """

    def __init__(
        self,
        *,
        sharing: AdapterSharing,
        tasks: Sequence[str],
        languages: Sequence[str],
        trained_pairs: Collection[tuple[str, str]],
        layers: int,
        hidden_size: int,
        options: HypernetworkOptions,
    ) -> None:
        super().__init__()
        self.tasks, self.languages = tuple(tasks), tuple(languages)
        self.kinds = ("language", "task") if sharing == "stacked" else (sharing,)
        everything = [(task, language) for task in tasks for language in languages]
        pairs = [pair for pair in everything if pair in trained_pairs] or everything
        # A run that starts from another one may have left out some of its languages, but kept their tasks.
        trained_tasks = {task for task, _ in trained_pairs} or tasks
        trained_languages = {language for _, language in trained_pairs}
        names = {
            "shared": ["shared"],
            "task": [f"task-{task}" for task in tasks if task in trained_tasks],
            "language": [f"language-{name}" for name in languages if name in (trained_languages or languages)],
            "pair": [f"pair-{task}#{language}" for task, language in pairs],
        }
        for kind in self.kinds:
            for name in names[kind]:
                self[name] = PlainAdapter(hidden_size=hidden_size, layers=layers, options=options)

    def forward(self, tasks: Sequence[int], languages: Sequence[int]) -> Adapters:
        """The adapters of K distinct pairs in all L layers, as :meth:`Hypernetwork.forward` gives them."""
        names = (*self.languages, "")
        named = [(self.tasks[task], names[language]) for task, language in zip(tasks, languages, strict=True)]
        parts = tuple(self._of_kind(kind, named) for kind in self.kinds)
        return parts[0] if len(parts) == 1 else AdapterStack(parts)

    def _of_kind(self, kind: str, pairs: Sequence[tuple[str, str]]) -> AdapterWeights:
        used = [self._used(kind, *pair) for pair in pairs]
        weights: dict[tuple[str, ...], AdapterWeights] = {
            names: _combined([self[name]() for name in names], _mean) for names in dict.fromkeys(used)
        }
        if len(weights) == 1:
            # One adapter serves all pairs: nothing is copied.
            return _combined([weights[used[0]]], lambda one: one[0].expand(len(pairs), *one[0].shape))
        return _combined([weights[names] for names in used], torch.stack)

    def _used(self, kind: str, task: str, language: str) -> tuple[str, ...]:
        """The names of the adapters that a pair uses: its own, or those whose mean it takes."""
        own = {"shared": "shared", "task": f"task-{task}", "language": f"language-{language}"}
        name = own.get(kind, f"pair-{task}#{language}")
        if name in self:
            return (name,)
        same_task = tuple(other for other in self if other.startswith(f"pair-{task}#"))
        return same_task or tuple(other for other in self if other.startswith(f"{kind}-"))


def _mean(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.stack(tensors).mean(dim=0)


def _combined(parts: Sequence[Weights], combine: Callable[[list[Tensor]], Tensor]) -> Weights:
    """Combine weights tensor by tensor."""
    combined: dict[str, Any] = {}
    for field in fields(parts[0]):
        values = [getattr(part, field.name) for part in parts]
        if isinstance(values[0], NormWeights):
            combined[field.name] = _combined(values, combine)
        else:
            combined[field.name] = None if values[0] is None else combine(values)
    return type(parts[0])(**combined)
