"""The output of predictions."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import conllu
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperx.config import OutputFormat
from hyperx.data.read.base import Request
from hyperx.data.read.blocks import comment_value
from hyperx.data.read.formats import OUTPUT_FORMATS, read_file, read_input
from hyperx.data.read.sentence import Prediction, Sentence
from hyperx.errors import DataError
from hyperx.tasks.parsing import Arc

PARIS = Sentence(
    words=("In", "New", "York", ",", "Ana", "!"),
    text="In New York, Ana!",
    space_after=(True, True, False, True, False, True),
)
POS = ("ADP", "PROPN", "PROPN", "PUNCT", "PROPN", "PUNCT")
NER = ("O", "B-LOC", "I-LOC", "O", "B-PER", "O")

SOURCE = """\
# newdoc id = d
# sent_id = a-1
# text = Vámonos al mar.
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tX\tv\tMood=Ind\t0\troot\t_\tNER=B-ORG|Gloss=go
2\tnos\tnosotros\tX\t_\t_\t1\tobj\t_\t_
2.1\tx\t_\t_\t_\t_\t_\t_\t0:root\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tX\t_\t_\t5\tcase\t_\t_
4\tel\tel\tX\t_\t_\t5\tdet\t_\t_
5\tmar\tmar\tX\t_\t_\t1\tobl\t_\tSpaceAfter=No
6\t.\t.\tX\t_\t_\t1\tpunct\t_\t_

"""


COLUMNS = {"pos": "upos", "ner": "ner", "sense": "sense"}


def predicted(
    sentence: Sentence, labels: dict[str, tuple[str, ...]], confidences: dict[str, tuple[float, ...]] | None = None
) -> Prediction:
    """A prediction of tasks that label words."""
    columns = {task: {COLUMNS[task]: values} for task, values in labels.items()}
    return Prediction(sentence, labels, columns, confidences)


def written(output_format: OutputFormat, *predictions: Prediction) -> str:
    return "".join(OUTPUT_FORMATS[output_format].render(one, number) for number, one in enumerate(predictions, start=1))


def parsed(output: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(output)
    return value


def test_conllu_of_new_sentences() -> None:
    tokens = Sentence(words=("我", "是"))
    output = written("conllu", predicted(PARIS, {"pos": POS, "ner": NER}), predicted(tokens, {"pos": ("PRON", "VERB")}))
    first, second = conllu.parse(output)
    assert first.metadata == {"sent_id": "1", "text": "In New York, Ana!"}
    assert tuple(token["form"] for token in first) == PARIS.words
    assert tuple(token["upos"] for token in first) == POS
    assert tuple(token["misc"]["NER"] for token in first) == NER
    assert [bool(token["misc"].get("SpaceAfter")) for token in first] == [False, False, True, False, True, False]
    assert second.metadata == {"sent_id": "2", "text": "我 是"}
    assert output.endswith("2\t是\t_\tVERB\t_\t_\t_\t_\t_\t_\n\n")


def test_conllu_input_changes_in_predicted_columns_only() -> None:
    (sentence,) = read_input(io.BytesIO(SOURCE.encode()), "conllu", Request())
    labels = {"pos": ("VERB", "PRON", "ADP", "DET", "NOUN", "PUNCT"), "ner": ("O",) * 6}
    assert written("conllu", predicted(sentence, {})) == SOURCE
    before, after = SOURCE.split("\n"), written("conllu", predicted(sentence, labels)).split("\n")
    assert before[:4] == after[:4]
    assert after[4] == "1\tVamos\tir\tVERB\tv\tMood=Ind\t0\troot\t_\tGloss=go|NER=O"
    assert after[6:8] == before[6:8]
    assert after[10] == "5\tmar\tmar\tNOUN\t_\t_\t1\tobl\t_\tSpaceAfter=No|NER=O"
    (found,) = conllu.parse("\n".join(after))
    assert [token["id"] for token in found if not isinstance(token["id"], int)] == [
        (1, "-", 2),
        (2, ".", 1),
        (3, "-", 4),
    ]


def test_conllu_input_without_text_gets_the_surface() -> None:
    bare = "\n".join(line for line in SOURCE.split("\n") if not line.startswith("# "))
    (sentence,) = read_input(io.BytesIO(bare.encode()), "conllu", Request())
    assert written("conllu", predicted(sentence, {})).startswith("# sent_id = 1\n# text = Vámonos al mar.\n1-2\t")


def test_another_task_stands_in_misc() -> None:
    output = written("conllu", predicted(Sentence(words=("a",)), {"sense": ("x.1",)}))
    assert output.endswith("\t_\tSENSE=x.1\n\n")


def test_tasks_of_one_kind_all_stand_somewhere() -> None:
    columns = {
        "pos": {"upos": ("NOUN", "VERB")},
        "tags": {"upos": ("ADJ", "X")},
        "dep": {"head": (2, 0), "deprel": ("nsubj", "root")},
        "trees": {"head": (0, 1), "deprel": ("root", "obj")},
        "ner": {"ner": ("O", "B-PER")},
        "places": {"ner": ("B-LOC", "O")},
    }
    labels = {task: tuple(zip(*own.values(), strict=True)) for task, own in columns.items()}
    labels |= {task: columns[task]["ner"] for task in ("ner", "places")}
    prediction = Prediction(Sentence(words=("a", "b")), labels=labels, columns=columns)
    _, _, first, second = written("conllu", prediction).split("\n")[:4]
    misc = "TAGS=ADJ|TREES_HEAD=0|TREES_DEPREL=root|NER=O|PLACES=B-LOC"
    assert first.split("\t") == ["1", "a", "_", "NOUN", "_", "_", "2", "nsubj", "_", misc]
    misc = "TAGS=X|TREES_HEAD=1|TREES_DEPREL=obj|NER=B-PER|PLACES=O"
    assert second.split("\t") == ["2", "b", "_", "VERB", "_", "_", "0", "root", "_", misc]
    person, place = parsed(written("jsonl", prediction))["entities"]
    assert (person["task"], place["task"]) == ("ner", "places")


def test_a_text_with_line_ends_stays_one_comment() -> None:
    output = written("conllu", predicted(replace(PARIS, text="In New\nYork,\tAna!"), {}))
    assert "# text = In New York, Ana!\n" in output


def test_jsonl() -> None:
    confidences = {"pos": (0.123456,) * 6, "ner": (1.0, 0.5, 0.25, 1.0, 1.0, 1.0)}
    first, second = written(
        "jsonl",
        predicted(PARIS, {"pos": POS, "ner": NER}, confidences),
        predicted(Sentence(words=("Größe", "我")), {"pos": ("NOUN", "X")}),
    ).splitlines()
    assert parsed(first) == {
        "text": PARIS.text,
        "words": list(PARIS.words),
        "space_after": [True, True, False, True, False, True],
        "pos": list(POS),
        "ner": list(NER),
        "entities": [
            {"type": "LOC", "start": 1, "end": 3, "text": "New York", "confidence": 0.25},  # the least of its words
            {"type": "PER", "start": 4, "end": 5, "text": "Ana", "confidence": 1.0},
        ],
        "confidence": {"pos": [0.1235] * 6, "ner": [1.0, 0.5, 0.25, 1.0, 1.0, 1.0]},
        "sentence_confidence": {"pos": 0.1235, "ner": 0.7071},  # the geometric means: (1/8) ** (1/6)
    }
    assert second == '{"words": ["Größe", "我"], "pos": ["NOUN", "X"]}'


def test_entities_are_spelt_as_in_the_text() -> None:
    (sentence,) = read_input(io.BytesIO(SOURCE.encode()), "conllu", Request())
    labels = ("B-PER", "O", "B-LOC", "I-LOC", "I-LOC", "O")
    within, partly = ("B-LOC", "I-LOC", "O", "B-ORG", "I-ORG", "I-ORG"), ("O", "B-X", "I-X", "O", "O", "O")
    found = [
        [entity["text"] for entity in parsed(written("jsonl", predicted(sentence, {"ner": tags})))["entities"]]
        for tags in (labels, within, partly)
    ]
    assert found == [["Vamos", "al mar"], ["Vámonos", "el mar."], ["nos a"]]


def test_jsonl_names_the_sentence_of_a_treebank() -> None:
    (sentence,) = read_input(io.BytesIO(SOURCE.encode()), "conllu", Request())
    assert parsed(written("jsonl", predicted(sentence, {})))["sent_id"] == "a-1"


def test_columns_of_several_tasks() -> None:
    short = Sentence(words=("a", "b"))
    output = written("columns", *[predicted(short, {"pos": ("X", "Y"), "ner": ("O", "B-PER")})] * 2)
    assert output == "a\tX\tO\nb\tY\tB-PER\n\n" * 2


TEXTS = Prediction(
    Sentence((), text="a\tb \u2028c", text_pair="d\ne"),
    {"mood": "good", "nli": "no"},
    {"mood": {}, "nli": {}},
    {"mood": 0.75},
)


def test_labels_of_texts_without_words() -> None:
    assert parsed(written("jsonl", TEXTS)) == {
        "text": "a\tb \u2028c", "text_pair": "d\ne", "mood": "good", "nli": "no", "confidence": {"mood": 0.75}
    }  # fmt: skip
    assert written("columns", TEXTS) == "a b \u2028c\td e\tgood\tno\n"
    assert written("conllu", TEXTS) == (
        "# sent_id = 1\n# text = a b \u2028c\n# text_pair = d e\n# mood = good\n# nli = no\n"
        + "".join(f"{i}\t{word}{chr(9) + '_':s}" + "\t_" * 7 + "\n" for i, word in enumerate("abc", start=1))
        + "\n"
    )


def test_columns_keep_the_second_of_two_texts_beside_a_label_of_both(tmp_path: Path) -> None:
    sentence = Sentence(("a", "#"), text="a #", text_pair="# c\td\n e")
    labels: dict[str, Any] = {"nli": "no", "pos": ("X", "SYM"), "ner": ("O", "O")}
    columns = {"nli": {}, "pos": {"upos": labels["pos"]}, "ner": {"ner": labels["ner"]}}
    out = written("columns", Prediction(sentence, labels, columns))
    assert out == "# text_pair = # c d  e\n# nli = no\na\tX\tO\n#\tSYM\tO\n\n"
    # Tags without labels of texts are data to train on.
    (path := tmp_path / "out.tsv").write_text(written("columns", predicted(sentence, {"pos": ("X", "SYM")})))
    (read,) = read_file(path, "upos")
    assert (read.words, read.columns) == (sentence.words, {"upos": ("X", "SYM")})


def test_labels_of_texts_beside_those_of_words() -> None:
    given = Prediction(
        Sentence(("a", "b")), {"mood": "good", "pos": ("X", "Y")}, {"mood": {}, "pos": {"upos": ("X", "Y")}}
    )
    assert written("columns", given) == "# mood = good\na\tX\nb\tY\n\n"
    assert parsed(written("jsonl", given)) == {"words": ["a", "b"], "mood": "good", "pos": ["X", "Y"]}
    out = written("conllu", given)
    assert out.startswith("# sent_id = 1\n# text = a b\n# mood = good\n1\ta\t_\tX\t")
    (sentence,) = read_input(io.BytesIO(out.replace("good", "bad").encode()), "conllu", Request())
    assert written("conllu", replace(given, sentence=sentence)) == out


@pytest.mark.parametrize("output_format", ["conllu", "columns"])
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        *((word, "it has a tab, line end or NUL") for word in ("a\tb", "a\nb", "a\rb")),
        ("", "nothing can be seen of it"),
    ],
)
def test_words_that_would_break_the_columns(output_format: OutputFormat, bad: str, reason: str) -> None:
    sentence = Sentence(words=("fine", bad), lines=(7, 8), origin="f.txt")
    with pytest.raises(DataError, match=rf"f\.txt:8: expected a word that .*: {reason}; fix it"):
        OUTPUT_FORMATS[output_format].check(sentence, {"pos": ("upos",)})


@pytest.mark.parametrize(("bad", "reason"), [("New York", "spaces separate"), ("# 5", "columns take it for a comment")])
def test_words_that_columns_would_read_as_others(bad: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        OUTPUT_FORMATS["columns"].check(Sentence(words=(bad,)), {"mood": ()})


def test_labels_must_be_one_a_word() -> None:
    with pytest.raises(ValueError, match="expected 6 labels of pos, one a word; found 1"):
        predicted(PARIS, {"pos": ("X",)})
    with pytest.raises(ValueError, match="expected 6 confidences of pos"):
        predicted(PARIS, {"pos": POS}, {"pos": (0.5,)})


def test_every_output_format_may_be_asked_for() -> None:
    assert tuple(OUTPUT_FORMATS) == get_args(OutputFormat)


# What is written is read back -----------------------------------------------------------------------------------------

anything = st.one_of(
    st.text(st.one_of(st.sampled_from("# |=\t\n\r\0_-1aB\ufeff\u2028\u00a0"), st.characters()), min_size=1, max_size=6),
    st.text(st.sampled_from("# |=_-1aB"), min_size=1, max_size=6),
    st.sampled_from(["#", "1", "2", "O", "B-PER", "NOUN", "_", "# a", "New York"]),
)
PLACES = {"mood": (), "pos": ("upos",), "ner": ("ner",), "tags": ("upos",), "dep": ("head", "deprel")}


def read_back(output: str, output_format: OutputFormat, word_column: int | None = None) -> list[Sentence]:
    stream = io.BytesIO(output.encode())
    return list(read_input(stream, output_format, Request(word_column=word_column)))


def labels_of(output_format: OutputFormat, output: str, sentence: Sentence, tasks: list[str]) -> dict[str, list[Any]]:
    """By task the labels of each word, as pieces that are joined in the file, or the label of the sentence."""
    if output_format == "jsonl":
        row = parsed(output)
        return {
            task: [[str(value) for value in label.values()] if task == "dep" else [label] for label in row[task]]
            if PLACES[task]
            else row[task]
            for task in tasks
        }
    whole = {task: comment_value(sentence.comments, task) for task in tasks if not PLACES[task]}
    if output_format == "columns":
        lines = [line.split("\t")[1:] for line in output.split("\n") if line and not line.startswith("# ")]
        found: dict[str, Any] = {
            task: [[line.pop(0) for _ in PLACES[task]] for line in lines] for task in tasks if PLACES[task]
        }
        return found | whole
    assert sentence.rows
    places, found = {}, dict(whole)
    for task in tasks:
        for name in PLACES[task]:
            column = {"upos": 3, "head": 6, "deprel": 7}.get(name)
            key = (task if len(PLACES[task]) == 1 else f"{task}_{name}").upper()
            places[task, name] = key if column is None or column in places.values() else column
    for task in filter(PLACES.get, tasks):
        found[task] = []
        for columns in sentence.rows:
            misc = dict(part.split("=", 1) for part in columns[9].split("|") if "=" in part)
            wanted = [places[task, name] for name in PLACES[task]]
            found[task].append([misc[place] if isinstance(place, str) else columns[place] for place in wanted])
    return found


@settings(max_examples=300, deadline=None)
@given(data=st.data(), output_format=st.sampled_from(list(get_args(OutputFormat))))
def test_what_is_written_is_read_back_equal_or_refused(data: st.DataObject, output_format: OutputFormat) -> None:
    """Words, spaces, ids, texts and labels, of any characters; white space of texts counts as one space in lines."""
    writer = OUTPUT_FORMATS[output_format]
    tasks = data.draw(st.lists(st.sampled_from(list(PLACES)), min_size=1, unique=True))
    places = {task: PLACES[task] for task in tasks}
    sets = {task: data.draw(st.lists(anything, min_size=1, max_size=3)) for task in tasks}
    words = data.draw(st.lists(anything, min_size=1, max_size=4))
    spaces = tuple(data.draw(st.lists(st.booleans(), min_size=len(words), max_size=len(words))))
    text, pair = data.draw(st.none() | anything), data.draw(st.none() | anything)
    line = json.dumps({"words": words, "text": text, "text_pair": pair, "space_after": spaces, "id": "s 1"})
    try:
        (sentence,) = read_back(line, "jsonl")
        if writer.label_problems(places, sets):
            return
        writer.check(sentence, places)
    except DataError:
        return
    labels: dict[str, Any] = {}
    columns: dict[str, dict[str, Any]] = {}
    for task, names in places.items():
        drawn = [tuple(data.draw(st.sampled_from(sets[task])) for _ in names) for _ in words]
        columns[task] = {name: tuple(label[place] for label in drawn) for place, name in enumerate(names)}
        arcs = [Arc(3, label[-1]) for label in drawn] if task == "dep" else [label[0] for label in drawn if names]
        labels[task] = tuple(arcs) if names else sets[task][0]
        if task == "dep":
            columns[task]["head"] = (3,) * len(words)
    output = written(output_format, Prediction(sentence, labels, columns))
    try:
        (found,) = read_back(output, output_format)
    except DataError as error:
        # The words may be numbers, or be like tags: then the user says that they are words.
        if "--word_column" not in str(error):
            raise
        (found,) = read_back(output, output_format, word_column=1)
    assert found.words == tuple(words)
    wanted = {task: list(zip(*columns[task].values(), strict=True)) if PLACES[task] else labels[task] for task in tasks}
    assert labels_of(output_format, output, found, tasks) == {
        task: [[str(part) for part in label] for label in own] if PLACES[task] else own for task, own in wanted.items()
    }
    if output_format != "columns":
        assert found.space_after == sentence.space_after
        assert comment_value(found.comments, "sent_id") == "s 1"
        assert output_format == "conllu" or (found.text, found.text_pair) == (sentence.text, sentence.text_pair)
    if output_format == "conllu" and text is not None:
        assert found.text is not None
        assert found.text.split() == text.replace("\0", " ").split()
    if output_format == "conllu" or (output_format == "columns" and "mood" in tasks):
        assert (found.text_pair or "").split() == (sentence.text_pair or "").replace("\0", " ").split()


@pytest.mark.parametrize(
    ("output_format", "places", "labels", "problem"),
    [
        ("conllu", {"ner": ("ner",)}, {"ner": ["O", "B-ORG|LOC"]}, "the label 'B-ORG|LOC' of ner, as | separates"),
        ("conllu", {"pos": ("upos",), "tags": ("upos",)}, {"pos": ["A|B"], "tags": ["A|B"]}, "the label 'A|B' of tags"),
        (
            "conllu",
            {"ner": ("ner",), "NER": ("ner",)},
            {"ner": [], "NER": []},
            "the tasks ner and NER, as both are NER=",
        ),
        ("conllu", {"mood": ()}, {"mood": ["a\nb"]}, "of mood, as it has a tab, line end or NUL"),
        ("conllu", {"mood": ()}, {"mood": [" a"]}, "of mood, as spaces around a label or comment are not read"),
        ("columns", {"pos": ("upos",)}, {"pos": ["a\tb"]}, "of pos, as it has a tab, line end or NUL"),
        ("columns", {"pos": ("upos",)}, {"pos": [""]}, "of pos, as nothing can be seen of it"),
        ("jsonl", {"mood": ()}, {"mood": ["\ud800"]}, "of mood, as it has a lone surrogate"),
        ("jsonl", {"hypothesis": ()}, {"hypothesis": ["a"]}, "the task hypothesis, as this key is not read as labels"),
    ],
)
def test_labels_that_would_be_read_back_as_others(
    output_format: OutputFormat, places: dict[str, Any], labels: dict[str, list[str]], problem: str
) -> None:
    (found,) = OUTPUT_FORMATS[output_format].label_problems(places, labels)
    assert problem in found
    if output_format != "jsonl":
        assert OUTPUT_FORMATS["jsonl"].label_problems(places, labels) == []
