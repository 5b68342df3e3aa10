"""How far a pair is from what the model was trained on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from hyperx.pairs import TaskLanguagePair

Group = Literal["seen", "new_pair", "new_language"]
GROUPS: tuple[Group, ...] = ("seen", "new_pair", "new_language")
GROUP_NAMES = {"seen": "seen", "new_pair": "new pair", "new_language": "new language"}


def group_of(pair: TaskLanguagePair, trained: Collection[TaskLanguagePair]) -> Group:
    """``seen``: a training pair; ``new_pair``: its language was trained in other tasks; else ``new_language``."""
    keys = {other.key for other in trained}
    if pair.key in keys:
        return "seen"
    return "new_pair" if pair.key[1] in {language for _, language in keys} else "new_language"


def macro_averages(values: Mapping[TaskLanguagePair, float], trained: Collection[TaskLanguagePair]) -> dict[str, float]:
    """Mean over the pairs of each group that has any, over the two zero-shot groups, and over all."""
    groups: dict[str, list[float]] = {}
    for pair, value in values.items():
        group = group_of(pair, trained)
        for name in (group, "all") if group == "seen" else (group, "zero_shot", "all"):
            groups.setdefault(name, []).append(value)
    return {name: _mean(groups[name]) for name in (*GROUPS, "zero_shot", "all") if name in groups}


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
