"""Every option of the model against the equations written out, in every combination of two values."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import pytest
import torch
from allpairspy import AllPairs
from torch import Tensor
from transformers.activations import ACT2FN

import hyperx.model
from hyperx.config import Activation
from hyperx.encoders.families import norm_modules
from hyperx.encoders.loading import LoadedEncoder
from hyperx.method.adapter import AdapterWeights, Rows, bottleneck_adapter
from hyperx.model import HyperX, ModelOutput
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.model import apply_freezing
from literal import literal_adapters, literal_output
from tiny import LABELS, tiny_batch, tiny_bert, tiny_model, tiny_tokenizer

NOTHING = "nothing"
PUBLISHED_PATTERN = "^(?!.*(hypernet|LayerNorm)).*"
COMMON: dict[str, list[Any]] = {
    "adapter_non_linearity": ["relu", "gelu", "tanh", "silu", "leaky_relu", "mish"],
    "head_layer": ["last", 1],
    "generator_start": ["scaled", "published"],
    "after_layer_output": [True, False],
}
GENERATED: dict[str, list[Any]] = COMMON | {
    "adapters": ["hypernetwork"],
    "norms": ["", "before", "after", "before after", "before generated", "after generated", "before after generated"],
    "condition_to_layer_id": [True, False],
    "project_source_embeddings": [True, False],
    "compressed": [None, 3],
    "relatives": [0.0, 2.0],
    "corpora": [{}, {"ner#en": "news", "pos#tr": "web"}],
    "frozen": [None, PUBLISHED_PATTERN, ".*embeddings.*", NOTHING],
}
PLAIN: dict[str, list[Any]] = COMMON | {
    "adapters": ["shared", "task", "language", "pair", "stacked"],
    "norms": ["", "before", "after", "before after"],
    "frozen": [None, "^(?!.*adapter).*", ".*embeddings.*", NOTHING],
}
CASES = [dict(zip(grid, values, strict=True)) for grid in (GENERATED, PLAIN) for values in AllPairs([*grid.values()])]
"""Every two values of two options stand together in one of them at least."""
PAIRS, LENGTHS = ["ner#en", "pos#tr", "ner#de", "pos#tr", "pos#en"], [5, 3, 6, 4, 1]
IDS, MASK = tiny_batch(LENGTHS)


def model_of(case: dict[str, Any]) -> HyperX:
    options = {
        "generator_start": case["generator_start"],
        "condition_to_layer_id": case.get("condition_to_layer_id", True),
        "project_source_embeddings": case.get("project_source_embeddings", True),
        "add_layer_norm_before_adapter": "before" in case["norms"],
        "add_layer_norm_after_adapter": "after" in case["norms"],
        "conditional_layer_norm": "generated" in case["norms"],
        "relatives": case.get("relatives", 0.0),
    }
    names = ("adapters", "after_layer_output", "adapter_non_linearity", "head_layer")
    fields = {name: case[name] for name in names} | {"corpora": case.get("corpora", {})}
    model = tiny_model(encoder=tiny_bert(layers=2), options=options, **fields)
    if case.get("compressed"):
        model.compress(case["compressed"])
    return model


def row_logits(output: ModelOutput, row: int) -> torch.Tensor:
    """The logits of one row of a batch of both tasks."""
    task = PAIRS[row].partition("#")[0]
    return output.logits[task][[pair.partition("#")[0] for pair in PAIRS[:row]].count(task)]


def targets() -> Tensor:
    """A label at every position but the padding."""
    counts = torch.tensor([len(LABELS[pair.partition("#")[0]]) for pair in PAIRS])[:, None]
    labels = torch.randint(0, 1000, MASK.shape, generator=torch.Generator().manual_seed(3)) % counts
    return labels.masked_fill(MASK == 0, -100)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_every_option_with_every_other(case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batched path equals the equations; one step of training moves all that is trained; loaded equals saved."""
    model = model_of(case)
    equals_the_equations(copy.deepcopy(model).double())
    # What is frozen must be the encoder's own, as it is not saved.
    model.encoder.load_state_dict(tiny_bert(layers=2).state_dict(), strict=False)
    if case["frozen"] == NOTHING:
        model.requires_grad_(True)
        if model.hypernetwork is not None and model.hypernetwork.source.similarity is not None:
            model.hypernetwork.source.similarity.requires_grad_(False)  # facts
    else:
        apply_freezing(model, case["frozen"], None)
    trains(model)
    model.eval()
    model.save_pretrained(tmp_path / "saved")
    loaded = LoadedEncoder("tiny", "", tiny_bert(layers=2), tiny_tokenizer())
    monkeypatch.setattr(hyperx.model, "load_encoder", lambda *_, **__: loaded)
    with torch.no_grad():
        again = HyperX.from_pretrained(tmp_path / "saved")
        assert again(PAIRS, IDS, MASK).hidden.equal(model(PAIRS, IDS, MASK).hidden)


@torch.no_grad()
def equals_the_equations(model: HyperX) -> None:
    # Twice: what the first forward pass leaves in the encoder must not change the second.
    for _ in range(2):
        output = model(PAIRS, IDS, MASK)
        for row, (pair, length) in enumerate(zip(PAIRS, LENGTHS, strict=True)):
            hidden, logits = literal_output(model, IDS[row, :length], *pair.split("#"))
            torch.testing.assert_close(output.hidden[row, :length], hidden)
            torch.testing.assert_close(row_logits(output, row)[:length], logits)


def trains(model: HyperX) -> None:
    model.train()
    loss = model(PAIRS, IDS, MASK, targets()).loss
    assert torch.isfinite(loss)
    loss.backward()
    # A key's bias shifts all scores of a query alike, so that softmax does not see it.
    blind = {name for name, _ in model.named_parameters() if name.endswith("key.bias")}
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == trained.keys()
    assert {name for name, parameter in trained.items() if not parameter.grad.any()} <= blind
    assert all(torch.isfinite(parameter.grad).all() for parameter in trained.values())
    torch.optim.AdamW(trained.values(), lr=1e-3).step()
    assert model(PAIRS, IDS, MASK, targets()).loss < loss


def test_cases_tell_wrong_equations_apart() -> None:
    """The oracle is sharp: adapters of the other pair are far outside of its tolerance."""
    for sharing in ("hypernetwork", "pair", "stacked"):
        model = tiny_model(adapters=sharing, trained_pairs=("ner#en", "pos#tr", "ner#tr", "pos#en"))
        ids, _ = tiny_batch([4])
        with torch.no_grad():
            hidden = model("ner#en", ids, torch.ones_like(ids)).hidden[0]
            for other in (("ner", "tr"), ("pos", "en")):
                assert not torch.allclose(hidden, literal_output(model, ids[0], *other)[0], atol=1e-2)


@pytest.mark.parametrize("of_rows", [[0, 0, 1], [1, 0, 1], [0, 0, 0]])
@pytest.mark.parametrize("size", [8, 6])
def test_one_adapter_equals_its_equation(of_rows: list[int], size: int) -> None:
    """With the rows of a pair together or not, of a size that the grouped product can have or not."""
    options = dict.fromkeys(("add_layer_norm_before_adapter", "add_layer_norm_after_adapter"), True)
    model = tiny_model(options=options | {"conditional_layer_norm": True, "adapter_dim": size})
    pairs = [TaskLanguagePair("pos", "tr"), TaskLanguagePair("ner", "en")][: 1 + max(of_rows)]
    weights = model.adapters(pairs)
    x = torch.randn(3, 4, 32, generator=torch.Generator().manual_seed(0))
    rows = Rows.of(of_rows, x.device) if max(of_rows) else None
    found = bottleneck_adapter(x, weights.layers()[2], rows, torch.nn.functional.relu)
    for row in range(3):
        pair = pairs[of_rows[row]]
        (adapter,) = literal_adapters(model, pair.task, pair.language, 2)
        for position in range(4):
            torch.testing.assert_close(found[row, position], adapter(x[row, position]), atol=1e-5, rtol=1e-5)


TWO = [TaskLanguagePair("pos", "tr"), TaskLanguagePair("ner", "en")]


def grouped_and_gathered(x: torch.Tensor, adapter: AdapterWeights) -> Iterator[torch.Tensor]:
    """The adapted states of the same rows by one product for each pair, and with weights gathered by row."""
    rows = Rows.of([0, 0, 1], x.device)
    assert rows.ends is not None
    for each in (rows, replace(rows, ends=None)):
        yield bottleneck_adapter(x, adapter, each, torch.nn.functional.relu)


@pytest.mark.skipif(not hasattr(torch.nn.functional, "grouped_mm"), reason="PyTorch has grouped products since 2.10")
def test_a_grouped_product_has_the_gradients_of_gathered_weights() -> None:
    model = tiny_model()
    x = torch.randn(3, 4, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    wanted: list[torch.Tensor] = []
    with mock.patch.object(torch.nn.functional, "grouped_mm", wraps=torch.nn.functional.grouped_mm) as product:
        adapter = model.adapters(TWO).layers()[0]
        for states in grouped_and_gathered(x, adapter):
            # The gradient of a sum is one value, spread out.
            found = torch.autograd.grad(states.sum(), [x, *model.hypernetwork.parameters()], retain_graph=True)
            for one, other in zip(found, wanted or found, strict=True):
                torch.testing.assert_close(one, other)
            wanted = wanted or list(found)
    assert product.call_count == 2


def test_automatic_precision_is_the_same_however_rows_are_ordered() -> None:
    adapter = tiny_model().adapters(TWO).layers()[0]
    with torch.autocast("cpu", torch.bfloat16):
        grouped, gathered = grouped_and_gathered(torch.randn(3, 4, 32), adapter)
    assert grouped.equal(gathered)


# Activations ----------------------------------------------------------------------------------------------------------


def test_all_activations_of_the_library_are_there() -> None:
    assert set(ACT2FN) <= set(get_args(Activation))


@pytest.mark.parametrize("sharing", ["hypernetwork", "stacked"])
@pytest.mark.parametrize("name", [name for name in get_args(Activation) if name in ACT2FN])
def test_every_activation_trains(name: str, sharing: str) -> None:
    model = tiny_model(adapter_non_linearity=name, adapters=sharing).train()
    other = "linear" if name != "linear" else "relu"
    assert not torch.equal(
        model(PAIRS, IDS, MASK).hidden, tiny_model(adapter_non_linearity=other)(PAIRS, IDS, MASK).hidden
    )
    trains(model)


def test_an_activation_with_weights_is_trained_as_the_heads_are() -> None:
    model = tiny_model(adapter_non_linearity="prelu")
    apply_freezing(model, ".*", None)
    trained = {name.partition(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {"heads", "activation"}
    assert not any(id(norm) == id(model.activation) for _, norm in norm_modules(model.encoder))
