"""Span schemes become BIO and BIO becomes spans."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperx.data.read.sentence import Sentence
from hyperx.data.read.spans import bio_tags, map_types, spans
from hyperx.errors import DataError

Span = tuple[str, int, int]


def to_bio(tags: Sequence[str]) -> tuple[str, ...]:
    return bio_tags(Sentence(("w",) * len(tags), {"ner": tuple(tags)}))[0]


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


@given(sentences(), st.sampled_from(["BIIB", "BIES", "BILU", "BMES"]))
def test_every_scheme_gives_back_its_spans(given: tuple[int, list[Span]], letters: str) -> None:
    count, found = given
    assert spans(to_bio(written(count, found, letters))) == found
    assert spans(to_bio(written_iob1(count, found))) == found


@given(st.lists(st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y", "S-X", "E-X", "L-Y", "U-Y", "M-X"])))
def test_conversion_is_well_formed_and_stable(tags: list[str]) -> None:
    once = to_bio(tags)
    assert len(once) == len(tags)
    assert bio_tags(Sentence(("w",) * len(tags), {"ner": once})) == (once, 0)
    covered = sum(end - start for _, start, end in spans(once))
    assert covered == sum(tag != "O" for tag in tags)  # no word falls out of its span


def test_spans_without_a_b_are_counted() -> None:
    sentence = Sentence(("w",) * 7, {"ner": ("B-X", "O", "I-X", "I-X", "O", "B-X", "I-Y")})
    assert bio_tags(sentence) == (("B-X", "O", "B-X", "I-X", "O", "B-X", "B-Y"), 2)


@pytest.mark.parametrize("tag", ["PER", "B_PER", "B-", "B- ", "-PER", "PER-B", "o", "0", "", "b-PER", "_"])
def test_malformed_tags_have_a_place(tag: str) -> None:
    sentence = Sentence(("a", "b"), {"ner": ("O", tag)}, lines=(4, 5), origin="f.tsv")
    with pytest.raises(DataError, match=r"f\.tsv:5: expected O or a prefix.*such as B-PER"):
        bio_tags(sentence)


def test_types_may_hold_hyphens() -> None:
    assert to_bio(["S-geo-loc"]) == ("B-geo-loc",)
    assert spans(["B-geo-loc", "I-geo-loc"]) == [("geo-loc", 0, 2)]


def test_spans_are_strict() -> None:
    assert spans(["I-X", "B-X", "I-Y", "I-X", "O", "I-X"]) == [("X", 1, 2)]
    assert spans(["B-X", "B-X", "I-X"]) == [("X", 0, 1), ("X", 1, 3)]


def test_types_are_mapped() -> None:
    tags = ["B-DATE", "I-DATE", "B-GPE", "I-GPE", "O", "B-PER"]
    assert map_types(tags, {"DATE": "O", "GPE": "LOC"}) == ("O", "O", "B-LOC", "I-LOC", "O", "B-PER")
