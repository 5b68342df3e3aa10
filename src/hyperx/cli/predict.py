"""``hyperx predict``."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
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
from hyperx.errors import CheckpointError, ConfigError, DataError, HyperXError, counted, itemised
from hyperx.files import missing_encoder
from hyperx.languages import canonical
from hyperx.options import value_problems
from hyperx.pairs import TaskLanguagePair
from hyperx.prediction.request import language_problem, predicted_tasks, prediction_problems, style_problems

log = logging.getLogger(__name__)


def predict(config: PredictConfig) -> None:
    """Tag a stream, each sentence as soon as it is labelled; or a corpus with the workers of Ray."""
    if config.engine == "ray":
        from hyperx.cli.cluster import predict_corpus

        predict_corpus(config)
        return
    config, count = checked(config), 0
    tell_formats(config)
    hidden = True if config.output is None else config.silent
    with opened(config.input) as stream:
        for written in () if config.output is None else (config.output, partial_of(config.output)):
            with suppress(OSError):  # an input without a file descriptor
                if written.is_file() and os.path.samestat(written.stat(), os.fstat(stream.fileno())):
                    raise ConfigError([f"--output: {written} is the input; it would be overwritten while it is read"])
        labeller = Labeller(config)
        lines = surely_raw(stream) if labeller.given == "raw" and config.input_format is None else stream
        predictions = labeller.predictions(labeller.sentences(lines, str(config.input or "<stdin>")))
        with open_output(config.output) as target:
            for count, prediction in enumerate(tqdm(predictions, "tagging", unit=" sentences", disable=hidden), 1):
                target.write(labeller.writer.render(prediction, count))
                if at_terminal(config):
                    target.flush()
    tell_result(config, labeller.faults, count)


def tell_result(config: PredictConfig, faults: FirstFaults, count: int) -> None:
    """Log which sentences cannot be read, and that there was none."""
    if faults.count:
        many = counted(faults.count, "sentence")
        done = "skipped" if config.on_error == "skip" else "written empty"
        more = [f"and {faults.count - faults.most:,} more"] if faults.count > faults.most else []
        log.warning(itemised(f"{many} {done} that cannot be read", [*map(str, faults.first), *more]))
    if not count:
        what = "the output is empty" if config.output else "nothing was written"
        log.warning("%s holds no sentence: %s", config.input or "<stdin>", what)


def checked(config: PredictConfig, others: Sequence[str] = ()) -> PredictConfig:
    """The options, with the folder of the checkpoint and files of add-ons in place of names; or a ConfigError with all
    that is wrong with them, and other problems, before weights or PyTorch are loaded."""
    problems = [*others, *value_problems(config), *format_problems(config)]
    if config.engine == "plain":
        own = {"--workers": config.workers is not None, "--part_size": config.part_size != PredictConfig.part_size}
        problems += [f"{option} is for --engine ray" for option, is_given in own.items() if is_given]
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


class Labeller:
    """A model and what is asked of it, for any number of inputs.

    Raises a ConfigError if the output's format cannot hold all labels, or the answer line by line.
    """

    def __init__(self, config: PredictConfig) -> None:
        from hyperx.exporting.running import load_model
        from hyperx.prediction.predictor import Predictor

        self.config, self.faults = config, FirstFaults(most=5)
        self.model = model = load_model(config.checkpoint, config, config.add_on)
        self.tasks, self.predictor = predicted_tasks(model.config, config.tasks), Predictor(model)
        self.given = input_format(config.input, config.input_format)
        self.writer = OUTPUT_FORMATS[output_format(config.output, config.output_format)]
        # One language for all, unless sentences have their own.
        own = config.language == AUTO or self.given == "jsonl"
        self.one = one = config.like or (None if own else config.language)
        if one is not None:
            self.predictor.tell_language(one)
        for add_on in model.config.add_ons if one is not None else ():
            if config.add_on and canonical(add_on.language) != canonical(one):
                log.warning("the add-on of %s is not used: the text is tagged as %s", add_on.language, one)
        self.places = {task: tuple(model.tasks[task].annotation(())) for task in self.tasks}
        read = [one or config.language or AUTO, *(add_on.language for add_on in model.config.add_ons if one is None)]
        labels = {
            task: tuple(
                dict.fromkeys(label for code in read for label in model.config.labels_of(TaskLanguagePair(task, code)))
            )
            for task in self.tasks
        }
        if problems := label_problems(config, self.places, labels):
            raise ConfigError(problems)

    def note(self, fault: DataError) -> None:
        """Count a sentence that cannot be read, or raise what is wrong."""
        if self.config.on_error == "stop":
            message = f"{fault.message} (--on_error skip or empty goes on behind it)"
            raise DataError(message, path=fault.path, line=fault.line) from fault
        self.faults(fault)

    def sentences(self, lines: Iterable[bytes], origin: str, first: int = 1) -> Iterator[Sentence]:
        """The sentences of lines of an input, and what stands for those that it lacks, given the first one's number."""
        request = Request(
            origin,
            on_fault=self.note,
            reads={self.model.tasks[task].reads for task in self.tasks},
            language=self.config.language or "",
            word_column=self.config.word_column,
            fills=self.config.on_error == "empty",
            aligns=self.config.align,
            first=first,
        )
        return read_input(lines, self.given, request, self._check)

    def _check(self, sentence: Sentence) -> None:
        self.writer.check(sentence, self.places)
        code, problem = sentence.language or self.config.language, None
        if code is None:
            problem = "expected the code of a language in language, found none; --language names one for all"
        elif code != self.config.language:
            problem = language_problem(self.model.config, code)
        if problem:
            raise DataError(problem, path=sentence.origin, line=sentence.lines[0])

    def predictions(self, sentences: Iterable[Sentence]) -> Iterator[Prediction]:
        """The model's predictions for sentences, one by one."""
        sentences, again = tee(sentences)
        return self.predictor.predict(
            sentences,
            tasks=self.tasks,
            language=self.one or (sentence.language or str(self.config.language) for sentence in again),
            style=self.config.style,
            confidences=self.config.confidence,
            batch_size=self.config.batch_size,
            pool=1 if at_terminal(self.config) else None,
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
