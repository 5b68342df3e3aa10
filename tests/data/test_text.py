"""The input of predictions."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperx.config import InputFormat
from hyperx.data.read.base import Request
from hyperx.data.read.formats import read_input
from hyperx.data.read.lines import FirstFaults
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError

CONLLU = """\
# sent_id = a
# text = Vámonos al mar.
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\t_\t_\t_\t_\t_\tx=1
2\tnos\tnosotros\tPRON\t_\t_\t_\t_\t_\t_
2.1\tx\t_\t_\t_\t_\t_\t_\t0:root\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\t_\t_\t_\t_\t_\t_
4\tel\tel\tDET\t_\t_\t_\t_\t_\t_
5\tmar\tmar\tNOUN\t_\t_\t_\t_\t_\tSpaceAfter=No
6\t.\t.\tPUNCT\t_\t_\t_\t_\t_\t_

1\t#\t_\t_\t_\t_\t_\t_\t_\t_

"""


def read(
    text: str | bytes, input_format: InputFormat, *, language: str = "en", reads: Sequence[str] = ("words",)
) -> list[Sentence]:
    data = text if isinstance(text, bytes) else text.encode()
    return list(read_input(io.BytesIO(data), input_format, Request(language=language, reads=reads)))


def row(identifier: str, form: str = "w", columns: int = 10) -> str:
    return "\t".join([identifier, form, *"_" * (columns - 2)])


def test_raw_text() -> None:
    first, second = read("\ufeffHello, world.\r\n\n  \n\u200b\nBye!", "raw")
    assert first.words == ("Hello", ",", "world", ".")
    assert (first.text, first.space_after) == ("Hello, world.", (False, True, False, True))
    assert (first.origin, first.lines) == ("<stdin>", (1, 1, 1, 1))
    assert (second.words, second.lines) == (("Bye", "!"), (5, 5))


def test_running_text() -> None:
    found = read("\ufeffIt is\r\nMr. Poe. Hi\n\u200b\n\nBye!\n\n\n", "text")
    assert [one.text for one in found] == ["It is Mr. Poe.", "Hi", "Bye!"]
    assert [set(one.lines) for one in found] == [{1}, {2}, {5}]
    assert [one.comments for one in found] == [("# newdoc", "# newpar"), (), ("# newpar",)]
    (found,) = read("a\tb c.", "text", reads=["text"])
    assert (found.text, found.text_pair, found.words) == ("a b c.", None, ())


def test_running_text_without_blank_lines_needs_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperx.data.read.texts.MOST_LINES", 2)
    given_out = [0]
    sentences = read_input(lines_of(b"Hi!\n", 100, given_out), "text", Request(language="en"))
    assert next(sentences).words == ("Hi", "!")
    assert given_out[0] <= 4
    assert len(list(sentences)) == 99


def test_texts_without_words() -> None:
    data = "好  电影\n\n a\u00a0b \tc  d\n\u200b\t \n"
    first, second = read(data, "raw", language="zh", reads=["text"])
    assert (first.text, first.text_pair, first.words, first.lines) == ("好 电影", None, (), (1,))
    assert (second.text, second.text_pair, second.line_of(0)) == ("a b", "c d", 3)
    (found,) = read("a, bee.\tc d\n", "raw", reads=["text", "words"])
    assert (found.words, found.text, found.text_pair) == (("a", ",", "bee", "."), "a, bee.", "c d")


def test_json_lines() -> None:
    lines = '{"premise": "a,\\n b", "hypothesis": "c", "label": 3}\n\n{"text": "d "}\n'
    first, second = read(lines, "jsonl")
    assert (first.text, first.text_pair, first.words, first.columns) == ("a,\n b", "c", ("a", ",", "b"), {})
    assert (second.text, second.text_pair, second.words, second.lines) == ("d ", None, ("d",), (3,))
    (alone, _) = read(lines, "jsonl", reads=["text"])
    assert (alone.text, alone.words) == (first.text, ())


def test_tokens() -> None:
    first, second, third = read("10\u00a0000  dogs\tbark .\r\n\n我 是 学生\u3000。\na\u2028b", "tokens")
    assert first.words == ("10\u00a0000", "dogs", "bark", ".")
    assert (first.text, first.space_after, first.lines) == (None, None, (1, 1, 1, 1))
    assert second.words == ("我", "是", "学生", "。")
    assert (third.words, third.line_of(0)) == (("a", "b"), 4)


@pytest.mark.parametrize("comment", ["# id 1c8a\tdomain=en", "# sent = pos", "# $ 5"])
@pytest.mark.parametrize("separator", [" ", "\t"])
def test_columns_with_comments(comment: str, separator: str) -> None:
    rows = [separator.join((word, "_", "_", "O")) for word in ("Anna", "#", "#x")]
    lines = [comment, *rows, "", comment, "-DOCSTART- O", separator.join("1__O")]
    first, second = read("\n".join(lines), "columns")
    assert (first.words, first.lines, first.comments) == (("Anna", "#", "#x"), (2, 3, 4), (comment,))
    assert (second.words, second.lines) == (("1",), (8,))


def test_one_word_a_line_may_begin_like_a_comment() -> None:
    (found,) = read("# \nHashtag\n#metoo\n# sent_id = 3\nAnna\n#\n", "columns")
    assert found.words == ("#", "Hashtag", "#metoo", "Anna", "#")
    assert found.comments == ("# sent_id = 3",)
    assert read("#\n", "columns")[0].words == ("#",)


INDEXED = {
    "conll-x": [row("1", "Anna"), row("2", "lives"), "", row("1", "So")],
    "germeval": ["#\thttp://x [2010]", "1\tAnna\tB-PER\tO", "2\tlives\tO\tO", "", "#\thttp://y", "1\tSo\tO\tO"],
    "iob2": ["# text = So", "1-2\tAnnal\tO\t-\t-", "1\tAnna\tO\t-\t-", "2\tlives\tO\t-\t-", "", "1\tSo\tO\t-\t-"],
    "spaces": ["1 Anna O", "2 lives O", "", "1 So O"],
}


@pytest.mark.parametrize("name", INDEXED)
def test_words_behind_their_numbers(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        first, second = read("\n".join(INDEXED[name]), "columns")
    assert (first.words, second.words) == (("Anna", "lives"), ("So",))
    assert "the words are in column 2, as the first one counts them" in caplog.text
    assert ("looks like CoNLL-U" in caplog.text) == (name == "conll-x")


def test_json_lines_with_words() -> None:
    lines = (
        '{"words": null, "tokens": ["a", "b"], "ner_tags": [0, 1], "head": [null, 1], "id": "x"}\n'
        '{"words": ["c", "d"], "space_after": [false, true], "text": null}\n'
    )
    first, second = read(lines, "jsonl")
    assert (first.words, first.space_after, first.comments) == (("a", "b"), None, ("# sent_id = x",))
    assert (second.words, second.space_after) == (("c", "d"), (False, True))
    assert [sentence.words for sentence in read(lines, "jsonl", reads=["text"])] == [("a", "b"), ("c", "d")]


def test_conllu_keeps_every_line() -> None:
    first, second = read(CONLLU, "conllu")
    assert first.words == ("Vamos", "nos", "a", "el", "mar", ".")
    assert first.space_after == (False, True, False, True, False, True)
    assert first.text == "Vámonos al mar."
    assert first.lines == (4, 5, 8, 9, 10, 11)
    assert list(first.comments) == CONLLU.split("\n")[:2]
    assert ["\t".join(columns) for columns in first.rows] == CONLLU.split("\n")[2:11]
    assert (second.words, second.text, second.lines) == (("#",), "#", (13,))
    assert [one.words for one in read(CONLLU.rstrip("\n").replace("\n", "\r\n"), "conllu")] == [first.words, ("#",)]


GUESS = "expected words in the first column, found"
WORD = "expected a line of a word, found"


@pytest.mark.parametrize(
    ("input_format", "text", "line", "message"),
    [
        ("raw", "fine\nខ្ញុំជាសិស្ស\n", 2, "Khmer script .* --input_format tokens"),
        ("text", "It is\nfine. It\nis. ខ្ញុំជាសិស្ស។\n", 3, "Khmer script"),
        ("tokens", "a b\nc \x07 d\n", 2, "expected a word"),
        ("jsonl", "\ntext\n", 2, "expected a JSON object on one line"),
        ("jsonl", '{"txt": "a"}', 1, "expected a column named text or .* or words or tokens, .* found txt$"),
        ("jsonl", '{"text": ""}', 1, "expected a text in text, found ''"),
        ("jsonl", '{"text": "ខ្ញុំជាសិស្ស"}', 1, "Khmer script has no spaces"),
        ("jsonl", '{"words": ["a"], "tokens": ["b"]}', 1, "found both, and they differ"),
        ("jsonl", '{"words": ["a"], "space_after": [1]}', 1, "expected space_after as 1 times true or false"),
        ("jsonl", '{"words": ["a"], "text": 5}', 1, "expected a text in text, found 5"),
        ("jsonl", '{"words": ["a"], "text_pair": "\\ud800"}', 1, "lone surrogate"),
        ("jsonl", '{"id": 1, "ner_tags": []}', 1, "or words or tokens, which list words, found id, ner_tags"),
        ("conllu", "Just a sentence.", 1, "found 1 columns; fix the line, or say with --input_format"),
        ("columns", "1\tNUM\n2\tNUM", 1, f"{GUESS} 1, 2, which may be no words"),
        ("columns", "1\tO\n\n1\tO", 1, f"{GUESS} 1, 1, which may be no words"),
        ("columns", "0\ta\n1\tb\n2\tc", 1, f"{GUESS} 0, 1, 2, which may"),
        ("columns", "1\ta\tO\n3\tb\tO\n2\ta\tO\n", 1, f"{GUESS} 1, 3, 2, which may"),
        ("columns", "doc a\ndoc b\ndoc c", 1, f"{GUESS} doc, doc, doc, .*; say with --word_column"),
        ("columns", "B-Genre\tfunny\nO\tfilms\nO\tof", 1, f"{GUESS} B-Genre, O, O, which may"),
        (
            "columns",
            "a b .\tgood\nc d .\tbad\na b\tbad",
            1,
            f"{GUESS} a b ., c d ., .* texts --input_format raw",
        ),
        ("columns", "Anna\nNew York\n", 2, f"{WORD} 2 columns where line 1 has 1"),
        ("columns", "Anna\tO\nNew York\n", 2, f"{WORD} 1 columns where line 1 has 2"),
        ("columns", "a\tX\tO\nb\tO\n", 2, f"{WORD} 2 columns"),
        ("columns", "# id 7\tdomain=en\na\tX\n", 1, f"{WORD} .* which may be a comment or a word"),
        ("columns", "nl:a\nnl:b\nnl:c", 1, "expected words, found nl: before every word"),
        ("columns", "1\ta\tO\n2\tb\tO\n3\tc\tO\n\n2\td\tO\n", 5, "expected word 1 of the sentence, found id '2'"),
        ("columns", "1 a O\n\n1 b O\n2 c O\n\n2 d O\n", 6, "expected word 1 of the sentence, found id '2'"),
        ("columns", "a\n" * 6000, 1, "expected a blank line.* after each sentence, found more than 2,000 words"),
    ],
)
def test_what_cannot_be_read_has_a_line(input_format: InputFormat, text: str, line: int, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(text, input_format)
    assert (caught.value.path, caught.value.line) == ("<stdin>", line)


def test_a_sentence_whose_words_are_miscounted_is_one_fault() -> None:
    faults: list[DataError] = []
    stream = io.BytesIO(b"1\ta\tO\n2\tb\tO\n\n2\td\tO\n\n1\te\tO\n")
    found = read_input(stream, "columns", Request(on_fault=faults.append))
    assert [sentence.words for sentence in found] == [("a", "b"), ("e",)]
    assert [fault.line for fault in faults] == [4]


def test_of_many_faults_the_first_are_kept() -> None:
    faults = FirstFaults(most=2)
    assert list(read_input(io.BytesIO(b"\x07\n" * 50), "tokens", Request(on_fault=faults))) == []
    assert (faults.count, [fault.line for fault in faults.first]) == (50, [1, 2])


@pytest.mark.parametrize("begin", ["\n", "# a comment\n"], ids=["blank", "comment"])
def test_many_lines_before_the_first_word(begin: str) -> None:
    first, second = read(120 * begin + "Ada\tB-PER\nsees\tO\n\nit\tO\n", "columns")
    assert (first.words, second.words) == (("Ada", "sees"), ("it",))


@pytest.mark.parametrize("input_format", get_args(InputFormat))
@pytest.mark.parametrize("line", [1, 3])
def test_a_nul_byte_is_a_fault_of_its_line(input_format: InputFormat, line: int) -> None:
    good = {"conllu": row("1", "cat"), "jsonl": '{"text": "cat"}'}.get(input_format, "cat") + "\n\n"
    parts = [good, good]
    parts.insert(line // 2, good.replace("cat", "Ada\0"))
    faults: list[DataError] = []
    stream = io.BytesIO("".join(parts).encode())
    found = list(read_input(stream, input_format, Request(language="en", on_fault=faults.append)))
    assert [sentence.words for sentence in found] == [("cat",)] * 2
    assert [(fault.line, "NUL byte; remove it" in str(fault)) for fault in faults] == [(line, True)]


@pytest.mark.parametrize("input_format", get_args(InputFormat))
def test_text_that_is_not_utf8(input_format: InputFormat) -> None:
    good = {"conllu": row("1"), "jsonl": '{"text": "fine"}'}.get(input_format, "fine") + "\n\n"
    bad = "1 café\n".encode("latin-1")
    with pytest.raises(DataError, match="<stdin>:3: expected UTF-8, found the bytes e9 at byte 6 of the line; convert"):
        read(good.encode() + bad, input_format)
    faults: list[DataError] = []
    stream = io.BytesIO(good.encode() + bad + b"\n" + good.encode())
    found = list(read_input(stream, input_format, Request(language="en", on_fault=faults.append, fills=True)))
    assert [sentence.error is not None for sentence in found] == [False, True, False]
    assert [fault.line for fault in faults] == [3]


@pytest.mark.parametrize("input_format", get_args(InputFormat))
def test_nothing_in_nothing_out(input_format: InputFormat) -> None:
    assert read("", input_format) == []
    assert read("\n \n", input_format) == []


def lines_of(unit: bytes, total: int, given_out: list[int]) -> Iterator[bytes]:
    """The unit's lines, again and again; counts the units given out in the list's only item."""
    for _ in range(total):
        given_out[0] += 1
        yield from io.BytesIO(unit)


UNITS: dict[InputFormat, bytes] = {
    "raw": b"Hi!\n",
    "text": b"Hi\nyou.\n\n",
    "tokens": b"one two three\n",
    "conllu": row("1").encode() + b"\n\n",
    "columns": b"one\ntwo\nthree\n\n",
}


@pytest.mark.parametrize("input_format", UNITS)
def test_reading_is_lazy(input_format: InputFormat) -> None:
    given_out = [0]
    lines = lines_of(UNITS[input_format], 1000, given_out)
    sentences = read_input(lines, input_format, Request(language="en"))
    for number in range(1, 4):
        next(sentences)
        assert given_out == [number]


@pytest.mark.parametrize("input_format", ["tokens", "conllu"])
def test_memory_is_constant_over_100_000_sentences(input_format: InputFormat) -> None:
    lines = lines_of(UNITS[input_format], 100_000, [0])
    sentences = read_input(lines, input_format, Request(language="en"))
    first = sum(1 for _ in islice(sentences, 95_000))
    tracemalloc.start()  # tracing is slow: what piles up does so over the last ones too
    try:
        rest = sum(1 for _ in sentences)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert first + rest == 100_000
    assert peak < 100_000


word = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=8)


@settings(max_examples=100, deadline=None)
@given(sentences=st.lists(st.lists(word, min_size=1, max_size=5), max_size=5))
def test_no_token_is_lost(sentences: list[list[str]]) -> None:
    text = "\n".join(" ".join(words) for words in sentences)
    assert [list(sentence.words) for sentence in read(text, "tokens")] == sentences
