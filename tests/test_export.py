"""Exported pairs: the same answers as the model gives, from files that need neither the model nor its hypernetwork."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import BertModel

import hyperx
from hyperx.cli import main
from hyperx.config import AddOnConfig
from hyperx.data.read.sentence import Sentence
from hyperx.encoders.loading import load_tokenizer
from hyperx.exporting import facts, writing
from hyperx.exporting.fixed import SmallEmbedding, in_blocks
from hyperx.exporting.running import ExportedModel
from hyperx.model import HyperX
from hyperx.prediction.predictor import Predictor
from hyperx.tasks.parsing import ParserLogits
from tiny import LABELS, randomise, tiny_batch, tiny_encoder, tiny_model, tiny_tokenizer

PAIRS = ("ner#tr", "pos#de", "dep#en", "ner#gsw")
SENTENCES = [["Mustafa", "Kemal", "dün", "geldi", "."], ["Anna", "liest"], ["Ada", "sees", "London", "."], ["Zürich"]]
TEXTS = ["Mustafa Kemal dün Ankara’da yeni bir kitap okudu.", "Merhaba", "kitap " * 300]


@pytest.fixture(scope="session")
def ready_made() -> HyperX:
    """The ready-made model."""
    return HyperX.from_pretrained()


@pytest.fixture(scope="session")
def onnx_folder(ready_made: HyperX, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of the ready-made model in ONNX."""
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    return hyperx.export(ready_made, pairs=PAIRS, output=tmp_path_factory.mktemp("export") / "onnx")


@pytest.fixture(scope="session")
def exported(onnx_folder: Path) -> ExportedModel:
    """These, ready to run."""
    return ExportedModel(onnx_folder)


@torch.no_grad()
def differences(
    model: HyperX, pairs: tuple[str, ...], inputs: dict[str, Tensor], run: Callable[..., dict[str, Tensor]]
) -> dict[str, float]:
    """By output the largest difference between the exported answer and the model's, in the rows that it is of."""
    outputs, largest = run(**inputs, pair=torch.arange(len(pairs))), {}
    logits = model(list(pairs), **inputs).logits
    for task, own in logits.items() if isinstance(logits, dict) else [(pairs[0].partition("#")[0], logits)]:
        rows = [row for row, pair in enumerate(pairs) if pair.partition("#")[0] == task]
        wanted = {task: own}
        if isinstance(own, ParserLogits):
            wanted = {f"{task}_arcs": own.possible, f"{task}_relations": own.relations()}
        for name, values in wanted.items():
            # Without the words that a batch of this task alone does not have.
            found = outputs[name][rows][tuple(slice(size) for size in (len(rows), *values.shape[1:]))]
            assert found.shape == values.shape
            off = torch.where(found == values, 0, found - values)  # some are infinite
            largest[name] = float(off.abs().max())
    return largest


LARGEST = 1e-4
"""How far a logit may be off: other kernels add up numbers of 32 bits in another order."""


# ONNX -----------------------------------------------------------------------------------------------------------------


def test_rows_of_several_pairs_are_as_in_pytorch(
    ready_made: HyperX, onnx_folder: Path, exported: ExportedModel
) -> None:
    found = differences(ready_made, PAIRS, ready_made.inputs(SENTENCES), exported.run)
    assert found.keys() == {"ner", "pos", "dep_arcs", "dep_relations"}
    assert max(found.values()) < LARGEST, found
    assert json.loads((onnx_folder / "export.json").read_text())["pairs"]["pos#de"] == list(
        ready_made.config.labels["pos"]
    )


@pytest.mark.parametrize(("language", "tasks"), [("tr", ["ner"]), ("en", ["dep"]), ("gsw", ["ner"])])
def test_predictions_are_those_of_the_checkpoint(
    ready_made: HyperX, exported: ExportedModel, language: str, tasks: list[str]
) -> None:
    wanted = ready_made.predict(TEXTS, language=language, task=tasks, confidences=True)
    found = exported.predict(TEXTS, language=language, task=tasks, confidences=True)
    for one, other in zip(wanted, found, strict=True):
        assert one.labels == other.labels
        for task in tasks:
            np.testing.assert_allclose(one.confidences[task], other.confidences[task], atol=LARGEST)  # type: ignore[index]


def labelled(model: Any, sentences: Sequence[Sequence[str]], languages: Sequence[str]) -> list[Any]:
    """The entities of sentences in several languages."""
    found = Predictor(model).predict(map(Sentence, map(tuple, sentences)), tasks=["ner"], language=languages)
    return [one.labels["ner"] for one in found]


def test_a_batch_may_be_of_several_languages(ready_made: HyperX, exported: ExportedModel) -> None:
    languages = ["gsw", "tr", "gsw", "tr"]
    assert labelled(exported, SENTENCES, languages) == labelled(ready_made, SENTENCES, languages)


def test_the_command_reads_an_exported_folder(
    onnx_folder: Path, isolated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (isolated / "text.txt").write_text("Anna liest ein Buch.\n", encoding="utf-8")
    outputs = []
    for checkpoint in ("default", str(onnx_folder)):
        options = ["--checkpoint", checkpoint, "--language", "de", "--tasks", "pos", "--input", "text.txt"]
        assert main(["predict", *options]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    for words, told in {
        ("--language", "de"): "the exported model has no ner#de; it has ner#tr, pos#de",
        ("--language", "de", "--style", "wikiann"): "--style: the model has no style 'wikiann'",
        ("--language", "de", "--add_on", "de.addon"): "--add_on: ",
    }.items():
        assert main(["predict", "--checkpoint", str(onnx_folder), "--input", "text.txt", *words]) == 1
        assert told in " ".join(capsys.readouterr().err.split())
    assert main(["evaluate", "--eval_ckpt", str(onnx_folder)]) == 1
    assert "holds exported pairs, for predict alone" in " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="session")
def small() -> HyperX:
    """A model of some matrices."""
    return with_tokenizer(tiny_model(encoder=tiny_encoder("bert", vocab_size=20000, intermediate_size=512)))


@pytest.fixture(scope="session")
def small_folder(small: HyperX, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of it in 8 bits."""
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    return hyperx.export(small, pairs=PAIRS[:2], bits=8, output=tmp_path_factory.mktemp("small") / "onnx")


def test_eight_bits_are_close_and_small(small: HyperX, small_folder: Path) -> None:
    ids, mask = tiny_batch([7, 4])
    inputs = {"input_ids": ids, "attention_mask": mask, "words": mask - 1}
    outputs = ExportedModel(small_folder).run(**inputs, pair=torch.tensor([0, 1]))
    with torch.inference_mode():
        for row, pair in enumerate(PAIRS[:2]):
            wanted = small(pair, **{name: value[[row]] for name, value in inputs.items()}).logits[0]
            own = mask[row].bool()
            error = (outputs[pair.partition("#")[0]][row] - wanted)[own].std() / wanted[own].std()
            assert 0 < error < 0.1
    whole = sum(one.nbytes for one in small.encoder.parameters())
    assert (small_folder / "model.onnx").stat().st_size < whole / 2


def test_a_damaged_folder_is_told(small_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small_folder, tmp_path / "copy"))
    (folder / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(hyperx.CheckpointError, match=r"model\.onnx cannot be read: .*Export it again"):
        ExportedModel(folder)
    facts = json.loads((folder / "export.json").read_text())
    (folder / "export.json").write_text(json.dumps(facts | {"format": 9}))
    with pytest.raises(hyperx.CheckpointError, match="expected an export of format 1, found 9"):
        ExportedModel(folder)
    (folder / "export.json").write_text("{}")
    with pytest.raises(hyperx.CheckpointError, match=r"export\.json"):
        ExportedModel(folder)


def test_onnx_runtime_keeps_nothing_about_its_use(small_folder: Path, tmp_path: Path) -> None:
    code = "import sys; from hyperx.exporting.facts import runtime; runtime().InferenceSession(sys.argv[1])"
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "USERPROFILE": str(tmp_path)}
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", code, str(small_folder / "model.onnx")]
    subprocess.run(command, env=environment | home, check=True)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


# PyTorch alone --------------------------------------------------------------------------------------------------------


def with_tokenizer(model: HyperX) -> HyperX:
    model.tokenizer = tiny_tokenizer()
    return model


def of_four_tasks(**fields: Any) -> HyperX:
    labels = {**LABELS, "dep": ("nsubj", "root", "_"), "sentiment": ("bad", "good")}
    kinds = {"ner": "ner", "pos": "pos", "dep": "dep", "sentiment": "cls"}
    return tiny_model(
        labels=labels, kinds=kinds, trained_pairs=("ner#en", "pos#tr", "dep#en", "sentiment#tr"), **fields
    )


def with_labels_of_one_language() -> HyperX:
    model = of_four_tasks(options={"add_layer_norm_before_adapter": True, "add_layer_norm_after_adapter": True})
    pairs = {"ner#de": 5, "sentiment#de": 5}
    added = {"ner": ("B-ORG", "I-ORG"), "sentiment": ("so so",)}
    model.learn_language(AddOnConfig(language="de", pairs=pairs, rank=2, layer_rank=1, labels=added))
    randomise(model, seed=3)
    model.learns = None
    return model.eval()


MODELS: dict[str, Callable[[], HyperX]] = {
    "labels of one language, norms": with_labels_of_one_language,
    "stacked adapters behind layers, another family": lambda: of_four_tasks(
        encoder=tiny_encoder("modernbert"), adapters="stacked", after_layer_output=True
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_program_of_pytorch_gives_what_the_model_gives(name: str, tmp_path: Path) -> None:
    model = with_tokenizer(MODELS[name]())
    with torch.no_grad():
        for parameter in model.heads["dep"].parameters():
            parameter.mul_(0.1)  # so that scores have the size of a trained parser's, not thousands
    table, pairs = model.encoder.get_input_embeddings(), ("ner#de", "pos#tr", "dep#en", "ner#en", "sentiment#de")
    model.train()
    folder = hyperx.export(model, pairs=pairs, format="torch", output=tmp_path / "out")
    assert model.training
    assert model.encoder.get_input_embeddings() is table
    run = torch.export.load(folder / "model.pt2").module()
    for lengths in ([9, 5, 6, 7, 4], [3, 3, 3, 3, 3]):
        ids, mask = tiny_batch(lengths)
        words = torch.where(mask.bool(), (torch.arange(max(lengths)) - 1).expand_as(mask), -1)
        inputs = {"input_ids": ids, "attention_mask": mask, "words": words}
        found = differences(model.eval(), pairs, inputs, run)
        assert found.keys() == {"ner", "pos", "dep_arcs", "dep_relations", "sentiment"}
        assert max(found.values()) < LARGEST, found
    one = {name: value[:1] for name, value in inputs.items()}
    assert differences(model, pairs[:1], one, run)["ner"] < LARGEST
    with pytest.raises(hyperx.CheckpointError, match=r"a program of PyTorch, which may run code .* --format onnx"):
        hyperx.predict(["bad ade"], model=folder, language="de")


# Numbers --------------------------------------------------------------------------------------------------------------


def test_the_embedded_encoders_words_are_stored_without_a_loss(ready_made: HyperX) -> None:
    table = ready_made.word_embeddings.detach()[:5000]
    stored = in_blocks(table)
    assert stored is not None
    assert sum(one.nbytes for one in stored) < 0.15 * table.nbytes
    ids = torch.randint(0, 5000, (3, 4), generator=torch.Generator().manual_seed(0))
    assert torch.equal(SmallEmbedding(*stored)(ids), table[ids])
    assert in_blocks(table + 1e-3 * torch.randn(table.shape, generator=torch.Generator().manual_seed(0))) is None


# The library adapters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norms", [False, True])
def test_adapters_are_where_the_library_looks_for_them(norms: bool, tmp_path: Path) -> None:
    options = {"add_layer_norm_before_adapter": norms, "add_layer_norm_after_adapter": norms}
    model = with_tokenizer(tiny_model(options=options))
    folder = hyperx.export(model, pairs=PAIRS[:2], format="adapters", output=tmp_path / "out")
    # What adapters 1.3.0 does with these files, in few words.
    encoder = BertModel.from_pretrained(folder / "encoder", add_pooling_layer=False).eval()
    assert load_tokenizer(folder / "encoder").backend_tokenizer.encode("bad").ids
    ids, mask = tiny_batch([7, 4])
    for pair in PAIRS[:2]:
        own = folder / pair.replace("#", "_")
        settings = json.loads((own / "adapter_config.json").read_text())["config"]
        assert settings["output_adapter"]
        assert not settings["mh_adapter"]
        assert settings["reduction_factor"] == 4
        tensors = load_file(own / "adapter.safetensors")

        def adapt(number: int, x: Tensor, tensors: dict[str, Tensor] = tensors, name: str = own.name) -> Tensor:
            at = {key.partition(f"layer.{number}.output.adapters.{name}.")[2]: one for key, one in tensors.items()}
            y, down = x, "adapter_down.0"
            if norms:
                y = nn.functional.layer_norm(y, y.shape[-1:], at[f"{down}.weight"], at[f"{down}.bias"])
                down = "adapter_down.1"
            y = torch.relu(nn.functional.linear(y, at[f"{down}.weight"], at[f"{down}.bias"]))
            y = nn.functional.linear(y, at["adapter_up.weight"], at["adapter_up.bias"])
            if norms:
                norm = at["adapter_norm_after.weight"], at["adapter_norm_after.bias"]
                y = nn.functional.layer_norm(y, y.shape[-1:], *norm)
            return x + y

        hooks = [
            layer.output.dropout.register_forward_hook(lambda _m, _i, x, number=number, adapt=adapt: adapt(number, x))
            for number, layer in enumerate(encoder.encoder.layer)
        ]
        with torch.inference_mode():
            hidden = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            wanted = model(pair, ids, mask)
        torch.testing.assert_close(hidden[mask.bool()], wanted.hidden[mask.bool()], rtol=0, atol=LARGEST)
        head = load_file(own / "model_head.safetensors")
        logits = nn.functional.linear(hidden, *(head[f"heads.{own.name}.1.{end}"] for end in ("weight", "bias")))
        torch.testing.assert_close(logits[mask.bool()], wanted.logits[mask.bool()], rtol=0, atol=LARGEST)
        numbers = json.loads((own / "head_config.json").read_text())["config"]["label2id"]
        assert tuple(sorted(numbers, key=numbers.__getitem__)) == model.config.labels[pair.partition("#")[0]]
        for hook in hooks:
            hook.remove()


def test_others_are_heard_while_it_writes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def write(*_: object) -> None:
        logging.getLogger("other").warning("heard")
        warnings.warn("heard", stacklevel=1)

    monkeypatch.setattr(writing, "write_adapters", lambda folder, *_: write((folder / "encoder").mkdir()))
    with pytest.warns(UserWarning, match="heard"):
        hyperx.export(with_tokenizer(tiny_model()), pairs=PAIRS[:1], format="adapters", output=tmp_path / "out")
    assert "heard" in caplog.messages


@pytest.mark.parametrize("form", ["onnx", "torch", "adapters"])
def test_the_command_says_how_what_it_wrote_is_used(
    form: str, trained: Path, isolated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if form == "onnx":
        pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    pairs = ["ner#tr", "pos#tr", "pos#en"]
    assert main(["export", str(trained), "--pairs", *pairs, "--format", form, "--output", "out"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    if form == "adapters":
        assert "with AutoAdapterModel of the library adapters, other folders with its load_adapter" in told
        assert {path.name for path in (isolated / "out").iterdir()} == {"encoder", "ner_tr", "pos_tr", "pos_en"}
    elif form == "torch":
        assert "predict" not in told
        assert torch.export.load(re.search(r"Load it with torch\.export\.load\('(.*)'\)", told)[1])  # type: ignore[index]
    else:
        (isolated / "text.txt").write_text("Ada\n", encoding="utf-8")
        words = told.partition("Use it with: hyperx ")[2].split()
        assert words[:1] == ["predict"]
        assert main([*words, "--input", "text.txt", "--output_format", "jsonl"]) == 0
        assert {"ner", "pos"} < json.loads(capsys.readouterr().out).keys()


# What is refused ------------------------------------------------------------------------------------------------------


def test_problems_with_the_options_are_told_together(isolated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (isolated / "full").mkdir()
    (isolated / "full" / "file").touch()
    pairs = ["ner#tr", "ner#tur", "nre#tr", "ner#xx", "ner", "pos#de"]
    assert main(["export", "--pairs", *pairs, "--format", "torch", "--bits", "8", "--output", "full"]) == 1
    err = " ".join(capsys.readouterr().err.split())
    assert "6 problems" in err
    for told in (
        "full exists already",
        "8 needs --format onnx",
        "ner#tur is the same pair as ner#tr",
        "no task 'nre'",
        "'xx'",
    ):
        assert told in err
    assert main(["export", "--output", "new"]) == 1
    assert "name the pairs to export" in capsys.readouterr().err
    with pytest.raises(hyperx.ConfigError, match="--bits: expected 8 or 32"):
        hyperx.export(pairs=["ner#tr"], bits=4, format="torch", output="new")


def test_what_a_format_cannot_hold(tmp_path: Path) -> None:
    out: dict[str, Any] = {"format": "adapters", "output": tmp_path / "out", "pairs": ["ner#en"]}
    for fields, told in (
        ({"adapters": "none"}, "the model's are none"),
        ({"after_layer_output": True}, "the model's stand behind whole layers"),
        ({"encoder": tiny_encoder("modernbert")}, "found modernbert; use --format torch"),
    ):
        with pytest.raises(hyperx.ConfigError, match=told):
            hyperx.export(with_tokenizer(tiny_model(**fields)), **out)
    masked = tiny_model(labels={**LABELS, "mlm": ()}, kinds={"ner": "ner", "pos": "pos", "mlm": "mlm"})
    with pytest.raises(hyperx.ConfigError, match="mlm only serves other tasks"):
        hyperx.export(masked, **out | {"pairs": ["mlm#en"]})
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(facts.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(hyperx.ConfigError, match=r'--format onnx needs .* pip install "hyperx-nlp\[onnx\]"'):
        hyperx.export(pairs=["ner#tr"], output=tmp_path / "out")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(hyperx.HyperXError, match=r'pip install "hyperx-nlp\[onnx\]"'):
        facts.runtime()


def test_what_was_learnt_of_a_language_is_exported(trained: Path, encoder: Path, tmp_path: Path) -> None:
    model = HyperX.from_pretrained(trained)
    model.learn_language(AddOnConfig(language="tr", pairs={"ner#tr": 3}, rank=1, layer_rank=1))
    with torch.no_grad():
        for parameter in model.add_ons["tr"].parameters():
            parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(0))
    model.save_add_on("tr", tmp_path / "tr.addon")
    options: dict[str, Any] = {"pairs": ["ner#tr"], "format": "onnx", "add_on": [tmp_path / "tr.addon"]}
    folder = hyperx.export(trained, **options, output=tmp_path / "out", model_name_or_path=str(encoder))
    texts = ["Ada Lovelace sees London ."]
    found = hyperx.predict(texts, model=folder, language="tr", confidences=True)[0]
    whole, plain = (
        HyperX.from_pretrained(trained, add_ons=add_ons).predict(texts, language="tr", task="ner", confidences=True)[0]
        for add_ons in ([tmp_path / "tr.addon"], [])
    )
    assert found.confidences is not None
    assert whole.confidences is not None
    assert found.labels == whole.labels
    np.testing.assert_allclose(found.confidences["ner"], whole.confidences["ner"], atol=LARGEST)
    assert whole.confidences != plain.confidences
    other = tiny_encoder("bert")
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(hyperx.HyperXError, match="other"):
        hyperx.export(trained, **options, output=tmp_path / "new", model_name_or_path=str(tmp_path / "other"))
