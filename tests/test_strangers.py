"""Files of strangers: none hangs, leads out of its folder, chooses code, or takes memory that it does not fill."""

from __future__ import annotations

import base64
import json
import os
import pickle
import shutil
import stat
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from safetensors.torch import save

import hyperx
import toy
from hyperx.checkpoint import read_sizes, resolve
from hyperx.cli import main
from hyperx.config import TrainConfig
from hyperx.data.batch.windows import SubwordEncoder
from hyperx.data.locate.places import Hub, PairData
from hyperx.data.locate.spec import DataRecord, DataSpec
from hyperx.data.read.formats import read_file
from hyperx.data.read.hub import HubData
from hyperx.data.read.segmentation import sentence_pieces
from hyperx.encoders.loading import load_encoder
from hyperx.errors import CheckpointError, ConfigError, DataError, EncoderError, HyperXError
from hyperx.exporting.running import ExportedModel
from hyperx.files import read_json
from hyperx.model import HyperX
from hyperx.options import made, read_yaml
from hyperx.pairs import TaskLanguagePair
from hyperx.published.arguments import read_arguments

pytestmark = pytest.mark.usefixtures("isolated")

Change = Callable[[Path], object]


@pytest.fixture
def ckpt(trained: Path, tmp_path: Path) -> Path:
    """A checkpoint to be spoilt."""
    return Path(shutil.copytree(trained / "checkpoint-60", tmp_path / "run" / "checkpoint-60"))


def edited(name: str, **values: Any) -> Change:
    """Set values in a JSON file."""

    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def replaced(name: str, make: Callable[[Path], object]) -> Change:
    """Put something else in a file's place."""

    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return change


def long_header(path: Path) -> None:
    path.write_bytes((90_000_000).to_bytes(8, "little") + b'{"' + b"x" * 100)


def normaliser(table: bytes) -> Change:
    """A tokenizer whose normaliser has a table of characters."""
    value = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}
    return edited("tokenizer.json", normalizer={"type": "Sequence", "normalizers": [value]})


def rules(**values: Any) -> Change:
    """A tokenizer with other rules."""
    return edited("tokenizer.json", **values)


def doubling(times: int) -> dict[str, Any]:
    """A rule that doubles a text so many times."""
    one = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    return {"type": "Sequence", "normalizers": [one] * times}


def looped(folder: Path) -> None:
    (folder / "x").symlink_to("y")
    (folder / "y").symlink_to("x")


class Attack:
    """A pickle that makes a file when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


def pickled_part(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "x.bin").write_bytes(pickle.dumps(Attack()))
    index = {"metadata": {}, "weight_map": {"embeddings.word_embeddings.weight": "x.bin"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


ENCODERS: dict[str, tuple[Change, str]] = {
    "layers": (edited("config.json", num_hidden_layers=10**6), "num_hidden_layers: expected a number up to 1,000"),
    "labels": (edited("config.json", num_labels=10**8), "num_labels: expected a number up to 1,000"),
    "no heads": (edited("config.json", num_attention_heads=-4), "num_attention_heads: expected"),
    "not a number": (edited("config.json", layer_norm_eps=float("nan")), "layer_norm_eps: expected"),
    "vocabulary": (edited("config.json", vocab_size=10**10), "config.json describes 320,000"),
    "pipe": (replaced("config.json", os.mkfifo), "found no config.json"),
    "device": (replaced("tokenizer.json", lambda path: path.symlink_to("/dev/zero")), "a link out of it"),
    "header": (replaced("model.safetensors", long_header), "its header would have 90,000,000 bytes"),
    "empty table": (normaliser(b""), "precompiled_charsmap is damaged"),
    "huge table": (normaliser(b"\xff\xff\xff\xff" + bytes(60)), "precompiled_charsmap is damaged"),
    "no text": (normaliser(b"\4\0\0\0" + bytes(4) + b"\xff"), "precompiled_charsmap is damaged"),
    "no trie": (normaliser(b"\4\0\0\0" + b"\xff" * 4 + b"x"), "the tokenizer's tables are damaged"),
    "doubling": (rules(normalizer=doubling(40)), "expected rules that leave a text about as long as it is"),
    "bytes": (
        rules(pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}] * 30}),
        "expected rules that leave a text about as long as it is",
    ),
    "a long rule": (rules(post_processor={"type": "ByteLevel", "x": "x" * 20_000}), "a few special subwords around"),
    "far special": (
        rules(post_processor={"type": "BertProcessing", "sep": ["[SEP]", 10**9], "cls": ["[CLS]", 2]}),
        "subwords up to number 1,000,000,000",
    ),
    "another family": (
        edited("config.json", model_type="detr", backbone="a/b"),
        "encoders of type 'detr' are not known",
    ),
    "uses of layers": (edited("config.json", inner_group_num=1000), "inner_group_num: expected a number up to 4"),
    "an adapter": (replaced("adapter_config.json", lambda path: path.write_text("{}")), "found an adapter of peft"),
    "a loop": (looped, "found a link out of it"),
    "a pickle": (pickled_part, "expected names of files *.safetensors in the folder, found 'x.bin'"),
}


@pytest.mark.parametrize("case", ENCODERS)
def test_encoders_that_would_hang_crash_or_run_code(encoder: Path, tmp_path: Path, case: str) -> None:
    change, expected = ENCODERS[case]
    folder = Path(shutil.copytree(encoder, tmp_path / "encoder"))
    change(folder)
    with pytest.raises(EncoderError) as caught:
        load_encoder(folder)
    assert expected in str(caught.value)
    assert not Path("ran").exists()


def test_a_tokenizer_of_another_vocabulary_is_refused(encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoder, tmp_path / "encoder"))
    value = json.loads((folder / "tokenizer.json").read_text())
    value["model"]["vocab"]["far"] = 10**6
    (folder / "tokenizer.json").write_text(json.dumps(value))
    with pytest.raises(EncoderError, match="subwords up to number 1,000,000, the encoder embeddings of"):
        load_encoder(folder)


def test_what_a_tokenizer_fills_up_or_cuts_is_left_as_it_is(encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoder, tmp_path / "encoder"))
    padding = {"strategy": {"Fixed": 10**12}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0}
    cut = {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0}
    rules(padding={**padding, "pad_type_id": 0, "pad_token": "[PAD]"}, truncation=cut)(folder)
    usual, changed = (load_encoder(place).checked_tokenizer().backend_tokenizer for place in (encoder, folder))
    assert changed.encode("Ada reads").ids == usual.encode("Ada reads").ids


def test_special_subwords_leave_room_for_a_text(encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoder, tmp_path / "encoder"))
    special = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
    single, pair = ([*[special] * 20, *({"Sequence": {"id": one, "type_id": 0}} for one in own)] for own in ("A", "AB"))
    known = {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}}
    rules(post_processor={"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": known})(
        folder
    )
    tokenizer = load_encoder(folder).checked_tokenizer()
    with pytest.raises(EncoderError, match=r"20 subwords around a text leave no room in 16"):
        SubwordEncoder(tokenizer, max_length=16)


def test_weights_that_a_configuration_names_are_not_read(encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoder, tmp_path / "encoder"))
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Attack()))
    edited("config.json", transformers_weights="adapter_model.bin")(folder)
    assert load_encoder(folder).content_hash == load_encoder(encoder).content_hash


def test_settings_of_an_encoder_choose_no_code(encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoder, tmp_path / "encoder"))
    usual: Any = load_encoder(folder).model.config
    edited("config.json", attn_implementation="somebody/kernels", quantization_config={"quant_method": "x"})(folder)
    changed: Any = load_encoder(folder).model.config
    assert changed._attn_implementation == usual._attn_implementation


CHECKPOINTS: dict[str, tuple[Change, str]] = {
    "windows": (edited("hyperx.json", max_length=-5), "max_length: expected 16 or more; found -5"),
    "long windows": (edited("hyperx.json", max_length=10**12), "max_length: the encoder reads at most"),
    "no languages": (edited("hyperx.json", languages=[]), "languages"),
    "label": (edited("hyperx.json", labels={"ner": ["\x1b]0;x\x07"], "pos": ["A", "B"]}), "labels.ner.0"),
    "rank": (edited("hyperx.json", generator_rank=-1), "generator_rank: expected 1 or more"),
    "size": (edited("hyperx.json", hypernetwork={"adapter_dim": 2**20}), "the weights do not fit the model"),
    "add-ons": (
        edited("hyperx.json", add_ons=[{"language": "gsw", "pairs": {"ner#gsw": 1}, "rank": 1024}] * 1000),
        "1000 add-ons and",
    ),
    "header": (replaced("model.safetensors", long_header), "its header would have 90,000,000 bytes"),
    "pipe": (replaced("hyperx.json", os.mkfifo), "expected a folder with hyperx.json"),
    "no end": (replaced("hyperx.json", lambda path: path.symlink_to("/dev/zero")), "expected a folder with"),
    "link": (replaced("results.md", lambda path: path.symlink_to("/etc/hostname")), "found a link out of it"),
    "a loop": (looped, "found a link out of it"),
    "very many faults": (
        edited("hyperx.json", languages=[1] * 10**5),
        "values: expected at most 1,000 of another kind",
    ),
    "very many values": (
        replaced("hyperx.json", lambda path: path.write_text(" " * (33 << 20))),
        "more than 33,554,432",
    ),
    "half a character": (replaced("hyperx.json", lambda path: path.write_text('{"x": "\\ud800"}')), "half a character"),
}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_checkpoints_that_would_hang_or_mislead(ckpt: Path, case: str) -> None:
    change, expected = CHECKPOINTS[case]
    change(ckpt)
    with pytest.raises(CheckpointError) as caught:
        HyperX.from_pretrained(ckpt)
    assert expected in str(caught.value)


@pytest.mark.parametrize("name", ["..", "x" * 5000, "", "\0"])
def test_the_best_checkpoint_is_one_of_the_run(ckpt: Path, name: str) -> None:
    for path in filter(Path.is_file, ckpt.iterdir()):
        shutil.copy(path, ckpt.parent.parent)
    (ckpt.parent / "best.json").write_text(json.dumps({"checkpoint": name}))
    assert resolve(ckpt.parent) == ckpt


def test_sizes_of_a_header_that_is_too_deep(ckpt: Path) -> None:
    header = b'{"x":' + b"[" * 100_000
    (ckpt / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        read_sizes(ckpt)


def test_exported_models_that_hang_or_cannot_be_run(ckpt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    onnx = pytest.importorskip("onnx")
    folder = hyperx.export(HyperX.from_pretrained(ckpt), pairs=("ner#en",), output=Path("onnx"))
    model = ExportedModel(folder)
    monkeypatch.setitem(model.widths, "ner", 1)
    with pytest.raises(CheckpointError, match=r"model\.onnx cannot be run: ner has [0-9]+ columns, for 1 labels"):
        model.predict(["Ada"], language="en", task="ner")
    loop = onnx.helper.make_node("Loop", ["count", "go"], ["out"], body=onnx.helper.make_graph([], "body", [], []))
    endless = onnx.helper.make_model(onnx.helper.make_graph([loop], "graph", [], []))
    (folder / "model.onnx").write_bytes(endless.SerializeToString())
    with pytest.raises(CheckpointError, match="it has a loop"):
        ExportedModel(folder)
    (folder / "model.onnx").unlink()
    os.mkfifo(folder / "model.onnx")
    with pytest.raises(CheckpointError, match="it is a pipe or a device"):
        ExportedModel(folder)


def test_archives_of_spacy_that_would_fill_the_disk() -> None:
    pytest.importorskip("spacy")
    from hyperx.spacy import HyperXComponent

    component, archive = HyperXComponent.__new__(HyperXComponent), BytesIO()
    component.name = "hyperx"
    with ZipFile(archive, "w", ZIP_DEFLATED) as packed:
        packed.writestr("hyperx.json", bytes(10**6))
    for content in (archive.getvalue(), b"no archive"):
        with pytest.raises(HyperXError, match="expected what to_bytes gave"):
            component.from_bytes(content)


def test_results_are_not_written_through_a_link(ckpt: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "results.md").symlink_to(tmp_path / "mine")
    words = ["--eval_ckpt", str(ckpt), "--output", str(tmp_path / "results"), *toy.QUIET]
    assert main(["evaluate", *words]) == 0
    assert (tmp_path / "mine").read_text() == "kept"
    assert "Results" in (tmp_path / "results" / "results.md").read_text()


def test_a_log_is_not_written_through_a_link(base: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("run").mkdir()
    Path("run/log.jsonl").symlink_to("mine")
    assert main(["train", *base, "--max_train_steps", "1", "--output_dir", "run", "--resume"]) == 1
    assert "log.jsonl is a link; delete it" in capsys.readouterr().err
    assert not Path("mine").exists()


@pytest.mark.parametrize(("umask", "modes"), [(0o077, (0o700, 0o600)), (0o022, (0o755, 0o644))])
def test_folders_have_the_rights_that_the_user_gives(ckpt: Path, umask: int, modes: tuple[int, int]) -> None:
    model = HyperX.from_pretrained(ckpt)
    before = os.umask(umask)
    try:
        model.save_pretrained("model")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in Path("model").iterdir()} == {modes[1]}
    assert stat.S_IMODE(Path("model").stat().st_mode) == modes[0]


def test_data_that_a_strangers_checkpoint_names_is_not_read(
    ckpt: Path, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["evaluate", "--eval_ckpt", str(ckpt), *toy.QUIET]
    assert main(words) == 0
    edited("data.json", mark="0" * 64)(ckpt)
    assert main(words) == 1
    assert "data.json was written elsewhere: of the files that it names none is read" in caplog.text
    assert main([*words, "--data_folder", str(data)]) == 0


@pytest.mark.parametrize("name", ["../data", "csv", "here/data", "/data", "~/data", "a/b/c"])
def test_data_of_the_hub_that_a_stranger_names_is_of_the_hub(name: str) -> None:
    Path("here/data").mkdir(parents=True)
    pair = TaskLanguagePair("ner", "en")
    table = {"ner#en": {"hub": name}, "ner#de": {"hub": {"name": name}}, "ner#tr": {"hub": "owner/name"}}
    spec = DataSpec(Path("data"), {"ner": "ner"}, ["ner"], table)
    data = [PairData(pair, "ner", {"test": Hub(HubData(own))}) for own in (name, "owner/name")]
    kept = DataRecord(spec, data=tuple(data)).placeless()
    assert [*kept.spec.table] == ["ner#tr"]
    assert kept.data == (data[1],)


def columns(path: Path) -> None:
    path.with_suffix(".csv").write_text(",".join(f"c{number}" for number in range(100_000)) + ",text,label\n")


def spans_of_words(path: Path) -> None:
    spans = [[2 * number, 2 * number + 1, "PER"] for number in range(10_000)]
    row = {"text": "a " * 10_000, "words": ["a"] * 10_000, "label": spans}
    path.with_suffix(".jsonl").write_text(json.dumps(row) + "\n")


@pytest.mark.parametrize(("write", "column"), [(columns, "label"), (spans_of_words, "ner")])
def test_long_lines_of_data_are_refused_at_once(write: Change, column: str) -> None:
    write(Path("x"))
    before = time.process_time()
    with pytest.raises(DataError):
        list(read_file(next(Path().glob("x.*")), column))
    assert time.process_time() - before < 5  # where time grew with the square of the length, a minute


def test_open_quotes_take_little_time() -> None:
    text = "\u00ab" * 200_000
    before = time.process_time()
    assert "".join(sentence_pieces(text, "en")) == text
    assert time.process_time() - before < 20  # where time grew with the square of the length, a minute


def test_lists_of_published_arguments_are_looked_at_once() -> None:
    names = b"".join(b"\x8c\x05%05xh\x00" % number for number in range(50_000))
    values = b"\x8c\x01a]q\x00(" + b"N" * 200_000 + b"e" + names
    Path("x.bin").write_bytes(b"\x80\x04\x8c\x08argparse\x8c\x09Namespace\x93)\x81}(" + values + b"ub.")
    assert len(read_arguments(Path("x.bin"))) == 50_001


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB, "a: &a [*a]\n", "a: 0x_\n", "a: !!bool maybe\n", "a: !!float x\n", "a: !!timestamp x\n", 'a: "\\ud800"\n',
        f"a: {'1' * 5000}\n", f"a: {'[' * 3000}\n", "a: !!python/object/apply:os.system [touch ran]\n",
    ],
)  # fmt: skip
def test_options_that_are_no_yaml(text: str) -> None:
    Path("x.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"x\.yaml is not YAML"):
        read_yaml(Path("x.yaml"))


def test_values_may_be_repeated_in_options() -> None:
    Path("x.yaml").write_text(
        "data:\n  pos#en: &one {train: x.conllu}\n  pos#de: *one\n  pos#tr: {<<: *one, dev: y.conllu}\n"
    )
    table = made(TrainConfig, {"config": Path("x.yaml")}).data.data
    assert table["pos#de"] == {"train": "x.conllu"}
    assert table["pos#tr"] == {"train": "x.conllu", "dev": "y.conllu"}


def test_messages_do_not_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b]0;x\x07\u202e\x9b31m"
    Path(name).write_text("{")
    with pytest.raises(HyperXError) as caught:
        read_json(Path(name), dict[str, Any])
    assert r"\x1b]0;x\x07\u202e\x9b31m is not JSON" in str(caught.value)
    assert main(["predict", "--checkpoint", "default", "--language", "en", "--input", f"none{name}"]) == 1
    assert not {"\x1b", "\x07", "\u202e", "\x9b"} & {*capsys.readouterr().err}


def test_half_a_character_is_told_with_its_line(ckpt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.jsonl").write_text('{"words": ["a"]}\n{"words": ["\\ud800"]}\n')
    words = ["predict", "--checkpoint", str(ckpt), "--language", "en", "--input", "x.jsonl", *toy.QUIET]
    assert main(words) == 1
    assert "x.jsonl:2: " in capsys.readouterr().err


def test_memory_is_not_taken_before_weights_are_there(ckpt: Path) -> None:
    """A model of a terabyte, in a configuration alone."""
    shape = {"adapter_dim": 2**20, "projected_source_embedding_dim": 2**20, "source_hidden_dim": 2**20}
    edited("hyperx.json", hypernetwork=shape)(ckpt)
    with pytest.raises(CheckpointError, match="the weights do not fit the model"):
        HyperX.from_pretrained(ckpt)
    (ckpt / "model.safetensors").write_bytes(save({"x": torch.ones(1)}))
    with pytest.raises(CheckpointError, match="the weights do not fit the model"):
        HyperX.from_pretrained(ckpt)
