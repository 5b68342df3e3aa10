"""``hyperx predict``."""

from __future__ import annotations

import itertools
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, TextIO

from tqdm import tqdm

from hyperx.cli.options import parse, start_logging
from hyperx.config import InputFormat, OutputFormat, PredictConfig
from hyperx.data.output import OUTPUT_FORMATS, Prediction
from hyperx.data.text import read_input
from hyperx.errors import ConfigError, HyperXError

log = logging.getLogger(__name__)

AMBIGUOUS = (".tsv", ".csv", ".iob2")
"""Extensions of files that may hold words or texts, or whose words are not in the first column."""


def main(arguments: Sequence[str]) -> None:
    """Tag a stream."""
    config = parse(PredictConfig, arguments, "predict")
    start_logging()
    validate(config)
    with open_input(config.input) as source:
        check_not_input(config.output, source)
        predictions = progress(predictions_of(config, source), config)
        first = next(predictions, None)
        if first is None:
            log.warning("%s holds no sentence: nothing was written", source_name(config))
            return
        # An existing output file is overwritten only once there is something to write.
        with open_output(config.output) as target:
            write(itertools.chain([first], predictions), target, config)


def predictions_of(config: PredictConfig, source: IO[bytes]) -> Iterator[Prediction]:
    """The model's predictions for the sentences of the input, one by one."""
    from hyperx.device import pick_device
    from hyperx.model import HyperX
    from hyperx.prediction import tag

    assert config.checkpoint is not None
    assert config.language is not None
    model = HyperX.from_pretrained(config.checkpoint, encoder=config.model_name_or_path)
    model.to(pick_device(no_cuda=config.no_cuda))
    model.admit_language(config.language)
    tasks = model.predicted_tasks(config.tasks)
    sentences = read_input(
        source,
        input_format(config),
        language=config.language,
        source=source_name(config),
        reads=model.reads(tasks),
    )
    return tag(
        model,
        sentences,
        tasks=tasks,
        language=config.language,
        confidences=config.confidence,
        batch_size=config.batch_size,
        pool=1 if at_terminal(config) else None,
    )


def write(predictions: Iterable[Prediction], target: TextIO, config: PredictConfig) -> None:
    """Write each sentence as soon as it is labelled."""
    writer, waiting = OUTPUT_FORMATS[output_format(config)](target), at_terminal(config)
    for prediction in predictions:
        writer.write(prediction)
        if waiting:
            target.flush()


def at_terminal(config: PredictConfig) -> bool:
    """Whether a person at a terminal waits for an answer to every line."""
    return config.input is None and sys.stdin.isatty()


def source_name(config: PredictConfig) -> str:
    """The name of the input in messages."""
    return "<stdin>" if config.input is None else str(config.input)


def validate(config: PredictConfig) -> None:
    """Report all problems with the options together.

    Raises:
        ConfigError: naming each.
    """
    problems = []
    if config.checkpoint is None:
        problems.append("--checkpoint: name a checkpoint or the output folder of a run")
    if config.language is None:
        problems.append("--language: name the language of the text, such as de")
    if config.confidence and (chosen := output_format(config)) != "jsonl":
        problems.append(f"--confidence: {chosen} has no place for it; choose --output_format jsonl")
    if config.batch_size < 1:
        problems.append(f"--batch_size: expected 1 or more; found {config.batch_size}")
    if config.input is not None and config.input_format is None and config.input.suffix.lower() in AMBIGUOUS:
        problems.append(
            f"--input: a file that ends in {config.input.suffix} may hold words or texts. Say --input_format columns "
            "(one word per line, in the first column) or raw (one text per line)"
        )
    if config.output is not None and config.output.is_dir():
        problems.append(f"--output: expected a file, found the folder {config.output}")
    if problems:
        raise ConfigError(problems)


def input_format(config: PredictConfig) -> InputFormat:
    """The format that is given, else that of the input's extension, else raw text."""
    ending = "" if config.input is None else config.input.suffix.lower()
    by_ending: dict[str, InputFormat] = {".jsonl": "jsonl", ".conllu": "conllu", ".conll": "columns", ".bio": "columns"}
    return config.input_format or by_ending.get(ending, "raw")


def output_format(config: PredictConfig) -> OutputFormat:
    """The format that is given, else that of the output's extension, else CoNLL-U."""
    ending = "" if config.output is None else config.output.suffix.lower()
    by_ending: dict[str, OutputFormat] = {".jsonl": "jsonl", ".tsv": "columns"}
    return config.output_format or by_ending.get(ending, "conllu")


def open_input(path: Path | None) -> IO[bytes]:
    """The file, or standard input, in bytes, so that errors can name the line that is not UTF-8."""
    if path is None:
        return sys.stdin.buffer
    try:
        return path.open("rb")
    except OSError as error:
        raise HyperXError(f"--input: cannot read {path}: {error.strerror}") from None


def check_not_input(path: Path | None, source: IO[bytes]) -> None:
    """Check that the output file is not the input, under any name or by redirection.

    Raises:
        ConfigError: if it is.
    """
    try:
        same = path is not None and path.is_file() and os.path.samestat(path.stat(), os.fstat(source.fileno()))
    except OSError:  # an input without a file descriptor
        return
    if same:
        raise ConfigError([f"--output: {path} is the input; it would be overwritten while it is read"])


def open_output(path: Path | None) -> AbstractContextManager[TextIO]:
    """The file, or standard output, which stays open; in UTF-8 whatever the locale."""
    if path is None:
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        return nullcontext(sys.stdout)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise HyperXError(f"--output: cannot write {path}: {error.strerror}") from None


def progress(predictions: Iterable[Prediction], config: PredictConfig) -> Iterator[Prediction]:
    """Show a count on standard error if the output goes to a file."""
    hidden = config.disable_progress_bar or config.output is None
    return iter(tqdm(predictions, desc="tagging", unit=" sentences", disable=hidden))
