"""The one registry of formats: which files are read for training, what prediction reads, and what it writes."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hyperx.config import InputFormat, OutputFormat, PredictConfig
from hyperx.data.read.base import LABEL, TEXT, Format, Request, WrittenFormat
from hyperx.data.read.columns import ColumnsFormat
from hyperx.data.read.conllu import ConlluFormat
from hyperx.data.read.jsonl import JsonlFormat
from hyperx.data.read.lines import OnFault, decoded_lines, file_lines, stop
from hyperx.data.read.sentence import Sentence
from hyperx.data.read.tables import CsvFormat, TsvFormat
from hyperx.data.read.text import RawFormat, TokensFormat
from hyperx.errors import ConfigError, DataError

log = logging.getLogger(__name__)

TREE_COLUMNS = frozenset({"head", "deprel"})

OUTPUT_FORMATS: dict[OutputFormat, WrittenFormat] = {
    "conllu": ConlluFormat(),
    "jsonl": JsonlFormat(),
    "columns": ColumnsFormat(),
}
"""What prediction writes, and reads."""
INPUT_FORMATS: dict[InputFormat, Format] = {
    "raw": RawFormat(),
    "jsonl": OUTPUT_FORMATS["jsonl"],
    "tokens": TokensFormat(),
    "columns": OUTPUT_FORMATS["columns"],
    "conllu": OUTPUT_FORMATS["conllu"],
}
"""What prediction reads."""

# Files of training data: their extensions, their format and the columns that they can hold. The requested column tells
# apart those that share an extension.
_TAGS = frozenset({"upos", "ner"})
_FILES: tuple[tuple[tuple[str, ...], Format, frozenset[str]], ...] = (
    ((".conllu",), INPUT_FORMATS["conllu"], TREE_COLUMNS | _TAGS | {TEXT}),
    ((".tsv", ".txt", ".conll", ".bio", ".iob2"), INPUT_FORMATS["columns"], _TAGS),
    ((".jsonl",), INPUT_FORMATS["jsonl"], _TAGS),
    ((".txt",), INPUT_FORMATS["raw"], frozenset({TEXT})),
    ((".tsv", ".conll", ".bio", ".iob2"), INPUT_FORMATS["columns"], frozenset({TEXT})),
    ((".tsv",), TsvFormat(), frozenset({LABEL})),
    ((".csv",), CsvFormat(), frozenset({LABEL})),
    ((".jsonl",), INPUT_FORMATS["jsonl"], frozenset({LABEL})),
)

# The extensions that tell the format of what prediction reads and writes.
_INPUT_ENDINGS: dict[str, InputFormat] = {
    ".jsonl": "jsonl",
    ".conllu": "conllu",
    **dict.fromkeys((".conll", ".bio", ".iob2"), "columns"),
    ".txt": "raw",
}
_OUTPUT_ENDINGS: dict[str, OutputFormat] = {
    ".jsonl": "jsonl",
    ".conllu": "conllu",
    **dict.fromkeys((".tsv", ".conll", ".bio"), "columns"),
}
_AMBIGUOUS = (".tsv", ".csv", ".json")
"""Those of input that may hold words or texts."""
_NOT_WRITTEN = (".csv", ".json", ".iob2")
"""Those of formats that are not written."""
_ALIGNED = (*((given, "jsonl") for given in ("raw", "tokens", "jsonl")), ("columns", "columns"))
"""Formats of input and output of which line answers line."""

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
    known = f"expected a file that ends in {', '.join(endings(column))}, which can hold {column}"
    return f"{known}; found {path.name!r}; rename or convert it"


def read_file(
    path: str | Path, column: str, on_fault: OnFault = stop, names: Mapping[str, str] | None = None
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

    for sentence in chosen.read(file_lines(path), Request(str(path), column, note, names or {})):
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
    for sentence in INPUT_FORMATS[input_format].read(decoded_lines(stream, request.origin), request):
        try:
            if check is not None and sentence.error is None:
                check(sentence)
        except DataError as fault:
            yield from request.gap(fault, sentence.raw_text, sentence.shape)
        else:
            yield sentence


def input_format(path: Path | None, asked: InputFormat | None) -> InputFormat:
    """The format that is asked for, else that of the input's extension, else raw text."""
    return asked or _INPUT_ENDINGS.get("" if path is None else path.suffix.lower(), "raw")


def output_format(path: Path | None, asked: OutputFormat | None) -> OutputFormat:
    """The format that is asked for, else that of the output's extension, else CoNLL-U."""
    return asked or _OUTPUT_ENDINGS.get("" if path is None else path.suffix.lower(), "conllu")


def format_problems(config: PredictConfig) -> list[str]:
    """What is wrong with the formats that the options and the names of files ask for."""
    problems = []
    given, chosen = input_format(config.input, config.input_format), output_format(config.output, config.output_format)
    if config.input is not None and config.input_format is None and config.input.suffix.lower() in _AMBIGUOUS:
        problems.append(
            f"--input: a file that ends in {config.input.suffix} may hold words or texts. Say --input_format columns "
            "(one word per line), raw (one text per line) or jsonl (one JSON object per line)"
        )
    if config.output is not None and config.output_format is None and config.output.suffix.lower() in _NOT_WRITTEN:
        known = ", ".join(f"{ending} ({name})" for ending, name in _OUTPUT_ENDINGS.items())
        problems.append(f"--output: no format that is written ends in {config.output.suffix}; choose {known}")
    if config.confidence and chosen != "jsonl":
        problems.append(f"--confidence: {chosen} has no place for it; choose --output_format jsonl")
    if config.word_column is not None and given != "columns":
        problems.append(f"--word_column is for --input_format columns; found {given}")
    if config.align and (given, chosen) not in _ALIGNED:
        pairs = "raw, tokens or jsonl with --output_format jsonl, or columns with columns"
        problems.append(f"--align: {given} to {chosen} has no line for every line; choose {pairs}")
    if config.align and config.on_error == "skip":
        problems.append("--align: with --on_error skip lines would be missing; choose --on_error empty or stop")
    return problems


def label_problems(config: PredictConfig, places: Mapping[str, Iterable[str]], labels: Mapping[str, Any]) -> list[str]:
    """Which labels of which tasks the output cannot hold, or not line by line."""
    chosen = output_format(config.output, config.output_format)
    problems = [
        f"--output_format: {chosen} cannot hold {problem}; choose {'another' if chosen == 'jsonl' else 'jsonl'}"
        for problem in OUTPUT_FORMATS[chosen].label_problems(places, labels)
    ]
    whole = [task for task, columns in places.items() if not columns]
    if config.align and chosen == "columns" and whole:
        lacking = f"columns have no line for the labels of {', '.join(whole)}"
        problems.append(f"--align: {lacking}; leave them out of --tasks")
    return problems


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
