"""Rows of data sets, in memory and in the hub's schemas, the latter as Parquet through the code that reads the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hyperx.data.read.base import Request
from hyperx.data.read.conllu import check_tree
from hyperx.data.read.hub import HubData
from hyperx.data.read.rows import RowReader, read_rows
from hyperx.errors import DataError

# In the order of the hub's own class labels, which is not the alphabet's.
_UPOS = "NOUN PUNCT ADP NUM SYM SCONJ ADJ PART DET CCONJ PROPN PRON X _ ADV INTJ VERB AUX"
UPOS = _UPOS.split()
ENTITIES = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]

Maker = Callable[..., HubData]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    """Writes a data set with one configuration; columns have the features of their values, if none are given."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()

    def write(
        splits: dict[str, dict[str, list[Any]]], features: dict[str, Any] | None = None, configuration: str = "tr"
    ) -> HubData:
        lines = ["---", "configs:", f"- config_name: {configuration}", "  data_files:"]
        for split, rows in splits.items():
            (tmp_path / "set" / "tr").mkdir(parents=True, exist_ok=True)
            data = datasets.Dataset.from_dict(rows)
            data = data.cast(datasets.Features({**data.features, **(features or {})}))
            data.to_parquet(str(tmp_path / "set" / "tr" / f"{split}-00000.parquet"))
            lines += [f"  - split: {split}", f"    path: tr/{split}-*"]
        (tmp_path / "set" / "README.md").write_text("\n".join([*lines, "---", ""]))
        return HubData(str(tmp_path / "set"), ("tr",))

    yield write
    datasets.enable_progress_bars()


def labels(names: list[str]) -> Any:
    from datasets import ClassLabel, List

    return List(ClassLabel(names=names))


# Rows -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": ["a", "b"], "ner": ["O"]}, "expected 2 values of ner, one a word, found 1"),
        ({"tokens": ["a"], "ner": None}, "expected 1 value of ner, one a word, found None"),
        ({"tokens": [], "ner": []}, r"expected a list of words in tokens, found \[\]"),
        ({"words": 2, "ner": ["O"]}, "expected a list of words in words, found 2"),
        ({"words": ["a\ud800"], "ner": ["O"]}, "expected whole characters, found a lone surrogate"),
        ({"tokens": ["a"], "ner": [7]}, "expected a label of ner, a text or a class label, found 7"),
        ({"tokens": ["a"], "upos": ["X"]}, "expected a column named ner or ner_tags or tags, found tokens, upos; name"),
        ({"text": "a", "ner": ["O"]}, "expected a column named words or tokens, found text, ner; name it under"),
    ],
)
def test_rows_with_a_fault_are_named_by_their_number(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"^mine: row 2: {message}"):
        list(read_rows([{"tokens": ["a"], "ner": ["O"]}, row], RowReader(Request("mine", "ner"))))
    faults: list[DataError] = []
    rows = [row, {"tokens": ["a"], "ner": ["O"]}]
    assert [one.words for one in read_rows(rows, RowReader(Request("mine", "ner", faults.append)))] == [("a",)]
    assert len(faults) == 1


def test_rows_in_memory() -> None:
    reader = RowReader(Request("mine", "ner", names={"ner": "places"}), {"places": ENTITIES})
    rows = [{"words": ("a", "b"), "places": [5, "O"], "upos": 3, "text": "a b"}]
    (found,) = read_rows(rows, reader)
    assert (found.words, found.columns, found.text, found.lines) == (("a", "b"), {"ner": ("B-LOC", "O")}, "a b", ())
    tree = {"tokens": ["a", "b"], "head": [2, "0"], "deprel": ["obj", "root"]}
    (found,) = read_rows([tree], RowReader(Request("mine", "head")))
    assert found.columns == {"head": (2, 0), "deprel": ("obj", "root")}
    # Columns that nobody asked for may be of any kind, and the text of raw text may be missing.
    texts = [{"text": "a b", "words": 2}, {"text": None, "words": 0}]
    assert [one.text for one in read_rows(texts, RowReader(Request("mine", "text")))] == ["a b", ""]
    reader = RowReader(Request("mine", "label", names={"text": "tweet", "label": "stars"}))
    (found,) = read_rows([{"tweet": "x", "stars": 4}], reader)
    assert (found.text, found.columns) == ("x", {"label": ("4",)})


def test_names_of_ones_own_must_be_there() -> None:
    with pytest.raises(DataError, match=r"the column 'form' for words, found forms, pos\. Did you mean 'forms'"):
        RowReader(Request("mine", "upos", names={"words": "form"})).names(["forms", "pos"])
    with pytest.raises(DataError, match=r"expected a column named text or .*, found tweet, stars; name it"):
        RowReader(Request("mine", "label")).names(["tweet", "stars"])
    with pytest.raises(DataError, match=r"the column 'star' for label, found tweet, stars\. Did you mean"):
        RowReader(Request("mine", "label", names={"text": "tweet", "label": "star"})).names(["tweet", "stars"])


# The hub --------------------------------------------------------------------------------------------------------------


def test_wikiann(make: Maker) -> None:
    rows: dict[str, list[Any]] = {"tokens": [["Ali", "geldi"], ["\x96"]], "ner_tags": [[1, 0], [0]]}
    source = make({"train": rows, "validation": rows}, {"ner_tags": labels(ENTITIES)})
    first, second = source.read("dev", "ner")
    assert (first.words, first.columns, first.lines) == (("Ali", "geldi"), {"ner": ("B-PER", "O")}, ())
    assert first.origin.endswith("set (tr, validation)")
    assert second.words == ("\x96",)  # nobody can fix the hub's data: kept, and encoded as unknown
    with pytest.raises(DataError, match=r"has no split 'test'; it has train, validation; put files at"):
        list(source.read("test", "ner"))
    with pytest.raises(DataError, match=r"has no configuration 'trrr'\. Did you mean 'tr'\?"):
        list(HubData(source.name, ("trrr",)).read("train", "ner"))
    with pytest.raises(DataError, match=r"\(tr, train\): expected a column named upos or .*, found tokens, ner_tags"):
        list(source.read("train", "upos"))


def test_universal_dependencies_with_strings_and_unsigned_heads(make: Maker) -> None:
    from datasets import List, Value

    row: dict[str, list[Any]] = {"text": ["ab c"], "tokens": [["a", "b"]], "upos": [["VERB", "_"]], "head": [[0, 1]]}
    source = make({"test": row | {"deprel": [["root", "obj:x"]]}}, {"head": List(Value("uint16"))})
    (sentence,) = source.read("test", "head")
    assert sentence.columns == {"head": (0, 1), "deprel": ("root", "obj:x")}
    assert sentence.text == "ab c"
    check_tree(sentence)


def test_universal_dependencies_with_class_labels_and_inline_multiword_rows(make: Maker) -> None:
    rows: dict[str, list[Any]] = {
        "tokens": [["vámonos", "vamos", "nos"], ["a", "b"]],
        "upos": [[13, 16, 11], [0, 1]],
        "head": [["None", "0", "1"], ["None", "None"]],
        "deprel": [["_", "root", "obj"], ["_", "_"]],
    }
    source = make({"train": rows}, {"upos": labels(UPOS)})
    first, second = source.read("train", "head")
    assert (first.words, first.columns) == (("vamos", "nos"), {"head": (0, 1), "deprel": ("root", "obj")})
    assert (second.words, second.columns) == (("a", "b"), {})
    assert [sentence.columns["upos"] for sentence in source.read("train", "upos")] == [
        ("VERB", "PRON"),
        ("NOUN", "PUNCT"),
    ]


def test_a_split_named_dev_and_a_treebank_of_an_earlier_release(make: Maker) -> None:
    name = make({"dev": {"tokens": [["a"]]}, "test": {"tokens": [["b"]]}}, configuration="cs_pdt").name
    source = HubData(name, ("cs_pdtc", "cs_pdt"))
    assert [sentence.words for sentence in source.read("dev", "text")] == [("a",)] * 2
    assert [sentence.words for sentence in source.read("test", "text")] == [("b",)] * 2
    assert source.describe("dev").endswith("set (cs_pdtc + cs_pdt, validation)")
    with pytest.raises(DataError, match=r"has no split 'train'; it has dev, test"):
        list(source.read("train", "text"))


@pytest.mark.parametrize("secret", [False, True])
def test_class_labels_of_pairs_go_by_their_names_and_rows_without_one_are_counted(
    make: Maker, caplog: pytest.LogCaptureFixture, secret: bool
) -> None:
    from datasets import ClassLabel

    rows: dict[str, list[Any]] = {"premise": ["p0", "p1", "p2"], "hypothesis": ["h"] * 3}
    values = [-1, -1, -1] if secret else [1, -1, 0]
    source = make({"train": rows | {"label": values}}, {"label": ClassLabel(names=["no", "yes"])})
    fault = "expected a class label from 0 to 1, found -1; is this split without labels?"
    if secret:
        with pytest.raises(DataError, match="row 1: " + fault[:-1]):
            list(source.read("train", "label"))
        return
    found = [(one.text, one.text_pair, one.columns["label"]) for one in source.read("train", "label")]
    assert found == [("p0", "h", ("yes",)), ("p2", "h", ("no",))]
    assert "skipped 1 row, of which the first is" in caplog.text
    assert f"row 2: {fault}" in caplog.text


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("Dataset scripts are no longer supported, but found x.py"), "such as refs/convert/parquet"),
        (Exception("connection reset"), "cannot be loaded: connection reset; check the name"),
        (ConnectionError("Couldn't reach 'x' on the Hub"), "the Hugging Face hub cannot be reached .*; put files"),
    ],
)
def test_faults_of_the_libraries_are_told(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("datasets.load_dataset", fail)
    with pytest.raises(DataError, match=message):
        list(HubData("someone/some-data").read("train", "ner"))
