"""Tagging text: sentences in, labelled sentences out, in constant memory."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hyperx.data.batch.windows import SubwordEncoder
from hyperx.data.read.segmentation import WordSegmenter, text_sentence, word_segmenter
from hyperx.data.read.sentence import Sentence
from hyperx.data.read.text import checked_words
from hyperx.errors import DataError
from hyperx.pairs import TaskLanguagePair
from hyperx.prediction.inference import POOL, PairPredictor
from hyperx.prediction.output import Prediction

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
    """Label sentences, or their words, in order.

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
    predictors = {task: PairPredictor(model, TaskLanguagePair(task, language), batch_size=batch_size) for task in tasks}
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


def as_sentences(
    texts: Iterable[str | Iterable[str]],
    language: str,
    *,
    text_pairs: Iterable[str] | None = None,
    reads: Collection[str] = ("words",),
) -> Iterator[Sentence]:
    """Sentences from raw texts, segmented if words are needed, or from sequences of words, which stay as they are.

    Args:
        texts: the texts.
        language: their language.
        text_pairs: the second text of each, if texts come in pairs.
        reads: whether tasks need ``words``, ``text`` or both.

    Raises:
        DataError: if a text has no word, is neither a text nor words, or is in a script that cannot be segmented
            and words are needed.
    """
    segmenter = word_segmenter(language) if "words" in reads else None
    pairs = itertools.repeat(None) if text_pairs is None else text_pairs
    for number, (text, pair) in enumerate(zip(texts, pairs, strict=False), start=1):
        if text_pairs is not None and not isinstance(pair, str):
            raise DataError(f"text {number}: expected a second text in text_pairs, found {str(pair)[:60]!r}")
        try:
            sentence = _sentence(text, segmenter)
            empty = sentence is None or (pair is not None and text_sentence(pair, None) is None)
        except DataError as error:
            raise DataError(f"text {number}: {error.message}") from error
        if sentence is None or empty:
            found = text if sentence is None else pair
            raise DataError(f"text {number}: expected a sentence, found no word in {found!r}")
        if isinstance(text, str) and "text" in reads:
            sentence = replace(sentence, text=text)
        yield sentence if pair is None else replace(sentence, text_pair=pair)


def _sentence(text: str | Iterable[str], segmenter: WordSegmenter | None) -> Sentence | None:
    if isinstance(text, str):
        return text_sentence(text, segmenter)
    words = checked_words(text)
    return Sentence(words=words) if words else None
