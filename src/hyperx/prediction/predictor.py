"""From sentences to predictions, any number in constant memory, the same for any batch size, order and company."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from hyperx.config import ModelConfig
from hyperx.data.batch.windows import FastTokenizer, SubwordEncoder, Subwords, Window, pad_windows
from hyperx.data.read.sentence import Prediction, Sentence
from hyperx.device import placed
from hyperx.errors import HyperXError
from hyperx.languages import KEPT, canonical
from hyperx.method.adapter import Adapters
from hyperx.pairs import TaskLanguagePair
from hyperx.prediction.request import default_tasks, language_problem, predictable
from hyperx.tasks.base import Result, Task

log = logging.getLogger(__name__)
T = TypeVar("T")

POOL = 32
"""Batches read ahead and sorted by length."""
SPREAD = 9 / 8
"""Largest ratio of the longest window of a batch to its shortest."""
ENOUGH = {"cpu": 256}
"""By device type, the number of subwords from which a larger batch is no faster per subword."""
ENOUGH_ELSEWHERE = 2**14
SAMPLE, LEAST_WORDS, MOST_UNKNOWN, MOST_CUT = 100, 30, 0.05, 0.5
"""What is looked at for what the tokenizer does not cover: sentences at most, words at least; and shares of words that
are too many."""


class Turn:
    """A lock of one model, for its threads. A copy of the model has its own."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[Turn], tuple[()]]:
        return Turn, ()


class PairModel(Protocol):
    """What a predictor asks of a model; :class:`hyperx.model.HyperX` has it."""

    config: ModelConfig
    tasks: Mapping[str, Task]
    training: bool
    turn: Turn
    told: set[str]

    def __call__(self, *args: Any, **named: Any) -> Any: ...
    @property
    def expected(self) -> str: ...
    @property
    def word_embeddings(self) -> Tensor: ...
    def made_of(self, language: str, /) -> str: ...
    def checked_tokenizer(self) -> FastTokenizer: ...
    def adapters(self, pairs: Sequence[TaskLanguagePair], style: str | None = None, /) -> Adapters | None: ...
    def train(self, mode: bool = True) -> Any: ...


class Predictor:
    """Labels sentences with a model, of which nothing changes: it is in evaluation mode only while it works. Threads
    take turns, pool by pool.

    Args:
        model: the model.
        kept: of how many pairs adapters are kept for later calls; only for a model that is not trained meanwhile.
    """

    def __init__(self, model: PairModel, *, kept: int = 0) -> None:
        self.model, self._config = model, model.config
        self._adapters = lru_cache(kept)(lambda pair, style: model.adapters([pair], style))

    def _adapters_of(self, pair: TaskLanguagePair, style: str | None) -> Adapters | None:
        """The adapters of a pair."""
        if self.model.config is not self._config:  # an add-on came or went
            self._config = self.model.config
            self._adapters.cache_clear()
        return self._adapters(pair, style)

    def tell_language(self, language: str) -> None:
        """Log once if a language has no trained weights of its own, and what it reads, in words; raises a HyperXError
        if the code names no language."""
        if language in self.model.told:
            return
        config, made_of = self.model.config, self.model.made_of
        if problem := language_problem(config, language):
            raise HyperXError(problem)
        if not self._first(language):
            return
        tasks = {task for task, own in config.trained_keys if own == canonical(language)}
        add_on, predicted = config.add_on_for(language), predictable(config)
        if add_on is not None:
            learnt = ", ".join(f"{pair} ({count:,})" for pair, count in add_on.pairs.items())
            log.info("%s reads its add-on, which learnt these pairs from so many sentences: %s", language, learnt)
            if {*add_on.tasks} >= {*default_tasks(config)}:
                return
        if canonical(language) not in config.places:
            log.warning("language %s is new to the model: it reads %s", language, made_of(language))
        elif not tasks:
            log.info("no training pair had %s: it reads %s", language, made_of(language))
        elif config.architecture.adapters == "hypernetwork" and predicted and tasks.isdisjoint(predicted):
            log.info("%s was trained on raw text only: it reads the mean of the languages with labels", language)
        if not tasks and add_on is None and (known := self.model.expected) and self._first("expected"):
            log.info("in languages without training data it scored: %s", known)

    def predict(
        self,
        sentences: Iterable[Sentence],
        *,
        tasks: Sequence[str],
        language: str | Iterable[str],
        style: str | None = None,
        confidences: bool = False,
        batch_size: int = 32,
        pool: int | None = None,
    ) -> Iterator[Prediction]:
        """Label sentences, or their words, in order.

        Args:
            sentences: any number of them, and what stands in the place of those that cannot be read; only a pool is
                held at a time. If reading fails, those before that are labelled first.
            tasks: the tasks to run, each with its own adapters.
            language: the language of the sentences, or that of each: a batch may be of several.
            style: the corpus whose annotation to follow.
            confidences: also give the probability of each label.
            batch_size: windows in a batch; the labels do not depend on it.
            pool: sentences read ahead and sorted by length; by default 32 batches.
        """
        model, one = self.model, language if isinstance(language, str) else None
        if one is not None:
            self.tell_language(one)
        with self._working():
            encoder = SubwordEncoder(model.checked_tokenizer(), max_length=model.config.max_length)
        each = language if one is None else itertools.repeat(one)
        places = {task: tuple(model.tasks[task].annotation(())) for task in tasks}
        for chunk in _chunks(zip(sentences, each, strict=False), pool or POOL * batch_size):
            whole = [sentence for sentence, _ in chunk if sentence.error is None]
            languages = [code for sentence, code in chunk if sentence.error is None]
            for code in dict.fromkeys(languages):
                self.tell_language(code)
                words = [sentence.words for sentence, other in chunk if other == code and sentence.words]
                self._tell_coverage(encoder, code, words)
            with self._working():
                results = {
                    task: iter(
                        self._labelled(
                            [TaskLanguagePair(task, code) for code in languages],
                            model.tasks[task].windows(encoder, whole),
                            batch_size,
                            None if one is None else self._adapters_of(TaskLanguagePair(task, one), style),
                            style,
                        )
                    )
                    for task in tasks
                }
            for sentence, _ in chunk:
                if sentence.error is not None:
                    yield Prediction.nothing(sentence, places)
                    continue
                own = {task: next(every) for task, every in results.items()}
                yield Prediction(
                    sentence,
                    labels={task: result.labels for task, result in own.items()},
                    confidences={task: result.confidences for task, result in own.items()} if confidences else None,
                    columns={task: model.tasks[task].annotation(result.labels) for task, result in own.items()},
                )

    def _first(self, told: str) -> bool:
        """Whether this is the first to tell something of the model."""
        with self.model.turn:
            first = told not in self.model.told and len(self.model.told) < KEPT
            if first:
                self.model.told.add(told)
        return first

    def _tell_coverage(self, encoder: SubwordEncoder, language: str, sentences: Sequence[Sequence[str]]) -> None:
        """Warn once if the encoder's tokenizer hardly knows the first sentences of a language, if they are enough."""
        if sum(map(len, sentences[:SAMPLE])) < LEAST_WORDS or not self._first(f"tokenizer: {language}"):
            return
        with self.model.turn:
            unknown, cut = encoder.uncovered(sentences[:SAMPLE])
        if unknown > MOST_UNKNOWN or cut > MOST_CUT:
            shares = f"{unknown:.0%} of the words have an unknown subword, {cut:.0%} of the longer ones become letters"
            log.warning("the encoder's tokenizer hardly covers this text: %s; expect little", shares)

    def results(
        self,
        pair: TaskLanguagePair,
        sentences: Iterable[Sequence[Window]],
        *,
        batch_size: int,
        style: str | None = None,
    ) -> Iterator[Result]:
        """The results of a pair for sentences given as windows, in order; for evaluation, which reads windows."""
        sentences = iter(sentences)
        with self._working():
            adapters = self._adapters_of(pair, style)
        while pool := list(itertools.islice(sentences, POOL * batch_size)):
            with self._working():
                results = self._labelled([pair] * len(pool), pool, batch_size, adapters)
            yield from results

    @contextmanager
    def _working(self) -> Iterator[None]:
        """A turn of this thread, in evaluation mode and without gradients."""
        with self.model.turn, torch.inference_mode():
            training = self.model.training
            self.model.train(False)
            try:
                yield
            finally:
                self.model.train(training)

    def _labelled(
        self,
        pairs: Sequence[TaskLanguagePair],
        pool: Sequence[Sequence[Window]],
        batch_size: int,
        adapters: Adapters | None,
        style: str | None = None,
    ) -> list[Result]:
        """The results for a pool of sentences, each of its pair of one task, whose windows are sorted by length; the
        adapters are those of the pair if all have the same."""
        subwords = Subwords.of(self.model.checked_tokenizer())
        places = [(index, place) for index, windows in enumerate(pool) for place in range(len(windows))]
        places.sort(key=lambda item: len(pool[item[0]][item[1]].ids))
        parts: list[list[Any]] = [[None] * len(windows) for windows in pool]
        lengths = [len(pool[index][place].ids) for index, place in places]
        enough = ENOUGH.get(self.model.word_embeddings.device.type, ENOUGH_ELSEWHERE)
        for rows in batches_alike(lengths, batch_size, enough):
            # Rows of one pair stand together: see `bottleneck_adapter`.
            batch = sorted(places[rows.start : rows.stop], key=lambda item: pairs[item[0]].language)
            own, windows = [pairs[index] for index, _ in batch], [pool[index][place] for index, place in batch]
            decoded = self._decoded(
                own, windows, adapters or self.model.adapters([*dict.fromkeys(own)], style), subwords
            )
            for (index, place), part in zip(batch, decoded, strict=True):
                parts[index][place] = part
        labels = {pair: self.model.config.labels_of(pair) for pair in dict.fromkeys(pairs)}
        return [
            self.model.tasks[pair.task].join(own, windows, labels[pair])
            for pair, windows, own in zip(pairs, pool, parts, strict=True)
        ]

    def _decoded(
        self,
        pairs: Sequence[TaskLanguagePair],
        windows: Sequence[Window],
        adapters: Adapters | None,
        subwords: Subwords,
    ) -> list[Any]:
        """What the task makes of each window."""
        task, labels = self.model.tasks[pairs[0].task], None
        temperatures = {pair: self.model.config.temperature(pair) for pair in dict.fromkeys(pairs)}
        if task.auxiliary:
            # Such a task draws what to predict: the same for a window in any batch.
            draws = [np.random.default_rng((window.sentence, window.start)) for window in windows]
            windows = [task.masked(window, subwords, draw) for window, draw in zip(windows, draws, strict=True)]
            labels = task.labels(windows, max(len(window.ids) for window in windows))
        device = self.model.word_embeddings.device
        input_ids, mask, words = (placed(tensor, device) for tensor in pad_windows(windows, subwords.pad))
        output = self.model(pairs, input_ids, mask, labels, words, adapters=adapters)
        return task.decode(output.logits, windows, labels, torch.tensor([temperatures[pair] for pair in pairs]))


def _chunks(sentences: Iterable[T], size: int) -> Iterator[list[T]]:
    """The sentences, some at a time; if reading fails, those before that are given out first."""
    chunk: list[T] = []
    try:
        for sentence in sentences:
            chunk.append(sentence)
            if len(chunk) == size:
                yield chunk
                chunk = []
    except HyperXError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


def batches_alike(lengths: Sequence[int], batch_size: int, enough: int) -> Iterator[range]:
    """Group windows of these numbers of subwords, in ascending order, into batches that need little padding: one that
    has enough subwords, so that more gain nothing, ends before a window longer than :data:`SPREAD` of its shortest."""
    start = subwords = 0
    for place, length in enumerate(lengths):
        if place - start == batch_size or (subwords >= enough and length > lengths[start] * SPREAD):
            yield range(start, place)
            start, subwords = place, 0
        subwords += length
    if lengths:
        yield range(start, len(lengths))
