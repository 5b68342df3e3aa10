"""Help, version and exit codes."""

from __future__ import annotations

import re
import runpy
from dataclasses import is_dataclass
from typing import Any, get_type_hints

import pytest

import hyperx
from hyperx.cli import COMMANDS, main
from hyperx.cli.options import help_texts
from hyperx.config import (
    AdaptConfig,
    CalibrateConfig,
    CheckConfig,
    CompareConfig,
    CompressConfig,
    DemoConfig,
    EvaluateConfig,
    ExportConfig,
    ImportConfig,
    LanguagesConfig,
    ModelsConfig,
    PredictConfig,
    ProbeConfig,
    PushConfig,
    ReportConfig,
    ServeConfig,
    SuggestConfig,
    TrainConfig,
)
from hyperx.options import flat, option_types

CONFIGS: dict[str, type[Any]] = {
    "train": TrainConfig,
    "adapt": AdaptConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "serve": ServeConfig,
    "demo": DemoConfig,
    "probe": ProbeConfig,
    "suggest": SuggestConfig,
    "check": CheckConfig,
    "languages": LanguagesConfig,
    "calibrate": CalibrateConfig,
    "compress": CompressConfig,
    "export": ExportConfig,
    "models": ModelsConfig,
    "push": PushConfig,
    "report": ReportConfig,
    "compare": CompareConfig,
    "import-published": ImportConfig,
}
IN_FILES_ONLY, WITHOUT_A_NAME = "data", ("words", "names", "folder", "folders", "repo")


def test_the_package_runs_as_a_module_and_has_a_version(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["hyperx", "--version"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("hyperx", run_name="__main__")
    assert caught.value.code == 0
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == 2 * f"hyperx {hyperx.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_reads_as_a_page(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the command does, an example, and every option: negative forms only of what is on, and no trace of types."""
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    page, kind = capsys.readouterr().out, CONFIGS[command]
    assert page.startswith(f"usage: hyperx {command}")
    assert re.search(rf"For example:\s+(echo .*)?hyperx {command} \S", page)
    assert set(re.findall(r"--no_(\w+)", page)) - {"cuda"} == {name for name, on in flat(kind()).items() if on is True}
    for oddity in ("no_no", "{None", "(default: )", "(default: None)", "(default: False)", "(default: True)"):
        assert oddity not in page
    assert max(map(len, page.splitlines())) <= 104
    text = " ".join(" ".join(line.strip("│ ") for line in page.splitlines()).split())
    for section in (kind, *filter(is_dataclass, get_type_hints(kind).values())):
        for name, words in help_texts(section).items():
            shown = " ".join(words.split())
            if name != IN_FILES_ONLY:
                assert len(shown) > 10
                assert shown in text
                assert f"--{name}" in text or name in WITHOUT_A_NAME


def test_no_option_has_two_homes() -> None:
    names = [name for hint in get_type_hints(TrainConfig).values() if is_dataclass(hint) for name in option_types(hint)]
    assert len(names) == len(set(names))


def test_the_bare_command_shows_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    bare = capsys.readouterr().out
    assert main(["--help"]) == main(["-h"]) == 0
    assert capsys.readouterr().out == 2 * bare
    for command, line in COMMANDS.items():
        assert re.search(rf"^  {command} +{re.escape(line)}$", bare, re.MULTILINE)


def test_an_unknown_command_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evalute"]) == 2
    expected = f"hyperx: no command 'evalute': {', '.join(COMMANDS)}. Did you mean 'evaluate'?\n"
    assert capsys.readouterr().err == expected


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
