"""Tagging text: sentences in, labelled sentences out, in constant memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from hyperx.data.encoding import SubwordEncoder
from hyperx.data.output import Prediction
from hyperx.data.sentence import Sentence
from hyperx.errors import DataError
from hyperx.inference import POOL, PairPredictor
from hyperx.pairs import TaskLanguagePair
from hyperx.segmentation import WordSegmenter

if TYPE_CHECKING:
    from hyperx.model import HyperX


def tag(
    model: HyperX,
    sentences: Iterable[Sentence],
    *,
    tasks: Sequence[str],
    language: str,
    confidences: bool = False,
    batch_size: int = 32,
    pool: int | None = None,
) -> Iterator[Prediction]:
    """Label the words of sentences, in their order.

    Args:
        model: a model with a tokenizer, in evaluation mode.
        sentences: any number of them; only a pool is held at a time.
        tasks: the tasks to run, each with its own adapters.
        language: the language of the sentences.
        confidences: also give the probability of each label.
        batch_size: windows in a batch; the labels do not depend on it.
        pool: sentences read ahead and sorted by length; by default 32 batches.
    """
    tokenizer = model.checked_tokenizer()
    encoder = SubwordEncoder(tokenizer, max_length=model.config.max_length)
    predictors = {
        task: PairPredictor(model, TaskLanguagePair(task, language), batch_size=batch_size, subwords=model.subwords())
        for task in tasks
    }
    sentences = iter(sentences)
    while chunk := list(itertools.islice(sentences, pool or POOL * batch_size)):
        results = {
            task: list(predictor.predict(predictor.task.windows(encoder, chunk)))
            for task, predictor in predictors.items()
        }
        for index, sentence in enumerate(chunk):
            found = {task: own[index] for task, own in results.items()}
            yield Prediction(
                sentence,
                labels={task: result.labels for task, result in found.items()},
                confidences={task: result.confidences for task, result in found.items()} if confidences else None,
                columns={task: model.tasks[task].annotation(result.labels) for task, result in found.items()},
            )


def as_sentences(texts: Iterable[str | Sequence[str]], language: str) -> Iterator[Sentence]:
    """Raw sentences, segmented, or sequences of words, as they are.

    Raises:
        DataError: where a text has no word, or is in a script that cannot be segmented.
    """
    segmenter = WordSegmenter(language)
    for number, text in enumerate(texts, start=1):
        sentence = segmenter.segment(text) if isinstance(text, str) else Sentence(words=tuple(text))
        if sentence is None or not sentence.words:
            raise DataError(f"text {number}: expected a sentence, found no word in {text!r}")
        yield sentence
