"""The one registry of formats: which files are read for training, what prediction reads, and what it writes."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hyperx.config import InputFormat, OutputFormat, PredictConfig
from hyperx.data.read.base import LABEL, TEXT, Reader, Request, Writer
from hyperx.data.read.columns import ColumnsWriter, read_columns
from hyperx.data.read.conllu import ConlluWriter, read_conllu
from hyperx.data.read.jsonl import JsonlWriter, read_jsonl
from hyperx.data.read.lines import OnFault, decoded_lines, file_lines, stop
from hyperx.data.read.sentence import Prediction, Sentence
from hyperx.data.read.standoff import doccano_text, label_studio_text, read_label_studio
from hyperx.data.read.texts import read_csv, read_raw, read_text, read_tokens, read_tsv
from hyperx.errors import ConfigError, DataError

log = logging.getLogger(__name__)

TREE_COLUMNS = frozenset({"head", "deprel"})

INPUT_FORMATS: dict[InputFormat, Reader] = {
    "raw": read_raw,
    "text": read_text,
    "jsonl": read_jsonl,
    "tokens": read_tokens,
    "columns": read_columns,
    "conllu": read_conllu,
}
"""What prediction reads."""
OUTPUT_FORMATS: dict[OutputFormat, Writer] = {
    "conllu": ConlluWriter(),
    "jsonl": JsonlWriter(),
    "columns": ColumnsWriter(),
}
"""What prediction writes, and reads."""

# Files of training data: their extensions, their reader and the columns that they can hold. The requested column tells
# apart those that share an extension.
_TAGS = frozenset({"upos", "ner"})
_FILES: tuple[tuple[tuple[str, ...], Reader, frozenset[str]], ...] = (
    ((".conllu",), read_conllu, TREE_COLUMNS | _TAGS | {TEXT}),
    ((".tsv", ".txt", ".conll", ".bio", ".iob2"), read_columns, _TAGS),
    ((".jsonl",), read_jsonl, _TAGS),
    ((".txt",), read_raw, frozenset({TEXT})),
    ((".tsv", ".conll", ".bio", ".iob2"), read_columns, frozenset({TEXT})),
    ((".tsv",), read_tsv, frozenset({LABEL})),
    ((".csv",), read_csv, frozenset({LABEL})),
    ((".jsonl",), read_jsonl, frozenset({LABEL})),
    ((".json",), read_label_studio, _TAGS | {LABEL}),
)

# The extensions that tell the format of what prediction reads and writes.
_INPUT_ENDINGS: dict[str, InputFormat] = {
    ".jsonl": "jsonl", ".conllu": "conllu", ".conll": "columns", ".bio": "columns", ".iob2": "columns", ".txt": "raw"
}  # fmt: skip
_OUTPUT_ENDINGS: dict[str, OutputFormat] = {
    ".jsonl": "jsonl", ".conllu": "conllu", ".tsv": "columns", ".conll": "columns", ".bio": "columns"
}  # fmt: skip
_AMBIGUOUS = (".tsv", ".csv", ".json")
"""Those of input that may hold words or texts."""
_NOT_WRITTEN = (".csv", ".json", ".iob2")
"""Those of formats that are not written."""

_SURE: dict[InputFormat, str] = {
    "jsonl": r'\{\s*".*\}$',
    "conllu": r"# *(sent_id|newdoc|newpar|global\.columns|text)\b.*=|1(-\d+)?(\t[^\t]*){9}$",
    "columns": r"-DOCSTART-|\S+\t(O|[BIESU]-\w+)$",
}
"""First lines that are surely of a format other than raw text."""

# Training -------------------------------------------------------------------------------------------------------------


def endings(column: str | None = None) -> tuple[str, ...]:
    """The extensions of the files that can hold a column; of all files if it is None."""
    known = (ending for own, _, columns in _FILES if column is None or column in columns for ending in own)
    return tuple(dict.fromkeys(known))


def format_problem(path: Path, column: str) -> str | None:
    """Why a file cannot hold a column, judged by its name; None if it can."""
    if path.suffix.lower() in endings(column):
        return None
    held = {"head": "trees (dep)", "upos": "tags (pos)", "ner": "entities (ner)", LABEL: "labels of texts (cls)"}
    known = f"expected a file that ends in {', '.join(endings(column))}, which can hold {held.get(column, column)}"
    return f"{known}; found {path.name!r}; rename or convert it"


def read_file(
    path: str | Path, column: str, on_fault: OnFault = stop, names: Mapping[str, str] | None = None, language: str = ""
) -> Iterator[Sentence]:
    """Stream a file's sentences in the format that its extension and the column determine: see :class:`Request`.

    Raises:
        DataError: if the file cannot be read, is no text, or has no sentence.
    """
    ending = Path(path).suffix.lower()
    chosen = next(one for own, one, columns in _FILES if ending in own and column in columns)
    is_empty = True

    def note(fault: DataError) -> None:
        nonlocal is_empty
        is_empty = False
        on_fault(fault)

    for sentence in chosen(file_lines(path), Request(str(path), column, note, names or {}, language=language)):
        is_empty = False
        yield sentence
    if is_empty:
        found = "found none: the file is empty or holds only blank lines and comments"
        raise DataError(f"expected sentences, {found}", path=path)


# Prediction -----------------------------------------------------------------------------------------------------------


def read_input(
    stream: Iterable[bytes],
    input_format: InputFormat,
    request: Request,
    check: Callable[[Sentence], None] | None = None,
) -> Iterator[Sentence]:
    """Stream the sentences of a binary file, holding one in memory at a time.

    A sentence for which ``check`` raises a DataError, as the output cannot hold it, counts as one that cannot be read.

    Raises:
        DataError: with file and line, if the text is not in this format and the request does not go on behind that.
    """
    for sentence in INPUT_FORMATS[input_format](decoded_lines(stream, request.origin, request.first), request):
        if sentence.language is None and sentence.error is None and (own := request.language_of(sentence.raw_text)):
            sentence = replace(sentence, language=own)  # of words, which nothing needs to know before
        try:
            if check is not None and sentence.error is None:
                check(sentence)
        except DataError as fault:
            yield from request.gap(fault, sentence.raw_text)
        else:
            yield sentence


def conllu_text(predictions: Sequence[Prediction], _task: str) -> str:
    """Predictions as CoNLL-U; raises a DataError for a word that it cannot hold."""
    for one in predictions:
        OUTPUT_FORMATS["conllu"].check(one.sentence, one.columns)
    return "".join(OUTPUT_FORMATS["conllu"].render(one, number) for number, one in enumerate(predictions, start=1))


SUGGESTED: dict[str, Callable[[Sequence[Prediction], str], str]] = {
    ".jsonl": doccano_text, ".json": label_studio_text, ".conllu": conllu_text
}  # fmt: skip
"""By ending of a file what it holds of predictions of a task, for tools of annotation."""


def input_format(path: Path | None, asked: InputFormat | None) -> InputFormat:
    """The format that is asked for, else that of the input's extension, else raw text."""
    return asked or _INPUT_ENDINGS.get("" if path is None else path.suffix.lower(), "raw")


def output_format(path: Path | None, asked: OutputFormat | None) -> OutputFormat:
    """The format that is asked for, else that of the output's extension, else CoNLL-U."""
    return asked or _OUTPUT_ENDINGS.get("" if path is None else path.suffix.lower(), "conllu")


def format_problems(config: PredictConfig) -> list[str]:
    """What is wrong with the formats that the options and the names of files ask for."""
    given, chosen = input_format(config.input, config.input_format), output_format(config.output, config.output_format)
    read_from = config.input.suffix.lower() if config.input and config.input_format is None else ""
    written_to = config.output.suffix.lower() if config.output and config.output_format is None else ""
    known = ", ".join(f"{ending} ({name})" for ending, name in _OUTPUT_ENDINGS.items())
    problems = {
        f"--input: a file that ends in {read_from} may hold words or texts. Say --input_format columns (one word per "
        "line), raw (one text per line) or jsonl (one JSON object per line)": read_from in _AMBIGUOUS,
        f"--output: no format that is written ends in {written_to}; choose {known}": written_to in _NOT_WRITTEN,
        f"--confidence: {chosen} has no place for it; choose --output_format jsonl": config.confidence
        and chosen != "jsonl",
        f"--word_column is for --input_format columns; found {given}": config.word_column and given != "columns",
        f"--align: {given} to {chosen} has no line for every line; choose raw, tokens or jsonl with --output_format "
        "jsonl": config.align and (given in ("text", "columns", "conllu") or chosen != "jsonl"),
        "--align: with --on_error skip lines would be missing; choose --on_error empty or stop": config.align
        and config.on_error == "skip",
    }
    return [problem for problem, is_there in problems.items() if is_there]


def label_problems(config: PredictConfig, places: Mapping[str, Iterable[str]], labels: Mapping[str, Any]) -> list[str]:
    """Which labels of which tasks the output cannot hold."""
    chosen = output_format(config.output, config.output_format)
    return [
        f"--output_format: {chosen} cannot hold {problem}; choose {'another' if chosen == 'jsonl' else 'jsonl'}"
        for problem in OUTPUT_FORMATS[chosen].label_problems(places, labels)
    ]


def tell_formats(config: PredictConfig) -> None:
    """Log how files are read and written whose extension does not say so."""
    for path, asked, known, done in (
        (config.input, config.input_format, _INPUT_ENDINGS, "read as raw text, one text per line; --input_format"),
        (config.output, config.output_format, _OUTPUT_ENDINGS, "written as CoNLL-U; --output_format"),
    ):
        if path is not None and asked is None and path.suffix.lower() not in known:
            log.info("%s is %s names another format", path, done)


def surely_raw(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of an input that is taken for raw text unasked; raises a ConfigError if the first one shows that it is
    in another format."""
    lines, seen = iter(lines), []
    for line in lines:
        seen.append(line)
        text = line.decode("utf-8", errors="replace").removeprefix("\ufeff").rstrip("\r\n")
        if other := next((name for name, pattern in _SURE.items() if re.match(pattern, text)), None):
            looks = f"the input looks like {other}, as it begins with {text[:40]!r}"
            raise ConfigError([f"--input_format: {looks}; say --input_format {other}, or raw if this is text"])
        if text.strip():
            break
    yield from itertools.chain(seen, lines)
