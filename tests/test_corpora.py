"""Corpora have habits of annotation: they are learnt apart from languages, and prediction may follow those of one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import hyperx
import toy
from hyperx import HyperX
from hyperx.cli import main
from hyperx.errors import CheckpointError, HyperXError
from hyperx.pairs import TaskLanguagePair
from tiny import tiny_model, tiny_tokenizer


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


def test_a_pair_has_its_corpus_under_any_code_of_its_language(styled: Path) -> None:
    assert main(["evaluate", "--eval_ckpt", str(styled), *toy.QUIET, "--test_task_language_pairs", "ner#deu"]) == 0
    pair = json.loads((styled / "checkpoint-120" / "results.json").read_text())["pairs"]["ner#deu"]
    assert pair["style"] == "news"
    assert pair["measures"]["f1"] > 0.9


def test_a_style_that_cannot_be_followed(styled: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", "--language", "de", "--input", str(styled / "log.jsonl"), *toy.QUIET, "--checkpoint"]
    assert main([*words, str(styled), "--style", "newz"]) == 1
    expected = "--style: the model has no style 'newz'; it has news, web. Did you mean 'news'?"
    assert expected in " ".join(capsys.readouterr().err.split())
    model = HyperX.from_pretrained(trained)
    for style, message in (
        ("news", "no style 'news'; it has learnt no corpora apart"),
        (3, "style: expected the name"),
    ):
        with pytest.raises(HyperXError, match=message):
            hyperx.predict(["Ada sees Berlin ."], language="de", model=model, style=style)
    both = tiny_model(corpora={"ner#en": "news", "pos#tr": "web"})
    with pytest.raises(HyperXError, match="the model has no style 'newz'"):
        both.adapters([TaskLanguagePair("ner", "en")], style="newz")
    both.tokenizer = tiny_tokenizer()
    with pytest.raises(HyperXError, match="web is a style of pos; ner cannot follow it"):
        both.predict([["a", "b"]], task="ner", language="en", style="web")
    assert both.predict([["a", "b"]], language="en", style="web")


def test_a_corpus_that_has_no_effect_is_told(
    styled: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = {"ner#en": {"train": "a.tsv", "corpus": "news"}, "ner#de": {"test": "b.tsv", "corpus": "newz"}}
    for name in ("a.tsv", "b.tsv"):
        toy.write_ner(tmp_path / name, toy.sentences("en", 4, 1))
    options = {"data_folder": str(tmp_path), "data": table, "languages": ["en", "de"]}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(options | {"train_task_language_pairs": ["ner#en"]}))
    words = ["check", "--config", str(tmp_path / "run.yaml")]
    assert main(words) == 0
    assert "ner#de: no training pair has the corpus 'newz', so its style cannot be followed. Did you" in caplog.text
    assert main([*words, "--adapters", "task"]) == 0
    assert "corpus has no effect: only a hypernetwork learns corpora apart" in caplog.text
    assert main([*words, *toy.SHAPE, "--load_from_ckpt", str(styled)]) == 0
    del table["ner#en"]["corpus"], table["ner#de"]["corpus"]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(options | {"train_task_language_pairs": ["ner#en"]}))
    capsys.readouterr()
    assert main([*words, *toy.SHAPE, "--load_from_ckpt", str(styled), "--languages", "en", "de"]) == 1
    expected = "corpora in the data table: the checkpoint has news, web; found none. Here name one of them"
    assert expected in " ".join(capsys.readouterr().err.split())


def test_corpora_of_a_damaged_configuration_are_refused(styled: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(styled / "checkpoint-120", tmp_path / "copy")
    value = json.loads((folder / "hyperx.json").read_text())
    (folder / "hyperx.json").write_text(json.dumps(value | {"corpora": {"ner#fr": "news"}}))
    with pytest.raises(CheckpointError, match="corpora: ner#fr: not among trained_pairs"):
        HyperX.from_pretrained(folder)
