"""Scores per pair and per label, and the groups that tell seen pairs from zero-shot transfer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hyperx.data.encoding import EncodedSplit, Window
from hyperx.inference import PairTagger
from hyperx.model import HyperX
from hyperx.pairs import TaskLanguagePair
from hyperx.tasks.base import Scores
from hyperx.tasks.registry import TASKS


@dataclass(frozen=True, slots=True)
class PairScores:
    """The scores of one pair.

    Args:
        pair: the task and the language.
        scores: its measures, from 0 to 1.
        sentences: how many sentences were scored.
    """

    pair: TaskLanguagePair
    scores: Scores
    sentences: int

    @property
    def value(self) -> float:
        """The task's main measure."""
        return self.scores.measures[TASKS[self.pair.task].measure]


def evaluate_pairs(
    model: HyperX,
    splits: Mapping[TaskLanguagePair, EncodedSplit],
    *,
    batch_size: int,
    pad_id: int,
    done: Callable[[PairScores], object] | None = None,
) -> list[PairScores]:
    """Score pairs in the order given; the same for any batch size.

    Args:
        model: put into evaluation mode for the time, then back.
        splits: gold data of each pair.
        batch_size: windows in a batch.
        pad_id: the tokenizer's padding id.
        done: told of each pair when it is scored.
    """
    training = model.training
    model.eval()
    results = []
    try:
        for pair, split in splits.items():
            tagger = PairTagger(model, pair, batch_size=batch_size, pad_id=pad_id)
            predicted = [list(words.labels) for words in tagger.label(sentence_windows(split))]
            scores = TASKS[pair.task].score(split.gold(), predicted)
            results.append(PairScores(pair, scores, len(predicted)))
            if done is not None:
                done(results[-1])
    finally:
        model.train(training)
    return results


def sentence_windows(split: EncodedSplit) -> Iterator[Sequence[Window]]:
    """The windows of each sentence of a split."""
    gathered: list[Window] = []
    for index in range(len(split)):
        window = split.window(index)
        if gathered and window.sentence != gathered[0].sentence:
            yield gathered
            gathered = []
        gathered.append(window)
    if gathered:
        yield gathered
