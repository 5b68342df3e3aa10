"""Related languages weigh more in what a language without training data reads."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import toy
from hyperx import HyperX, typology
from hyperx.cli import main
from hyperx.evaluation.kinship import language_map, similar_adapters
from hyperx.method.source import SourceEmbedding
from hyperx.pairs import TaskLanguagePair
from tiny import tiny_model


@pytest.fixture
def features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files like those of lang2vec: German is of the family of English, Turkish of another one and type."""
    for name, rows in {
        "family_features": {"tur": [0, 0, 1], "deu": [1, 1, 0], "eng": [1, 1, 0]},
        "feature_predictions": {"deu": [1, 0, 1, 0], "eng": [1, 0, 0, 0], "tur": [0, 1, 0, 1]},
    }.items():
        data = np.array(list(rows.values()), dtype=np.float32)[:, :, None]
        np.savez(tmp_path / f"{name}.npz", data=data, langs=np.array(list(rows)))
    monkeypatch.setattr(typology, "data_folder", lambda: tmp_path)
    return tmp_path


@pytest.mark.usefixtures("features")
def test_languages_of_a_family_and_a_type_are_similar() -> None:
    found = typology.similarities(["en", "de", "tr", "fi"])
    assert found == pytest.approx(found.T)
    assert found.diagonal()[:3] == pytest.approx(2)
    assert found[0, 1] > 1 > 0 > found[0, 2]
    assert not found[3].any()
    assert typology.without_features(["en", "fi"]) == ["fi"]


def test_the_data_of_lang2vec_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if typology.data_folder() is None:
        pytest.skip("the extra typology (lang2vec) is not installed")
    (tmp_path / "lang2vec.py").touch()  # as beside installed programs
    monkeypatch.syspath_prepend(tmp_path)
    languages = ["pl", "cs", "zh", "yue", "nb", "ar", "tl"]
    found = typology.similarities(languages)
    assert found[0].argsort()[::-1][1] == 1
    assert found[3].argsort()[::-1][1] == 2


def test_in_training_a_language_is_no_relative_of_its_own() -> None:
    torch.manual_seed(0)
    sizes = {"layers": 0, "task_dim": 2, "language_dim": 4, "layer_dim": 0}
    source = SourceEmbedding(learnt=[[True] * 3, [True, False, False]], dropout=1.0, relatives=2.0, **sizes)
    source.similarity.copy_(torch.tensor([[2.0, 1.0, 0.0], [1.0, 2.0, -1.0], [0.0, -1.0, 2.0]]))
    read = source(torch.tensor([0, 1, 0]), torch.tensor([0, 0, -1]))[:, 0, 2:]
    e = source.language
    weights = torch.tensor([2.0, 0.0]).exp() / torch.tensor([2.0, 0.0]).exp().sum()
    torch.testing.assert_close(read[0], weights @ e[1:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(read[1], e[0])  # it is alone
    torch.testing.assert_close(read[2], e.mean(dim=0))  # of no known language
    assert source.similarity.grad is None


@pytest.fixture
def run(features: Path, isolated: Path, base: list[str], train_once: Callable[..., Path]) -> Path:
    """Trained on tags of English and Turkish, to read German too."""
    assert isolated.is_dir()
    for language in ("en", "tr"):
        toy.write_pos(features / "data" / "pos" / language / "train.conllu", toy.sentences(language, 20, 1))
    options = "--relatives 4 --language_dropout 0.3 --max_train_steps 2 --evaluation_strategy no --languages en tr de"
    pairs = ["--train_task_language_pairs", "pos#en", "pos#tr", "--data_folder", str(features / "data")]
    return train_once(*base, *options.split(), *pairs)


def test_a_new_language_reads_its_relatives(
    features: Path, isolated: Path, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typology, "data_folder", lambda: None)  # it is not needed any more
    capsys.readouterr()
    source = HyperX.from_pretrained(run).hypernetwork.source
    read = source.language_vectors(torch.tensor([0]), torch.tensor([2]))[0]
    weights = (4 * source.similarity[2, :2]).softmax(dim=0)
    assert weights[0] > 0.99
    torch.testing.assert_close(read, weights @ source.language[:2])
    model = HyperX.from_pretrained(run)
    assert not model.adapters([TaskLanguagePair("pos", "de")]).up.isnan().any()
    assert model.reads("pos#en") == {"en": 1.0}
    assert model.reads("pos#de") == pytest.approx({"en": float(weights[0]), "tr": float(weights[1])})
    words = ["--checkpoint", str(run), "--no_cuda", "--output_format", "jsonl", "--confidence"]
    (isolated / "text").write_text("cat sees dog")
    answers = []
    for more in (["de"], ["ga"], ["de", "--like", "tr"], ["tr"]):
        assert main(["predict", *words, "--input", "text", "--language", *more]) == 0
        answers.append(capsys.readouterr())
    assert "no training pair had de: it reads a mean, the greatest shares for pos: en 100%, tr 0%" in answers[0].err
    assert "ga is new to the model: it reads the mean of the trained languages; those like it would" in answers[1].err
    assert answers[2].out == answers[3].out != answers[0].out
    assert main(["languages", "german", "ga", "--checkpoint", str(run)]) == 0
    assert re.search(r"de +│ German +│ +│ +│ pos: en 100%, tr 0%", capsys.readouterr().out)
    assert main(["languages", "--checkpoint", str(run)]) == 0
    assert re.search(r"en +│ English +│ pos 20 +│", capsys.readouterr().out)
    assert main(["languages", "nothing", "--checkpoint", str(run)]) == 1
    assert f"no language of {run} is called nothing" in " ".join(capsys.readouterr().err.split())
    monkeypatch.setattr(typology, "data_folder", lambda: features)
    alone, (first, second) = model.reads("pos#fi"), model.reads("pos#deu").values()
    assert alone == pytest.approx({"en": 0.5, "tr": 0.5})  # of which nothing is known
    assert first > second


def test_a_language_that_the_model_does_not_have_reads_its_relatives(features: Path) -> None:
    model = tiny_model(options={"relatives": 4.0}, trained_pairs=("ner#en", "ner#tr"), languages=("en", "tr"))
    assert features.is_dir()
    similarity = torch.from_numpy(typology.similarities(["de", "en", "tr"])[0, 1:])
    weights = (4 * similarity).softmax(dim=0)
    assert model.reads("ner#de") == pytest.approx({"en": float(weights[0]), "tr": float(weights[1])})
    ours, theirs = (model.adapters([TaskLanguagePair("ner", "de")]), model.adapters([TaskLanguagePair("ner", "en")]))
    source = model.hypernetwork.source
    source.language.data[0] = weights @ source.language
    torch.testing.assert_close(model.adapters([TaskLanguagePair("ner", "en")]).up, ours.up)
    assert not ours.up.allclose(theirs.up)


def test_without_the_package_it_is_told_before_training(
    base: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typology, "data_folder", lambda: None)
    assert main(["check", *base, "--relatives", "4"]) == 1
    assert '--relatives: needs the package lang2vec: pip install "hyperx-nlp[typology]"' in capsys.readouterr().err


def test_like_adapters_are_near_on_the_map() -> None:
    languages = ("de", "en", "fi", "mt", "tr")
    model = tiny_model(languages=languages, trained_pairs=tuple(f"ner#{code}" for code in languages if code != "fi"))
    with torch.no_grad():  # far apart, and yet the same to the generators: what differs is mapped to nothing
        table, first = model.hypernetwork.source.language, model.hypernetwork.projector[0]
        start = model.hypernetwork.source.task.shape[1]
        first.weight[:, start : start + 2] = 0
        table[0] = table[1]
        table[0, :2] += 100
    compared, similarity = similar_adapters(model, "ner")
    assert compared == ["de", "en", "mt", "tr"]
    assert similarity[0, 1] == pytest.approx(1)
    with torch.inference_mode():
        down = model.adapters([TaskLanguagePair("ner", code) for code in compared]).down
    spread = (down - down.mean(dim=0)).flatten(1)
    assert similarity[1].argsort().tolist() == torch.cosine_similarity(spread[1], spread).argsort().tolist()
    places = language_map(similarity)
    assert places[0] == pytest.approx(places[1].tolist(), abs=1e-5)


def test_the_map_has_the_distances_of_what_lies_in_a_plane() -> None:
    angles = torch.arange(5.0)
    units = torch.stack([angles.cos(), angles.sin()], dim=1)
    places = language_map(units @ units.T)
    torch.testing.assert_close(torch.cdist(places, places), torch.cdist(units, units).double(), atol=1e-5, rtol=1e-5)


def test_the_map_is_drawn(
    run: Path, isolated: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["languages", "--checkpoint", str(run), "--plot"]
    for name in ("map.svg", "map.png"):
        assert main([*command, name]) == 0
        assert re.search(r"en +│ English +│ pos 20 +│ tr -1\.00", capsys.readouterr().out)
    assert "<svg" in (isolated / "map.svg").read_text()
    assert (isolated / "map.png").read_bytes().startswith(b"\x89PNG")
    for options, told in {
        ("map.pdf",): "--plot: expected a file .png or .svg",
        ("none/map.svg",): "No such file",
        ("map.svg", "--task", "mlm"): "the model has no task mlm; it has pos",
    }.items():
        assert main([*command, *options]) == 1
        assert told in " ".join(capsys.readouterr().err.split())
    assert main(["languages", "--plot", "map.svg"]) == 1
    assert "they are of the languages of a --checkpoint" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main([*command, "map.svg"]) == 1
    assert 'pip install "hyperx-nlp[plots]"' in " ".join(capsys.readouterr().err.split())
