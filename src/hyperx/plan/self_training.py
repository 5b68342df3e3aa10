"""Self-training: a pair without labels is trained on the raw sentences that a trained model labels most confidently."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from hyperx import checkpoint
from hyperx.data.batch.store import EncodedSplit
from hyperx.data.locate.held_out import HeldOutText
from hyperx.data.locate.places import content_hash
from hyperx.data.read.segmentation import text_sentence, word_segmenter
from hyperx.data.read.sentence import Prediction, Sentence
from hyperx.device import pick_device
from hyperx.errors import DataError
from hyperx.model import HyperX
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.options import Plan, raw_text_of
from hyperx.plan.splits import SplitLoader
from hyperx.prediction.predictor import Predictor
from hyperx.tasks.base import Task

log = logging.getLogger(__name__)

LEAST_PROBABILITY = 1e-12
"""A label that decoding chose because of its neighbours may have a probability of 0."""


class SelfLabeller:
    """Raw text labelled by the checkpoint that a run starts from.

    Args:
        plan: the plan of the run, which starts from the teacher.
        loader: encodes and caches what was labelled.
    """

    def __init__(self, plan: Plan, loader: SplitLoader) -> None:
        assert plan.start is not None
        self.plan, self.loader, self.teacher = plan, loader, plan.start.folder
        options = plan.config.data
        self.samples, self.share = options.self_train_samples, options.self_train_share

    def load(self, pair: TaskLanguagePair) -> EncodedSplit:
        """The sentences that the teacher labels most confidently, with its labels, encoded.

        Raises:
            DataError: if the text is missing or cannot be split into words.
        """
        task, apart = self.plan.tasks[pair.task], HeldOutText(self.plan.data.held_out(pair.language))
        facts = (
            self.plan.texts.fingerprint(raw_text_of(pair), "train"),
            apart.fingerprint(),
            [str(pair), *self._teacher_hash],
            [self.samples, self.share],
        )
        return self.loader.cached(task, facts, lambda: self._labelled(pair, task, apart))

    @cached_property
    def _teacher_hash(self) -> list[str]:
        return [content_hash(self.teacher / name) for name in (checkpoint.CONFIG, checkpoint.WEIGHTS)]

    @cached_property
    def _model(self) -> HyperX:
        model = HyperX.from_pretrained(self.teacher, encoder=self.plan.config.model.model_name_or_path)
        return model.to(pick_device(no_cuda=self.plan.config.training.no_cuda))

    def _labelled(self, pair: TaskLanguagePair, task: Task, apart: HeldOutText) -> Iterator[Sentence]:
        """The sentences labelled most confidently, in the text's order."""
        sentences = list(itertools.islice(self._sentences(pair, task, apart), self.samples))
        if not sentences:
            raise DataError(f"{raw_text_of(pair)}: expected text to label, found none")
        predictor = Predictor(self._model)
        found = list(predictor.predict(sentences, tasks=[task.name], language=pair.language, confidences=True))
        confidences = [mean_log_probability(prediction, task) for prediction in found]
        chosen = most_confident(confidences, self.share)
        least = math.exp(min(confidences[index] for index in chosen))
        told = "%s: training on %d of %d raw sentences as %s labels them, mean label probability at least %.2f"
        log.info(told, pair, len(chosen), len(found), self.teacher, least)
        return (labelled(found[index], task) for index in chosen)

    def _sentences(self, pair: TaskLanguagePair, task: Task, apart: HeldOutText) -> Iterator[Sentence]:
        """The raw text without dev and test data, split into words if the task needs them and the text has none."""
        text, segmenter = raw_text_of(pair), word_segmenter(pair.language) if task.reads == "words" else None
        for passage in apart.removed(self.plan.texts.read(text, "train"), text):
            try:
                sentence = passage if passage.words else text_sentence(passage.raw_text, segmenter)
            except DataError as fault:
                raise DataError(fault.message, path=passage.origin, line=passage.line_of(0)) from fault
            if sentence is not None:
                yield sentence


def mean_log_probability(prediction: Prediction, task: Task) -> float:
    """The mean logarithm of the labels' probabilities."""
    assert prediction.confidences is not None
    return float(np.mean(np.log(np.maximum(prediction.confidences[task.name], LEAST_PROBABILITY))))


def most_confident(confidences: Sequence[float], share: float) -> list[int]:
    """The indices of the highest values, a share of all of them but at least one, in ascending order."""
    order = sorted(range(len(confidences)), key=lambda index: -confidences[index])
    return sorted(order[: math.ceil(share * len(confidences))])


def labelled(prediction: Prediction, task: Task) -> Sentence:
    """The sentence with its predicted labels as its annotation."""
    columns: Any = prediction.columns[task.name] or {task.columns[0]: (prediction.labels[task.name],)}
    return replace(prediction.sentence, columns=columns)
