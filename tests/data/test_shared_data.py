"""Real data reads without a fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperx.data.columns import read_columns
from hyperx.data.conllu import check_tree, read_conllu
from hyperx.data.labels import UD_RELATIONS, UPOS_TAGS, check_tags
from hyperx.data.spans import BioConversion, bio_sentences

MEGABYTE = 1 << 20


def files(shared: Path, pattern: str) -> list[Path]:
    found = sorted((shared / "data").glob(pattern))
    if not found:
        pytest.skip(f"no {pattern} in the folder shared/")
    # Small files have all the oddities of the large ones, and the test stays short.
    return [path for path in found if path.stat().st_size < MEGABYTE]


def test_treebanks(shared: Path) -> None:
    for path in files(shared, "ud/*/*.conllu"):
        for sentence in read_conllu(path):
            check_tree(sentence)
            check_tags(sentence, "upos", UPOS_TAGS)
            check_tags(sentence, "deprel", UD_RELATIONS)
            assert sentence.text


def test_part_of_speech_columns(shared: Path) -> None:
    for path in files(shared, "masakhapos/*/test.tsv"):
        for sentence in read_columns(path, "upos"):
            check_tags(sentence, "upos", UPOS_TAGS)


@pytest.mark.parametrize("pattern", ["masakhaner/*/dev.tsv", "wikiann/*/test.tsv", "uner/*/*-test.iob2"])
def test_entities(shared: Path, pattern: str) -> None:
    for path in files(shared, pattern):
        conversion = BioConversion()
        assert all(sentence.words for sentence in bio_sentences(read_columns(path, "ner"), conversion))
        assert conversion.scheme == "BIO"
