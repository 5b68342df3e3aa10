"""Options from presets, a YAML file and the command line, and what is said where they are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hyperx.cli.options import parse
from hyperx.config import CheckConfig, EvaluateConfig, TrainConfig
from hyperx.errors import ConfigError

PUBLISHED_DEFAULTS = {
    "max_length": 256,
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 32,
    "learning_rate": 1e-4,
    "weight_decay": 0.0,
    "num_train_epochs": 3,
    "max_train_steps": 100_000,
    "gradient_accumulation_steps": 1,
    "lr_scheduler_type": "polynomial",
    "warmup_steps": 4000,
    "save_steps": 5000,
    "eval_steps": 5000,
    "evaluation_strategy": "steps",
    "temperature": 5,
    "seed": 123,
    "fp16": False,
    "no_cuda": False,
    "disable_progress_bar": False,
    "preprocessing_num_workers": 1,
    "language_embedding_dim": 64,
    "task_embedding_dim": 64,
    "layer_id_embedding_dim": 64,
    "projected_source_embedding_dim": 32,
    "source_hidden_dim": 192,
    "adapter_dim": 256,
    "adapter_non_linearity": "relu",
    "add_layer_norm_before_adapter": False,
    "add_layer_norm_after_adapter": False,
    "conditional_layer_norm": False,
    "condition_to_layer_id": False,
    "project_source_embeddings": False,
    "after_layer_output": False,
    "freeze_params_regex": None,
    "unfreeze_params_regex": None,
    "sampling_strategy": "temperature",
    "data_folder": Path("data"),
    "output_dir": None,
    "max_train_samples": None,
    "eval_task_language_pairs": (),
}
"""The table of the published program's options; those that have no counterpart (see below) are left out."""


def flat(config: TrainConfig) -> dict[str, Any]:
    """The options of all sections."""
    sections = (config.data, config.model, config.hypernetwork, config.sampling, config.training)
    return {name: getattr(section, name) for section in sections for name in section.__slots__}


def options(*words: str) -> dict[str, Any]:
    return flat(parse(TrainConfig, words, "train"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the file of options goes."""
    return tmp_path / "run.yaml"


def refused(file: Path, text: str) -> str:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        parse(TrainConfig, ["--config", str(file)], "train")
    return str(caught.value)


# The published program ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED_DEFAULTS)
def test_the_published_preset_restores_every_default(name: str) -> None:
    assert options("--preset", "published")[name] == PUBLISHED_DEFAULTS[name]


def test_the_published_preset_batches_starts_and_freezes_as_published() -> None:
    found = options("--preset", "published")
    assert found["mixed_batches"] is False
    assert found["generator_start"] == "published"
    assert found["freeze_encoder"] is False
    assert found["head_layer"] == "last"


def test_our_defaults() -> None:
    found = options()
    assert found["condition_to_layer_id"]
    assert found["project_source_embeddings"]
    assert found["adapter_dim"] == 64
    assert found["warmup_steps"] is None
    assert found["max_train_steps"] is None


def test_the_defaults_that_differ_can_be_undone() -> None:
    found = options("--no_condition_to_layer_id", "--no_project_source_embeddings")
    assert not found["condition_to_layer_id"]
    assert not found["project_source_embeddings"]


# Precedence -----------------------------------------------------------------------------------------------------------


def test_the_file_wins_over_the_preset_and_the_command_line_over_both(file: Path) -> None:
    file.write_text(
        "preset: published\nadapter_dim: 8\nsave_steps: 7\nlanguages: [en, tr]\ncondition_to_layer_id: true\n"
    )
    found = options("--config", str(file), "--save_steps", "9", "--languages", "de")
    assert found["seed"] == 123
    assert found["projected_source_embedding_dim"] == 32
    assert found["adapter_dim"] == 8
    assert found["condition_to_layer_id"]
    assert found["save_steps"] == 9
    assert found["languages"] == ("de",)
    assert options(f"--config={file}", "--no_condition_to_layer_id")["condition_to_layer_id"] is False
    assert options("--config", str(file), "--preset", "default")["projected_source_embedding_dim"] == 192


def test_a_file_may_hold_every_kind_of_value(file: Path) -> None:
    file.write_text(
        "tasks: ner\nlearning_rate: 1e-4\nfp16: true\nno_cuda: false\nsave_total_limit: null\noutput_dir: null\n"
        "freeze_params_regex: '^(?!.*(hypernet|LayerNorm)).*'\nhead_layer: 3\nlabel_map: [DATE=O]\nmax_train_steps: 5\n"
        "data:\n  ner#en: {folder: corpus, label_map: {DATE: O}}\n"
    )
    found = options("--config", str(file))
    assert found["tasks"] == ("ner",)
    assert found["learning_rate"] == 1e-4
    assert found["fp16"] is True
    assert found["no_cuda"] is False
    assert found["save_total_limit"] is None
    assert found["output_dir"] is None
    assert found["freeze_params_regex"] == "^(?!.*(hypernet|LayerNorm)).*"
    assert found["head_layer"] == 3
    assert found["data"] == {"ner#en": {"folder": "corpus", "label_map": {"DATE": "O"}}}


def test_a_file_may_undo_what_the_preset_sets(file: Path) -> None:
    file.write_text("max_train_steps: null\nwarmup_steps: null\n")
    found = options("--config", str(file), "--preset", "published")
    assert (found["max_train_steps"], found["warmup_steps"], found["num_train_epochs"]) == (None, None, 3)


def test_the_language_code_of_norwegian_is_not_the_word_no(file: Path) -> None:
    file.write_text("languages: [en, no]\n")
    assert options("--config", str(file))["languages"] == ("en", "no")


def test_an_empty_file_changes_nothing(file: Path) -> None:
    file.write_text("# nothing\n")
    assert options("--config", str(file)) == options()


@pytest.mark.parametrize("kind", [EvaluateConfig, CheckConfig])
def test_other_commands_read_files_too(kind: type[Any], file: Path) -> None:
    file.write_text("no_cuda: true\ndata: {ner#en: corpus}\n")
    config = parse(kind, ["--config", str(file)], "evaluate")
    assert (config.no_cuda if kind is EvaluateConfig else config.training.no_cuda) is True
    assert (config.data if kind is EvaluateConfig else config.data.data) == {"ner#en": "corpus"}


# Mistakes -------------------------------------------------------------------------------------------------------------


def test_unknown_names_in_a_file_get_suggestions(file: Path) -> None:
    message = refused(file, "learning_rat: 1\nadapter-dim: 8\nseed: 1\n1: 2\n")
    assert message.startswith("3 problems")
    assert f"--config: {file}: there is no option 'learning_rat'. Did you mean 'learning_rate'?" in message
    assert "there is no option 'adapter-dim'. Did you mean 'adapter_dim'?" in message
    assert "there is no option '1'." in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tasks: [ner\nseed: 1\n", "is not YAML: "),
        ("\x00", "is not YAML: "),
        ("- ner\n- pos\n", "expected lines of 'option: value'; found a list"),
        ("just words", "expected lines of 'option: value'; found a str"),
        ("data: corpus\n", "data: expected a table from pairs to sources; found 'corpus'"),
    ],
)
def test_files_that_are_no_options(file: Path, text: str, expected: str) -> None:
    message = refused(file, text)
    assert expected in message
    assert len(message.splitlines()) == 2


def test_a_missing_file_of_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--config: cannot read .*none\.yaml: No such file or directory"):
        parse(TrainConfig, ["--config", str(tmp_path / "none.yaml")], "train")
    with pytest.raises(ConfigError, match="--config: cannot read"):
        parse(TrainConfig, ["--config", str(tmp_path)], "train")


def test_a_file_that_is_not_utf8(file: Path) -> None:
    file.write_bytes(b"tasks: \xff\n")
    with pytest.raises(ConfigError, match="is not YAML"):
        parse(TrainConfig, ["--config", str(file)], "train")


@pytest.mark.parametrize(
    "words",
    [["--learning_rat", "1"], ["--seed", "one"], ["--preset", "publishd"], ["--adapter_dim"], ["--config"], ["stray"]],
)
def test_a_misused_command_line_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(TrainConfig, words, "train")
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_wrong_value_in_a_file_names_the_option(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("adapter_dim: many\n")
    with pytest.raises(SystemExit) as caught:
        parse(TrainConfig, ["--config", str(file)], "train")
    assert caught.value.code == 2
    assert "adapter_dim" in capsys.readouterr().err
