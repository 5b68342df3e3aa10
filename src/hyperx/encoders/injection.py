"""Adapters inside a frozen encoder, for the time of one forward pass and without a copy of its code."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from hyperx.modules.adapter import Adapters, adapted

Hook = Callable[[nn.Module, Any, Any], Any]


@contextmanager
def injected(
    points: Sequence[nn.Module],
    weights: Adapters,
    rows: Tensor | None,
    activation: Callable[[Tensor], Tensor],
) -> Iterator[None]:
    """Apply the adapter of layer i to the output of ``points[i]``, while the context is open.

    Args:
        points: one module a layer.
        weights: the adapters of K pairs in all layers.
        rows: for each row of the batch the index of its pair ``[B]``; None where K is 1.
        activation: the adapters' non-linearity.
    """
    with ExitStack() as hooks:
        for index, point in enumerate(points):
            hook = _adapter_hook(weights.layer(index), rows, activation)
            hooks.callback(point.register_forward_hook(hook).remove)
        yield


@contextmanager
def captured(layers: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect what the first layer reads and what every layer gives, while the context is open.

    The encoders can return their states themselves, but some take them before and some after hooks placed by others;
    opened inside :func:`injected`, this always sees the adapted output.

    Args:
        layers: the encoder's layers, first to last.

    Yields:
        A list that one forward pass fills with L + 1 states ``[B, T, h]``.
    """
    states: list[Tensor] = []
    owner = threading.get_ident()

    # The names are missing where another thread removes its own hook meanwhile; then this one is not the owner.
    def before(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any] | None = None) -> None:
        if threading.get_ident() == owner:
            states.append(inputs[0] if inputs else (named or {})["hidden_states"])

    def after(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if threading.get_ident() == owner:
            states.append(output[0] if isinstance(output, tuple) else output)

    with ExitStack() as hooks:
        hooks.callback(layers[0].register_forward_pre_hook(before, with_kwargs=True).remove)
        for layer in layers:
            hooks.callback(layer.register_forward_hook(after).remove)
        yield states


def _adapter_hook(weights: Adapters, rows: Tensor | None, activation: Callable[[Tensor], Tensor]) -> Hook:
    # Two threads may run one model at the same time: each sees the hooks of both, and must obey its own alone.
    owner = threading.get_ident()

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if threading.get_ident() != owner:
            return output
        if isinstance(output, tuple):
            return (adapted(output[0], weights, rows, activation), *output[1:])
        return adapted(output, weights, rows, activation)

    return hook
