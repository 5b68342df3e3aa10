"""Raw text: where it is found, how it is read, and what must not be trained on."""

from __future__ import annotations

import json
import logging
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperx.cli.options import parse
from hyperx.config import CheckConfig
from hyperx.data.batch.store import write_encoded
from hyperx.data.batch.windows import Window
from hyperx.data.locate.places import DataPlaces
from hyperx.data.read.formats import read_file
from hyperx.data.read.hub import HubData
from hyperx.data.read.segmentation import is_visible
from hyperx.data.read.sentence import Sentence
from hyperx.errors import ConfigError, DataError
from hyperx.plan.data import SplitLoader, held_out
from hyperx.plan.options import plan_run
from hyperx.plan.report import inspect_data
from hyperx.tasks.base import Task
from hyperx.tasks.registry import make_tasks
from located import build, pairs, problem, put
from tiny import tiny_tokenizer

TASKS: dict[str, Task] = make_tasks({kind: kind for kind in ("pos", "ner", "dep", "mlm", "cls")})
CONLLU = (
    "# text = Im Haus.\n1-2\tIm\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "1\tIn\t_\tADP\t_\t_\t_\t_\t_\t_\n2\tdem\t_\tDET\t_\t_\t_\t_\t_\t_\n"
    "3\tHaus\t_\tNOUN\t_\t_\t_\t_\t_\tSpaceAfter=No\n4\t.\t_\tPUNCT\t_\t_\t_\t_\t_\t_\n\n"
    "1\tab\t_\tNOUN\t_\t_\t_\t_\t_\t_\n2\tbad\t_\tNOUN\t_\t_\t_\t_\t_\tSpaceAfter=No\n3\t!\t_\tPUNCT\t_\t_\t_\t_\t_\t_\n\n"
)


def texts(sources: DataPlaces, name: str, split: str = "train") -> list[str | None]:
    sentences = list(sources.read(*pairs(name), split))
    assert not any(sentence.columns for sentence in sentences)
    return [sentence.text for sentence in sentences]


# Reading passages -----------------------------------------------------------------------------------------------------


def test_a_passage_a_line(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes("\ufeffé \u200bb\r\n\n \t\u3000\x0c\n# c\td  \n\u2028e".encode())
    found = list(read_file(path, "text"))
    assert [sentence.text for sentence in found] == ["é \u200bb", "# c\td  ", "\u2028e"]
    assert [sentence.line_of(0) for sentence in found] == [1, 4, 5]
    assert {sentence.origin for sentence in found} == {str(path)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\n\x02\x01\n", r"text.txt:2: expected .*control characters"),
        (b"a\n\x00\x01\n", r"text.txt:2: expected text, found a NUL byte"),
        (b"a\nb\xff\n", r"text.txt:2: expected UTF-8, found the bytes ff"),
        (b"\n \n", r"text.txt: expected sentences, found none"),
    ],
)
def test_bad_passages_have_a_place(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_file(tmp_path / "text.txt", "text"))


def test_faults_can_be_read_on_behind(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(b"\x02\na\n\x01\n")
    faults: list[DataError] = []
    assert [sentence.text for sentence in read_file(tmp_path / "text.txt", "text", faults.append)] == ["a"]
    assert [fault.line for fault in faults] == [1, 3]


# Where it is found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wo.txt", "wol.txt", "wo-SN.txt"])
def test_one_file_is_to_train_on(tmp_path: Path, name: str) -> None:
    put(tmp_path, f"mlm/{name}", "a b\nc\n")
    sources = build(tmp_path, "mlm#wol")
    assert texts(sources, "mlm#wol") == ["a b", "c"]
    assert not sources.has(*pairs("mlm#wol"), "dev")
    assert not sources.has(*pairs("mlm#wol"), "test")


def test_a_folder_has_splits(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        put(tmp_path, f"mlm/wo/{split}.txt", f"{split}\n")
    sources = build(tmp_path, "mlm#wo")
    assert [texts(sources, "mlm#wo", split) for split in ("train", "dev", "test")] == [["train"], ["dev"], ["test"]]


def test_the_users_own_spelling_comes_first_and_two_places_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "mlm/wo.txt", "a\n")
    put(tmp_path, "mlm/wol.txt", "b\n")
    assert texts(build(tmp_path, "mlm#wol"), "mlm#wol") == ["b"]
    assert "found two folders or files of one language" in problem(tmp_path, "mlm#wo-SN")
    put(tmp_path, "mlm/wol/train.txt", "c\n")
    assert "found two folders or files of one language" in problem(tmp_path, "mlm#wol")


def test_a_lone_file_is_raw_text_alone(tmp_path: Path) -> None:
    put(tmp_path, "ner/wol.txt", "a O\n")
    with pytest.raises(ConfigError):
        build(tmp_path, "ner#zxx", table={"ner#zxx": "ner/wol.txt"})
    put(tmp_path, "dep/wol.txt")
    assert not build(tmp_path, "dep#en").has(*pairs("dep#wol"), "train")


def test_without_raw_text_both_places_are_named(tmp_path: Path) -> None:
    place = tmp_path / "mlm" / "wol"
    assert f"no folder {place} and no file {place}.txt, and the task has no default data set" in problem(
        tmp_path, "mlm#wol"
    )


def test_the_table(tmp_path: Path) -> None:
    put(tmp_path, "raw/a.txt", "a\n")
    put(tmp_path, "raw/b.txt", "b\nc\n")
    put(tmp_path, "ud/x-ud-train.conllu", CONLLU)
    put(tmp_path, "ner/train.tsv", "ab\tO\nbad\tB-LOC\n\ne\tO\n")
    table = {
        "mlm#wo": "raw/a.txt",
        "mlm#yo": {"train": ["raw/a.txt", "raw/b.txt"], "dev": "ud/x-ud-train.conllu"},
        "mlm#mt": "ud",
        "mlm#sw": {"train": "ner/train.tsv"},
        "mlm#en": {"hub": {"name": "some/set", "columns": {"text": "passage"}}},
    }
    sources = build(tmp_path, *table, table=table)
    assert texts(sources, "mlm#wo") == ["a"]
    assert texts(sources, "mlm#yo") == ["a", "b", "c"]
    # The text as it stands, else the words with their spaces.
    assert texts(sources, "mlm#yo", "dev") == texts(sources, "mlm#mt") == ["Im Haus.", "ab bad!"]
    assert texts(sources, "mlm#sw") == ["ab bad", "e"]
    (english,) = pairs("mlm#en")
    assert sources.from_hub(english)
    assert [split for split in ("train", "dev", "test") if sources.has(english, split)] == ["train"]
    again = DataPlaces(sources.recorded())
    assert texts(again, "mlm#sw") == ["ab bad", "e"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "raw/a.json")
    assert "expected a file that ends in .conllu, .txt" in problem(
        tmp_path, "mlm#wo", table={"mlm#wo": {"train": "raw/a.json"}}
    )


def test_label_maps_are_of_entities(tmp_path: Path) -> None:
    put(tmp_path, "mlm/wo/train.txt")
    table = {"mlm#wo": {"folder": "mlm/wo", "label_map": {"A": "B"}}}
    assert "only entity types and labels of texts can be mapped" in problem(tmp_path, "mlm#wo", table=table)


def test_data_sets_of_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    (tmp_path / "set").mkdir()
    rows = {"id": [1, 2, 3, 4], "passage": ["a b", "", "c", None]}
    datasets.Dataset.from_dict(rows).to_parquet(str(tmp_path / "set" / "train-00000.parquet"))
    datasets.enable_progress_bars()
    hub = {"name": "set", "columns": {"text": "passage"}}
    sources = build(tmp_path, "mlm#wo", table={"mlm#wo": {"hub": hub}})
    assert texts(sources, "mlm#wo") == ["a b", "c"]
    with pytest.raises(DataError, match=r"expected a column named text or .* or words or tokens.* found id, passage"):
        list(HubData(str(tmp_path / "set")).read("train", "text"))


# Test data is not trained on ------------------------------------------------------------------------------------------


def test_test_files_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "ud/a.conllu", CONLLU)
    put(tmp_path, "ud/x-ud-test.conllu", CONLLU)
    table = {"pos#mt": {"test": "ud/a.conllu"}, "mlm#mt": {"train": "ud/a.conllu"}}
    # Also where the other pair is not of the run.
    for names in (["mlm#mt"], ["mlm#mt", "pos#mt"]):
        assert "mlm#mt: train names" in (found := problem(tmp_path, *names, table=table))
        assert "which is the test data of pos#mt" in found
    assert "a test file by its name" in problem(tmp_path, "mlm#mt", table={"mlm#mt": {"train": "ud/x-ud-test.conllu"}})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Dev and test data of Wolof, and raw text that repeats some of it."""
    put(tmp_path, "ner/wo/train.tsv", "ab\tO\nab\tO\n")
    put(tmp_path, "ner/wo/test.tsv", "bad\tB-LOC\nde\tO\n\ne\u0301\tO\n")
    put(tmp_path, "pos/wol/dev.conllu", CONLLU)
    put(tmp_path, "pos/en/test.conllu", "1\tc\t_\tX\t_\t_\t_\t_\t_\t_\n\n")
    passages = ["a b c", "bad de", "c", " ba dde ", "\u00e9", "Im Haus.", "In dem Haus .", "ab ab", "bad de bad de"]
    put(tmp_path, "mlm/wo.txt", "\n".join(passages) + "\n")
    return tmp_path


def loader(folder: Path, *names: str) -> SplitLoader:
    return SplitLoader(build(folder, *names), TASKS, tiny_tokenizer(), max_length=16, cache=folder / "cache")


ALL = ("mlm#wo", "ner#wo", "pos#wol", "pos#en")


def test_dev_and_test_sentences_of_the_language_are_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """White space and Unicode forms make no difference; train data, and data of other languages, may stand in it."""
    caplog.set_level(logging.INFO)
    split = loader(folder, *ALL).load(*pairs("mlm#wo"), "train")
    assert split.sentence_count == 4
    encoder = loader(folder, *ALL).encoder
    wanted = [windows[0].ids for windows in encoder.text_windows(["a b c", "c", "ab ab", "bad de bad de"])]
    assert [split.window(index).ids.tolist() for index in range(4)] == [ids.tolist() for ids in wanted]
    assert "mlm#wo: 5 of 9 passages occur in dev or test data of the language" in caplog.text


FORMS = st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"])
BETWEEN = st.sampled_from(
    [*["", " "] * 5, "\t", "\u00a0", "\u3000", *"\u00ad\u200b\u200d\u2060\ufeff\u200f\ufe0f\u034f\u3164\U000e0101"]
)
WORDY = [
    "Die Straße, 5 ½ km.",
    "ﬁne ﬂour ™ №5",
    "İstanbul'da ılık",
    "Ἐν ἀρχῇ ἦν",
    "Ёлка Ǆ",
    "ＦＵＬＬ",
    "ｶﾞｷﾞ ㍿",
    "한국어",
    "صلى ﷺ",
]
SENTENCES = st.sampled_from(WORDY) | st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co", "Zl", "Zp"]), min_size=1, max_size=12
).filter(is_visible)


@st.composite
def another_way_to_write(draw: st.DrawFn, text: str) -> str:
    """The same sentence in another normalisation, with other white space, invisible characters, or in another case."""
    if text in WORDY:
        case = draw(st.sampled_from([str, str.upper, str.lower, str.title, str.casefold]))
        text = case(text)
    text = unicodedata.normalize(draw(FORMS), text)
    return unicodedata.normalize(draw(FORMS), "".join(character + draw(BETWEEN) for character in text))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), held_out=st.lists(SENTENCES, min_size=1, max_size=12))
def test_a_held_out_sentence_is_found_however_it_is_written(
    data: st.DataObject, held_out: list[str], tmp_path: Path
) -> None:
    for name, texts in (("train", ["a", "b"]), ("test", held_out)):
        rows = [json.dumps({"text": text, "label": str(number % 2)}) for number, text in enumerate(texts)]
        put(tmp_path, f"mood/en/{name}.jsonl", "\n".join(rows) + "\n")
    passages = [data.draw(another_way_to_write(text)) for text in held_out]
    put(tmp_path, "mlm/en.txt", "\n".join(["A passage of its own.", *passages]) + "\n")
    words = ["--data_folder", str(tmp_path), "--tasks", "mood=cls", "mlm", "--train_task_language_pairs", "mlm#en"]
    found = inspect_data(
        plan_run(parse(CheckConfig, [*words, "mood#en", "--disable_progress_bar"], "check"), trains=False)
    )
    assert found.problems == []
    assert [row[2] for row in found.rows if row[:2] == ["mlm#en", "train"]] == ["1"]


def test_other_sentences_are_not_held_out(tmp_path: Path) -> None:
    put(tmp_path, "pos/wol/test.conllu", CONLLU)
    others = ["ab bad?", "ab-bad!", "áb bad!", "ab bad", "ab bad! ab bad!", "«ab bad!»"]
    put(tmp_path, "mlm/wo.txt", "\n".join([*others, "AB b\u00adad！"]) + "\n")
    assert loader(tmp_path, *ALL[::2]).load(*pairs("mlm#wo"), "train").sentence_count == len(others)


def test_only_what_the_run_knows_is_left_out(folder: Path) -> None:
    assert loader(folder, "mlm#wo").load(*pairs("mlm#wo"), "train").sentence_count == 9
    assert loader(folder, "mlm#wo", "ner#wo").load(*pairs("mlm#wo"), "train").sentence_count == 6
    (folder / "ner/wo/test.tsv").write_bytes("Café\tO\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"test.tsv:1: expected UTF-8"):
        loader(folder, "mlm#wo", "ner#wo").load(*pairs("mlm#wo"), "train")


def test_both_texts_of_labelled_pairs_are_held_out(folder: Path) -> None:
    put(folder, "nli.tsv", "premise\tclaim\tlabel\nbad  de\tc\tyes\n")
    table = {"cls#wo": {"test": "nli.tsv", "columns": {"text": "premise", "text_pair": "claim"}}}
    sources = build(folder, "mlm#wo", "cls#wo", table=table)
    found = SplitLoader(sources, TASKS, tiny_tokenizer(), max_length=16, cache=folder / "cache")
    assert found.load(*pairs("mlm#wo"), "train").sentence_count == 6


def test_other_tasks_and_splits_keep_everything(folder: Path) -> None:
    put(folder, "ner/wo/train.tsv", "bad\tB-LOC\nde\tO\n")
    put(folder, "mlm/yo/train.txt", "a\n")
    put(folder, "mlm/yo/dev.txt", "bad de\n")
    put(folder, "pos/yo/test.conllu", CONLLU.replace("Im Haus.", "bad de"))
    found = loader(folder, "ner#wo", "pos#yo", "mlm#yo")
    assert found.load(*pairs("ner#wo"), "train").sentence_count == 1
    assert found.load(*pairs("mlm#yo"), "dev").sentence_count == 1


def test_the_cache_follows_what_is_held_out(folder: Path) -> None:
    assert loader(folder, *ALL).load(*pairs("mlm#wo"), "train").sentence_count == 4
    put(folder, "ner/wo/test.tsv", "c\tO\n")
    assert loader(folder, *ALL).load(*pairs("mlm#wo"), "train").sentence_count == 6
    count = len(list((folder / "cache").glob("*.safetensors")))
    loader(folder, *ALL).load(*pairs("mlm#wo"), "train")
    assert len(list((folder / "cache").glob("*.safetensors"))) == count == 2


def test_the_cache_follows_how_held_out_files_are_read(folder: Path) -> None:
    path = put(folder, "mood.tsv", 'text\ttitle\tlabel\n"c"\tbad de\tyes\n')

    def count(columns: Mapping[str, str]) -> int:
        sources = build(folder, "mlm#wo", "cls#wo", table={"cls#wo": {"test": path.name, "columns": columns}})
        found = SplitLoader(sources, TASKS, tiny_tokenizer(), max_length=16, cache=folder / "cache")
        return found.load(*pairs("mlm#wo"), "train").sentence_count

    counts = [count({}), count({"text": "title"})]
    path = path.rename(path.with_suffix(".csv"))  # the quotes are now no part of the text
    assert [*counts, count({})] == [9, 7, 8]


def test_a_file_of_held_out_text_alone_is_refused(folder: Path) -> None:
    put(folder, "mlm/wo.txt", "bad de\nbad  de\n")
    with pytest.raises(DataError, match="all 2 passages of its train split are dev or test data"):
        loader(folder, *ALL).load(*pairs("mlm#wo"), "train")
    assert not list((folder / "cache").glob("*.safetensors"))


def test_held_out_sentences_with_faults_do_not_stop_training(folder: Path) -> None:
    """Evaluation names them; they cannot be evaluated on."""
    put(folder, "ner/wo/test.tsv", "bad\tB-LOC\nde\tO\n\nbroken\n\nc\tO\n")
    assert loader(folder, "mlm#wo", "ner#wo").load(*pairs("mlm#wo"), "train").sentence_count == 6


# Memory ---------------------------------------------------------------------------------------------------------------


def test_text_is_streamed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passages are read as they are encoded: never are more held than one chunk."""
    monkeypatch.setattr("hyperx.data.batch.store.CHUNK", 10)
    read, encoded = 0, []

    def counted() -> Iterator[object]:
        nonlocal read
        for sentence in read_file(path, "text"):
            read += 1
            yield sentence

    path = put(folder, "large.txt", "".join(f"ab {'bad ' * (number % 30)}\n" for number in range(500)))
    sources = build(folder, *ALL)
    held = held_out(sources, TASKS["mlm"], *pairs("mlm#wo"), "train")

    def encode(sentences: Sequence[Sentence]) -> list[list[Window]]:
        encoded.append((read, len(sentences)))
        return TASKS["mlm"].windows(loader(folder, "mlm#wo").encoder, sentences)

    write_encoded(folder / "split", held.removed(counted(), *pairs("mlm#wo")), encode, ())  # type: ignore[arg-type]
    assert encoded == [(10 * number, 10) for number in range(1, 51)]
