"""Requests that wait for the model, whose passes take sentences of all of them: one thread, and no HTTP here."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice

from hyperx.data.read.sentence import Prediction, Sentence

log = logging.getLogger(__name__)

WORDS = 64
"""Words of a pass for each sentence that it may have: fewer long ones are taken, so that no pass takes long."""

Predict = Callable[[Sequence[Sentence], Sequence[str], tuple[str, ...], str | None], Sequence[Prediction]]
"""The predictions of sentences in these languages, for some tasks and a style."""


@dataclass(eq=False)
class Job:
    """The sentences of a request, the language of each, and what will be their predictions. Cancelling these takes it
    from the queue."""

    sentences: Sequence[Sentence]
    languages: Sequence[str]
    tasks: tuple[str, ...]
    style: str | None = None
    done: Future[list[Prediction]] = field(default_factory=Future)
    found: list[Prediction] = field(default_factory=list)


class Queue:
    """Predicts jobs in a thread, those with the same tasks and style together.

    Args:
        predict: what a pass of the model calls.
        batch_size: most sentences of a pass.
    """

    def __init__(self, predict: Predict, batch_size: int) -> None:
        self._predict, self.batch_size = predict, batch_size
        self._jobs = deque[Job]()
        self._changed, self._closed = threading.Condition(), False
        self._thread = threading.Thread(target=self._work, name="hyperx-queue", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Add a job, whose ``done`` will have its predictions."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    def close(self) -> None:
        """Finish all jobs, and the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while jobs := self._next():
            self._run(jobs)
            with self._changed:  # what is left of a job waits behind those that came meanwhile
                self._jobs += [job for job, _ in jobs]

    def _next(self) -> list[tuple[Job, int]]:
        """The jobs of the next pass with the number of sentences of each; waits for one, and has none at the end."""
        with self._changed:
            while True:
                self._jobs = deque(job for job in self._jobs if not job.done.done())
                if self._jobs or self._closed:
                    break
                self._changed.wait()
            taken, sentences, words = dict[Job, int](), self.batch_size, WORDS * self.batch_size
            for job in self._jobs:
                if (job.tasks, job.style) != (self._jobs[0].tasks, self._jobs[0].style):
                    continue
                for sentence in islice(job.sentences, len(job.found), None):
                    words -= len(sentence.words) or len(sentence.raw_text) // 4
                    if not sentences or (taken and words < 0):
                        break
                    taken[job], sentences = taken.get(job, 0) + 1, sentences - 1
            self._jobs = deque(job for job in self._jobs if job not in taken)
            return list(taken.items())

    def _run(self, jobs: Sequence[tuple[Job, int]]) -> None:
        """A pass of the model; if it fails, one for each job, so that others do not get the error of one."""
        parts = [slice(len(job.found), len(job.found) + count) for job, count in jobs]
        sentences = [one for (job, _), part in zip(jobs, parts, strict=True) for one in job.sentences[part]]
        languages = [one for (job, _), part in zip(jobs, parts, strict=True) for one in job.languages[part]]
        first = jobs[0][0]
        try:
            found = iter(self._predict(sentences, languages, first.tasks, first.style))
            for job, count in jobs:
                job.found += islice(found, count)
        except Exception as error:
            if len(jobs) > 1:
                for one in jobs:
                    self._run([one])
            elif first.done.set_running_or_notify_cancel():
                log.exception("a request of %d sentences failed", len(first.sentences))
                first.done.set_exception(error)
            return
        for job, _ in jobs:
            if len(job.found) == len(job.sentences) and job.done.set_running_or_notify_cancel():
                job.done.set_result(job.found)
