"""The import of published checkpoints: the real command, and models that give the published outputs."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import BertModel, PreTrainedTokenizerFast

import toy
from hyperx.cli import main
from hyperx.errors import HyperXError
from hyperx.model import HyperX
from publishing import LABELS, SOURCE, Hostile, Published, published_hidden, published_run
from tiny import tiny_batch, tiny_bert

pytestmark = pytest.mark.usefixtures("isolated")

FOLDER = Path("outputs/checkpoint-5")


class Importer:
    """Runs the command on :data:`FOLDER`; the checkpoint stands in ``new``."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *options: str, status: int = 0) -> str:
        """What the command says on standard error."""
        shutil.rmtree("new", ignore_errors=True)
        assert main(["import-published", str(FOLDER), "--output", "new", *options]) == status
        assert Path("new").exists() == (status == 0)
        assert not list(Path().glob(".new*"))
        return " ".join(self.capsys.readouterr().err.split())

    def run(self, run: Published, *options: str, config: bool = True) -> str:
        """The same after a run's folder has been written."""
        shutil.rmtree(FOLDER, ignore_errors=True)
        run.write(FOLDER, config=config)
        return self(*options)

    def agrees(self, run: Published, task: str, language: str) -> bool:
        """Whether the hidden states of the new model are those of the published one."""
        ids, mask = tiny_batch([9, 4])
        wanted = published_hidden(run, ids, mask, task, language)[mask.bool()]
        return torch.allclose(outputs(HyperX.from_pretrained("new"), task, language)[0], wanted, atol=1e-5, rtol=0)


@pytest.fixture
def importing(capsys: pytest.CaptureFixture[str]) -> Importer:
    return Importer(capsys)


def outputs(model: HyperX, task: str, language: str) -> tuple[Tensor, Any]:
    ids, mask = tiny_batch([9, 4])
    words = torch.where(mask.bool(), torch.arange(9), -1)
    with torch.no_grad():
        found = model(f"{task}#{language}", ids, mask, words=words)
    return found.hidden[mask.bool()], found.logits


LAYERWISE = {"condition_to_layer_id": False}
BEFORE, AFTER = {"add_layer_norm_before_adapter": True}, {"add_layer_norm_after_adapter": True}
SHAPES: dict[str, dict[str, Any]] = {
    "shared generators": {},
    "three tasks": {"tasks": ["pos", "dep", "ner"], "languages": ["tr", "zh-yue", "en"]},
    "generators a layer": LAYERWISE,
    "no projection": {"project_source_embeddings": False},
    "no projection, generators a layer": {"project_source_embeddings": False, **LAYERWISE},
    "both norms generated": {"conditional_layer_norm": True, **BEFORE, **AFTER},
    "both norms plain": BEFORE | AFTER,
    "a plain norm and generators a layer": AFTER | LAYERWISE,
    "after the layer": {"after_layer_output": True, "adapter_non_linearity": "GELU"},
    "masked words first": {"tasks": ["mlm", "ner", "pos"]},
    "masked words later": {"tasks": ["ner", "mlm", "pos"]},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_are_the_published_ones(shape: str, importing: Importer) -> None:
    run = published_run(tiny_bert(), **SHAPES[shape] | {"train_task_language_pairs": ["pos#en", "ner#tr", "pos#tr"]})
    run.options["adapter_non_linearity"] = run.options["adapter_non_linearity"].lower()
    written = run.options | {"adapter_non_linearity": SHAPES[shape].get("adapter_non_linearity", "relu")}
    said = importing.run(Published(written, run.shared, run.heads, run.config))
    assert ("the heads of mlm are left out" in said) == ("mlm" in written["tasks"])
    model = HyperX.from_pretrained("new")
    mask = tiny_batch([9, 4])[1].bool()
    for task in run.options["tasks"]:
        for language in run.options["languages"] if task != "mlm" else ():
            assert importing.agrees(run, task, language)
            if task != "dep":
                hidden, logits = outputs(model, task, language)
                expected = hidden @ run.heads[task]["cls.weight"].T + run.heads[task]["cls.bias"]
                torch.testing.assert_close(logits[mask], expected, atol=1e-5, rtol=1e-6)
    assert len({tuple(outputs(model, "pos", language)[0].flatten().tolist()) for language in ("en", "tr")}) == 2


def test_what_the_checkpoint_says(importing: Importer) -> None:
    importing.run(published_run(tiny_bert(), tasks=["ner", "pos", "dep"], max_length=30))
    config = HyperX.from_pretrained("new").config
    assert config.labels["ner"] == ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
    pos = "NOUN PUNCT ADP NUM SYM SCONJ ADJ PART DET CCONJ PROPN PRON X _ ADV INTJ VERB AUX"
    assert config.labels["pos"] == tuple(pos.split())
    assert config.labels["dep"][:4] == ("_", "acl", "advcl", "advmod")
    assert config.labels["dep"][-4:] == ("reparandum", "root", "vocative", "xcomp")
    assert {task: len(labels) for task, labels in config.labels.items()} == LABELS
    assert config.kinds == {"ner": "ner", "pos": "pos", "dep": "dep"}
    assert config.languages == ("en", "tr")
    assert config.trained_pairs == ("ner#en", "pos#tr")
    assert not config.hypernetwork.mean_for_untrained
    assert config.max_length == 30
    assert (config.architecture.head_layer, config.trained_inside) == ("last", ())
    assert json.loads(Path("new/hyperx.json").read_text())["encoder"] == "./encoder"
    assert sorted(load_file("new/model.safetensors")) == sorted(
        name for name, _ in HyperX.from_pretrained("new").named_parameters() if not name.startswith("encoder.")
    )


def test_arguments_that_are_missing_have_the_published_defaults(importing: Importer) -> None:
    """The longest input is never longer than the encoder can read, which 0 stands for."""
    run = published_run(tiny_bert(), language_embedding_dim=64, adapter_dim=256)
    for name in ("language_embedding_dim", "adapter_dim", "no_hypernet", "max_length", "train_task_language_pairs"):
        del run.options[name]
    importing.run(run)
    config = HyperX.from_pretrained("new").config
    assert (config.hypernetwork.adapter_dim, config.max_length) == (256, 40)
    run = published_run(tiny_bert(), max_length=0)
    run.options["languages"] = [*run.options["languages"], run.options["languages"][0]]  # named twice
    importing.run(run)
    assert HyperX.from_pretrained("new").config.max_length == 40


# The encoder and its tokenizer ----------------------------------------------------------------------------------------


@pytest.fixture
def toy_run(encoder: Path) -> Published:
    """A run from the toy encoder, which has a tokenizer; it trained the layer norms."""
    base = BertModel.from_pretrained(encoder, add_pooling_layer=False)
    with torch.no_grad():
        for name, parameter in base.named_parameters():
            if "LayerNorm" in name:
                parameter += 0.25
    return published_run(base, tasks=["ner", "pos", "dep"], model_name_or_path=str(encoder))


def predicts() -> bool:
    return bool(HyperX.from_pretrained("new").predict([["cat"]], task="ner", language="en"))


def test_the_checkpoint_can_be_moved_and_predicts_text(toy_run: Published, importing: Importer, data: Path) -> None:
    assert "no tokenizer" not in importing.run(toy_run, config=False)
    shutil.rmtree(FOLDER)
    Path("new").rename("moved")
    model = HyperX.from_pretrained("moved")
    [found] = model.predict([["cat", "sees", "Ada"]], task=["ner", "pos", "dep"], language="en")
    assert len(found.labels["pos"]) == 3
    # A model that was loaded and saved elsewhere goes on naming the encoder where it was.
    model.save_pretrained("again")
    torch.testing.assert_close(outputs(HyperX.from_pretrained("again"), "ner", "en"), outputs(model, "ner", "en"))
    options = ["--test_task_language_pairs", "pos#tr", "ner#en", "--data_folder", str(data), *toy.QUIET]
    assert main(["evaluate", "--eval_ckpt", "moved", *options]) == 0
    assert {"test_pos:tr_accuracy", "test_ner:en_f1"} <= json.loads(Path("moved/results.json").read_text()).keys()


def test_the_relation_to_the_root_is_told_by_its_name(toy_run: Published, importing: Importer) -> None:
    """The published labels stand in another order than ours: that relation is forbidden to all words but one."""
    rels = toy_run.heads["dep"]["biaffine_rels.weight"]
    rels[:, -1, -1] = torch.linspace(0, 1, 38) * 100
    rels[35, -1, -1] = 1000
    importing.run(toy_run)
    [found] = HyperX.from_pretrained("new").predict([["cat", "sees", "dog", "tree"]], task="dep", language="en")
    assert [arc.relation for arc in found.labels["dep"] if arc.head == 0] == ["root"]
    assert {arc.relation for arc in found.labels["dep"] if arc.head != 0} <= {"xcomp", "vocative"}


def test_where_configuration_and_tokenizer_are_looked_for(
    toy_run: Published, encoder: Path, importing: Importer
) -> None:
    toy_run.options["model_name_or_path"] = "outputs/none/such"
    said = importing.run(toy_run)
    assert "no tokenizer could be had (outputs/none/such: " in said
    assert "--model_name_or_path" in said
    outputs(HyperX.from_pretrained("new"), "ner", "en")
    with pytest.raises(HyperXError, match="no tokenizer"):
        predicts()
    tokenizer = list(encoder.glob("token*"))
    for path in tokenizer:
        shutil.copy(path, "new/encoder")
    assert predicts()
    for place in (FOLDER, FOLDER / "ner_model"):
        for path in tokenizer:
            shutil.copy(path, place)
        (FOLDER / "config.json").rename(place / "config.json")
        assert "no tokenizer" not in importing()
        assert predicts()
        for path in tokenizer:
            (place / path.name).unlink()
    (FOLDER / "ner_model" / "config.json").unlink()
    said = importing(status=1)
    assert f"{FOLDER} has no config.json of its encoder, and none is to be had elsewhere (outputs/none/such: " in said
    importing("--model_name_or_path", str(encoder))
    assert predicts()
    assert "no/such/folder: expected an encoder" in importing("--model_name_or_path", "no/such/folder", status=1)
    toy_run.write_arguments(FOLDER, model_name_or_path=None)
    assert "the run's arguments name no encoder" in importing(status=1)


def test_training_goes_on_from_it(toy_run: Published, importing: Importer, data: Path) -> None:
    importing.run(toy_run, config=False)
    names = ("task_embedding_dim", "language_embedding_dim", "layer_id_embedding_dim", "source_hidden_dim")
    names += ("projected_source_embedding_dim", "adapter_dim")
    shape = [word for name in names for word in (f"--{name}", str(toy_run.options[name]))]
    options = [*shape, "--preset", "published", "--condition_to_layer_id", "--project_source_embeddings", *toy.QUIET]
    words = ["--load_from_ckpt", "new", "--model_name_or_path", "new/encoder", "--data_folder", str(data)]
    words += ["--tasks", "ner", "pos", "dep", "--languages", "en", "tr", "de", "--train_task_language_pairs", "pos#tr"]
    assert main(["train", *options, *words, "--max_train_steps", "1", "--output_dir", "run"]) == 0
    before, after = HyperX.from_pretrained("new"), HyperX.from_pretrained("run")
    assert after.config.labels == before.config.labels
    # The first of 4,000 steps of warm-up moves hardly anything.
    torch.testing.assert_close(outputs(after, "ner", "en"), outputs(before, "ner", "en"), atol=1e-3, rtol=0)


def test_a_tokenizer_of_another_encoder(encoder: Path, importing: Importer) -> None:
    published_run(tiny_bert(), model_name_or_path=str(encoder)).write(FOLDER)
    subwords = len(PreTrainedTokenizerFast.from_pretrained(encoder))
    said = importing(status=1)
    assert f"the tokenizer has {subwords} subwords and the encoder 60: it is another encoder's" in said


CONFIGURATIONS: list[tuple[dict[str, Any], str]] = [
    ({"model_type": "roberta"}, "expected the configuration of an encoder with model_type 'bert'"),
    ({"position_embedding_type": "relative_key"}, "position_embedding_type 'absolute'"),
    ({"is_decoder": True}, "is_decoder False"),
    ({"num_attention_heads": 0}, "does not describe a BERT encoder"),
    ({"num_attention_heads": 5}, "does not describe a BERT encoder"),
    ({"vocab_size": "many"}, "does not describe a BERT encoder"),
    ({"hidden_act": "none such"}, "does not describe a BERT encoder"),
    ({"num_hidden_layers": 10**9}, "expected 1 to 1000 layers"),
    ({"num_hidden_layers": 4}, "missing: bert.encoder.layer.3.attention"),
    ({"num_hidden_layers": 2}, "unexpected: bert.encoder.layer.2.attention"),
    ({"vocab_size": 10**12}, "word_embeddings.weight: expected numbers of shape (1000000000000, 32), found float32 of"),
]


def test_the_configuration(importing: Importer) -> None:
    """The program's own has the arguments among the encoder's names, and could name code."""
    published_run(tiny_bert()).write(FOLDER)
    path = FOLDER / "config.json"
    config = json.loads(path.read_text())
    for change, reason in CONFIGURATIONS:
        path.write_text(json.dumps(config | change))
        assert reason in importing(status=1)
    more = {"tasks": ["ner"], "no_hypernet": False, "auto_map": {"AutoModel": "code.Model"}, "max_length": 7}
    path.write_text(json.dumps(config | more))
    importing()
    assert not more.keys() & json.loads(Path("new/encoder/config.json").read_text()).keys()
    path.write_text("[" * 100_000)
    assert "config.json is not JSON" in importing(status=1)


# Arguments and weights ------------------------------------------------------------------------------------------------


def test_encoders_that_differ(importing: Importer) -> None:
    run = published_run(tiny_bert())
    run.shared["bert.pooler.dense.weight"] = torch.zeros(32, 32)  # which is not read
    norm, layer = "bert.embeddings.LayerNorm.weight", f"{SOURCE}.layer_id_embeddings.layer:2"
    run.changed["pos"] = {norm: torch.zeros(7), layer: run.shared[layer] + 0.1, "bert.more": torch.zeros(1)}
    said = importing.run(run)
    assert f"3 of the {len(run.shared) - 2} tensors of the encoder and the hypernetwork in pos differ" in said
    assert f"such as {norm}; those of ner are taken" in said
    assert importing.agrees(run, "pos", "en")


def test_languages_without_a_pair(importing: Importer) -> None:
    run = published_run(tiny_bert(), languages=["de", "en", "tr", "nl"])
    assert "no training pair has the languages de, nl: their embeddings keep their random start" in importing.run(run)
    assert importing.agrees(run, "ner", "nl")
    assert "read the mean" in importing("--mean_for_untrained_languages")
    # English alone was trained for ner.
    run.shared[f"{SOURCE}.lang_embeddings.nl"] = run.shared[f"{SOURCE}.lang_embeddings.en"]
    assert importing.agrees(run, "ner", "nl")


def test_every_language_of_the_program_is_known(importing: Importer) -> None:
    treebanks = "en ar zh tr kk ta zh-yue br is tl yo fo ug mt sa hsb gn"
    languages = f"{treebanks} bat-smg be-x-old als map-bms nds simple zh-classical".split()
    importing.run(published_run(tiny_bert(), languages=languages))
    assert HyperX.from_pretrained("new").config.languages == tuple(languages)


ARGUMENTS: list[tuple[dict[str, Any], list[str]]] = [
    ({"no_hypernet": True}, ["no_hypernet: the run has no hypernetwork"]),
    ({"tasks": ["ner", "qa"]}, ["tasks: expected ner, pos, dep, mlm; found 'qa'"]),
    ({"tasks": ["mlm"], "train_task_language_pairs": ["mlm#en"]}, ["tasks: expected one of ner, pos, dep"]),
    ({"tasks": None, "languages": []}, ["tasks: expected one of ner, pos, dep; found none", "languages: expected one"]),
    ({"tasks": [None], "adapter_dim": 2.5}, ["tasks: expected a text", "adapter_dim: expected"]),
    ({"languages": ["en", "tr", "klingonisch"]}, ["languages: 'klingonisch' is no language code"]),
    ({"languages": ["en", "turkish"]}, ["'turkish' is no language code of ISO 639 or BCP 47. Did you mean 'tr'?"]),
    ({"languages": ["en", "tr", "tur"]}, ["languages: 'tur' is the same language as 'tr'"]),
    ({"train_task_language_pairs": ["ner#de"]}, ["train_task_language_pairs: ner#de is not of the run's"]),
    ({"train_task_language_pairs": ["ner"]}, ["train_task_language_pairs: ner# is not of the run's"]),
    ({"adapter_dim": True, "condition_to_layer_id": 2}, ["adapter_dim: expected", "condition_to_layer_id: expected"]),
    ({"adapter_dim": 0}, ["adapter_dim: expected", "found 0"]),
    ({"adapter_dim": 10**30}, ["adapter_dim: expected at most 1048576"]),
    ({"adapter_non_linearity": "reluu"}, ["adapter_non_linearity: expected", "Did you mean 'relu'?"]),
    # Arguments of another run than the weights.
    ({"languages": ["en", "tr", "de"]}, [f"missing: {SOURCE}.lang_embeddings.de"]),
    ({"languages": ["en"], "train_task_language_pairs": []}, [f"unexpected: {SOURCE}.lang_embeddings.tr"]),
    ({"adapter_dim": 9}, ["down_sampler.weight_generator.0.weight: expected numbers of shape (288, 7), found"]),
    ({"condition_to_layer_id": False}, ["missing: bert.encoder.hypernet.0.meta_down_sampler"]),
    ({"add_layer_norm_after_adapter": True}, ["missing: bert.encoder.hypernet.post_layer_norm.weight"]),
    ({"tasks": ["ner", "pos", "dep"]}, [f"missing: {SOURCE}.task_embeddings.dep"]),
]


def test_arguments_that_do_not_fit(importing: Importer) -> None:
    run = published_run(tiny_bert())
    run.write(FOLDER)
    options = dict(run.options)
    for changes, reasons in ARGUMENTS:
        run.options = dict(options)
        run.write_arguments(FOLDER, **changes)
        said = importing(status=1)
        for reason in reasons:
            assert reason in said


def test_problems_with_the_options(importing: Importer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-published"]) == 1
    error = capsys.readouterr().err
    assert "2 problems" in error
    assert "name the folder of a published checkpoint" in error
    assert "--output: name a new folder" in error
    assert "is no folder: expected a checkpoint of the published program" in importing(status=1)
    published_run(tiny_bert()).write(FOLDER)
    Path("full").mkdir()
    Path("full/notes.txt").touch()
    assert main(["import-published", str(FOLDER.parent), "--output", "full"]) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert "has no hyperx_args.bin: expected a checkpoint of the published program; name one of the" in error
    assert "such as checkpoint-5" in error
    assert "--output: full exists already" in error
    assert Path("full/notes.txt").exists()


# What is not run ------------------------------------------------------------------------------------------------------


def test_nothing_of_the_files_is_run(importing: Importer) -> None:
    run = published_run(tiny_bert())
    importing.run(run)
    assert not Path("trained").exists()
    pickle.loads((FOLDER / "trainer_args.bin").read_bytes())
    assert Path("trained").exists()
    run.write_arguments(FOLDER, output_dir=Hostile("touch ran"))
    said = importing(status=1)
    assert f"found the name {os.system.__module__}.system. Nothing of the file was run" in said
    assert not Path("ran").exists()


NO_WEIGHTS: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "a command": (lambda own: own | {"x": Hostile("touch ran")}, f"it asks for {os.system.__module__}.system"),
    "a module": (lambda own: own | {"x": torch.nn.Linear(1, 1)}, "it asks for torch.nn.modules.linear.Linear"),
    "a list": (lambda own: [own], "expected weights by name; found a list"),
    "a number": (lambda own: own | {"x": 1}, "found another int at x"),
    "a number as a name": (lambda own: own | {1: torch.zeros(1)}, "found another Tensor at 1"),
    "sparse": (lambda own: own | {"x": torch.eye(2).to_sparse()}, "found another Tensor at x"),
    "no storage": (lambda own: own | {"x": torch.zeros(2, device="meta")}, "found another Tensor at x"),
    "no size": (lambda own: own | {"x": torch.zeros(1).expand(10**12)}, "found another Tensor at x"),
    "whole numbers": (
        lambda own: own | {"cls.bias": torch.zeros(7, dtype=torch.int32)},
        "cls.bias: expected numbers of shape (7,), found int32 of (7,)",
    ),
    "more": (lambda own: own | {"x": torch.zeros(1)}, "unexpected: x"),
    "less": (lambda own: {name: own[name] for name in own if "cls" not in name}, "missing: cls.weight"),
}
WEIGHTS = FOLDER / "ner_model" / "pytorch_model.bin"


def test_files_that_are_no_weights(importing: Importer) -> None:
    run = published_run(tiny_bert())
    run.write(FOLDER)
    for weights, reason in NO_WEIGHTS.values():
        torch.save(weights(run.shared | run.heads["ner"]), WEIGHTS)
        said = importing(status=1)
        assert reason in said
        assert "ner_model/pytorch_model.bin" in said
        assert "weights_only" not in said
        assert not Path("ran").exists()


def test_damaged_weights(importing: Importer) -> None:
    run = published_run(tiny_bert())
    run.write(FOLDER)
    with zipfile.ZipFile(WEIGHTS) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(WEIGHTS, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    assert "its members are compressed" in importing(status=1)
    content = WEIGHTS.read_bytes()[:1000]
    torch.save(run.shared, WEIGHTS, _use_new_zipfile_serialization=False)
    for damaged in (WEIGHTS.read_bytes(), content, b"no weights"):
        WEIGHTS.write_bytes(damaged)
        assert "it is damaged, or no archive as torch.save writes it. Nothing of it was run" in importing(status=1)
    WEIGHTS.unlink()
    WEIGHTS.mkdir()
    assert "pytorch_model.bin: expected a readable file; found: Is a directory" in importing(status=1)
    WEIGHTS.rmdir()
    assert "ner_model has no pytorch_model.bin: expected the weights of the task there" in importing(status=1)


def test_half_precision(importing: Importer) -> None:
    run = published_run(tiny_bert())
    halves = {name: value.half() if value.is_floating_point() else value for name, value in run.shared.items()}
    run = Published(run.options, halves, run.heads, run.config)
    importing.run(run)
    assert all(parameter.dtype == torch.float32 for parameter in HyperX.from_pretrained("new").parameters())
    run.shared = {name: value.float() for name, value in halves.items()}
    assert importing.agrees(run, "ner", "en")
