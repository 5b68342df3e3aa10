"""How far a pair is from what the model was trained on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from statistics import fmean
from typing import get_args

from hyperx.config import Group
from hyperx.pairs import TaskLanguagePair

GROUPS: tuple[Group, ...] = get_args(Group)
"""The groups of pairs that are reported separately."""
UNTRAINED = "untrained"
"""The group of pairs whose task was not trained at all; it is in no average."""
AVERAGE_NAMES: dict[str, str] = {
    **{group: group.replace("_", " ") for group in GROUPS},
    "zero_shot": "zero-shot (both new)",
    "all": "all",
}
"""The names in tables of the groups that averages are taken over."""


def group_of(pair: TaskLanguagePair, labelled: Collection[TaskLanguagePair]) -> Group:
    """``seen`` if trained on with labels, ``new_pair`` if its language was in another task, else ``new_language``."""
    keys = {other.key for other in labelled}
    if pair.key in keys:
        return "seen"
    return "new_pair" if pair.key[1] in {language for _, language in keys} else "new_language"


def macro_averages(
    values: Mapping[TaskLanguagePair, float], labelled: Collection[TaskLanguagePair]
) -> dict[str, float]:
    """Mean over the pairs of each group that has any, over the two zero-shot groups, and over all."""
    groups: dict[str, list[float]] = {}
    for pair, value in values.items():
        group = group_of(pair, labelled)
        for name in (group, "all") if group == "seen" else (group, "zero_shot", "all"):
            groups.setdefault(name, []).append(value)
    return {name: fmean(groups[name]) for name in AVERAGE_NAMES if name in groups}
