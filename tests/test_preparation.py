"""Options are checked together before anything is loaded; what they ask for is what is read."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

import toy
from hyperx.cli.options import parse
from hyperx.config import DataOptions, ModelConfig, TrainConfig
from hyperx.errors import ConfigError, DataError
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.data import RunData, label_sets, prepare
from hyperx.plan.options import Plan, plan_run
from hyperx.plan.warm_start import WarmStart
from hyperx.tasks.registry import KINDS

pytestmark = pytest.mark.usefixtures("isolated")


def scope_of(*words: str) -> Plan:
    return plan_run(parse(TrainConfig, words, "train"), trains=False)


def problems_of(*words: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        scope_of(*words)
    return list(caught.value.problems)


def prepared(base: list[str], *words: str) -> RunData:
    return prepare(scope_of(*base, *words))


def names(pairs: Any) -> list[str]:
    return list(map(str, pairs))


# Problems -------------------------------------------------------------------------------------------------------------


def test_all_problems_are_reported_together(data: Path) -> None:
    problems = problems_of(
        "--data_folder", str(data), "--tasks", "nre", "pos", "--languages", "en", "deu", "de", "qqq1",
        "--train_task_language_pairs", "pos#en", "pos#eng", "ner", "pos#tr", "--temperature", "0",
        "--max_train_steps", "0", "--warmup_steps", "-1", "--adapter_dim", "0", "--max_length", "8",
        "--conditional_layer_norm", "--label_map", "DATE", "A=O", "A=B", "--resume", "--overwrite_output_dir",
        "--early_stopping_patience", "1", "--evaluation_strategy", "no",
    )  # fmt: skip
    text = "\n".join(problems)
    for expected in (
        f"--tasks: there is no task 'nre'; there are {', '.join(KINDS)}. Did you mean 'ner'?",
        "--languages: 'de' is the same language as 'deu'",
        "--languages: 'qqq1' is no language code",
        "--train_task_language_pairs: pos#eng is the same pair as pos#en; name it once",
        "--train_task_language_pairs: a task–language pair is written task#language, such as ner#tr; found 'ner'",
        "pos#tr: its language is not among --languages",
        "--temperature: expected more than 0; found 0.0",
        "--max_train_steps: expected 1 or more; found 0",
        "--warmup_steps: expected 0 or more; found -1",
        "--adapter_dim: expected 1 or more; found 0",
        "--max_length: expected 16 or more; found 8",
        "--conditional_layer_norm has no norm to generate",
        "--label_map: expected TYPE=TYPE or TYPE=O, such as DATE=O; found 'DATE'",
        "--label_map: A is mapped to both O and B; keep one of them",
        "--resume goes on with what --overwrite_output_dir deletes; give one of them",
        "--early_stopping_patience needs evaluations; --evaluation_strategy no has none",
        "--train_task_language_pairs: pos#en has no train split",
    ):
        assert expected in text


def test_a_language_called_by_its_name_is_told_its_code(data: Path) -> None:
    text = "\n".join(problems_of("--data_folder", str(data), "--train_task_language_pairs", "pos#turkish"))
    assert "pairs: 'turkish' is no language code of ISO 639 or BCP 47. Did you mean 'tr'?" in text


COUNTS = """per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps eval_steps save_steps
    logging_steps max_train_steps save_total_limit early_stopping_patience max_train_samples max_eval_samples
    task_embedding_dim language_embedding_dim layer_id_embedding_dim source_hidden_dim projected_source_embedding_dim
    adapter_dim"""
RATES, AMOUNTS = "temperature learning_rate num_train_epochs", "weight_decay max_grad_norm encoder_learning_rate_scale"


@pytest.mark.parametrize(
    ("names", "value", "expected"),
    [
        (COUNTS, "0", "1 or more; found 0"),
        *((RATES, value, f"more than 0; found {float(value)}") for value in ("0", "-1", "nan")),
        *((AMOUNTS, value, f"0 or more; found {float(value)}") for value in ("-0.5", "nan")),
        ("language_dropout", "-0.1", "0 or more; found -0.1"),
        ("language_dropout", "1.5", "at most 1; found 1.5"),
        ("language_dropout", "nan", "at most 1; found nan"),
        ("seed", "-1", "0 or more; found -1"),
        ("seed", "4294967296", "at most 4294967295; found 4294967296"),
    ],
)
def test_numbers_have_ranges(base: list[str], names: str, value: str, expected: str) -> None:
    found = problems_of(*base, *(word for name in names.split() for word in (f"--{name}", value)))
    assert sorted(found) == sorted(f"--{name}: expected {expected}" for name in names.split())


def test_stopping_early_needs_dev_data(base: list[str], isolated: Path, data: Path) -> None:
    shutil.copytree(data / "pos" / "tr", isolated / "own" / "pos" / "tr")
    (isolated / "own" / "pos" / "tr" / "dev.conllu").unlink()
    options = ["--data_folder", "own", "--train_task_language_pairs", "pos#tr", "--early_stopping_patience", "1"]
    (problem,) = problems_of(*base, *options)
    assert problem.startswith("--early_stopping_patience: pos#tr have no score to stop by")


def test_one_spelling_of_a_language_serves_all_its_pairs(base: list[str]) -> None:
    scope = scope_of(*base, "--train_task_language_pairs", "pos#tr", "ner#en", "--eval_task_language_pairs", "ner#tur")
    assert scope.languages == ("tr", "en")
    assert names(scope.eval_pairs) == ["ner#tur"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["--adapters", "task", "--conditional_layer_norm", "--add_layer_norm_after_adapter"],
            "--conditional_layer_norm: with --adapters task nothing generates norms; leave one of them out",
        ),
        (["--conditional_layer_norm"], "--conditional_layer_norm has no norm to generate"),
        (["--best_by", "seen", "--evaluation_strategy", "no"], "--best_by needs evaluations"),
        (
            ["--language_dropout", "0.5", "--no_mean_for_untrained"],
            "--language_dropout has no effect with --no_mean_for_untrained",
        ),
    ],
)
def test_options_that_contradict_each_other(words: list[str], expected: str) -> None:
    assert any(problem.startswith(expected) for problem in problems_of(*words))


def test_training_needs_a_pair() -> None:
    assert problems_of() == ["--train_task_language_pairs: name at least one pair, such as ner#en"]


def test_a_pair_outside_the_declared_tasks_and_languages(data: Path) -> None:
    problems = problems_of(
        "--data_folder", str(data), "--tasks", "pos", "--languages", "tr", "--train_task_language_pairs", "ner#en"
    )
    assert problems == [
        "ner#en: its task is not among --tasks pos.",
        "ner#en: its language is not among --languages tr.",
    ]


def test_a_pair_without_train_split_is_refused_not_trained_on_its_test_split(data: Path) -> None:
    (problem,) = problems_of("--data_folder", str(data), "--train_task_language_pairs", "pos#de")
    assert "pos#de has no train split" in problem
    assert "its dev file may serve, its test file never" in problem


def test_a_treebank_without_train_split_is_refused_before_anything_is_loaded() -> None:
    problems = problems_of("--train_task_language_pairs", "pos#is", "pos#fr", "pos#br", "--treebanks", "fr=PUD")
    text = "\n".join(problems)
    assert len(problems) == 3
    assert "pos#is has no train split; choose a treebank that has one, such as --treebanks is=is_gc, or name" in text
    assert "pos#fr has no train split; choose a treebank that has one, such as --treebanks fr=fr_gsd, or name" in text
    assert "pos#br has no train split; name a file for it" in text


def test_chosen_treebanks_are_read_and_kept_for_evaluation(caplog: pytest.LogCaptureFixture) -> None:
    scope = scope_of("--train_task_language_pairs", "pos#isl", "--treebanks", "is=is_modern", "sv=sv_lines")
    (pair,) = scope.train_pairs
    assert scope.data.describe(pair, "train") == "commul/universal_dependencies (is_modern, train)"
    assert scope.record.spec.treebanks == ("is=is_modern", "sv=sv_lines")
    assert "--treebanks: sv=sv_lines is of no language of this run; it is not read" in caplog.text


def test_options_that_no_task_reads_are_warned_of(caplog: pytest.LogCaptureFixture, base: list[str]) -> None:
    options = ["--treebanks", "en=en_gum", "--label_map", "DATE=O", "--entity_types", "PER"]
    scope_of(*base, "--train_task_language_pairs", "ner#en", *options)
    assert "--treebanks: no task of this run (ner) reads treebanks; they are not read" in caplog.text
    assert "--label_map" not in caplog.text
    scope_of(*base, "--train_task_language_pairs", "pos#tr", *options)
    assert "--label_map has no effect: no task of this run (pos) is ner" in caplog.text
    assert "--entity_types has no effect: no task of this run (pos) is ner" in caplog.text


def test_an_encoder_that_reads_less_is_named(base: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"--max_length: .*tiny reads at most 256 subwords; found 300"):
        prepared(base, "--max_length", "300")


# What is found --------------------------------------------------------------------------------------------------------


def test_tasks_and_languages_are_those_of_the_pairs_by_default(base: list[str]) -> None:
    scope = scope_of(*base)
    assert (list(scope.tasks), scope.languages) == (["ner", "pos"], ("en", "tr"))
    assert names(scope.train_pairs) == names(scope.eval_pairs) == ["ner#en", "pos#tr"]


def test_the_language_is_echoed_as_it_was_spelt(data: Path) -> None:
    scope = scope_of("--data_folder", str(data), "--train_task_language_pairs", "ner#eng", "pos#tr-TR")
    assert (scope.languages, names(scope.train_pairs)) == (("eng", "tr-TR"), ["ner#eng", "pos#tr-TR"])


def test_every_pair_of_the_model_has_sources_for_later(base: list[str]) -> None:
    sources = scope_of(*base, "--languages", "en", "tr", "de").data
    expected = {f"{task}#{language}" for task in ("ner", "pos") for language in ("en", "tr", "de")}
    assert set(names(sources.pairs)) == expected
    assert not any(sources.from_hub(pair) for pair in sources.pairs)


def test_evaluation_pairs_need_no_training_data(base: list[str]) -> None:
    assert names(scope_of(*base, "--eval_task_language_pairs", "pos#en", "ner#tr").eval_pairs) == ["pos#en", "ner#tr"]


def test_encoded_splits_are_cached(base: list[str], caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    toy.write_pos(tmp_path / "own" / "pos" / "tr" / "train.conllu", toy.sentences("tr", 9, 77))
    options = ["--train_task_language_pairs", "pos#tr", "--data_folder", "own"]
    caplog.set_level(logging.INFO, "hyperx")
    first = prepared(base, *options).train_splits[0]
    assert "encoding pos#tr train" in caplog.text
    caplog.clear()
    assert prepared(base, *options).train_splits[0].annotation() == first.annotation()
    assert "encoding" not in caplog.text


def test_samples_are_limited_to_the_first_sentences(base: list[str]) -> None:
    found = prepared(base, "--max_train_samples", "5", "--max_eval_samples", "3")
    assert [split.sentence_count for split in found.train_splits] == [5, 5]
    assert [split.sentence_count for split in found.eval_splits.values()] == [3, 3]
    gold = [found["ner"] for found in found.train_splits[0].annotation()]
    assert gold == [[label for *_, label in words] for words in toy.sentences("en", 96, 0)[:5]]


def test_entity_types_come_from_the_training_data(base: list[str]) -> None:
    assert prepared(base).labels["ner"] == ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def test_entity_types_may_be_declared_and_mapped(base: list[str]) -> None:
    found = prepared(base, "--entity_types", "PER", "ORG", "--label_map", "LOC=ORG")
    assert found.labels["ner"] == ("O", "B-PER", "I-PER", "B-ORG", "I-ORG")
    assert "B-ORG" in found.train_splits[0].names["ner"]


@pytest.mark.parametrize(
    ("entry", "tag"), [("B-LOC=O", "B-LOC"), ("LOC=I-ORG", "I-ORG"), ("LOC=O", None), ("I=B", None)]
)
def test_a_map_names_types_not_tags(base: list[str], entry: str, tag: str | None) -> None:
    if tag is None:
        scope_of(*base, "--label_map", entry)
    else:
        expected = f"--label_map: expected entity types, found the tag {tag!r}; name the type alone, {tag[2:]!r}"
        assert problems_of(*base, "--label_map", entry) == [expected]


def test_undeclared_entity_types_are_refused(base: list[str]) -> None:
    with pytest.raises(DataError, match=r"not declared: B-LOC.*--entity_types.*--label_map"):
        prepared(base, "--entity_types", "PER")


def test_labels_of_dev_data_that_training_has_not_are_named(
    base: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, labels in (("en/train", "pos neg"), ("en/dev", "neg pos"), ("de/dev", "Positive Negative pos")):
        path = tmp_path / "own" / "mood" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text\tlabel\n" + "".join(f"cat {label}\t{label}\n" for label in labels.split()))
    pairs = ["--train_task_language_pairs", "mood#en", "--eval_task_language_pairs", "mood#en", "mood#de"]
    prepared(base, "--tasks", "mood=cls", *pairs, "--data_folder", "own")
    told = "mood#de: the labels Negative, Positive of its dev data are unknown to the model and count as errors"
    found = [message for message in caplog.messages if "unknown to the model" in message]
    assert found == [f"{told}; map them with label_map in the table"]


def test_a_table_may_serve_other_tasks_too(base: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("data:\n  mlm#tr: {train: nowhere.txt}\n  dep#tr: nowhere\n", encoding="utf-8")
    scope_of(*base, "--config", str(file))
    for pair in ("mlm#tr", "dep#tr"):
        assert f"data table: {pair} is no pair of this run's tasks and languages; it is not read" in caplog.text
    file.write_text("data:\n  dpe#tr: nowhere\n", encoding="utf-8")
    assert "data table: dpe#tr: unknown task 'dpe'" in "\n".join(problems_of(*base, "--config", str(file)))


def test_the_data_table_wins_over_the_folder(base: list[str], tmp_path: Path) -> None:
    toy.write_pos(tmp_path / "elsewhere" / "mine.conllu", toy.sentences("tr", 4, 5))
    file = tmp_path / "run.yaml"
    file.write_text(f"data:\n  pos#tr:\n    train: {tmp_path}/elsewhere/mine.conllu\n")
    found = prepared(base, "--config", str(file))
    assert found.train_splits[1].sentence_count == 4
    assert names(found.eval_splits) == ["ner#en"]
    assert found.plan.train_pairs[1] == TaskLanguagePair("pos", "tr")


@pytest.mark.parametrize(
    ("seen", "entity_types", "expected"),
    [
        ([], [], "O B-PER I-PER B-GPE I-GPE"),
        (["O", "B-GPE"], [], "O B-PER I-PER B-GPE I-GPE"),
        (["O"], ["GPE", "PER"], "O B-PER I-PER B-GPE I-GPE"),
        (["O", "B-LOC"], [], "O B-LOC I-LOC"),
        (["O"], ["LOC"], "O B-LOC I-LOC"),
    ],
)
def test_labels_of_an_earlier_run_stay_where_they_suffice(
    seen: list[str], entity_types: list[str], expected: str
) -> None:
    known = ("O", "B-PER", "I-PER", "B-GPE", "I-GPE")
    config = TrainConfig(data=DataOptions(entity_types=tuple(entity_types)))
    start = WarmStart(Path("old"), ModelConfig(
        encoder="", encoder_hash="", kinds={"ner": "ner"}, labels={"ner": known}, languages=("en",)
    ))  # fmt: skip
    plan, problems = Plan(config, {"ner": "ner"}, ("en",), (), start=start), list[str]()
    found = label_sets(plan, {TaskLanguagePair("ner", "en"): set(seen) - {"O"}}, problems)
    assert (found["ner"], problems) == (tuple(expected.split()), [])
