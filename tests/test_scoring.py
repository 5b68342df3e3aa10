"""The evaluation of checkpoints: which pairs, on which data, and what is written."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file, save_file

import toy
from hyperx.cli import main

BRIEF = ("--max_train_steps", "1", "--output_dir", "run", "--evaluation_strategy", "no")


@pytest.fixture
def ckpt(trained: Path, isolated: Path) -> Path:
    """A copy of the trained checkpoint, in an otherwise empty working folder."""
    return Path(shutil.copytree(trained / "checkpoint-60", isolated / "ckpt"))


@pytest.fixture
def error(ckpt: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What an evaluation that is refused says."""

    def run(*options: str) -> str:
        assert evaluate(ckpt, *options) == 1
        return " ".join(capsys.readouterr().err.split())

    return run


def evaluate(folder: Path, *options: str) -> int:
    return main(["evaluate", "--eval_ckpt", str(folder), *toy.QUIET, *options])


def results(folder: Path, split: str = "") -> dict[str, float]:
    """The scores under their published names."""
    found: dict[str, float] = json.loads((folder / f"results{split}.json").read_text())
    return {name: value for name, value in found.items() if ":" in name}


def by_pair(folder: Path) -> dict[str, dict[str, Any]]:
    """All that is kept of each pair."""
    found: dict[str, dict[str, Any]] = json.loads((folder / "results.json").read_text())["pairs"]
    return found


def averages(folder: Path) -> dict[str, float]:
    """The averages over all pairs."""
    found: dict[str, float] = json.loads((folder / "results.json").read_text())["averages"]
    return found


def groups(folder: Path) -> dict[str, str]:
    """The group of each pair in the Markdown report."""
    rows = re.findall(r"^\| (\w+#[\w-]+) \| ([a-z ]+) \|", (folder / "results.md").read_text(), re.MULTILINE)
    return dict(rows)


def majority(language: str, seed: int, count: int) -> float:
    """The accuracy of calling every word by the most frequent tag."""
    tags = Counter(tag for words in toy.sentences(language, count, seed) for _, tag, _ in words)
    return tags.most_common(1)[0][1] / tags.total()


# Which pairs ----------------------------------------------------------------------------------------------------------


def test_all_pairs_of_the_model_by_default(ckpt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No option says where the data is, and the working folder has none."""
    assert evaluate(ckpt) == 0
    errors = ("ece", "uncalibrated_ece")
    measures = {"ner": ("precision", "recall", "f1", "accuracy", *errors), "pos": ("accuracy", *errors)}
    assert results(ckpt).keys() == {
        f"test_{task}:{language}_{measure}"
        for task in measures
        for language in ("en", "tr")
        for measure in measures[task]
    }
    assert groups(ckpt) == {"ner#en": "seen", "pos#tr": "seen", "ner#tr": "new pair", "pos#en": "new pair"}
    assert f"Scores by label are in {ckpt}/results.md" in capsys.readouterr().out


def test_what_was_learnt_in_one_language_holds_in_others(ckpt: Path, data: Path) -> None:
    assert evaluate(ckpt, "--test_task_language_pairs", "pos#en", "pos#de", "ner#de", "--data_folder", str(data)) == 0
    found = results(ckpt)
    assert found["test_pos:en_accuracy"] > majority("en", 2, 30) + 0.2
    assert found["test_pos:de_accuracy"] > majority("de", 2, 30) + 0.2
    assert found["test_ner:de_f1"] > 0.5


def test_a_language_that_the_model_does_not_have_is_marked(ckpt: Path, caplog: pytest.LogCaptureFixture) -> None:
    pairs = ["pos#de", "ner#eng", "pos#en-GB"]
    assert evaluate(ckpt, "--test_task_language_pairs", *pairs) == 0  # where the data was at training
    assert groups(ckpt) == {"ner#eng": "seen", "pos#en-GB": "new pair", "pos#de": "new language"}
    assert "language de is new to the model" in caplog.text
    text = (ckpt / "results.md").read_text()
    assert [line.split(" | ")[1] for line in text.splitlines() if line.startswith("| macro average")] == [
        "seen", "new pair", "new language", "zero-shot (both new)", "all"
    ]  # fmt: skip
    # The checkpoint itself does not change.
    assert json.loads((ckpt / "hyperx.json").read_text())["languages"] == ["en", "tr"]


SEVERAL = ["ner", "parse#en", "--per_device_eval_batch_size", "0"]
"""Problems that are told together."""


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (SEVERAL, "--test_task_language_pairs: parse#en: the model has no task 'parse'; it has ner, pos"),
        (SEVERAL, "a task–language pair is written task#language, such as ner#tr; found 'ner'"),
        (SEVERAL, "--per_device_eval_batch_size: expected 1 or more; found 0"),
        (["ner#en", "pos#qqq1"], "qqq1"),
        (["ner#en", "ner#eng"], "ner#eng is the same pair as ner#en"),
        (["pos#en", "--split", "train"], "--test_task_language_pairs: pos#en has no train split"),
        (["ner#en", "--max_eval_samples", "0"], "--max_eval_samples"),
        (["ner#en", "--data_folder", "dataa"], "--data_folder: there is no folder"),
    ],
)
def test_evaluations_that_cannot_be(error: Callable[..., str], pairs: list[str], expected: str) -> None:
    assert expected in error("--test_task_language_pairs", *pairs)


def test_the_hub_is_asked_only_for_what_somebody_named(
    base: list[str], isolated: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """No pair of fr, it and ca has local data. The table of training names the hub for fr, treebanks for it."""
    write_table(isolated, {"ner#fr": {"hub": {"name": "unimelb-nlp/wikiann"}}})
    options = ["--config", "table.yaml", "--treebanks", "it=it_isdt", "--languages", "en", "tr", "fr", "it", "ca"]
    assert main(["train", *base, *options, *BRIEF]) == 0
    capsys.readouterr()
    assert evaluate(Path("run")) == 1
    captured = capsys.readouterr()
    last = "hyperx evaluate: left out, as their data cannot be read (see above): ner#fr pos#it"
    assert " ".join(captured.err.split()).endswith(last)
    assert "Scores by label are in run/checkpoint-1/results.md" in captured.out
    told = [record.message for record in caplog.records if record.name == "hyperx.evaluation.scoring"]
    asked = [message.partition(" ")[0] for message in told if "is skipped, its data cannot be read" in message]
    assert asked == ["ner#fr", "pos#it"]
    hint = "Name them with --test_task_language_pairs to score them"
    unasked = "not scored, as only the hub has their data: ner#it ner#ca pos#fr pos#ca. " + hint
    assert unasked in told
    assert groups(Path("run/checkpoint-1")).keys() == {"ner#en", "pos#tr", "ner#tr", "pos#en"}
    capsys.readouterr()
    shutil.copytree("run", "again")
    for command in (
        ["report", "run", "--output", "page.html"],
        ["compare", "run", "again"],
        ["calibrate", "run", "--split", "test"],
    ):
        assert main(command) == 1
        assert " ".join(capsys.readouterr().err.split()).endswith(last.replace("evaluate", command[0]))
    assert "Scores of ner#fr: its data cannot be read." in Path("page.html").read_text(encoding="utf-8")
    assert evaluate(Path("run"), "--test_task_language_pairs", "pos#ca") == 1
    assert "universal_dependencies (ca_ancora, test): the Hugging Face hub cannot be reached" in " ".join(
        capsys.readouterr().err.split()
    )


def test_what_training_read_from_the_hub_is_scored_from_the_hub(ckpt: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As far as the checkpoint tells: there is no hub here. Pairs that training did not read are not asked for."""
    known = json.loads((ckpt / "data.json").read_text())
    hub = {"hub": {"name": "unimelb-nlp/wikiann", "configurations": ["en"], "revision": None, "columns": {}}}
    for data in known["data"]:
        if data["pair"] in ("ner#en", "ner#tr"):
            data["splits"] = dict.fromkeys(("train", "dev", "test"), hub)
    toy.write_record(ckpt / "data.json", known)
    assert evaluate(ckpt) == 1
    assert "ner#en is skipped, its data cannot be read" in caplog.text
    assert "ner#tr is skipped" not in caplog.text
    assert "only the hub has their data: ner#tr." in caplog.text


# Scores ---------------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_training(ckpt: Path, trained: Path) -> None:
    assert evaluate(ckpt, "--split", "dev") == 0
    logged = toy.read_log(trained)[-1]
    assert results(ckpt, "_dev")["dev_ner:en_f1"] == logged["dev_ner#en"]
    assert results(ckpt, "_dev")["dev_pos:tr_accuracy"] == logged["dev_pos#tr"]
    assert (ckpt / "results_dev.md").read_text().startswith("# Results on the dev split")
    assert not (ckpt / "results.json").exists()


def test_scores_that_cannot_be_written_are_shown(
    ckpt: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (ckpt / "results.json").mkdir()
    assert evaluate(ckpt, "--test_task_language_pairs", "pos#en", "--max_eval_samples", "5") == 0
    shown = capsys.readouterr().out
    assert "pos#en" in shown
    assert "Scores by label" not in shown
    assert f"the results cannot be written into {ckpt}" in caplog.text


def test_sentences_longer_than_a_window_are_scored_whole(base: list[str], isolated: Path) -> None:
    words = [word for sentence in toy.sentences("tr", 30, 9) for word in sentence]
    toy.write_pos(isolated / "own" / "pos" / "tr" / "train.conllu", [words, words[:5]])
    toy.write_pos(isolated / "own" / "pos" / "tr" / "test.conllu", [words, words[:5], words[3:90]])
    options = ["--train_task_language_pairs", "pos#tr", "--data_folder", "own", "--max_length", "16"]
    assert main(["train", *base, *options, "--max_train_steps", "1", "--output_dir", "run"]) == 0
    found = []
    for size in ("1", "32"):
        assert evaluate(isolated / "run", "--per_device_eval_batch_size", size) == 0
        found.append((isolated / "run" / "checkpoint-1" / "results.md").read_text())
    assert found[0] == found[1]
    support = re.findall(r"^\| pos#tr \| [A-Z_]+ \|.* (\d+) \|$", found[0], re.MULTILINE)
    assert sum(map(int, support)) == len(words) + 5 + 87
    assert "| pos#tr | seen | 3 |" in found[0]


def test_entity_types_that_the_model_does_not_know_count_as_missed(
    ckpt: Path, isolated: Path, caplog: pytest.LogCaptureFixture
) -> None:
    strange = [[("cat", "NOUN", f"B-{name}")] for name in ("ANIMAL", *(f"T{number:02}" for number in range(14)))]
    sentences = [*strange, *toy.sentences("en", 5, 3)]
    toy.write_ner(isolated / "own" / "ner" / "en" / "test.tsv", sentences)
    assert evaluate(ckpt, "--test_task_language_pairs", "ner#en", "--data_folder", "own") == 0
    known = ", ".join(["B-ANIMAL", *(f"B-T{number:02}" for number in range(9))])
    assert (
        f"ner#en: the labels {known} and 5 more of its test data are unknown to the model and count as errors"
        in caplog.text
    )
    assert "| ner#en | ANIMAL | 0.0 | 0.0 | 0.0 | 1 |" in (ckpt / "results.md").read_text()


# Checkpoints, encoders and data that are elsewhere --------------------------------------------------------------------


def test_the_output_folder_stands_for_its_best_checkpoint(trained: Path, isolated: Path) -> None:
    run = Path(shutil.copytree(trained, isolated / "run"))
    best = json.loads((run / "best.json").read_text()) | {"checkpoint": "checkpoint-40"}
    (run / "best.json").write_text(json.dumps(best))
    assert evaluate(run, "--max_eval_samples", "2") == 0
    assert (run / "checkpoint-40" / "results.json").is_file()
    assert not (run / "checkpoint-60" / "results.json").exists()


def test_another_encoder_is_refused(error: Callable[..., str], isolated: Path) -> None:
    other = toy.write_encoder(isolated / "other", seed=1)
    message = error("--model_name_or_path", str(other))
    assert "was trained on the encoder" in message
    assert "name the same encoder with --model_name_or_path" in message


def test_the_encoder_may_have_moved(ckpt: Path, encoder: Path, isolated: Path) -> None:
    settings = json.loads((ckpt / "hyperx.json").read_text())
    (ckpt / "hyperx.json").write_text(json.dumps(settings | {"encoder": str(isolated / "gone")}))
    assert evaluate(ckpt, "--max_eval_samples", "2") == 1
    copy = shutil.copytree(encoder, isolated / "copy")
    assert evaluate(ckpt, "--max_eval_samples", "2", "--model_name_or_path", str(copy)) == 0


def test_an_encoder_named_by_a_relative_path_is_found_from_elsewhere(
    base: list[str], encoder: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(encoder, isolated / "here")
    assert main(["train", *base, "--model_name_or_path", "here", *BRIEF]) == 0
    (isolated / "elsewhere").mkdir()
    monkeypatch.chdir(isolated / "elsewhere")
    assert evaluate(Path("../run"), "--max_eval_samples", "2") == 0


def test_data_that_has_moved_is_named_and_may_be_shown(
    base: list[str], data: Path, isolated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(data, isolated / "before")
    assert main(["train", *base, "--data_folder", "before", *BRIEF]) == 0
    (isolated / "before").rename(isolated / "after")
    run = isolated / "run"
    capsys.readouterr()
    assert evaluate(run, "--test_task_language_pairs", "pos#tr") == 1
    message = " ".join(capsys.readouterr().err.split())
    assert f"{isolated}/before/pos/tr/test.conllu: cannot be read" in message
    assert "was it moved?" in message
    assert evaluate(run) == 1
    assert "no pair of the model has data in the test split; name --data_folder" in capsys.readouterr().err
    assert evaluate(run, "--data_folder", "after") == 0
    assert len(groups(run / "checkpoint-1")) == 4


def test_another_treebank_may_be_named(ckpt: Path, error: Callable[..., str]) -> None:
    """The choice goes before the folder of the training data; there is no hub here."""
    chosen = ["--test_task_language_pairs", "pos#tr", "--treebanks", "tur=tr_pud"]
    assert "commul/universal_dependencies (tr_pud, test)" in error(*chosen)
    assert "tr has no treebank 'tr_pdu'" in error("--treebanks", "tr=tr_pdu", "--test_task_language_pairs", "pos#tr")
    assert evaluate(ckpt, "--test_task_language_pairs", "pos#tr", "--treebanks", "de=de_pud") == 0


def test_another_treebank_takes_the_place_of_that_of_training(ckpt: Path, error: Callable[..., str]) -> None:
    known = json.loads((ckpt / "data.json").read_text())
    (ckpt / "data.json").write_text(
        json.dumps(known | {"spec": known["spec"] | {"treebanks": ["tr=tr_imst", "de=de_gsd"]}})
    )
    chosen = ["--test_task_language_pairs", "pos#tr", "--treebanks", "tur=tr_pud"]
    assert "commul/universal_dependencies (tr_pud, test)" in error(*chosen)


def write_moods(folder: Path) -> None:
    """Labelled texts of a task of one's own."""
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        (folder / f"{split}.tsv").write_text("text\tlabel\na cat\tyes\na dog\tno\n")


def write_table(folder: Path, table: dict[str, Any]) -> None:
    """A file of options with a table of data."""
    (folder / "table.yaml").write_text(yaml.safe_dump({"data": table}))


@pytest.fixture
def tabled(base: list[str], data: Path, isolated: Path) -> Path:
    """A run whose table names the data of pos#en and ner#en, in files elsewhere."""
    write_table(
        isolated,
        {"ner#en": str(data / "ner" / "en"), "pos#en": {"test": str(data / "pos" / "en" / "test.conllu")}},
    )
    assert main(["train", *base, *BRIEF, "--config", "table.yaml"]) == 0
    return isolated / "run" / "checkpoint-1"


def test_treebanks_come_before_the_table_of_training(
    tabled: Path, isolated: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert evaluate(tabled, "--treebanks", "eng=en_pud") == 1
    assert "commul/universal_dependencies (en_pud, test)" in " ".join(capsys.readouterr().err.split())
    file = isolated / "new" / "UD_English-PUD" / "en_pud-ud-test.conllu"
    toy.write_pos(file, toy.sentences("en", 4, 8))
    assert evaluate(tabled, "--treebanks", "eng=en_pud", "--data_folder", "new") == 0
    assert by_pair(tabled)["pos#en"]["source"] == {"files": [str(file)]}
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "pos#en" in line]
    assert "UD_English-PUD/en_pud-ud-test.conllu" in row
    # Entities are in no treebank.
    assert by_pair(tabled)["ner#en"]["sentences"] == 30
    assert evaluate(tabled, "--treebanks", "eng=en_pud", "--test_task_language_pairs", "ner#en") == 0
    assert "--treebanks: eng=en_pud is of no pair to evaluate; it is not read" in caplog.text


def test_one_command_names_data_of_a_pair_once(
    base: list[str], tabled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--config", "table.yaml", "--treebanks", "en=en_pud"]
    for words in (["train", *base, *BRIEF], ["check", *base], ["evaluate", "--eval_ckpt", str(tabled)]):
        capsys.readouterr()
        assert main([*words, *options]) == 1
        message = " ".join(capsys.readouterr().err.split())
        assert "--treebanks: en=en_pud names data of pos#en, and so does the data table; keep one of them" in message
        assert "names data of ner#en" not in message


def test_a_table_comes_before_the_treebanks_of_training(base: list[str], data: Path, isolated: Path) -> None:
    assert main(["train", *base, *BRIEF, "--treebanks", "en=en_pud"]) == 0
    write_table(isolated, {"pos#eng": {"test": str(data / "pos" / "en" / "dev.conllu")}})
    assert evaluate(Path("run"), "--config", "table.yaml") == 0
    assert by_pair(Path("run/checkpoint-1"))["pos#en"]["sentences"] == 24


def test_the_folder_named_comes_before_the_table_of_training(tabled: Path, isolated: Path) -> None:
    """Entries whose data lies elsewhere are kept only for pairs that the folder does not have."""
    toy.write_pos(isolated / "new" / "pos" / "en" / "test.conllu", toy.sentences("en", 4, 8))
    assert evaluate(tabled, "--data_folder", "new", "--test_task_language_pairs", "pos#en", "ner#en") == 0
    assert {pair: own["sentences"] for pair, own in by_pair(tabled).items()} == {"pos#en": 4, "ner#en": 30}


def test_the_table_of_training_holds_in_a_folder_laid_out_alike(base: list[str], data: Path, isolated: Path) -> None:
    for folder, count in {"own": 30, "new": 5}.items():
        toy.write_pos(isolated / folder / "mine" / "test.conllu", toy.sentences("en", count, 8))
        toy.write_pos(isolated / folder / "pos" / "en" / "test.conllu", toy.sentences("en", 9, 8))
        shutil.copytree(data / "ner", isolated / folder / "ner")
    write_table(isolated, {"pos#en": "mine"})
    options = ["--tasks", "ner", "pos", "--data_folder", "own", "--config", "table.yaml"]
    shutil.copytree(data / "pos" / "tr", isolated / "own" / "pos" / "tr")
    assert main(["train", *base, *options, *BRIEF]) == 0
    assert evaluate(Path("run"), "--data_folder", "new", "--test_task_language_pairs", "pos#en") == 0
    assert by_pair(Path("run/checkpoint-1"))["pos#en"]["sentences"] == 5


def test_a_pair_that_the_folder_named_lacks_is_not_fetched(ckpt: Path, error: Callable[..., str]) -> None:
    (ckpt.parent / "empty").mkdir()
    message = error("--data_folder", "empty", "--test_task_language_pairs", "ner#en")
    assert "ner#en: there is none of its data in --data_folder empty" in message


def test_a_pair_of_a_new_language_may_be_named_by_its_data_alone(
    ckpt: Path, data: Path, isolated: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {"test": str(data / "pos" / "de" / "test.conllu")}
    write_table(isolated, {"pos#de": files, "cls#de": {"test": "none.tsv"}})
    assert evaluate(ckpt, "--config", "table.yaml") == 0
    assert groups(ckpt)["pos#de"] == "new language"
    assert "data table: cls#de is not among the pairs to evaluate; it is not read" in caplog.text


def test_data_that_came_after_training_is_found(base: list[str], data: Path, isolated: Path) -> None:
    shutil.copytree(data / "ner", isolated / "own" / "ner")
    write_moods(isolated / "own" / "mood" / "en")
    pairs = ["--train_task_language_pairs", "ner#en", "mood#en", "--languages", "en", "tr"]
    assert main(["train", *base, "--tasks", "ner", "mood=cls", *pairs, *BRIEF, "--data_folder", "own"]) == 0
    write_moods(isolated / "own" / "mood" / "tr")
    for place in ([], ["--data_folder", "own"]):
        assert evaluate(isolated / "run", *place) == 0
        assert groups(isolated / "run" / "checkpoint-1").keys() == {"ner#en", "ner#tr", "mood#en", "mood#tr"}


def test_pairs_without_data_in_the_folder_named_are_left_out(
    base: list[str], isolated: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_moods(isolated / "own" / "mood" / "en")
    pairs = ["--train_task_language_pairs", "mood#en", "--languages", "en", "tr"]
    assert main(["train", *base, "--tasks", "mood=cls", *pairs, *BRIEF, "--data_folder", "own"]) == 0
    write_moods(isolated / "other" / "mood" / "tr")
    write_moods(isolated / "other" / "en")
    assert evaluate(isolated / "run", "--data_folder", "other") == 0
    assert "not scored: mood#en: expected its data in " in caplog.text
    assert groups(isolated / "run" / "checkpoint-1").keys() == {"mood#tr"}
    assert "mood#en is skipped: it had data at training time, but none was found now" in caplog.text


def test_a_table_whose_data_is_missing_is_refused_though_no_pair_is_named(
    ckpt: Path, isolated: Path, error: Callable[..., str]
) -> None:
    (isolated / "eval.yaml").write_text("data:\n  ner#tr:\n    test: gone.tsv\n")
    assert "data table, ner#tr, test: expected a file, found none" in error("--config", "eval.yaml")
    assert not (ckpt / "results.json").exists()


def test_repeats_are_those_of_the_data_that_was_trained_on(ckpt: Path, data: Path, isolated: Path) -> None:
    """Whatever stands beside the sentences that are scored."""
    shutil.copytree(data / "ner", isolated / "own" / "ner")
    train = isolated / "own" / "ner" / "en" / "train.tsv"
    shutil.copy(train, train.with_name("test.tsv"))
    toy.write_ner(train, toy.sentences("en", 3, 77))
    assert evaluate(ckpt, "--data_folder", "own", "--test_task_language_pairs", "ner#en") == 0
    text = (ckpt / "results.md").read_text()
    count = len(toy.sentences("en", 96, 0))
    assert f"| ner#en | seen | {count} | f1 |" in text
    header, row = (
        next(line for line in text.splitlines() if line.startswith(start)) for start in ("| pair", "| ner#en")
    )
    found = dict(zip(header.split(" | "), row.split(" | "), strict=True))
    assert found["in train"] == str(count)


def test_no_repeats_are_told_of_the_training_split_and_of_pairs_that_were_not_trained_on(
    base: list[str], data: Path, isolated: Path
) -> None:
    shutil.copytree(data, isolated / "own")
    pos = isolated / "own" / "pos" / "en"
    shutil.copy(pos / "test.conllu", pos / "train.conllu")
    assert main(["train", *base, "--data_folder", "own", *BRIEF]) == 0
    for split, pair in {"test": "pos#en", "train": "ner#en"}.items():
        assert evaluate(Path("run"), "--split", split, "--test_task_language_pairs", pair) == 0
    for name, start in {"results.md": "| pos#en | new pair |", "results_train.md": "| ner#en | seen |"}.items():
        text = (isolated / "run" / "checkpoint-1" / name).read_text()
        assert start in text
        assert "in train" not in text


# What is kept ---------------------------------------------------------------------------------------------------------


def test_results_accumulate_by_pair(ckpt: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(ckpt) == 0
    before = by_pair(ckpt)
    capsys.readouterr()
    assert evaluate(ckpt, "--test_task_language_pairs", "pos#eng", "pos#de", "--max_eval_samples", "7") == 0
    shown = capsys.readouterr().out
    assert "ner#en" not in shown
    assert f"Scores by label are in {ckpt}/results.md, with the scores of 3 other pairs from before" in shown
    after = by_pair(ckpt)
    assert after.keys() == {"ner#en", "pos#tr", "ner#tr", "pos#eng", "pos#de"}
    assert all(after[pair] == before[pair] for pair in ("ner#en", "pos#tr", "ner#tr"))
    assert (after["pos#eng"]["sentences"], after["pos#eng"]["max_eval_samples"]) == (7, 7)
    file = data / "pos" / "de" / "test.conllu"
    assert after["pos#de"]["source"] == {"files": [str(file)]}
    assert sum(own["support"] for own in after["pos#de"]["labels"].values()) == sum(
        map(len, toy.sentences("de", 30, 2)[:7])
    )
    assert results(ckpt)["test_pos:de_accuracy"] == after["pos#de"]["measures"]["accuracy"]
    # The averages and the tables are of all pairs.
    values = [own["measures"]["f1" if pair.startswith("ner") else "accuracy"] for pair, own in after.items()]
    assert averages(ckpt)["all"] == pytest.approx(sum(values) / 5)
    assert averages(ckpt)["new_language"] == after["pos#de"]["measures"]["accuracy"]
    assert groups(ckpt) == {
        "ner#en": "seen", "pos#tr": "seen", "ner#tr": "new pair", "pos#eng": "new pair", "pos#de": "new language"
    }  # fmt: skip
    overview = (ckpt / "results.md").read_text().partition("## By label")[0]
    header, *rows = [line.split(" | ") for line in overview.splitlines() if line.startswith("| ")]
    limits = {row[0]: row[header.index("at most")] for row in rows}
    assert (limits["| pos#de"], limits["| ner#en"]) == ("7", "")


def test_results_may_go_elsewhere(ckpt: Path, isolated: Path, error: Callable[..., str]) -> None:
    pair = ["--test_task_language_pairs", "pos#en", "--max_eval_samples", "5"]
    assert evaluate(ckpt, *pair, "--output", "new/folder") == 0
    assert by_pair(isolated / "new" / "folder").keys() == {"pos#en"}
    assert (isolated / "new" / "folder" / "results.md").is_file()
    assert not (ckpt / "results.json").exists()
    (isolated / "file").touch()
    assert "/file cannot hold files: Not a directory; name another folder" in error(*pair, "--output", "file")
    assert "--output: /proc cannot hold files: " in error(*pair, "--output", "/proc/new")


def test_results_of_two_models_are_not_mixed(
    ckpt: Path, trained: Path, error: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    pair = ["--test_task_language_pairs", "pos#en", "--max_eval_samples", "5"]
    assert evaluate(trained / "checkpoint-40", *pair, "--output", "kept") == 0
    message = error(*pair, "--output", "kept")
    assert "--output: kept/results.json has results of another checkpoint; name a folder for each checkpoint" in message
    # In the checkpoint itself they can only be a copy.
    shutil.copy("kept/results.json", ckpt)
    assert evaluate(ckpt, "--test_task_language_pairs", "ner#en", "--max_eval_samples", "5") == 0
    assert by_pair(ckpt).keys() == {"ner#en"}
    assert "results.json is set aside as results.json.old-1: it is of another checkpoint" in caplog.text


@pytest.mark.parametrize("text", ['{"test_ner:de_f1": 0.7}', '{"pairs": {"pos#en"', "\udcff", "[1]", "17", None])
def test_results_that_cannot_be_read_are_set_aside(
    ckpt: Path, caplog: pytest.LogCaptureFixture, text: str | None
) -> None:
    pair = ["--max_eval_samples", "5", "--test_task_language_pairs"]
    if text is None:
        assert evaluate(ckpt, *pair, "pos#tr") == 0
        text = (ckpt / "results.json").read_text().replace('"precision": ', '"precision": "x", "recall": ', 1)
    (ckpt / "results.json").write_bytes(text.encode(errors="surrogateescape"))
    (ckpt / "results.md").write_text("# Before")
    assert evaluate(ckpt, *pair, "pos#en") == 0
    assert by_pair(ckpt).keys() == {"pos#en"}
    assert (ckpt / "results.json.old-1").read_bytes() == text.encode(errors="surrogateescape")
    assert (ckpt / "results.md.old-1").read_text() == "# Before"
    assert "results.json is set aside as results.json.old-1: it is damaged or of an earlier version" in caplog.text


# Scores that mean nothing ---------------------------------------------------------------------------------------------


@pytest.fixture
def untrained(base: list[str], isolated: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A run whose task pos has no training pair."""
    pairs = ["--tasks", "ner", "pos", "--train_task_language_pairs", "ner#en", "--languages", "en", "tr"]
    assert main(["train", *base, *pairs, "--eval_task_language_pairs", "ner#en", "pos#en", *SHORT]) == 0
    assert "Not trained, as no training pair has the task: pos" in capsys.readouterr().out
    return isolated / "run"


SHORT = ("--max_train_steps", "1", "--eval_steps", "1", "--output_dir", "run")


def test_an_untrained_task_is_scored_only_if_named_and_averaged_never(
    untrained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = [record.message for record in caplog.get_records("setup")]
    assert "no training pair has the task pos: its head stays untrained, and is used only if named" in told
    assert "pos#en: the head of pos is not trained; its dev scores enter no average" in told
    logged = toy.read_log(untrained)[-1]
    assert logged["dev_all"] == logged["dev_seen"] == logged["dev_ner#en"]
    assert logged["dev_pos#en"] > 0
    assert evaluate(untrained) == 0
    folder = untrained / "checkpoint-1"
    assert by_pair(folder).keys() == {"ner#en", "ner#tr"}
    assert "not scored, as no training pair had their task: pos#en pos#tr. Name them with" in caplog.text
    assert "is skipped" not in caplog.text
    known = averages(folder)
    assert evaluate(untrained, "--test_task_language_pairs", "pos#tr") == 0
    assert groups(folder)["pos#tr"] == "untrained"
    assert by_pair(folder)["pos#tr"]["group"] == "untrained"
    assert averages(folder) == known


@pytest.mark.usefixtures("isolated")
def test_an_untrained_task_cannot_choose_the_best_checkpoint(
    base: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = ["--tasks", "ner", "pos", "--train_task_language_pairs", "ner#en", "--languages", "en", "tr"]
    pairs += ["--eval_task_language_pairs", "ner#en", "pos#en", "--best_by", "new_pair"]
    assert main(["train", *base, *pairs, *SHORT]) == 1
    assert "--best_by: no evaluation pair is of the group new_pair" in " ".join(capsys.readouterr().err.split())


def test_gold_without_entities_has_no_score(
    base: list[str], data: Path, isolated: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in training nor in evaluation, and it enters no average."""
    shutil.copytree(data, isolated / "own")
    plain = [[(word, tag, "O") for word, tag, _ in words] for words in toy.sentences("en", 6, 3)]
    for split in ("dev", "test"):
        toy.write_ner(isolated / "own" / "ner" / "en" / f"{split}.tsv", plain)
    assert main(["train", *base, "--data_folder", "own", *SHORT]) == 0
    assert "ner#en: its dev sentences have nothing to find" in caplog.text
    logged = toy.read_log(isolated / "run")[-1]
    assert logged["dev_ner#en"] is None
    assert logged["dev_all"] == logged["dev_pos#tr"]
    assert evaluate(Path("run"), "--test_task_language_pairs", "ner#en", "pos#tr") == 0
    assert "ner#en: its test sentences have nothing to find" in caplog.text
    folder = isolated / "run" / "checkpoint-1"
    assert results(folder)["test_ner:en_f1"] is None
    assert averages(folder)["seen"] == results(folder)["test_pos:tr_accuracy"]
    assert "| ner#en | seen | 6 | f1 | - |" in (folder / "results.md").read_text()


def test_an_f1_of_0_after_training_is_noted(ckpt: Path, caplog: pytest.LogCaptureFixture) -> None:
    hint = "score 0 for ner#en: nothing is right yet"
    assert evaluate(ckpt) == 0
    assert hint not in caplog.text
    tensors = load_file(ckpt / "model.safetensors")
    (bias,) = [name for name in tensors if name.startswith("heads.ner.") and name.endswith("bias")]
    tensors[bias][0] += 1000
    save_file(tensors, ckpt / "model.safetensors", {"format": "pt"})
    assert evaluate(ckpt) == 0
    assert hint in caplog.text
    # That of ner#tr, which has no training data, is a result.
    assert results(ckpt)["test_ner:tr_f1"] == 0
