"""Tasks by kind and by name."""

from __future__ import annotations

import pytest

from hyperx.errors import HyperXError
from hyperx.tasks.registry import KINDS, make_tasks, read_kinds, register_task
from hyperx.tasks.tagging import PartOfSpeech


def kinds_of(*entries: str, used: tuple[str, ...] = ()) -> tuple[dict[str, str], list[str]]:
    problems: list[str] = []
    return read_kinds(entries, used, problems), problems


def test_every_kind_is_a_task_of_its_own_name() -> None:
    made = make_tasks({kind: kind for kind in KINDS})
    assert {name: (task.name, task.kind) for name, task in made.items()} == {kind: (kind, kind) for kind in KINDS}
    for task in made.values():
        assert task.reads == "text" or task.column in task.columns


def test_a_kind_belongs_to_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(PartOfSpeech):
        """Another class of the same kind."""

    monkeypatch.setitem(KINDS, "pos", KINDS["pos"])
    assert register_task(PartOfSpeech, column="upos") is PartOfSpeech
    with pytest.raises(HyperXError, match="Other: there is a task 'pos' already"):
        register_task(Other, column="upos")


def test_names_of_ones_own() -> None:
    found = kinds_of("sentiment=cls", "ner", "nli=cls", "tags=pos")
    assert found == ({"sentiment": "cls", "ner": "ner", "nli": "cls", "tags": "pos"}, [])
    task = make_tasks(found[0])["tags"]
    assert (task.name, task.kind) == ("tags", "pos")


def test_tasks_are_those_in_use_where_none_are_listed() -> None:
    assert kinds_of(used=("pos", "ner", "pos")) == ({"pos": "pos", "ner": "ner"}, [])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["ner", "ner"], "'ner' is named twice"),
        (["sentiment=cls", "sentiment=pos"], "'sentiment' is named twice"),
        (["sentiment=class"], "there is no task 'class'; there are .*Did you mean 'cls'"),
        (["dpe"], "there is no task 'dpe'; .*Did you mean 'dep'"),
        (["a-b=cls"], "expected a name of letters, digits and _; found 'a-b'"),
        (["words=cls"], "'words' has another meaning"),
        (["=cls"], "expected a name"),
    ],
)
def test_names_that_do_not_work(entries: list[str], message: str) -> None:
    _, problems = kinds_of(*entries)
    assert len(problems) == 1
    with pytest.raises(ValueError, match=message):
        raise ValueError(problems[0])


def test_a_name_in_use_needs_its_kind() -> None:
    kinds, problems = kinds_of(used=("sentiment",))
    assert not kinds
    assert "--tasks sentiment=KIND, with all other tasks" in problems[0]
