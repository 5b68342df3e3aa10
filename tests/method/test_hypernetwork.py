"""The hypernetwork's size, its starts and its languages without data."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hyperx.config import HypernetworkOptions
from hyperx.errors import HyperXError
from hyperx.method.adapter import AdapterWeights
from hyperx.method.hypernetwork import PUBLISHED_STD, Hypernetwork
from hyperx.method.source import SourceEmbedding
from tiny import tiny_batch, tiny_model

NORMS = {"add_layer_norm_before_adapter": True, "add_layer_norm_after_adapter": True}


def small(options: HypernetworkOptions, *, hidden: int = 16, layers: int = 3) -> Hypernetwork:
    torch.manual_seed(0)
    return Hypernetwork(learnt=[[True] * 3] * 2, layers=layers, hidden_size=hidden, options=options)


@pytest.mark.parametrize(("projected", "count"), [(32, 13_105_888), (192, 76_460_928)])
def test_sizes_of_the_paper(projected: int, count: int) -> None:
    options = HypernetworkOptions(
        projected_source_embedding_dim=projected,
        adapter_dim=256,
        add_layer_norm_after_adapter=True,
        conditional_layer_norm=True,
    )
    with torch.device("meta"):
        net = Hypernetwork(learnt=[[True] * 17] * 3, layers=12, hidden_size=768, options=options)
    assert sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad) == count


@pytest.mark.parametrize(("rank", "count"), [(None, 9_648_128), (14, 904_476)])
def test_sizes_of_the_default_and_of_a_tenth(rank: int | None, count: int) -> None:
    options = HypernetworkOptions()
    with torch.device("meta"):
        net = Hypernetwork(learnt=[[True] * 7] * 2, layers=10, hidden_size=384, options=options, rank=rank)
    assert sum(parameter.numel() for parameter in net.parameters()) == count


def test_sizes_follow_the_options() -> None:
    options = HypernetworkOptions(
        task_embedding_dim=3,
        language_embedding_dim=5,
        layer_id_embedding_dim=7,
        source_hidden_dim=11,
        projected_source_embedding_dim=13,
        adapter_dim=4,
    )
    net = small(options)
    shapes = {name: tuple(parameter.shape) for name, parameter in net.named_parameters()}
    assert shapes == {
        "source.task": (2, 3),
        "source.language": (3, 5),
        "source.layer": (3, 7),
        "projector.0.weight": (11, 3 + 5 + 7),
        "projector.0.bias": (11,),
        "projector.2.weight": (13, 11),
        "projector.2.bias": (13,),
        "down.weight": (1, 4 * 16, 13),
        "down.bias": (1, 4 * 16),
        "down_bias.weight": (1, 4, 13),
        "down_bias.bias": (1, 4),
        "up.weight": (1, 16 * 4, 13),
        "up.bias": (1, 16 * 4),
        "up_bias.weight": (1, 16, 13),
        "up_bias.bias": (1, 16),
    }


def test_no_norms_unless_asked_for() -> None:
    weights = small(HypernetworkOptions(conditional_layer_norm=True))(torch.tensor([0]), torch.tensor([0]))
    assert weights.norm_pre is None
    assert weights.norm_post is None


@pytest.mark.parametrize("conditional", [True, False])
def test_scaled_start_adds_nothing(conditional: bool) -> None:
    options = HypernetworkOptions(conditional_layer_norm=conditional, **NORMS)
    net = small(options, hidden=64)
    weights = net(torch.tensor([0, 1]), torch.tensor([1, 2]))
    for zero in (weights.up, weights.up_bias, weights.down_bias, weights.norm_pre.bias, weights.norm_post.bias):
        assert zero.equal(torch.zeros_like(zero))
    for one in (weights.norm_pre.weight, weights.norm_post.weight):
        assert one.equal(torch.ones_like(one))
    # A generator's input has length 1, so D has the variance 1/h of a linear layer.
    assert float(weights.down.detach().var()) == pytest.approx(1 / 64, rel=0.2)


def test_published_start_is_normal_with_deviation_001() -> None:
    net = small(HypernetworkOptions(generator_start="published", conditional_layer_norm=True, **NORMS))
    drawn = [parameter for name, parameter in net.named_parameters() if name.endswith("weight")]
    assert len(drawn) == 2 + 4 + 4
    for parameter in drawn:
        assert float(parameter.detach().std()) == pytest.approx(PUBLISHED_STD, rel=0.1)
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            assert parameter.equal(torch.zeros_like(parameter))
    assert float(net.source.task.detach().std()) == pytest.approx(1, rel=0.2)


def source(trained: list[bool], **options: Any) -> SourceEmbedding:
    torch.manual_seed(0)
    return SourceEmbedding(learnt=[trained] * 2, layers=0, task_dim=2, language_dim=4, layer_dim=0, **options)


def test_gradient_of_an_untrained_language_reaches_the_trained_ones_only() -> None:
    embedding = source([True, False, True])
    embedding(torch.tensor([0]), torch.tensor([1]))[..., 2:].sum().backward()
    assert embedding.language.grad.tolist() == [[0.5] * 4, [0.0] * 4, [0.5] * 4]


@pytest.mark.parametrize("trained", [[True, True, True], [True, False, True]])
@pytest.mark.parametrize("dropout", [0.25, 1.0])
def test_in_training_a_pair_reads_the_mean_now_and_then(trained: list[bool], dropout: float) -> None:
    embedding = source(trained, dropout=dropout)
    own = embedding.language[0]
    mean = embedding.language[torch.tensor(trained)].mean(dim=0)
    pairs = torch.zeros(4_000, dtype=torch.long)
    read = embedding(pairs, pairs)[:, 0, 2:]
    reads_mean = torch.isclose(read, mean).all(dim=1)
    assert bool((reads_mean | torch.isclose(read, own).all(dim=1)).all())
    assert float(reads_mean.float().mean()) == pytest.approx(dropout, abs=0.03)
    assert torch.equal(embedding.eval()(pairs, pairs)[:, 0, 2:], own.expand(4_000, -1))


@pytest.mark.parametrize("mean_for_untrained", [True, False])
@pytest.mark.parametrize("trained", [[True, True], [True, False], [False, False]])
def test_a_language_that_is_not_there_reads_the_mean_too(trained: list[bool], mean_for_untrained: bool) -> None:
    embedding = source(trained, mean_for_untrained=mean_for_untrained)
    read = embedding(torch.tensor([1, 1]), torch.tensor([-1, 0]))[:, 0, 2:]
    counted = [index for index, flag in enumerate(trained) if flag or not any(trained)]
    torch.testing.assert_close(read[0], embedding.language[counted].mean(dim=0))
    torch.testing.assert_close(read[1], embedding.language[0])


CORPORA = [[0, -1, 1], [-1, -1, -1]]
"""The first task has learnt a corpus in two of three languages, the second none."""


def test_a_pair_reads_its_corpus_a_style_that_its_task_has_learnt_or_the_mean() -> None:
    embedding = source([True, True, True], corpora=CORPORA, corpus_dim=3)
    first, second = embedding.corpus
    mean, nothing = (first + second) / 2, torch.zeros(3)
    cases = {(0, 0): first, (0, 1): mean, (0, 2): second, (0, -1): mean, (1, 0): nothing, (1, -1): nothing}
    tasks, languages = torch.tensor(list(cases)).T
    torch.testing.assert_close(embedding(tasks, languages)[:, 0, 6:], torch.stack([*cases.values()]))
    style = torch.tensor([1, 1, -1, 1, 1, 1])
    wanted = torch.stack([second, second, mean, second, nothing, nothing])
    torch.testing.assert_close(embedding(tasks, languages, style)[:, 0, 6:], wanted)
    assert embedding.size == 2 + 4 + 3


def test_in_training_a_pair_reads_the_mean_of_corpora_now_and_then() -> None:
    embedding = source([True, True, True], corpora=CORPORA, corpus_dim=3, corpus_dropout=0.25)
    pairs = torch.zeros(4_000, dtype=torch.long)
    read = embedding(pairs, pairs)[:, 0]
    reads_mean = torch.isclose(read[:, 6:], embedding.corpus.mean(dim=0)).all(dim=1)
    assert float(reads_mean.float().mean()) == pytest.approx(0.25, abs=0.03)
    assert torch.equal(read[:, 2:6], embedding.language[0].expand(4_000, -1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_model_of_another_precision_runs_with_untrained_languages(dtype: torch.dtype) -> None:
    ids, mask = tiny_batch([3, 5])
    model = tiny_model()
    wanted = model("ner#de", ids, mask).logits.to(dtype)
    found = model.to(dtype)("ner#de", ids, mask).logits
    assert found.dtype == dtype
    torch.testing.assert_close(found, wanted, atol=0.2, rtol=0.1)


def written(net: Hypernetwork) -> AdapterWeights:
    pairs = torch.cartesian_prod(torch.arange(2), torch.arange(3))
    with torch.no_grad():
        return net(pairs[:, 0], pairs[:, 1])


def random_net(*, layer_ids: bool) -> Hypernetwork:
    net = small(
        HypernetworkOptions(
            condition_to_layer_id=layer_ids, adapter_dim=4, projected_source_embedding_dim=9, language_dropout=0.9
        )
    )
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    return net.eval()


@pytest.mark.parametrize(("layer_ids", "enough"), [(True, 9), (False, 5)])
def test_as_many_matrices_as_the_adapters_span_change_nothing(layer_ids: bool, enough: int) -> None:
    net = random_net(layer_ids=layer_ids)
    before = written(net)
    # What is read now and then in training only does not count.
    net.train().compress(enough)
    assert net.training
    after = written(net.eval())
    torch.testing.assert_close(after.down, before.down, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.up, before.up, atol=1e-4, rtol=1e-4)
    assert after.up_bias.equal(before.up_bias)
    assert net.rank == enough


@pytest.mark.parametrize("layer_ids", [True, False])
def test_fewer_matrices_are_the_principal_components(layer_ids: bool) -> None:
    net = random_net(layer_ids=layer_ids)
    before = written(net)
    net.compress(3)
    after = written(net)
    # Each layer has a set of its own where there are no layer ids.
    for layer in [slice(None)] if layer_ids else range(3):
        for full, found in ((before.down, after.down), (before.up, after.up)):
            flat = full[:, layer].reshape(-1, 64)
            left, values, right = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
            wanted = flat.mean(0) + (left[:, :3] * values[:3]) @ right[:3]
            torch.testing.assert_close(found[:, layer].reshape(-1, 64), wanted, atol=1e-4, rtol=1e-4)


def test_compressed_generators_stay_frozen_and_in_their_precision() -> None:
    net = random_net(layer_ids=True).to(torch.bfloat16).requires_grad_(False)
    before = written(net)
    net.compress(9)
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert {parameter.dtype for parameter in net.parameters()} == {torch.bfloat16}
    torch.testing.assert_close(written(net).up, before.up, atol=0.3, rtol=0.1)


def test_what_cannot_be_compressed_says_so() -> None:
    net = random_net(layer_ids=True)
    for rank in (0, 10):
        with pytest.raises(HyperXError, match=f"expected 1 to 9, what the generators can tell apart; found {rank}"):
            net.compress(rank)
    net.compress(2)
    with pytest.raises(HyperXError, match="mixtures of 2 matrices already"):
        net.compress(2)
