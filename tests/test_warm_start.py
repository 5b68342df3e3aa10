"""Starting from another checkpoint: names decide what goes where, and nothing is taken that does not fit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file, save_file

import toy
from hyperx import checkpoint
from hyperx.cli import main
from hyperx.config import AdapterKind, AddOnConfig, HypernetworkOptions
from hyperx.data.read.labels import UD_RELATIONS
from hyperx.errors import CheckpointError
from hyperx.method.hypernetwork import Generator
from hyperx.model import HyperX
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.warm_start import WarmStart
from tiny import model_config, randomise, tiny_batch, tiny_bert, tiny_model

IDS, MASK = tiny_batch([6, 4])
SHARINGS = get_args(AdapterKind)


def saved(folder: Path, **fields: Any) -> WarmStart:
    """A checkpoint of random weights to start from."""
    tiny_model(**fields).save_pretrained(folder)
    return WarmStart.read(folder)


def started(start: WarmStart, **fields: Any) -> HyperX:
    """A new model of random weights that has started from a checkpoint."""
    fields.setdefault("kinds", {task: task for task in fields.get("labels", start.config.labels)})
    fresh = replace(start.config, trained_inside=None, trained_pairs=(), generator_rank=None)
    model = HyperX(
        tiny_bert(),
        start.continued(model_config(**({name: getattr(fresh, name) for name in fresh.__dataclass_fields__} | fields))),
    )
    randomise(model, seed=77)
    start.load_into(model, model.config)
    return model.eval()


# What is taken --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("head_layer", ["last", 2])
def test_the_same_model_again(tmp_path: Path, sharing: str, head_layer: int | str) -> None:
    start = saved(tmp_path / "old", adapters=sharing, head_layer=head_layer, adapter_non_linearity="prelu")
    model, old = started(start), tiny_model(
        adapters=sharing, head_layer=head_layer, adapter_non_linearity="prelu"
    )  # fmt: skip
    with torch.no_grad():
        for pair in ("ner#en", "pos#tr", "ner#de"):
            assert model(pair, IDS, MASK).logits.equal(old(pair, IDS, MASK).logits)


@pytest.mark.parametrize("sharing", SHARINGS)
def test_names_count_and_not_positions(tmp_path: Path, sharing: str) -> None:
    old = tiny_model(adapters=sharing, languages=("en", "tur", "de"))
    start = saved(tmp_path / "old", adapters=sharing, languages=("en", "tur", "de"))
    labels = {"pos": start.config.labels["pos"], "ner": start.config.labels["ner"]}
    model = started(start, labels=labels, languages=("fi", "tr", "de", "eng"), trained_pairs=("ner#fi",))
    assert model.config.trained_pairs == ("ner#fi", "ner#en", "pos#tr")
    with torch.no_grad():
        for pair in ("ner#en", "pos#tr"):
            assert model(pair, IDS, MASK).logits.equal(old(pair, IDS, MASK).logits)


def test_a_compressed_hypernetwork_is_trained_as_a_full_one(tmp_path: Path) -> None:
    old = tiny_model()
    old.compress(2)
    old.save_pretrained(tmp_path)
    model = started(WarmStart.read(tmp_path))
    assert model.config.generator_rank is None
    assert isinstance(model.hypernetwork.down, Generator)
    with torch.no_grad():
        for pair in ("ner#en", "pos#tr", "ner#de"):
            torch.testing.assert_close(model(pair, IDS, MASK).logits, old(pair, IDS, MASK).logits)


def test_add_ons_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old = tmp_path / "old"
    add_on = AddOnConfig(language="de", pairs={"ner#de": 3}, rank=1)
    tiny_model(add_ons=(add_on,)).save_pretrained(old)
    with caplog.at_level(logging.INFO, "hyperx"):
        model = started(WarmStart.read(old), add_ons=())
    assert model.config.add_ons == model.config.self_trained_pairs == ()
    assert "left out: add-ons of de" in caplog.text


@pytest.mark.parametrize("before", [0.0, 4.0])
def test_a_run_looks_up_itself_how_similar_its_languages_are(tmp_path: Path, before: float) -> None:
    start = saved(tmp_path, hypernetwork=HypernetworkOptions(relatives=before))
    languages = ("fi", "tr", "de", "en", "et")
    model = started(start, languages=languages, hypernetwork=HypernetworkOptions(relatives=4.0))
    assert model.hypernetwork.source.similarity.shape == (5, 5)


def test_corpora_are_matched_by_name(tmp_path: Path) -> None:
    pairs, corpora = ("ner#en", "ner#de", "pos#tr"), {"ner#en": "wikiann", "ner#de": "uner"}
    start = saved(tmp_path / "old", trained_pairs=pairs, corpora=corpora)
    model = started(start, trained_pairs=("ner#fi",), corpora={"ner#fi": "turku"}, languages=("fi", "tr", "de", "en"))
    assert model.config.corpora == {"ner#fi": "turku", **corpora}
    old = tiny_model(trained_pairs=pairs, corpora=corpora)
    names = model.config.corpus_names
    for row, name in enumerate(old.config.corpus_names):
        assert model.hypernetwork.source.corpus[names.index(name)].equal(old.hypernetwork.source.corpus[row])


def test_corpora_of_what_a_run_leaves_out_are_left_out(tmp_path: Path) -> None:
    """Also that of a pair that this run trains on data of no named corpus."""
    pairs = ("ner#en", "ner#de", "pos#tr")
    start = saved(tmp_path, trained_pairs=pairs, corpora={"ner#de": "ronec", "ner#en": "wikiann", "pos#tr": "ud"})
    model = started(start, languages=("en", "tr"), trained_pairs=("ner#eng",), corpora={"ner#eng": "uner"})
    assert model.config.corpora == {"ner#eng": "uner", "pos#tr": "ud"}
    assert len(model.hypernetwork.source.corpus) == 2
    assert started(start, trained_pairs=("ner#de",), corpora={}).config.corpora == {"ner#en": "wikiann", "pos#tr": "ud"}


def test_a_pair_that_gets_labels_is_a_seen_one(tmp_path: Path) -> None:
    start = saved(
        tmp_path / "old", trained_pairs=("ner#en", "ner#tr", "pos#tr"), self_trained_pairs=("ner#tr", "pos#tr")
    )
    config = started(start, trained_pairs=("ner#tr",), self_trained_pairs=()).config
    assert config.trained_pairs == ("ner#tr", "ner#en", "pos#tr")
    assert config.self_trained_pairs == ("pos#tr",)


def test_new_rows_stay_as_they_were(tmp_path: Path) -> None:
    start = saved(tmp_path / "old", labels={"ner": ("O", "B-PER")}, trained_pairs=("ner#en",), languages=("en", "tr"))
    labels = {"pos": ("NOUN",), "ner": ("O", "B-PER")}
    fields = {"labels": labels, "languages": ("tr", "en"), "trained_pairs": ("pos#tr",)}
    model = started(start, **fields)
    untouched = HyperX(tiny_bert(), model.config)
    randomise(untouched, seed=77)
    old = tiny_model(labels={"ner": ("O", "B-PER")}, languages=("en", "tr"))
    for name, row, other_row in (("task", 0, 0), ("language", 0, 0)):
        found = getattr(model.hypernetwork.source, name)
        assert found[row].equal(getattr(untouched.hypernetwork.source, name)[row])
        assert found[1].equal(getattr(old.hypernetwork.source, name)[other_row])
    assert model.heads["pos"].weight.equal(untouched.heads["pos"].weight)
    assert model.heads["ner"].weight.equal(old.heads["ner"].weight)


def test_an_embedding_that_nobody_trained_is_not_taken(tmp_path: Path) -> None:
    start = saved(tmp_path / "old")
    model = started(start, trained_pairs=("ner#de",))
    assert model.config.trained_pairs == ("ner#de", "ner#en", "pos#tr")
    old = tiny_model().hypernetwork.source.language
    rows = [model.hypernetwork.source.language[row].equal(old[row]) for row in range(3)]
    assert rows == [True, True, False]


@pytest.mark.parametrize("sharing", ["hypernetwork", "language"])
def test_a_language_of_raw_text_alone_is_read_as_before_without_the_task_that_read_it(
    tmp_path: Path, sharing: str
) -> None:
    labels = {"ner": ("O", "B-PER", "I-PER"), "mlm": ()}
    pairs = {"trained_pairs": ("ner#en", "mlm#tr")}
    start = saved(tmp_path / "old", labels=labels, adapters=sharing, **pairs)
    before = tiny_model(labels=labels, adapters=sharing, **pairs)
    after = started(start, labels={"ner": labels["ner"]}, trained_pairs=("ner#en",))
    for language in ("en", "tr", "de"):
        old, new = (model.adapters([TaskLanguagePair("ner", language)]) for model in (before, after))
        torch.testing.assert_close(new.down, old.down)


@pytest.mark.parametrize("sharing", SHARINGS)
def test_what_was_left_out_on_the_way_comes_again_as_new(tmp_path: Path, sharing: str) -> None:
    labels = {"ner": ("O", "B-PER"), "pos": ("NOUN", "VERB")}
    pairs = ("ner#en", "ner#de", "pos#tr")
    first = saved(tmp_path / "a", labels=labels, adapters=sharing, trained_pairs=pairs, languages=("en", "de", "tr"))
    without = started(first, labels={"ner": labels["ner"]}, languages=("en", "tr"), trained_pairs=("ner#en",))
    assert set(without.config.trained_pairs) == set(pairs)
    without.save_pretrained(tmp_path / "b")
    again = started(
        WarmStart.read(tmp_path / "b"), labels=labels, languages=("en", "de", "tr"), trained_pairs=("ner#en", "pos#en")
    )
    kept = {"ner#de"} if sharing in ("shared", "task", "none") else set()
    assert set(again.config.trained_pairs) == {"ner#en", "pos#en"} | kept


def test_adapters_of_languages_may_be_stacked_upon(tmp_path: Path) -> None:
    start = saved(tmp_path / "old", adapters="language")
    model = started(start, adapters="stacked")
    old = tiny_model(adapters="language")
    for language in ("en", "tr"):
        for kind in ("down", "up_bias"):
            name = f"plain_adapters.language-{language}.{kind}"
            assert model.get_parameter(name).equal(old.get_parameter(name))
    assert {"task-ner", "task-pos"} <= set(model.plain_adapters)


def test_what_was_trained_of_the_encoder_comes_along_and_is_saved_again(tmp_path: Path) -> None:
    old = tiny_model().requires_grad_(True)
    with torch.no_grad():
        old.encoder.embeddings.word_embeddings.weight.mul_(1.5)
    old.save_pretrained(tmp_path / "old")
    model = started(WarmStart.read(tmp_path / "old"))
    assert not model.encoder.embeddings.word_embeddings.weight.requires_grad
    model.save_pretrained(tmp_path / "new")
    names = load_file(tmp_path / "new" / "model.safetensors").keys()
    assert "encoder.embeddings.word_embeddings.weight" in names
    again = HyperX(tiny_bert(), checkpoint.read_config(tmp_path / "new"))
    again.load_tensors(checkpoint.read_tensors(tmp_path / "new"))
    with torch.no_grad():
        assert again.eval()("ner#en", IDS, MASK).hidden.equal(old("ner#en", IDS, MASK).hidden)


def test_the_log_says_what_is_what(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    start = saved(tmp_path / "old")
    caplog.set_level(logging.INFO, "hyperx")
    labels = {"ner": start.config.labels["ner"]}
    started(start, labels=labels, languages=("en", "fi"), trained_pairs=("ner#fi",))
    assert "taken: the hypernetwork; tasks ner; languages en; tensors of the encoder 14" in caplog.text
    assert "new, so starting fresh: languages fi" in caplog.text
    assert "not of this run, so left out: tasks pos; languages tr, de" in caplog.text
    caplog.clear()
    started(saved(tmp_path / "plain", adapters="language"), adapters="stacked")
    assert "taken: adapters language-en, language-tr; tasks ner, pos" in caplog.text
    assert "new, so starting fresh: adapters task-ner, task-pos" in caplog.text


# What does not fit ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"encoder_hash": "other", "encoder": "else"},
            "encoder: the checkpoint has 'tiny' with content ; this run has",
        ),
        ({"head_layer": 1}, "head_layer: the checkpoint has last; this run has 1"),
        ({"kinds": {"ner": "pos", "pos": "pos"}}, "kind of ner: the checkpoint has ner; this run has pos"),
        (
            {"labels": {"ner": ("O", "B-LOC", "I-LOC")}},
            "labels of ner: the checkpoint has O B-PER I-PER; this run has O",
        ),
    ],
)
def test_other_encoders_layers_and_labels_are_refused(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    start = saved(tmp_path / "old")
    with pytest.raises(CheckpointError, match=r"--load_from_ckpt: .* does not fit") as error:
        started(start, **fields)
    assert message in str(error.value)


def test_another_form_of_a_parsers_head_is_refused_where_it_would_be_taken(tmp_path: Path) -> None:
    trees = {"dep": UD_RELATIONS}
    start = saved(tmp_path / "old", labels=trees, parser_projections=True)
    with pytest.raises(CheckpointError, match="parser_projections: the checkpoint has True; this run has False"):
        started(start, parser_projections=False)
    model = started(start, labels={"trees": UD_RELATIONS}, kinds={"trees": "dep"}, parser_projections=False)
    assert list(model.heads) == ["trees"]


def edited(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> WarmStart:
    start = saved(folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return start


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found.pop("hypernetwork.up.weight"), "missing: hypernetwork.up.weight"),
        (lambda found: found.pop("heads.ner.bias"), "missing: heads.ner.bias"),
        (lambda found: found.update({"heads.ner.more": torch.zeros(1)}), "unexpected: heads.ner.more"),
        (lambda found: found.update({"hypernetwork.more": torch.zeros(1)}), "unexpected: hypernetwork.more"),
        (lambda found: found.pop("encoder.embeddings.LayerNorm.bias"), "missing: encoder.embeddings.LayerNorm.bias"),
        (
            lambda found: found.update({"hypernetwork.up_bias.bias": torch.zeros(1, 5)}),
            "hypernetwork.up_bias.bias: expected shape (1, 32), found (1, 5)",
        ),
    ],
)
def test_damage_is_named(tmp_path: Path, change: Callable[[Any], object], message: str) -> None:
    with pytest.raises(CheckpointError) as error:
        started(edited(tmp_path / "old", change))
    assert message in str(error.value)


def test_a_start_without_any_adapter_is_refused(tmp_path: Path) -> None:
    start = saved(tmp_path / "old", adapters="shared")
    with pytest.raises(CheckpointError, match="none of its adapters is among those of this run: task-ner, task-pos"):
        started(start, adapters="task")


# Whole runs -----------------------------------------------------------------------------------------------------------

SHORT = ["--per_device_train_batch_size", "8", "--max_eval_samples", "8", "--logging_steps", "1"]


@pytest.fixture
def go(base: list[str], isolated: Path) -> Callable[..., int]:
    """Train with the shared options."""
    assert isolated.is_dir()
    return lambda folder, *options: main(["train", *base, *SHORT, "--output_dir", folder, *options])


def test_a_run_goes_on_from_the_weights_of_a_trained_one(go: Callable[..., int], trained: Path, tmp_path: Path) -> None:
    """New languages and a new pair, at once nearly as good as the old run was at its end."""
    options = ["--max_train_steps", "2", "--learning_rate", "1e-6", "--languages", "de", "tr", "en"]
    assert go("run", *options, "--load_from_ckpt", str(trained)) == 0
    assert toy.losses(tmp_path / "run")[1] < 0.7
    assert go("fresh", *options) == 0
    assert toy.losses(tmp_path / "fresh")[1] > 1.5


def test_pairs_of_the_earlier_run_are_seen_ones(go: Callable[..., int], trained: Path, tmp_path: Path) -> None:
    options = ["--train_task_language_pairs", "pos#tr", "--eval_task_language_pairs", "ner#en", "--best_by", "seen"]
    start = ["--load_from_ckpt", str(trained), "--tasks", "pos", "ner", "--languages", "en", "tr"]
    assert go("run", *options, *start, "--max_train_steps", "1") == 0
    line = toy.read_log(tmp_path / "run")[-1]
    assert line["dev_seen"] == line["dev_ner#en"]
    assert "dev_new_language" not in line


@pytest.mark.parametrize("stop", [1, 3])
def test_a_run_that_started_so_resumes_exactly(
    go: Callable[..., int], trained: Path, tmp_path: Path, stop: int
) -> None:
    options = [
        "--max_train_steps",
        "4",
        "--save_steps",
        "1",
        "--evaluation_strategy",
        "no",
        "--save_total_limit",
        "None",
    ]
    options += ["--load_from_ckpt", str(trained), "--unfreeze_params_regex", r"encoder\.embeddings"]
    assert go("whole", *options) == 0
    assert go("run", *options) == 0
    for step in range(stop + 1, 5):
        for path in (tmp_path / "run" / f"checkpoint-{step}").iterdir():
            path.unlink()
    assert go("run", *options, "--resume") == 0
    whole, resumed = toy.weights(tmp_path / "whole", 4), toy.weights(tmp_path / "run", 4)
    assert whole.keys() == resumed.keys()
    assert all(resumed[name].equal(whole[name]) for name in whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--adapter_dim", "4"], "--adapter_dim: the checkpoint"),
        (["--adapter_non_linearity", "gelu", "--after_layer_output"], "--after_layer_output: the checkpoint"),
        (["--adapters", "task"], "--adapters: the checkpoint"),
        (["--adapters", "none"], "--adapters: the checkpoint"),
        (["--head_layer", "1"], "--head_layer: the checkpoint"),
        (["--overwrite_output_dir", "--output_dir", "{parent}"], "--overwrite_output_dir deletes"),
        (["--load_from_ckpt", "nowhere"], "--load_from_ckpt: nowhere does not exist"),
    ],
)
def test_what_cannot_be_started_from_is_told_with_all_other_problems(
    go: Callable[..., int], trained: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    given = [option.format(parent=trained) for option in options]
    start = [] if "--load_from_ckpt" in given else ["--load_from_ckpt", str(trained)]
    assert go("run", *start, *given, "--temperature", "0") == 1
    error = " ".join(capsys.readouterr().err.split())
    assert message in error
    assert "--temperature" in error
    # What follows from another option is no problem of its own.
    assert error.count("the checkpoint") <= 2
    assert toy.steps_of(trained) == [20, 40, 60]


def test_the_layer_of_the_heads_is_that_of_the_start(go: Callable[..., int], tmp_path: Path) -> None:
    brief = ["--max_train_steps", "1", "--evaluation_strategy", "no"]
    assert go("first", *brief, "--head_layer", "1") == 0
    assert go("second", *brief, "--load_from_ckpt", "first") == 0
    assert checkpoint.read_config(tmp_path / "second" / "checkpoint-1").architecture.head_layer == 1


def test_options_that_nothing_reads_may_differ(go: Callable[..., int], tmp_path: Path) -> None:
    plain = ["--max_train_steps", "1", "--evaluation_strategy", "no", "--adapters", "shared"]
    assert go("first", *plain) == 0
    assert go("second", *plain, "--load_from_ckpt", "first", "--projected_source_embedding_dim", "3") == 0
    assert toy.steps_of(tmp_path / "second") == [1]


def test_adapters_stacked_as_in_mad_x(go: Callable[..., int], tmp_path: Path) -> None:
    """Language adapters first; a task on top of them while they are frozen; then a pair that nothing was trained on."""
    options = ["--max_train_steps", "2", "--evaluation_strategy", "no"]
    languages = ["--train_task_language_pairs", "pos#tr", "ner#en"]
    assert go("languages", *options, *languages, "--adapters", "language",
              "--freeze_params_regex", "^(?!.*adapter).*") == 0  # fmt: skip
    tasks = ["--train_task_language_pairs", "ner#en", "--languages", "en", "tr", "--load_from_ckpt", "languages"]
    assert go("tasks", *options, *tasks, "--adapters", "stacked",
              "--freeze_params_regex", "^(?!.*task-).*") == 0  # fmt: skip
    before, after = toy.weights(tmp_path / "languages", 2), toy.weights(tmp_path / "tasks", 2)
    for language in ("en", "tr"):
        assert after[f"plain_adapters.language-{language}.down"].equal(
            before[f"plain_adapters.language-{language}.down"]
        )
    assert not any(name.startswith("encoder.") for name in after)
    assert after["plain_adapters.task-ner.up"].any()
    model = HyperX.from_pretrained("tasks")
    assert list(model.plain_adapters) == ["language-en", "language-tr", "task-ner"]
    (found,) = model.predict(["cat sees Ada Lovelace ."], task="ner", language="tr")
    assert len(found.labels["ner"]) == 5
    assert main(["evaluate", "--eval_ckpt", "tasks", "--max_eval_samples", "4", *toy.QUIET]) == 0
