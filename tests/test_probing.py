"""Which trained languages a text is labelled best as."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

import hyperx
import toy
from hyperx.cli import main
from hyperx.prediction.probing import probe
from hyperx.prediction.request import read_texts
from tiny import tiny_model, tiny_tokenizer

pytestmark = pytest.mark.usefixtures("isolated")


def test_agreement_is_the_share_of_labels_that_most_languages_give() -> None:
    trained = ["en", "tr", "fi"]
    model = tiny_model(trained_pairs=[f"pos#{code}" for code in trained], languages=[*trained, "de"])
    model.tokenizer = tiny_tokenizer()
    assert model.hypernetwork is not None
    model.hypernetwork.source.language.data *= 30  # else all languages would be tagged alike
    texts = [["cat", "sees", "Ada"], ["river", "likes", "London", "too"], ["dog"]]
    labels = {code: [] for code in [*trained, "de"]}
    confidences = {code: [] for code in labels}
    for code in labels:
        for one in hyperx.predict(texts, model=model, task="pos", language=code, confidences=True):
            labels[code] += one.labels["pos"]
            confidences[code] += one.confidences["pos"]
    found = probe(model, read_texts(texts, None, language="de", reads={"words"}), task="pos", language="de")
    assert {one.language for one in found} == set(labels)
    assert [one.agreement for one in found] == sorted((one.agreement for one in found), reverse=True)
    assert len({one.agreement for one in found}) > 1
    for one in found:
        right = 0
        for word, label in enumerate(labels[one.language]):
            votes = [labels[code][word] for code in trained]
            right += label == max(votes, key=votes.count)
        assert one.agreement == pytest.approx(right / 8)
        assert one.confidence == pytest.approx(sum(confidences[one.language]) / 8)


def test_the_command_ranks_the_languages_of_each_task(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["probe", "--checkpoint", str(trained), *toy.QUIET, "--language", "gsw"]
    Path("text.txt").write_text("cat sees Ada\nriver likes London\n", encoding="utf-8")
    assert main([*words, "--input", "text.txt", "--samples", "1"]) == 0
    text = capsys.readouterr().out
    assert "pos of 1" in text
    assert "ner of 1" in text
    assert all(code in text for code in ("en", "tr", "gsw"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    assert main(words) == 1
    assert "<stdin>: expected text, found no sentence" in " ".join(capsys.readouterr().err.split())
    assert main([*words[:-1], "auto"]) == 1
    assert "--language: name the language of the text" in " ".join(capsys.readouterr().err.split())
