"""Task–language pairs such as ``ner#tr``: their names, and how far they are from what a model was trained on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, get_args

from hyperx.errors import HyperXError
from hyperx.languages import canonical, is_language

Group = Literal["seen", "new_pair", "new_language"]
"""How far a pair is from the labelled training data of a model, see :func:`group_of`."""
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


@dataclass(frozen=True, order=True, slots=True)
class TaskLanguagePair:
    """One task, by its name, in one language, whose code is as the user spells it."""

    task: str
    language: str

    @classmethod
    def parse(cls, name: str | TaskLanguagePair) -> TaskLanguagePair:
        """Read ``task#language``; a pair passes through unchanged. Anything else is a HyperXError."""
        if isinstance(name, TaskLanguagePair):
            return name
        task, separator, language = name.strip().partition("#") if isinstance(name, str) else ("", "", "")
        if not (task and separator and language) or "#" in language:
            raise HyperXError(f"a task–language pair is written task#language, such as ner#tr; found {name!r}")
        return cls(task, language)

    @property
    def key(self) -> tuple[str, str]:
        """Task and canonical language: equal for two spellings of one pair, such as ``ner#tr`` and ``ner#tur``."""
        return self.task, canonical(self.language)

    def __str__(self) -> str:
        return f"{self.task}#{self.language}"


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


def parse_pairs(
    names: Sequence[str], option: str, problems: list[str], tasks: Collection[str]
) -> tuple[TaskLanguagePair, ...]:
    """Parse pairs; two spellings of one pair are a problem, and so is a language before one of the usual ``tasks``."""
    pairs: dict[tuple[str, str], TaskLanguagePair] = {}
    for name in names:
        try:
            pair = TaskLanguagePair.parse(name)
        except HyperXError as error:
            problems.append(f"{option}: {error}")
            continue
        if pair.language in tasks and pair.task not in tasks and is_language(pair.task):
            problems.append(f"{option}: found {pair}. Did you mean {pair.language}#{pair.task}?")
            continue
        if pair.key in pairs:
            problems.append(f"{option}: {pair} is the same pair as {pairs[pair.key]}; name it once")
        pairs.setdefault(pair.key, pair)
    return tuple(pairs.values())
