"""The one form in which every reader hands on a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words with named columns of annotation and the place they come from.

    Args:
        words: the syntactic words, in order; none where the source gives a text alone.
        columns: annotation by name, one value a word: ``upos`` and ``ner`` (strings), ``head`` (integers, 0 for
            the root) and ``deprel`` (strings). Empty where the source has no annotation.
        lines: the line number in the file of each word, counted from 1, or that of a text alone; empty where there is
            no file.
        source: the file or data set that the sentence was read from.
        text: the raw sentence, or a text of any length, where the source gives it.
        text_pair: the second of two texts, where the source gives two.
        space_after: for each word whether a space follows it in the raw sentence, where known.
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
        """The text, or where none is known the words, joined as their spaces say."""
        if self.text is not None:
            return self.text
        return self.joined()

    @property
    def spaces(self) -> tuple[bool, ...]:
        """For each word whether a space follows it; where that is not known, one does."""
        return self.space_after or (True,) * len(self.words)

    def joined(self, start: int = 0, end: int | None = None) -> str:
        """The words, or those from one to before another, joined as their spaces say."""
        pieces = zip(self.words[start:end], self.spaces[start:end], strict=True)
        return "".join(word + " " * space for word, space in pieces).rstrip(" ")

    def line_of(self, word: int) -> int | None:
        """The line number of a word, or None where the sentence has no file."""
        return self.lines[word] if self.lines else None
