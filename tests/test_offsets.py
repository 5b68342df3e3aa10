"""Character offsets: where each word and entity stands in the text as it was given."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import conllu
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperx.config import InputFormat, OutputFormat
from hyperx.data.read.base import Request
from hyperx.data.read.formats import OUTPUT_FORMATS, read_input
from hyperx.data.read.segmentation import offsets_in, word_segmenter
from hyperx.data.read.sentence import Prediction, Sentence
from hyperx.errors import DataError
from hyperx.model import HyperX
from hyperx.prediction.request import read_texts

TRICKY = [
    "Die  Straße \t ist\u00a0nass .",
    "\u200b \u200bAda\u200b\u200b sees\u2060 \u200b \u200eLondon.\u200f ",
    "e\u0301te\u0301 nai\u0308f \u0301 a \u0301",
    "👩\u200d👩\u200d👧 ok 👍🏽👍🏽 \U0001d518nd",
    "he said ``no'' ... the the the",
    "a\u2028b\x0bc\u3000d",
    "и т.д. и т.п.",
]
UNSPACED = [
    ("zh", "jieba", "我  爱\u200b北京，天安门。"),
    ("ja", "sudachipy", "東京 へ行きました。 Ada も"),
    ("th", "pythainlp", "ฉัน รักภาษาไทย ok"),
]
WITH_RANGES = """\
# text =  Vámonos  al mar, don't!
1-2	Vámonos	_	_	_	_	_	_	_	_
1	Vamos	_	_	_	_	_	_	_	_
2	nos	_	_	_	_	_	_	_	_
2.1	nada	_	_	_	_	_	_	_	_
3-4	al	_	_	_	_	_	_	_	_
3	a	_	_	_	_	_	_	_	_
4	el	_	_	_	_	_	_	_	_
5	mar	_	_	_	_	_	_	_	SpaceAfter=No
6	,	_	_	_	_	_	_	_	_
7-8	don't	_	_	_	_	_	_	_	SpaceAfter=No
7	do	_	_	_	_	_	_	_	_
8	n't	_	_	_	_	_	_	_	_
9	!	_	_	_	_	_	_	_	_

"""


def pieces(sentence: Sentence, text: str) -> list[str]:
    assert sentence.offsets is not None
    return [text[start:end] for start, end in sentence.offsets]


def read(text: str | bytes, form: InputFormat, **asked: Any) -> list[Sentence]:
    data = text if isinstance(text, bytes) else text.encode()
    return list(read_input(io.BytesIO(data), form, Request(**{"language": "en", **asked})))


def written(form: OutputFormat, sentence: Sentence, ner: Sequence[str] | None = None) -> str:
    tags = tuple(ner or ("O",) * len(sentence.words))
    return OUTPUT_FORMATS[form].render(Prediction(sentence, {"ner": tags}, {"ner": {"ner": tags}}), 1)


def check_segmented(text: str, language: str) -> None:
    """All characters of a text that can be seen are in words, in order, and the words where they are said to be."""
    sentence = word_segmenter(language).segment(text)
    if sentence is not None:
        assert tuple(pieces(sentence, text)) == sentence.words
        ends = [end for _, end in sentence.offsets or ()]
        assert all(end <= start for end, (start, _) in zip(ends, (sentence.offsets or ())[1:], strict=False))


tricky = st.sampled_from("ab .,'\t\n\r\u00a0\u3000\u200b\u200d\u0301\u2060👍🏽")
odd = st.text(st.one_of(tricky, st.characters(codec="utf-8")))


@settings(deadline=None)  # the first text waits for spaCy
@given(text=odd)
def test_words_are_where_their_offsets_say(text: str) -> None:
    with suppress(DataError):  # a script without spaces
        check_segmented(text, "en")


@pytest.mark.parametrize("text", TRICKY)
def test_words_among_marks_joiners_and_spaces(text: str) -> None:
    for language in ("en", "ru", "ar"):
        check_segmented(text, language)


@pytest.mark.parametrize(("language", "library", "text"), UNSPACED)
def test_words_that_dictionaries_cut(language: str, library: str, text: str) -> None:
    pytest.importorskip(library, reason=f"{library} is not installed: pip install 'hyperx-nlp[{language}]'")
    check_segmented(text, language)
    check_segmented(f" \t{text}  {text}", language)


@given(words=st.lists(st.text("ab\u0301.", min_size=1), max_size=5), text=odd)
def test_offsets_are_those_of_the_text_or_none(words: list[str], text: str) -> None:
    assert (offsets := offsets_in(spaced := "\u200b  ".join(words), words)) is not None
    assert [spaced[start:end] for start, end in offsets] == words
    if (offsets := offsets_in(text, words)) is not None:
        assert [text[start:end] for start, end in offsets] == words


# From files -----------------------------------------------------------------------------------------------------------


def test_raw_text_is_the_line_as_it_stands() -> None:
    line = "  Ada\tsees  \u200b 👍🏽 London. "
    (sentence,) = read(line + "\r\n", "raw")
    assert sentence.words == ("Ada", "sees", "👍🏽", "London", ".")
    assert sentence.text == line
    row = json.loads(written("jsonl", sentence, ["B-PER", "O", "O", "B-LOC", "O"]))
    assert [row["text"][slice(*one)] for one in zip(row["start_char"], row["end_char"], strict=True)] == row["words"]
    assert [line[one["start_char"] : one["end_char"]] for one in row["entities"]] == ["Ada", "London"]
    (parsed,) = conllu.parse(written("conllu", sentence))
    assert parsed.metadata["text"] == "Ada sees 👍🏽 London."
    misc = [token["misc"] for token in parsed]
    assert [line[int(one["start_char"]) : int(one["end_char"])] for one in misc] == list(sentence.words)
    assert misc[3]["SpaceAfter"] == "No"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_offsets_in_running_text_count_in_the_document(end: str) -> None:
    lines = ["\tIt is  Mr.", "Poe.  \u200b Hi you 👍🏽!", "", " \u00a0", "Bye!  ", "", *["on and on"] * 2500, "End."]
    text = end.join(lines)
    found = read("\ufeff" + text, "text")
    assert len(found) > 4
    assert [word for one in found for word in pieces(one, text)] == [word for one in found for word in one.words]
    starts = [one.offsets[0][0] for one in found if one.offsets]
    assert starts == sorted(set(starts))


def test_nobody_counts_behind_a_line_that_is_not_text() -> None:
    first, second = read(b"It is. \n\xff\xfe\nBye!\n", "text", on_fault=lambda _: None)
    assert first.offsets == ((0, 2), (3, 5), (5, 6))
    assert second.words == ("Bye", "!")
    assert second.offsets is None


def test_words_of_ranges_stand_where_their_range_does() -> None:
    (sentence,) = read(WITH_RANGES, "conllu")
    text = sentence.text or ""
    assert pieces(sentence, text) == ["Vámonos", "Vámonos", "al", "al", "mar", ",", "do", "n't", "!"]
    row = json.loads(written("jsonl", sentence, ["O", "O", "B-LOC", "I-LOC", "I-LOC", "O", "O", "O", "O"]))
    (entity,) = row["entities"]
    assert text[entity["start_char"] : entity["end_char"]] == entity["text"] == "al mar"
    assert "start_char" not in written("conllu", sentence), "lines that were read stay as they are"


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("tokens", "Ada sees .\n"),
        ("columns", "Ada\nsees\n.\n"),
        ("columns", "# text = Ada saw .\nAda\tO\nsees\tO\n.\tO\n"),
        ("conllu", "1\tAda" + "\t_" * 8 + "\n"),
        ("conllu", "# text = Ida\n1\tAda" + "\t_" * 8 + "\n"),
        ("conllu", "# text = Ada .\n1\tAda" + "\t_" * 8 + "\n"),
        ("jsonl", '{"words": ["Ada", "sees"]}\n'),
        ("jsonl", '{"words": ["Ada", "sees"], "text": "Ada, sees"}\n'),
        ("jsonl", '{"words": ["Ada"], "start_char": 3, "end_char": ["x"]}\n'),
        ("jsonl", '{"words": ["Ada"], "start_char": [true], "end_char": [3]}\n'),
    ],
)
def test_without_their_text_words_have_no_offsets(form: InputFormat, text: str) -> None:
    (sentence,) = read(text, form)
    assert sentence.words[0] == "Ada"
    assert sentence.offsets is None
    for output in OUTPUT_FORMATS:
        assert "start_char" not in written(output, sentence)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("columns", "# text = Ada  sees.\nAda\tO\nsees\tO\n.\tO\n"),
        ("jsonl", '{"words": ["Ada", "sees", "."], "text": "Ada  sees."}\n'),
        ("jsonl", '{"text": "Ada  sees."}\n'),
    ],
)
def test_words_that_spell_their_text_have_offsets(form: InputFormat, text: str) -> None:
    (sentence,) = read(text, form)
    assert sentence.offsets == ((0, 3), (5, 9), (9, 10))


def test_json_lines_keep_the_offsets_of_a_document() -> None:
    for sentence in read("It is. \n Bye  now!\n", "text"):
        line = written("jsonl", sentence)
        (again,) = read(line, "jsonl")
        assert again.offsets == sentence.offsets
        assert written("jsonl", again) == line


# From Python ----------------------------------------------------------------------------------------------------------


def test_offsets_of_python_count_in_the_given_text(model: HyperX) -> None:
    texts: list[Any] = ["  cat\tsees  Ada Lovelace! ", ["cat", "sees", "Ada"]]
    first, second = model.predict(texts, language="en")
    assert tuple(texts[0][start:end] for start, end in first.offsets or ()) == first.words
    (entity,) = first.entities
    assert entity[:4] == ("PER", 2, 4, "Ada Lovelace")
    assert texts[0][entity.start_char : entity.end_char] == "Ada Lovelace"
    assert second.offsets is None
    assert [(one.text, one.start_char, one.end_char) for one in second.entities] == [("Ada", None, None)]


@pytest.fixture(scope="module")
def model(trained: Any) -> HyperX:
    return HyperX.from_pretrained(trained)


@pytest.mark.parametrize("reads", [["words"], ["words", "text"]])
def test_texts_stay_as_they_were_given(reads: list[str]) -> None:
    for sentence, text in zip(read_texts(TRICKY, None, language="en", reads=reads), TRICKY, strict=True):
        assert sentence.text == text
        assert tuple(pieces(sentence, text)) == sentence.words
