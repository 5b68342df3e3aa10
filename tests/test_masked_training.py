"""Masked language modelling in the toy world: what raw text teaches, keeps, and leaves alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForMaskedLM

import toy
from hyperx.cli import main
from hyperx.cli.options import parse
from hyperx.config import CheckConfig
from hyperx.errors import HyperXError
from hyperx.model import HyperX
from hyperx.plan.options import plan_run
from hyperx.plan.report import inspect_data
from hyperx.prediction.request import predicted_tasks
from hyperx.training.optimiser import without_decay
from tiny import tiny_model

pytestmark = pytest.mark.usefixtures("isolated")

Go, Log = Callable[..., int], pytest.LogCaptureFixture

SHORT = ["--per_device_train_batch_size", "8", "--logging_steps", "1", "--save_total_limit", "None"]
MIXED = ["--train_task_language_pairs", "pos#tr", "mlm#de"]


def passages(language: str, count: int, seed: int) -> str:
    return "".join(" ".join(word for word, _, _ in words) + "\n" for words in toy.sentences(language, count, seed))


@pytest.fixture(scope="session")
def own(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of the toy world, and raw German and Turkish text."""
    folder = tmp_path_factory.mktemp("masked") / "data"
    shutil.copytree(data, folder)
    (folder / "mlm" / "tr").mkdir(parents=True)
    (folder / "mlm" / "de.txt").write_text(passages("de", 200, 7), encoding="utf-8")
    for seed, split in enumerate(("train", "dev", "test")):
        (folder / "mlm" / "tr" / f"{split}.txt").write_text(passages("tr", 60, 20 + seed), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def with_head(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny encoder with a masked-LM head, which knows that a full stop is the likeliest subword."""
    folder = tmp_path_factory.mktemp("encoders") / "masked"
    shutil.copytree(encoder, folder)
    torch.manual_seed(5)
    model = BertForMaskedLM(BertConfig.from_pretrained(encoder))
    model.bert.load_state_dict(load_file(encoder / "model.safetensors"))
    with torch.no_grad():
        model.cls.predictions.bias.normal_()
        model.cls.predictions.transform.dense.weight.normal_()
        model.cls.predictions.transform.LayerNorm.weight.normal_()
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def go(base: list[str], own: Path) -> Callable[..., int]:
    """Train with the shared options, small batches and these."""

    def run(folder: Path | str, *options: str) -> int:
        return main(["train", *base, *SHORT, "--data_folder", str(own), "--output_dir", str(folder), *options])

    return run


def perplexities(run: Path, pair: str = "mlm#tr") -> dict[int, float]:
    return {line["step"]: line[f"dev_{pair}"] for line in toy.read_log(run) if f"dev_{pair}" in line}


# Training -------------------------------------------------------------------------------------------------------------


def test_perplexity_falls(go: Go) -> None:
    options = ["--max_train_steps", "80", "--eval_steps", "20", "--learning_rate", "3e-2"]
    assert go("run", "--train_task_language_pairs", "mlm#tr", "pos#tr", *options) == 0
    found = perplexities("run")
    # The tokenizer has 144 subwords: a model that knows nothing is as perplexed.
    assert found[80] < 0.7 * found[20] < 0.7 * 144
    line = toy.read_log("run")[-1]
    # A perplexity joins no average.
    assert line["dev_all"] == line["dev_pos#tr"] <= 1


def test_a_language_of_raw_text_alone_is_trained(go: Go, tmp_path: Path, caplog: Log) -> None:
    assert go("run", *MIXED, "--max_train_steps", "3", "--eval_task_language_pairs", "pos#tr", "pos#de") == 0
    assert "comes without a masked-LM head: a new one is trained over its word embeddings" in caplog.text
    model = HyperX.from_pretrained(tmp_path / "run")
    assert sorted(model.config.trained_pairs) == ["mlm#de", "pos#tr"]
    assert model.config.labels["mlm"] == ()
    line = toy.read_log("run")[-1]
    # German is no new language any more: its embedding was trained.
    assert line["dev_new_pair"] == line["dev_pos#de"]
    assert "dev_new_language" not in line
    # The checkpoint has the head, as it was trained, and not the embeddings that it shares with the encoder.
    own = {name: tensor for name, tensor in toy.weights("run", 3).items() if "word_embeddings" not in name}
    assert own.keys() == toy.weights("run", 3).keys()
    for name in ("dense.weight", "dense.bias", "norm.weight", "norm.bias", "bias"):
        assert torch.equal(model.heads["mlm"].get_parameter(name), own[f"heads.mlm.{name}"])
    assert not model.word_embeddings.requires_grad


def test_a_resumed_run_is_the_uninterrupted_one(go: Go, tmp_path: Path, caplog: Log) -> None:
    """What is hidden follows from the seed and the number of the batch."""
    options = [*MIXED, "--max_train_steps", "5", "--save_steps", "2", "--gradient_accumulation_steps", "2"]
    assert go("whole", *options) == 0
    assert "mlm#de has no dev split: it is not evaluated while training" in caplog.text
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    for step in (4, 5):
        shutil.rmtree(tmp_path / "resumed" / f"checkpoint-{step}")
    assert go("resumed", *options, "--resume") == 0
    assert toy.losses("whole") == toy.losses("resumed")
    first, second = toy.weights("whole", 5), toy.weights("resumed", 5)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_raw_text_alone_is_trained_to_the_last_step(
    go: Go, error: Callable[..., str], caplog: Log, tmp_path: Path
) -> None:
    options = ["--train_task_language_pairs", "mlm#tr", "--max_train_steps", "4", "--eval_steps", "2"]
    assert go("run", *options) == 0
    assert "mlm#tr have no score to choose a checkpoint by: the last one is the result" in caplog.text
    assert not (tmp_path / "run" / "best.json").exists()
    assert list(perplexities("run")) == [2, 4]
    assert main(["evaluate", "--eval_ckpt", "run", *toy.QUIET]) == 0
    assert "test_mlm:tr_perplexity" in json.loads((tmp_path / "run" / "checkpoint-4" / "results.json").read_text())
    assert toy.steps_of("run") == [4]
    assert "--early_stopping_patience: mlm#tr have no score to stop by" in error(
        "other", *options, "--early_stopping_patience", "1"
    )
    assert "--best_by: no evaluation pair is of the group seen" in error("other", *options, "--best_by", "seen")


# The head that an encoder comes with ----------------------------------------------------------------------------------


@pytest.mark.parametrize("head_layer", ["last", "1"])
def test_the_encoders_own_head_is_the_start(go: Go, with_head: Path, head_layer: str) -> None:
    """Also where the heads read a lower layer: nothing better is known."""
    options = ["--model_name_or_path", str(with_head), "--head_layer", head_layer, "--learning_rate", "1e-9"]
    assert go("run", *MIXED, *options, "--max_train_steps", "1") == 0
    own, found = load_file(with_head / "model.safetensors"), toy.weights("run", 1)
    names = {
        "dense.weight": "transform.dense.weight", "dense.bias": "transform.dense.bias",
        "norm.weight": "transform.LayerNorm.weight", "norm.bias": "transform.LayerNorm.bias", "bias": "bias",
    }  # fmt: skip
    for ours, theirs in names.items():
        torch.testing.assert_close(found[f"heads.mlm.{ours}"], own[f"cls.predictions.{theirs}"])


def test_a_tokenizer_without_a_mask_is_refused_before_training(
    error: Callable[..., str], encoder: Path, tmp_path: Path
) -> None:
    shutil.copytree(encoder, tmp_path / "maskless")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (path := tmp_path / "maskless" / name).is_file():
            path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "mask_token"}))
    message = error("run", *MIXED, "--model_name_or_path", str(tmp_path / "maskless"))
    assert f"mlm: {tmp_path / 'maskless'} cannot serve it: its tokenizer has no mask subword" in message
    assert not (tmp_path / "run").exists()


# What is done with it -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def run(train_once: Callable[..., Path], base: list[str], own: Path) -> Path:
    """A short run on raw text and tags."""
    options = ["--train_task_language_pairs", "pos#tr", "mlm#tr", "mlm#de", "--max_train_steps", "2"]
    return train_once(*base, *SHORT, *options, "--data_folder", str(own))


def test_evaluation_gives_a_perplexity(run: Path) -> None:
    values = []
    for size in ("1", "64"):
        assert main(["evaluate", "--eval_ckpt", str(run), "--per_device_eval_batch_size", size, *toy.QUIET]) == 0
        values.append(json.loads((run / "checkpoint-2" / "results.json").read_text()))
    assert values[0]["test_mlm:tr_perplexity"] == pytest.approx(values[1]["test_mlm:tr_perplexity"], rel=1e-4)
    assert values[0]["test_mlm:tr_perplexity"] > 1
    assert "test_mlm:de_perplexity" not in values[0]
    table = (run / "checkpoint-2" / "results.md").read_text()
    assert f"| mlm#tr | seen | 60 | perplexity | {values[1]['test_mlm:tr_perplexity']:.1f} |" in table
    assert f"| macro average | seen |  |  | {100 * values[1]['test_pos:tr_accuracy']:.1f} |" in table


def test_raw_text_is_not_predicted(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("cat sees dog .\n", encoding="utf-8")
    words = ["predict", "--checkpoint", str(run), "--language", "de", "--input", str(text), *toy.QUIET]
    assert main(words) == 0
    assert "MLM" not in capsys.readouterr().out
    assert main([*words, "--tasks", "pos", "mlm", "--output", "out.txt"]) == 1
    message = " ".join(capsys.readouterr().err.split())
    assert "mlm only serves other tasks in training, and predicts nothing; the model predicts pos" in message
    assert not Path("out.txt").exists()
    model = HyperX.from_pretrained(run)
    with pytest.raises(HyperXError, match="mlm only serves other tasks"):
        model.predict(["cat"], task="mlm", language="de")
    with pytest.raises(HyperXError, match="the model predicts no task"):
        predicted_tasks(replace(model.config, kinds={"mlm": "mlm"}))


def test_passages_are_counted(own: Path, tmp_path: Path) -> None:
    shutil.copytree(own, tmp_path / "data")
    repeated = (own / "mlm" / "tr" / "dev.txt").read_text().splitlines()[0]
    with (tmp_path / "data" / "mlm" / "tr" / "train.txt").open("a", encoding="utf-8") as file:
        file.write(f"\n{repeated}\nxyz xyz\n")
    options = ["--data_folder", str(tmp_path / "data"), "--train_task_language_pairs", "mlm#tr", "mlm#de"]
    found = inspect_data(plan_run(parse(CheckConfig, [*options, "--disable_progress_bar"], "check"), trains=False))
    assert found.problems == []
    train = set(passages("tr", 60, 20).splitlines()) | {"xyz xyz"}
    kept = train.difference(*(passages("tr", 60, seed).splitlines() for seed in (21, 22)))
    rows = {(row[0], row[1]): row for row in found.rows}
    assert rows["mlm#tr", "dev"][2:] == ["60", str(len(passages("tr", 60, 21).split())), "", "mlm/tr/dev.txt"]
    assert int(rows["mlm#tr", "train"][2]) >= len(kept)
    assert int(rows["mlm#tr", "train"][2]) < 61
    assert rows["mlm#de", "train"][2] == "200"
    # What was left out is in train no more.
    assert found.notes == []


def test_weight_decay_spares_all_of_the_head_but_its_matrix() -> None:
    model = tiny_model(labels={"mlm": ()}, trained_pairs=("mlm#en",))
    spared = without_decay(model)
    decayed = {name for name, parameter in model.heads["mlm"].named_parameters() if id(parameter) not in spared}
    assert decayed == {"dense.weight"}
