"""Two classification tasks beside entities, from files to predictions, through the command line and from Python."""

from __future__ import annotations

import csv
import io
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import toy
from hyperx.cli import main
from hyperx.errors import DataError, HyperXError
from hyperx.files import CACHE_VARIABLE
from hyperx.model import HyperX

pytestmark = pytest.mark.usefixtures("isolated")

GOOD = toy.VERBS[::2]
"""A text with one of these verbs is good, one with another is bad."""

TASKS = ["--tasks", "sentiment=cls", "nli=cls", "ner", "--languages", "en", "tr", "de"]
PAIRS = ["--train_task_language_pairs", "sentiment#en", "sentiment#tr", "nli#en", "ner#en"]


def texts(language: str, count: int, seed: int) -> list[tuple[str, str]]:
    """Texts with their sentiment."""
    found = []
    for words in toy.sentences(language, count, seed):
        good = any(word in GOOD for word, *_ in words)
        found.append((" ".join(word for word, *_ in words), "good" if good else "bad"))
    return found


def text_pairs(language: str, count: int, seed: int) -> list[tuple[str, str, str]]:
    """Pairs of texts, and which of them are good."""
    first, second = texts(language, count, seed), texts(language, count, seed + 100)
    return [(a, b, " ".join(sorted([x, y]))) for (a, x), (b, y) in zip(first, second, strict=True)]


def write(folder: Path) -> Path:
    """Sentiment in three formats, nli in JSON lines, and the entities of the toy world."""
    for seed, (split, count) in enumerate({"train": 150, "dev": 24, "test": 40}.items()):
        for language, ending in (("en", "tsv"), ("tr", "csv"), ("de", "jsonl")):
            (folder / "sentiment" / language).mkdir(parents=True, exist_ok=True)
            (folder / "nli" / language).mkdir(parents=True, exist_ok=True)
            if language == "de" and split == "train":
                continue
            path = folder / "sentiment" / language / f"{split}.{ending}"
            rows = texts(language, count, seed)
            if ending == "jsonl":
                path.write_text("".join(json.dumps({"sentence": a, "label": b}) + "\n" for a, b in rows))
            else:
                with path.open("w", newline="") as file:
                    writer = csv.writer(file, delimiter="\t" if ending == "tsv" else ",")
                    writer.writerows([("label", "text"), *((b, a) for a, b in rows)])
            if language != "tr":
                lines = [
                    json.dumps({"premise": a, "hypothesis": b, "label": label})
                    for a, b, label in text_pairs(language, count, seed)
                ]
                (folder / "nli" / language / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return toy.write_data(folder)


@pytest.fixture(scope="module")
def texts_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder."""
    return write(tmp_path_factory.mktemp("texts") / "data")


@pytest.fixture(scope="module")
def base_words(encoder: Path) -> list[str]:
    """The options that all runs share."""
    return ["--model_name_or_path", str(encoder), *toy.SHAPE, *toy.QUIET]


@pytest.fixture(scope="module")
def run(base_words: list[str], texts_data: Path, cache_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a run that has learnt the rules."""
    folder = tmp_path_factory.mktemp("runs") / "texts"
    words = [*base_words, "--data_folder", str(texts_data), *TASKS, *PAIRS]
    steps = ["--max_train_steps", "120", "--eval_steps", "60", "--save_steps", "120", "--learning_rate", "2e-2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(cache_folder))
        assert main(["train", *words, *steps, "--output_dir", str(folder)]) == 0
    logging.getLogger("hyperx").handlers.clear()
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> HyperX:
    """The trained model."""
    return HyperX.from_pretrained(run)


@pytest.fixture
def predict(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What the command writes to standard output for a text on standard input."""

    def call(text: str, *options: str, language: str = "en", status: int = 0) -> str:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        capsys.readouterr()
        words = ["predict", "--checkpoint", str(run), "--language", language, *toy.QUIET, *options]
        assert main(words) == status
        captured = capsys.readouterr()
        return captured.out if status == 0 else " ".join(captured.err.split())

    return call


# Training and evaluation ----------------------------------------------------------------------------------------------


def test_tasks_of_one_kind_are_learnt_side_by_side(run: Path) -> None:
    assert main(["evaluate", "--eval_ckpt", str(run), *toy.QUIET]) == 0
    folder = run / json.loads((run / "best.json").read_text())["checkpoint"]
    results = json.loads((folder / "results.json").read_text())
    floors = {"sentiment:en": 0.85, "sentiment:tr": 0.85, "sentiment:de": 0.8, "nli:en": 0.6, "nli:de": 0.6}
    for pair, floor in floors.items():
        assert results[f"test_{pair}_accuracy"] >= floor, pair
        assert 0 < results[f"test_{pair}_macro_f1"] <= 1
    assert results["test_ner:en_f1"] > 0.8
    config = json.loads((folder / "hyperx.json").read_text())
    assert config["kinds"] == {"sentiment": "cls", "nli": "cls", "ner": "ner"}
    assert config["labels"]["nli"] == ["bad bad", "bad good", "good good"]
    page = (folder / "results.md").read_text()
    assert "| sentiment#de | new language | 40 | accuracy |" in page
    assert "| nli#en | bad good |" in page


def test_labels_that_training_has_not_are_named_and_count_as_missed(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "own" / "sentiment" / "de"
    folder.mkdir(parents=True)
    (folder / "test.tsv").write_text("text\tlabel\ncat sees dog .\tgood\ncat sees dog .\tmixed\n")
    options = ["--data_folder", "own", "--test_task_language_pairs", "sentiment#de", *toy.QUIET]
    assert main(["evaluate", "--eval_ckpt", str(run), *options]) == 0
    assert "sentiment#de: the labels mixed of its test data are unknown to the model and count as errors" in caplog.text
    folder = run / json.loads((run / "best.json").read_text())["checkpoint"]
    assert json.loads((folder / "results.json").read_text())["test_sentiment:de_accuracy"] == 0.5


def test_a_table_names_columns_and_maps_labels(encoder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "b", "c"):
        rows = "".join(f"{text},{int(label == 'good')}\n" for text, label in texts("en", 20, ord(name)))
        (tmp_path / f"{name}.csv").write_text(f"tweet,polarity\n{rows}")
    (tmp_path / "run.yaml").write_text(
        "tasks: [mood=cls]\ntrain_task_language_pairs: [mood#en]\ndata_folder: .\ndata:\n"
        "  mood#en: {train: [a.csv, b.csv], dev: c.csv, columns: {text: tweet, label: polarity},\n"
        "            label_map: {0: bad, 1: good}}\n"
    )
    words = ["--config", "run.yaml", "--model_name_or_path", str(encoder), *toy.SHAPE, *toy.QUIET]
    assert main(["train", *words, "--output_dir", "run", "--max_train_steps", "1", "--max_train_samples", "30"]) == 0
    assert json.loads((tmp_path / "run/checkpoint-1/hyperx.json").read_text())["labels"] == {"mood": ["bad", "good"]}
    assert main(["evaluate", "--eval_ckpt", "run", "--split", "dev", *toy.QUIET]) == 0
    results = json.loads((tmp_path / "run/checkpoint-1/results_dev.json").read_text())
    measures = ("accuracy", "macro_f1", "ece", "uncalibrated_ece")
    assert {name for name in results if ":" in name} == {f"dev_mood:en_{measure}" for measure in measures}
    assert "unknown to the model" not in caplog.text


def test_long_texts_are_learnt_from_and_labelled_as_a_whole(model: HyperX) -> None:
    good, bad = (f"cat {verb} dog . " for verb in ("sees", "likes"))
    # One window says otherwise.
    long = [good * 100 + bad * 2, bad * 100 + good * 2]
    found = model.predict(long, task="sentiment", language="en", confidences=True)
    assert [one.labels["sentiment"] for one in found] == ["good", "bad"]
    pair = model.predict(long, task="nli", language="en", text_pairs=["cat sees dog .", good * 90])
    assert all(one.labels["nli"] in model.config.labels["nli"] for one in pair)


# Before training ------------------------------------------------------------------------------------------------------


def test_check_counts_texts_and_names_every_fault(
    texts_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "sentiment" / "en"
    folder.mkdir(parents=True)
    (folder / "train.tsv").write_text("text\tlabel\na b\tgood\nc\tbad\nd\n\tgood\n")
    (folder / "test.jsonl").write_text('{"text": "a b", "label": "good"}\n')
    words = ["check", "--data_folder", ".", "--tasks", "sentiment=cls", "--train_task_language_pairs", "sentiment#en"]
    assert main([*words, *toy.QUIET]) == 1
    captured = capsys.readouterr()
    assert "2 problems with the data" in captured.err
    assert "train.tsv:4: expected 2 fields, as the header has, found 1" in captured.err
    assert "train.tsv:5: expected a text in text, found ''" in captured.err
    assert "1 of 1 test sentences also occur in train, such as «a b»" in captured.out
    assert main(["check", "--data_folder", str(texts_data), *TASKS, *PAIRS, *toy.QUIET]) == 0
    out = capsys.readouterr().out
    assert "sentiment#tr" in out
    assert "150" in out


@pytest.mark.parametrize(
    ("rows", "found"), [("a\tgood\n", "good"), (None, "none")], ids=["one label", "no training pair"]
)
def test_two_labels_are_needed(
    rows: str | None, found: str, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = "mood#en" if rows else "ner#en"
    folder = tmp_path / pair.replace("#", "/")
    folder.mkdir(parents=True)
    (folder / "train.tsv").write_text(f"text\tlabel\n{rows}" if rows else "a\tO\n")
    words = ["--data_folder", ".", "--tasks", "mood=cls", "ner", "--train_task_language_pairs", pair, *toy.QUIET]
    expected = f"mood: expected 2 labels or more in the training data, found {found}; give it a training pair with more"
    assert main(["check", *words]) == 1
    assert expected in capsys.readouterr().err
    assert main(["train", *words, "--model_name_or_path", str(encoder), "--output_dir", "run"]) == 1
    assert expected in capsys.readouterr().err


def test_a_checkpoint_to_start_from_gives_the_labels(run: Path, base_words: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "few" / "sentiment" / "de"
    folder.mkdir(parents=True)
    (folder / "train.tsv").write_text("text\tlabel\ncat sees dog .\tgood\n")
    words = ["--data_folder", "few", "--tasks", "sentiment=cls", "nli=cls"]
    options = [*words, "--train_task_language_pairs", "sentiment#de", "--load_from_ckpt", str(run), *base_words]
    assert main(["check", *options]) == 0
    assert main(["train", *options, "--max_train_steps", "1", "--output_dir", "again"]) == 0
    labels = json.loads((tmp_path / "again/checkpoint-1/hyperx.json").read_text())["labels"]
    assert labels == {"sentiment": ["bad", "good"], "nli": ["bad bad", "bad good", "good good"]}


# Prediction -----------------------------------------------------------------------------------------------------------

TEXTS = "cat sees Ada Lovelace .\n\ndog likes London !\n"


def test_texts_and_pairs_of_them_are_labelled_line_by_line(predict: Callable[..., str]) -> None:
    assert predict(TEXTS, "--tasks", "sentiment", "--output_format", "columns") == (
        "cat sees Ada Lovelace .\tgood\ndog likes London !\tbad\n"
    )
    out = predict("cat sees dog .\tcat likes dog .\n", "--tasks", "nli", "sentiment", "--output_format", "jsonl")
    found = json.loads(out)
    assert (found["text"], found["text_pair"]) == ("cat sees dog .", "cat likes dog .")
    assert found["nli"] in ("bad bad", "bad good", "good good")
    assert "words" not in found


def test_words_and_texts_are_labelled_together(predict: Callable[..., str]) -> None:
    options = ["--tasks", "sentiment", "ner", "--output_format"]
    # A tab is white space where no task reads texts.
    out = predict("cat\tsees\tdog .\n", "--tasks", "ner", "--output_format", "columns")
    assert [line.split("\t")[0] for line in out.splitlines() if line] == ["cat", "sees", "dog", "."]
    two = predict("cat sees Ada .\tstone .\n", *options, "columns")
    assert two.startswith("# text_pair = stone .\n# sentiment = ")
    assert two.endswith("\ncat\tO\nsees\tO\nAda\tB-PER\n.\tO\n\n")
    assert predict(TEXTS, *options, "columns").startswith("# sentiment = good\ncat\tO\nsees\tO\nAda\tB-PER\n")
    first, second = map(json.loads, predict(TEXTS, *options, "jsonl", "--confidence").splitlines())
    assert (first["sentiment"], second["sentiment"]) == ("good", "bad")
    assert first["words"] == ["cat", "sees", "Ada", "Lovelace", "."]
    assert first["entities"][0]["text"] == "Ada Lovelace"
    assert 0.5 < first["confidence"]["sentiment"] <= 1
    assert len(first["confidence"]["ner"]) == 5


def test_conllu_has_the_label_as_a_comment(predict: Callable[..., str]) -> None:
    out = predict("cat sees dog .\tb c\n", "--tasks", "sentiment")
    assert out.startswith("# sent_id = 1\n# text = cat sees dog .\n# text_pair = b c\n# sentiment = ")
    assert "\n4\t.\t_\t_\t_\t_\t_\t_\t_\t_\n\n" in out
    again = predict(out, "--tasks", "sentiment", "ner", "--input_format", "conllu")
    assert again.count("# sentiment = ") == 1
    assert "\tNER=O\n" in again


def test_json_lines_may_be_training_data(predict: Callable[..., str], texts_data: Path) -> None:
    path = texts_data / "nli" / "de" / "test.jsonl"
    options = ["--tasks", "nli", "--input_format", "jsonl", "--input", str(path), "--output_format", "jsonl"]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    found = [json.loads(line) for line in predict("", *options, language="de").splitlines()]
    assert [(row["premise"], row["hypothesis"]) for row in rows] == [(one["text"], one["text_pair"]) for one in found]
    right = sum(row["label"] == one["nli"] for row, one in zip(rows, found, strict=True))
    assert right / len(rows) >= 0.6


def test_a_script_that_cannot_be_segmented_needs_no_words(predict: Callable[..., str], model: HyperX) -> None:
    assert predict("好电影 很好\n", "--tasks", "sentiment", "--output_format", "columns", language="zh").startswith(
        "好电影 很好\t"
    )
    out = predict("好电影 很好\n", "--tasks", "sentiment", language="zh")
    assert [line.split("\t")[1] for line in out.splitlines() if "\t" in line] == ["好电影", "很好"]
    assert "Khmer script" in predict("ខ្ញុំជាសិស្ស\n", "--tasks", "sentiment", "ner", language="zh", status=1)
    (found,) = model.predict(["好电影"], task="sentiment", language="zh")
    assert found.labels["sentiment"] in ("good", "bad")


def test_more_or_less_than_two_texts_are_refused(predict: Callable[..., str]) -> None:
    for line in ("a\tb\tc", "a\t", "\tb", "a\t\u200b"):
        expected = "<stdin>:2: expected a text, or two with one tab between them"
        assert expected in predict(f"a\n{line}\n", "--tasks", "nli", status=1)
    options = ("--tasks", "nli", "--output_format", "columns", "--on_error", "empty")
    answers = predict("a\tb\na\tb\tc\na\tb\n", *options).splitlines()
    assert len(answers) == 3
    assert answers[1] == "_\t_"


# From Python ----------------------------------------------------------------------------------------------------------


def test_python_predicts_texts_words_and_pairs(model: HyperX) -> None:
    raw, words = model.predict(["cat sees dog .", ["cat", "likes", "dog", "."]], task="sentiment", language="en")
    assert (raw.labels, words.labels) == ({"sentiment": "good"}, {"sentiment": "bad"})
    assert (raw.words, words.words) == ((), ("cat", "likes", "dog", "."))
    assert raw.sentence.text == "cat sees dog ."
    found = model.predict(["a\nb"], task=["nli", "ner"], language="de", text_pairs=["c"], confidences=True)[0]
    assert (found.sentence.text, found.sentence.text_pair, found.words) == ("a\nb", "c", ("a", "b"))
    assert found.confidences is not None
    assert 1 / 3 <= found.confidences["nli"] <= 1
    assert len(found.labels["ner"]) == 2


def test_python_predictions_do_not_depend_on_the_batch_size(model: HyperX) -> None:
    long = [text * (1 + index % 7 * 9) for index, (text, _) in enumerate(texts("en", 20, 5))]
    pairs = [text * (1 + index % 4 * 9) for index, (text, _) in enumerate(texts("en", 20, 6))]
    found = [
        model.predict(long, task="nli", language="en", text_pairs=pairs, confidences=True, batch_size=size)
        for size in (1, 32)
    ]
    for one, other in zip(*found, strict=True):
        assert one.labels == other.labels
        assert one.confidences == pytest.approx(other.confidences, abs=1e-5)


def test_python_mistakes_are_explained(model: HyperX) -> None:
    def predict(*texts: str, text_pairs: object = None) -> object:
        return model.predict(texts, task="nli", language="en", text_pairs=text_pairs)  # type: ignore[arg-type]

    for kind, texts, text_pairs, expected in (
        (HyperXError, ["a", "b"], ["c"], "text_pairs: expected one for each of the 2 texts; found 1"),
        (HyperXError, ["a"], "c", r"write \[text\]"),
        (DataError, ["a", " "], None, "text 2: expected a sentence, found no word in ' '"),
        (DataError, ["a"], [""], "text 1: expected a sentence, found no word in ''"),
        (DataError, ["\ud800"], None, "lone surrogate"),
    ):
        with pytest.raises(kind, match=expected):
            predict(*texts, text_pairs=text_pairs)
    batch = model.checked_tokenizer()(["cat sees dog ."], return_tensors="pt")
    with pytest.raises(HyperXError, match="classification needs the text's subwords: pass words"):
        model("sentiment#en", batch.input_ids, batch.attention_mask)
