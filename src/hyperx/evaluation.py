"""Scores per pair and per label, and the groups that tell seen pairs from zero-shot transfer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
        repeats: how many of them also stand in the training split.
        without_repeats: the measures on the others, where there are repeats and others.
    """

    pair: TaskLanguagePair
    scores: Scores
    sentences: int
    repeats: int = 0
    without_repeats: Scores | None = None

    @property
    def value(self) -> float:
        """The task's main measure."""
        return self.scores.measures[TASKS[self.pair.task].measure]

    @property
    def value_without_repeats(self) -> float | None:
        """The same on the sentences that do not stand in train, where some do and some do not."""
        return None if self.without_repeats is None else self.without_repeats.measures[TASKS[self.pair.task].measure]


def evaluate_pairs(
    model: HyperX,
    splits: Mapping[TaskLanguagePair, EncodedSplit],
    *,
    batch_size: int,
    pad_id: int,
    repeats: Mapping[TaskLanguagePair, Collection[int]] | None = None,
    done: Callable[[PairScores], object] | None = None,
) -> list[PairScores]:
    """Score pairs in the order given; the same for any batch size.

    Args:
        model: put into evaluation mode for the time, then back.
        splits: gold data of each pair.
        batch_size: windows in a batch.
        pad_id: the tokenizer's padding id.
        repeats: for each pair the sentences that also stand in its training split.
        done: told of each pair when it is scored.
    """
    training = model.training
    model.eval()
    results = []
    try:
        for pair, split in splits.items():
            tagger = PairTagger(model, pair, batch_size=batch_size, pad_id=pad_id)
            predicted = [list(words.labels) for words in tagger.label(sentence_windows(split))]
            results.append(_score(pair, split.gold(), predicted, (repeats or {}).get(pair, ())))
            if done is not None:
                done(results[-1])
    finally:
        model.train(training)
    return results


def _score(
    pair: TaskLanguagePair, gold: list[list[str]], predicted: list[list[str]], repeats: Collection[int]
) -> PairScores:
    score = TASKS[pair.task].score
    fresh = [index for index in range(len(gold)) if index not in repeats]
    without = None
    if repeats and fresh:
        without = score([gold[index] for index in fresh], [predicted[index] for index in fresh])
    return PairScores(pair, score(gold, predicted), len(gold), len(repeats), without)


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
