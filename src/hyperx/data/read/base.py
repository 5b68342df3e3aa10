"""What every format of text shares: what is asked of a reader, and how predictions are written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from hyperx.data.read.detection import AUTO, detected
from hyperx.data.read.lines import LINE_BREAKS, Line, OnFault, stop, whole, without_ends
from hyperx.data.read.segmentation import WordSegmenter, word_segmenter
from hyperx.data.read.sentence import Places, Prediction, Sentence
from hyperx.errors import DataError
from hyperx.languages import canonical

TEXT = "text"
"""The column of tasks that read raw text: no annotation, but the sentence's own text."""
LABEL = "label"
"""The column of a text's label."""


@dataclass(frozen=True)
class Request:
    """What is asked of a reader.

    Args:
        origin: the name of the file or stream in errors.
        column: the annotation that every sentence must have, as in training; by default only words and texts are read,
            as in prediction.
        on_fault: called with every fault behind which reading can go on; by default it is raised.
        names: our names of columns and keys -> those of the data, if they are unusual.
        reads: whether tasks need ``words``, ``text`` or both. Without ``words`` running text is not segmented; with
            ``text`` a tab separates two texts of a line.
        language: the language of running text; if it is :data:`~hyperx.data.read.detection.AUTO`, that which each line
            or paragraph is detected to be in. In JSON lines an object may name another.
        word_column: the column of the words in columns, counted from 1; by default it is told by sure signs.
        fills: give out a gap in the place of a sentence that cannot be read; by default it is left out.
        aligns: give out a gap for every blank line too, where a sentence is a line.
        first: the number of the first line in its file.
    """

    origin: str = "<stdin>"
    column: str | None = None
    on_fault: OnFault = stop
    names: Mapping[str, str] = field(default_factory=dict)
    reads: Collection[str] = ("words",)
    language: str = ""
    word_column: int | None = None
    fills: bool = False
    aligns: bool = False
    first: int = 1

    def language_of(self, text: str) -> str | None:
        """The language of a text, if it is to be detected, so that it is the sentence's own."""
        return detected(text) if self.language == AUTO else None

    def segmenter(self, own: str | None) -> WordSegmenter | None:
        """What cuts running text into words, if they are needed, given the text's own language if it has one."""
        return (
            word_segmenter(canonical(own or self.language)) if self.column is None and "words" in self.reads else None
        )

    def gap(self, fault: DataError, text: str | None) -> Iterator[Sentence]:
        """Report a fault; after that, what stands in the place of its sentence, if anything should."""
        self.on_fault(fault)
        if self.fills:
            yield Sentence((), text=text, origin=self.origin, error=str(fault))


Reader = Callable[[Iterable[Line], Request], Iterator[Sentence]]
"""Streams the sentences of numbered lines with their ends; one is in memory at a time. What is wrong goes to
``request.on_fault`` with file and line; behind a DataError that is raised, reading cannot go on."""


def read_each_line(
    lines: Iterable[Line], request: Request, sentence_of: Callable[[str, int, Request], Sentence | None]
) -> Iterator[Sentence]:
    """The sentences of a format with one on each line. ``sentence_of`` gives that of a line with a number, or None for
    a blank one, or raises a DataError."""
    for number, line in without_ends(lines):
        try:
            sentence = sentence_of(whole(line), number, request)
        except DataError as error:
            yield from request.gap(DataError(error.message, path=request.origin, line=number), line)
            continue
        if sentence is not None:
            yield sentence
        elif request.aligns:
            yield Sentence((), text="", origin=request.origin, error="")


class Writer(ABC):
    """Writes predictions in a format: what is written is read back equal, or refused."""

    def label_problems(self, places: Places, labels: Mapping[str, Iterable[str]]) -> list[str]:
        """Which tasks have labels, or names, that would be read back as others, given the labels of each task."""
        return [
            f"the label {label!r} of {task}, as {reason}"
            for task in places
            for label in labels[task]
            for reason in [self.label_problem(label, task, places)]
            if reason
        ]

    @abstractmethod
    def label_problem(self, label: str, task: str, places: Places) -> str | None:
        """Why the format cannot hold a label of a task; None if it can."""

    def check(self, sentence: Sentence, places: Places) -> None:  # noqa: B027
        """Check that the format can hold a sentence's words; raises a DataError that names the word and its line."""

    @abstractmethod
    def render(self, prediction: Prediction, number: int) -> str:
        """A prediction with its line ends, given its number in the output, counted from 1. Words and labels are those
        that :meth:`check` and :meth:`label_problems` let pass."""


def no_field(label: str, *, edges: bool = True) -> str | None:
    """Why no field of a line can hold a label, or none whose spaces at the edges are not read; None if one can."""
    if not label.strip():
        return "nothing can be seen of it"
    if LINE_BREAKS.search(label):
        return "it has a tab, line end or NUL"
    if not edges and label != label.strip():
        return "spaces around a label or comment are not read"
    return no_characters(label)


def no_characters(label: str) -> str | None:
    """Why no file can hold a label; None if one can."""
    return None if label.isprintable() or label.encode(errors="ignore").decode() == label else "it has a lone surrogate"


def check_fields(sentence: Sentence, problem: Callable[[str], str | None] = lambda _: None) -> None:
    """Check that all words fit into a column; raises a DataError if one does not, or has another ``problem``."""
    for number, word in enumerate(sentence.words):
        if reason := no_field(word) or problem(word):
            found = f"found {word[:40]!r}: {reason}; fix it, or choose --output_format jsonl"
            message = f"expected a word that the output can hold, {found}"
            raise DataError(message, path=sentence.origin or None, line=sentence.line_of(number))
