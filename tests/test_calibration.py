"""Confidences that mean what they say: calibration errors, temperatures, and what they leave alone."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hyperx
import toy
from hyperx import checkpoint
from hyperx.cli import main
from hyperx.config import COOLEST, HOTTEST
from hyperx.evaluation.calibration import (
    expected_calibration_error,
    fitted_temperature,
    negative_log_likelihood,
)
from hyperx.tasks.tagging import NamedEntities
from tiny import tiny_model

TEXTS = [[word for word, _, _ in words] for words in toy.sentences("tr", 20, 5)]


@pytest.fixture
def ckpt(trained: Path, isolated: Path) -> Path:
    """A copy of the trained checkpoint, in an otherwise empty working folder."""
    return Path(shutil.copytree(checkpoint.resolve(trained), isolated / "ckpt"))


@pytest.fixture
def calibrate(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command; gives what it prints, or the error."""

    def run(*words: str, status: int = 0) -> str:
        capsys.readouterr()
        assert main(["calibrate", *words, *toy.QUIET]) == status
        captured = capsys.readouterr()
        return " ".join((captured.err if status else captured.out).split())

    return run


def settings(folder: Path) -> dict[str, Any]:
    """What stands in a checkpoint's configuration."""
    found: dict[str, Any] = json.loads((folder / "hyperx.json").read_text())
    return found


# Numbers --------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 1000), st.booleans()), min_size=1, max_size=60))
def test_the_calibration_error_is_that_of_its_definition(outcomes: list[tuple[int, bool]]) -> None:
    """In whole thousandths: the bins are ((m - 1) / 15, m / 15], the first with 0."""
    wanted = Fraction(0)
    for number in range(1, 16):
        own = [
            (Fraction(thousandths, 1000), right)
            for thousandths, right in outcomes
            if Fraction(number - 1, 15) < Fraction(thousandths, 1000) <= Fraction(number, 15)
            or thousandths == 0 == number - 1
        ]
        if own:
            accuracy = Fraction(sum(right for _, right in own), len(own))
            confidence = sum(sure for sure, _ in own) / len(own)
            wanted += Fraction(len(own), len(outcomes)) * abs(accuracy - confidence)
    found = expected_calibration_error([(thousandths / 1000, right) for thousandths, right in outcomes])
    assert found == pytest.approx(float(wanted), abs=1e-12)


def test_without_outcomes_there_is_no_calibration_error() -> None:
    assert expected_calibration_error([]) is None


@pytest.mark.parametrize("truth", [0.4, 1.0, 3.0])
def test_no_temperature_of_a_grid_is_better_than_the_one_found(truth: float) -> None:
    """Labels are drawn at a temperature, which is found again."""
    draw = torch.Generator().manual_seed(0)
    decisions = []
    for classes in (4, 7):
        logits = 3 * torch.randn(3000, classes, generator=draw)
        decisions.append((logits, torch.multinomial((logits / truth).softmax(dim=1), 1, generator=draw).squeeze(1)))
    found = fitted_temperature(decisions)
    assert found == pytest.approx(truth, rel=0.1)
    grid = [negative_log_likelihood(decisions, float(one)) for one in np.geomspace(COOLEST, HOTTEST, 200)]
    assert negative_log_likelihood(decisions, found) <= min(grid) + 1e-6


def test_where_all_is_right_the_temperature_stays_in_bounds() -> None:
    logits = torch.eye(3)
    assert COOLEST <= fitted_temperature([(logits, torch.arange(3))]) < 1.01 * COOLEST
    assert HOTTEST / 1.01 < fitted_temperature([(logits, 2 - torch.arange(3))]) <= HOTTEST


def test_pairs_without_training_data_have_a_temperature_of_their_own() -> None:
    tiny = tiny_model()  # of ner#en and pos#tr

    def found(pair: str, **own: float) -> float:
        config = replace(tiny.config, temperatures={"pos": own})
        return config.temperature(hyperx.TaskLanguagePair.parse(pair))

    assert (found("pos#tur", seen=2.0, zero_shot=3.0), found("pos#de", seen=2.0, zero_shot=3.0)) == (2.0, 3.0)
    assert found("pos#de", seen=2.0) == 2.0
    assert (found("pos#tr", zero_shot=3.0), found("ner#en", seen=2.0)) == (1.0, 1.0)


def test_words_outside_entities_do_not_decide_the_temperature_of_entities() -> None:
    names = ["B-PER", "O", "I-PER"]
    logits = torch.tensor([[[0.0, 5, 0], [0, 1, 0], [2, 1, 0], [3, 0, 0], [0, 0, 3]]])
    labels = torch.tensor([[1, 0, 1, -100, 2]])  # O found, O missed, an entity too many, no word, found
    ((kept, right),) = NamedEntities().decisions(logits, labels, names)
    assert kept.tolist() == logits[0, [1, 2, 4]].tolist()
    assert right.tolist() == [0, 1, 2]


# The command ----------------------------------------------------------------------------------------------------------


def test_confidences_change_and_nothing_else(ckpt: Path, calibrate: Callable[..., str]) -> None:
    plain = hyperx.HyperX.from_pretrained(ckpt)
    before, weights = plain.predict(TEXTS, language="tr", confidences=True), (ckpt / "model.safetensors").read_bytes()
    was = settings(ckpt)
    out = calibrate(str(ckpt))  # where the dev data is, says the checkpoint
    assert "NLL before" in out
    assert (ckpt / "model.safetensors").read_bytes() == weights
    now = settings(ckpt)
    assert {**now, "temperatures": was["temperatures"]} == was
    temperature = now["temperatures"]["pos"]["seen"]
    assert now["temperatures"].keys() == {"pos", "ner"}
    assert now["temperatures"]["pos"]["zero_shot"] != temperature  # pos#en has dev data too

    model = hyperx.HyperX.from_pretrained(ckpt)
    after = model.predict(TEXTS, language="tr", confidences=True)
    assert [one.labels for one in after] == [one.labels for one in before]
    for words, one in zip(TEXTS, after, strict=True):
        inputs = model.inputs([words])
        with torch.no_grad():
            logits = model("pos#tr", **inputs).logits[0]
        indices = inputs["words"][0].tolist()
        sure = [(logits[indices.index(word)] / temperature).softmax(dim=-1).max() for word in range(len(words))]
        assert one.confidences is not None
        assert one.confidences["pos"] == pytest.approx(list(map(float, sure)), rel=1e-4)
        assert one.confidence("pos") == pytest.approx(math.exp(fmean(math.log(value) for value in sure)), rel=1e-4)

    model.save_pretrained("again")
    again = hyperx.HyperX.from_pretrained("again")
    assert again.config.temperatures == model.config.temperatures != {}
    assert again.predict(TEXTS, language="tr", confidences=True) == after


def test_results_have_calibration_errors(ckpt: Path, calibrate: Callable[..., str]) -> None:
    def scored(*options: str) -> dict[str, Any]:
        assert main(["evaluate", "--eval_ckpt", str(ckpt), "--calibration", *toy.QUIET, *options]) == 0
        found: dict[str, Any] = json.loads((ckpt / "results.json").read_text())["pairs"]
        return found

    before = scored()
    calibrate(str(ckpt))
    after = scored("--test_task_language_pairs", "pos#tr", "ner#en")
    table = (ckpt / "results.md").read_text()
    assert [table.count(f"| {name} ") for name in ("uncalibrated_ece", "ece")] == [4, 4]
    model, outcomes = hyperx.HyperX.from_pretrained(ckpt), []
    test = toy.sentences("tr", 30, 2)
    found = model.predict([[w for w, _, _ in words] for words in test], task="pos", language="tr", confidences=True)
    for words, one in zip(test, found, strict=True):
        right = [tag == label for (_, tag, _), label in zip(words, one.labels["pos"], strict=True)]
        outcomes += [*zip(one.confidences["pos"] if one.confidences else (), right, strict=True)]
    after, before = ({name: one["measures"] for name, one in own.items()} for own in (after, before))
    assert after["pos#tr"]["ece"] == pytest.approx(expected_calibration_error(outcomes), abs=1e-6)
    for pair in ("pos#tr", "ner#en"):
        assert after[pair]["uncalibrated_ece"] == before[pair]["ece"] == before[pair]["uncalibrated_ece"]
        assert {**after[pair], "ece": None} == {**before[pair], "ece": None}


def test_data_may_be_given(ckpt: Path, data: Path, calibrate: Callable[..., str]) -> None:
    calibrate(str(ckpt), "--test_task_language_pairs", "pos#de", "--data_folder", str(data))
    temperatures = settings(ckpt)["temperatures"]
    assert temperatures == {"pos": {"zero_shot": temperatures["pos"]["zero_shot"]}}
    # What was fitted before stays, where there is no new data.
    calibrate(str(ckpt), "--test_task_language_pairs", "pos#tr", "--data_folder", str(data), "--max_eval_samples", "5")
    assert settings(ckpt)["temperatures"]["pos"]["zero_shot"] == temperatures["pos"]["zero_shot"]
    assert (seen := settings(ckpt)["temperatures"]["pos"]["seen"]) != 1
    assert "fitted on test data" in calibrate(str(ckpt), "--test_task_language_pairs", "pos#tr", "--split", "test")
    assert settings(ckpt)["temperatures"]["pos"]["seen"] != seen


def test_a_ready_made_model_is_copied(
    ckpt: Path, calibrate: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ckpt, "models/toy-1")
    monkeypatch.setattr(checkpoint, "READY_MADE", Path("models").resolve())
    files = {path.name: path.read_bytes() for path in Path("models/toy-1").iterdir()}
    assert "--output: toy-1 is not written into; name a new folder" in calibrate("toy-1", status=1)
    assert "Calibrated: copy." in calibrate("--output", "copy")
    assert {path.name: path.read_bytes() for path in Path("models/toy-1").iterdir()} == files
    copied = {path.name: path.read_bytes() for path in Path("copy").iterdir()}
    assert copied.keys() == files.keys() - {"state.safetensors"}
    assert {name for name in copied if copied[name] != files[name]} == {"hyperx.json"}
    assert "--output: copy exists already; name a new folder" in calibrate("--output", "copy", status=1)


@pytest.mark.usefixtures("isolated")
def test_a_calibrated_run_may_be_resumed(trained: Path, base: list[str], calibrate: Callable[..., str]) -> None:
    shutil.copytree(trained, "run")
    calibrate("run/checkpoint-60")
    options = json.loads(Path("run/checkpoint-60/options.json").read_text())
    given = [
        word
        for name in ("max_train_steps", "eval_steps", "logging_steps", "learning_rate")
        for word in (f"--{name}", options[name])
    ]
    assert main(["train", *base, *given, "--languages", "en", "tr", "--output_dir", "run", "--resume"]) == 0


@pytest.mark.parametrize(
    ("temperatures", "found"),
    [
        ({"pos": {"seen": 0.0}}, "temperatures.pos.seen"),
        ({"pos": {"seen": math.nan}}, "temperatures.pos.seen"),
        ({"pos": {"seen": "warm"}}, "temperatures.pos.seen"),
        ({"pos": {"unseen": 1.5}}, "temperatures.pos.unseen"),
        ({"pos": 1.5}, "temperatures.pos"),
    ],
)
def test_other_temperatures_are_refused(ckpt: Path, temperatures: object, found: str) -> None:
    (ckpt / "hyperx.json").write_text(json.dumps({**settings(ckpt), "temperatures": temperatures}))
    with pytest.raises(hyperx.CheckpointError, match=found):
        hyperx.HyperX.from_pretrained(ckpt)


def test_without_dev_data_nothing_is_written(ckpt: Path, calibrate: Callable[..., str]) -> None:
    before = (ckpt / "hyperx.json").read_bytes()
    told = calibrate(str(ckpt), "--test_task_language_pairs", "ner#en", "--data_folder", ".", status=1)
    assert "ner#en: there is none of its data in --data_folder" in told
    assert "ghost does not exist" in calibrate("ghost", status=1)
    assert (ckpt / "hyperx.json").read_bytes() == before
