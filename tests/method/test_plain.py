"""Plain adapters: who shares what, what stands in for adapters that nobody trained, and what they cost."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from hyperx.config import AdapterSharing, HypernetworkOptions
from hyperx.method.adapter import AdapterWeights
from hyperx.method.hypernetwork import PUBLISHED_STD
from hyperx.method.plain import PlainAdapters
from hyperx.model import HyperX
from hyperx.prediction.predictor import Predictor
from tiny import randomise, tiny_batch, tiny_bert, tiny_model

SHARINGS = sorted(get_args(AdapterSharing))
IDS, MASK = tiny_batch([6, 4])


def adapters(
    sharing: str,
    *,
    pairs: Sequence[str] = ("ner#en", "pos#tr"),
    tasks: Sequence[str] = ("ner", "pos"),
    **options: Any,
) -> PlainAdapters:
    trained = [tuple(pair.split("#")) for pair in pairs]
    torch.manual_seed(0)
    found = PlainAdapters(
        sharing=sharing,
        tasks=tasks,
        languages=("en", "tr", "de"),
        trained_pairs=trained,
        layers=3,
        hidden_size=16,
        options=HypernetworkOptions(adapter_dim=5, **options),
    )
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.normal_()
    return found


@pytest.mark.parametrize(
    ("sharing", "names"),
    [
        ("shared", ["shared"]),
        ("task", ["task-ner", "task-pos"]),
        ("language", ["language-en", "language-tr"]),
        ("pair", ["pair-ner#en", "pair-pos#tr"]),
        ("stacked", ["language-en", "language-tr", "task-ner", "task-pos"]),
    ],
)
def test_only_what_is_trained_has_an_adapter(sharing: str, names: list[str]) -> None:
    assert list(adapters(sharing)) == names


def test_without_training_pairs_everything_has_one() -> None:
    assert len(adapters("pair", pairs=())) == 6
    assert list(adapters("stacked", pairs=())) == ["language-en", "language-tr", "language-de", "task-ner", "task-pos"]


def mean(net: PlainAdapters, *names: str) -> Tensor:
    return torch.stack([net[name].up for name in names]).mean(dim=0)


@pytest.mark.parametrize(
    ("sharing", "pair", "names"),
    [
        ("language", (0, 2), ("language-en", "language-tr")),
        ("task", (0, 2), ("task-ner",)),
        ("pair", (0, 0), ("pair-ner#en",)),
        ("pair", (0, 2), ("pair-ner#en", "pair-ner#tr")),
        ("pair", (1, 0), ("pair-pos#tr",)),
    ],
)
def test_what_has_no_data_reads_the_mean(sharing: str, pair: tuple[int, int], names: tuple[str, ...]) -> None:
    net = adapters(sharing, pairs=["ner#en", "ner#tr", "pos#tr"])
    torch.testing.assert_close(net([pair[0]], [pair[1]]).up[0], mean(net, *names))


def test_a_task_whose_name_begins_that_of_another_reads_its_own_pairs_alone() -> None:
    net = adapters("pair", pairs=("pos#en", "pos2#tr"), tasks=("pos", "pos2"))
    assert net([0], [2]).down.equal(net["pair-pos#en"].down[None])
    assert net([1], [2]).down.equal(net["pair-pos2#tr"].down[None])


def test_a_task_without_data_reads_the_mean_too() -> None:
    for sharing in ("task", "pair"):
        net = adapters(sharing, pairs=["ner#en", "ner#tr"])
        torch.testing.assert_close(net([1], [0]).up[0], mean(net, *net))


@torch.no_grad()
@pytest.mark.parametrize("sharing", SHARINGS)
def test_a_language_that_is_not_there_is_one_without_data(sharing: str) -> None:
    model = tiny_model(adapters=sharing)
    assert model("ner#fi", IDS, MASK).hidden.equal(model("ner#de", IDS, MASK).hidden)
    assert model("pos#fi", IDS, MASK).hidden.equal(model("pos#de", IDS, MASK).hidden)


def storages(weights: AdapterWeights) -> set[int]:
    return {tensor.untyped_storage().data_ptr() for tensor in (weights.down, weights.up, weights.up_bias)}


def test_nothing_is_copied_where_one_adapter_serves_all() -> None:
    net = adapters("task")
    own = {parameter.untyped_storage().data_ptr() for parameter in net["task-ner"].parameters()}
    assert storages(net([0, 0, 0], [0, 1, 2])) <= own
    assert storages(net([0], [0])) <= own


def test_gradients_reach_the_adapters_of_the_batch_alone() -> None:
    net = adapters("stacked")
    stack = net([0], [1])
    sum(part.down.sum() + part.up.sum() for part in stack.parts).backward()
    assert {name for name in net if net[name].down.grad is not None} == {"language-tr", "task-ner"}


@pytest.mark.parametrize("sharing", SHARINGS)
def test_the_start_adds_nothing(sharing: str) -> None:
    config = tiny_model(adapters=sharing).config
    fresh = HyperX(tiny_bert(), config).eval()
    with torch.no_grad():
        plain = tiny_bert()(input_ids=IDS, attention_mask=MASK).last_hidden_state
        assert fresh(["ner#en", "pos#de"], IDS, MASK).hidden.equal(plain)
        randomise(fresh, seed=5)
        assert not torch.allclose(fresh("ner#en", IDS, MASK).hidden, plain, atol=1e-2)


@pytest.mark.parametrize("start", ["scaled", "published"])
def test_both_starts(start: str) -> None:
    config = HypernetworkOptions(generator_start=start)
    torch.manual_seed(0)
    net = PlainAdapters(
        sharing="shared", tasks=("ner",), languages=("en",), trained_pairs=(),
        layers=2, hidden_size=64, options=config,
    )  # fmt: skip
    down, up = net["shared"].down.detach(), net["shared"].up.detach()
    assert float(down.std()) == pytest.approx(64**-0.5 if start == "scaled" else PUBLISHED_STD, rel=0.05)
    assert float(up.std()) == pytest.approx(0 if start == "scaled" else PUBLISHED_STD, rel=0.05)
    assert not net["shared"].down_bias.any()


def test_languages_whose_codes_are_names_of_methods() -> None:
    """A module cannot hold another by the name ``to``, which is Tongan; nor ``pop`` or ``cpu``."""
    languages = ("to", "pop", "cpu")
    model = tiny_model(adapters="language", languages=languages, trained_pairs=("ner#to", "ner#pop", "pos#cpu"))
    assert list(model.plain_adapters) == [f"language-{language}" for language in languages]
    assert model("ner#pop", IDS, MASK).hidden.shape == (2, 6, 32)


def test_other_spellings_are_the_same_language() -> None:
    model = tiny_model(adapters="pair", languages=("eng", "tr-TR"),
                       trained_pairs=("ner#en", "pos#tur"))  # fmt: skip
    assert list(model.plain_adapters) == ["pair-ner#en", "pair-pos#tr"]
    with torch.no_grad():
        assert model("pos#tr", IDS, MASK).hidden.equal(model("pos#tur", IDS, MASK).hidden)


def test_a_language_without_data_is_told(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model(adapters="language")
    with caplog.at_level(logging.INFO, "hyperx"):
        Predictor(model).tell_language("de")
    assert "no training pair had de" in caplog.text
