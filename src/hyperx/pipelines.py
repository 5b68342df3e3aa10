"""A model that is called and answers as a pipeline of transformers, whose code is not needed for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from itertools import tee
from pathlib import Path
from typing import Any

from hyperx.data.read.detection import AUTO
from hyperx.data.read.sentence import Prediction, Sentence
from hyperx.errors import DataError, HyperXError, not_expected
from hyperx.exporting.running import ExportedModel, load_model
from hyperx.model import HyperX
from hyperx.prediction.predictor import Predictor
from hyperx.prediction.request import language_problem, predicted_tasks, sentence_of

STRATEGIES = ("none", "simple", "first", "average", "max")
OPTIONS = {"language": None, "aggregation_strategy": "none", "ignore_labels": ("O",), "batch_size": 32}


class pipeline:
    """What is called and answers as ``transformers.pipeline("token-classification")`` or ``("text-classification")``,
    with the labels, confidences and offsets of :meth:`hyperx.HyperX.predict`.

    Called with a text it gives the answer, with a list the list of answers, with any other iterable an iterator that
    reads ``batch_size`` texts ahead. The answer of a task that labels words is a list of dictionaries with ``entity``
    (``entity_group`` if aggregated), ``score``, ``index`` (of the word, from 1; not if aggregated), ``word``, ``start``
    and ``end``. That of other tasks is a dictionary with ``label`` and ``score``, for a single text in a list.

    Args:
        task: a task of the model, such as ``"ner"``, that gives a word or a text one label.
        model: a model, or the folder of a checkpoint or of exported pairs; by default the ready-made model.
        options: ``language``, a code, or ``"auto"`` to detect that of each text; ``aggregation_strategy``, ``"none"``
            for an answer for each word, or ``"simple"``, ``"first"``, ``"average"`` or ``"max"`` for one for each
            entity, with the lowest score of its words (a word has one label, so these are the same; labels that are no
            entities stay one for each word); ``ignore_labels``, by default ``["O"]``; ``batch_size``, by default 32. A
            call may take others.

    Raises:
        HyperXError: if the model has no such task, an option is wrong or, in a call, a text is none.
    """

    def __init__(self, task: str, model: HyperX | ExportedModel | str | Path | None = None, **options: Any) -> None:
        self.model = model if isinstance(model, HyperX | ExportedModel) else load_model(model)
        (self._name,), self._options = predicted_tasks(self.model.config, [task]), options
        self._checked({"language": AUTO} | options)
        columns = len(self.model.tasks[task].annotation(()))
        if columns > 1:
            raise HyperXError(f"task: {task} says more of a word than one label; model.predict gives it")
        self.task = "token-classification" if columns else "text-classification"

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """The answer to a text, or to each of several."""
        one = isinstance(inputs, str)
        answers = self._answers([inputs] if one else inputs, **self._checked(self._options | options))
        if one and self.task == "token-classification":
            return next(answers)
        return list(answers) if isinstance(inputs, str | list | tuple) else answers

    def _checked(self, options: dict[str, Any]) -> dict[str, Any]:
        for name in options.keys() - OPTIONS.keys():
            moved = '; for another device, give the pipeline model.to("cuda")' if name == "device" else ""
            raise HyperXError(f"there is no option {name!r}, only {', '.join(OPTIONS)}{moved}")
        language, strategy, _, batch_size = (OPTIONS | options).values()
        if not isinstance(language, str):
            raise not_expected("language", "the code of a language, such as 'en', or 'auto'", language)
        if language != AUTO and (problem := language_problem(self.model.config, language)):
            raise HyperXError(problem)
        if strategy not in STRATEGIES:
            raise not_expected("aggregation_strategy", ", ".join(STRATEGIES), strategy)
        if not isinstance(batch_size, int) or batch_size < 1:
            raise not_expected("batch_size", "1 or more", batch_size)
        return OPTIONS | options

    def _answers(
        self, inputs: Any, language: str, aggregation_strategy: str, ignore_labels: Collection[str], batch_size: int
    ) -> Iterator[Any]:
        if isinstance(inputs, Mapping) or not (hasattr(inputs, "__iter__") or hasattr(inputs, "__getitem__")):
            raise not_expected("inputs", "a text or several (of pairs of texts, model.predict)", inputs)
        sentences, again = tee(self._sentence(number, text, language) for number, text in enumerate(inputs, start=1))
        found = Predictor(self.model).predict(
            sentences,
            tasks=(self._name,),
            language=(str(sentence.language) for sentence in again),
            confidences=True,
            batch_size=batch_size,
            pool=None if isinstance(inputs, list | tuple) else batch_size,
        )
        return (self._answer(prediction, aggregation_strategy != "none", ignore_labels) for prediction in found)

    def _sentence(self, number: int, text: Any, language: str) -> Sentence:
        if not isinstance(text, str):
            raise not_expected(f"text {number}", "a text", text)
        try:
            sentence = sentence_of(text, language=language, reads={self.model.tasks[self._name].reads})
        except DataError as error:
            raise DataError(f"text {number}: {error.message}") from error
        sentence = sentence or Sentence((), text=text, error="")  # which gets no labels
        return replace(sentence, language=sentence.language or language)

    def _answer(self, prediction: Prediction, grouped: bool, ignored: Collection[str]) -> Any:
        labels, scores = prediction.labels[self._name], (prediction.confidences or {self._name: None})[self._name]
        if self.task == "text-classification":
            return {"label": labels, "score": scores}
        found = [(label, scores[place], place, place + 1) for place, label in enumerate(labels)]
        if grouped and "ner" in prediction.columns[self._name]:
            found = [(one.type, one.confidence, one.start, one.end) for one in prediction.entities]
        places = prediction.offsets or ()
        return [
            {
                "entity_group" if grouped else "entity": label,
                "score": score,
                **({} if grouped else {"index": end}),
                "word": prediction.sentence.joined(start, end),
                "start": places[start][0],
                "end": places[end - 1][1],
            }
            for label, score, start, end in found
            if label not in ignored
        ]
