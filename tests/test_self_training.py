"""Self-training: which sentences of raw text are learnt, with which labels, and what becomes of such a pair."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import toy
from hyperx import HyperX, checkpoint
from hyperx.cli import main
from hyperx.config import EvaluateConfig
from hyperx.data.batch.store import EncodedSplit
from hyperx.evaluation.scoring import evaluate_checkpoint
from hyperx.pairs import TaskLanguagePair, group_of
from hyperx.prediction.predictor import Predictor
from hyperx.training.loop import TrainingRun

pytestmark = pytest.mark.usefixtures("isolated")

SHORT = ["--max_train_steps", "2", "--learning_rate", "1e-4", "--evaluation_strategy", "no"]
PAIRS = ["--self_train_task_language_pairs", "ner#de", "pos#de"]


def raw_sentences() -> list[str]:
    return [" ".join(word for word, *_ in words) for words in toy.sentences("de", 40, 7)]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw text in a language without data: 40 sentences, and two of its test data, which nobody may train on."""
    path = tmp_path_factory.mktemp("text") / "de.txt"
    test = [" ".join(word for word, *_ in words) for words in toy.sentences("de", 30, 2)[:2]]
    path.write_text("\n".join([*test, *raw_sentences()]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def go(base: list[str], text: Path, tmp_path: Path) -> Callable[..., int]:
    """Train with the shared options, and a table that says where the text is."""
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump({"data": {"mlm#de": str(text)}}), encoding="utf-8")
    words = ["train", "--config", str(config), *base, *SHORT]
    return lambda folder, *options: main([*words, "--output_dir", str(folder), *options])


def splits_of(patch: pytest.MonkeyPatch) -> dict[str, EncodedSplit]:
    """What the next runs train on, by pair."""
    found: dict[str, EncodedSplit] = {}
    start = TrainingRun.__init__

    def kept(self: TrainingRun, *given: Any) -> None:
        start(self, *given)
        found.update(zip(map(str, self.data.plan.trained_pairs), self.data.train_splits, strict=True))

    patch.setattr(TrainingRun, "__init__", kept)
    return found


def test_the_most_confident_half_is_learnt_as_the_teacher_labels_it(
    go: Callable[..., int], trained: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = splits_of(monkeypatch)
    assert go("run", "--load_from_ckpt", str(trained), *PAIRS) == 0
    assert list(splits) == ["ner#en", "pos#tr", "ner#de", "pos#de"]
    teacher = HyperX.from_pretrained(trained)
    others = {
        " ".join(word for word, *_ in words)
        for count, seed in ((24, 1), (30, 2))
        for words in toy.sentences("de", count, seed)
    }
    sentences = [line for line in text.read_text(encoding="utf-8").splitlines() if line not in others]
    assert len(sentences) > 30
    for task, column in (("ner", "ner"), ("pos", "upos")):
        found = list(teacher.predict(sentences, task=task, language="de", confidences=True))
        mean = [sum(map(math.log, one.confidences[task])) / len(one.words) for one in found]
        middle = sorted(mean, reverse=True)[math.ceil(len(mean) / 2) - 1]
        wanted = [list(one.labels[task]) for one, value in zip(found, mean, strict=True) if value >= middle]
        assert [list(sentence[column]) for sentence in splits[f"{task}#de"].annotation()] == wanted


def test_words_of_labelled_files_stay_as_they_are(
    go: Callable[..., int], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["".join(f"{word}\tO\n" for word in words) for words in (["cat-dog", "sees", "Ada Lovelace"], ["a."])]
    (tmp_path / "words.tsv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"data": {"mlm#de": {"train": str(tmp_path / "words.tsv")}}}))
    splits = splits_of(monkeypatch)
    assert go("run", "--load_from_ckpt", str(trained), *PAIRS, "--self_train_share", "1") == 0
    assert [len(sentence["upos"]) for sentence in splits["pos#de"].annotation()] == [3, 1]


def test_only_the_first_sentences_are_labelled(
    go: Callable[..., int], trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = splits_of(monkeypatch)
    some = ["--self_train_samples", "5", "--self_train_share", "0.5"]
    assert go("run", "--load_from_ckpt", str(trained), *PAIRS, *some) == 0
    assert splits["ner#de"].sentence_count == 3


def test_such_a_pair_is_trained_and_still_zero_shot(go: Callable[..., int], trained: Path, tmp_path: Path) -> None:
    options = ["--load_from_ckpt", str(trained), *PAIRS, "--max_train_steps", "20", "--learning_rate", "1e-2"]
    assert go("run", *options, "--eval_task_language_pairs", "ner#en", "ner#de", "--evaluation_strategy", "steps") == 0
    last = toy.read_log(tmp_path / "run")[-1]
    assert last["dev_zero_shot"] == last["dev_new_language"] == last["dev_ner#de"]
    config = checkpoint.read_config(tmp_path / "run" / "checkpoint-20")
    assert config.trained_pairs == ("ner#en", "pos#tr", "ner#de", "pos#de")
    assert config.self_trained_pairs == ("ner#de", "pos#de")
    assert list(map(str, config.labelled_pairs)) == ["ner#en", "pos#tr"]
    # It reads its own language, no longer the mean.
    model = HyperX.from_pretrained(tmp_path / "run")
    own, other = (model.adapters([TaskLanguagePair("ner", language)]).down for language in ("de", "tr"))
    assert not torch.allclose(own, other)
    found = evaluate_checkpoint(EvaluateConfig(eval_ckpt=tmp_path / "run", disable_progress_bar=True, no_cuda=True))
    groups = {str(score.pair): group_of(score.pair, found.labelled) for score in found.scores}
    assert groups["ner#de"] == groups["pos#de"] == "new_language"
    assert groups["ner#en"] == "seen"
    # A run that starts from there keeps the two kinds apart.
    assert go("third", "--load_from_ckpt", "run", "--train_task_language_pairs", "pos#tr", "--languages", "tr", "de",
              "--tasks", "ner", "pos") == 0  # fmt: skip
    third = checkpoint.read_config(tmp_path / "third" / "checkpoint-2")
    assert third.self_trained_pairs == ("ner#de", "pos#de")


def test_what_is_labelled_once_is_kept(go: Callable[..., int], trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--load_from_ckpt", str(trained), *PAIRS, "--self_train_samples", "7"]
    assert go("run", *options) == 0
    calls: list[str] = []
    predict = Predictor.predict
    monkeypatch.setattr(Predictor, "predict", lambda *given, **more: calls.append("") or predict(*given, **more))
    splits = splits_of(monkeypatch)
    assert go("again", *options) == 0
    assert not calls
    assert splits["ner#de"].sentence_count == 4
    assert go("more", *options, "--self_train_share", "1") == 0
    assert len(calls) == 2
    assert splits["ner#de"].sentence_count == 7


def test_another_teacher_and_other_test_data_label_anew(
    go: Callable[..., int], trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(data, tmp_path / "own")
    options = ["--data_folder", "own", "--self_train_task_language_pairs", "pos#de", "--self_train_share", "1"]
    splits = splits_of(monkeypatch)

    def annotation(step: int) -> list[list[str]]:
        """What is learnt from the checkpoint of that step, whose configuration is that of the others."""
        start = ["--load_from_ckpt", str(trained / f"checkpoint-{step}"), "--overwrite_output_dir"]
        assert go("run", *start, *options) == 0
        return [list(sentence["upos"]) for sentence in splits["pos#de"].annotation()]

    last, first = annotation(60), annotation(20)
    assert len(first) == len(last) > 30
    assert first != last
    toy.write_ner(tmp_path / "own" / "ner" / "de" / "test.tsv", toy.sentences("de", 40, 7)[:5])
    assert len(annotation(60)) < len(last)


def test_two_tasks_of_one_kind_have_labels_of_their_own(
    go: Callable[..., int], text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {"one#tr": "pos/tr", "other#tr": "pos/tr", "mlm#de": str(text)}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"data": table}), encoding="utf-8")
    tasks = ["--tasks", "one=pos", "other=pos", "--train_task_language_pairs", "one#tr", "other#tr"]
    assert go("teacher", *tasks) == 0
    splits = splits_of(monkeypatch)
    pairs = ["--self_train_task_language_pairs", "one#de", "other#de", "--self_train_share", "1"]
    assert go("run", *tasks, *pairs, "--load_from_ckpt", "teacher") == 0
    one, other = (
        [list(sentence["upos"]) for sentence in splits[f"{name}#de"].annotation()] for name in ("one", "other")
    )
    assert one != other


def test_a_text_gets_one_label(
    go: Callable[..., int], text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mood.tsv").write_text("text\tlabel\ncat sees dog\tgood\nBerlin\tbad\n", encoding="utf-8")
    table = {"mood#tr": {"train": str(tmp_path / "mood.tsv")}, "mlm#de": str(text)}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"data": table}), encoding="utf-8")
    tasks = ["--tasks", "mood=cls", "--train_task_language_pairs", "mood#tr"]
    assert go("teacher", *tasks) == 0
    splits = splits_of(monkeypatch)
    pairs = ["--self_train_task_language_pairs", "mood#de", "--self_train_share", "0.5"]
    assert go("run", *tasks, *pairs, "--load_from_ckpt", "teacher") == 0
    assert splits["mood#de"].sentence_count == 21
    assert {label for one in splits["mood#de"].annotation() for label in one["label"]} <= {"good", "bad"}


def test_a_look_at_the_data_counts_the_text(
    base: list[str], go: Callable[..., int], trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(go)  # it writes the table
    assert main(["check", "--config", "run.yaml", *base, *PAIRS, "--load_from_ckpt", str(trained)]) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if "mlm#de" in line)
    assert int(row.split("│")[3]) > 30


# Problems -------------------------------------------------------------------------------------------------------------


def test_a_teacher_is_needed(error: Callable[..., str]) -> None:
    assert "name the checkpoint that labels their text with --load_from_ckpt" in error("run", *PAIRS)


def test_pairs_that_cannot_be_labelled_are_named(error: Callable[..., str], trained: Path) -> None:
    pairs = ["ner#en", "mlm#tr", "dep#tr", "ner#xxx"]
    found = error("run", "--load_from_ckpt", str(trained), "--self_train_task_language_pairs", *pairs)
    assert "ner#en is trained on its own labels already" in found
    assert "mlm#tr: mlm has no labels to give" in found
    assert f"dep#tr: {trained}" in found
    assert "has no such task; it has ner, pos" in found
    assert "pairs: 'xxx' is no language code" in found


def test_a_head_that_was_never_trained_labels_nothing(go: Callable[..., int], error: Callable[..., str]) -> None:
    assert go("teacher", "--tasks", "ner", "pos", "--train_task_language_pairs", "ner#en") == 0
    found = error("run", "--load_from_ckpt", "teacher", *PAIRS)
    assert "pos#de: teacher/checkpoint-2 never trained its head of pos; it has trained ner" in found
    assert "ner#de: teacher" not in found


def test_text_that_is_not_there_is_missed(error: Callable[..., str], trained: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"data": {"mlm#de": {"dev": "pos/de/dev.conllu"}}}))
    found = error("run", "--load_from_ckpt", str(trained), *PAIRS)
    assert "mlm#de has no train split; name raw text under 'train'" in found
    (tmp_path / "run.yaml").write_text("{}")
    assert "mlm#de" in error("run", "--load_from_ckpt", str(trained), *PAIRS)


def test_text_without_spaces_is_refused_with_its_line(error: Callable[..., str], trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "zh.txt"
    path.write_text("cat sees dog .\n\u4f60\u597d\u4e16\u754c\n", encoding="utf-8")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"data": {"mlm#de": str(path)}}))
    assert f"{path}:2: " in error("run", "--load_from_ckpt", str(trained), *PAIRS)


@pytest.mark.parametrize("share", ["0", "1.5"])
def test_a_share_is_a_share(error: Callable[..., str], share: str) -> None:
    found = error("run", *PAIRS, "--self_train_share", share, "--self_train_samples", "0")
    assert (
        f"--self_train_share: expected {'more than 0' if share == '0' else 'at most 1'}; found {float(share)}" in found
    )
    assert "--self_train_samples: expected 1 or more; found 0" in found
