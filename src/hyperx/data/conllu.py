"""CoNLL-U: syntactic words with part-of-speech tags and trees, read one sentence at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from conllu.exceptions import ParseException
from conllu.parser import parse_id_value

from hyperx.data.lines import OnFault, check_word, no_sentences, numbered_lines, stop
from hyperx.data.sentence import Sentence
from hyperx.errors import DataError

_COLUMNS = 10


def read_conllu(path: str | Path, on_fault: OnFault = stop) -> Iterator[Sentence]:
    """Stream the sentences of a CoNLL-U file.

    Words are the syntactic words: multiword ranges (`1-2`) and empty nodes (`1.1`) are left out. Columns are `upos`;
    `head` and `deprel` where the sentence has heads; `ner` where MISC gives every word a `NER=` value. A word is
    followed by a space unless MISC says `SpaceAfter=No`; within a multiword range there are none.

    A sentence with a fault is passed over where ``on_fault`` does not raise, as it does by default.

    Raises:
        DataError: with file and line, for a line without 10 columns, ids that do not count up from 1, a word of spaces
            or control characters, a head that is no number, a sentence that is annotated in part, a sentence
            without words, and a file without sentences. Trees are not looked at: see `check_tree`.
    """
    found = False
    for block in _blocks(path, on_fault):
        found = True
        try:
            sentence = None if block.faulty else block.sentence()
        except DataError as fault:
            on_fault(fault)
            continue
        if sentence is not None:
            yield sentence
    if not found:
        raise no_sentences(path)


def check_tree(sentence: Sentence) -> None:
    """See that a sentence's heads are one tree: within the sentence, with a single root, without a cycle.

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
    """Follow every word to the root once; words whose way is known are not followed again."""
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
class _Block:
    """The lines between two blank lines, word by word as they come."""

    path: str | Path
    first_line: int
    comments: list[str] = field(default_factory=list)
    words: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    ranges: list[tuple[int, int, bool]] = field(default_factory=list)
    faulty: bool = False

    def add(self, number: int, line: str) -> None:
        """Take in one line: a comment, a word, or a range or empty node."""
        # Within the sentence a word may be `#`, but its line begins with its id.
        if line.startswith("#"):
            self.comments.append(line)
            return
        columns = line.split("\t")
        if len(columns) != _COLUMNS:
            message = f"expected {_COLUMNS} columns separated by tabs, found {len(columns)}; mend the line"
            raise DataError(message, path=self.path, line=number)
        self._add_columns(number, columns)

    def _add_columns(self, number: int, columns: list[str]) -> None:
        expected = len(self.words) + 1
        identifier = self._id(number, columns[0])
        if identifier == expected:
            check_word(columns[1], self.path, number)
            self.words.append(columns)
            self.lines.append(number)
        elif isinstance(identifier, tuple) and identifier[1] == "-" and identifier[0] == expected:
            self.ranges.append((identifier[0] - 1, identifier[2], _space_after(columns)))
        elif not (isinstance(identifier, tuple) and identifier[1] == "." and identifier[0] == expected - 1):
            message = f"expected word {expected} of the sentence, found id {columns[0]!r}; ids count up from 1"
            raise DataError(message, path=self.path, line=number)

    def _id(self, number: int, value: str) -> int | tuple[int, str, int] | None:
        if value.isdigit() and value.isascii():  # the common case; the parser below takes ten times as long
            return int(value)
        try:
            return parse_id_value(value)
        except ParseException as error:
            message = f"expected a word id such as 1, 1-2 or 1.1, found {value!r}"
            raise DataError(message, path=self.path, line=number) from error

    def sentence(self) -> Sentence:
        """The finished sentence."""
        if not self.words:
            message = "expected a sentence, found comments without words; remove them or add the words"
            raise DataError(message, path=self.path, line=self.first_line)
        return Sentence(
            words=tuple(columns[1] for columns in self.words),
            columns=self._columns(),
            lines=tuple(self.lines),
            source=str(self.path),
            text=text_comment(self.comments),
            space_after=self._spaces(),
            comments=tuple(self.comments),
        )

    def _columns(self) -> dict[str, tuple[str, ...] | tuple[int, ...]]:
        found: dict[str, tuple[str, ...] | tuple[int, ...]] = {"upos": tuple(columns[3] for columns in self.words)}
        if heads := self._heads():
            found |= {"head": heads, "deprel": tuple(columns[7] for columns in self.words)}
        if entities := self._entities():
            found["ner"] = entities
        return found

    def _heads(self) -> tuple[int, ...]:
        """Every word's head; nothing where no word has one."""
        values = [columns[6] for columns in self.words]
        if all(value == "_" for value in values):
            return ()
        for number, value in zip(self.lines, values, strict=True):
            if not (value.isdigit() and value.isascii()):
                message = f"expected a head (a number from 0) in column 7, found {value!r}"
                raise DataError(message, path=self.path, line=number)
        return tuple(map(int, values))

    def _entities(self) -> tuple[str, ...]:
        """Every word's `NER=` value; nothing where no word has one."""
        values = [_misc(columns, "NER") for columns in self.words]
        if all(value is None for value in values):
            return ()
        for number, value in zip(self.lines, values, strict=True):
            if not value:
                message = (
                    "expected NER= in MISC (column 10), as other words of the sentence have it; write NER=O for none"
                )
                raise DataError(message, path=self.path, line=number)
        return tuple(value for value in values if value)

    def _spaces(self) -> tuple[bool, ...]:
        spaces = [_space_after(columns) for columns in self.words]
        for start, end, after in self.ranges:
            if end > len(spaces):
                message = f"expected {end} words, as the range {start + 1}-{end} says, found {len(spaces)}"
                raise DataError(message, path=self.path, line=self.lines[start] if start < len(spaces) else None)
            spaces[start:end] = [False] * (end - start - 1) + [after]
        return tuple(spaces)


def _blocks(path: str | Path, on_fault: OnFault) -> Iterator[_Block]:
    block: _Block | None = None
    for number, line in numbered_lines(path):
        if line.strip(" \t"):
            block = block or _Block(path, number)
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


def _misc(columns: list[str], key: str) -> str | None:
    """The value of a key in MISC; conllu's own parser would cut a value at its first `=`."""
    if key not in columns[9]:
        return None
    pairs = (part.partition("=") for part in columns[9].split("|"))
    return next((value for name, _, value in pairs if name == key), None)


def _space_after(columns: list[str]) -> bool:
    return _misc(columns, "SpaceAfter") != "No"


def text_comment(comments: list[str], name: str = "text") -> str | None:
    """The raw sentence of a `# text = ...` comment, or the text of a like one, where there is one."""
    for comment in comments:
        key, separator, value = comment[1:].partition("=")
        if separator and key.strip() == name:
            return value.strip()
    return None
