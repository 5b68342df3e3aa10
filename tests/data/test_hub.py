"""Data sets in the hub's schemas, written here as Parquet and read through the code that reads the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hyperx.data.read.conllu import check_tree
from hyperx.data.read.hub import HubSource
from hyperx.errors import DataError

# In the order of the hub's own class labels, which is not the alphabet's.
_UPOS = "NOUN PUNCT ADP NUM SYM SCONJ ADJ PART DET CCONJ PROPN PRON X _ ADV INTJ VERB AUX"
UPOS = _UPOS.split()
ENTITIES = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]

Maker = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    """Writes a data set with one configuration, `tr`, and gives its folder."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()

    def write(features: dict[str, Any], splits: dict[str, dict[str, list[Any]]], configuration: str = "tr") -> str:
        lines = ["---", "configs:", f"- config_name: {configuration}", "  data_files:"]
        for split, rows in splits.items():
            (tmp_path / "set" / "tr").mkdir(parents=True, exist_ok=True)
            data = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
            data.to_parquet(str(tmp_path / "set" / "tr" / f"{split}-00000.parquet"))
            lines += [f"  - split: {split}", f"    path: tr/{split}-*"]
        (tmp_path / "set" / "README.md").write_text("\n".join([*lines, "---", ""]))
        return str(tmp_path / "set")

    yield write
    datasets.enable_progress_bars()


def strings() -> Any:
    from datasets import List, Value

    return List(Value("string"))


def labels(names: list[str]) -> Any:
    from datasets import ClassLabel, List

    return List(ClassLabel(names=names))


def wikiann(make: Maker) -> str:
    rows = {
        "tokens": [["Ali", "geldi"], ["\x96"]],
        "ner_tags": [[1, 0], [0]],
        "langs": [["tr", "tr"], ["tr"]],
        "spans": [[], []],
    }
    features = {"tokens": strings(), "ner_tags": labels(ENTITIES), "langs": strings(), "spans": strings()}
    return make(features, {"train": rows, "validation": rows})


def test_wikiann(make: Maker) -> None:
    first, second = HubSource(wikiann(make), ("tr",)).read("dev", "ner")
    assert first.words == ("Ali", "geldi")
    assert first.columns == {"ner": ("B-PER", "O")}
    assert first.lines == ()
    assert first.origin.endswith("set (tr, validation)")
    assert second.words == ("\x96",)  # nobody can fix the hub's data: kept, and encoded as unknown


def test_universal_dependencies_with_strings_and_unsigned_heads(make: Maker) -> None:
    from datasets import List, Value

    text = Value("string")
    features = {"sent_id": text, "text": text, "tokens": strings(), "upos": strings(), "head": List(Value("uint16"))}
    row = {"sent_id": ["1"], "text": ["ab c"], "tokens": [["a", "b"]], "upos": [["VERB", "_"]], "head": [[0, 1]]}
    name = make(features | {"deprel": strings()}, {"test": row | {"deprel": [["root", "obj:x"]]}})
    (sentence,) = HubSource(name, ("tr",)).read("test", "head")
    assert sentence.columns == {"head": (0, 1), "deprel": ("root", "obj:x")}
    assert sentence.text == "ab c"
    check_tree(sentence)


def test_universal_dependencies_with_class_labels_and_inline_multiword_rows(make: Maker) -> None:
    features = {"tokens": strings(), "upos": labels(UPOS), "head": strings(), "deprel": strings()}
    rows = {
        "tokens": [["vámonos", "vamos", "nos"], ["a", "b"]],
        "upos": [[13, 16, 11], [0, 1]],
        "head": [["None", "0", "1"], ["None", "None"]],
        "deprel": [["_", "root", "obj"], ["_", "_"]],
    }
    source = HubSource(make(features, {"train": rows}), ("tr",))
    first, second = source.read("train", "head")
    assert first.words == ("vamos", "nos")
    assert first.columns == {"head": (0, 1), "deprel": ("root", "obj")}
    assert (second.words, second.columns) == (("a", "b"), {})
    assert [sentence.columns for sentence in source.read("train", "upos")] == [
        {"upos": ("VERB", "PRON")},
        {"upos": ("NOUN", "PUNCT")},
    ]


def test_a_split_named_dev_and_a_treebank_of_an_earlier_release(make: Maker) -> None:
    name = make({"tokens": strings()}, {"dev": {"tokens": [["a"]]}, "test": {"tokens": [["b"]]}}, "cs_pdt")
    source = HubSource(name, ("cs_pdtc", "cs_pdt"))
    assert [sentence.words for sentence in source.read("dev", "text")] == [("a",)] * 2
    assert [sentence.words for sentence in source.read("test", "text")] == [("b",)] * 2
    assert source.describe("dev").endswith("set (cs_pdtc + cs_pdt, validation)")
    with pytest.raises(DataError, match=r"has no split 'train'; it has dev, test"):
        list(source.read("train", "text"))


def test_columns_of_ones_own(make: Maker) -> None:
    name = make({"forms": strings(), "pos": labels(UPOS)}, {"train": {"forms": [["a"]], "pos": [[6]]}})
    columns = {"words": "forms", "upos": "pos"}
    (sentence,) = HubSource(name, ("tr",), columns=columns).read("train", "upos")
    assert (sentence.words, sentence.columns) == (("a",), {"upos": ("ADJ",)})
    with pytest.raises(
        DataError, match=r"expected the column 'form' for words, found forms, pos\. Did you mean 'forms'"
    ):
        list(HubSource(name, ("tr",), columns={"words": "form"}).read("train", "upos"))
    with pytest.raises(DataError, match="expected a column named words or tokens, found forms, pos; name it"):
        list(HubSource(name, ("tr",)).read("train", "upos"))


def test_what_a_data_set_lacks_is_said(make: Maker) -> None:
    name = wikiann(make)
    with pytest.raises(DataError, match=r"has no split 'test'; it has train, validation; put files at"):
        list(HubSource(name, ("tr",)).read("test", "ner"))
    with pytest.raises(DataError, match=r"has no configuration 'trrr'\. Did you mean 'tr'\?"):
        list(HubSource(name, ("trrr",)).read("train", "ner"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": [["a", "b"]], "ner": [[0]]}, "row 1: expected 2 values of ner, one a word, found 1"),
        ({"tokens": [[]], "ner": [[]]}, r"row 1: expected a list of words in tokens, found \[\]"),
        ({"tokens": [["a"]], "ner": [[1]]}, "row 1: expected a label of ner, a text or a class label, found 1"),
    ],
)
def test_broken_rows_have_a_number(make: Maker, row: dict[str, list[Any]], message: str) -> None:
    from datasets import List, Value

    name = make({"tokens": strings(), "ner": List(Value("int32"))}, {"train": row})
    with pytest.raises(DataError, match=message):
        list(HubSource(name, ("tr",)).read("train", "ner"))


def test_rows_at_fault_are_passed_over_and_counted(make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    rows = {"tokens": [["a"], None, ["b", "c"], []], "ner": [["O"], ["O"], None, []]}
    name = make({"tokens": strings(), "ner": strings()}, {"train": rows})
    assert [sentence.words for sentence in HubSource(name, ("tr",)).read("train", "ner")] == [("a",)]
    assert "3 rows are skipped; the first of them is" in caplog.text


def test_columns_that_nobody_asked_for_may_be_of_any_kind(make: Maker) -> None:
    from datasets import Value

    features = {"text": Value("string"), "words": Value("int32"), "ner": strings()}
    name = make(features, {"train": {"text": ["a b", "c"], "words": [2, 1], "ner": [["x"], []]}})
    assert [sentence.text for sentence in HubSource(name, ("tr",)).read("train", "text")] == ["a b", "c"]
    with pytest.raises(DataError, match="row 1: expected a list of words in words, found 2"):
        list(HubSource(name, ("tr",)).read("train", "ner"))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("Dataset scripts are no longer supported, but found x.py"), "such as refs/convert/parquet"),
        (Exception("connection reset"), "cannot be loaded: connection reset; check the name"),
        (
            ConnectionError("Couldn't reach 'x' on the Hub"),
            "the Hugging Face hub cannot be reached .*; put files",
        ),
    ],
)
def test_faults_of_the_libraries_are_told(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("datasets.load_dataset", fail)
    with pytest.raises(DataError, match=message):
        list(HubSource("someone/some-data").read("train", "ner"))


# Labelled texts -------------------------------------------------------------------------------------------------------


def texts(make: Maker, *labels: int) -> str:
    """A data set of pairs with class labels, -1 where one is kept secret."""
    from datasets import ClassLabel, Value

    text = Value("string")
    known = {"premise": text, "hypothesis": text, "label": ClassLabel(names=["no", "yes"]), "idx": Value("int32")}
    rows = {"premise": [f"p{i}" for i in range(len(labels))], "hypothesis": ["h"] * len(labels)}
    return make(known, {"train": rows | {"label": list(labels), "idx": list(range(len(labels)))}})


def test_class_labels_of_pairs_go_by_their_names(make: Maker) -> None:
    found = list(HubSource(texts(make, 1, 0), ("tr",)).read("train", "label"))
    assert [(one.text, one.text_pair, one.columns) for one in found] == [
        ("p0", "h", {"label": ("yes",)}),
        ("p1", "h", {"label": ("no",)}),
    ]
    assert {one.origin.rpartition("/")[2] for one in found} == {"set (tr, train)"}


@pytest.mark.parametrize("labels", [["a", "b"], [3, 4]])
def test_labels_without_a_class_and_columns_of_ones_own(make: Maker, labels: list[Any]) -> None:
    from datasets import Value

    kind = "string" if labels == ["a", "b"] else "int64"
    rows = {"tweet": ["x", "y"], "stars": labels}
    name = make({"tweet": Value("string"), "stars": Value(kind)}, {"train": rows})
    columns = {"text": "tweet", "label": "stars"}
    found = list(HubSource(name, ("tr",), columns=columns).read("train", "label"))
    assert [one.columns["label"] for one in found] == [(str(label),) for label in labels]
    with pytest.raises(
        DataError, match=r"\(tr, train\): expected a column named text or .*, found tweet, stars; name it"
    ):
        list(HubSource(name, ("tr",)).read("train", "label"))
    with pytest.raises(DataError, match=r"expected the column 'star' for label, found tweet, stars\. Did you mean"):
        list(HubSource(name, ("tr",), columns=columns | {"label": "star"}).read("train", "label"))


def test_rows_without_a_label_are_passed_over_and_counted(make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    found = list(HubSource(texts(make, 1, -1, -1, 0), ("tr",)).read("train", "label"))
    assert [one.text for one in found] == ["p0", "p3"]
    assert "2 rows are skipped; the first of them is " in caplog.text
    assert "row 2: expected a class label from 0 to 1, found -1" in caplog.text


def test_a_split_without_labels_is_refused(make: Maker) -> None:
    with pytest.raises(DataError, match="row 1: expected a class label from 0 to 1, found -1; is this split without"):
        list(HubSource(texts(make, -1, -1), ("tr",)).read("train", "label"))
