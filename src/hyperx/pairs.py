"""Task–language pairs and the one place that reads their names, such as ``ner#tr``."""

from __future__ import annotations

from dataclasses import dataclass

from hyperx.errors import HyperXError
from hyperx.languages import canonical


@dataclass(frozen=True, order=True, slots=True)
class TaskLanguagePair:
    """One task in one language.

    Args:
        task: the task's name, such as ``ner``.
        language: the language code as the user spells it, such as ``tr``.
    """

    task: str
    language: str

    @classmethod
    def parse(cls, name: str | TaskLanguagePair) -> TaskLanguagePair:
        """Read ``task#language``; a pair passes through unchanged.

        Raises:
            HyperXError: if the name is not one task and one language joined by ``#``.
        """
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
