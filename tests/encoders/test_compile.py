"""A compiled encoder: a graph for one pair and one for several, whichever they are, and the plain one's results."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from hyperx.encoders.injection import checkpoint_activations
from hyperx.model import HyperX
from tiny import tiny_batch, tiny_encoder, tiny_model

pytestmark = [
    # The compiler looks at the gradients of its inputs, and the generated adapters are no leaves; users are not told.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]

SEVERAL = ["ner#en", "pos#tr", "pos#de"]


def results(model: HyperX, pairs: str | list[str], seed: int) -> dict[str, Tensor]:
    """The hidden states and all gradients."""
    ids, mask = tiny_batch([7, 4, 5], pad_id=1, seed=seed)
    model.zero_grad()
    hidden = model(pairs, ids, mask).hidden
    (hidden**2).mean().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"hidden": hidden.detach(), **gradients}


@pytest.mark.parametrize(
    ("family", "fields", "checkpointing"),
    [
        pytest.param("bert", {}, True, id="bert-checkpointing"),
        pytest.param("modernbert", {}, False, id="modernbert"),
        pytest.param("t5", {"after_layer_output": True}, False, id="t5-after_layer_output"),
    ],
)
def test_a_compiled_encoder_gives_what_the_plain_one_gives(
    family: str, fields: dict[str, Any], checkpointing: bool
) -> None:
    torch._dynamo.reset()
    model = tiny_model(encoder=tiny_encoder(family, layers=1), **fields).train()
    plain = copy.deepcopy(model)
    if checkpointing:
        checkpoint_activations(model.encoder)
    counter = CompileCounterWithBackend("aot_eager")
    model.encoder.compile(backend=counter, fullgraph=True)  # a graph break is an error
    graphs = []
    for seed, pairs in enumerate(["ner#en", "pos#tr", SEVERAL, SEVERAL[::-1]][: 4 if family == "bert" else 2]):
        found, wanted = (results(each, pairs, seed) for each in (model, plain))
        assert found.keys() == wanted.keys()
        for name, value in found.items():
            torch.testing.assert_close(value, wanted[name], atol=1e-5, rtol=1e-3)
        graphs.append(counter.frame_count)
    assert graphs == [1, 1, 2, 2][: len(graphs)]


@torch.no_grad()
def test_a_model_compiled_as_a_whole_leaves_the_encoder_in_one_graph() -> None:
    torch._dynamo.reset()
    model = tiny_model(encoder=tiny_encoder("bert", layers=1))
    plain = copy.deepcopy(model)
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(model, backend=counter)
    ids, mask = tiny_batch([7, 4, 5])
    for pairs in ("ner#en", SEVERAL):
        found, wanted = compiled(pairs, ids, mask), plain(pairs, ids, mask)
        torch.testing.assert_close(found.hidden, wanted.hidden, atol=1e-5, rtol=1e-4)
    # Besides the encoder's there are small ones, such as those of masks and indices on their way to a device.
    assert counter.frame_count < 12
