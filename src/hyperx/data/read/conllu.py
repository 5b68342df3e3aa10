"""CoNLL-U: syntactic words with part-of-speech tags and trees, read one sentence at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hyperx.data.read.lines import (
    MOST_WORDS,
    FaultyLine,
    OnFault,
    check_length,
    check_line,
    check_word,
    no_sentences,
    no_words,
    numbered_lines,
    stop,
)
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError

_COLUMNS = 10
ID, FORM, UPOS, HEAD, DEPREL, MISC = 0, 1, 3, 6, 7, 9
ENTITIES = "NER"
"""The key of MISC that has a word's entity tag."""

_LIKE_ENTITIES = re.compile("ner|name|tag|ent", re.IGNORECASE)

# No sentence has longer numbers.
_RANGE = re.compile(r"([1-9][0-9]{0,8})-([1-9][0-9]{0,8})")
_EMPTY_NODE = re.compile(r"(0|[1-9][0-9]{0,8})\.[1-9][0-9]*")


def read_conllu(
    path: str | Path, on_fault: OnFault = stop, column: str = "", entities: str = ENTITIES
) -> Iterator[Sentence]:
    """Stream the sentences of a CoNLL-U file.

    Words are the syntactic words: multiword ranges (`1-2`) and empty nodes (`1.1`) are left out. Columns are `upos`;
    `head` and `deprel` if the sentence has heads; `ner` if MISC gives every word a `NER=` value. A word is followed by
    a space unless MISC says `SpaceAfter=No`; within a multiword range there are no spaces.

    Args:
        path: the file.
        on_fault: what to do with a fault: by default it is raised; if not, the sentence is skipped.
        column: the column that every sentence must have if it is `ner`; others are left to the caller.
        entities: the key of MISC that has the entities, if it is not `NER`.

    Raises:
        DataError: with file and line, for a line without 10 columns, ids that violate the rules of `WordIds`, a word of
            spaces or control characters, a head that is not a number, a partly annotated sentence, a sentence without
            words or the entities that are required, and a file without sentences. Trees are not checked: see
            `check_tree`.
    """
    found = False
    for block in blocks(numbered_lines(path), path, on_fault):
        found = True
        if block.faulty:
            continue
        try:
            sentence = Sentence(**block.facts(), columns=block.columns(entities, required=column == "ner"))
        except DataError as fault:
            on_fault(fault)
        else:
            yield sentence
    if not found:
        raise no_sentences(path)


def check_tree(sentence: Sentence) -> None:
    """Check that a sentence's heads are one tree: within the sentence, with a single root, without a cycle.

    Raises:
        DataError: naming the first fault, with its file and line.
    """
    heads = [int(head) for head in sentence.columns["head"]]
    for word, head in enumerate(heads):
        if not 0 <= head <= len(heads):
            found = f"expected a head from 0 (the root) to {len(heads)} (the last word), found {head}"
            raise _fault(sentence, word, found + "; correct the head")
    roots = [word for word, head in enumerate(heads) if head == 0]
    if len(roots) != 1:
        found = f"{len(roots)} at the words " + ", ".join(str(root + 1) for root in roots) if roots else "none"
        raise _fault(sentence, roots[1] if roots else 0, f"expected one root (a word with head 0), found {found}")
    _check_cycles(sentence, heads)


def _check_cycles(sentence: Sentence, heads: list[int]) -> None:
    """Follow every word to the root once; words that are known to reach it are not followed again."""
    reaches_root = [False] * len(heads)
    for start in range(len(heads)):
        way: dict[int, None] = {}
        word = start
        while word >= 0 and not reaches_root[word]:
            if word in way:
                cycle = list(way)[list(way).index(word) :]
                words = ", ".join(str(member + 1) for member in cycle)
                raise _fault(sentence, min(cycle), f"expected a tree, found a cycle through the words {words}")
            way[word] = None
            word = heads[word] - 1
        for member in way:
            reaches_root[member] = True


def _fault(sentence: Sentence, word: int, message: str) -> DataError:
    return DataError(message, path=sentence.source, line=sentence.line_of(word))


@dataclass
class WordIds:
    """The ids of one sentence, checked line by line.

    Words count up from 1. A multiword range (`1-2`) comes before its first word, and no word is in two ranges; an empty
    node (`2.1`) comes after its word, or before the first one (`0.1`).

    Args:
        place: the name of the file in errors.
    """

    place: str | Path
    words: int = field(default=0, init=False)
    _covered: int = field(default=0, init=False)
    _last_range: tuple[int, str] = field(default=(0, ""), init=False)

    def is_word(self, number: int, value: str) -> bool:
        """Add the id of a line; returns whether it is that of a word.

        Raises:
            DataError: if it is neither the next word's nor that of a range or an empty node that is allowed here.
        """
        expected = self.words + 1
        if value == str(expected):
            self.words = expected
            return True
        if self._may_stand(number, value):
            return False
        rules = "ids count up from 1, anew after a blank line, and no word is of two ranges"
        message = f"expected word {expected} of the sentence, found id {value[:40]!r}; {rules}"
        raise DataError(message, path=self.place, line=number)

    def _may_stand(self, number: int, value: str) -> bool:
        """Whether an id is that of a range or an empty node that is allowed here."""
        if found := _RANGE.fullmatch(value):
            first, last = map(int, found.groups())
            fits = self._covered < first == self.words + 1 <= last
            self._covered, self._last_range = last, (number, value)
            return fits
        node = _EMPTY_NODE.fullmatch(value)
        return node is not None and int(node[1]) == self.words

    def check_ranges(self) -> None:
        """Check, at the end of the sentence, that it has the words of all ranges.

        Raises:
            DataError: if some are missing.
        """
        if self._covered > self.words:
            number, value = self._last_range
            message = f"expected {self._covered} words, as the range {value} says, found {self.words}; fix the range"
            raise DataError(message, path=self.place, line=number)


@dataclass
class Block:
    """The lines between two blank lines, added one by one.

    Args:
        place: the name of the file in errors.
        first_line: the number of the first of them.
        advice: what to do about a line that does not have the columns of CoNLL-U.
        faulty: whether a line had a fault; those after it are not read.
    """

    place: str | Path
    first_line: int
    advice: str
    comments: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    words: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    faulty: bool = False

    def __post_init__(self) -> None:
        self.ids = WordIds(self.place)

    def add(self, number: int, line: str) -> None:
        """Add one line: a comment, a word, or a range or empty node."""
        if type(line) is FaultyLine:
            raise line.fault
        check_line(line, self.place, number)
        # Within the sentence a word may be `#`, but its line begins with its id.
        if line.startswith("#"):
            self.comments.append(line)
            return
        columns = line.split("\t")
        if len(columns) != _COLUMNS:
            expected = f"expected {_COLUMNS} columns separated by tabs, as CoNLL-U has"
            raise DataError(f"{expected}, found {len(columns)}; {self.advice}", path=self.place, line=number)
        is_word = self.ids.is_word(number, columns[ID])
        if is_word:
            check_word(columns[FORM], self.place, number)
        if self.ids.words <= MOST_WORDS:  # others are only counted: a file without blank lines may be large
            self.rows.append(columns)
            if is_word:
                self.words.append(columns)
                self.lines.append(number)

    def facts(self) -> dict[str, Any]:
        """The finished sentence without its annotation, as arguments of `Sentence`.

        Raises:
            DataError: if there is no word, or a word of a range is missing.
        """
        self.ids.check_ranges()
        if not self.words:
            raise no_words(self.place, self.first_line)
        check_length(self.ids.words, self.place, self.lines[0])
        return {
            "words": tuple(columns[FORM] for columns in self.words),
            "lines": tuple(self.lines),
            "source": str(self.place),
            "text": comment_value(self.comments, "text") or surface_text(self.rows),
            "space_after": space_after(self.rows),
            "comments": tuple(self.comments),
        }

    def columns(
        self, entities: str = ENTITIES, *, required: bool = False
    ) -> dict[str, tuple[str, ...] | tuple[int, ...]]:
        """The annotation that the sentence has, by name.

        Args:
            entities: the key of MISC that has the entities.
            required: whether it must be there.

        Raises:
            DataError: if a head is not a number, or only some words have a head or an entity.
        """
        found: dict[str, tuple[str, ...] | tuple[int, ...]] = {}
        if any(columns[UPOS] != "_" for columns in self.words):
            found["upos"] = tuple(columns[UPOS] for columns in self.words)
        if heads := self._heads():
            found |= {"head": heads, "deprel": tuple(columns[DEPREL] for columns in self.words)}
        if tags := self._entities(entities, required):
            found["ner"] = tags
        return found

    def _heads(self) -> tuple[int, ...]:
        """Every word's head; nothing if no word has one."""
        values = [columns[HEAD] for columns in self.words]
        if all(value == "_" for value in values):
            return ()
        for number, value in zip(self.lines, values, strict=True):
            if not (value.isdigit() and value.isascii()):
                message = f"expected a head (a number from 0) in column 7, found {value!r}"
                raise DataError(message, path=self.place, line=number)
        return tuple(map(int, values))

    def _entities(self, key: str, required: bool) -> tuple[str, ...]:
        """Every word's `NER=` value; nothing if no word has one and none is required."""
        values = [_misc(columns, key) for columns in self.words]
        if all(value is None for value in values):
            if required:
                raise self._no_entities(key)
            return ()
        for number, value in zip(self.lines, values, strict=True):
            if not value:
                message = (
                    f"expected {key}= in MISC (column 10), as other words of the sentence have it; "
                    f"write {key}=O for none"
                )
                raise DataError(message, path=self.place, line=number)
        return tuple(value for value in values if value)

    def _no_entities(self, key: str) -> DataError:
        """The error for a sentence without entities, with the keys that it has instead."""
        keys = {part.partition("=")[0] for columns in self.words for part in columns[MISC].split("|") if "=" in part}
        others = sorted(name[:40] for name in keys - {"SpaceAfter"})
        found = ", ".join(f"{name}=" for name in others[:8]) or "none"
        advice = "annotate the sentence or remove it"
        if near := next((name for name in others if _LIKE_ENTITIES.search(name)), None):
            advice = f"rename the key, or name it in the data table, such as {{columns: {{ner: {near}}}}}"
        message = f"expected {key}= in MISC (column 10) of every word, such as {key}=B-PER or {key}=O, found {found}"
        return DataError(f"{message}; {advice}", path=self.place, line=self.lines[0])


def blocks(
    lines: Iterable[tuple[int, str]], place: str | Path, on_fault: OnFault = stop, advice: str = "fix the line"
) -> Iterator[Block]:
    """Stream the blocks of CoNLL-U, each as soon as its last line is known.

    Args:
        lines: numbered lines.
        place: the name of the file in errors.
        on_fault: called with the first fault of a block.
        advice: what to do about a line that does not have the columns of CoNLL-U.
    """
    block: Block | None = None
    for number, line in lines:
        if line.strip(" \t"):
            block = block or Block(place, number, advice)
            if not block.faulty:
                try:
                    block.add(number, line)
                except DataError as fault:
                    on_fault(fault)
                    block.faulty = True
        elif block:
            yield block
            block = None
    if block:
        yield block


def space_after(rows: Iterable[Sequence[str]]) -> tuple[bool, ...]:
    """For each word of a sentence's rows, whose ids were checked, whether a space follows.

    None follows within a multiword range; after its last word, the `SpaceAfter` of the range counts.
    """
    spaces: list[bool] = []
    ranges: list[tuple[int, int, bool]] = []
    for row in rows:
        after = _misc(row, "SpaceAfter") != "No"
        if row[ID].isdecimal():
            spaces.append(after)
        elif found := _RANGE.fullmatch(row[ID]):
            ranges.append((int(found[1]), int(found[2]), after))
    for first, last, after in ranges:
        spaces[first - 1 : last] = [False] * (last - first) + [after]
    return tuple(spaces)


def surface_text(rows: Iterable[Sequence[str]]) -> str:
    """The text that rows spell: the form of a range replaces those of its words, and empty nodes have no text."""
    text, covered = "", 0
    for row in rows:
        first, _, last = row[ID].partition("-")
        if "." in first or (not last and int(first) <= covered):
            continue
        covered = int(last or first)
        text += row[FORM] + ("" if _misc(row, "SpaceAfter") == "No" else " ")
    return text.rstrip(" ")


def _misc(columns: Sequence[str], key: str) -> str | None:
    """The value of a key in MISC; a value may contain `=`."""
    if key not in columns[MISC]:
        return None
    pairs = (part.partition("=") for part in columns[MISC].split("|"))
    return next((value for name, _, value in pairs if name == key), None)


def comment_value(comments: Iterable[str], name: str) -> str | None:
    """The value of the first comment with a name, such as the raw sentence of `# text = ...`; None if there is none."""
    for comment in comments:
        key, separator, value = comment[1:].partition("=")
        if separator and key.strip() == name:
            return value.strip()
    return None
