"""Raw text to words."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hyperx
from hyperx.data.read import unspaced
from hyperx.data.read.segmentation import (
    LONGEST_CHUNK,
    WordSegmenter,
    is_visible,
    sentence_pieces,
    word_segmenter,
)
from hyperx.data.read.sentence import Sentence
from hyperx.data.read.unspaced import unspaced_script
from hyperx.errors import DataError

SEGMENTERS = {code: WordSegmenter(code) for code in ("en", "de", "gd", "ru", "tr", "hi", "ko", "vi", "gn", "xx")}


def words(line: str, language: str = "en") -> tuple[str, ...]:
    sentence = SEGMENTERS[language].segment(line)
    assert sentence is not None
    return sentence.words


def rebuilt(sentence: Sentence) -> str:
    assert sentence.space_after is not None
    pieces = zip(sentence.words, sentence.space_after, strict=True)
    return "".join(word + " " * space for word, space in pieces).rstrip(" ")


@pytest.mark.parametrize(
    ("language", "line", "expected"),
    [
        ("en", "I don't know.", ("I", "do", "n't", "know", ".")),
        ("de", "Das ist z.B. gut!", ("Das", "ist", "z.B.", "gut", "!")),
        ("tr", "Ankara'ya gitti.", ("Ankara'ya", "gitti", ".")),
        ("hi", "यह हिन्दी है।", ("यह", "हिन्दी", "है", "।")),
        ("ko", "나는 학교에 갔다.", ("나는", "학교에", "갔다", ".")),
        ("vi", "Tôi đi học.", ("Tôi", "đi", "học", ".")),
        ("gn", "Mba'éichapa, che irũ?", ("Mba'éichapa", ",", "che", "irũ", "?")),
    ],
)
def test_words_of_several_languages(language: str, line: str, expected: tuple[str, ...]) -> None:
    assert words(line, language) == expected


def test_text_and_space_after() -> None:
    sentence = SEGMENTERS["en"].segment("  Hello,\t\u00a0 world (again)!\n")
    assert sentence is not None
    assert sentence.text == "Hello, world (again)!"
    assert sentence.words == ("Hello", ",", "world", "(", "again", ")", "!")
    assert sentence.space_after == (False, True, True, False, False, False, True)


@pytest.mark.parametrize("line", ["", " ", "\t\n", "\u00a0\u3000", "\u200b", "\x00 \u200d\ufeff"])
def test_a_line_without_words(line: str) -> None:
    assert SEGMENTERS["en"].segment(line) is None


@pytest.mark.parametrize(("language", "line"), [("gd", "tha e an diugh"), ("ru", "и т.д. и т.п.")])
def test_rules_with_spaces_make_several_words(language: str, line: str) -> None:
    assert " ".join(words(line, language)) == line
    assert words(line, language) == tuple(line.split())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("I ❤️.", ("I", "❤️", ".")),
        ("👍🏽 ok", ("👍🏽", "ok")),
        ("a 👩‍💻!", ("a", "👩‍💻", "!")),
        ("nai\u0308ve", ("nai\u0308ve",)),
        ("(\u200bend) \u200bnext", ("(\u200b", "end", ")", "\u200bnext")),
        ("a \u200b b", ("a", "b")),
    ],
)
def test_invisible_characters_and_marks_stay_with_their_word(line: str, expected: tuple[str, ...]) -> None:
    assert words(line) == expected


@pytest.mark.parametrize(
    ("line", "script"),
    [
        ("ຂ້ອຍເປັນນັກຮຽນ", "Lao"),
        ("ខ្ញុំជាសិស្ស", "Khmer"),
        ("ကျွန်တော်ကျောင်းသား", "Myanmar"),
        ("ང་སློབ་ཕྲུག་ཡིན།", "Tibetan"),
        ("ꦲꦏ꧀ꦱꦫ", "Javanese"),
    ],
)
def test_scripts_without_spaces_are_refused(line: str, script: str) -> None:
    assert unspaced_script(line) == script
    with pytest.raises(DataError, match=f"{script} script has no spaces between words.* --input_format tokens"):
        WordSegmenter("en").segment(line)


CUT = [
    ("zh", "zh", "我是学生。", "我 是 学生 。"),
    ("zh", "zh", "我們用Windows XP是學生嗎", "我們 用 Windows XP 是 學生 嗎"),
    ("yue", "zh", "佢係學生。", "佢 係 學生 。"),
    ("zh", "zh", "優の良品", "優 の 良品"),
    ("en", "zh", "iPad 手机很好用", "iPad 手机 很 好 用"),
    ("ja", "ja", "東京都庁。", "東京 都庁 。"),
    ("en", "ja", "私は学生です。", "私 は 学生 です 。"),
    ("ja", "ja", "Windows XPを使った", "Windows XP を 使っ た"),
    ("th", "th", "ผมเป็นนักเรียน มาจาก Berlin", "ผม เป็น นักเรียน มาจาก Berlin"),
]


def needs(extra: str) -> None:
    """Skip a test where the libraries of an extra are not installed."""
    for library in {"zh": ("jieba", "opencc"), "ja": ("sudachipy", "sudachidict_core"), "th": ("pythainlp",)}[extra]:
        if find_spec(library) is None:
            pytest.skip(f"{library} is not installed: pip install 'hyperx-nlp[{extra}]'")


@pytest.mark.parametrize(("language", "extra", "line", "expected"), CUT)
def test_chinese_japanese_and_thai_are_cut_by_dictionaries(
    language: str, extra: str, line: str, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    needs(extra)
    monkeypatch.setenv("HOME", str(tmp_path))
    sentence = WordSegmenter(language).segment(line)
    assert sentence is not None
    assert " ".join(sentence.words) == expected
    assert sentence.text == line == rebuilt(sentence)
    assert list(tmp_path.iterdir()) == []
    assert "PYTHAINLP_READ_ONLY" not in os.environ


@pytest.mark.parametrize(("extra", "word"), [("zh", "學生"), ("ja", "学生です"), ("th", "นักเรียน")])
def test_a_long_line_without_spaces_is_cut_by_any_thread(extra: str, word: str) -> None:
    needs(extra)
    line = word * 15_000
    assert rebuilt(segmented(extra, line)) == line
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: segmented(extra, word).words, range(20)))) == 1


def segmented(language: str, line: str) -> Sentence:
    sentence = word_segmenter(language).segment(line)
    assert sentence is not None
    return sentence


@settings(max_examples=100, deadline=None)
@given(line=st.text(st.sampled_from("我們學生発が゙ー・ทำกั้ำ\u200b 　.,1a-，。「é\u0301👩\u200d\u0e33"), max_size=40))
@pytest.mark.parametrize("extra", ["zh", "ja", "th"])
def test_words_of_dictionaries_joined_are_the_line(extra: str, line: str) -> None:
    needs(extra)
    if unspaced_script(line) not in (None, *(("Thai",) if extra == "th" else ("Han", "Japanese kana"))):
        return
    sentence = word_segmenter(extra).segment(line)
    normalised = " ".join(chunk for chunk in line.split() if is_visible(chunk))
    assert (rebuilt(sentence) if sentence else "") == normalised


@pytest.mark.parametrize(
    ("library", "extra", "language", "line"),
    [
        ("jieba", "zh", "zh", "我是学生。"),
        ("opencc", "zh", "en", "我是学生。"),
        ("sudachipy", "ja", "ja", "学生。"),
        ("pythainlp.tokenize", "th", "en", "ผมเป็นนักเรียน"),
    ],
)
def test_a_missing_library_is_named_with_its_install_command(
    library: str, extra: str, language: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    unspaced._loaded.cache_clear()
    with pytest.raises(DataError, match=rf'pip install "hyperx-nlp\[{extra}\]", or .* --input_format tokens'):
        WordSegmenter(language).segment(line)


@pytest.mark.parametrize("line", ["The kanji 木 means tree.", "100 ฿ and 5 。", "한국어 문장", "Ελληνικά", "", "..."])
def test_a_stray_character_is_let_pass(line: str) -> None:
    assert unspaced_script(line) is None


def test_a_name_in_such_a_script_is_a_word_among_others() -> None:
    line = "She flew to Tokyo (東京) in May; สวัสดี means hello, 手机 a phone."
    assert unspaced_script(line) is None
    found = words(line)
    assert {"東京", "สวัสดี", "手机", "May"} <= set(found)


@pytest.mark.parametrize(
    "code", ["tur", "tr-TR", "tr_tr", "no", "nb", "ku", "zz", "", "not a language", "../en", "a.b"]
)
def test_every_language_code_has_rules(code: str) -> None:
    sentence = WordSegmenter(code).segment("Ja, nei.")
    assert sentence is not None
    assert sentence.words == ("Ja", ",", "nei", ".")


@pytest.mark.parametrize("line", ["a" * 1_000_000, "$" * 1_000_000, "ab c, " * 166_666])
def test_a_line_of_a_million_characters(line: str) -> None:
    started = time.perf_counter()
    sentence = SEGMENTERS["en"].segment(line)
    assert sentence is not None
    assert rebuilt(sentence) == line.strip()
    assert time.perf_counter() - started < 60


def test_a_long_chunk_stays_a_word() -> None:
    long = "क्षि" * LONGEST_CHUNK
    assert words(f"so {long}, (no).") == ("so", f"{long},", "(", "no", ")", ".")


@pytest.mark.parametrize("line", ["a \ud800 b", "a" * 1000 + "\udce9"])
def test_half_a_character_is_refused(line: str) -> None:
    with pytest.raises(DataError, match="surrogate"):
        SEGMENTERS["en"].segment(line)


def test_memory_does_not_grow_with_new_words() -> None:
    segmenter = WordSegmenter("xx")
    segmenter.segment("first")
    strings = segmenter._spacy.vocab.strings
    before = len(strings)
    for number in range(2000):
        segmenter.segment(f"word{number} other{number}.")
    assert len(strings) - before < 10


def test_rules_are_loaded_anew_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperx.data.read.segmentation.TOKENS_BEFORE_RELOAD", 5)
    segmenter = WordSegmenter("xx")
    rules = []
    for _ in range(4):
        sentence = segmenter.segment("one, two.")
        assert sentence is not None
        assert sentence.words == ("one", ",", "two", ".")
        rules.append(segmenter._spacy)
    assert rules[0] is rules[1] is not rules[2] is rules[3]


alphabet = st.characters(exclude_categories=["Cs"])
mixed = st.text(alphabet | st.sampled_from(" \t\u00a0\u200b\u200d.,'\"()$-/:;🏽❤️👩à\u0301"), max_size=60)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(line=mixed, language=st.sampled_from(sorted(SEGMENTERS)))
def test_words_joined_are_the_normalised_line(line: str, language: str) -> None:
    normalised = " ".join(chunk for chunk in line.split() if is_visible(chunk))
    if unspaced_script(line):
        return  # refused, or cut by dictionaries
    sentence = SEGMENTERS[language].segment(line)
    if sentence is None:
        assert normalised == ""
        return
    assert sentence.text == normalised == rebuilt(sentence)
    assert not any(char.isspace() for word in sentence.words for char in word)
    assert all(map(is_visible, sentence.words))


# Sentences ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "It is Mr.\nPoe.  Hi! No\n \nend", ["It is Mr. Poe.", "Hi!", "No", "end"]),
        ("deu", "Am 3. Mai z.B. blieb er. Gut.", ["Am 3. Mai z.B. blieb er.", "Gut."]),
        ("zh", "他走了。真的？", ["他走了。", "真的？"]),
        ("th", "ผม. เป็น\nนักเรียน\n\n", ["ผม. เป็น", "นักเรียน"]),
        ("qqq", "\u200b\n\nOne. Two.", ["One.", "Two."]),
    ],
)
def test_sentences_of_several_languages(language: str, text: str, expected: list[str]) -> None:
    assert hyperx.sentences(text, language) == expected


def test_half_a_character_is_in_no_sentence() -> None:
    with pytest.raises(DataError, match="surrogate"):
        hyperx.sentences("a \ud800 b", "en")


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet | st.sampled_from(" \n\r\t.!?。。\"'()[]«»AbDr1"), max_size=80))
@pytest.mark.parametrize("language", ["en", "de", "hi", "ja", "th", "hy", "qqq"])
def test_sentences_joined_are_the_text(language: str, text: str) -> None:
    assert "".join(sentence_pieces(text, language)) == text
