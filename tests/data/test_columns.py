"""Two-column and .iob2 files, good and bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperx.data.read.formats import read_file
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError


def read(folder: Path, text: str | bytes, name: str = "a.tsv") -> list[Sentence]:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_file(folder / name, "ner"))


NER_TEXT = "# sent_id = 1\n# text = a b\n1\ta\tB-PER\t-\tx\n2\tb\tI-PER\t-\t-\n\n# text = #\n1\t#\tO\t-\t-\n"
RANGES = "0.1\tx\tO\t-\t-\n1-2\tab\tB-PER\t-\t-\n1\ta\tB-PER\t-\t-\n2\tb\tO\t-\t-\n2.1\ty\tO\t-\t-\n3\tc\tO\t-\t-\n"
TABS = "-DOCSTART-\tO\n\n#\tO\nNew York\tB-LOC \n\n \n\u3000x\u00a0\tO\n# a comment? no\tO"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "a.tsv",
            TABS,
            [
                (("#", "New York"), ("O", "B-LOC"), (3, 4), None),
                (("\u3000x\u00a0", "# a comment? no"), ("O", "O"), (7, 8), None),
            ],
        ),
        (
            "a.conll",
            "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG \nx\u00a0y  NN  I-NP  O\n",
            [(("EU", "x\u00a0y"), ("B-ORG", "O"), (3, 4), None)],
        ),
        (
            "a.iob2",
            NER_TEXT,
            [(("a", "b"), ("B-PER", "I-PER"), (3, 4), "a b"), (("#",), ("O",), (7,), "#")],
        ),
        ("a.iob2", RANGES, [(("a", "b", "c"), ("B-PER", "O", "O"), (3, 4, 6), None)]),
    ],
    ids=["tabs", "spaces", "universal ner", "ranges and empty nodes"],
)
def test_words_labels_lines_and_text(tmp_path: Path, name: str, text: str, expected: list[object]) -> None:
    found = read(tmp_path, text, name)
    assert [(one.words, one.columns["ner"], one.lines, one.text) for one in found] == expected
    assert {name for one in found for name in one.columns} == {"ner"}


@pytest.mark.parametrize(
    "word", ["e\u0301", "a\u200bb", "\u200d", "x" * 100_000, "a\u2028b", "10  000", "a\u00a0", "#"]
)
def test_unusual_words_are_kept(tmp_path: Path, word: str) -> None:
    assert read(tmp_path, f"{word}\tO\n")[0].words == (word,)


def test_a_comment_blames_no_good_line(tmp_path: Path) -> None:
    """It is not a line with columns, whatever it holds."""
    for text, words in (
        ("# id 1\tdomain=en\na _ _ O\nb _ _ O\n\n# id 2\nc _ _ B-PER\n", [("a", "b"), ("c",)]),
        ("# from the web, 2020\n#\tO\n#x\tO\n# id 7\n# a word\tO\n", [("#", "#x", "# a word")]),
        ("# text = # 1\n# O\n1 O\n", [("#", "1")]),
        ("# a B-PER\n# O\n", [("#",)]),
    ):
        found = read(tmp_path, text, "a.conll")
        assert [sentence.words for sentence in found] == words
        assert {tag for sentence in found for tag in sentence.columns["ner"]} <= {"O", "B-PER"}
    assert read(tmp_path, "# text = x y\nx\tO\ny\tO\n")[0].text == "x y"


def test_a_first_line_at_fault_is_named_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("New York B-LOC\na O\nb O\n\nc O\n")
    faults: list[DataError] = []
    assert [sentence.words for sentence in read_file(tmp_path / "a.txt", "ner", faults.append)] == [("c",)]
    assert [str(fault) for fault in faults] == [
        f"{tmp_path}/a.txt:1: expected a word and its tag, found 3 columns where line 2 has 2; write only word, tab "
        "and tag, or '# ' before a comment; the name of a CoNLL-U file ends in .conllu"
    ]


def test_a_sentence_of_universal_ner_has_one_fault_and_the_others_are_read(tmp_path: Path) -> None:
    """Behind a missing blank line no index is as expected."""
    rest = "\t-\t-\n"
    text = f"1\ta\tO{rest}1\tb\tO{rest}2\tc\tO{rest}3\td\tO\n\n1\te\tO{rest}\n1-2\tfg\tO{rest}\n"
    (tmp_path / "a.iob2").write_text(text)
    faults: list[DataError] = []
    (sentence,) = read_file(tmp_path / "a.iob2", "ner", faults.append)
    assert sentence.words == ("e",)
    assert [fault.line for fault in faults] == [2, 8]
    assert "found id '1'; ids count up from 1, anew after a blank line" in faults[0].message


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("a\tO\nb\n", "a.tsv", "a.tsv:2: expected a word and its tag, found 1 columns where line 1 has 2"),
        ("a\tb\tO\n", "a.tsv", "a.tsv:1: expected a word and its tag, found 3 columns"),
        (
            "\t".join("1234567890"),
            "a.conll",
            "found 10 columns; write only word, tab and tag",
        ),
        ("a O\nNew York B-LOC\n", "a.txt", "a.txt:2: expected a word and its tag, found 3 columns where line 1 has 2"),
        ("a\t\n", "a.tsv", "a.tsv:1: expected a tag after the word 'a', found nothing"),
        ("\tO\n", "a.tsv", "a.tsv:1: expected a word, found ''"),
        ("a\tO\n\u3000\tO\n", "a.tsv", "a.tsv:2: expected a word, found '\\u3000'"),
        ("\x01\tO\n", "a.bio", "a.bio:1: expected a word, found '\\x01'"),
        ("\u00a0\n", "a.tsv", "a.tsv:1: expected a word and its tag, found 1 columns"),
        (b"a\tO\n\xc3\tO\n", "a.tsv", "a.tsv:2: expected UTF-8, found the bytes c3"),
        ("a\tO\n".encode("utf-16"), "a.tsv", "a.tsv:1: expected UTF-8, found the byte order mark of UTF-16"),
        ("", "a.tsv", "a.tsv: expected sentences, found none"),
        ("a\tO\nb\tO\nNew York B-LOC\n", "a.tsv", "a.tsv:3: expected a word and its tag, found 1 columns"),
        ("a\tO\n#x\n", "a.tsv", "a.tsv:2: expected a word and its tag, found 1 columns where line 1 has 2"),
        ("# id 7\tx=en\na\tO\n", "a.tsv", "a.tsv:1: expected a word and its tag, found '# id 7\\tx=en', which"),
        ("# about\n\na\tO\n", "a.tsv", "a.tsv:1: expected a sentence, found comments without words"),
        ("en:a\tO\nen:b\tO\nen:c\tO\n", "a.tsv", "a.tsv:1: expected words, found en: before every word, as in WikiANN"),
        ("\n \n-DOCSTART-\tO\n", "a.tsv", "a.tsv: expected sentences, found none"),
        ("1\ta\tO\n", "a.iob2", "a.iob2:1: expected 5 columns separated by tabs"),
        ("2\ta\tO\t-\t-\n", "a.iob2", "a.iob2:1: expected word 1 of the sentence, found id '2'"),
        ("# a\n1\ta\tO\t-\t-\n3\tb\tO\t-\t-\n", "a.iob2", "a.iob2:3: expected word 2 of the sentence, found id '3'"),
        ("_\ta\tO\t-\t-\n", "a.iob2", "a.iob2:1: expected word 1 of the sentence, found id '_'"),
        ("1-2\ta\tO\t-\t-\n1\ta\tO\t-\t-\n", "a.iob2", "a.iob2:1: expected 2 words, as the range says, found 1"),
        ("# text = a\n\n1\ta\tO\t-\t-\n", "a.iob2", "a.iob2:1: expected a sentence, found comments without words"),
    ],
)
def test_broken_files_name_the_line(tmp_path: Path, text: str | bytes, name: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, text, name)
    assert message in str(caught.value)
