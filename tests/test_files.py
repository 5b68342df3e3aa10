"""Files and folders: homes that are not known, JSON complete or not at all."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hyperx.cli import main
from hyperx.data.locate.spec import DataSpec
from hyperx.errors import ConfigError
from hyperx.files import CACHE_VARIABLE, in_home, sha256, user_cache, write_json
from hyperx.pairs import TaskLanguagePair

NOBODYS = "~nobody-of-this-name/x"


def test_a_home_that_is_not_known_stays_in_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert in_home("~/x") == tmp_path / "x"
    assert in_home(NOBODYS) == Path(NOBODYS)
    monkeypatch.setenv(CACHE_VARIABLE, "~/x")
    assert user_cache() == tmp_path / "x"
    monkeypatch.setenv(CACHE_VARIABLE, NOBODYS)
    assert user_cache() == Path(NOBODYS)


@pytest.mark.usefixtures("isolated")
def test_a_data_folder_in_a_home_that_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--data_folder", NOBODYS, "--train_task_language_pairs", "ner#en"]) == 1
    error = "".join(capsys.readouterr().err.split())
    assert f"--data_folder:thereisnofolder{Path(NOBODYS).resolve()}" in error


def test_data_in_a_home_that_is_not_known(tmp_path: Path) -> None:
    pair = TaskLanguagePair.parse("ner#en")
    for row in ({"folder": NOBODYS}, NOBODYS, {"test": f"{NOBODYS}.tsv"}):
        with pytest.raises(ConfigError, match=rf"found none at {tmp_path}/{NOBODYS}"):
            DataSpec(tmp_path, {"ner": "ner"}, ["ner"], {"ner#en": row}).located([pair])
    table = {"ner#en": {"hub": NOBODYS}}
    assert DataSpec(tmp_path, {"ner": "ner"}, ["ner"], table).located([pair]).from_hub(pair)


def test_the_hash_is_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a").startswith("ba7816bf8f01cfea")


def test_json_is_complete_or_older(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"checkpoint": "ü"})
    with pytest.raises(TypeError):
        write_json(path, {"checkpoint": object()})
    with pytest.raises(UnicodeEncodeError):
        write_json(path, {"checkpoint": "\ud800"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"checkpoint": "ü"}
    assert list(tmp_path.iterdir()) == [path]


def test_json_written_by_several_at_once_is_one_of_theirs(tmp_path: Path) -> None:
    values = [[number] * 1000 for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda value: write_json(tmp_path / "a.json", value), values))
    assert json.loads((tmp_path / "a.json").read_text()) in values
    assert len(list(tmp_path.iterdir())) == 1
