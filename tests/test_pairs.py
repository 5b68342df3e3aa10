"""Seen pairs, new pairs and new languages, and their averages."""

from __future__ import annotations

import pytest

from hyperx.pairs import TaskLanguagePair, group_of, macro_averages

TRAINED = [TaskLanguagePair.parse(name) for name in ("ner#en", "pos#en", "pos#tr")]


@pytest.mark.parametrize(
    ("pair", "group"),
    [
        ("ner#en", "seen"),
        ("pos#tr", "seen"),
        ("ner#tr", "new_pair"),
        ("ner#de", "new_language"),
        # A language is the same in every spelling.
        ("ner#eng", "seen"),
        ("ner#tr-TR", "new_pair"),
        ("pos#tur", "seen"),
        ("pos#deu", "new_language"),
    ],
)
def test_groups(pair: str, group: str) -> None:
    assert group_of(TaskLanguagePair.parse(pair), TRAINED) == group


def test_without_training_pairs_every_language_is_new() -> None:
    assert group_of(TRAINED[0], []) == "new_language"


def averages(**values: float) -> dict[str, float]:
    return macro_averages(
        {TaskLanguagePair.parse(name.replace("_", "#")): value for name, value in values.items()}, TRAINED
    )


def test_averages_by_hand() -> None:
    found = averages(ner_en=0.8, pos_en=0.6, ner_tr=0.5, ner_de=0.3, pos_de=0.1)
    assert found == pytest.approx({"seen": 0.7, "new_pair": 0.5, "new_language": 0.2, "zero_shot": 0.3, "all": 2.3 / 5})
    assert list(found) == ["seen", "new_pair", "new_language", "zero_shot", "all"]


def test_groups_without_pairs_have_no_average() -> None:
    assert averages(ner_en=0.5) == {"seen": 0.5, "all": 0.5}
    assert averages(ner_de=0.25) == {"new_language": 0.25, "zero_shot": 0.25, "all": 0.25}
    assert averages() == {}
