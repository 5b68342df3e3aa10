"""Data that is given in memory: read, checked, cached and recorded as that of files is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest

import hyperx
import toy
from hyperx import checkpoint
from hyperx.data.locate.places import DataPlaces
from hyperx.data.locate.spec import DataRecord
from hyperx.data.locate.table import recorded_entry
from hyperx.errors import ConfigError, DataError, HyperXError
from hyperx.options import made
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.data import prepare
from hyperx.plan.options import plan_run
from located import build

pytestmark = pytest.mark.usefixtures("isolated")

PAIR = TaskLanguagePair("ner", "en")
ENTITIES = [{"tokens": ["Ada", "sees"], "ner": ["B-PER", "O"]}, {"words": ["x"], "ner_tags": ["O"]}]


def located(table: dict[str, Any]) -> DataPlaces:
    return build(Path("none"), *table, table=table)


def read(name: str, rows: Any) -> list[tuple[Any, ...]]:
    """Words or text, and columns, of rows given as a train split."""
    places = located({name: {"train": rows}})
    return [(one.words or one.text, dict(one.columns)) for one in places.read(*places.pairs, "train")]


@pytest.mark.parametrize(
    ("name", "rows", "expected"),
    [
        ("ner#en", ENTITIES, [(("Ada", "sees"), {"ner": ("B-PER", "O")}), (("x",), {"ner": ("O",)})]),
        ("pos#en", [{"tokens": ["a"], "upos": ["NOUN"]}], [(("a",), {"upos": ("NOUN",)})]),
        (
            "dep#en",
            [{"words": ["a", "b"], "head": [0, 1], "deprel": ["root", "obj:x"]}],
            [(("a", "b"), {"head": (0, 1), "deprel": ("root", "obj")})],
        ),
        ("mood#en", [{"text": "a b", "label": 1}], [("a b", {"label": ("1",)})]),
        ("mlm#en", ({"text": "a b"},), [("a b", {})]),
    ],
)
def test_rows_are_read_by_the_usual_keys(name: str, rows: Sequence[Any], expected: Any) -> None:
    assert read(name, rows) == expected


def test_data_sets_have_class_labels_and_other_names_of_splits() -> None:
    from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

    tags = List(ClassLabel(names=["O", "B-PER"]))
    features = Features({"tokens": List(Value("string")), "ner_tags": tags})
    data = {"train": {"tokens": [["Ada", "sees"]], "ner_tags": [[1, 0]]}}
    data["validation"] = {"tokens": [["x"]], "ner_tags": [[0]]}
    given = DatasetDict({name: Dataset.from_dict(rows, features=features) for name, rows in data.items()})
    places = located({"ner#en": given})
    assert [one.columns["ner"] for one in places.read(PAIR, "train")] == [("B-PER", "O")]
    assert [one.columns["ner"] for one in places.read(PAIR, "dev")] == [("O",)]
    assert not places.has(PAIR, "test")
    assert read("ner#en", given["train"]) == [(("Ada", "sees"), {"ner": ("B-PER", "O")})]


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("ner#en", [*ENTITIES, {"tokens": ["a", "b"], "ner": ["O"]}], "row 3: expected 2 values of ner, one a word"),
        ("ner#en", [{"tokens": ["a"], "ner": ["PER"]}], "ner#en train in memory: .* found the tag 'PER'"),
        ("pos#en", [{"tokens": ["a"], "upos": ["NOUNS"]}], "found 'NOUNS' .*Did you mean 'NOUN'"),
        ("mood#en", [{"text": "a", "label": "x"}, {"text": "b"}], "row 2: expected a column named label"),
    ],
)
def test_a_fault_names_pair_split_and_row(name: str, rows: Sequence[Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(name, rows)
    assert str(caught.value).startswith(f"{name} train in memory: ")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"train": []}, r"ner#en, train: expected a file, a list of files, or rows in memory; found \[\]"),
        ({"train": datasets.Dataset.from_dict({"tokens": [], "ner": []})}, "ner#en, train: expected a file, .*; found"),
        (
            {"train": datasets.Dataset.from_list(ENTITIES).to_iterable_dataset()},
            "ner#en, train: expected a file, .*; found",
        ),
        (
            {"train": ENTITIES, "test": list(ENTITIES)},
            "ner#en: train names rows in memory, which .* of ner#en",
        ),
        ({"train": [{"tokens": ["a"]}, 3]}, "ner#en, train: expected a mapping as row 2, .*; found"),
        ({"trian": ENTITIES}, "ner#en: unknown key 'trian'; .* Did you mean 'train'"),
        ({"train": ENTITIES, "columns": {"word": "x"}}, "unknown key 'word'; .* Did you mean 'words'"),
    ],
)
def test_what_is_no_data_is_told_before_anything_is_read(entry: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        located({"ner#en": entry})


def test_columns_of_ones_own_and_label_maps_are_as_for_files() -> None:
    rows = [{"forms": ["Ada"], "kinds": ["B-X"]}]
    places = located(
        {"ner#en": {"train": rows, "columns": {"words": "forms", "ner": "kinds"}, "label_map": {"X": "PER"}}}
    )
    (sentence,) = places.read(PAIR, "train")
    assert (sentence.words, sentence.columns["ner"]) == (("Ada",), ("B-PER",))


def test_dev_and_test_rows_are_held_out_of_raw_text() -> None:
    places = located({"mlm#en": {"train": [{"text": "a b"}]}, "ner#en": {"train": ENTITIES[:1], "test": ENTITIES}})
    assert [(data.pair, split) for data, split in places.held_out("eng")] == [(PAIR, "test")]


def test_fingerprints_and_records_follow_content() -> None:
    same, other = located({"ner#en": {"train": list(ENTITIES)}}), located({"ner#en": {"train": ENTITIES[:1]}})
    first = located({"ner#en": {"train": ENTITIES}})
    assert first.fingerprint(PAIR, "train") == same.fingerprint(PAIR, "train") != other.fingerprint(PAIR, "train")
    assert first.recorded() == same.recorded() != other.recorded()
    kept = located({"ner#en": recorded_entry({"train": ENTITIES, "columns": {"words": "forms"}})})
    assert kept.fingerprint(PAIR, "train")[1] == first.fingerprint(PAIR, "train")[1]


# Whole runs -----------------------------------------------------------------------------------------------------------


def rows(seed: int, count: int = 24) -> list[dict[str, Any]]:
    return [
        {"tokens": [word for word, *_ in words], "ner": [label for *_, label in words]}
        for words in toy.sentences("en", count, seed)
    ]


@pytest.fixture
def options(encoder: Path, tmp_path: Path) -> dict[str, Any]:
    """A short run on rows in memory."""
    names, sizes = (word.removeprefix("--") for word in toy.SHAPE[::2]), map(int, toy.SHAPE[1::2])
    data = {"train": rows(0), "dev": rows(1), "test": rows(2)}
    quick = {"max_train_steps": 2, "save_steps": 1, "save_total_limit": None, "evaluation_strategy": "no"}
    folders = {"model_name_or_path": str(encoder), "output_dir": str(tmp_path / "run")}
    own = {"train_task_language_pairs": ["ner#en"], "data": {"ner#en": data}, "disable_progress_bar": True}
    return own | quick | folders | {"no_cuda": True} | dict(zip(names, sizes, strict=True))


def test_rows_are_encoded_and_cached_like_files(options: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hyperx")
    found = prepare(plan_run(made(hyperx.TrainConfig, options))).train_splits[0]
    assert "encoding ner#en train: train split in memory (24 rows)" in caplog.text
    assert [list(one["ner"]) for one in found.annotation()] == [row["ner"] for row in rows(0)]
    caplog.clear()
    prepare(plan_run(made(hyperx.TrainConfig, options)))
    assert "encoding" not in caplog.text


def test_a_run_on_rows_is_resumed_with_the_same_and_scored_when_they_are_given_again(
    options: dict[str, Any], tmp_path: Path
) -> None:
    hyperx.train(**options)
    for path in (tmp_path / "run" / "checkpoint-2").iterdir():
        path.unlink()
    hyperx.train(**options, resume=True)
    other = options | {"data": {"ner#en": {"train": rows(3), "dev": rows(1)}}}
    with pytest.raises(HyperXError, match="--data: the run began with"):
        hyperx.train(**other, resume=True)
    record = checkpoint.read_json(tmp_path / "run" / "checkpoint-2" / checkpoint.DATA, DataRecord)
    assert record.data[0].splits["train"].rows == 24  # type: ignore[union-attr]
    with pytest.raises(DataError, match=r"ner#en: expected its test data, found only a record .* 24 rows in memory"):
        hyperx.evaluate(tmp_path / "run", "ner#en")
    scores = hyperx.evaluate(tmp_path / "run", "ner#en", data={"ner#en": {"test": rows(2)}})
    assert scores.scores[0].sentences == 24
