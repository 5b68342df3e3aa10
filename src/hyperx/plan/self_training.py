"""Self-training: a pair without labels is trained on the raw sentences that a trained model labels most confidently."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

from hyperx import checkpoint
from hyperx.data.batch.store import EncodedSplit
from hyperx.data.locate.held_out import HeldOutText
from hyperx.data.locate.places import content_hash
from hyperx.data.read.segmentation import text_sentence, word_segmenter
from hyperx.data.read.sentence import Sentence
from hyperx.device import pick_device
from hyperx.errors import DataError
from hyperx.model import HyperX
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.data import SplitLoader
from hyperx.plan.options import Plan, raw_text_of
from hyperx.prediction.predictor import Predictor
from hyperx.tasks.base import Task

log = logging.getLogger(__name__)


class SelfLabeller:
    """Labels raw text by the checkpoint that a run starts from; what was labelled is encoded and cached."""

    def __init__(self, plan: Plan, loader: SplitLoader) -> None:
        assert plan.start is not None
        self.plan, self.loader, self.teacher, self.options = plan, loader, plan.start.folder, plan.config.data

    def load(self, pair: TaskLanguagePair) -> EncodedSplit:
        """The sentences that the teacher labels most confidently, with its labels, encoded; a DataError if the text is
        missing or cannot be split into words."""
        task, apart = self.plan.tasks[pair.task], HeldOutText(self.plan.data.held_out(pair.language))
        files = [self.teacher / name for name in (checkpoint.CONFIG, checkpoint.WEIGHTS)]
        facts = (
            self.plan.texts.fingerprint(raw_text_of(pair), "train"),
            apart.fingerprint(),
            [str(pair), *map(content_hash, [*files, *self.plan.add_ons])],
            [self.options.self_train_samples, self.options.self_train_share],
        )
        return self.loader.cached(task, facts, lambda: self._labelled(pair, task, apart))

    @cached_property
    def _model(self) -> HyperX:
        encoder = self.plan.config.model.model_name_or_path
        model = HyperX.from_pretrained(self.teacher, encoder=encoder, add_ons=self.plan.add_ons)
        return model.to(pick_device(no_cuda=self.plan.config.training.no_cuda))

    def _labelled(self, pair: TaskLanguagePair, task: Task, apart: HeldOutText) -> Iterator[Sentence]:
        """The sentences with the highest confidence, in their order."""
        sentences = list(itertools.islice(self._sentences(pair, task, apart), self.options.self_train_samples))
        if not sentences:
            raise DataError(f"{raw_text_of(pair)}: expected text to label, found none")
        predictor = Predictor(self._model)
        labelled = list(predictor.predict(sentences, tasks=[task.name], language=pair.language, confidences=True))
        means = [one.confidence(task.name) or 0.0 for one in labelled]
        order = sorted(range(len(means)), key=lambda index: -means[index])
        chosen = sorted(order[: math.ceil(self.options.self_train_share * len(means))])
        told = "%s: training on %d of %d raw sentences as %s labels them, mean label probability at least %.2f"
        least = min(means[index] for index in chosen)
        log.info(told, pair, len(chosen), len(labelled), self.teacher, least)
        for prediction in (labelled[index] for index in chosen):
            # A label of the whole text is in no column of words.
            columns: Any = prediction.columns[task.name] or {task.columns[0]: (prediction.labels[task.name],)}
            yield replace(prediction.sentence, columns=columns)

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
