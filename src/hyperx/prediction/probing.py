"""Which languages' adapters suit a text that has no labels."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tqdm import tqdm

from hyperx.data.read.sentence import Sentence
from hyperx.languages import canonical
from hyperx.prediction.predictor import PairModel, Predictor


@dataclass(frozen=True, slots=True)
class Suitability:
    """How well a text is labelled as if it was of a language.

    Args:
        language: the language.
        agreement: the share of labels, of 0 to 1, that are those which most trained languages give.
        confidence: the mean probability of the labels.
    """

    language: str
    agreement: float
    confidence: float


def probe(
    model: PairModel,
    sentences: Sequence[Sentence],
    *,
    task: str,
    language: str,
    disable_progress_bar: bool | None = True,
) -> list[Suitability]:
    """Label sentences as each language that the task was trained in, and as their own; the best suited first.

    What the labels of most languages agree on is likely to be right, so the language that is most often among them is
    likely to be right where others are not (experiment 23).
    """
    known = model.config.trained_keys
    trained = [code for code in model.config.languages if (task, canonical(code)) in known]
    own = [language] if canonical(language) not in map(canonical, trained) else []
    predictor, labels, confidences = Predictor(model), dict[str, list[Any]](), dict[str, float]()
    for code in tqdm([*trained, *own], "probing", unit=" languages", disable=disable_progress_bar):
        labels[code], certain = [], list[float]()
        for one in predictor.predict(sentences, tasks=[task], language=code, confidences=True):
            assert one.confidences is not None
            given, values = one.labels[task], one.confidences[task]
            labels[code] += given if one.columns[task] else [given]  # words have labels, or the whole text
            certain += values if one.columns[task] else [values]
        confidences[code] = fmean(certain)
    most = [Counter(votes).most_common(1)[0][0] for votes in zip(*(labels[code] for code in trained), strict=True)]
    suited = [
        Suitability(code, fmean(map(operator.eq, labels[code], most)), confidence)
        for code, confidence in confidences.items()
    ]
    return sorted(suited, key=lambda one: -one.agreement)
