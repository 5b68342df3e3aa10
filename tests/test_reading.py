"""Data that is not what a reader expects, through the command line: what is refused or noted, and in which words."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import toy
from hyperx.cli import main

pytestmark = pytest.mark.usefixtures("isolated")

Check = Callable[..., tuple[int, str]]


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """The exit status of a look at some files of the folder `data`, and all that it says."""

    def run(files: dict[str, str | bytes], *pairs: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        for name, content in files.items():
            put(tmp_path / "data" / name, content)
        capsys.readouterr()
        status = main(["check", "--train_task_language_pairs", *pairs, "--disable_progress_bar", *options])
        return status, " ".join("".join(capsys.readouterr()).split())

    return run


def put(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def conllu(*sentences: str, upos: str = "NOUN", misc: str = "_") -> str:
    """Sentences of words, each word with its own tag behind a slash, or else the given one."""
    blocks = []
    for sentence in sentences:
        rows = [(*word.partition("/")[::2], number) for number, word in enumerate(sentence.split(), start=1)]
        blocks.append(
            "".join(
                f"{i}\t{word}\t_\t{tag or upos}\t_\t_\t{i - 1}\t{'dep' if i > 1 else 'root'}\t_\t{misc}\n"
                for word, tag, i in rows
            )
        )
    return "\n".join(blocks) + "\n"


# Words without a label ------------------------------------------------------------------------------------------------


def hide_tags(folder: Path, tag: str) -> None:
    for path in folder.glob("pos/tr/*.conllu"):
        path.write_text(path.read_text().replace(f"\t{tag}\t", "\t_\t"))


def test_words_without_a_tag_are_not_learnt_from(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hide_tags(toy.write_data(tmp_path / "data"), "VERB")
    options = ["--train_task_language_pairs", "pos#tr", "--max_train_steps", "30", "--eval_steps", "30"]
    rates = ["--model_name_or_path", str(encoder), "--learning_rate", "3e-2", "--output_dir", "run"]
    assert main(["train", *options, *rates, *toy.SHAPE, *toy.QUIET]) == 0
    told = " ".join("".join(capsys.readouterr()).split())
    assert "words of its train data have no label (_): they are not learnt from and not scored" in told
    put(tmp_path / "in.txt", "\n".join(" ".join(word for word, *_ in words) for words in toy.sentences("tr", 20, 5)))
    words = ["--checkpoint", "run", "--input", "in.txt", "--input_format", "tokens", "--output_format", "jsonl"]
    assert main(["predict", *words, "--tasks", "pos", "--language", "tr", "--no_cuda"]) == 0
    tags = [tag for line in capsys.readouterr().out.splitlines() for tag in json.loads(line)["pos"]]
    assert tags
    assert "_" not in tags


def test_words_without_a_tag_are_not_scored(
    trained: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(data, tmp_path / "data")
    hide_tags(tmp_path / "data", "VERB")
    options = ["--eval_ckpt", str(shutil.copytree(trained / "checkpoint-60", "ckpt")), "--data_folder", "data"]
    assert main(["evaluate", *options, "--test_task_language_pairs", "pos#tr", *toy.QUIET]) == 0
    test = [tag for words in toy.sentences("tr", 30, 2) for _, tag, _ in words]
    told = f"{test.count('VERB')} of the {len(test)} words of its test data have no label (_)"
    assert told in " ".join("".join(capsys.readouterr()).split())
    scores = json.loads((tmp_path / "ckpt" / "results.json").read_text())
    assert scores["test_pos:tr_accuracy"] > 0.95  # verbs are a fifth of the words


def test_words_without_a_label_are_counted(check: Check) -> None:
    text = conllu("a/_ b", "c d/VERB")
    status, told = check({"pos/tr/train.conllu": text, "pos/tr/dev.tsv": "a\t_\nb\tNOUN\n"}, "pos#tr")
    assert status == 0
    assert "note: pos#tr: 1 of the 4 words of its train data have no label (_)" in told
    assert "note: pos#tr: 1 of the 2 words of its dev data have no label (_)" in told
    assert "│ NOUN 2 VERB 1 │" in told
    status, told = check({"dep/tr/train.conllu": text.replace("\tdep\t", "\t_\t")}, "dep#tr")
    assert status == 0
    assert "dep#tr: 2 of the 4 words of its train data have no label (_)" in told


CONLLU_ROW, WITHHELD = "{}\ta" + "\t_\tX" + 6 * "\t_", conllu("_ _ _", "_ b _", misc="NER=O")
UNLABELLED = "found _ (none) for each of the 2 words; annotate them, or name other data"
LONG = ":1: expected a blank line, or in JSON a new line, after each sentence, found more than 2,000 words"
TEXTLESS = ": expected words, found _ in place of 5 of 6; is the text of this treebank withheld?"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("pos/tr/train.tsv", "a\t_\nb\t_\n", UNLABELLED),
        ("dep/tr/train.conllu", conllu("a b").replace("root", "_").replace("dep", "_"), UNLABELLED),
        *((f"{task}/ar/train.conllu", WITHHELD, TEXTLESS) for task in ("pos", "dep", "ner", "mlm")),
        ("pos/tr/train.conllu", "".join(CONLLU_ROW.format(number) + "\n" for number in range(1, 6001)), LONG),
        ("ner/tr/train.tsv", "a\tO\n" * 6000, LONG),
    ],
    ids=[*("no label",) * 2, *("no text",) * 4, *("no blank line",) * 2],
)
def test_data_without_labels_words_or_ends_is_refused(check: Check, name: str, content: str, expected: str) -> None:
    status, told = check({name: content}, "#".join(name.split("/")[:2]))
    assert status == 1
    if expected == UNLABELLED:
        assert "expected labels in the column" in told
        assert expected in told
    else:
        assert name + expected in told


def test_sentences_without_their_text_are_named_and_single_underscores_are_words(check: Check) -> None:
    status, told = check({"pos/en/train.conllu": conllu("a b c d", "_ _", "_", "a _")}, "pos#en")
    assert status == 0
    assert "train.conllu: in 1 sentences every word is _; is the text of this treebank withheld?" in told
    status, told = check({"pos/en/train.conllu": conllu("a b c d", "_", "a _")}, "pos#en")
    assert status == 0
    assert "withheld" not in told


# Entities in CoNLL-U --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["name", "Tag", "ner"])
def test_the_key_of_entities_is_named_and_may_be_another(check: Check, tmp_path: Path, key: str) -> None:
    files: dict[str, str | bytes] = {"ner/no/train.conllu": conllu("Anna Lie", misc=f"SpaceAfter=No|{key}=S-PER")}
    status, told = check(files, "ner#no")
    assert status == 1
    expected = f"expected NER= in MISC (column 10) of every word, such as NER=B-PER or NER=O, found {key}=;"
    assert f"train.conllu:1: {expected}" in told
    assert f"{{columns: {{ner: {key}}}}}" in told
    put(tmp_path / "run.yaml", f"data:\n  ner#no: {{folder: ner/no, columns: {{ner: {key}}}}}\n")
    status, told = check(files, "ner#no", options=("--config", "run.yaml"))
    assert status == 0
    assert "B-PER 2" in told
    status, told = check({"ner/no/train.tsv": "a\tO\n"}, "ner#no", options=("--config", "run.yaml"))
    assert status == 1
    assert "of CoNLL-U, name the key of MISC that has entities: {ner: KEY}" in told


def test_a_key_that_differs_in_case_is_kept_beside_the_predicted_one_and_named(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "in.conllu", conllu("Ada Lovelace", misc="ner=S-ORG"))
    words = ["--checkpoint", str(trained), "--input", "in.conllu", "--input_format", "conllu", "--tasks", "ner"]
    assert main(["predict", *words, "--language", "en", "--no_cuda"]) == 0
    told = capsys.readouterr()
    assert "ner=S-ORG|NER=B-PER\n" in told.out
    assert "MISC keeps ner= of the input beside the predicted NER=" in " ".join(told.err.split())


# Where data is --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "near", ["NER/en", "Ner/EN", "ner/English", "ner/en_ewt", "ner-en", "ner/en.tsv", "en.iob2", "en/ner"]
)
def test_a_folder_under_a_name_that_is_nearly_right_is_not_passed_over(check: Check, tmp_path: Path, near: str) -> None:
    name = near if "." in near else f"{near}/train.tsv"
    status, told = check({name: "a\tO\n"}, "ner#en")
    assert status == 1
    expected, found = tmp_path / "data" / "ner" / "en", tmp_path / "data" / near
    assert f"ner#en: expected its data in {expected}, found {found}; rename it, or name it in the data table" in told


@pytest.mark.parametrize(
    ("near", "target"),
    [
        ("tr/train.conllu", "train.conllu"),
        ("Turkish/dev.conllu", "dev.conllu"),
        ("train.conllu", "train.conllu"),
        ("pos/valid.tsv", "dev.tsv"),
        ("tr.train.conllu", "train.conllu"),
        ("pos/train_tur.tsv", "train.tsv"),
        ("tr_imst-ud-test.conllu", "test.conllu"),
    ],
)
def test_files_one_folder_too_high_are_not_passed_over(check: Check, tmp_path: Path, near: str, target: str) -> None:
    status, told = check({near: conllu("Ada")}, "pos#tr")
    assert status == 1
    expected = tmp_path / "data" / "pos" / "tr"
    message = (
        f"pos#tr: expected its data in {expected}, found {tmp_path / 'data' / near}; move it to {expected / target},"
    )
    assert f"{message} name it in the data table, or name another --data_folder" in told


def test_another_treebank_than_the_default_is_not_passed_over(check: Check, tmp_path: Path) -> None:
    status, told = check({"UD_Turkish-BOUN/tr_boun-ud-train.conllu": conllu("Ada")}, "pos#tr")
    assert status == 1
    assert f"found {tmp_path / 'data' / 'UD_Turkish-BOUN'}; choose it with --treebanks tr=tr_boun" in told


def test_names_of_splits_are_read_in_any_case_and_other_endings_are_named(check: Check) -> None:
    tags = "Ada\tB-PER\n\ncat\tO\n"
    status, told = check({"ner/EN/Train.TSV": tags, "ner/EN/DEV.tsv": tags}, "ner#en")
    assert status == 0
    assert "ner#en │ train │ 2" in told
    assert "ner#en │ dev │ 2" in told
    status, told = check({"ner/en/train.xml": "<a>", "ner/en/dev.tsv": tags, "ner/en/dev.md": "x"}, "ner#en")
    assert status == 1
    assert "expected train with the extension .conllu, .tsv" in told
    assert "ner/en/train.xml; rename or convert it" in told
    assert "dev.md" not in told


@pytest.mark.parametrize(
    ("pair", "options", "hint"),
    [
        ("ner#luo", (), ""),  # a language, as `lmo` is
        ("ner#es", ("--languages", "en", "ca"), ""),
        ("ner#turkish", (), "Did you mean 'tr'?"),
        ("tr#pos", (), "Did you mean pos#tr?"),
        ("pos#en_ewt", (), "check: 1 problem with the options: - pairs: 'en_ewt' is a treebank of en (English);"),
        ("pos#en", ("--treebanks", "en=de_gsd"), "It is one of de."),
        ("pos#en", ("--treebanks", "en=en_gums"), "Did you mean 'en_gum'?"),
    ],
)
def test_hints_are_of_what_is_wrong(check: Check, pair: str, options: tuple[str, ...], hint: str) -> None:
    status, told = check({}, pair, options=options)
    assert status == 1
    assert ("Did you mean" in told) == hint.startswith("Did you mean")
    assert hint in told


@pytest.mark.parametrize(
    ("file", "hint"),
    [
        ("pos/en/train.tsv", ""),
        ("ner/en/train.tsv", ""),
        ("pos/en/train.tsv", "header"),
        ("ner/en/train.tsv", "header"),
        ("pos/en/train.tsv", "swapped"),
        ("ner/en/train.tsv", "swapped"),
    ],
)
def test_swapped_columns_and_a_header_are_recognised(check: Check, file: str, hint: str) -> None:
    task, tag = file[:3], "NOUN" if file[:3] == "pos" else "B-PER"
    rows = {"": f"cat\tpos\nhat\t{tag}\n", "header": f"Word\t{task.upper()}\ncat\t{tag}\n"}
    text = rows.get(hint, f"{tag}\tcat\n{tag}\that\n\n{tag}\trat\n")
    status, told = check({file: "\n" * (hint == "") + text}, f"{task}#en")
    assert status == 1
    assert told.count("train.tsv:") == 1
    assert ("Is the first line a header?" in told) == (hint == "header")
    assert ("Are the columns swapped?" in told) == (hint == "swapped")


@pytest.mark.parametrize(("tag", "hint"), [("noun", "NOUN"), ("PUNC", "PUNCT"), ("IN", ""), ("RB", "")])
def test_tags_of_another_set_are_no_misspelt_ones(check: Check, tag: str, hint: str) -> None:
    _, told = check({"pos/en/train.tsv": f"a\t{tag}\n"}, "pos#en")
    assert f"found {tag!r} at 'a'" in told
    assert ("Did you mean" in told) == bool(hint)
    assert hint in told


# Bytes ----------------------------------------------------------------------------------------------------------------

TAGS, CODES = "Ада\tB-PER\nидёт\tO\n", ("UTF-16LE", "UTF-16BE")
NULS = "NUL bytes, as UTF-16, UTF-32 and files that are no text have; export it as text, or convert it: iconv -f"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (TAGS.encode("utf-16"), "the byte order mark of UTF-16; convert it: iconv -f UTF-16 -t UTF-8 train.tsv > NEW"),
        (TAGS.encode("utf-32"), "the byte order mark of UTF-32; convert it: iconv -f UTF-32 -t UTF-8 train.tsv > NEW"),
        *((TAGS.encode(code), f"{NULS} {code} -t UTF-8 train.tsv > NEW") for code in CODES),
        (
            "ë\tO\n".encode("cp1252"),
            "the bytes eb at byte 1 of the line; convert it: iconv -f CP1252 -t UTF-8 train.tsv",
        ),
        (gzip.compress(TAGS.encode()), "a gzip file; unpack it"),
        (b"PK\x03\x04\x14\0", "a zip file; unpack it, or export it as text"),
        (pickle.dumps(["a"]), NULS),
        (b"version https://git-lfs.github.com/spec/v1\noid x\n", "a pointer of Git LFS to it; fetch it: git lfs"),
        (b"Ada\tB-PER\rgoes\tO\r\rAda\tB-PER\r", "4 carriage returns and no line feed, as on old Macs; convert it: tr"),
    ],
    ids=["utf-16", "utf-32", *CODES, "cp1252", "gzip", "zip", "pickle", "lfs", "old-mac"],
)
def test_files_that_are_no_utf_8_are_told_apart(check: Check, content: bytes, expected: str) -> None:
    for pair in ("ner#ru", "mlm#ru"):
        name = f"{pair.replace('#', '/')}/train.tsv"
        status, told = check({name: content}, pair)
        assert status == 1
        assert f"{name}:1: expected " in told
        assert f", found {expected}" in told


def test_marks_that_a_text_may_have_are_text(check: Check) -> None:
    status, told = check({"ner/en/train.tsv": "PAR1\tB-GENE\n\nBZh\tO\n"}, "ner#en")
    assert status == 0, told


@pytest.mark.parametrize("character", ["\u2028", "\u0085", "\x0b", "\x0c"])
def test_line_separators_of_unicode_end_no_line(check: Check, character: str) -> None:
    status, told = check({"pos/en/train.conllu": conllu("x", "y").replace("x", f"a{character}b")}, "pos#en")
    assert status == 0
    assert "pos#en │ train │ 2 │ 2" in told


@pytest.mark.parametrize(("byte", "what"), [("\r", "a carriage return within it"), ("\0", "a NUL byte")])
def test_line_ends_and_nul_bytes_within_a_line_are_named(check: Check, byte: str, what: str) -> None:
    second = conllu("c d").replace("\n", "\r", 1) if byte == "\r" else conllu("c d\0")
    status, told = check({"pos/en/train.conllu": conllu("a b") + "\n" + second}, "pos#en")
    assert status == 1
    assert f"found {what}" in told


def test_a_fault_of_a_block_is_told_alone(check: Check) -> None:
    lines = ["1-2\tdu" + 8 * "\t_", "1\tde" + 8 * "\t_", "2\tle"]
    _, told = check({"pos/en/train.conllu": "\n".join(lines) + "\n"}, "pos#en")
    assert "train.conllu:3: expected" in told
    assert "as the range says" not in told


# JSON lines -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [[2, None], "News of the day", 1])
def test_the_heads_of_json_lines_are_skipped(check: Check, head: object) -> None:
    row = json.dumps({"words": ["a", "b"], "ner": ["O", "B-X"], "head": head})
    status, told = check({"ner/en/train.jsonl": row}, "ner#en")
    assert status == 0, told
    assert "ner#en │ train │ 1 │ 2" in told


def test_only_what_may_name_columns_is_advised_to(check: Check) -> None:
    status, told = check({"ner/en/train.jsonl": '{"words": ["a"]}', "mood/en/train.jsonl": '{"text": "a"}'}, "ner#en")
    assert status == 1
    assert "found words; add it to the row, or rename it" in told
    _, told = check({"mood/en/train.jsonl": '{"text": "a"}'}, "mood#en", options=("--tasks", "mood=cls"))
    assert "name it under columns in the data table, such as {label: NAME}" in told


# Labels ---------------------------------------------------------------------------------------------------------------


def test_one_label_everywhere_is_noted(check: Check) -> None:
    files: dict[str, str | bytes] = {"ner/en/train.tsv": "Ada\tB-PER\n", "ner/en/dev.tsv": "a\tO\nb\tO\n\nc\tO\n"}
    status, told = check(files, "ner#en")
    assert status == 0
    assert "note: ner#en: all 3 labels of its dev data are O" in told
    assert "labels of its train data" not in told


def test_true_and_false_are_labels(check: Check) -> None:
    rows = '{"text": "a", "label": true}\n{"text": "b", "label": false}\n'
    files: dict[str, str | bytes] = {"mood/en/train.jsonl": rows, "mood/en/test.csv": "text,label\nc,true\n"}
    status, told = check(files, "mood#en", options=("--tasks", "mood=cls"))
    assert status == 0
    assert "true 1 false 1" in told
    assert "unknown" not in told
