"""The whole model: mixed batches, gradients, languages and tasks by name, and what is trained."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointError

from hyperx.encoders.families import LAYOUTS, norm_modules
from hyperx.errors import ConfigError, HyperXError
from hyperx.method.adapters import learnt_languages
from hyperx.model import HyperX, ModelOutput
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.model import apply_freezing, public_names
from hyperx.prediction.predictor import Predictor
from tiny import LABELS, tiny_batch, tiny_bert, tiny_encoder, tiny_model, tiny_tokenizer

PUBLISHED_PATTERN = "^(?!.*(hypernet|LayerNorm)).*"
PAIRS, LENGTHS = ["ner#en", "pos#tr", "ner#de", "pos#tr", "pos#en"], [5, 3, 7, 4, 1]
NORMS = {
    "add_layer_norm_before_adapter": True,
    "add_layer_norm_after_adapter": True,
    "conditional_layer_norm": True,
}


def labels_for(pairs: Sequence[str], mask: Tensor) -> Tensor:
    """Some label at every other position of each row, none in the padding."""
    random = torch.Generator().manual_seed(3)
    counts = torch.tensor([len(LABELS[pair.partition("#")[0]]) for pair in pairs])[:, None]
    labels = torch.randint(0, 1000, mask.shape, generator=random) % counts
    labels[(torch.arange(mask.shape[1]) % 2 == 1) | (mask == 0)[:, :]] = -100
    return labels


IDS, MASK = tiny_batch(LENGTHS)
TARGETS = labels_for(PAIRS, MASK)


def row_logits(output: ModelOutput, row: int) -> Tensor:
    task = PAIRS[row].partition("#")[0]
    return output.logits[task][[pair.partition("#")[0] for pair in PAIRS[:row]].count(task)]


# Batches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"condition_to_layer_id": False, **NORMS}], ids=["plain", "norms"])
@pytest.mark.parametrize("family", sorted(LAYOUTS))
@torch.no_grad()
def test_mixed_batch_equals_its_rows_alone(family: str, options: dict[str, bool]) -> None:
    """Without the padding too: what stands beside a row, or behind it, changes nothing."""
    model = tiny_model(encoder=tiny_encoder(family), options=options)
    ids, mask = tiny_batch(LENGTHS, pad_id=1)
    output = model(PAIRS, ids, mask, TARGETS)
    assert list(output.logits) == ["ner", "pos"]
    assert {task: len(rows) for task, rows in output.logits.items()} == {"ner": 2, "pos": 3}
    losses: dict[str, list[tuple[Tensor, int]]] = {"ner": [], "pos": []}
    for row, (pair, length) in enumerate(zip(PAIRS, LENGTHS, strict=True)):
        alone = model(pair, ids[row : row + 1, :length], mask[row : row + 1, :length], TARGETS[row : row + 1, :length])
        torch.testing.assert_close(output.hidden[row, :length], alone.hidden[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(row_logits(output, row)[:length], alone.logits[0], atol=1e-5, rtol=1e-5)
        words = int((TARGETS[row] != -100).sum())
        losses[pair.partition("#")[0]].append((alone.loss * words, words))
    # The mean over a task's words, weighted by the task's share of the rows.
    wanted = sum(
        len(rows) / len(PAIRS) * sum(loss for loss, _ in rows) / sum(words for _, words in rows)
        for rows in losses.values()
    )
    torch.testing.assert_close(output.loss, wanted, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_one_pair_for_all_rows_equals_one_for_each() -> None:
    model = tiny_model()
    found = model("pos#tr", IDS, MASK, TARGETS.clamp(max=2))
    wanted = model(["pos#tr"] * 5, IDS, MASK, TARGETS.clamp(max=2))
    assert isinstance(found.logits, Tensor)
    assert found.logits.equal(wanted.logits)
    assert found.loss.equal(wanted.loss)
    pair = TaskLanguagePair("pos", "tr")
    assert model(pair, IDS, MASK).logits.equal(found.logits)
    assert model("pos#tr", IDS, MASK).loss is None


@torch.no_grad()
@pytest.mark.parametrize("pairs", [PAIRS, "ner#de", ["pos#tr"] * 5])
def test_given_adapters_equal_generated_ones(pairs: str | list[str]) -> None:
    model = tiny_model(options=NORMS)
    distinct = [TaskLanguagePair.parse(pair) for pair in dict.fromkeys([pairs] if isinstance(pairs, str) else pairs)]
    adapters = model.adapters(distinct)
    wanted = model(pairs, IDS, MASK).hidden
    with torch.no_grad():
        model.hypernetwork.task = None  # nothing is generated again
        for parameter in model.hypernetwork.parameters():
            parameter.zero_()
    assert model(pairs, IDS, MASK, adapters=adapters).hidden.equal(wanted)


@pytest.mark.parametrize("sharing", ["hypernetwork", "stacked"])
def test_adapters_of_another_number_of_pairs_are_refused(sharing: str) -> None:
    model = tiny_model(adapters=sharing)
    adapters = model.adapters([TaskLanguagePair("ner", "en"), TaskLanguagePair("pos", "tr")])
    with pytest.raises(HyperXError, match="expected the adapters of pos#tr; found those of 2 pairs"):
        model("pos#tr", IDS, MASK, adapters=adapters)


@torch.no_grad()
def test_a_task_may_have_the_name_of_an_attribute_of_its_container() -> None:
    names = {"type": "ner", "training": "pos", "_modules": "ner"}
    labels = {name: LABELS[kind] for name, kind in names.items()}
    pairs = ("type#en", "training#tr", "_modules#en")
    model = tiny_model(kinds=names, labels=labels, trained_pairs=pairs)
    assert list(model(pairs, IDS[:3], MASK[:3]).logits) == list(names)
    assert {f"heads.{name}.weight" for name in names} <= set(model.trained_names())


def test_a_configuration_made_in_python_is_checked() -> None:
    model = tiny_model()
    for change in ({"head_layer": "mix"}, {"adapter_non_linearity": "nope"}, {"adapters": "nope"}):
        architecture = replace(model.config.architecture, **change)
        with pytest.raises(HyperXError, match=f"{next(iter(change))}.*: expected"):
            HyperX(model.encoder, replace(model.config, architecture=architecture))


@torch.no_grad()
def test_rows_without_labels_add_no_loss_and_no_nan() -> None:
    model = tiny_model()
    empty = torch.full_like(TARGETS, -100)
    assert model(PAIRS, IDS, MASK, empty).loss.item() == 0
    half = TARGETS.clone()
    half[[0, 2]] = -100  # both ner rows
    pos = [1, 3, 4]
    wanted = model([PAIRS[row] for row in pos], IDS[pos], MASK[pos], TARGETS[pos]).loss * 3 / 5
    torch.testing.assert_close(model(PAIRS, IDS, MASK, half).loss, wanted)


# Gradients --------------------------------------------------------------------------------------------------------


def gradients(model: HyperX) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def gradients_of(model: HyperX, loss: Callable[[], Tensor]) -> dict[str, Tensor]:
    model.zero_grad()
    loss().backward()
    return {name: gradient.clone() for name, gradient in gradients(model).items()}


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(
            gradient, wanted[name], atol=1e-5, rtol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.mark.parametrize("layer_ids", [True, False])
@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("head_layer", ["last", 2])
def test_every_trained_parameter_gets_a_gradient_and_no_other(
    layer_ids: bool, conditional: bool, head_layer: str | int
) -> None:
    options = NORMS | {"condition_to_layer_id": layer_ids, "conditional_layer_norm": conditional}
    model = tiny_model(options=options, head_layer=head_layer, adapter_non_linearity="gelu").train()
    found = gradients_of(model, lambda: model(PAIRS, IDS, MASK, TARGETS).loss)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    inside = {f"encoder.{name}" for name, _ in norm_modules(model.encoder)}
    assert {name.rpartition(".")[0] for name in trained if name.startswith("encoder.")} == inside
    assert found.keys() == trained
    assert [name for name, gradient in found.items() if not gradient.any()] == []


def test_two_pairs_in_one_backward_pass_are_the_sum_of_two() -> None:
    model = tiny_model(options=NORMS)

    def loss(rows: list[int], pairs: str | list[str]) -> Tensor:
        return model(pairs, IDS[rows], MASK[rows], TARGETS[rows]).loss

    def ner() -> Tensor:
        return loss([0], "ner#en") / 3

    def pos() -> Tensor:
        return loss([1, 3], "pos#tr") * 2 / 3

    model.zero_grad()
    ner().backward()
    pos().backward()
    apart = {name: gradient.clone() for name, gradient in gradients(model).items()}
    # Both forward passes before the one backward pass, and both pairs in one batch.
    assert_same(gradients_of(model, lambda: ner() + pos()), apart)
    assert_same(gradients_of(model, lambda: loss([0, 1, 3], ["ner#en", "pos#tr", "pos#tr"])), apart)


def test_gradient_equals_a_finite_difference() -> None:
    model = tiny_model(adapter_non_linearity="gelu", options={"mean_for_untrained": False}).double()

    def loss() -> Tensor:
        return (model(PAIRS, IDS, MASK).hidden ** 3 * MASK[..., None]).mean()

    found = gradients_of(model, loss)
    for name in ("hypernetwork.up.weight", "hypernetwork.source.task", "hypernetwork.projector.0.weight"):
        parameter = model.get_parameter(name)
        start = parameter.detach().clone()
        direction = torch.randn(start.shape, dtype=start.dtype, generator=torch.Generator().manual_seed(4))
        losses = []
        with torch.no_grad():
            for step in (1e-5, -1e-5):
                parameter.copy_(start + step * direction)
                losses.append(loss())
            parameter.copy_(start)
        slope = (losses[0] - losses[1]) / 2e-5
        torch.testing.assert_close((found[name] * direction).sum(), slope, atol=1e-8, rtol=1e-5)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("after_layer_output", [True, False])
def test_activation_checkpointing_gives_no_wrong_gradient(reentrant: bool, after_layer_output: bool) -> None:
    """Layers are run again in the backward pass: with the adapters of their own forward pass, or not at all."""
    model = tiny_model(after_layer_output=after_layer_output).train()

    def loss() -> Tensor:
        first, second = (model(pair, IDS, MASK, TARGETS.clamp(max=2)).loss for pair in ("ner#en", "pos#tr"))
        return first + second

    wanted = gradients_of(model, loss)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model.encoder.gradient_checkpointing_enable({"use_reentrant": reentrant})
    try:
        found = gradients_of(model, loss)
    except (HyperXError, CheckpointError):
        return
    assert_same(found, wanted)


# Names of languages and tasks -------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("pair", ["ner#tur", "ner#tr-TR", "ner#tr_tr", "ner#TR"])
def test_other_spellings_are_the_same_language(pair: str) -> None:
    model = tiny_model()
    assert model(pair, IDS, MASK).logits.equal(model("ner#tr", IDS, MASK).logits)


@torch.no_grad()
def test_untrained_language_is_the_mean_of_the_trained_ones() -> None:
    model = tiny_model(trained_pairs=("ner#en", "ner#tr"))
    wanted = model("ner#de", IDS, MASK).hidden
    language = model.hypernetwork.source.language
    language[2] = 1000  # its own embedding is never read
    assert model("ner#de", IDS, MASK).hidden.equal(wanted)
    language[0] = (language[0] + language[1]) / 2
    torch.testing.assert_close(model("ner#en", IDS, MASK).hidden, wanted, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_language_that_the_model_does_not_have_is_one_without_training_data() -> None:
    model = tiny_model()
    wanted = model("ner#de", IDS, MASK).hidden
    for language in ("fi", "fin", "fi-FI"):
        torch.testing.assert_close(model(f"ner#{language}", IDS, MASK).hidden, wanted)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("nerr#en", r"no task 'nerr'; it has ner, pos\. Did you mean 'ner'\?"),
        ("dep#en", r"no task 'dep'; it has ner, pos\.$"),
        ("ner#tr_x9", r"'tr_x9' is no language code of .* Did you mean 'tr'\? The model has learnt en, tr\."),
        ("ner", r"written task#language, such as ner#tr; found 'ner'"),
        ("ner#en#tr", r"written task#language"),
    ],
)
def test_unknown_names_are_told_with_a_suggestion(pair: str, message: str) -> None:
    with pytest.raises(HyperXError, match=message):
        tiny_model()(pair, IDS, MASK)


@pytest.mark.parametrize("count", [0, 1, 4, 6])
def test_wrong_number_of_pairs(count: int) -> None:
    with pytest.raises(HyperXError, match=f"one for each of the 5 rows; found {count}"):
        tiny_model()(["ner#en"] * count, IDS, MASK)


@pytest.mark.parametrize("layer", [0, 4, -1])
def test_head_layer_outside_the_encoder(layer: int) -> None:
    with pytest.raises(ConfigError, match=f"--head_layer: the encoder has layers 1 to 3; found {layer}"):
        tiny_model(encoder=tiny_bert(layers=3), head_layer=layer)


def test_layers_above_the_heads_are_dropped() -> None:
    model = tiny_model(encoder=tiny_bert(layers=3), head_layer=2)
    assert len(model.encoder.encoder.layer) == 2
    assert model.hypernetwork.source.layer.shape[0] == 2


# What is trained --------------------------------------------------------------------------------------------------


def trained(model: HyperX) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def declared(model: HyperX) -> set[str]:
    """Hypernetwork, heads and every norm of the encoder."""
    norms = {
        f"encoder.{name}.{kind}" for name, norm in norm_modules(model.encoder) for kind, _ in norm.named_parameters()
    }
    return norms | {name for name, _ in model.named_parameters() if name.startswith(("hypernetwork.", "heads."))}


@pytest.mark.parametrize("family", sorted(LAYOUTS))
def test_published_pattern_trains_what_is_trained_by_default(family: str) -> None:
    model = tiny_model(encoder=tiny_encoder(family), options=NORMS)
    assert trained(model) == declared(model)
    assert any(name.startswith("encoder.") for name in trained(model))
    model.requires_grad_(True)
    apply_freezing(model, PUBLISHED_PATTERN, None)
    assert trained(model) == declared(model)


def under(*starts: str) -> Callable[[str], bool]:
    return lambda name: name.startswith(starts)


NORM = "encoder.encoder.layer.2.output.dense."


@pytest.mark.parametrize(
    ("freeze", "unfreeze", "is_trained"),
    [
        (None, None, None),
        (".*", None, under("heads.")),
        (r"encoder\.embeddings", None, lambda name: not name.startswith("encoder.embeddings.")),
        (".*", r"encoder\.encoder\.layer\.2\.output\.dense", under("heads.", NORM)),
        (".*", r".*\.LayerNorm\.", lambda name: name.startswith("heads.") or "LayerNorm" in name),
    ],
)
def test_patterns_freeze_and_unfreeze_by_name(
    freeze: str | None, unfreeze: str | None, is_trained: Callable[[str], bool] | None
) -> None:
    """Whatever they match, heads are trained; without patterns nothing changes."""
    model = tiny_model()
    before = trained(model)
    apply_freezing(model, freeze, unfreeze)
    names = {name for name, _ in model.named_parameters()}
    assert trained(model) == (before if is_trained is None else set(filter(is_trained, names)))


@pytest.mark.parametrize("head_layer", ["last", 1])
def test_without_adapters_all_of_the_encoder_is_trained_as_it_is(head_layer: int | str) -> None:
    model = tiny_model(adapters="none", head_layer=head_layer, adapter_non_linearity="prelu")
    assert trained(model) == {name for name, _ in model.named_parameters()}
    assert {name.partition(".")[0] for name in trained(model)} <= {"encoder", "heads"}
    assert model.adapters([TaskLanguagePair("ner", "en")]) is None
    model(PAIRS, IDS, MASK, TARGETS).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    with torch.no_grad():
        found = model(PAIRS, IDS, MASK).hidden
        wanted = model.encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state
    assert found.equal(wanted)
    with pytest.raises(HyperXError, match="adapters are none: only a hypernetwork can be compressed"):
        model.compress(2)


def test_parts_of_the_encoder_that_are_trained() -> None:
    model = tiny_model()
    norms = {f"encoder.{norm}.{kind}" for norm, _ in norm_modules(model.encoder) for kind in ("weight", "bias")}
    everything = {f"encoder.{name}" for name, _ in model.encoder.named_parameters()}
    embeddings = {name for name in everything if "embeddings" in name} - norms
    outside = trained(model) - norms
    assert embeddings
    for part, wanted in {"all": everything, "layers": everything - embeddings, "norms": norms}.items():
        model.train_encoder(part)
        assert trained(model) == outside | wanted


def test_bad_patterns_are_reported_together() -> None:
    model = tiny_model()
    before = trained(model)
    with pytest.raises(ConfigError) as error:
        apply_freezing(model, "nowhere", "embeddings")  # matched from the start
    first, second = error.value.problems
    assert first.startswith("--freeze_params_regex: 'nowhere' matches no parameter;")
    assert "--unfreeze_params_regex: 'embeddings' matches no parameter; names are such as encoder." in second
    assert trained(model) == before


@pytest.mark.parametrize("family", ["distilbert", "bert"])
def test_names_that_patterns_see(family: str) -> None:
    model = tiny_model(encoder=tiny_encoder(family), options=NORMS)
    names = [name for name, _ in public_names(model)]
    assert len(names) == len(set(names))
    norms = {id(parameter) for _, norm in norm_modules(model.encoder) for parameter in norm.parameters()}
    hypernetwork = {id(parameter) for parameter in model.hypernetwork.parameters()}
    for name, parameter in public_names(model):
        assert ("LayerNorm" in name) == (id(parameter) in norms)
        assert ("hypernet" in name) == (id(parameter) in hypernetwork)


# What pairs without training data read -------------------------------------------------------------------------------


def several_tasks(**fields: Any) -> HyperX:
    """Two labelled tasks, in two languages and in one; raw text in one of them and in a third; and a task untrained."""
    kinds = {"pos": "pos", "mlm": "mlm", "ner": "ner", "dep": "dep"}
    config = {
        "kinds": kinds,
        "labels": {"pos": ("NOUN", "VERB"), "mlm": (), "ner": ("O", "B-PER"), "dep": ("_", "root")},
        "languages": ("en", "tr", "de", "wo", "fi"),
        "trained_pairs": ("pos#en", "pos#tr", "mlm#tr", "mlm#deu", "ner#fin"),
    }
    return tiny_model(**(config | fields))


def read_languages(model: HyperX, task: str) -> Tensor:
    """What a task reads of every language ``[G, language_dim]``."""
    source = model.hypernetwork.source
    return source.language_vectors(torch.full((5,), list(model.tasks).index(task)), torch.arange(5)).detach()


def test_a_pair_without_data_reads_the_mean_of_its_task_s_languages() -> None:
    model = several_tasks()
    en, tr, de, _, fi = own = model.hypernetwork.source.language.detach()
    labelled = (en + tr) / 2
    torch.testing.assert_close(read_languages(model, "pos"), torch.stack([en, tr, labelled, labelled, labelled]))
    torch.testing.assert_close(read_languages(model, "ner"), torch.stack([fi] * 5))
    raw = (tr + de) / 2
    torch.testing.assert_close(read_languages(model, "mlm"), torch.stack([raw, tr, de, raw, raw]))
    # No pair has it: it reads the languages that have labels of any kind.
    everything = (en + tr + fi) / 3
    torch.testing.assert_close(read_languages(model, "dep"), torch.stack([en, tr, everything, everything, own[4]]))


def test_every_pair_may_read_its_own_language() -> None:
    model = several_tasks(options={"mean_for_untrained": False})
    for task in model.tasks:
        assert read_languages(model, task).equal(model.hypernetwork.source.language)


def test_another_language_reads_the_mean_of_the_trained_where_each_reads_its_own() -> None:
    """As published; `wo` is not among the trained."""
    source = several_tasks(options={"mean_for_untrained": False}).hypernetwork.source
    mean = source.language.detach()[[0, 1, 2, 4]].mean(dim=0)
    torch.testing.assert_close(source.language_vectors(torch.tensor([0]), torch.tensor([-1]))[0], mean)


@pytest.mark.parametrize(
    ("fields", "languages", "told"),
    [
        ({}, ("en", "tr", "fi"), []),
        ({}, ("de",), ["de was trained on raw text only: it reads the mean of the languages with labels"]),
        ({}, ("wo",), ["no training pair had wo: it reads the mean of the trained languages"]),
        ({}, ("sw",), ["language sw is new to the model: it reads the mean of the trained languages"]),
        (
            {"options": {"mean_for_untrained": False}},
            ("wo",),
            ["no training pair had wo: it reads an embedding that nothing has trained"],
        ),
        (
            {"adapters": "language"},
            ("wo",),
            ["no training pair had wo: it reads the mean of the trained languages"],
        ),
        ({"kinds": {"mlm": "mlm"}, "labels": {"mlm": ()}, "trained_pairs": ("mlm#de",)}, ("de",), []),
    ],
)
def test_what_a_language_without_labels_reads_is_told_once(
    fields: dict[str, Any], languages: tuple[str, ...], told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "hyperx")
    predictor = Predictor(several_tasks(**fields))
    for language in (*languages, *languages):
        predictor.tell_language(language)
    assert caplog.messages == told


def test_what_was_learnt_in_languages_that_are_no_longer_there_is_not_read() -> None:
    """As in a run that starts from another one and names fewer languages."""
    model = several_tasks(languages=("tr", "de"), trained_pairs=("ner#en", "pos#tr"))
    assert learnt_languages(model.config) == {task: {"tr"} for task in model.tasks}
    raw = several_tasks(trained_pairs=("mlm#de",))  # all tasks read what there is
    assert learnt_languages(raw.config, ["mlm"]) == {task: {"de"} for task in raw.tasks}
    plain = several_tasks(languages=("tr", "de"), trained_pairs=("ner#en", "pos#tr"), adapters="task")
    assert set(plain.plain_adapters) == {"task-pos", "task-ner"}


# Inputs ---------------------------------------------------------------------------------------------------------------


def test_inputs_are_the_windows_of_sentences() -> None:
    model = tiny_model(max_length=16)
    model.tokenizer = tiny_tokenizer()
    sentences = [["a", "ab"], ["b"]]
    inputs = model.inputs(sentences)
    assert inputs["input_ids"].equal(model.tokenizer(sentences, is_split_into_words=True, padding=True,
                                                     return_tensors="pt").input_ids)  # fmt: skip
    assert inputs["words"].tolist() == [[-1, 0, 1, 1, -1], [-1, 0, -1, -1, -1]]
    assert inputs["attention_mask"].sum(dim=1).tolist() == [5, 3]
    with pytest.raises(HyperXError, match="sentence 2: expected at most 16 subwords, found more"):
        model.inputs([["a"], ["a"] * 20])
