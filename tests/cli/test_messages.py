"""What the command line says, when, and how it looks: before PyTorch is loaded, in any terminal, in any encoding."""

from __future__ import annotations

import io
import json
import logging
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len
from tqdm import tqdm

import toy
from hyperx.cli import COMMANDS, main
from hyperx.cli.options import start_logging
from hyperx.files import CACHE_VARIABLE
from hyperx.languages import known_languages
from hyperx.tables import print_table

# Before PyTorch -------------------------------------------------------------------------------------------------------

EARLY = """
import contextlib, io, json, sys
from hyperx.cli import main

found = []
for words in json.load(sys.stdin):
    with contextlib.redirect_stderr(io.StringIO()) as error, contextlib.redirect_stdout(io.StringIO()):
        try:
            status = main(words)
        except SystemExit as caught:
            status = caught.code
    found.append([status, error.getvalue()])
libraries = ["torch", "transformers", "tokenizers", "accelerate", "datasets", "spacy", "numpy"]
print(json.dumps([found, [name for name in libraries if name in sys.modules]]))
"""
TRAIN = "train --output_dir new --train_task_language_pairs"
REFUSED = {
    f"{TRAIN} nerr#en": "pairs: there is no task 'nerr'",
    f"{TRAIN} ner": "is written task#language",
    f"{TRAIN} ner#en --data_folder nowhere": "--data_folder: there is no folder",
    f"{TRAIN} ner#en --data_folder DATA --tasks ner ner": "'ner' is named twice",
    f"{TRAIN} ner#en --data_folder DATA --tasks text=ner": "'text' has another meaning",
    f"{TRAIN} ner#en --data_folder DATA --tasks pos": "its task is not among --tasks pos",
    f"{TRAIN} ner#en --data_folder DATA --languages de": "its language is not among --languages de",
    f"{TRAIN} ner#de --data_folder DATA": "ner#de has no train split",
    f"{TRAIN} ner#en --data_folder DATA --treebanks en=en_nope": "en_nope",
    f"{TRAIN} ner#en --data_folder DATA --max_length 3": "--max_length: expected 16 or more; found 3",
    f"{TRAIN} ner#en --data_folder DATA --load_from_ckpt nowhere": "--load_from_ckpt: nowhere does not exist",
    f"{TRAIN} ner#en --data_folder DATA --load_from_ckpt RUN --adapter_dim 9": "--adapter_dim: the checkpoint",
    f"{TRAIN} ner#en --data_folder DATA --adapters task --conditional_layer_norm": "--conditional_layer_norm:",
    f"{TRAIN} ner#en --data_folder DATA --no_hypernet": "Did you mean --adapters?",
    f"{TRAIN} ner#en --data_folder DATA --output_dir RUN": "is not empty",
    f"{TRAIN} ner#en --data_folder DATA --output_dir new.yaml": "--output_dir: expected a folder; new.yaml is the name",
    f"{TRAIN} ner#en --data_folder DATA --model_name_or_path ./none": "./none: expected an encoder, found no such file",
    f"{TRAIN} ner#en --data_folder DATA --freeze_params_regex (": "'(' is not a regular expression",
    f"{TRAIN} ner#en --config none.yaml": "--config: cannot read none.yaml",
    f"{TRAIN} ner#en --config table.yaml": "unknown key 'tran'",
    "train": "--train_task_language_pairs: name at least one pair",
    "train --resume": "such as ner#en; with --resume name all options that the run began with",
    "train --lr 3": "Did you mean --learning_rate?",
    "check": "--train_task_language_pairs: name at least one pair, such as ner#en",
    "check --train_task_language_pairs ner#en --seed -1": "--seed: expected 0 or more; found -1",
    "check --train_task_language_pairs ner#trrr": "'trrr' is no language code",
    "models none": "none does not exist: expected a folder",
    "evaluate --eval_ckpt nowhere --max_eval_samples 0": "nowhere does not exist",
    "evaluate --eval_ckpt RUN --test_task_language_pairs dep#en": "dep#en: the model has no task 'dep'; it has",
    "evaluate --eval_ckpt RUN --model_name_or_path ./none": "./none: expected an encoder, found no such file",
    "predict --checkpoint RUN --language en --model_name_or_path ./none": "./none: expected an encoder, found no such",
    "evaluate --eval_ckpt RUN --data_folder nowhere": "--data_folder: there is no folder",
    "evaluate --eval_ckpt RUN --output new.json": "--output: expected a folder; new.json is the name of a file",
    "predict": "--language: name the language of the text, such as de",
    "predict --checkpoint nowhere --language de": "nowhere does not exist",
    "predict --checkpoint RUN --language trrr": "'trrr' is no language code",
    "predict --checkpoint RUN --language en --tasks nre": "the model has no task 'nre'; it has ner, pos. Did",
    "predict --checkpoint RUN --language en --tasks ner ner": "'ner' is named twice",
    "predict --checkpoint RUN --language en --input none.txt": "--input: cannot read none.txt",
    "predict --checkpoint RUN --language en --output .": "--output: expected a file",
    "calibrate nowhere": "nowhere does not exist",
    "calibrate RUN --output .": "--output: . exists already",
    "compress": "name a checkpoint or the output folder of a run",
    "compress RUN --output new.safetensors": "--output: expected a folder; new.safetensors is the name of a file",
    "compress nowhere --output new": "nowhere does not exist",
    "compress RUN --output . --encoder_bits 2": "--encoder_bits: the encoder's layers were not trained; leave it out",
    "import-published": "name the folder of a published checkpoint, such as outputs/checkpoint-100000",
    "import-published nowhere --output new": "nowhere is no folder",
    "languages qwerty": "no language or treebank is called qwerty",
    "languages RUN": "`hyperx languages` lists all, and those of a model with --checkpoint",
}


def test_what_follows_from_words_and_files_is_said_before_any_library_is_loaded(
    trained: Path, data: Path, cache_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "table.yaml").write_text("data: {ner#en: {tran: a.tsv}}\n")
    places = {"DATA": str(data), "RUN": str(trained)}
    commands = [[places.get(word, word) for word in command.split()] for command in REFUSED]
    done = toy.spawn(["-c", EARLY], cwd=tmp_path, cache=cache_folder, input=json.dumps(commands))
    assert done.returncode == 0, done.stderr
    found, libraries = json.loads(done.stdout)
    for (command, expected), (status, error) in zip(REFUSED.items(), found, strict=True):
        assert expected in error, command
        assert error.startswith(f"hyperx {command.split()[0]}: "), command
        assert status == (2 if "there is no option" in error else 1), command
    assert libraries == []


def test_all_problems_of_a_command_are_told_at_once(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--language", "trrr", "--tasks", "nre", "--batch_size", "0", "--input", "none.txt", "--output", "."]
    assert main(["predict", "--checkpoint", str(trained), *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("hyperx predict: 5 problems")
    for option in ("--language", "--tasks", "--batch_size", "--input", "--output"):
        assert f"\n  - {option}: " in error
    words = ["--eval_ckpt", "nowhere", "--test_task_language_pairs", "ner", "--max_eval_samples", "0"]
    assert main(["evaluate", *words]) == 1
    error = capsys.readouterr().err
    for option in ("--eval_ckpt", "--test_task_language_pairs", "--max_eval_samples"):
        assert f"\n  - {option}: " in error


# Names and values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "words", "expected"),
    [
        ("train", "--lr 3", "there is no option --lr. Did you mean --learning_rate?"),
        ("train", "--batch_size 8", "there is no option --batch_size. Did you mean --per_device_train_batch_size?"),
        ("evaluate", "--batch_size=8", "Did you mean --per_device_eval_batch_size?"),
        ("train", "--epochs 3", "Did you mean --num_train_epochs?"),
        ("train", "--steps 3", "Did you mean --max_train_steps?"),
        ("train", "--output runs", "Did you mean --output_dir?"),
        ("predict", "--out a", "Did you mean --output?"),
        ("train", "--model a", "Did you mean --model_name_or_path?"),
        ("predict", "--model a", "Did you mean --checkpoint?"),
        ("evaluate", "--checkpoint a", "Did you mean --eval_ckpt?"),
        ("predict", "--eval_ckpt a", "Did you mean --checkpoint?"),
        ("train", "--data corpus", "Did you mean --data_folder?"),
        ("train", "--task ner", "Did you mean --tasks?"),
        ("train", "--langs de", "Did you mean --languages?"),
        ("predict", "--languages de", "Did you mean --language?"),
        ("train", "--device cpu", "Did you mean --no_cuda?"),
        ("predict", "--cpu", "Did you mean --no_cuda?"),
        ("train", "-seed 3", "there is no option -seed. Did you mean --seed?"),
        ("train", "--no_condition_to_layer_ids", "Did you mean --no_condition_to_layer_id?"),
        ("train", "--verbose", "there is no option --verbose.\n"),
        ("train", "--lr_scheduler_type cosin", "found 'cosin'. Did you mean 'cosine'?"),
        ("predict", "--input_format column", "found 'column'. Did you mean 'columns'?"),
        ("train", "--preset publishd", "'default' or 'published'; found 'publishd'. Did you mean 'published'?"),
        ("train", "--head_layer frist", "--head_layer: expected a whole number or 'last'; found 'frist'"),
        ("train", "--seed 1e3", "--seed: expected a whole number; found '1e3'"),
        ("train", "--learning_rate fast", "--learning_rate: expected a number; found 'fast'"),
        ("train", "--seed 1 2", "--seed: expected one value; found '1 2'"),
        ("import-published", "a b", "- expected one folder; found 'a b'; quote a path with spaces"),
        ("compress", "a b --output c", "- expected one folder; found 'a b'; quote a path with spaces"),
        ("train", "--seed", "--seed: expected a value; found nothing. Write it, or leave the option out"),
        ("train", "--languages --seed 1", "--languages: expected a value; found nothing"),
        ("train", "--fp16 true", "--fp16 takes no value; found 'true'. Write --fp16 or --no_fp16"),
        ("train", "--fp16=false", "--fp16 takes no value; found 'false'. Write --fp16 or --no_fp16"),
        ("train", "--languages=en,de", "expected values with spaces between them; found commas. Write: en de"),
        ("train", "--config", "--config: expected a value; found nothing"),
        ("train", "--tasks ner, pos", "Write: ner pos"),
        ("train", "stray", "'stray' belongs to no option; options begin with --\n"),
        ("train", "run.yaml", "options begin with --. Did you mean --config run.yaml?"),
        ("evaluate", "runs/a --split dev", "options begin with --. Did you mean --eval_ckpt"),
        ("predict", "file --language de", "Did you mean --input file?"),
        ("predict", "folder --language de", "Did you mean --checkpoint folder?"),
        ("predict", "Guten --language de", "'Guten' belongs to no option; options begin with --\n"),
    ],
)
@pytest.mark.usefixtures("isolated")
def test_a_wrong_name_or_value_gets_one_line_that_helps(
    command: str, words: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").touch()
    Path("folder").mkdir()
    assert main([command, *shlex.split(words)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"hyperx {command}: 1 problem with the options:\n  - ")
    assert expected in error
    assert len(error.splitlines()) == 2


def test_wrong_names_and_values_are_told_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.yaml").write_text(
        "batch_size: 8\nadapter_dim: many\nfp16: 1\nlanguages: 'en,de'\nadapter-dim: 8\n1: 2\n"
    )
    words = ["--lr", "3", "--seed", "one", "--config", str(tmp_path / "run.yaml")]
    assert main(["train", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("hyperx train: 8 problems")
    for expected in (
        "run.yaml: there is no option 'batch_size'. Did you mean 'per_device_train_batch_size'?",
        "there is no option --lr. Did you mean --learning_rate?",
        "--seed: expected a whole number; found 'one'",
        "run.yaml: there is no option 'adapter-dim'. Did you mean 'adapter_dim'?",
        "run.yaml: there is no option '1'.",
        "run.yaml: adapter_dim: expected a whole number; found 'many'",
        "run.yaml: fp16: expected true or false; found 1",
        "run.yaml: languages: expected values with spaces between them; found commas. Write: en de",
    ):
        assert expected in error


# Help -----------------------------------------------------------------------------------------------------------------


def test_help_in_every_way_that_people_ask_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == 0
    assert capsys.readouterr().out.startswith("usage: hyperx COMMAND")
    for words in (["train", "-h"], ["train", "--help"], ["help", "train"], ["train", "--seed", "1", "-h"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 0
        assert capsys.readouterr().out.startswith("usage: hyperx train")
    assert main(["help", "trian"]) == 2
    assert "Did you mean 'train'?" in capsys.readouterr().err


@pytest.mark.parametrize("command", sorted({*COMMANDS} - {"languages", "models"}))
def test_the_example_of_the_help_is_read(command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It fails only because its files are not here."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    lines = re.findall(rf"^(?:echo .*\| )?hyperx {command} (.*)$", capsys.readouterr().out, re.MULTILINE)
    assert len(lines) == 1
    (tmp_path / "run.yaml").write_text("train_task_language_pairs: [ner#en]\ndata_folder: nowhere\n")
    words = [word.replace("run.yaml", str(tmp_path / "run.yaml")) for word in shlex.split(lines[0])]
    elsewhere = ["--data_folder", str(tmp_path / "none")] if command == "train" else []
    assert main([command, *words, *elsewhere]) == 1
    error = capsys.readouterr().err
    assert "there is no option" not in error
    assert re.search("there is no folder|does not exist|is no folder|found none at", error)


# Terminals ------------------------------------------------------------------------------------------------------------

SEEN = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal(io.StringIO):
    """A stream that a person reads."""

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """What the terminal shows: a carriage return goes back to the start of the line."""
        shown = []
        for line in SEEN.sub("", self.getvalue()).split("\n"):
            cells = ""
            for part in line.split("\r"):
                cells = part + cells[len(part) :]
            shown.append(cells.rstrip())
        return shown


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], Terminal]:
    """Makes one of the standard streams a terminal of some width."""

    def make(width: int, stream: str) -> Terminal:
        screen = Terminal()
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(f"sys.{stream}", screen)
        return screen

    return make


def cells_of(lines: list[str]) -> list[list[str]]:
    """The words of a table, row by row: of a folded row, those of all its lines by column."""
    return [line.strip("│┃").split(line[0]) for line in lines if line[:1] in ("│", "┃")]


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_table_fits_the_terminal_with_its_words_whole(width: int, terminal: Callable[[int, str], Terminal]) -> None:
    screen = terminal(width, "stdout")
    assert main(["languages", "turkish", "kurdish", "en"]) == 0
    lines = screen.lines()
    assert max(map(cell_len, lines)) <= width
    known = {name for one in known_languages().values() for name in (one.code, *one.name.split())}
    rows = cells_of(lines)[1:]
    assert {word for row in rows for word in " ".join(row[:2]).split()} <= known | {"code", "language"}
    corner = [line[-1] for line in lines if line[:1] in ("┏", "┡", "│", "└")]
    assert set(corner) <= set("┓┩│┘")
    if width >= 80:
        assert "kmr_kurmanji*" in {word for row in rows for cell in row for word in cell.split()}


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_only_a_long_cell_is_broken(width: int, terminal: Callable[[int, str], Terminal]) -> None:
    screen = terminal(width, "stdout")
    path = "/data/of/the/project/ner/en/" + "part" * 20 + ".tsv"
    header = ["pair", "group", "data", "measure", "score"]
    print_table("Scores", header, [["ner#en", "new language", path, "accuracy", "97.5"]], text_columns=3)
    lines = screen.lines()
    assert max(map(cell_len, lines)) <= width
    columns = list(zip(*cells_of([line for line in lines if line.startswith("│")]), strict=True))
    assert [" ".join(" ".join(cells).split()) for cells in columns[:2]] == ["ner#en", "new language"]
    assert "".join(cell.strip() for cell in columns[2]) == path
    assert [" ".join(" ".join(cells).split()) for cells in columns[3:]] == ["accuracy", "97.5"]


@pytest.mark.parametrize("width", [60, 80])
def test_messages_are_folded_between_words(
    width: int, terminal: Callable[[int, str], Terminal], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["check", "--train_task_language_pairs", "nerr#en", "pos#tr", "--languages", "en", "trrr"]
    assert main([*words, "--conditional_layer_norm", "--temperature", "0"]) == 1
    whole = capsys.readouterr().err
    screen = terminal(width, "stderr")
    assert main([*words, "--conditional_layer_norm", "--temperature", "0"]) == 1
    lines = screen.lines()
    assert max(map(len, lines)) <= width
    assert " ".join(screen.getvalue().split()) == " ".join(whole.split())
    assert all(line.startswith(("hyperx check", "  - ", "    ")) for line in lines if line)


def test_log_lines_and_bars_have_lines_of_their_own(
    terminal: Callable[[int, str], Terminal],
    base: list[str],
    isolated: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = terminal(80, "stderr")
    start_logging()
    with tqdm(total=3, desc="reading data") as bar:
        bar.update()
        message = "one message that is longer than the line of the terminal, so it is folded"
        logging.getLogger("hyperx.test").info(message)
        bar.update()
    lines = screen.lines()
    assert [line[:12] for line in lines if "reading data" in line] == ["reading data"]
    assert "".join(line[8:] for line in lines if "reading data" not in line).strip().startswith("one message that")
    assert max(map(len, lines)) <= 80

    monkeypatch.setenv(CACHE_VARIABLE, str(isolated / "cache"))  # so that data is read, behind a bar
    words = ["--no_disable_progress_bar", "--max_train_steps", "4", "--eval_steps", "2", "--logging_steps", "1"]
    screen = terminal(80, "stderr")
    assert main(["train", *base, *words, "--output_dir", str(isolated / "run")]) == 0
    lines = [line for line in screen.lines() if line]
    bars = [line for line in lines if "%|" in line]
    assert [line.partition(":")[0] for line in bars] == ["training"]
    assert sum("encoding" in line for line in lines) >= 2
    assert not [line for line in lines if "encoding" in line and "|" in line]
    # Results are the output; they go to the standard output, not among the log.
    assert "step 4  dev" in capsys.readouterr().out


def test_without_a_terminal_there_is_no_bar(
    trained: Path, base: list[str], isolated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (isolated / "in.txt").write_text("cat sees .\n")
    words = ["--checkpoint", str(trained), "--language", "en", "--input", "in.txt", "--input_format", "tokens"]
    for command in (
        ["evaluate", "--eval_ckpt", str(trained), "--no_cuda"],
        ["check", *base, "--no_disable_progress_bar"],
        ["train", *base, "--no_disable_progress_bar", "--max_train_steps", "1", "--output_dir", "run"],
        ["predict", *words, "--output", "out.conllu", "--no_cuda"],
    ):
        assert main(command) == 0
        captured = capsys.readouterr()
        assert "%|" not in captured.err
        assert "it/s" not in captured.err
        assert "encoding" not in captured.out


# Encodings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_everything_is_printed_in_any_encoding(
    encoding: str, trained: Path, base: list[str], isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (isolated / "in.txt").write_text("cat sees Ångström .\n", encoding="utf-8")
    words = ["--checkpoint", str(trained), "--language", "en", "--input", "in.txt", "--input_format", "tokens"]
    texts = {}
    for command in (
        ["help"],
        *([name, "--help"] for name in COMMANDS),
        ["languages"],
        ["check", *base],
        ["check", "--train_task_language_pairs", "ñer"],
        ["evaluate", "--eval_ckpt", str(trained), *toy.QUIET],
        ["predict", *words, *toy.QUIET],
    ):
        streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
        with monkeypatch.context() as patch:
            for name, stream in streams.items():
                patch.setattr(f"sys.{name}", stream)
            if "--help" in command:
                with pytest.raises(SystemExit) as caught:
                    main(command)
                assert caught.value.code == 0
            else:
                assert main(command) == (1 if "ñer" in command else 0)
        texts[" ".join(command[:2])] = streams["stdout"], streams["stderr"]
    for out, err in texts.values():
        out.flush()
        err.flush()
    assert b"task-language pairs" in texts["help"][0].buffer.getvalue()  # type: ignore[attr-defined]
    # What is predicted is data, and always UTF-8.
    assert "Ångström" in texts["predict --checkpoint"][0].buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]
