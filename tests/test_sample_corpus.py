"""The sample corpus: what the generator writes is what is committed, and every sentence of it is well formed."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from hyperx.data.read.conllu import check_tree
from hyperx.data.read.formats import read_file
from hyperx.data.read.labels import UD_RELATIONS, UPOS_TAGS
from hyperx.data.read.sentence import Sentence

CORPUS = Path(__file__).resolve().parents[1] / "examples" / "corpus"
SPLITS = ("train", "dev", "test")
LANGUAGES = sorted(path.stem for path in (CORPUS / "frames").glob("*.txt"))
TAGS = frozenset(UPOS_TAGS) - {"_"}
RELATIONS = frozenset(UD_RELATIONS) - {"_"}
ENTITIES = ("PER", "ORG", "LOC", "MISC")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """The generator, which is a script and not part of the package."""
    spec = importlib.util.spec_from_file_location("make_corpus", CORPUS / "make_corpus.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@cache
def sentences(language: str, split: str) -> list[Sentence]:
    return list(read_file(CORPUS / language / f"{split}.conllu", "ner"))


def surface_of(block: str) -> str:
    """The text of a block of CoNLL-U put together from its tokens: ranges in place of the words they cover."""
    text, covered = "", 0
    for row in block.splitlines():
        if row.startswith("#"):
            continue
        number, form, *_, misc = row.split("\t")
        first, _, last = number.partition("-")
        if int(first) <= covered:
            continue
        covered = int(last or first)
        text += form + ("" if "SpaceAfter=No" in misc.split("|") else " ")
    return text.strip()


def test_generator_writes_the_committed_files(generator: ModuleType) -> None:
    made = generator.make()
    assert {name: (CORPUS / name).read_bytes() for name in made} == {
        name: text.encode("utf-8") for name, text in made.items()
    }
    committed = {path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/*.conllu")}
    assert committed == set(made)


def test_size_and_scripts() -> None:
    sizes = {
        path: path.stat().st_size for path in CORPUS.rglob("*") if path.suffix in {".conllu", ".txt", ".py", ".md"}
    }
    assert sum(size for path, size in sizes.items() if path.suffix == ".conllu") < 1_000_000
    assert sum(sizes.values()) < 1024 * 1024
    scripts = {
        unicodedata.name(letter).split()[0]
        for language in LANGUAGES
        for sentence in sentences(language, "test")
        for word in sentence.words
        for letter in word
        if letter.isalpha()
    }
    assert len(LANGUAGES) >= 6
    assert scripts >= {"LATIN", "CYRILLIC", "GREEK", "DEVANAGARI"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_well_formed(language: str) -> None:
    for sentence in itertools.chain(*(sentences(language, split) for split in SPLITS)):
        check_tree(sentence)
        assert set(sentence.columns["upos"]) <= TAGS
        assert {str(relation).partition(":")[0] for relation in sentence.columns["deprel"]} <= RELATIONS
        labels = [str(label) for label in sentence.columns["ner"]]
        for before, label in zip(["O", *labels], labels, strict=False):
            assert label == "O" or label[2:] in ENTITIES
            assert label[:2] != "I-" or before[2:] == label[2:]


@pytest.mark.parametrize("language", LANGUAGES)
def test_text_is_the_tokens_put_together(language: str) -> None:
    for split in SPLITS:
        whole = (CORPUS / language / f"{split}.conllu").read_text(encoding="utf-8")
        for block in whole.strip().split("\n\n"):
            text = next(row.removeprefix("# text = ") for row in block.splitlines() if row.startswith("# text = "))
            assert surface_of(block) == text
            assert unicodedata.normalize("NFC", text) == text


@pytest.mark.parametrize("language", LANGUAGES)
def test_splits_are_apart_and_training_has_all(language: str, generator: ModuleType) -> None:
    """No sentence twice, no frame in two splits; of test few names are those of train."""
    texts = Counter(sentence.text for split in SPLITS for sentence in sentences(language, split))
    assert sum(texts.values()) >= 150
    assert [text for text, count in texts.items() if count > 1] == []
    frames = generator.read_language(CORPUS / "frames" / f"{language}.txt").frames
    assert max(Counter(frame.source for split in SPLITS for frame in frames[split]).values()) == 1
    train = sentences(language, "train")
    assert len(train) >= 100
    assert {tag for sentence in train for tag in sentence.columns["upos"]} == TAGS
    assert {str(label)[2:] for sentence in train for label in sentence.columns["ner"] if label != "O"} == set(ENTITIES)
    seen, names = (
        [
            word
            for sentence in sentences(language, split)
            for word, tag, label in zip(sentence.words, sentence.columns["upos"], sentence.columns["ner"], strict=True)
            if label != "O" and tag == "PROPN"
        ]
        for split in ("train", "test")
    )
    assert sum(word in set(seen) for word in names) < 0.1 * len(names)
