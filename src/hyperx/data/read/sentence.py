"""The common form of a sentence that every reader returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words with named columns of annotation and the place they come from.

    Args:
        words: the syntactic words, in order; none if the source has only a text.
        columns: annotation by name, one value per word: ``upos`` and ``ner`` (strings), ``head`` (integers, 0 for
            the root) and ``deprel`` (strings). Empty if the source has no annotation.
        lines: the line number in the file of each word, counted from 1, or that of a text without words; empty if there
            is no file.
        source: the file or data set that the sentence was read from.
        text: the raw sentence, or a text of any length, if the source has it.
        text_pair: the second of two texts, if the source has two.
        space_after: for each word whether a space follows it in the raw sentence, if known.
        comments: CoNLL-U comment lines, without the line end.
    """

    words: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...] | tuple[int, ...]] = field(default_factory=dict)
    lines: tuple[int, ...] = ()
    source: str = ""
    text: str | None = None
    text_pair: str | None = None
    space_after: tuple[bool, ...] | None = None
    comments: tuple[str, ...] = ()

    @property
    def raw_text(self) -> str:
        """The text, or if it is unknown the words, joined according to their spaces."""
        if self.text is not None:
            return self.text
        return self.joined()

    @property
    def spaces(self) -> tuple[bool, ...]:
        """For each word whether a space follows it; if unknown, one does."""
        return self.space_after or (True,) * len(self.words)

    def joined(self, start: int = 0, end: int | None = None) -> str:
        """The words ``start`` to ``end`` (exclusive), by default all, joined according to their spaces."""
        pieces = zip(self.words[start:end], self.spaces[start:end], strict=True)
        return "".join(word + " " * space for word, space in pieces).rstrip(" ")

    def line_of(self, word: int) -> int | None:
        """The line number of a word, or None if the sentence has no file."""
        return self.lines[word] if self.lines else None
