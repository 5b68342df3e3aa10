"""Span tags: every common scheme is converted to BIO, and BIO to spans.

| scheme | a span of one word | a longer span |
|---|---|---|
| BIO (IOB2) | B | B I I |
| IOB1 | I, or B right after a span of its type | I I I, or B I I |
| BIOES, BILOU, BMES | S, U | B I E, B I L, B M E |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from hyperx.errors import DataError

if TYPE_CHECKING:
    from hyperx.data.read.sentence import Sentence

_OPENS, _INSIDE, _CLOSES = frozenset("BSU"), frozenset("IMEL"), frozenset("SUEL")
_NONE = "O"


def bio_tags(sentence: Sentence) -> tuple[tuple[str, ...], int]:
    """The entity tags of a sentence in BIO, and how many spans began without a B-, as in IOB1, and got one: in every
    scheme a span begins at a word that does not continue the span before. Raises a DataError for a tag such as `PER`.
    """
    converted, added, open_type = [], 0, ""  # the type of the span that the next word may continue
    for position, tag in enumerate(map(str, sentence.columns["ner"])):
        prefix, _, kind = tag.partition("-")
        if tag != _NONE and not (kind.strip() and prefix in _OPENS | _INSIDE):
            expected = "expected O or a prefix, a hyphen and a type, such as B-PER"
            line = sentence.line_of(position)
            raise DataError(f"{expected}, found the tag {tag!r}", path=sentence.origin, line=line)
        continues = prefix in _INSIDE and kind == open_type
        added += prefix in _INSIDE and not continues
        converted.append(f"{'I' if continues else 'B'}-{kind}" if kind else _NONE)
        open_type = "" if prefix in _CLOSES else kind
    return tuple(converted), added


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


def span_confidence(confidences: Sequence[float]) -> float:
    """The confidence of a span: the least of its words' (docs/experiments.md, number 22, compares others)."""
    return min(confidences)


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
