"""The sample corpus: what the generator writes is what is committed, and every sentence of it is well formed."""

from __future__ import annotations

import importlib.util
import sys
import unicodedata
from collections import Counter
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


def blocks(language: str, split: str) -> list[str]:
    return (CORPUS / language / f"{split}.conllu").read_text(encoding="utf-8").strip().split("\n\n")


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
def test_no_sentence_twice_and_enough_of_them(language: str) -> None:
    texts = Counter(sentence.text for split in SPLITS for sentence in sentences(language, split))
    assert sum(texts.values()) >= 150
    assert [text for text, count in texts.items() if count > 1] == []
    assert len(sentences(language, "train")) >= 100


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_well_formed(language: str, split: str) -> None:
    for sentence in sentences(language, split):
        check_tree(sentence)
        assert set(sentence.columns["upos"]) <= TAGS
        assert {str(relation).partition(":")[0] for relation in sentence.columns["deprel"]} <= RELATIONS
        labels = [str(label) for label in sentence.columns["ner"]]
        for before, label in zip(["O", *labels], labels, strict=False):
            assert label == "O" or label[2:] in ENTITIES
            assert label[:2] != "I-" or before[2:] == label[2:]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_text_is_the_tokens_put_together(language: str, split: str) -> None:
    for block in blocks(language, split):
        text = next(row.removeprefix("# text = ") for row in block.splitlines() if row.startswith("# text = "))
        assert surface_of(block) == text
        assert unicodedata.normalize("NFC", text) == text


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_tags_and_entities_occur(language: str) -> None:
    train = sentences(language, "train")
    assert {tag for sentence in train for tag in sentence.columns["upos"]} == TAGS
    labels = {str(label)[2:] for sentence in train for label in sentence.columns["ner"] if label != "O"}
    assert labels == set(ENTITIES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_frame_in_two_splits(language: str, generator: ModuleType) -> None:
    frames = generator.read_language(CORPUS / "frames" / f"{language}.txt").frames
    lines = Counter(frame.source for split in SPLITS for frame in frames[split])
    assert max(lines.values()) == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_of_test_are_mostly_new(language: str) -> None:
    """Fewer than a tenth of the entity words of the test split occur inside an entity of the training split."""
    words = {
        split: [
            word
            for sentence in sentences(language, split)
            for word, tag, label in zip(sentence.words, sentence.columns["upos"], sentence.columns["ner"], strict=True)
            if label != "O" and tag == "PROPN"
        ]
        for split in ("train", "test")
    }
    seen = set(words["train"])
    assert sum(word in seen for word in words["test"]) < 0.1 * len(words["test"])
