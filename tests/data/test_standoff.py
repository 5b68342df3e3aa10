"""What tools for annotation import and export: Doccano's JSON lines, and the tasks of Label Studio."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperx.data.read.formats import SUGGESTED, read_file
from hyperx.data.read.sentence import Prediction, Sentence
from hyperx.errors import DataError

SPAN = {"from_name": "label", "to_name": "text", "type": "labels"}
WORDS = st.lists(
    st.sampled_from(["Ada", "a", "aa", "in", "New\u00a0York", "é", "e\u0301", "\U0001d518", "👍🏽", "'s", "...", "دي"]),
    min_size=1,
    max_size=7,
)


def predicted(words: list[str], tags: list[str], column: str, text: str | None = None) -> Prediction:
    task = "pos" if column == "upos" else "ner"
    sure = {task: (0.5,) * len(words)}
    return Prediction(Sentence(tuple(words), text=text), {task: tuple(tags)}, {task: {column: tuple(tags)}}, sure)


def doccano(written: str, *, older: bool = False) -> str:
    """Doccano's export of what it imported: ids, comments and the spans in their order."""
    rows = []
    for number, line in enumerate(written.splitlines(), start=1):
        row = json.loads(line)
        spans = sorted(row.pop("label"))
        own = {"label": spans, "Comments": []}
        if older:
            spans = [{"id": 1, "start_offset": start, "end_offset": end, "label": label} for start, end, label in spans]
            own = {"entities": spans, "relations": [], "Comments": []}
        rows.append(json.dumps({"id": number, **row, **own}) + "\n")
    return "".join(rows)


def label_studio(written: str, *, least: bool = False, indent: int | None = None) -> str:
    """Label Studio's export, as JSON or JSON-MIN, of predictions that a person took over as they are."""
    tasks = []
    for number, task in enumerate(json.loads(written), start=1):
        result = task["predictions"][0]["result"]
        if least:
            values = {"label": [one["value"] for one in result]} if result else {}
            tasks.append({**task["data"], "id": number, **values, "annotator": 1, "annotation_id": number})
        else:
            given_up, last = {"result": [], "was_cancelled": True}, {"result": result, "was_cancelled": False}
            tasks.append({"id": number, "data": task["data"], "annotations": [last, given_up], "predictions": []})
    return json.dumps(tasks, indent=indent)


EXPORTS = {
    "doccano": (".jsonl", doccano),
    "doccano with relations": (".jsonl", lambda text: doccano(text, older=True)),
    "label studio": (".json", label_studio),
    "label studio, indented": (".json", lambda text: label_studio(text, indent=2)),
    "label studio, JSON-MIN": (".json", lambda text: label_studio(text, least=True)),
    "as it is": (".conllu", str),
}


@pytest.mark.parametrize("tool", EXPORTS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_a_tool_gives_back_has_the_words_and_labels_that_it_got(
    tool: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    column = data.draw(st.sampled_from(["upos", "ner"]))
    predictions = []
    for words in data.draw(st.lists(WORDS, min_size=1, max_size=4)):
        tags = list[str]()
        for _ in words:
            known = ["NOUN", "VERB"] if column == "upos" else ["O", "B-PER", "B-LOC"]
            known += ["I-" + tags[-1][2:]] if tags and tags[-1][1:2] == "-" else []
            tags.append(data.draw(st.sampled_from(known)))
        # With the text as it was, or one that is not made of the words, or none.
        space = data.draw(st.sampled_from([" ", "", "  "]))
        text = data.draw(st.sampled_from([space.join(words), None, "other"]))
        predictions.append(predicted(words, tags, column, text))
    ending, export = EXPORTS[tool]
    file = tmp_path_factory.mktemp("export") / f"export{ending}"
    file.write_text(export(SUGGESTED[ending](predictions, "pos" if column == "upos" else "ner")), encoding="utf-8")
    read = list(read_file(file, column))
    assert [one.words for one in read] == [one.words for one in predictions]
    assert [one.columns[column] for one in read] == [
        one.columns[next(iter(one.columns))][column] for one in predictions
    ]


def read(path: Path, rows: Any, column: str = "ner", language: str = "en") -> list[Sentence]:
    text = json.dumps(rows) if path.suffix == ".json" else "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return list(read_file(path, column, language=language))


def test_people_label_more_or_less_than_words(tmp_path: Path) -> None:
    text = "Ada Lovelace's house, New York."
    words = ["Ada", "Lovelace", "'s", "house", ",", "New", "York", "."]
    spans = [[0, 13, "PER"], [26, 30, "LOC"], [22, 26, "ADJ"]]  # with an apostrophe, without a part, with a space
    (found,) = read(tmp_path / "a.jsonl", [{"text": text, "words": words, "label": spans}])
    assert found.columns["ner"] == ("B-PER", "I-PER", "I-PER", "O", "O", "B-ADJ", "B-LOC", "O")
    (found,) = read(tmp_path / "b.jsonl", [{"text": text, "words": words, "label": [[0, 3, "PROPN"]]}], "upos")
    assert found.columns["upos"] == ("PROPN", *"_______")


def test_text_without_words_is_cut_by_the_rules_of_the_language(tmp_path: Path) -> None:
    row = {"text": "L'eau d'Ada.", "labels": [[8, 11, "PER"]]}
    (found,) = read(tmp_path / "a.jsonl", [row], language="fr")
    assert (found.words, found.columns["ner"]) == (("L'", "eau", "d'", "Ada", "."), ("O", "O", "O", "B-PER", "O"))
    (found,) = read(tmp_path / "b.jsonl", [row], language="en")
    assert found.words != ("L'", "eau", "d'", "Ada", ".")


def test_labels_of_texts(tmp_path: Path) -> None:
    assert read(tmp_path / "a.jsonl", [{"text": "a b", "label": ["good"]}], "label")[0].columns["label"] == ("good",)
    result = [{"type": "choices", "value": {"choices": ["bad"]}}]
    tasks = [{"data": {"text": "a b", "text_pair": "c"}, "annotations": [{"result": result}]}]
    (found,) = read(tmp_path / "a.json", tasks, "label")
    assert (found.raw_text, found.text_pair, found.columns["label"]) == ("a b", "c", ("bad",))
    with pytest.raises(DataError, match=r"b\.jsonl:1: expected a label, a word or an integer, found \['a', 'b'\]"):
        read(tmp_path / "b.jsonl", [{"text": "a b", "label": ["a", "b"]}], "label")


def test_tasks_that_nobody_has_annotated_are_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = {"text": "Ada", "words": ["Ada"]}
    value = {"value": {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}, **SPAN}
    empty = {"result": [], "was_cancelled": True}
    annotations = [[], [empty], [{"result": [value, {"type": "relation", "from_id": "1"}]}], [{"result": []}]]
    with caplog.at_level(logging.WARNING, "hyperx"):
        found = read(
            tmp_path / "a.json", [{"data": data, "annotations": own, "predictions": [1]} for own in annotations]
        )
    assert [one.columns["ner"] for one in found] == [("B-PER",), ("O",)]
    assert "2 of 4 tasks have no annotation" in caplog.text


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ([[0, 3]], 'expected a span with one label, such as [0, 3, "PER"], found [0, 3]'),
        ([{"start": 0, "end": 3, "labels": ["PER", "LOC"]}], "expected a span with one label"),
        ([[3, 4, "PER"]], "expected a word at the characters 3 to 4 for the label PER, found ' '"),
        ([[70, 90, "PER"]], "expected a word at the characters 70 to 90 for the label PER, found ''"),
        ([[0, 3, "PER"], [2, 9, "LOC"]], "expected one label at 'Ada', found B-PER and LOC; remove one"),
        ([[0, 3, "B-PER"]], "expected entity types, found the tag 'B-PER'; name the type alone, 'PER'"),
        ([{"start": 1, "end": 4, "text": "Ada", "labels": ["PER"]}], "expected 'Ada' at the characters 1 to 4, found"),
    ],
)
def test_faults_of_spans_are_named_with_file_and_line(tmp_path: Path, label: list[Any], expected: str) -> None:
    good, bad = ({"text": "Ada runs", "words": ["Ada", "runs"], "label": own} for own in ([], label))
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.jsonl", [good, bad])
    assert f"a.jsonl:2: {expected}" in str(caught.value)
    file = tmp_path / "a.json"
    file.write_text(
        "[\n" + ",\n\n".join(json.dumps({"id": 7, "annotation_id": 1, **one}) for one in (good, bad)) + "\n]"
    )
    with pytest.raises(DataError) as caught:
        list(read_file(file, "ner"))
    assert f"a.json:4: task 7: {expected}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ('[\n{"data": {},\n', 3, "expected tasks of Label Studio, found a fault"),
        ('{"data": {}}', 1, "expected a list of tasks"),
        ('[{"text": "Ada"}]', 1, 'task 1: expected a task with "data" and "annotations"'),
        ("\n[3]", 2, 'task 1: expected a task with "data" and "annotations", found 3'),
        ('[{"data": {"words": ["Ada"]}, "annotations": [{"result": []}]}]', 1, "task 1: expected a column named ner"),
        (
            '[{"data": {"text": "Ada", "words": ["A"]}, "annotations": [{"result": []}]}]',
            1,
            "expected words that the text",
        ),
        ("[]", None, "expected sentences, found none"),
    ],
)
def test_faults_of_tasks(tmp_path: Path, text: str, line: int | None, expected: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        list(read_file(file, "ner"))
    assert (caught.value.line, expected in str(caught.value)) == (line, True), str(caught.value)


def test_a_word_that_conllu_cannot_hold_is_refused() -> None:
    with pytest.raises(DataError, match="expected a word that the output can hold"):
        SUGGESTED[".conllu"]([predicted(["a\tb"], ["NOUN"], "upos")], "pos")
