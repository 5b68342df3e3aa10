"""Help, version and exit codes."""

from __future__ import annotations

import re
import runpy
from dataclasses import fields
from typing import Any

import pytest

import hyperx
from hyperx.cli import COMMANDS, main
from hyperx.config import CheckConfig, EvaluateConfig, ImportConfig, LanguagesConfig, PredictConfig, TrainConfig
from hyperx.options import option_types

CONFIGS: dict[str, type[Any]] = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "check": CheckConfig,
    "languages": LanguagesConfig,
    "import-published": ImportConfig,
}
NO_FLAGS = {"data", "words", "folder"}


def help_of(command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The help without frames, one line an option or a line of text."""
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    return re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out)


def test_the_package_runs_as_a_module(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["hyperx", "--version"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("hyperx", run_name="__main__")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"hyperx {hyperx.__version__}\n"


def test_all_commands_are_tested() -> None:
    assert CONFIGS.keys() == COMMANDS.keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_every_option(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = help_of(command, capsys, monkeypatch)
    explained = {}
    for entry in re.split(r"\n\s*(?=-\S)", text):
        flags, _, rest = re.sub(r"\n|\s{2,}", "\t", entry).partition("\t")
        words = " ".join(rest.partition("(default:")[0].split())
        explained |= dict.fromkeys(re.findall(r"--(\w+)", flags), words)
    names = set(option_types(CONFIGS[command])) - NO_FLAGS
    assert names <= explained.keys()
    for name in names:
        assert re.match(r"(?!No help).{10,}", explained[name]), f"--{name} is not explained: {explained[name]!r}"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_begins_with_what_the_command_does_and_an_example(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = help_of(command, capsys, monkeypatch)
    assert text.startswith(f"usage: hyperx {command}")
    assert re.search(rf"For example:\s+(echo .*)?hyperx {command} \S", text)


def test_no_option_has_two_homes() -> None:
    names = option_types(TrainConfig)
    assert len(names) == len(set(names))
    assert "data" in {field.name for field in fields(TrainConfig)}


def test_the_bare_command_shows_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    bare = capsys.readouterr().out
    assert main(["--help"]) == main(["-h"]) == 0
    assert capsys.readouterr().out == 2 * bare
    for command, line in COMMANDS.items():
        assert re.search(rf"^  {command} +{re.escape(line)}$", bare, re.MULTILINE)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hyperx {hyperx.__version__}\n"


def test_an_unknown_command_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evalute"]) == 2
    expected = f"hyperx: no command 'evalute': {', '.join(COMMANDS)}. Did you mean 'evaluate'?\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("train", "--train_task_language_pairs"),
        ("evaluate", "--eval_ckpt: name a checkpoint or the output folder of a run"),
        ("predict", "--language: name the language of the text, such as de"),
        ("check", "--train_task_language_pairs: name at least one pair, such as ner#en"),
        ("import-published", "name the folder of a published checkpoint, such as outputs/checkpoint-100000"),
    ],
)
def test_a_command_without_options_says_what_it_needs(
    command: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"hyperx {command}: ")
    assert expected in error


def test_an_unknown_option_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--adapter_dims", "8"]) == 2
    assert "--adapter_dim" in capsys.readouterr().err


def test_languages_are_found_by_code_and_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["languages", "TUR", "kurdish"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"tr +│ Turkish +│ tr_imst +│ tr_atis, .*tr_pud\*", text)
    assert re.search(r"ckb +│ Central Kurdish +│ ckb_mukri ", text)
    assert "4 of 267 languages" in text
    assert main(["languages", "UD_English-EWT", "als"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines() if "│" in line and "_" in line][:1] == [
        "en"
    ]
    assert main(["languages"]) == 0
    assert "267 of 267 languages" in capsys.readouterr().out
    assert main(["languages", "qwerty"]) == 1
    assert capsys.readouterr().err.startswith("hyperx languages: no language or treebank is called qwerty")
