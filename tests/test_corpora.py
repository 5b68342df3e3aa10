"""Corpora have habits of annotation: they are learnt apart from languages, and prediction may follow those of one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import toy
from hyperx import HyperX
from hyperx.cli import main
from hyperx.errors import HyperXError


@pytest.fixture(scope="module")
def styled(train_once: Callable[..., Path], base: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two languages and two corpora, of which one does not annotate places."""
    folder = tmp_path_factory.mktemp("corpora")
    for seed, language in enumerate(("en", "tr")):
        toy.write_ner(folder / f"{language}.tsv", toy.sentences(language, 200, seed))
    toy.write_ner(folder / "de.tsv", toy.sentences("de", 60, 9))
    table = {
        "ner#en": {"train": "en.tsv", "corpus": "news"},
        "ner#tr": {"train": "tr.tsv", "corpus": "web", "label_map": {"LOC": "O"}},
        "ner#de": {"test": "de.tsv", "corpus": "news"},
    }
    options = {"data_folder": str(folder), "data": table, "train_task_language_pairs": ["ner#en", "ner#tr"]}
    (folder / "run.yaml").write_text(yaml.safe_dump(options))
    kept = [word for word in base if word not in (*toy.DATA, "--data_folder", base[base.index("--data_folder") + 1])]
    rates = ["--learning_rate", "3e-2", "--max_train_steps", "120", "--evaluation_strategy", "no", "--languages", "en"]
    return train_once(*kept, *rates, "tr", "de", "--language_dropout", "0.3", "--config", str(folder / "run.yaml"))


def places(run: Path, language: str, style: str | None) -> float:
    """The share of places that are found."""
    sentences = toy.sentences(language, 60, 5)
    predictions = HyperX.from_pretrained(run).predict(
        [[word for word, _, _ in words] for words in sentences], task="ner", language=language, style=style
    )
    gold = [label for words in sentences for _, _, label in words]
    found = [label for prediction in predictions for label in prediction.labels["ner"]]
    return sum(a == b == "B-LOC" for a, b in zip(gold, found, strict=True)) / gold.count("B-LOC")


@pytest.mark.parametrize("language", ["en", "tr", "de"])
def test_a_style_is_followed_in_every_language(styled: Path, language: str) -> None:
    assert places(styled, language, "news") > 0.9
    assert places(styled, language, "web") < 0.1


def test_by_default_a_pair_follows_its_own_corpus(styled: Path) -> None:
    assert places(styled, "en", None) > 0.9
    assert places(styled, "tr", None) < 0.1


def test_evaluation_follows_the_corpus_that_the_table_names(styled: Path, tmp_path: Path) -> None:
    def score(*options: str) -> float:
        assert main(["evaluate", "--eval_ckpt", str(styled), *toy.QUIET, *options]) == 0
        return float(
            json.loads((styled / "checkpoint-120" / "results.json").read_text())["pairs"]["ner#de"]["measures"]["f1"]
        )

    assert score() > 0.9
    files = json.loads((styled / "checkpoint-120" / "results.json").read_text())["pairs"]["ner#de"]["source"]["files"]
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({"data": {"ner#de": {"test": files, "corpus": "web"}}}))
    assert score("--config", str(other)) < 0.9
    # A corpus that the model has not learnt is as good as none.
    other.write_text(yaml.safe_dump({"data": {"ner#de": {"test": files, "corpus": "books"}}}))
    assert score("--config", str(other)) > 0.1


def test_a_style_that_the_model_has_not(styled: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", "--language", "de", "--input", str(styled / "log.jsonl"), *toy.QUIET, "--checkpoint"]
    assert main([*words, str(styled), "--style", "newz"]) == 1
    expected = "--style: the model has no style 'newz'; it has news, web. Did you mean 'news'?"
    assert expected in " ".join(capsys.readouterr().err.split())
    with pytest.raises(HyperXError, match="no style 'news'; the data that it was trained on names no corpora"):
        HyperX.from_pretrained(trained).predict(["Ada sees Berlin ."], language="de", style="news")
