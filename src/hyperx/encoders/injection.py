"""Adapters inside a frozen encoder, without a copy of its code.

Hooks are registered once and do nothing by themselves: they read the adapters from the forward pass that their thread
is in. So threads do not interfere, a compiled encoder takes the adapters as inputs, and a layer that is run again in
the backward pass (activation checkpointing) is run inside the forward pass that it belongs to.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hyperx.encoders.families import adapter_points, encoder_layers
from hyperx.errors import HyperXError
from hyperx.method.adapter import Adapters, Rows, adapted
from hyperx.method.add_on import LayerChanges

if TYPE_CHECKING:
    from hyperx.encoders.families import Encoder

Activation = Callable[[Tensor], Tensor]
F = TypeVar("F", bound=Callable[..., Any])


class _NotCompiled:
    """A method that PyTorch's own decorator replaces when it is first looked up with the compiler there, as
    ``torch.compile`` does: the decorator loads the compiler, which would take half a second of every start."""

    def __init__(self, function: Callable[..., Any], *, recursive: bool) -> None:
        self.function, self.recursive = function, recursive

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner, self.name = owner, name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        function = self.function
        if "torch._dynamo" in sys.modules:
            function = torch.compiler.disable(function, recursive=self.recursive)  # type: ignore[no-untyped-call]
            setattr(self.owner, self.name, function)
        return function.__get__(instance, owner)


def not_compiled(function: F) -> F:
    """Leave a method to Python under ``torch.compile``; what it calls, such as the encoder, is compiled."""
    return cast(F, _NotCompiled(function, recursive=False))


def never_compiled(function: F) -> F:
    """Leave a method and all that it calls to Python under ``torch.compile``."""
    return cast(F, _NotCompiled(function, recursive=True))


@dataclass(frozen=True, slots=True, eq=False)
class _Pass:
    """One forward pass: the injection whose hooks apply it, and :meth:`Injection.encode`'s adapters by layer."""

    injection: Injection
    weights: Sequence[Adapters] | None
    rows: Rows | None
    changes: LayerChanges | None = None
    shape: Sequence[int] = ()
    """Of the batch, ``[B, T]``: some modules work on tables too, which are nobody's own."""


class _Current(threading.local):
    """The forward pass that this thread is in."""

    running: _Pass | None = None


_current = _Current()


@contextmanager
def _inside(running: _Pass) -> Iterator[None]:
    before, _current.running = _current.running, running
    try:
        yield
    finally:
        _current.running = before


def layer_linears(layers: Iterable[nn.Module]) -> list[nn.Linear]:
    """The linear modules inside an encoder's layers."""
    return [module for layer in layers for module in layer.modules() if isinstance(module, nn.Linear)]


class Injection:
    """The places in an encoder where adapters with this non-linearity are applied: to the output of its feed-forward
    blocks, or of whole layers."""

    def __init__(self, encoder: Encoder, *, activation: Activation, after_layer_output: bool) -> None:
        self.activation = activation
        self.layers = list(encoder_layers(encoder))
        for layer in self.layers:
            _make_checkpointable(layer)
        encoder.supports_gradient_checkpointing = True
        for index, point in enumerate(adapter_points(encoder, after_layer_output=after_layer_output)):
            point.register_forward_hook(partial(self._adapt, index))
        self.reaches_layers = False

    def reach_layers(self) -> None:
        """Let changes of the layers' linear modules be applied, which costs a little time even where there are none."""
        inputs = outputs = 0
        for linear in [] if self.reaches_layers else layer_linears(self.layers):
            own = slice(inputs, inputs + linear.in_features), slice(outputs, outputs + linear.out_features)
            linear.register_forward_hook(partial(self._change, own))
            inputs, outputs = own[0].stop, own[1].stop
        self.reaches_layers = True

    @not_compiled
    def encode(
        self,
        encoder: Encoder,
        inputs: Mapping[str, Tensor | None],
        weights: Adapters | None,
        rows: Rows | None,
        changes: LayerChanges | None = None,
    ) -> Tensor:
        """The encoder's last hidden states ``[B, T, h]``, with an adapter in every layer.

        Args:
            encoder: the encoder that this was made for, or its compiled form.
            inputs: its inputs.
            weights: the adapters of K pairs in all layers; None to run the encoder as it is.
            rows: the pair of each row of the batch; None if K is 1.
            changes: those of the layers for the pairs; None if there are none.

        Raises:
            HyperXError: if checkpointing is reentrant, which cannot give gradients to the adapters.
        """
        for layer in self.layers:
            _take_pass_along(layer)
        shape = cast(Tensor, inputs["input_ids"]).shape
        with self.adapting(None if weights is None else weights.layers(), rows, changes, shape):
            states: Tensor = encoder(**inputs).last_hidden_state
        return states

    def adapting(
        self,
        weights: Sequence[Adapters] | None,
        rows: Rows | None,
        changes: LayerChanges | None = None,
        shape: Sequence[int] = (),
    ) -> AbstractContextManager[None]:
        """A block in which this thread's calls of the encoder have these adapters, given layer by layer, and these
        changes of its layers for inputs of a shape ``[B, T]``."""
        return _inside(_Pass(self, weights, rows, changes, shape))

    def _adapt(self, index: int, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        running = _current.running
        if running is None or running.injection is not self or running.weights is None:
            return output
        states = output[0] if isinstance(output, tuple) else output
        states = adapted(states, running.weights[index], running.rows, self.activation)
        return (states, *output[1:]) if isinstance(output, tuple) else states

    def _change(self, own: tuple[slice, slice], _module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        running = _current.running
        if running is None or running.injection is not self or running.changes is None:
            return output
        if output.shape[:-1] != running.shape:
            return output
        rows = None if running.rows is None else running.rows.pairs
        return output + running.changes.applied(inputs[0], *own, rows)


# Activation checkpointing ---------------------------------------------------------------------------------------------


def checkpoint_activations(encoder: Encoder) -> None:
    """Keep only the input of each layer, and run the layer again in the backward pass: less memory, more time."""
    for layer in encoder_layers(encoder):
        _make_checkpointable(layer)
        layer.gradient_checkpointing = True  # type: ignore[assignment]
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)  # type: ignore[assignment]


def _make_checkpointable(layer: nn.Module) -> None:
    """Give a layer the Hugging Face library's switch for checkpointing if its own class has none."""
    kind = type(layer)
    if not hasattr(layer, "gradient_checkpointing"):
        from transformers.modeling_layers import GradientCheckpointingLayer

        layer.__class__ = type(kind.__name__, (kind, GradientCheckpointingLayer), {"__module__": kind.__module__})


class _TakesPassAlong:
    """A checkpointing function whose second run, in whatever thread, is inside the forward pass of the first."""

    def __init__(self, keep: Callable[..., Any]) -> None:
        self.keep = keep

    def __call__(self, layer: Callable[..., Any], *inputs: Any) -> Any:
        running = _current.running
        return self.keep(layer if running is None else partial(_run_inside, running, layer), *inputs)


def _run_inside(running: _Pass, layer: Callable[..., Any], *inputs: Any) -> Any:
    if _current.running is running:
        return layer(*inputs)
    with _inside(running):
        return layer(*inputs)


def _take_pass_along(layer: Any) -> None:
    """Make sure that a checkpointed layer is run again with its adapters."""
    if not layer.gradient_checkpointing or isinstance(layer._gradient_checkpointing_func, _TakesPassAlong):
        return
    keep = layer._gradient_checkpointing_func
    if getattr(keep, "keywords", {}).get("use_reentrant") is not False:
        raise HyperXError(
            "reentrant activation checkpointing gives no gradients to the adapters: switch it on with "
            'gradient_checkpointing_enable({"use_reentrant": False}), or --gradient_checkpointing'
        )
    layer._gradient_checkpointing_func = _TakesPassAlong(keep)
