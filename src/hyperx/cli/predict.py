"""``hyperx predict``."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from itertools import tee
from pathlib import Path
from typing import IO, TextIO

from tqdm import tqdm

from hyperx import checkpoint
from hyperx.add_on_file import checked_add_ons
from hyperx.config import PredictConfig, ServeConfig
from hyperx.data.read.base import Request
from hyperx.data.read.detection import AUTO, detection_problem
from hyperx.data.read.formats import (
    OUTPUT_FORMATS,
    format_problems,
    input_format,
    label_problems,
    output_format,
    read_input,
    surely_raw,
    tell_formats,
)
from hyperx.data.read.lines import FirstFaults
from hyperx.data.read.sentence import Prediction, Sentence
from hyperx.errors import CheckpointError, ConfigError, DataError, HyperXError, itemised
from hyperx.files import missing_encoder
from hyperx.languages import canonical
from hyperx.options import value_problems
from hyperx.pairs import TaskLanguagePair
from hyperx.prediction.request import language_problem, predicted_tasks, prediction_problems, style_problems

log = logging.getLogger(__name__)


def predict(config: PredictConfig) -> None:
    """Tag a stream, each sentence as soon as it is labelled."""
    config = checked(config)
    tell_formats(config)
    faults, count = FirstFaults(most=5), 0

    def note(fault: DataError) -> None:
        if config.on_error == "stop":
            message = f"{fault.message} (--on_error skip or empty goes on behind it)"
            raise DataError(message, path=fault.path, line=fault.line) from fault
        faults(fault)

    writer = OUTPUT_FORMATS[output_format(config.output, config.output_format)]
    hidden = True if config.output is None else config.silent
    with opened(config.input) as stream:
        for written in () if config.output is None else (config.output, partial_of(config.output)):
            with suppress(OSError):  # an input without a file descriptor
                if written.is_file() and os.path.samestat(written.stat(), os.fstat(stream.fileno())):
                    raise ConfigError([f"--output: {written} is the input; it would be overwritten while it is read"])
        predictions = predictions_of(config, stream, note)
        with open_output(config.output) as target:
            for count, prediction in enumerate(tqdm(predictions, "tagging", unit=" sentences", disable=hidden), 1):
                target.write(writer.render(prediction, count))
                if at_terminal(config):
                    target.flush()
    if faults.count:
        many = "1 sentence" if faults.count == 1 else f"{faults.count:,} sentences"
        done = "skipped" if config.on_error == "skip" else "written empty"
        more = [f"and {faults.count - faults.most:,} more"] if faults.count > faults.most else []
        log.warning(itemised(f"{many} {done} that cannot be read", [*map(str, faults.first), *more]))
    if not count:
        what = "the output is empty" if config.output else "nothing was written"
        log.warning("%s holds no sentence: %s", config.input or "<stdin>", what)


def checked(config: PredictConfig) -> PredictConfig:
    """The options, with the folder of the checkpoint and files of add-ons in place of names; or a ConfigError with all
    that is wrong with them, before weights or PyTorch are loaded."""
    problems = [*value_problems(config), *format_problems(config)]
    if config.language is None and input_format(config.input, config.input_format) != "jsonl":
        problems.append("--language: name the language of the text, such as de, or auto to detect it")
    if config.like == AUTO:
        problems.append("--like: name a language that the model was trained on; --language is what is detected")
    if config.input is not None and config.input.is_dir():
        problems.append(f"--input: expected a file, found the folder {config.input}; name a file in it")
    elif config.input is not None and not config.input.exists():
        problems.append(f"--input: cannot read {config.input}: No such file or directory")
    if config.output is not None and config.output.is_dir():
        problems.append(f"--output: expected a file, found the folder {config.output}")
    folder, add_ons = checked_model(config, config.checkpoint, problems)
    if problems:
        raise ConfigError(problems)
    return replace(config, checkpoint=folder, add_on=add_ons)


def checked_model(
    config: PredictConfig | ServeConfig, named: Path | None, problems: list[str]
) -> tuple[Path | None, tuple[Path, ...]]:
    """The folder of a checkpoint and the files of add-ons; what is wrong with what is asked of the model is added to
    problems."""
    tasks, add_ons = tuple(dict.fromkeys(config.tasks)), tuple(config.add_on)
    problems += [f"--tasks: {name!r} is named twice" for name in tasks if config.tasks.count(name) > 1]
    if problem := detection_problem(config.language):
        problems.append(f"--language: {problem}")
    try:
        folder = checkpoint.resolve(named)
        settings = checkpoint.read_config(folder, exported=True)
    except CheckpointError as error:
        problems.append(f"--checkpoint: {error}")
        return named, add_ons
    if (folder / checkpoint.EXPORTED).is_file():
        given = [one for one in ("add_on", "model_name_or_path") if getattr(config, one)]
        problems += [f"--{one}: {folder} holds exported pairs; give it to hyperx export" for one in given]
    else:
        add_ons = checked_add_ons(config.add_on, settings, folder, problems)
        if missing := missing_encoder(config.model_name_or_path or settings.encoder):
            problems.append(f"--model_name_or_path: {missing}")
    problems += [f"--tasks: {problem}" for problem in prediction_problems(settings, tasks)]
    if isinstance(config, PredictConfig):
        known = tasks if all(task in settings.kinds for task in tasks) else ()
        problems += [f"--style: {problem}" for problem in style_problems(settings, config.style, known)]
    for option in ("language", "like"):
        code = getattr(config, option, None)
        if code not in (None, AUTO) and (problem := language_problem(settings, code)):
            problems.append(f"--{option}: {problem}")
    return folder, add_ons


def opened(path: Path | None) -> AbstractContextManager[IO[bytes]]:
    """The input: a file, or standard input, which stays open."""
    try:
        return nullcontext(sys.stdin.buffer) if path is None else path.open("rb")
    except OSError as error:
        raise HyperXError(f"--input: cannot read {path}: {error.strerror}") from None


def predictions_of(
    config: PredictConfig, stream: IO[bytes], on_fault: Callable[[DataError], None]
) -> Iterator[Prediction]:
    """The model's predictions for the sentences of the input, one by one, and what stands for those that it lacks. A
    ConfigError if the output's format cannot hold all labels, or the answer line by line."""
    from hyperx.exporting.running import load_model
    from hyperx.prediction.predictor import Predictor

    model = load_model(config.checkpoint, config, config.add_on)
    tasks, predictor = predicted_tasks(model.config, config.tasks), Predictor(model)
    given = input_format(config.input, config.input_format)
    # One language for all, unless sentences have their own.
    one = config.like or (None if config.language == AUTO or given == "jsonl" else config.language)
    if one is not None:
        predictor.tell_language(one)
    for add_on in model.config.add_ons if one is not None else ():
        if config.add_on and canonical(add_on.language) != canonical(one):
            log.warning("the add-on of %s is not used: the text is tagged as %s", add_on.language, one)
    places = {task: tuple(model.tasks[task].annotation(())) for task in tasks}
    read = [one or config.language or AUTO, *(add_on.language for add_on in model.config.add_ons if one is None)]
    labels = {
        task: tuple(
            dict.fromkeys(label for code in read for label in model.config.labels_of(TaskLanguagePair(task, code)))
        )
        for task in tasks
    }
    if problems := label_problems(config, places, labels):
        raise ConfigError(problems)
    writer = OUTPUT_FORMATS[output_format(config.output, config.output_format)]
    request = Request(
        str(config.input or "<stdin>"),
        on_fault=on_fault,
        reads={model.tasks[task].reads for task in tasks},
        language=config.language or "",
        word_column=config.word_column,
        fills=config.on_error == "empty",
        aligns=config.align,
    )
    lines = surely_raw(stream) if given == "raw" and config.input_format is None else stream

    def check(sentence: Sentence) -> None:
        writer.check(sentence, places)
        code, problem = sentence.language or config.language, None
        if code is None:
            problem = "expected the code of a language in language, found none; --language names one for all"
        elif code != config.language:
            problem = language_problem(model.config, code)
        if problem:
            raise DataError(problem, path=sentence.origin, line=sentence.lines[0])

    sentences, again = tee(read_input(lines, given, request, check))
    return predictor.predict(
        sentences,
        tasks=tasks,
        language=one or (sentence.language or str(config.language) for sentence in again),
        style=config.style,
        confidences=config.confidence,
        batch_size=config.batch_size,
        pool=1 if at_terminal(config) else None,
    )


def at_terminal(config: PredictConfig) -> bool:
    """Whether a person at a terminal waits for an answer to every line."""
    return config.input is None and sys.stdin.isatty()


def partial_of(path: Path) -> Path:
    """Where output is written until it is complete: beside a file, and at once into a device or a pipe."""
    if path.exists() and not path.is_file():
        return path  # what /dev/stdout leads to may have no name of its own
    place = path.resolve()  # a link stays a link
    return place.with_name(f"{place.name}.partial")


@contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """The file, or standard output, which stays open; in UTF-8 whatever the locale. A file is replaced when all is
    written. Until then, and if anything fails, what was written stands beside it."""
    if path is None:
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        yield sys.stdout
        return
    partial = partial_of(path)
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        file = partial.open("w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise HyperXError(f"--output: cannot write {partial}: {error.strerror}") from None
    if partial == path:
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
