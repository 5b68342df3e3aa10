"""Span tags: every common scheme is converted to BIO, and BIO to spans.

| scheme | a span of one word | a longer span |
|---|---|---|
| BIO (IOB2) | B | B I I |
| IOB1 | I, or B right after a span of its type | I I I, or B I I |
| BIOES, BILOU, BMES | S, U | B I E, B I L, B M E |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from hyperx.data.read.lines import OnFault, stop
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError

Scheme = Literal["BIO", "IOB1", "BIOES"]

_OPENS, _INSIDE, _CLOSES = frozenset("BSU"), frozenset("IMEL"), frozenset("SUEL")
_NONE = "O"


class MalformedTag(ValueError):
    """A tag that no scheme has, at a word counted from 0."""

    def __init__(self, position: int, tag: str) -> None:
        self.position, self.tag = position, tag
        super().__init__(f"expected O or a prefix, a hyphen and a type, such as B-PER, found the tag {tag!r}")


@dataclass
class BioConversion:
    """Converts one split's tags to BIO, sentence by sentence; at the end it has the scheme and the number of repairs.

    In every scheme a span begins at a word that does not continue the span before, so sentences can be converted one by
    one. Only whether an I- without a B- is the rule (IOB1) or a fault (other schemes) depends on the whole split: in
    IOB1 a B- occurs only right after a span of its own type.
    """

    starts_without_b: int = field(default=0, init=False)
    _prefixes: set[str] = field(default_factory=set, init=False)
    _free_b: bool = field(default=False, init=False)

    @property
    def scheme(self) -> Scheme:
        """The scheme that the tags seen so far are written in."""
        if self._prefixes & set("SUELM"):
            return "BIOES"
        return "IOB1" if self.starts_without_b and not self._free_b else "BIO"

    @property
    def repairs(self) -> int:
        """How many spans began without a B- against the scheme's rules and got one."""
        return 0 if self.scheme == "IOB1" else self.starts_without_b

    def convert(self, tags: Sequence[str]) -> tuple[str, ...]:
        """One sentence's tags in BIO.

        Raises:
            MalformedTag: for a tag such as `PER` or `B_PER`.
        """
        converted, open_type = [], ""  # the type of the span that the next word may continue
        for position, tag in enumerate(tags):
            prefix, kind = _parse(position, tag)
            continues = prefix in _INSIDE and kind == open_type
            if kind:
                self._prefixes.add(prefix)
                self._free_b |= prefix == "B" and kind != open_type
                self.starts_without_b += prefix in _INSIDE and not continues
            converted.append(f"{'I' if continues else 'B'}-{kind}" if kind else _NONE)
            open_type = "" if prefix in _CLOSES else kind
        return tuple(converted)


def _parse(position: int, tag: str) -> tuple[str, str]:
    """Prefix and type of a tag; the type of O is empty."""
    if tag == _NONE:
        return _NONE, ""
    prefix, hyphen, kind = tag.partition("-")
    if not (hyphen and kind.strip() and prefix in _OPENS | _INSIDE):
        raise MalformedTag(position, tag)
    return prefix, kind


def bio_sentences(
    sentences: Iterable[Sentence], conversion: BioConversion, column: str = "ner", on_fault: OnFault = stop
) -> Iterator[Sentence]:
    """The sentences with a column of span tags in BIO; one with a malformed tag goes to ``on_fault``. After the last,
    `conversion` has the scheme and the repairs."""
    for sentence in sentences:
        try:
            tags = conversion.convert([str(tag) for tag in sentence.columns[column]])
        except MalformedTag as error:
            on_fault(DataError(str(error), path=sentence.origin, line=sentence.line_of(error.position)))
            continue
        yield replace(sentence, columns={**sentence.columns, column: tags})


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """The spans of BIO tags as (type, first word, word after the last).

    Strict: a span begins with B- and continues with I- of its type. An I- that continues nothing belongs to no span.
    """
    own: list[tuple[str, int, int]] = []
    for position, tag in enumerate(tags):
        prefix, _, kind = tag.partition("-")
        if prefix == "B":
            own.append((kind, position, position + 1))
        elif prefix == "I" and own and own[-1][0] == kind and own[-1][2] == position:
            own[-1] = (kind, own[-1][1], position + 1)
    return own


def map_types(tags: Sequence[str], label_map: Mapping[str, str]) -> tuple[str, ...]:
    """BIO tags with types renamed, or dropped if mapped to O; other types stay."""

    def mapped(tag: str) -> str:
        prefix, _, kind = tag.partition("-")
        new = label_map.get(kind, kind)
        return _NONE if new == _NONE or not kind else f"{prefix}-{new}"

    return tuple(mapped(tag) for tag in tags)


def type_problem(names: Iterable[str]) -> str | None:
    """What is wrong if a name of an entity type is a BIO tag, which would match no type; None if none is."""
    tag = next((name for name in names if name[:2] in ("B-", "I-")), None)
    return tag and f"expected entity types, found the tag {tag!r}; name the type alone, {tag[2:]!r}"
