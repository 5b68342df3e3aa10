"""Which unlabelled sentences a model is unsure of, for people to label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hyperx.data.batch.windows import SubwordEncoder
from hyperx.data.read.sentence import Prediction, Sentence
from hyperx.prediction.predictor import PairModel, Predictor

PRIOR = 20
"""Words of average uncertainty that every sentence gets besides its own: the mean of a few words says little, and short
sentences would come first (docs/experiments.md, number 24)."""


def suggest(
    model: PairModel,
    sentences: Iterable[Sentence],
    *,
    tasks: Sequence[str],
    language: str,
    samples: int,
    disable_progress_bar: bool | None = True,
) -> list[Prediction]:
    """The predictions for the sentences that people should label, in the order in which they are chosen.

    The uncertainty of a sentence is the mean of 1 - p over its labels of all tasks and :data:`PRIOR` others, of p the
    probability of a label; :func:`chosen` says how the sentences are taken.
    """
    labelled = Predictor(model).predict(sentences, tasks=tasks, language=language, confidences=True)
    predictions = list(tqdm(labelled, "labelling", unit=" sentences", disable=disable_progress_bar))
    if not predictions:
        return []
    doubts = [1 - np.hstack([one.confidences[task] for task in tasks]) for one in predictions]  # type: ignore[index]
    mean = np.concatenate(doubts).mean()
    uncertainty = np.array([(own.sum() + PRIOR * mean) / (len(own) + PRIOR) for own in doubts])
    encoder = SubwordEncoder(model.checked_tokenizer(), max_length=model.config.max_length)
    windows = model.tasks[tasks[0]].windows(encoder, [one.sentence for one in predictions])
    subwords = [np.concatenate([window.ids for window in own]) for own in windows]
    return [predictions[index] for index in chosen(uncertainty, subwords, samples)]


def chosen(uncertainty: NDArray[np.float64], subwords: Sequence[NDArray[np.int32]], samples: int) -> list[int]:
    """The places of as many sentences, one after the other: that with the largest uncertainty times (1 - its largest
    cosine to one that was chosen before), and of equals the first. The cosine is that of tf-idf: of how often each
    sentence has a subword, times the logarithm of the share of all sentences that have it, negated."""
    count = len(uncertainty)
    sentences = np.repeat(np.arange(count), [*map(len, subwords)])
    _, items = np.unique(np.concatenate(subwords), return_inverse=True)
    (sentences, items), values = np.unique(np.stack([sentences, items]), axis=1, return_counts=True)
    weights = values * np.log(count / np.bincount(items))[items]
    norms = np.sqrt(np.bincount(sentences, weights**2, minlength=count))
    weights /= np.where(norms == 0, 1, norms)[sentences]
    taken, nearest = list[int](), np.zeros(count)
    for _ in range(min(samples, count)):
        worth = uncertainty * (1 - nearest)
        worth[taken] = -np.inf
        taken.append(int(worth.argmax()))
        own, vector = sentences == taken[-1], np.zeros(items.max() + 1)
        vector[items[own]] = weights[own]
        cosines = np.bincount(sentences, weights * vector[items], minlength=count)
        nearest = np.maximum(nearest, cosines.clip(max=1))
    return taken
