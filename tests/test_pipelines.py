"""``hyperx.pipeline`` against ``HyperX.predict``, and against the pipeline of transformers that it stands in for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import BertConfig, BertForTokenClassification, TokenClassificationPipeline
from transformers.pipelines.pt_utils import KeyDataset

import hyperx
from hyperx.errors import HyperXError
from tiny import tiny_model, tiny_tokenizer

TEXTS = ["bad cab", "", " a  bed\tde", "\u200b \n", "de de de bad cab", "cab cab a a bed de"]
STRATEGIES = ["simple", "first", "average", "max"]


@pytest.fixture(scope="module")
def model() -> hyperx.HyperX:
    """Random weights, four tasks."""
    kinds = {"ner": "ner", "pos": "pos", "mood": "cls", "dep": "dep"}
    labels = {"ner": ("O", "B-PER", "I-PER"), "pos": ("NOUN", "VERB"), "mood": ("good", "bad"), "dep": ("root", "obj")}
    model = tiny_model(kinds=kinds, labels=labels, trained_pairs=tuple(f"{task}#en" for task in kinds), seed=3)
    model.tokenizer = tiny_tokenizer()
    return model


@pytest.mark.parametrize("task", ["ner", "pos"])
def test_words_have_what_predict_says_of_them(model: hyperx.HyperX, task: str) -> None:
    pipe = hyperx.pipeline(task, model, language="en")
    answers = pipe(TEXTS, ignore_labels=[])
    seen = [text for text in TEXTS if text.strip(" \u200b\n")]
    alone = iter(model.predict(seen, task=task, language="en", confidences=True))
    for text, answer in zip(TEXTS, answers, strict=True):
        if text not in seen:
            assert answer == []
            continue
        wanted = next(alone)
        assert wanted.confidences is not None
        assert wanted.offsets is not None
        assert [one["entity"] for one in answer] == list(wanted.labels[task])
        assert [one["score"] for one in answer] == pytest.approx(wanted.confidences[task], abs=1e-5)
        assert (
            [one["word"] for one in answer] == list(wanted.words) == [text[one["start"] : one["end"]] for one in answer]
        )
        assert [(one["start"], one["end"]) for one in answer] == list(wanted.offsets)
        assert [one["index"] for one in answer] == [*range(1, len(answer) + 1)]
    assert pipe(TEXTS) == [[one for one in answer if one["entity"] != "O"] for answer in answers]
    left = [[one for one in answer if one["entity"] != "NOUN"] for answer in answers]
    assert pipe(TEXTS, ignore_labels=["NOUN"]) == left


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_entities_are_those_of_predict(model: hyperx.HyperX, strategy: str) -> None:
    pipe = hyperx.pipeline("ner", model, language="en", aggregation_strategy=strategy)
    texts = [text for text in TEXTS if text.strip(" \u200b\n")]
    found = pipe(texts)
    for answer, wanted in zip(found, model.predict(texts, task="ner", language="en", confidences=True), strict=True):
        assert len(answer) == len(wanted.entities)
        for one, entity in zip(answer, wanted.entities, strict=True):
            assert one.pop("score") == pytest.approx(entity.confidence, abs=1e-5)
            place = {"start": entity.start_char, "end": entity.end_char}
            assert one == {"entity_group": entity.type, "word": entity.text, **place}
    assert [len(answer) for answer in found if len(answer) > 1]
    assert any(" " in one["word"] for answer in found for one in answer)
    assert all(answer == [] for answer in pipe(texts, ignore_labels=["PER"]))
    tags = hyperx.pipeline("pos", model, language="en")
    named = [[one["entity"], one["word"]] for one in tags(texts[1])]
    assert [[one["entity_group"], one["word"]] for one in tags(texts[1], aggregation_strategy=strategy)] == named


@pytest.mark.parametrize("strategy", ["none", *STRATEGIES])
@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words:UserWarning")
def test_answers_have_the_form_of_those_of_transformers(model: hyperx.HyperX, strategy: str) -> None:
    names = dict(enumerate(model.config.labels["ner"]))
    config = BertConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64, id2label=names
    )
    theirs: Any = TokenClassificationPipeline(
        model=BertForTokenClassification(config), tokenizer=tiny_tokenizer(), device="cpu", ignore_labels=[]
    )
    ours = hyperx.pipeline("ner", model, language="en", ignore_labels=[], aggregation_strategy=strategy)
    texts, chosen = [TEXTS[0], TEXTS[4]], {"aggregation_strategy": strategy}

    def form(answer: Any) -> Any:
        if isinstance(answer, dict):
            return {key: float if key == "score" else type(value) for key, value in answer.items()}
        return [form(answer[0])] if isinstance(answer, list) else answer

    assert form(ours(texts[1])) == form(theirs(texts[1], **chosen))
    assert form(ours(texts)) == form(theirs(texts, **chosen))
    several: list[Any] = [KeyDataset([{"text": text} for text in texts], "text"), (text for text in texts)]
    for stream in several:
        answers = ours(stream)
        assert not isinstance(answers, list)
        assert form(list(answers)) == form(ours(texts))
    # Their way of putting words together finds the same entities in our words.
    words = ours(texts[1], aggregation_strategy="none")
    grouped = [(one["entity_group"], one["start"], one["end"]) for one in theirs.group_entities(words)]
    wanted = [(one["entity_group"], one["start"], one["end"]) for one in ours(texts[1], aggregation_strategy="max")]
    assert [one for one in grouped if one[0] != "O"] == wanted


def test_a_text_has_one_label_in_a_list_as_there(model: hyperx.HyperX) -> None:
    pipe = hyperx.pipeline("mood", model, language="en")
    wanted = model.predict(["bad cab", "de"], task="mood", language="en", confidences=True)
    answers = [{"label": one.labels["mood"], "score": pytest.approx(one.confidence("mood"))} for one in wanted]
    assert pipe(["bad cab", "", "de"]) == [answers[0], {"label": None, "score": None}, answers[1]]
    assert pipe("bad cab") == answers[:1]
    assert pipe.task == "text-classification"


def test_a_call_may_name_a_language_and_auto_detects_that_of_each_text(model: hyperx.HyperX) -> None:
    pytest.importorskip("py3langid")
    pipe, texts = hyperx.pipeline("pos", model, language="en"), ["the house is red", "das Haus ist rot"]
    seen: list[set[str]] = []
    hook = model.register_forward_pre_hook(lambda _, given: seen.append({pair.language for pair in given[0]}))
    pipe(texts, language="tr")
    pipe([*texts, ""], language="auto")
    pipe(texts)
    hook.remove()
    assert seen == [{"tr"}, {"en", "de"}, {"en"}]


def test_a_stream_is_read_a_batch_ahead(model: hyperx.HyperX) -> None:
    read: list[int] = []

    def texts() -> Iterator[str]:
        for number in range(9):
            read.append(number)
            yield "bad cab"

    answers = hyperx.pipeline("pos", model, language="en", batch_size=2)(texts())
    assert read == []
    assert [one["entity"] for one in next(answers)]
    assert read == [0, 1]
    assert len(list(answers)) == 8


def test_a_checkpoint_is_loaded_and_transformers_are_not_asked_for_pipelines(trained: Path) -> None:
    code = f"""if True:
        import sys
        import hyperx
        assert not {{'torch', 'transformers'}} & {{*sys.modules}}
        (one,) = hyperx.pipeline("ner", {str(trained)!r}, language="en", aggregation_strategy="simple")("cat sees Ada")
        assert one["word"] == "Ada" and (one["start"], one["end"]) == (9, 12)
        assert "transformers.pipelines" not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("task", "given", "options", "expected"),
    [
        ("token-classification", "a", {}, "the model has no task 'token-classification'; it has ner, pos, mood, dep"),
        ("dep", "a", {}, "task: dep says more of a word than one label; model.predict gives it"),
        (
            "ner",
            "a",
            {"language": None},
            "language: expected the code of a language, such as 'en', or 'auto'; found No",
        ),
        ("ner", "a", {"language": "englsh1"}, "'englsh1' is no language code"),
        ("ner", "a", {"aggregation_strategy": "SIMPLE"}, "aggregation_strategy: expected none, simple, first, av"),
        ("ner", ["a"], {"batch_size": 0}, "batch_size: expected 1 or more; found int 0"),
        ("ner", "a", {"device": -1}, "no option 'device', only language, aggregation.* give the pipeline model.to"),
        ("ner", "a", {"top_k": 1}, "no option 'top_k', only language, .*, batch_size$"),
        ("ner", 5, {}, "inputs: expected a text or several"),
        ("mood", {"text": "a", "text_pair": "a"}, {}, r"inputs: expected a text or several \(of pairs of texts, model"),
        ("ner", ["a", 5], {}, "text 2: expected a text; found int 5"),
        ("ner", ["a", "\ud800"], {}, "text 2: expected whole characters, found a lone surrogate"),
    ],
)
def test_mistakes_are_explained(
    model: hyperx.HyperX, task: str, given: Any, options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(HyperXError, match=expected):
        hyperx.pipeline(task, model, language="en")(given, **options)
    if options:  # when it is made, too
        with pytest.raises(HyperXError, match=expected):
            hyperx.pipeline(task, model, **{"language": "en", **options})
