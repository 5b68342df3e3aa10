"""Where adapters belong in an encoder of a family without an entry: found by its structure and checked, or refused.

The encoder is run on four subwords. In the last residual sum ``r + f`` of every layer, f must be the output of a module
and depend on r position by position, as in a feed-forward block; only norms may come after it. The adapter is then
applied to that module's output (Hyper-X, section 2). The first subword must see the last, and padding change nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from hyperx.encoders.families import LAYOUTS, EncoderLayout
from hyperx.errors import EncoderError

log = logging.getLogger(__name__)

_SUBWORDS = 4
_SUMS = {"add", "__add__", "__radd__"}


class _Unclear(Exception):
    """Why the structure is not clear."""


class _NoEncoder(_Unclear):
    """Why an entry in the table would not help either."""


@dataclass(slots=True)
class _Layer:
    """What happened in one layer.

    Args:
        calls: the modules inside that returned hidden states, in order: name, input and output.
        sums: sums of two hidden states, in order: both summands and the result.
        output: the layer's output states, once it has ended.
    """

    calls: list[tuple[str, Any, Tensor]] = field(default_factory=list)
    sums: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    output: Tensor | None = None


class _Trace(TorchFunctionMode):
    """What happens in an encoder during one forward pass.

    Args:
        layers: the encoder's layers.
        shape: shape of its hidden states.
    """

    def __init__(self, layers: nn.ModuleList, shape: torch.Size) -> None:
        super().__init__()
        self.modules, self.shape = layers, shape
        self.layers = [_Layer() for _ in layers]
        self.order: list[int] = []
        self.norms: list[tuple[str, Any, Tensor]] = []
        self.first: Any = None
        self.inside: int | None = None

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if self.inside is not None and getattr(function, "__name__", "") in _SUMS and len(args) == 2:
            first, second = args
            if all(isinstance(x, Tensor) and x.shape == self.shape for x in (first, second, result)):
                self.layers[self.inside].sums.append((first, second, result))
        return result

    @contextmanager
    def hooked(self, encoder: PreTrainedModel) -> Iterator[None]:
        """Register hooks that write into this trace while the context is open."""
        inside = set(self.modules.modules())
        with ExitStack() as hooks:
            for name, module in encoder.named_modules():
                if module not in inside and _is_norm(module):
                    hooks.callback(module.register_forward_hook(partial(self._called, self.norms, name)).remove)
            for index, layer in enumerate(self.modules):
                enter = partial(self._enter, index)
                hooks.callback(layer.register_forward_pre_hook(enter, with_kwargs=True).remove)
                for name, module in layer.named_modules():
                    called = partial(self._called, self.layers[index].calls, name)
                    hooks.callback(module.register_forward_hook(called if name else self._leave).remove)
            yield

    def _enter(self, index: int, _module: nn.Module, inputs: Any, named: dict[str, Any]) -> Any:
        self.order.append(index)
        self.inside = index
        if self.first is not None:
            return None
        # Whatever is frozen, gradients start here.
        self.first = _states(inputs or (named["hidden_states"],)).detach().requires_grad_()
        return ((self.first, *inputs[1:]), named) if inputs else ((), {**named, "hidden_states": self.first})

    def _called(
        self, calls: list[tuple[str, Any, Tensor]], name: str, _module: nn.Module, inputs: Any, output: Any
    ) -> None:
        states = _states(output)
        if isinstance(states, Tensor) and states.shape == self.shape:
            calls.append((name, _states(inputs), states))

    def _leave(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        assert self.inside is not None
        self.layers[self.inside].output = _states(output)
        self.inside = None


def layout_by_structure(encoder: PreTrainedModel) -> EncoderLayout:
    """The layout of an encoder whose family has none.

    Raises:
        EncoderError: if the structure is not clear, with advice on how to add the family.
    """
    family, inside, path = encoder.config.model_type, list[str](), "PATH.OF.THE.LAYERS"
    training = encoder.training
    try:
        path, layers = _find_layers(encoder)
        inside = [name for name, _ in layers[0].named_modules() if name]
        encoder.train(False)
        trace, last = _run(encoder, layers)
        layout = EncoderLayout(layers=path, feed_forward=_feed_forward(trace), final_norm=_final_norm(trace, last))
        _check(encoder, layers, layout, last)
    except _NoEncoder as problem:
        raise EncoderError(
            f"models of type {family!r} are no encoders: {problem}. Name an encoder, such as one of the families "
            f"{', '.join(LAYOUTS)}"
        ) from problem
    except _Unclear as problem:
        raise EncoderError(
            f"encoders of type {family!r} are not in the table (which has {', '.join(LAYOUTS)}), and their structure "
            f"does not tell where adapters belong: {problem}. To add the family, write "
            f'LAYOUTS[{family!r}] = EncoderLayout(layers="{path}", feed_forward="PATH.INSIDE.A.LAYER"), both names '
            "from hyperx.encoders.families, where feed_forward is the module that ends the feed-forward block, before "
            f"the residual sum; the modules of a layer are {', '.join(inside) or 'unknown'}"
        ) from problem
    finally:
        encoder.train(training)
    log.info(
        "encoders of type %s are not in the table; by their structure, layers are at %s and their feed-forward blocks "
        "end at %s. The dropout of attention weights stays on",
        family, layout.layers, layout.feed_forward,
    )  # fmt: skip
    return layout


def _find_layers(encoder: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    if getattr(encoder.config, "is_encoder_decoder", False):
        raise _Unclear("the model has a decoder too (an entry in the table can name the class of the encoder alone)")
    depth = getattr(encoder.config, "num_hidden_layers", None)
    found = {
        name: module
        for name, module in encoder.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth
    }
    outer = [name for name in found if not any(name.startswith(f"{other}.") for other in found)]
    if len(outer) != 1:
        raise _Unclear(f"expected one list of {depth} layers, found {', '.join(outer) or 'none'}")
    return outer[0], found[outer[0]]


def _states(output: Any) -> Any:
    """The hidden states in a module's output, which may have more."""
    return output[0] if isinstance(output, tuple) and output else output


def _run(
    encoder: PreTrainedModel,
    layers: nn.ModuleList,
    *,
    replace: Callable[[Tensor], Tensor] | None = None,
    at: str = "",
    padding: int = 0,
) -> tuple[_Trace, Tensor]:
    """One forward pass on a few subwords, with gradients: what happened, and the last hidden states.

    Args:
        encoder: the encoder.
        layers: its layers.
        replace: replaces a module's output in every layer.
        at: the path of that module inside a layer.
        padding: how many padding subwords to append.
    """
    ids, mask = _subwords(encoder, padding)
    trace = _Trace(layers, torch.Size((*ids.shape, encoder.config.hidden_size)))
    with trace.hooked(encoder), ExitStack() as replaced, torch.enable_grad():
        if replace is not None:
            for layer in layers:
                hook = layer.get_submodule(at).register_forward_hook(
                    lambda _module, _inputs, output: _with_states(output, replace(_states(output))), prepend=True
                )
                replaced.callback(hook.remove)
        try:
            with trace:
                last = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        except Exception as error:  # whatever a model that expects other inputs raises
            raise _Unclear(f"it does not run on subword ids and an attention mask alone ({error!r})") from error
    if trace.order != list(range(len(layers))):
        raise _Unclear(f"expected each layer to be called once, in order; found the order {trace.order}")
    return trace, last


def _subwords(encoder: PreTrainedModel, padding: int) -> tuple[Tensor, Tensor]:
    """The ids and the attention mask ``[1, T]`` of a few subwords."""
    pad = getattr(encoder.config, "pad_token_id", None) or 0
    known = [index for index in range(encoder.config.vocab_size) if index != pad][-_SUBWORDS:]
    ids = torch.tensor([known + [pad] * padding], device=encoder.device)
    return ids, (torch.arange(ids.shape[1], device=encoder.device) < len(known)).long()[None]


def _with_states(output: Any, states: Tensor) -> Any:
    return (states, *output[1:]) if isinstance(output, tuple) else states


def _feed_forward(trace: _Trace) -> str:
    """The module, the same in every layer, whose output is the f of the last residual sum."""
    names = [_block_of(layer) for layer in trace.layers]
    if len(set(names)) != 1:
        raise _Unclear(f"the feed-forward blocks end at different modules: {', '.join(dict.fromkeys(names))}")
    return names[0]


def _block_of(layer: _Layer) -> str:
    if not layer.sums:
        raise _Unclear("a layer has no residual sum of two hidden states")
    first, second, result = layer.sums[-1]
    block, residual = (first, second) if _depends(first, second) else (second, first)
    if not _depends(block, residual):
        raise _Unclear("no summand of the last residual sum follows from the other")
    names = [name for name, _, states in layer.calls if states is block]
    if not names:
        raise _Unclear("what the last residual sum adds is no module's output")
    if _depends(block[:, :1], residual, beyond=1):
        raise _Unclear(f"what {names[-1]} adds last to the residual mixes positions, which no feed-forward block does")
    while result is not layer.output:
        after = [states for name, read, states in layer.calls if read is result and "norm" in name.lower()]
        if not after:
            raise _Unclear("something other than a norm comes after the last residual sum")
        result = after[-1]
    return names[-1]


def _depends(value: Tensor, on: Tensor, beyond: int = 0) -> bool:
    """Whether the value depends on positions of another tensor ``[B, T, h]`` from ``beyond`` on."""
    if not (value.requires_grad and on.requires_grad):
        return False
    weights = torch.linspace(0.5, 1.5, value.numel(), device=value.device).view(value.shape)
    (gradient,) = torch.autograd.grad((value * weights).sum(), on, retain_graph=True, allow_unused=True)
    return gradient is not None and bool(gradient[:, beyond:].any())


def _final_norm(trace: _Trace, last: Tensor) -> str | None:
    """The norm after the last layer; None if there is none."""
    if not _depends(last[:, :1], trace.first, beyond=_SUBWORDS - 1):
        raise _NoEncoder("its first subword does not see the last one")
    output = trace.layers[-1].output
    if last is output:
        return None
    names = [name for name, read, states in trace.norms if read is output and states is last]
    if not names:
        raise _Unclear("something other than a norm comes after the last layer")
    return names[-1]


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()


def _check(encoder: PreTrainedModel, layers: nn.ModuleList, layout: EncoderLayout, last: Tensor) -> None:
    """Check that with zeros as the block's output only the residual is left, and that padding changes nothing."""
    trace, _ = _run(encoder, layers, replace=torch.zeros_like, at=layout.feed_forward)
    for layer in trace.layers:
        first, second, result = layer.sums[-1]
        if not (result.equal(first) or result.equal(second)):
            raise _Unclear(f"the residual sum does not read the output of {layout.feed_forward}")
    _, padded = _run(encoder, layers, padding=_SUBWORDS)
    if not torch.allclose(padded[:, :_SUBWORDS], last, atol=1e-3 * last.detach().abs().max().item()):
        raise _Unclear("padding changes what it makes of the subwords")
