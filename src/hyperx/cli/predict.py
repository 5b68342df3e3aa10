"""``hyperx predict``."""

from __future__ import annotations

import itertools
import logging
import os
import re
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TextIO

from tqdm import tqdm

from hyperx import checkpoint
from hyperx.cli.options import parse, start_logging
from hyperx.config import InputFormat, OutputFormat, PredictConfig
from hyperx.data.read.sentence import Sentence
from hyperx.data.read.text import Gap, read_input
from hyperx.errors import CheckpointError, ConfigError, DataError, HyperXError, itemised
from hyperx.files import missing_encoder
from hyperx.options import value_problems
from hyperx.prediction.output import OUTPUT_FORMATS, Places, Prediction
from hyperx.prediction.request import language_problem, predicted_tasks, prediction_problems

log = logging.getLogger(__name__)

INPUT_ENDINGS: dict[str, InputFormat] = {
    ".jsonl": "jsonl",
    ".conllu": "conllu",
    **dict.fromkeys((".conll", ".bio", ".iob2"), "columns"),
}
OUTPUT_ENDINGS: dict[str, OutputFormat] = {
    ".jsonl": "jsonl",
    ".conllu": "conllu",
    **dict.fromkeys((".tsv", ".conll", ".bio"), "columns"),
}
SAID_BY_INPUT = {*INPUT_ENDINGS, ".txt"}
"""Extensions of input files that tell a format."""

AMBIGUOUS = (".tsv", ".csv", ".json")
"""Extensions of input files that may hold words or texts."""

NOT_WRITTEN = (".csv", ".json", ".iob2")
"""Extensions of output files that stand for formats that are not written."""

ALIGNED = (*((given, "jsonl") for given in ("raw", "tokens", "jsonl")), ("columns", "columns"))
"""Formats of input and output of which line answers line."""

_SHOWN = 5


def main(arguments: Sequence[str]) -> None:
    """Tag a stream."""
    config = parse(PredictConfig, arguments, "predict")
    start_logging()
    validate(config)
    tell_formats(config)
    with open_input(config.input) as source:
        check_not_input(config.output, source)
        faults = Faults(config)
        predictions = predictions_of(config, source, faults)
        with open_output(config.output) as target:
            written = write(progress(predictions, config), target, config)
    faults.report()
    if not written:
        log.warning(
            "%s holds no sentence: %s",
            source_name(config),
            "the output is empty" if config.output else "nothing was written",
        )


@dataclass
class Faults:
    """What is done with sentences that cannot be read, and what is told of them at the end."""

    config: PredictConfig
    count: int = 0
    first: list[str] = field(default_factory=list)

    def __call__(self, fault: DataError) -> None:
        """Raise a fault, or keep it for the report."""
        if self.config.on_error == "stop":
            message = f"{fault.message} (--on_error skip or empty goes on behind it)"
            raise DataError(message, path=fault.path, line=fault.line) from fault
        self.count += 1
        if len(self.first) < _SHOWN:
            self.first.append(str(fault))

    def report(self) -> None:
        """Log how many sentences could not be read, and the first of them."""
        if self.count:
            many = "1 sentence" if self.count == 1 else f"{self.count:,} sentences"
            done = "skipped" if self.config.on_error == "skip" else "written empty"
            more = self.count - len(self.first)
            lines = [*self.first, *([f"and {more:,} more"] if more else [])]
            log.warning(itemised(f"{many} {done} that cannot be read", lines))


def predictions_of(config: PredictConfig, source: IO[bytes], faults: Faults) -> Iterator[Prediction]:
    """The model's predictions for the sentences of the input, one by one, and what stands for those that it lacks.

    Raises:
        ConfigError: if the output's format cannot hold all labels, or the answer line by line.
    """
    from hyperx.device import pick_device
    from hyperx.model import HyperX
    from hyperx.prediction.predictor import Predictor

    assert config.checkpoint is not None
    assert config.language is not None
    model = HyperX.from_pretrained(config.checkpoint, encoder=config.model_name_or_path)
    model.to(pick_device(no_cuda=config.no_cuda))
    tasks, predictor = predicted_tasks(model.config, config.tasks), Predictor(model)
    predictor.tell_language(config.language)
    places = {task: tuple(model.tasks[task].annotation(())) for task in tasks}
    check_labels(config, places, model.config.labels)
    sentences = read_input(
        first_checked(source, config),
        input_format(config),
        language=config.language,
        source=source_name(config),
        reads={model.tasks[task].reads for task in tasks},
        on_fault=faults,
        fills=config.on_error == "empty",
        aligns=config.align,
        word_column=config.word_column,
    )
    return with_gaps(
        writable(sentences, places, config, faults),
        lambda found: predictor.predict(
            found,
            tasks=tasks,
            language=config.language or "",
            confidences=config.confidence,
            batch_size=config.batch_size,
            pool=1 if at_terminal(config) else None,
        ),
        places,
    )


def check_labels(config: PredictConfig, places: Places, labels: Mapping[str, Iterable[str]]) -> None:
    """Check that the output's format can hold all labels, and a line for a line.

    Raises:
        ConfigError: naming tasks, labels and another format.
    """
    chosen = output_format(config)
    problems = [
        f"--output_format: {chosen} cannot hold {problem}; choose {'another' if chosen == 'jsonl' else 'jsonl'}"
        for problem in OUTPUT_FORMATS[chosen].label_problems(places, labels)
    ]
    whole = [task for task, columns in places.items() if not columns]
    if config.align and chosen == "columns" and whole:
        problems.append(
            f"--align: columns have no line for the labels of {', '.join(whole)}; leave them out of --tasks"
        )
    if problems:
        raise ConfigError(problems)


def writable(
    sentences: Iterable[Sentence], places: Places, config: PredictConfig, faults: Faults
) -> Iterator[Sentence]:
    """The sentences whose words the output's format can hold; others are faults."""
    check = OUTPUT_FORMATS[output_format(config)].check
    for sentence in sentences:
        try:
            if not isinstance(sentence, Gap):
                check(sentence, places)
        except DataError as fault:
            faults(fault)
            if config.on_error == "skip":
                continue
            shape = getattr(sentence, "shape", ())
            sentence = Gap((), text=sentence.raw_text, source=sentence.source, error=str(fault), shape=shape)
        yield sentence


def with_gaps(
    sentences: Iterable[Sentence], label: Callable[[Iterator[Sentence]], Iterator[Prediction]], places: Places
) -> Iterator[Prediction]:
    """The predictions for sentences, and for each gap between them that there is nothing.

    A fault ends the sentences; those before it are labelled before it is raised.
    """
    waiting: deque[Gap | None] = deque()
    faults: list[HyperXError] = []

    def without_gaps() -> Iterator[Sentence]:
        try:
            for sentence in sentences:
                if isinstance(sentence, Gap):
                    waiting.append(sentence)
                else:
                    waiting.append(None)
                    yield sentence
        except HyperXError as fault:
            faults.append(fault)

    def gaps() -> Iterator[Prediction]:
        while waiting and (gap := waiting[0]) is not None:
            waiting.popleft()
            yield Prediction.nothing(gap, places)

    for prediction in label(without_gaps()):
        yield from gaps()
        waiting.popleft()
        yield prediction
    yield from gaps()
    if faults:
        raise faults[0]


def write(predictions: Iterable[Prediction], target: TextIO, config: PredictConfig) -> int:
    """Write each sentence as soon as it is labelled; returns how many there are."""
    writer, waiting, count = OUTPUT_FORMATS[output_format(config)](target), at_terminal(config), 0
    for prediction in predictions:
        count += 1
        writer.write(prediction)
        if waiting:
            target.flush()
    return count


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
    problems += model_problems(config)
    if config.confidence and (chosen := output_format(config)) != "jsonl":
        problems.append(f"--confidence: {chosen} has no place for it; choose --output_format jsonl")
    problems += value_problems(config)
    if config.input is not None and config.input.is_dir():
        problems.append(f"--input: expected a file, found the folder {config.input}; name a file in it")
    elif config.input is not None and config.input_format is None and config.input.suffix.lower() in AMBIGUOUS:
        problems.append(
            f"--input: a file that ends in {config.input.suffix} may hold words or texts. Say --input_format columns "
            "(one word per line), raw (one text per line) or jsonl (one JSON object per line)"
        )
    if config.input is not None and not config.input.exists():
        problems.append(f"--input: cannot read {config.input}: No such file or directory")
    if config.output is not None and config.output.is_dir():
        problems.append(f"--output: expected a file, found the folder {config.output}")
    elif config.output is not None and config.output_format is None and config.output.suffix.lower() in NOT_WRITTEN:
        known = ", ".join(f"{ending} ({name})" for ending, name in OUTPUT_ENDINGS.items())
        problems.append(f"--output: no format that is written ends in {config.output.suffix}; choose {known}")
    given, chosen = input_format(config), output_format(config)
    if config.word_column is not None and given != "columns":
        problems.append(f"--word_column is for --input_format columns; found {given}")
    if config.align and (given, chosen) not in ALIGNED:
        pairs = "raw, tokens or jsonl with --output_format jsonl, or columns with columns"
        problems.append(f"--align: {given} to {chosen} has no line for every line; choose {pairs}")
    if config.align and config.on_error == "skip":
        problems.append("--align: with --on_error skip lines would be missing; choose --on_error empty or stop")
    if problems:
        raise ConfigError(problems)


def model_problems(config: PredictConfig) -> list[str]:
    """What the checkpoint's configuration says against the options, before its weights or PyTorch are loaded."""
    problems = [
        f"--tasks: {name!r} is named twice" for name in dict.fromkeys(config.tasks) if config.tasks.count(name) > 1
    ]
    if config.checkpoint is None:
        return problems
    try:
        settings = checkpoint.read_config(checkpoint.resolve(config.checkpoint))
    except CheckpointError as error:
        return [f"--checkpoint: {error}", *problems]
    if missing := missing_encoder(config.model_name_or_path or settings.encoder):
        problems.append(f"--model_name_or_path: {missing}")
    problems += [f"--tasks: {problem}" for problem in prediction_problems(settings, tuple(dict.fromkeys(config.tasks)))]
    if config.language is not None and (problem := language_problem(settings, config.language)):
        problems.append(f"--language: {problem}")
    return problems


def input_format(config: PredictConfig) -> InputFormat:
    """The format that is given, else that of the input's extension, else raw text."""
    ending = "" if config.input is None else config.input.suffix.lower()
    return config.input_format or INPUT_ENDINGS.get(ending, "raw")


def output_format(config: PredictConfig) -> OutputFormat:
    """The format that is given, else that of the output's extension, else CoNLL-U."""
    ending = "" if config.output is None else config.output.suffix.lower()
    return config.output_format or OUTPUT_ENDINGS.get(ending, "conllu")


def tell_formats(config: PredictConfig) -> None:
    """Log how files are read and written whose extension does not say so."""
    if config.input is not None and config.input_format is None and config.input.suffix.lower() not in SAID_BY_INPUT:
        log.info("%s is read as raw text, one text per line; --input_format names another format", config.input)
    if (
        config.output is not None
        and config.output_format is None
        and config.output.suffix.lower() not in OUTPUT_ENDINGS
    ):
        log.info("%s is written as CoNLL-U; --output_format names another format", config.output)


def first_checked(lines: Iterable[bytes], config: PredictConfig) -> Iterator[bytes]:
    """The lines of the input, unless it is taken for raw text unasked and the first one shows that it is not.

    Raises:
        ConfigError: if it shows that.
    """
    lines, seen = iter(lines), []
    if config.input_format is None and input_format(config) == "raw":
        for line in lines:
            seen.append(line)
            text = line.decode("utf-8", errors="replace").removeprefix("\ufeff").rstrip("\r\n")
            if found := other_format(text):
                looks = f"the input looks like {found}, as it begins with {text[:40]!r}"
                raise ConfigError([f"--input_format: {looks}; say --input_format {found}, or raw if this is text"])
            if text.strip():
                break
    yield from itertools.chain(seen, lines)


def other_format(line: str) -> InputFormat | None:
    """The format other than raw text whose first line this surely is; None if there is none."""
    if re.fullmatch(r'\{\s*".*\}', line):
        return "jsonl"
    if re.match(r"# *(sent_id|newdoc|newpar|global\.columns|text)\b.*=|1(-\d+)?(\t[^\t]*){9}$", line):
        return "conllu"
    if re.match(r"-DOCSTART-|\S+\t(O|[BIESU]-\w+)$", line):
        return "columns"
    return None


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
    for written in () if path is None else (path, partial_of(path)):
        try:
            same = written.is_file() and os.path.samestat(written.stat(), os.fstat(source.fileno()))
        except OSError:  # an input without a file descriptor
            return
        if same:
            raise ConfigError([f"--output: {written} is the input; it would be overwritten while it is read"])


def partial_of(path: Path) -> Path:
    """Where output is written until it is complete; a link stays a link."""
    place = path.resolve()
    return place.with_name(f"{place.name}.partial")


@contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """The file, or standard output, which stays open; in UTF-8 whatever the locale.

    A file is replaced when all is written. Until then, and if anything fails, what was written stands beside it.
    """
    if path is None:
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        yield sys.stdout
        return
    special = path.exists() and not path.is_file()  # a device or a pipe
    partial = path if special else partial_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = partial.open("w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise HyperXError(f"--output: cannot write {partial}: {error.strerror}") from None
    if special:
        with file:
            yield file
        return
    try:
        with file:
            yield file
    except BaseException:
        if partial.stat().st_size:
            log.warning("not finished: what was done stands in %s", partial)
        else:
            partial.unlink()
        raise
    with suppress(OSError):
        shutil.copymode(path, partial)
    partial.replace(path.resolve())


def progress(predictions: Iterable[Prediction], config: PredictConfig) -> Iterator[Prediction]:
    """Show a count on standard error if the output goes to a file."""
    hidden = config.disable_progress_bar or config.output is None or None  # None: only in a terminal
    return iter(tqdm(predictions, desc="tagging", unit=" sentences", disable=hidden))
