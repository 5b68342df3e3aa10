"""Sharing on the hub: what comes back is what was pushed, no path of this machine leaves it, no foreign code comes."""

from __future__ import annotations

import getpass
import json
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard, constants

import toy
from hub import Hub
from hyperx import checkpoint
from hyperx.card import model_card
from hyperx.cli import main
from hyperx.config import AddOnConfig
from hyperx.encoders.loading import load_encoder
from hyperx.errors import CheckpointError, HyperXError
from hyperx.files import placeless
from hyperx.hub import Address
from hyperx.model import HyperX
from hyperx.sharing import fill
from tiny import randomise, tiny_batch, tiny_model, write_tiny_bert

IDS, MASK = tiny_batch([6, 4], vocabulary=16)
PAIRS = ["ner#en", "pos#de"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny encoder."""
    return write_tiny_bert(tmp_path_factory.mktemp("encoders") / "small")


@pytest.fixture
def model(small: Path, tmp_path: Path) -> HyperX:
    """A tiny model that was loaded from a checkpoint."""
    loaded = load_encoder(small)
    new = tiny_model(encoder=loaded.model)
    new.config = replace(new.config, encoder=str(small), encoder_hash=loaded.content_hash)
    new.save_pretrained(tmp_path / "saved")
    return HyperX.from_pretrained(tmp_path / "saved")


@pytest.fixture
def add_on(model: HyperX, tmp_path: Path) -> Path:
    """A file with an add-on of that model, for German."""
    assert model.folder is not None
    learner = HyperX.from_pretrained(model.folder)
    learner.learn_language(AddOnConfig(language="de", pairs={"pos#de": 5}, rank=2))
    randomise(learner, seed=4)
    learner.save_add_on("de", tmp_path / "de.addon")
    return tmp_path / "de.addon"


def logits(model: HyperX) -> list[torch.Tensor]:
    with torch.no_grad():
        return [*model(PAIRS, IDS, MASK).logits.values()]


def same(one: HyperX, other: HyperX) -> bool:
    return all(torch.equal(a, b) for a, b in zip(logits(one), logits(other), strict=True))


def output(capsys: pytest.CaptureFixture[str]) -> str:
    found = capsys.readouterr()
    return " ".join((found.out + found.err).split())


# There and back -------------------------------------------------------------------------------------------------------


def test_what_comes_back_is_what_was_pushed(hub: Hub, model: HyperX, small: Path, tmp_path: Path) -> None:
    address = model.push_to_hub("ada/tiny", commit_message="First")
    assert address == f"{hub.address}/ada/tiny/commit/{hub.repos['ada/tiny'].branches['main']}"
    assert hub.repos["ada/tiny"].messages == ["initial commit", "First"]
    again = HyperX.from_pretrained("ada/tiny", encoder=small)
    assert again.folder is not None
    assert again.folder.is_relative_to(tmp_path / "hub")
    assert same(model, again)
    other = HyperX.from_pretrained("hf://ada/tiny", encoder=small, cache_dir=tmp_path / "other")
    assert other.folder is not None
    assert other.folder.is_relative_to(tmp_path / "other")
    assert same(model, other)


def test_an_add_on_comes_back_too(hub: Hub, model: HyperX, add_on: Path, small: Path) -> None:
    model.push_to_hub("ada/tiny", add_ons=add_on)
    plain = HyperX.from_pretrained("ada/tiny", encoder=small)
    added = HyperX.from_pretrained("ada/tiny", encoder=small, add_ons="ada/tiny/de.addon")
    assert not same(plain, added)
    model.load_add_on(add_on)
    assert same(model, added)
    plain.load_add_on("ada/tiny@main/de.addon")
    assert same(model, plain)
    card = hub.repos["ada/tiny"].files()["README.md"].decode()
    assert "hyperx predict --checkpoint ada/tiny --language de --add_on ada/tiny/de.addon" in card
    with pytest.raises(CheckpointError, match=r"ada/tiny on the hub has no tr\.addon"):
        HyperX.from_pretrained("ada/tiny", encoder=small, add_ons="ada/tiny/tr.addon")


def test_a_merged_add_on_or_fewer_bits_are_other_weights(hub: Hub, model: HyperX, add_on: Path, small: Path) -> None:
    with pytest.raises(CheckpointError, match="belongs to another model"):
        model.push_to_hub("ada/tiny", add_ons=[add_on], bits=8)
    assert not hub.repos
    model.load_add_on(add_on)
    model.push_to_hub("ada/tiny")
    assert same(model, HyperX.from_pretrained("ada/tiny", encoder=small))


def test_branches_are_revisions(hub: Hub, model: HyperX, small: Path) -> None:
    model.push_to_hub("ada/tiny")
    first = hub.repos["ada/tiny"].branches["main"]
    changed = HyperX.from_pretrained("ada/tiny", encoder=small)
    randomise(changed, seed=7)
    changed.push_to_hub("ada/tiny", revision="better")
    changed.push_to_hub("ada/tiny", revision="better")
    assert {*hub.repos["ada/tiny"].branches} == {"main", "better"}
    assert same(model, HyperX.from_pretrained("ada/tiny", encoder=small))
    for found in (
        HyperX.from_pretrained("ada/tiny", encoder=small, revision="better"),
        HyperX.from_pretrained("ada/tiny@better", encoder=small),
    ):
        assert same(changed, found)
    assert same(model, HyperX.from_pretrained(f"ada/tiny@{first}", encoder=small))
    with pytest.raises(CheckpointError, match="two revisions, better and main: name one"):
        HyperX.from_pretrained("ada/tiny@better", encoder=small, revision="main")
    with pytest.raises(CheckpointError, match="ada/tiny has no revision worse; name a branch"):
        HyperX.from_pretrained("ada/tiny@worse", encoder=small)


def test_the_cache_serves_without_a_network(
    hub: Hub, model: HyperX, add_on: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.push_to_hub("ada/tiny", add_ons=add_on)
    HyperX.from_pretrained("ada/tiny", encoder=small)
    asked = len(hub.asked)
    assert same(model, HyperX.from_pretrained("ada/tiny", encoder=small, local_files_only=True))
    with pytest.raises(CheckpointError, match="ada/tiny is not in the hub's cache, and only the cache"):
        HyperX.from_pretrained("ada/tiny", encoder=small, local_files_only=True, cache_dir="empty")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert same(model, HyperX.from_pretrained("ada/tiny", encoder=small))
    with pytest.raises(CheckpointError, match=r"ada/other does not exist: .*, as HF_HUB_OFFLINE is set"):
        HyperX.from_pretrained("ada/other")
    with pytest.raises(HyperXError, match="the hub is not asked, as HF_HUB_OFFLINE is set"):
        model.push_to_hub("ada/tiny")
    assert len(hub.asked) == asked


@pytest.mark.usefixtures("model")
def test_a_folder_of_this_machine_goes_first(
    hub: Hub, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tmp_path / "saved", "ada/tiny")
    assert HyperX.from_pretrained("ada/tiny", encoder=small).folder == Path("ada/tiny")
    assert not hub.asked


@pytest.mark.usefixtures("hub")
def test_an_encoder_in_the_checkpoint_goes_along(model: HyperX, small: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(tmp_path / "saved", whole)
    shutil.copytree(small, whole / "encoder")
    config = json.loads((whole / "hyperx.json").read_text())
    (whole / "hyperx.json").write_text(json.dumps({**config, "encoder": "./encoder"}))
    assert main(["push", str(whole), "ada/whole"]) == 0
    again = HyperX.from_pretrained("ada/whole")
    assert same(model, again)
    again.push_to_hub("ada/again")
    shutil.rmtree(whole)
    assert same(model, HyperX.from_pretrained("ada/again"))
    assert again.tokenizer is not None


def test_the_environment_is_obeyed(hub: Hub, model: HyperX, tmp_path: Path) -> None:
    """In a process of its own, as the library reads its variables once."""
    model.push_to_hub("ada/tiny", private=True)
    code = "from hyperx import checkpoint; print(checkpoint.resolve(checkpoint.Path('ada/tiny')))"

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        more = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.address, **variables}
        return subprocess.run([sys.executable, "-c", code], env={**kept, **more}, capture_output=True, text=True)

    assert "the hub has no ada/tiny that you may see" in run().stderr
    done = run(HF_TOKEN="hf_ada")
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "home")
    asked = len(hub.asked)
    assert run(HF_HUB_OFFLINE="1").stdout == done.stdout
    assert len(hub.asked) == asked


# A run ----------------------------------------------------------------------------------------------------------------


def test_a_run_is_pushed_without_a_path_of_this_machine(
    hub: Hub, trained: Path, encoder: Path, data: Path, isolated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = isolated / "run"
    shutil.copytree(trained, folder)
    best = checkpoint.resolve(folder)
    assert main(["evaluate", "--eval_ckpt", str(folder), "--data_folder", str(data), *toy.QUIET]) == 0
    toy.write_pos(Path("few.conllu"), toy.sentences("de", 3, 1))
    adapt = ["adapt", str(folder), "--pairs", "pos#de", "--train", "few.conllu", "--output", "de.addon"]
    assert main([*adapt, "--max_train_steps", "1", "--folds", "0", *toy.QUIET]) == 0
    capsys.readouterr()
    options = ["--add_on", "de.addon", "--private", "--revision", "first", "--message", "A run", "--license", "mit"]
    assert main(["push", str(folder), "ada/run", *options]) == 0
    told = output(capsys)
    assert "the encoder is a local folder, of which only the name 'tiny' is told:" in told
    assert "Use it with: hyperx predict --checkpoint ada/run@first --language LANGUAGE" in told
    repo = hub.repos["ada/run"]
    assert repo.private
    assert repo.messages[-1] == "A run"
    files = repo.files("first")
    assert {*files} == {
        ".gitattributes", "hyperx.json", "model.safetensors", "data.json", "options.json", "run.json", "results.json",
        "README.md", "de.addon",
    }  # fmt: skip
    assert files["model.safetensors"] == (best / "model.safetensors").read_bytes()
    words = [str(isolated), str(trained.parent), str(encoder.parent), str(data.parent), str(Path.home()), toy.__file__]
    words += [f"/{getpass.getuser()}/", sys.prefix]
    for name, content in [*files.items(), *((f"request {n}", one) for n, one in enumerate(hub.received))]:
        for word in words:
            assert word.encode() not in content, f"{word} in {name}"
        if name.endswith((".json", ".md")):
            assert not re.search(rf"\b{re.escape(platform.node())}\b", content.decode()), name
    card = ModelCard(files["README.md"].decode())
    assert card.data.license == "mit"
    assert card.data.language == ["de", "en", "tr"]
    assert card.data.pipeline_tag == "token-classification"
    assert card.data.library_name == "hyperx"
    assert {"hyper-x", "part-of-speech", "named-entity-recognition"} <= {*card.data.tags}
    assert card.data.base_model is None
    scores = {(one.dataset_config, one.metric_type): one.metric_value for one in card.data.eval_results}
    kept = json.loads((best / "results.json").read_text())["pairs"]
    assert scores["pos#tr", "accuracy"] == round(kept["pos#tr"]["measures"]["accuracy"], 4)
    assert {pair for pair, _ in scores} == {*kept}
    assert {one.dataset_name for one in card.data.eval_results if one.dataset_config == "pos#tr"} == {
        "pos/tr/test.conllu"
    }
    for words in ("| ner/en/train.tsv | ner#en |", "Trained with: max_train_steps 60", "It took ", " of a CPU."):
        assert words in card.text
    # Of others it is used by its name alone.
    text = Path("text.txt")
    text.write_text("Ada Lovelace sees London.\n")
    predict = ["predict", "--language", "de", "--input", "text.txt", "--model_name_or_path", str(encoder), *toy.QUIET]
    found = {}
    for name, own in ((str(folder), "de.addon"), ("ada/run@first", "ada/run@first/de.addon")):
        assert main([*predict, "--checkpoint", name, "--add_on", own]) == 0
        found[name] = capsys.readouterr().out
    assert len({*found.values()}) == 1
    assert main(["models", "ada/run@first"]) == 0
    assert capsys.readouterr().out.startswith("# ada/run\n")


@pytest.mark.usefixtures("hub", "isolated")
def test_every_command_takes_a_model_of_the_hub_and_leaves_the_cache_alone(
    trained: Path, base: list[str], encoder: Path, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["push", str(trained), "ada/run"]) == 0
    folder = checkpoint.resolve(Path("ada/run"))
    before = sorted(path.name for path in folder.iterdir())
    where = ["--model_name_or_path", str(encoder)]
    few = ["--max_train_steps", "1"]
    assert main(["evaluate", "--eval_ckpt", "ada/run", "--data_folder", str(data), *where, *toy.QUIET]) == 0
    toy.write_pos(Path("few.conllu"), toy.sentences("de", 3, 1))
    adapt = ["adapt", "ada/run", "--pairs", "pos#de", "--train", "few.conllu", "--output", "de.addon", "--folds", "0"]
    assert main([*adapt, *where, *few, *toy.QUIET]) == 0
    assert main(["compress", "ada/run", "--output", "compressed", "--add_on", "de.addon", *where]) == 0
    assert main(["languages", "--checkpoint", "ada/run", *where]) == 0
    with caplog.at_level(logging.INFO):
        start = ["--load_from_ckpt", "ada/run", "--evaluation_strategy", "no", "--output_dir", "second"]
        assert main(["train", *base, *start, *few]) == 0
    assert f"{folder}: taken: the hypernetwork" in caplog.text
    assert sorted(path.name for path in folder.iterdir()) == before


def test_the_encoder_may_be_told_by_its_name_on_the_hub(hub: Hub, model: HyperX, small: Path) -> None:
    hub.new("ada/encoder", {path.name: path.read_bytes() for path in small.iterdir()})
    assert main(["push", str(model.folder), "ada/tiny", "--model_name_or_path", "ada/encoder"]) == 0
    again = HyperX.from_pretrained("ada/tiny")
    assert again.config.encoder == "ada/encoder"
    assert same(model, again)
    assert ModelCard(hub.repos["ada/tiny"].files()["README.md"].decode()).data.base_model == "ada/encoder"


def test_pushing_again_replaces_what_is_known_and_leaves_the_rest(hub: Hub, model: HyperX) -> None:
    old = {"results.json": b"{}", "data.json": b"{}", "notes.md": b"mine", "de.addon": b"an add-on"}
    hub.new("ada/tiny", old)
    model.push_to_hub("ada/tiny")
    files = hub.repos["ada/tiny"].files()
    assert {*files} == {".gitattributes", "notes.md", "de.addon", "hyperx.json", "model.safetensors", "README.md"}


def test_scores_go_along_with_the_weights_that_they_are_of(hub: Hub, model: HyperX) -> None:
    assert model.folder is not None
    entry = {"group": "seen", "measures": {"accuracy": 0.91}, "source": {"files": ["/secret/place/test.conllu"]}}
    (model.folder / "results.json").write_text(json.dumps({"averages": {"seen": 0.91}, "pairs": {"pos#tr": entry}}))
    model.push_to_hub("ada/tiny")
    files = hub.repos["ada/tiny"].files()
    assert b"0.91" in files["results.json"]
    assert b"secret" not in files["README.md"] + files["results.json"]
    assert ModelCard(files["README.md"].decode()).data.eval_results[0].dataset_name == "test.conllu"
    randomise(model, seed=5)
    model.push_to_hub("ada/tiny")
    assert "results.json" not in hub.repos["ada/tiny"].files()


# What leaves and what comes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/home/ada/data/ud/tr.conllu", "ud/tr.conllu"),
        ("/home/ada/data/../private/tr.conllu", "tr.conllu"),
        ("/srv/tr.conllu", "tr.conllu"),
        ("ud/tr.conllu", "ud/tr.conllu"),
        ("../ada/tr.conllu", "tr.conllu"),
        ("ud/../../../ada/tr.conllu", "tr.conllu"),
        ("~/tr.conllu", "tr.conllu"),
        ("~nobody-of-this-name/tr.conllu", "tr.conllu"),
        ("unimelb-nlp/wikiann", "unimelb-nlp/wikiann"),
    ],
)
def test_paths_are_told_below_the_folder_of_data_only(path: str, told: str) -> None:
    assert placeless(path, Path("/home/ada/data")) == told


def test_all_places_in_the_record_of_data_are_scrubbed(trained: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "run", tmp_path / "shared"
    shutil.copytree(checkpoint.resolve(trained), source)
    target.mkdir()
    record = json.loads((source / "data.json").read_text())
    record["spec"]["table"] = {
        "ner#en": "/secret/ner",
        "pos#tr": {
            "train": ["/secret/a.conllu", "ud/b.conllu"],
            "val": "~/c.conllu",
            "licence": "MIT",
            "label_map": {"/": "~"},
        },
        "ner#de": {"hub": {"name": "/secret/copy", "configuration": ["de"]}},
        "ner#tr": {"hub": "unimelb-nlp/wikiann"},
        "pos#en": {"train": {"in_memory": "abc", "rows": 3}},
    }
    hub_place = {"hub": {"name": "unimelb-nlp/wikiann", "configurations": ["tr"], "revision": None, "columns": {}}}
    record["data"].append({"pair": "ner#tr", "column": "ner", "splits": {"train": hub_place}})
    record["read"].append("ner#tr")
    config = json.loads((source / "hyperx.json").read_text())
    config["trained_pairs"].append("ner#tr")
    (source / "hyperx.json").write_text(json.dumps(config))
    (source / "data.json").write_text(json.dumps(record))
    options = json.loads((source / "options.json").read_text())
    options |= {"load_from_ckpt": "/secret/run", "data": "{'ner#en': '/secret/ner'}", "of_another_version": "/secret"}
    (source / "options.json").write_text(json.dumps(options))
    (source / "state.safetensors").write_bytes(b"state")
    fill(source, target)
    assert "secret" not in "".join(path.read_text() for path in target.glob("*.json"))
    shared = json.loads((target / "data.json").read_text())
    table = shared["spec"]["table"]
    assert shared["spec"]["folder"] == "data"
    assert table["ner#en"] == "ner"
    assert table["pos#tr"] == {
        "train": ["a.conllu", "ud/b.conllu"], "val": "c.conllu", "licence": "MIT", "label_map": {"/": "~"},
    }  # fmt: skip
    assert table["ner#tr"] == {"hub": "unimelb-nlp/wikiann"}
    assert table["pos#en"] == record["spec"]["table"]["pos#en"]
    assert [one["pair"] for one in shared["data"]] == ["ner#tr"]
    told = json.loads((target / "options.json").read_text())
    assert told["load_from_ckpt"] == "run"
    assert told["learning_rate"] == options["learning_rate"]
    assert not {"data", "of_another_version"} & {*told}
    assert not (target / "state.safetensors").exists()
    card = yaml.safe_load(model_card(source, "ada/run").split("---\n")[1])
    assert card["datasets"] == ["unimelb-nlp/wikiann"]


@pytest.mark.parametrize(
    ("ner", "pos", "wanted"),
    [
        ("CC BY-SA 4.0", "CC-BY-SA-4.0", {"license": "cc-by-sa-4.0"}),
        ("MIT", "CC0 1.0", {"license": "other", "license_name": "see-the-data"}),
        ("CC0 1.0 for the labels", "CC0 1.0 for the labels", {"license": "other", "license_name": "see-the-data"}),
        ("MIT", None, {}),
    ],
)
def test_the_licence_is_that_of_all_data_or_is_not_told(
    trained: Path, tmp_path: Path, ner: str, pos: str | None, wanted: dict[str, str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(checkpoint.resolve(trained), folder)
    record = json.loads((folder / "data.json").read_text())
    record["spec"]["table"] = {"ner#en": {"folder": "a", "licence": ner}, "pos#tr": {"folder": "b", "licence": pos}}
    (folder / "data.json").write_text(json.dumps(record))
    told = yaml.safe_load(model_card(folder, "ada/run").split("---\n")[1])
    assert {key: value for key, value in told.items() if key.startswith("license")} == wanted


def test_only_known_files_are_fetched(hub: Hub, model: HyperX, small: Path) -> None:
    model.push_to_hub("ada/tiny")
    repo = hub.repos["ada/tiny"]
    more = {"state.safetensors": b"pickle", "pytorch_model.bin": b"pickle", "code.py": b"evil", "x/hyperx.json": b"{}"}
    repo.commit({**repo.files(), **more, "encoder/tokenizer.py": b"evil"}, "more")
    again = HyperX.from_pretrained("ada/tiny", encoder=small)
    assert again.folder is not None
    inside = {path.relative_to(again.folder).as_posix() for path in again.folder.rglob("*") if path.is_file()}
    assert inside == {"hyperx.json", "model.safetensors", "README.md"}


@pytest.mark.usefixtures("hub")
def test_a_link_out_of_the_cache_is_refused(model: HyperX, small: Path, tmp_path: Path) -> None:
    model.push_to_hub("ada/tiny")
    folder = HyperX.from_pretrained("ada/tiny", encoder=small).folder
    assert folder is not None
    (folder / "hyperx.json").unlink()
    (folder / "hyperx.json").symlink_to(tmp_path / "saved" / "hyperx.json")
    with pytest.raises(CheckpointError, match="is no regular file of the hub's cache"):
        HyperX.from_pretrained("ada/tiny", encoder=small, local_files_only=True)


def test_addresses() -> None:
    assert Address.read("ada/tiny") == Address("ada/tiny")
    assert Address.read(Path("hf://ada/tiny@v1")) == Address("ada/tiny", "v1")
    assert Address.read("ada/tiny@refs/pr/1") == Address("ada/tiny", "refs/pr/1")
    assert Address.read("ada/tiny@refs/pr/1/de.addon") == Address("ada/tiny", "refs/pr/1", "de.addon")
    assert Address.read("ada/tiny/de.addon") == Address("ada/tiny", None, "de.addon")
    for other in (
        "tiny",
        "/ada/tiny",
        "../tiny",
        "ada/tiny/checkpoint-5",
        "ada/tiny/x.safetensors",
        "ada/tiny@",
        "a b/c",
    ):
        assert Address.read(other) is None


# Errors ---------------------------------------------------------------------------------------------------------------


def gated(hub: Hub) -> None:
    hub.new("ada/model", {"hyperx.json": b"{}"}, gated=True)


def private(hub: Hub) -> None:
    hub.new("ada/model", private=True)


def other_model(hub: Hub) -> None:
    hub.new("ada/model", {"config.json": b"{}", "README.md": b"An encoder", "model.safetensors": b"\0"})


def gone(hub: Hub) -> None:
    hub.new("ada/model")
    hub.socket.close()
    hub.shutdown()


def failing(hub: Hub) -> None:
    hub.fault = 500


@pytest.fixture
def asked_by(request: pytest.FixtureRequest, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub as it is prepared, if it is, and the token of who asks it, if there is one."""
    prepare, token = request.param
    monkeypatch.setenv("HF_TOKEN", token or "")
    if prepare:
        prepare(hub)


@pytest.mark.parametrize(
    ("asked_by", "told"),
    [
        ((None, "hf_eve"), "the hub has no ada/model that you may see; check its name, and if it is private log in"),
        ((private, None), "the hub has no ada/model that you may see"),
        ((private, "hf_eve"), "the hub has no ada/model that you may see"),
        ((private, "hf_wrong"), "the hub does not know your token; log in with `hf auth login`, or set HF_TOKEN"),
        ((gated, None), "ada/model is gated: ask for access at http"),
        ((other_model, None), "ada/model on the hub is no model of Hyper-X: it has no hyperx.json"),
        ((gone, None), "the hub cannot be reached ("),
        ((failing, None), "the hub has a fault of its own, status 500; try again later"),
    ],
    indirect=["asked_by"],
)
@pytest.mark.usefixtures("asked_by")
def test_why_a_model_cannot_be_had(told: str) -> None:
    with pytest.raises(CheckpointError, match=re.escape(told)):
        HyperX.from_pretrained("ada/model")


@pytest.mark.parametrize(
    ("asked_by", "told"),
    [
        ((None, None), "the hub asks who you are; log in with `hf auth login`, or set HF_TOKEN"),
        ((None, "hf_wrong"), "the hub does not know your token; log in"),
        ((None, "hf_eve"), "ada/model cannot be written: your token may not write to ada/model"),
        ((other_model, "hf_eve"), "your token may not write to ada/model"),
        ((gone, "hf_ada"), "the hub cannot be reached ("),
        ((failing, "hf_ada"), "the hub has a fault of its own, status 500"),
    ],
    indirect=["asked_by"],
)
@pytest.mark.usefixtures("asked_by")
def test_why_a_model_cannot_be_pushed(model: HyperX, told: str) -> None:
    with pytest.raises(HyperXError, match=re.escape(told)):
        model.push_to_hub("ada/model")


@pytest.mark.usefixtures("isolated")
def test_all_that_is_wrong_with_a_push_is_told(
    hub: Hub, trained: Path, model: HyperX, add_on: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(add_on, "german.safetensors")
    assert model.folder is not None
    for words, status, told in (
        ([], 1, "name a checkpoint, or the output folder of a run, and a repository, OWNER/NAME"),
        ([str(trained)], 1, "and a repository, OWNER/NAME"),
        ([str(trained), "ada/run", "more"], 2, "expected folder and repo; found also 'more'"),
        (["nowhere", "ada/run"], 1, "nowhere does not exist: expected a folder"),
        ([str(trained), "run"], 1, "expected a repository of the hub, OWNER/NAME; found 'run'"),
        ([str(trained), "ada/run", "--add_on", str(add_on)], 1, "de.addon belongs to another model"),
        (
            [str(model.folder), "ada/run", "--add_on", "german.safetensors"],
            1,
            "expected an add-on whose name ends in .addon",
        ),
    ):
        assert main(["push", *words]) == status
        assert told in output(capsys)
    assert not hub.asked
