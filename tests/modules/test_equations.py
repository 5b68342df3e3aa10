"""The batched path against the equations written out, over every pair of options."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import torch

from hyperx.model import ModelOutput
from hyperx.modules.adapter import bottleneck_adapter
from hyperx.pairs import TaskLanguagePair
from literal import LiteralAdapter, literal_output
from tiny import tiny_batch, tiny_bert, tiny_model

GRID: dict[str, list[Any]] = {
    "condition_to_layer_id": [True, False],
    "project_source_embeddings": [True, False],
    "norms": [(), ("before",), ("after",), ("before", "after")],
    "conditional_layer_norm": [True, False],
    "generator_start": ["scaled", "published"],
    "after_layer_output": [True, False],
    "adapter_non_linearity": ["relu", "gelu", "tanh", "silu"],
    "head_layer": ["last", 2, "mix"],
}


def pairwise(grid: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Cases that hold every two values of two options together at least once."""
    cases = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    random.Random(0).shuffle(cases)

    def combinations(case: dict[str, Any]) -> set[Any]:
        return set(itertools.combinations(case.items(), 2))

    missing, chosen = set().union(*map(combinations, cases)), []
    while missing:
        best = max(cases[:300] if len(missing) > 40 else cases, key=lambda case: len(combinations(case) & missing))
        chosen.append(best)
        missing -= combinations(best)
    return chosen


CASES = pairwise(GRID)
PAIRS, LENGTHS = ["ner#en", "pos#tr", "ner#de", "pos#tr", "pos#en"], [5, 3, 6, 4, 1]


def model_of(case: dict[str, Any]) -> Any:
    shape = ("condition_to_layer_id", "project_source_embeddings", "conditional_layer_norm", "generator_start")
    options = {name: case[name] for name in shape}
    options |= {f"add_layer_norm_{place}_adapter": True for place in case["norms"]}
    fields = {name: case[name] for name in ("after_layer_output", "adapter_non_linearity", "head_layer")}
    return tiny_model(encoder=tiny_bert(layers=3), options=options, **fields)


def row_logits(output: ModelOutput, row: int) -> torch.Tensor:
    """The logits of one row of a batch of both tasks."""
    task = PAIRS[row].partition("#")[0]
    return output.logits[task][[pair.partition("#")[0] for pair in PAIRS[:row]].count(task)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_batched_path_equals_the_equations(case: dict[str, Any]) -> None:
    model = model_of(case)
    ids, mask = tiny_batch(LENGTHS)
    with torch.no_grad():
        # Twice: what the first forward pass leaves in the encoder must not change the second.
        for _ in range(2):
            output = model(PAIRS, ids, mask)
            for row, (pair, length) in enumerate(zip(PAIRS, LENGTHS, strict=True)):
                hidden, logits = literal_output(model, ids[row, :length], *pair.split("#"))
                torch.testing.assert_close(output.hidden[row, :length], hidden, atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(row_logits(output, row)[:length], logits, atol=1e-5, rtol=1e-5)


def test_cases_tell_wrong_equations_apart() -> None:
    """The oracle is sharp: adapters of the other pair are far outside of its tolerance."""
    model = model_of(CASES[0])
    ids, mask = tiny_batch([4])
    with torch.no_grad():
        hidden = model("ner#en", ids, mask).hidden[0]
        for other in (("ner", "tr"), ("pos", "en")):
            assert not torch.allclose(hidden, literal_output(model, ids[0], *other)[0], atol=1e-2)


@pytest.mark.parametrize("mixed", [True, False])
def test_one_adapter_equals_its_equation(mixed: bool) -> None:
    options = dict.fromkeys(("add_layer_norm_before_adapter", "add_layer_norm_after_adapter"), True)
    model = tiny_model(options=options | {"conditional_layer_norm": True})
    pairs = [TaskLanguagePair("pos", "tr"), TaskLanguagePair("ner", "en")][: 1 + mixed]
    weights = model.adapters(pairs)
    x = torch.randn(3, 4, 32, generator=torch.Generator().manual_seed(0))
    rows = torch.tensor([1, 0, 1]) if mixed else None
    found = bottleneck_adapter(x, weights.layer(2), rows, torch.nn.functional.relu)
    for row in range(3):
        task, language = model.indices(pairs[0 if rows is None else int(rows[row])])
        adapter = LiteralAdapter(model.hypernetwork, "relu", 32, task, language, 2)
        for position in range(4):
            torch.testing.assert_close(found[row, position], adapter(x[row, position]), atol=1e-5, rtol=1e-5)
