"""Training, evaluation and prediction from Python, with nothing but ``import hyperx``."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

import hyperx
import toy

SHAPE = {
    "task_embedding_dim": 8, "language_embedding_dim": 8, "layer_id_embedding_dim": 8, "source_hidden_dim": 16,
    "projected_source_embedding_dim": 16, "adapter_dim": 8,
}  # fmt: skip
QUIET: dict[str, Any] = {"no_cuda": True, "disable_progress_bar": True}


@pytest.fixture
def options(encoder: Path, data: Path, isolated: Path) -> dict[str, Any]:
    """Options of a brief run, in an empty working folder."""
    return {
        "train_task_language_pairs": ["ner#en", "pos#tr"], "languages": ["en", "tr"], "data_folder": data,
        "model_name_or_path": str(encoder), "max_train_steps": 2, "output_dir": isolated / "run", **SHAPE, **QUIET,
    }  # fmt: skip


@pytest.fixture
def run(trained: Path, isolated: Path) -> Path:
    """A copy of the trained run."""
    return Path(shutil.copytree(trained, isolated / "trained"))


def test_all_public_names_are_there_and_nothing_is_loaded_before_it_is_used() -> None:
    assert set(hyperx.__all__) <= set(dir(hyperx))
    for name in hyperx.__all__:
        assert getattr(hyperx, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = hyperx.trian  # type: ignore[attr-defined]
    code = "import hyperx, sys; print(*{'torch', 'transformers', 'spacy', 'datasets', 'pydantic'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "\n"


# Training -------------------------------------------------------------------------------------------------------------


def test_training_gives_the_model_of_the_checkpoint(options: dict[str, Any]) -> None:
    model = hyperx.train(**options)
    assert isinstance(model, hyperx.HyperX)
    assert not model.training
    assert (options["output_dir"] / "checkpoint-2" / "hyperx.json").is_file()
    found = model.predict(["cat sees Ada."], task="ner", language="en", confidences=True)
    for named in (options["output_dir"], model):
        assert hyperx.predict(["cat sees Ada."], model=named, task="ner", language="en", confidences=True) == found


def test_options_may_come_as_sections_and_names_go_before_them(options: dict[str, Any], tmp_path: Path) -> None:
    names = {"train_task_language_pairs": ("ner#en",), "data_folder": options["data_folder"]}
    config = hyperx.TrainConfig(
        data=hyperx.DataOptions(**names),
        model=hyperx.ModelOptions(model_name_or_path=options["model_name_or_path"]),
        hypernetwork=hyperx.HypernetworkOptions(**SHAPE),
        training=hyperx.TrainingOptions(max_train_steps=1, output_dir=tmp_path / "never", **QUIET),
    )
    model = hyperx.train(config, output_dir=tmp_path / "run")
    assert model.config.trained_pairs == ("ner#en",)
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"learning_rat": 1}, "there is no option 'learning_rat'. Did you mean 'learning_rate'?"),
        ({"epochs": 3}, "there is no option 'epochs'. Did you mean 'num_train_epochs'?"),
        ({"learning_rate": "high"}, "learning_rate: expected a number; found 'high'"),
        ({"learning_rate": -1.0}, "--learning_rate: expected"),
        ({"train_task_language_pairs": "nre#en"}, "there is no task 'nre'"),
        ({"config": 5}, "config: expected"),
        ({"output_dir": None}, "--output_dir: name a folder"),
        ({"data": {"pos#tr": {"train": [{"words": ["a"], "upos": ["X"]}, 5]}}}, "expected a mapping as row 2"),
    ],
)
def test_options_at_fault_are_told_as_on_the_command_line(
    options: dict[str, Any], change: dict[str, Any], expected: str
) -> None:
    with pytest.raises(hyperx.ConfigError) as caught:
        hyperx.train(**{**options, **change})
    assert expected in str(caught.value)


def test_all_options_at_fault_are_told_together(options: dict[str, Any]) -> None:
    with pytest.raises(hyperx.ConfigError) as caught:
        hyperx.train(**{**options, "seed": -1, "temperature": 0.0, "train_task_language_pairs": ["ner"]})
    assert len(caught.value.problems) == 3


def test_options_may_stand_in_a_file(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("max_train_steps: 1\ntrain_task_language_pairs: [pos#tr]\nseed: 7\n")
    del options["max_train_steps"], options["train_task_language_pairs"]
    assert hyperx.train(config="run.yaml", **options).config.trained_pairs == ("pos#tr",)
    assert (options["output_dir"] / "checkpoint-1").is_dir()


def test_a_configuration_that_names_a_file_or_a_preset_is_read_with_it(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.yaml").write_text("train_task_language_pairs: [pos#tr]\nlanguages: [tr]\noutput_dir: None\n")
    for name in ("train_task_language_pairs", "languages"):
        del options[name]
    model = hyperx.train(hyperx.TrainConfig(config=tmp_path / "run.yaml"), **options)
    assert model.config.trained_pairs == ("pos#tr",)
    with pytest.raises(hyperx.ConfigError, match="--output_dir: name a folder"):
        hyperx.train(hyperx.TrainConfig(config=tmp_path / "run.yaml"))
    runs: list[hyperx.TrainConfig] = []
    monkeypatch.setattr("hyperx.plan.options.plan_run", lambda config: runs.append(config) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        hyperx.train(hyperx.TrainConfig(preset="published"), seed=7)
    assert (runs[0].training.learning_rate, runs[0].hypernetwork.adapter_dim, runs[0].training.seed) == (1e-4, 256, 7)


def test_a_mapping_is_no_configuration() -> None:
    with pytest.raises(hyperx.HyperXError, match="config: expected a TrainConfig; give options by their names"):
        hyperx.train({"seed": 1})  # type: ignore[arg-type]


def rows(language: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Sentences of the toy world in memory, as data sets of the hub have them."""
    return [
        {"tokens": [word for word, _, _ in words], "ner_tags": [label for _, _, label in words]}
        for words in toy.sentences(language, count, seed)
    ]


def test_data_may_be_in_memory(options: dict[str, Any], tmp_path: Path) -> None:
    del options["data_folder"]
    options |= {"train_task_language_pairs": ["ner#en"], "languages": ["en"], "max_train_steps": 60}
    table = {"ner#en": {"train": rows("en", 96, 0), "dev": datasets.Dataset.from_list(rows("en", 24, 1))}}
    model = hyperx.train(data=table, learning_rate=3e-2, **options)
    assert model.predict([["Ada", "sees", "London"]], language="en")[0].labels["ner"] == ("B-PER", "O", "B-LOC")
    scores = hyperx.evaluate(model, data={"ner#de": {"test": rows("de", 20, 2)}}, **QUIET)
    assert [str(score.pair) for score in scores] == ["ner#de"]
    assert scores["ner#de"].value > 0.5
    assert not (tmp_path / "run" / "checkpoint-60" / "results.json").exists()


# Evaluation -----------------------------------------------------------------------------------------------------------


def test_scores_of_a_folder_are_those_of_the_command_line(run: Path) -> None:
    scores = hyperx.evaluate(run, **QUIET)
    assert {str(score.pair) for score in scores} == {"ner#en", "pos#tr", "ner#tr", "pos#en"}
    assert scores["pos#tr"].scores.measures["accuracy"] == scores["pos#tur"].value
    assert [path.parent.name for path in run.glob("*/results.json")] == ["checkpoint-40"]
    assert scores.averages["seen"] == pytest.approx((scores["ner#en"].value + scores["pos#tr"].value) / 2)
    with pytest.raises(KeyError):
        scores["dep#en"]


def test_a_model_is_scored_where_it_was_trained(run: Path) -> None:
    model = hyperx.HyperX.from_pretrained(run)
    scores = hyperx.evaluate(model, **QUIET)
    assert repr(scores) == repr(hyperx.evaluate(run, **QUIET))
    with pytest.raises(hyperx.ConfigError, match="--output: the results of a model are only returned"):
        hyperx.evaluate(model, output="there", **QUIET)


def test_scores_are_shown_as_a_table(run: Path) -> None:
    scores = hyperx.evaluate(run, "pos#tr", split="dev", max_eval_samples=3, **QUIET)
    for text in (str(scores), scores._repr_markdown_()):
        assert "| pair | group | sentences | measure | score |" in text
        assert f"| pos#tr | seen | 3 | accuracy | {100 * scores['pos#tr'].value:.1f} |" in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"pairs": ["parse#en"]}, "parse#en: the model has no task 'parse'"),
        ({"pairs": ["pos#en"], "split": "tests"}, "split: expected 'test', 'dev' or 'train'; found 'tests'"),
        ({"splt": "dev"}, "there is no option 'splt'. Did you mean 'split'?"),
    ],
)
def test_evaluations_at_fault_are_told(run: Path, arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(hyperx.ConfigError) as caught:
        hyperx.evaluate(run, **arguments, **QUIET)
    assert expected in str(caught.value)


def test_pairs_of_a_file_count_and_nothing_is_given_twice(run: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("test_task_language_pairs: [pos#tr]\n")
    assert [str(score.pair) for score in hyperx.evaluate(run, config="run.yaml", **QUIET)] == ["pos#tr"]
    model = hyperx.HyperX.from_pretrained(run)
    for one, options in [(run, {"test_task_language_pairs": ["pos#tr"]}), (run, {"eval_ckpt": run}),
                         (model, {"model_name_or_path": "embedded"})]:  # fmt: skip
        with pytest.raises(hyperx.ConfigError, match=f"{next(iter(options))}: give it as"):
            hyperx.evaluate(one, ["ner#en"], **options)


def test_a_model_that_was_saved_alone_is_scored_on_data_that_is_given(run: Path, tmp_path: Path) -> None:
    hyperx.HyperX.from_pretrained(run).save_pretrained(tmp_path / "alone")
    model = hyperx.HyperX.from_pretrained(tmp_path / "alone")
    scores = hyperx.evaluate(model, ["ner#en"], data={"ner#en": {"test": rows("en", 8, 3)}}, **QUIET)
    assert scores["ner#en"].value > 0.5


# Folders and models ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [hyperx.evaluate, lambda model: hyperx.predict(["cat"], model=model, language="en")])
@pytest.mark.parametrize("value", [5, ["x"]])
def test_what_is_neither_model_nor_folder_is_refused(call: Callable[..., Any], value: Any) -> None:
    with pytest.raises(hyperx.HyperXError, match="expected"):
        call(value)


def test_a_folder_without_a_checkpoint_is_told(isolated: Path) -> None:
    for call in (hyperx.evaluate, lambda model: hyperx.predict(["cat"], model=model, language="en")):
        with pytest.raises(hyperx.CheckpointError, match="does not exist: expected a folder with"):
            call(isolated / "none")
