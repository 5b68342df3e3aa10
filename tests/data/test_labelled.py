"""Labelled texts: what a writer wrote is what is read; the names of columns; every fault with its file and line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperx.data.read.base import LABEL
from hyperx.data.read.formats import read_file
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError

exact = settings(derandomize=True, database=None, deadline=None, max_examples=150)

# Anything that UTF-8 can hold, with a letter that is seen; separators, quotes and line ends among it. Without the null
# character, which the csv module reads from Python 3.11 on.
CHARACTERS = st.characters(min_codepoint=1, exclude_categories=["Cs"])
ANYTHING = st.text(CHARACTERS | st.sampled_from('",;\t\n\r\u2028\u00a0'), max_size=20)
TEXTS = st.builds(lambda before, after: f"{before}x{after}", ANYTHING, ANYTHING)
LABELS = st.sampled_from(["good", "bad", "not sure", "0", "é,;"])
ROWS = st.lists(st.tuples(TEXTS, LABELS), min_size=1, max_size=8)


def read(path: Path, columns: Mapping[str, str] | None = None) -> list[Sentence]:
    return list(read_file(path, LABEL, names=columns))


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def found(path: Path, columns: Mapping[str, str] | None = None) -> list[tuple[str | None, str | None, object]]:
    return [(sentence.text, sentence.text_pair, *sentence.columns[LABEL]) for sentence in read(path, columns)]


def fault(path: Path, columns: Mapping[str, str] | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read(path, columns)
    return str(caught.value).removeprefix(f"{path.parent}/")


# Round trips ----------------------------------------------------------------------------------------------------------


@exact
@given(ROWS, st.sampled_from(",;\t"), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_csv_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], separator: str, quoting: int
) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=separator, quoting=quoting)
    writer.writerows([("text", LABEL), *rows])
    path = put(tmp_path_factory.mktemp("rows"), "a.csv", stream.getvalue())
    assert found(path) == [(text, None, label) for text, label in rows]


@exact
@given(ROWS, st.booleans())
def test_json_lines_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], ascii_only: bool
) -> None:
    lines = [json.dumps({LABEL: label, "text": text, "id": 3}, ensure_ascii=ascii_only) for text, label in rows]
    path = put(tmp_path_factory.mktemp("rows"), "a.jsonl", "\n".join(lines))
    assert found(path) == [(text, None, label) for text, label in rows]
    assert [sentence.lines for sentence in read(path)] == [(number,) for number in range(1, len(rows) + 1)]


@exact
@given(st.lists(st.tuples(TEXTS.filter(lambda text: not set(text) & set("\t\n\r")), LABELS), min_size=1, max_size=8))
def test_tab_separated_fields_are_read_as_they_stand(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    content = "".join(f"{text}\t{label}\n" for text, label in [("text", LABEL), *rows])
    assert found(put(tmp_path_factory.mktemp("rows"), "a.tsv", content)) == [(text, None, lab) for text, lab in rows]


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
def test_a_byte_order_mark_and_windows_line_ends_are_passed_over(tmp_path: Path, name: str) -> None:
    lines = {
        "a.tsv": ["label\ttext", "good\ta b", "", "bad\tc"],
        "a.csv": ["label,text", 'good,"a b"', "", "bad,c"],
        "a.jsonl": ['{"label": "good", "text": "a b"}', "", " ", '{"label": "bad", "text": "c"}'],
    }[name]
    path = put(tmp_path, name, b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert found(path) == [("a b", None, "good"), ("c", None, "bad")]
    assert [sentence.lines for sentence in read(path)] == ([(1,), (4,)] if name == "a.jsonl" else [(2,), (4,)])
    assert {sentence.origin for sentence in read(path)} == {str(path)}
    assert {sentence.words for sentence in read(path)} == {()}


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_texts_of_any_length_are_read(tmp_path: Path, name: str) -> None:
    text, before = "ab " * 100_000 + "c", csv.field_size_limit()
    line = {"a.csv": f'text,label\n"{text}",good\n', "a.tsv": f"text\tlabel\n{text}\tgood\n"}.get(name)
    sentences = read_file(put(tmp_path, name, line or json.dumps({"text": text, "label": "good"})), LABEL)
    assert next(sentences).text == text
    assert csv.field_size_limit() == before


def test_a_quote_that_is_never_closed_is_named_with_its_row(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    path = put(tmp_path, "a.csv", 'text,label\na,good\n"b,bad\n' + "c,good\n" * 50_000)
    expected = "a.csv:3: expected a row of CSV, found a fault: unexpected end of data. Is a quote not closed, or not"
    assert expected in fault(path)
    assert csv.field_size_limit() == before


def test_rows_are_known_by_their_first_line(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", 'text,label\n"a\nb\n",good\nc,bad\n\nd,good\n')
    assert [sentence.lines for sentence in read(path)] == [(2,), (5,), (7,)]


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "pair"),
    [
        (["text", "label"], False),
        (["Sentence ", "LABEL"], False),
        (["review", "category"], False),
        (["sentence1", "class", "sentence2"], True),
        (["premise", "label", "hypothesis"], True),
        (["text", "label", "text_pair"], True),
        # A column of row numbers without a name.
        (["text", "label", ""], False),
    ],
)
def test_known_names(tmp_path: Path, header: list[str], pair: bool) -> None:
    values = ["a", "good", "b"][: len(header)]
    expected = [("a", "b" if pair else None, "good")]
    assert found(put(tmp_path, "a.tsv", "\t".join(["idx", *header]) + "\n" + "\t".join(["7", *values]))) == expected
    assert found(put(tmp_path, "a.jsonl", json.dumps(dict(zip(header, values, strict=True))))) == expected


def test_names_of_ones_own_come_first(tmp_path: Path) -> None:
    path = put(tmp_path, "a.tsv", "text\ttweet\tpolarity\tlabel\nno\ta\t1\tx\n")
    assert found(path, {"text": "tweet", LABEL: "polarity"}) == [("a", None, "1")]
    assert found(path, {"text_pair": "tweet"}) == [("no", "a", "x")]


@pytest.mark.parametrize(
    ("content", "columns", "expected"),
    [
        (
            "tweet\tlabel\na\tb\n",
            {},
            "a.tsv:1: the first line is no header: expected a column named text or sentence or sentence1 or premise or "
            "review, found tweet, label; name it under columns in the data table, such as {text: NAME}",
        ),
        ("text\tlabels\na\tb\n", {}, "found text, labels; name it under"),
        (
            "text\tlabel\na\tb\n",
            {"text": "txt"},
            "expected the column 'txt' for text, found text, label. Did you mean 'text'?",
        ),
        ("text\tlabel\ttext\na\tb\tc\n", {}, "a.tsv:1: expected a name once in the header, found 'text' twice"),
    ],
)
def test_headers_are_checked(tmp_path: Path, content: str, columns: dict[str, str], expected: str) -> None:
    assert expected in fault(put(tmp_path, "a.tsv", content), columns)


# Faults ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.tsv", "text\tlabel\na\tx\nb\n", "a.tsv:3: expected 2 fields, as the header has, found 1"),
        ("a.csv", "text,label\na,x\na, b,x\n", "a.csv:3: expected 2 fields, as the header has, found 3"),
        ("a.tsv", "text\tlabel\n \tx\n", "a.tsv:2: expected a text in text, found ' '"),
        ("a.tsv", "text\tlabel\n\u200b\tx\n", "a.tsv:2: expected a text in text, found '\\u200b'"),
        ("a.tsv", "text\tlabel\na\t \n", "a.tsv:2: expected a label, a word or an integer, found ' '"),
        ("a.csv", 'text,label\n"a\n', "a.csv:2: expected a row of CSV, found a fault: unexpected end of data."),
        ("a.csv", 'text,label\n"a" b,x\n', "a.csv:2: expected a row of CSV"),
        ("a.jsonl", '{"text": "a"}', "a.jsonl:1: expected a column named label or class or category, found text"),
        ("a.jsonl", '{"text": 3, "label": 0}', "a.jsonl:1: expected a text in text, found 3"),
        ("a.jsonl", '{"text": "a", "label": null}', "a.jsonl:1: expected a label, a word or an integer, found None"),
        ("a.jsonl", '{"text": "a", "label": 0.5}', "found 0.5"),
        ("a.jsonl", '{"text": "a", "label": NaN}', "found nan"),
        ("a.jsonl", '{"text": "a", "label": 1, "label": 2}', "the key 'label' occurs twice in one object; keep one"),
        ("a.jsonl", '{"text": "a", "label": "b\\nc"}', "found 'b\\nc'"),
        ("a.jsonl", '{"text": "a", "label": "\\ud800"}', "found '\\ud800'"),
        ("a.jsonl", '{"text": "a", "label": "\\u200b"}', "expected a label, a word or an integer"),
        ("a.jsonl", '{"text": "\\ud800", "label": "b"}', "a.jsonl:1: expected whole characters, found"),
        ("a.jsonl", '{"text": "a", "text_pair": "", "label": "b"}', "expected a text in text_pair, found ''"),
        ("a.jsonl", "{}", "a.jsonl:1: expected a column named text or"),
        ("a.jsonl", "\n[1]", "a.jsonl:2: expected a JSON object such as"),
        ("a.jsonl", "{'text': 'a'}", "a.jsonl:1: expected a JSON object on one line, found a fault: Exp"),
        ("a.jsonl", "[" * 100_000, "a.jsonl:1: expected a JSON object on one line, found a fault"),
        ("a.jsonl", "", "a.jsonl: expected sentences, found none"),
        ("a.tsv", "", "a.tsv: expected sentences, found none"),
        ("a.csv", "", "a.csv: expected sentences, found none"),
        ("a.csv", "text,label\n", "a.csv: expected sentences, found none"),
        ("a.tsv", b"text\tlabel\na\tx\n\xe9\tx\n", "a.tsv:3: expected UTF-8, found the bytes e9"),
        ("a.csv", b"text,label\na,x\n\xe9,x\n", "a.csv:3: expected UTF-8, found the bytes e9"),
        ("a.jsonl", b'{"text": "a", "label": 1}\n\xe9', "a.jsonl:2: expected UTF-8, found the bytes e9"),
    ],
)  # fmt: skip
def test_faults_have_file_and_line(tmp_path: Path, name: str, content: str | bytes, expected: str) -> None:
    assert expected in fault(put(tmp_path, name, content))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        *(
            ("a.tsv", f"text\tlabel\na\t{label}\n", [("a", None, label)])
            for label in ("بی\u200cطرف", "très\u00a0bien", "👩\u200d💻")
        ),
        ("a.csv", "text,label,,\na,x,,\nb,y,,\n", [("a", None, "x"), ("b", None, "y")]),
        ("a.jsonl", '{"text": "a", "label": 0}', [("a", None, "0")]),
    ],
)
def test_labels_may_have_joiners_and_be_integers_and_rows_end_in_empty_fields(
    tmp_path: Path, name: str, content: str, expected: list[tuple[str, None, str]]
) -> None:
    assert found(put(tmp_path, name, content)) == expected


def test_a_pair_may_be_missing_from_json(tmp_path: Path) -> None:
    lines = ['{"text": "a", "text_pair": "b", "label": 1}', '{"text": "a", "text_pair": null, "label": 1}']
    path = put(tmp_path, "a.jsonl", "\n".join([*lines, '{"text": "a", "label": 1}']))
    assert [pair for _, pair, _ in found(path)] == ["b", None, None]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", "text\tlabel\na\tx\n\tx\nb\nc\ty\n"),
        ("a.csv", 'text,label\na,x\n"",x\nb\nc,y\n'),
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"text": ""}\n7\n{"text": "c", "label": "y"}\n'),
    ],
)
def test_rows_behind_a_faulty_one_are_read(tmp_path: Path, name: str, content: str) -> None:
    faults: list[DataError] = []
    sentences = list(read_file(put(tmp_path, name, content), LABEL, faults.append))
    assert [sentence.text for sentence in sentences] == ["a", "c"]
    first = 2 if name == "a.jsonl" else 3
    assert [fault.line for fault in faults] == [first, first + 1]


# Words and tags -------------------------------------------------------------------------------------------------------


def test_json_lines_of_words_and_tags(tmp_path: Path) -> None:
    lines = [
        '{"tokens": ["New York", "#"], "ner_tags": ["B-LOC", "O"], "id": 3}',
        "",
        '{"words": ["a"], "tags": ["O"]}',
        '{"tokens": [" "], "ner": ["O"]}',
        json.dumps({"tokens": ["a"] * 2_001, "ner": ["O"] * 2_001}),
    ]
    faults: list[DataError] = []
    first, second = read_file(put(tmp_path, "a.jsonl", "\n".join(lines)), "ner", faults.append)
    assert (first.words, first.columns, first.lines) == (("New York", "#"), {"ner": ("B-LOC", "O")}, (1, 1))
    assert (second.words, second.columns) == (("a",), {"ner": ("O",)})
    assert [fault.line for fault in faults] == [4, 5]
    assert "expected a word, found ' '" in str(faults[0])
    assert "a new line, after each sentence, found more than 2,000 words in one" in str(faults[1])
    path = put(tmp_path, "b.jsonl", '{"words": ["a"], "places": ["B-LOC"], "pos": ["X"]}')
    assert next(read_file(path, "ner", names={"ner": "places"})).columns == {"ner": ("B-LOC",)}
    assert next(read_file(path, "upos")).columns == {"upos": ("X",)}
