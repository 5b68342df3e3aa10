"""Real data reads without a fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperx.data.locate.spec import DataSpec
from hyperx.data.read.conllu import check_tree
from hyperx.data.read.formats import read_file
from hyperx.data.read.labels import UD_RELATIONS, UPOS_TAGS, check_tags
from hyperx.data.read.spans import bio_tags
from hyperx.languages import known_languages
from hyperx.pairs import TaskLanguagePair


def files(shared: Path, pattern: str) -> list[Path]:
    """The smallest of each folder: it has the oddities of the others, and the test stays short."""
    found = sorted((shared / "data").glob(pattern), key=lambda path: -path.stat().st_size)
    if not found:
        pytest.skip(f"no {pattern} in the folder shared/")
    return [path for path in {path.parent: path for path in found}.values() if path.stat().st_size < 1 << 19]


def test_treebanks(shared: Path) -> None:
    for path in files(shared, "ud/*/*.conllu"):
        for sentence in read_file(path, "head"):
            check_tree(sentence)
            check_tags(sentence, "upos", UPOS_TAGS)
            check_tags(sentence, "deprel", UD_RELATIONS)
            assert sentence.text


def test_part_of_speech_columns(shared: Path) -> None:
    for path in files(shared, "masakhapos/*/test.tsv"):
        for sentence in read_file(path, "upos"):
            check_tags(sentence, "upos", UPOS_TAGS)


@pytest.mark.parametrize("pattern", ["masakhaner/*/dev.tsv", "wikiann/*/test.tsv", "uner/*/*-test.iob2"])
def test_entities(shared: Path, pattern: str) -> None:
    for path in files(shared, pattern):
        for sentence in read_file(path, "ner"):
            tags, _ = bio_tags(sentence)
            assert [tag[1:] for tag in tags] == [str(tag)[1:] for tag in sentence.columns["ner"]]  # B- for I- at most


def test_a_folder_of_a_release_is_found_by_language(shared: Path) -> None:
    here = {path.name for path in (shared / "data" / "ud").glob("UD_*")}
    if not here:
        pytest.skip("no ud/UD_* in the folder shared/")
    for code, language in known_languages().items():
        for treebank in language.treebanks:
            if treebank.folder in here:
                pair = TaskLanguagePair("pos", code)
                chosen = [f"{code}={treebank.folder}"]
                spec = DataSpec(shared / "data" / "ud", {"pos": "upos"}, ["pos"], treebanks=chosen)
                sources = spec.located([pair])
                assert sources.describe(pair, "test").endswith(f"{treebank.folder}/{treebank.name}-ud-test.conllu")
                # Some splits here were cut from others, so what a release has is not the measure.
                folder = shared / "data" / "ud" / treebank.folder
                for split in ("train", "dev", "test"):
                    assert sources.has(pair, split) == bool([*folder.glob(f"*-ud-{split}*.conllu")])
