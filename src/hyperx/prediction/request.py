"""What may be asked of a model: its tasks and languages, and texts. Neither PyTorch nor the model is loaded here."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from hyperx.config import ModelConfig
from hyperx.data.read.detection import AUTO, detected
from hyperx.data.read.rows import checked_words, in_order
from hyperx.data.read.segmentation import is_visible, text_sentence, word_segmenter
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError, HyperXError, did_you_mean, listing, not_expected
from hyperx.languages import canonical, is_language, no_language
from hyperx.pairs import TaskLanguagePair
from hyperx.tasks.registry import kinds_of

log = logging.getLogger(__name__)


def task_problem(config: ModelConfig, task: str) -> str | None:
    """That the model has no such task; None if it has."""
    if task in config.kinds:
        return None
    return f"the model has no task {task!r}; it has {', '.join(config.kinds)}.{did_you_mean(task, config.kinds)}"


def language_problem(config: ModelConfig, language: str) -> str | None:
    """That a code names neither a language of the model nor any other; None if it does."""
    if canonical(language) in config.places or is_language(language):
        return None
    learnt = [one for one in config.languages if canonical(one) in config.trained_languages] or config.languages
    return f"{no_language(language, config.languages)} The model has learnt {listing(learnt, most=20)}."


def style_problems(config: ModelConfig, style: str | None, tasks: Sequence[str]) -> Iterator[str]:
    """That the model, or each of these tasks, has learnt no corpus of this name; tells which of them has not."""
    known = config.corpus_names
    if not isinstance(style, str | None):
        raise not_expected("style", "the name of a corpus", style)
    without = [task for task in tasks if style is not None and config.style(task, style) is None]
    if style is not None and style not in known:
        has = f"it has {', '.join(known)}." if known else "it has learnt no corpora apart."
        yield f"the model has no style {style!r}; {has}{did_you_mean(style, known)}"
    elif without == [*tasks] != []:
        learnt = sorted({TaskLanguagePair.parse(pair).task for pair, name in config.corpora.items() if name == style})
        yield f"{style} is a style of {', '.join(learnt)}; {', '.join(tasks)} cannot follow it"
    elif without:
        log.info("%s has not learnt %s: it follows no style", ", ".join(without), style)


def prediction_problems(config: ModelConfig, names: Sequence[str]) -> Iterator[str]:
    """What keeps tasks from being predicted: those that are not there, and those that only serve others."""
    known = predictable(config)
    for name in names:
        if problem := task_problem(config, name):
            yield problem
        elif name not in known:
            what = f"{name} only serves other tasks in training, and predicts nothing"
            yield f"{what}; the model predicts {', '.join(known) or 'no task'}"


def predictable(config: ModelConfig) -> tuple[str, ...]:
    """The tasks that predict anything."""
    kinds = kinds_of(config.kinds)
    return tuple(name for name in config.kinds if not (name in kinds and kinds[name].auxiliary))


def default_tasks(config: ModelConfig) -> tuple[str, ...]:
    """The tasks that are predicted if none is named: all that were trained and predict anything."""
    return tuple(name for name in predictable(config) if name in config.trained_tasks)


def predicted_tasks(config: ModelConfig, names: Sequence[str] = ()) -> tuple[str, ...]:
    """The tasks to predict, by default all that were trained and predict anything; an untrained one is warned of.

    Raises a HyperXError for :func:`prediction_problems`, and if none is named and none was trained.
    """
    known, trained = predictable(config), config.trained_tasks
    for problem in prediction_problems(config, names or known or tuple(config.kinds)):
        raise HyperXError(problem)
    if untrained := [name for name in names or known if name not in trained]:
        what = f"no training pair had the task {' or '.join(untrained)}"
        if names:
            log.warning("%s: what its head predicts is random", what)
        elif len(untrained) == len(known):
            raise HyperXError(f"{what}, so what its head predicts is random; name the task to predict it still")
        else:
            log.info("%s: not predicted", what)
    return tuple(names) or default_tasks(config)


def sentence_of(text: Any, *, language: str, reads: Collection[str]) -> Sentence | None:
    """The sentence of a raw text, segmented if tasks read ``words``, or of a sequence of words, which stay as they are;
    None if it has no word. Of the language ``auto`` it has the one that is detected. A DataError as in
    :func:`read_texts`."""
    words = (text,) if isinstance(text, str) else checked_words(text)
    if not words or (isinstance(text, str) and not is_visible(text)):
        return None
    own = detected(" ".join(words)) if language == AUTO else None
    if not isinstance(text, str):
        return Sentence(words=words, language=own)
    sentence = text_sentence(text, word_segmenter(own or language) if "words" in reads else None)
    return sentence and replace(sentence, text=text, language=own)


def read_texts(texts: Any, text_pairs: Any, *, language: str, reads: Collection[str]) -> list[Sentence]:
    """Sentences from raw texts, segmented if tasks read ``words``, or from sequences of words, which stay as they are.
    Of the language ``auto`` each has the one that is detected.

    Raises:
        HyperXError: if these are no texts, differ in number, or what detects languages is not installed.
        DataError: if a text has no word, is neither a text nor words, or is in a script that cannot be segmented and
            words are needed.
    """
    first, hint = in_order(texts), "; write [text]"
    if first is None:
        raise not_expected("texts", f"a list of texts, or of lists of words{hint * isinstance(texts, str)}", texts)
    second = (None,) * len(first) if text_pairs is None else in_order(text_pairs)
    if second is None:
        expected = f"a list of texts, one for each of the first{hint * isinstance(text_pairs, str)}"
        raise not_expected("text_pairs", expected, text_pairs)
    if len(second) != len(first):
        raise HyperXError(f"text_pairs: expected one for each of the {len(first)} texts; found {len(second)}")
    sentences = []
    for number, (text, pair) in enumerate(zip(first, second, strict=True), start=1):
        if text_pairs is not None and not isinstance(pair, str):
            raise DataError(f"text {number}: expected a second text in text_pairs, found {str(pair)[:60]!r}")
        try:
            sentence = sentence_of(text, language=language, reads=reads)
            empty_pair = pair is not None and text_sentence(pair, None) is None
        except DataError as error:
            raise DataError(f"text {number}: {error.message}") from error
        if sentence is None or empty_pair:
            found = text if sentence is None else pair
            raise DataError(f"text {number}: expected a sentence, found no word in {found!r}; leave it out")
        sentences.append(sentence if pair is None else replace(sentence, text_pair=pair))
    return sentences
