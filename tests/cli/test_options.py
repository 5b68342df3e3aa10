"""Options from presets, a YAML file and the command line, and what is said where they are wrong."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

import toy
from hyperx.cli.options import help_texts, parse
from hyperx.config import (
    PUBLISHED,
    AdaptConfig,
    ArchitectureOptions,
    CalibrateConfig,
    CheckConfig,
    CompareConfig,
    CompressConfig,
    DataOptions,
    DemoConfig,
    EvaluateConfig,
    ExportConfig,
    HypernetworkOptions,
    ImportConfig,
    ModelOptions,
    PredictConfig,
    ProbeConfig,
    PushConfig,
    ReportConfig,
    SamplingOptions,
    ServeConfig,
    SuggestConfig,
    TrainConfig,
    TrainingOptions,
)
from hyperx.errors import ConfigError, UsageError
from hyperx.options import flat, made, option_types, value_problems

PUBLISHED_DEFAULTS = {
    "max_length": 256, "per_device_train_batch_size": 32, "per_device_eval_batch_size": 32, "learning_rate": 1e-4,
    "weight_decay": 0.0, "num_train_epochs": 3, "max_train_steps": 100_000, "gradient_accumulation_steps": 1,
    "lr_scheduler_type": "polynomial", "warmup_steps": 4000, "save_steps": 5000, "eval_steps": 5000,
    "evaluation_strategy": "steps", "temperature": 5, "seed": 123, "fp16": False, "no_cuda": False,
    "disable_progress_bar": False, "preprocessing_num_workers": 1, "language_embedding_dim": 64,
    "task_embedding_dim": 64, "layer_id_embedding_dim": 64, "projected_source_embedding_dim": 32,
    "source_hidden_dim": 192, "adapter_dim": 256, "adapter_non_linearity": "relu", "conditional_layer_norm": False,
    "add_layer_norm_before_adapter": False, "add_layer_norm_after_adapter": False, "condition_to_layer_id": False,
    "project_source_embeddings": False, "after_layer_output": False, "freeze_params_regex": None,
    "unfreeze_params_regex": None, "sampling_strategy": "temperature", "data_folder": Path("data"), "output_dir": None,
    "max_train_samples": None, "tasks": (), "languages": (), "train_task_language_pairs": (),
    "eval_task_language_pairs": (), "load_from_ckpt": None,
    "adapters": "hypernetwork",  # there --no_hypernet leaves it out
}  # fmt: skip
"""The options of the published training program and their defaults; its encoder must be named."""
IN_FILES_ONLY = {"data"}
WITHOUT_A_NAME = {"folder", "folders", "repo"}
PUBLISHED_NAMES = {*PUBLISHED_DEFAULTS, "model_name_or_path"}


def options(*words: str) -> dict[str, Any]:
    return flat(parse(TrainConfig, words, "train"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the file of options goes."""
    return tmp_path / "run.yaml"


def refused(file: Path, text: str | bytes) -> str:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        parse(TrainConfig, ["--config", str(file)], "train")
    return str(caught.value)


# The published program ------------------------------------------------------------------------------------------------


def test_the_published_preset_restores_every_default() -> None:
    ways = {"mixed_batches": False, "generator_start": "published", "train_encoder": "all", "head_layer": "last"}
    wanted = {**PUBLISHED_DEFAULTS, **ways, "encoder_learning_rate_scale": 1}
    found = options("--preset", "published")
    assert {name: found[name] for name in wanted} == wanted
    assert found.keys() >= PUBLISHED_NAMES | set(PUBLISHED)
    assert {"eval_ckpt", "test_task_language_pairs", "model_name_or_path"} <= option_types(EvaluateConfig).keys()


def test_published_options_that_are_lists_or_flags_are_read_as_published() -> None:
    words = ["--tasks", "ner", "pos", "--load_from_ckpt", "runs/a", "--disable_progress_bar"]
    found = options(*words, "--no_cuda", "--conditional_layer_norm", "--temperature", "2.5")
    assert found["tasks"] == ("ner", "pos")
    assert found["load_from_ckpt"] == Path("runs/a")
    assert found["temperature"] == 2.5
    for flag in ("disable_progress_bar", "no_cuda", "conditional_layer_norm"):
        assert found[flag] is True


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
    pattern = "^(?!.*(hypernet|LayerNorm)).*"
    values: dict[str, dict[str, Any]] = {
        "tasks: ner": {"tasks": ("ner",)},
        "languages: [en, no]": {"languages": ("en", "no")},  # a language, not the truth value of YAML 1.1
        "learning_rate: 1e-4": {"learning_rate": 1e-4},
        "fp16: true": {"fp16": True},
        "no_cuda: no": {"no_cuda": False},
        "save_total_limit: null": {"save_total_limit": None},
        "warmup_steps:": {"warmup_steps": None},
        f"freeze_params_regex: '{pattern}'": {"freeze_params_regex": pattern},
        "head_layer: 3": {"head_layer": 3},
        "label_map: [DATE=O]": {"label_map": ("DATE=O",)},
        "output_dir: ~nobody-of-this-name/a": {"output_dir": Path("~nobody-of-this-name/a")},
        "data_folder: a/~/b": {"data_folder": Path("a/~/b")},
        "model_name_or_path: a~b": {"model_name_or_path": "a~b"},
        "data: {ner#en: {hub: {name: a/b, revision: 2024-02-30}, label_map: {DATE: O}}}": {
            "data": {"ner#en": {"hub": {"name": "a/b", "revision": "2024-02-30"}, "label_map": {"DATE": "O"}}}
        },
        "# nothing": {},
    }
    file.write_text("\n".join(values))
    wanted = {name: value for one in values.values() for name, value in one.items()}
    assert options("--config", str(file)) == {**options(), "config": file, **wanted}
    # Names with values may stand in a mapping.
    file.write_text("label_map: {DATE: O}\ntasks: {ner: ner, mood: cls}\ntreebanks: {en: [en_ewt, en_gum], tr: tr_a}\n")
    wanted = {"label_map": ("DATE=O",), "tasks": ("ner=ner", "mood=cls"), "treebanks": ("en=en_ewt+en_gum", "tr=tr_a")}
    assert options("--config", str(file)) == {**options(), "config": file, **wanted}
    # A value of none undoes what the preset sets.
    file.write_text("max_train_steps: null\nwarmup_steps: null\n")
    found = options("--config", str(file), "--preset", "published")
    assert (found["max_train_steps"], found["warmup_steps"], found["num_train_epochs"]) == (None, None, 3)


def test_merged_keys_may_stand_again(file: Path) -> None:
    """A mapping that is merged into two others, one of them merged itself."""
    file.write_text(
        "data:\n  ner#en: &own {<<: &base {folder: a, label_map: {DATE: O}}, folder: b}\n"
        "  ner#de: {<<: *own, folder: c}\n  ner#tr: {<<: *base, <<: *own, dev: d}\n"
    )
    mapped = {"label_map": {"DATE": "O"}}
    assert options("--config", str(file))["data"] == {
        "ner#en": {"folder": "b", **mapped},
        "ner#de": {"folder": "c", **mapped},
        "ner#tr": {"folder": "b", "dev": "d", **mapped},
    }


@pytest.mark.parametrize(
    "kind",
    [
        TrainConfig,
        AdaptConfig,
        CheckConfig,
        EvaluateConfig,
        CalibrateConfig,
        ReportConfig,
        CompareConfig,
        PredictConfig,
        ServeConfig,
        DemoConfig,
        CompressConfig,
        ImportConfig,
    ],
)
def test_the_home_folder_stands_for_a_tilde_in_every_path(
    kind: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    names = {name for name, hint in option_types(kind).items() if hint in (Path, Path | None)} - WITHOUT_A_NAME
    names |= {"model_name_or_path"}
    words = [word for name in names - {"config"} for word in (f"--{name}", f"~/{name}")]
    if "config" in names:
        (tmp_path / "config").write_text("".join(f"{name}: ~/{name}\n" for name in names - {"config"}))
        words = ["--config=~/config"]
    if option_types(kind).keys() >= WITHOUT_A_NAME:
        words.insert(0, "~/folder")
        names |= WITHOUT_A_NAME
    found = parse(kind, words, "train")
    sections = [found, *(getattr(found, field.name) for field in fields(found))]
    values = {name: getattr(one, name) for name in names for one in sections if hasattr(one, name)}
    assert {name: str(value) for name, value in values.items()} == {name: str(tmp_path / name) for name in names}


@pytest.mark.parametrize("kind", [EvaluateConfig, CheckConfig])
def test_other_commands_read_files_too(kind: type[Any], file: Path) -> None:
    file.write_text("no_cuda: true\ndata: {ner#en: corpus}\n")
    config = parse(kind, ["--config", str(file)], "evaluate")
    assert (config.no_cuda if kind is EvaluateConfig else config.training.no_cuda) is True
    assert (config.data if kind is EvaluateConfig else config.data.data) == {"ner#en": "corpus"}


def test_what_a_file_or_the_preset_switches_on_can_be_switched_off(file: Path) -> None:
    """And on again: the last form on the command line counts."""
    switches = {name: value for name, value in options().items() if isinstance(value, bool)}
    names = switches.keys()

    def chosen(*words: str) -> set[bool]:
        found = options(*words)
        return {found[name] for name in names}

    negative, positive = [f"--no_{name}" for name in names], [f"--{name}" for name in names]
    assert set(switches.values()) == {True, False}
    assert chosen(*negative) == chosen(*positive, *negative) == {False}
    assert chosen(*negative, *positive) == {True}
    file.write_text("".join(f"{name}: true\n" for name in names))
    assert chosen("--config", str(file)) == {True}
    assert chosen("--config", str(file), *negative) == {False}
    assert chosen("--config", str(file), *(f"--no-{name.replace('_', '-')}" for name in names)) == {False}
    file.write_text("preset: published\n" + "".join(f"{name}: false\n" for name in names))
    assert chosen("--config", str(file)) == {False}


# docs/options.md ------------------------------------------------------------------------------------------------------

TABLES: dict[str, tuple[str, type[Any]]] = {
    "Where options come from": ("train", TrainConfig),
    "Data": ("train", DataOptions),
    "Model": ("train", ModelOptions),
    "Architecture": ("train", ArchitectureOptions),
    "Hypernetwork and adapters": ("train", HypernetworkOptions),
    "Sampling": ("train", SamplingOptions),
    "Training": ("train", TrainingOptions),
    "`hyperx adapt`": ("adapt", AdaptConfig),
    "`hyperx evaluate`": ("evaluate", EvaluateConfig),
    "`hyperx report`": ("report", ReportConfig),
    "`hyperx compare`": ("compare", CompareConfig),
    "`hyperx predict`": ("predict", PredictConfig),
    "`hyperx probe`": ("probe", ProbeConfig),
    "`hyperx suggest`": ("suggest", SuggestConfig),
    "`hyperx calibrate`": ("calibrate", CalibrateConfig),
    "`hyperx serve`": ("serve", ServeConfig),
    "`hyperx demo`": ("demo", DemoConfig),
    "`hyperx compress`": ("compress", CompressConfig),
    "`hyperx push`": ("push", PushConfig),
    "`hyperx export`": ("export", ExportConfig),
    "`hyperx import-published`": ("import-published", ImportConfig),
}
"""The tables of docs/options.md by the headings above them."""


def in_words(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value is None or value == () else str(value)


def option_rows(command: str, kind: type[Any]) -> list[tuple[str, ...]]:
    """What docs/options.md says of the options of a dataclass: name, help, default and, in training, published one."""
    preset, rows = options("--preset", "published"), []
    for name, text in help_texts(kind).items():
        if name in IN_FILES_ONLY | WITHOUT_A_NAME:
            continue
        field = next(field for field in fields(kind) if field.name == name)
        if field.default_factory is not MISSING:
            continue
        published = in_words(preset.get(name)) if name in PUBLISHED_NAMES | PUBLISHED.keys() else ""
        if name == "model_name_or_path":
            published = "to be named"
        escaped = re.sub(r"([|<*])", r"\\\1", text)
        row = (f"`--{name}`", escaped, in_words(field.default))
        rows.append((*row, published) if command == "train" else row)
    return rows


def documented() -> dict[str, list[tuple[str, ...]]]:
    """The rows of the tables of docs/options.md by heading."""
    tables: dict[str, list[tuple[str, ...]]] = {}
    heading = ""
    for line in (toy.ROOT / "docs" / "options.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("| `--"):
            tables.setdefault(heading, []).append(tuple(re.split(r" (?<!\\)\| ", line.strip("| "))))
    return tables


def test_the_table_of_options_says_what_the_options_say() -> None:
    tables = documented()
    assert tables.keys() == TABLES.keys()
    named: dict[type[Any], set[str]] = {}
    for heading, (command, kind) in TABLES.items():
        for row, wanted in zip([row[:-1] for row in tables[heading]], option_rows(command, kind), strict=True):
            assert row == wanted, "docs/options.md should have: | " + " | ".join(wanted) + " |"
        whole = TrainConfig if command == "train" else kind
        named.setdefault(whole, set()).update(row[0].strip("`-") for row in tables[heading])
    for kind, names in named.items():
        assert names == set(option_types(kind)) - IN_FILES_ONLY - WITHOUT_A_NAME


def test_the_tests_that_the_table_names_exist() -> None:
    for rows in documented().values():
        for row in rows:
            path, _, name = row[-1].strip("`").partition("::")
            assert f"\ndef {name}(" in (toy.ROOT / path).read_text(encoding="utf-8"), row


# Python ---------------------------------------------------------------------------------------------------------------


def test_values_of_python_are_checked_like_those_of_a_file() -> None:
    config = made(PredictConfig, {"checkpoint": "~/a", "tasks": "ner", "language": "de", "batch_size": "8"})
    assert (config.checkpoint, config.tasks, config.batch_size) == (Path("~/a").expanduser(), ("ner",), 8)
    with pytest.raises(UsageError) as caught:
        made(TrainConfig, {"seeed": 1, "seed": True, "languages": ["en", None], "adapters": "shard"})
    text = str(caught.value)
    assert text.startswith("4 problems with the options")
    assert "there is no option 'seeed'. Did you mean 'seed'?" in text
    assert "seed: expected a whole number; found True" in text
    assert "languages: expected a text; found nothing" in text
    assert "found 'shard'. Did you mean 'shared'?" in text


def test_a_configuration_that_python_made_is_checked_before_it_is_used() -> None:
    training = TrainingOptions(output_dir="run", seed="3", save_steps=0, learning_rate=1)  # type: ignore[arg-type]
    assert value_problems(TrainConfig(training=training)) == [
        "--output_dir: expected an instance of Path; found 'run'",
        "--save_steps: expected 1 or more; found 0",
        "--seed: expected a whole number; found '3'",
    ]


# Mistakes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tasks: [ner\nseed: 1\n", "is not YAML: "),
        ("\x00", "is not YAML: "),
        (b"tasks: \xff\n", "is not YAML: "),
        ("- ner\n- pos\n", "expected lines of 'option: value'; found a list"),
        ("just words", "expected lines of 'option: value'; found a str"),
        ("seed: 1\n'seed': 2\n", "is not YAML: 'seed' in line 2 is already set in line 1; keep one of them"),
        (
            "data:\n  ner#en: a\n\n  ner#de: b\n  ner#en: c\n",
            "'ner#en' in line 5 is already set in line 2",
        ),
        ("data:\n  ner#en: {label_map: {0: A, '0': B}}\n", "is not YAML: '0' in line 2 is already set in line 2"),
        ("treebanks: [{en: a}, {tr: a, tr: b}]\n", "is not YAML: 'tr' in line 1"),
        ("label_map: {DATE: , GPE: LOC}\n", "label_map: expected a text; found nothing. Write it, or leave the option"),
        ("label_map: {DATE: [A, B]}\n", "label_map: expected a text; found ['A', 'B']"),
        ("languages:\n", "languages: expected a text; found nothing"),
        ("model_name_or_path:\n", "model_name_or_path: expected a text; found nothing"),
        ("treebanks: {en: [en_ewt, null]}\n", "treebanks: expected a text; found ['en_ewt', None]"),
        ("data: corpus\n", "data: expected a table; found 'corpus'"),
    ],
)
def test_files_that_are_no_options(file: Path, text: str | bytes, expected: str) -> None:
    message = refused(file, text)
    assert expected in message
    assert len(message.splitlines()) == 2


def test_one_file_of_options_that_is_there(file: Path) -> None:
    for words, expected in (
        ([str(file.parent / "none.yaml")], r"--config: cannot read .*none\.yaml: No such file or directory"),
        ([str(file.parent)], "--config: cannot read"),
        ([str(file), "--config", str(file)], "--config: expected one file; found"),
    ):
        with pytest.raises(ConfigError, match=expected):
            parse(TrainConfig, ["--config", *words], "train")
