"""Files of several languages: named by their lines, or detected."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import conllu
import pytest

import toy
from hyperx import HyperX
from hyperx.cli import main
from hyperx.data.read import detection

pytestmark = pytest.mark.usefixtures("isolated")

GERMAN, TURKISH = "Der Hund sieht das alte Haus am Fluss.", "Köpek nehrin yanındaki eski evi görüyor."
Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def tagged(trained: Path, tmp_path: Path) -> Run:
    """The objects that predict writes for a text."""

    def run(text: str, *options: str, status: int = 0, end: str = ".txt") -> list[dict[str, Any]]:
        (tmp_path / f"in{end}").write_text(text, encoding="utf-8")
        files = ["--input", f"in{end}", "--output", "out.jsonl"]
        assert main(["predict", "--checkpoint", str(trained), *toy.QUIET, *files, *options]) == status
        lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8") if status == 0 else ""
        return [json.loads(line) for line in lines.splitlines()]

    return run


def test_each_line_is_read_in_its_own_language(tagged: Run, trained: Path) -> None:
    texts = {"en": "cat sees Ada Lovelace .", "tr": "sees cat dog.", "de": "du und das Haus, z.B. am Fluss"}
    rows = [{"text": text, "language": code} for code, text in texts.items()] * 12 + [{"words": ["cat", "sees"]}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    found = tagged(lines, "--language", "fr", "--batch_size", "5", end=".jsonl")
    assert [row.get("language") for row in found] == [*[*texts] * 12, None]
    model = HyperX.from_pretrained(trained)
    for row, (code, text) in zip(found, texts.items(), strict=False):
        (alone,) = model.predict([text], language=code)
        assert tuple(row["words"]) == alone.words
        assert (tuple(row["ner"]), tuple(row["pos"])) == (alone.labels["ner"], alone.labels["pos"])
    assert found[2]["words"][5] == "z.B."  # by the rules for German
    again = tagged("".join(json.dumps(row) + "\n" for row in found[:3]), end=".jsonl")
    assert again == found[:3]


def test_lines_without_a_language_or_with_none_that_there_is(tagged: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for row, told in (
        ({"text": "a"}, "in.jsonl:2: expected the code of a language in language, found none; --language names one"),
        ({"text": "a", "language": "englsh"}, "in.jsonl:2: 'englsh' is no language code of ISO 639 or BCP 47"),
        ({"text": "a", "language": 3}, "in.jsonl:2: expected the code of a language in language, found 3"),
    ):
        tagged(f'{{"text": "a", "language": "en"}}\n{json.dumps(row)}\n', status=1, end=".jsonl")
        assert told in " ".join(capsys.readouterr().err.split())
        gap = tagged(json.dumps(row), "--on_error", "empty", end=".jsonl")
        assert gap[0]["words"] == []


def test_the_language_of_each_line_or_paragraph_is_detected(tagged: Run) -> None:
    pytest.importorskip("py3langid")
    found = tagged(f"{GERMAN}\n{TURKISH}\n", "--language", "auto")
    assert [row["language"] for row in found] == ["de", "tr"]
    words = f"{' '.join(GERMAN.split())}\n"
    assert tagged(words, "--language", "auto", "--input_format", "tokens")[0]["language"] == "de"
    text = f"{GERMAN} Das ist z.B. gut. Ja.\n\n{TURKISH}\n"
    found = tagged(text, "--language", "auto", "--input_format", "text")
    assert [(row["language"], row["text"]) for row in found] == [
        ("de", GERMAN), ("de", "Das ist z.B. gut."), ("de", "Ja."), ("tr", TURKISH)
    ]  # fmt: skip
    rows = [{"text": GERMAN}, {"text": TURKISH, "language": "auto"}, {"text": TURKISH, "language": "az"}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    assert [row["language"] for row in tagged(lines, "--language", "auto", end=".jsonl")] == ["de", "tr", "az"]


def test_from_python_too(trained: Path) -> None:
    pytest.importorskip("py3langid")
    model = HyperX.from_pretrained(trained)
    found = model.predict([GERMAN, TURKISH.split()], language="auto")
    assert [one.sentence.language for one in found] == ["de", "tr"]
    for text, one, language in zip((GERMAN, TURKISH.split()), found, ("de", "tr"), strict=True):
        (alone,) = model.predict([text], language=language)
        assert (one.words, one.labels) == (alone.words, alone.labels)
    assert model.predict([["\u200b"]], language="auto")[0].words == ("\u200b",)


def test_conllu_says_the_language_and_keeps_it(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("py3langid")
    options = ["--checkpoint", str(trained), *toy.QUIET, "--language", "auto"]
    (tmp_path / "in.txt").write_text(f"{GERMAN}\n{TURKISH}\n", encoding="utf-8")
    assert main(["predict", *options, "--input", "in.txt", "--output", "one.conllu"]) == 0
    assert main(["predict", *options, "--input", "one.conllu", "--output", "two.conllu"]) == 0
    one = (tmp_path / "one.conllu").read_text(encoding="utf-8")
    assert (tmp_path / "two.conllu").read_text(encoding="utf-8") == one
    assert [sentence.metadata["language"] for sentence in conllu.parse(one)] == ["de", "tr"]


def test_what_is_not_sure_is_told_once_for_each_language(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("py3langid")
    monkeypatch.setattr(detection, "_told", set())
    caplog.set_level(logging.INFO, logger="hyperx")
    assert detection.detected(GERMAN) == "de"
    assert not caplog.messages
    code = detection.detected("123")
    assert detection.detected("123") == code
    (told,) = caplog.messages
    assert told.startswith(f"'123' is taken as {code}, with probability 0.")


def test_what_detects_is_asked_for(tagged: Run, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "py3langid", None)
    monkeypatch.setattr(detection.importlib.util, "find_spec", lambda _: None)
    tagged("a\n", "--language", "auto", status=1)
    assert 'pip install "hyperx-nlp[detect]"' in capsys.readouterr().err
