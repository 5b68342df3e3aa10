"""Span schemes become BIO and BIO becomes spans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperx.data.read.sentence import Sentence
from hyperx.data.read.spans import BioConversion, MalformedTag, bio_sentences, map_types, spans
from hyperx.errors import DataError

Span = tuple[str, int, int]


class Converted(NamedTuple):
    """A split's tags in BIO, the scheme that they were written in, and how many spans were given a B-."""

    tags: tuple[tuple[str, ...], ...]
    scheme: str
    repairs: int


def to_bio(split: Sequence[Sequence[str]]) -> Converted:
    conversion = BioConversion()
    return Converted(tuple(map(conversion.convert, split)), conversion.scheme, conversion.repairs)


@st.composite
def sentences(draw: st.DrawFn) -> tuple[int, list[Span]]:
    """A number of words, and spans among them."""
    found: list[Span] = []
    position = 0
    for gap, length, kind in draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from("XY")))):
        found.append((kind, position + gap, position + gap + length))
        position += gap + length
    return position + draw(st.integers(1, 3)), found


def written(count: int, found: list[Span], letters: str) -> list[str]:
    """Tags with one letter each for the first, inner and last word of a span, and for a span of one word."""
    first, inner, last, single = letters
    tags = ["O"] * count
    for kind, start, end in found:
        tags[start:end] = [f"{inner}-{kind}"] * (end - start)
        tags[end - 1] = f"{last}-{kind}"
        tags[start] = f"{first if end - start > 1 else single}-{kind}"
    return tags


def written_iob1(count: int, found: list[Span]) -> list[str]:
    tags = ["O"] * count
    for kind, start, end in found:
        tags[start:end] = [f"I-{kind}"] * (end - start)
        if start and tags[start - 1].endswith(f"-{kind}"):
            tags[start] = f"B-{kind}"
    return tags


@given(st.lists(sentences(), min_size=1), st.sampled_from(["BIIB", "BIES", "BILU", "BMES"]))
def test_every_scheme_gives_back_its_spans(split: list[tuple[int, list[Span]]], letters: str) -> None:
    converted = to_bio([written(count, found, letters) for count, found in split])
    assert [spans(tags) for tags in converted.tags] == [found for _, found in split]
    assert converted.repairs == 0
    if any(found for _, found in split) and letters == "BIIB":
        assert converted.scheme == "BIO"


@given(st.lists(sentences(), min_size=1))
def test_iob1_gives_back_its_spans(split: list[tuple[int, list[Span]]]) -> None:
    converted = to_bio([written_iob1(count, found) for count, found in split])
    assert [spans(tags) for tags in converted.tags] == [found for _, found in split]
    assert converted.repairs == 0


@given(st.lists(st.lists(st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y", "S-X", "E-X", "L-Y", "U-Y", "M-X"]))))
def test_conversion_is_well_formed_and_stable(split: list[list[str]]) -> None:
    once = to_bio(split)
    assert [len(tags) for tags in once.tags] == [len(tags) for tags in split]
    assert to_bio(once.tags) == Converted(once.tags, "BIO", 0)
    covered = [sum(end - start for _, start, end in spans(tags)) for tags in once.tags]
    assert covered == [sum(tag != "O" for tag in tags) for tags in split]  # no word falls out of its span


def test_repairs_are_counted_where_the_scheme_is_bio() -> None:
    converted = to_bio([["B-X", "O", "I-X", "I-X"], ["O", "B-X", "I-Y"]])
    assert converted.tags == (("B-X", "O", "B-X", "I-X"), ("O", "B-X", "B-Y"))
    assert (converted.scheme, converted.repairs) == ("BIO", 2)
    assert to_bio([["I-X", "B-X", "O", "I-Y"]]).scheme == "IOB1"
    assert to_bio([["S-X", "O", "E-X"]]).repairs == 1


@pytest.mark.parametrize("tag", ["PER", "B_PER", "B-", "B- ", "-PER", "PER-B", "o", "0", "", "b-PER", "_"])
def test_malformed_tags_have_a_place(tag: str) -> None:
    with pytest.raises(MalformedTag):
        to_bio([["O", tag]])
    sentence = Sentence(("a", "b"), {"ner": ("O", tag)}, lines=(4, 5), origin="f.tsv")
    with pytest.raises(DataError, match=r"f\.tsv:5: expected O or a prefix.*such as B-PER"):
        list(bio_sentences([sentence], BioConversion()))


def test_types_may_hold_hyphens() -> None:
    assert to_bio([["S-geo-loc"]]).tags == (("B-geo-loc",),)
    assert spans(["B-geo-loc", "I-geo-loc"]) == [("geo-loc", 0, 2)]


def test_spans_are_strict() -> None:
    assert spans(["I-X", "B-X", "I-Y", "I-X", "O", "I-X"]) == [("X", 1, 2)]
    assert spans(["B-X", "B-X", "I-X"]) == [("X", 0, 1), ("X", 1, 3)]


def test_types_are_mapped() -> None:
    tags = ["B-DATE", "I-DATE", "B-GPE", "I-GPE", "O", "B-PER"]
    assert map_types(tags, {"DATE": "O", "GPE": "LOC"}) == ("O", "O", "B-LOC", "I-LOC", "O", "B-PER")
