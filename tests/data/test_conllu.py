"""CoNLL-U files, good and bad."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperx.data.read.conllu import check_tree
from hyperx.data.read.formats import read_file
from hyperx.data.read.labels import UD_RELATIONS, UPOS_TAGS, check_tags
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError


def line(
    identifier: object, form: str, head: object = 0, *, upos: str = "X", deprel: str = "root", misc: str = "_"
) -> str:
    return "\t".join([str(identifier), form, "_", upos, "_", "_", str(head), deprel, "_", misc])


def read(folder: Path, *lines: str) -> list[Sentence]:
    (folder / "a.conllu").write_text("\n".join(lines) + "\n")
    return list(read_file(folder / "a.conllu", "upos"))


def test_words_columns_comments_and_places(tmp_path: Path) -> None:
    first, second = read(
        tmp_path,
        "# sent_id = 1",
        "# text = vámonos al #",
        line("1-2", "vámonos"),
        line(1, "vamos", upos="VERB"),
        line(2, "nos", 1, deprel="obj:x"),
        line("2.1", "e", "_"),
        line("3-4", "al", misc="SpaceAfter=No"),
        line(3, "a", 1),
        line(4, "el", 1),
        line(5, "#", 1),
        "",
        "",
        " ",
        line(1, "uno"),
    )
    assert first.words == ("vamos", "nos", "a", "el", "#")
    assert first.columns["upos"] == ("VERB", "X", "X", "X", "X")
    assert first.columns["head"] == (0, 1, 1, 1, 1)
    assert first.columns["deprel"][1] == "obj:x"
    assert "ner" not in first.columns
    assert first.text == "vámonos al #"
    assert first.comments == ("# sent_id = 1", "# text = vámonos al #")
    assert first.lines == (4, 5, 8, 9, 10)
    assert first.space_after == (False, True, False, False, True)
    assert first.origin.endswith("a.conllu")
    assert (second.words, second.lines, second.text) == (("uno",), (14,), "uno")


def test_sentences_without_text_or_tags_and_entities_in_misc(tmp_path: Path) -> None:
    no_tag = line(1, "c", upos="_")
    spelt, untagged, tagged, named = read(
        tmp_path,
        *(line("1-2", "du", misc="SpaceAfter=No"), line(1, "de"), line(2, "le", 1), line(3, "!", 1), ""),
        *(no_tag, line(2, "b", 1, upos="_"), "", no_tag, line(2, "d", 1), ""),
        *(line(1, "a", misc="SpaceAfter=No|NER=B-PER"), line(2, "b", 1, misc="NER=O|X=a=b")),
    )
    assert spelt.text == spelt.raw_text == "du!"
    assert "upos" not in untagged.columns
    assert tagged.columns["upos"] == ("_", "X")
    assert named.columns["ner"] == ("B-PER", "O")
    assert named.space_after == (False, True)


@pytest.mark.parametrize(
    ("lines", "place", "message"),
    [
        ([line(1, "a") + "\t_"], 1, "10 columns separated by tabs, as CoNLL-U has, found 11"),
        ([line(1, "a").replace("\t", " ")], 1, "10 columns separated by tabs, as CoNLL-U has, found 1"),
        (
            [line(1, "a"), "-DOCSTART- -X- O", line(2, "b", 1)],
            2,
            "10 columns separated by tabs, as CoNLL-U has, found 1",
        ),
        ([line(1, "a"), line(3, "b")], 2, "word 2 of the sentence, found id '3'; ids count up from 1, anew"),
        ([line(1, "a"), line(1, "b")], 2, "word 2 of the sentence, found id '1'"),
        ([line(1, "a"), line("3.1", "b")], 2, "word 2 of the sentence, found id '3.1'"),
        ([line("2-3", "a"), line(1, "b")], 1, "word 1 of the sentence, found id '2-3'"),
        ([line("01", "a")], 1, "word 1 of the sentence, found id '01'"),
        ([line("1-3", "abc"), line(1, "a"), line("2-3", "bc")], 3, "word 2 of the sentence, found id '2-3'"),
        ([line("1-0", "a"), line(1, "a")], 1, "word 1 of the sentence, found id '1-0'"),
        ([line("1-" + "9" * 5000, "a")], 1, "word 1 of the sentence, found id '1-999"),
        ([line("1-3", "ab"), line(1, "a"), line(2, "b")], 1, "3 words, as the range says, found 2"),
        ([line(1, "a", "x")], 1, "a head (a number from 0) in column 7, found 'x'"),
        ([line(1, "a"), line(2, "b", "_")], 2, "a head"),
        ([line(1, "a", -1)], 1, "a head"),
        ([line(1, "a"), "", "# only", "# comments", ""], 3, "a sentence, found comments without words"),
        ([line(1, "a", misc="NER=O"), line(2, "b", 1)], 2, "NER= in MISC"),
    ],
)
def test_broken_files_name_the_line(tmp_path: Path, lines: list[str], place: int, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, *lines)
    assert f"a.conllu:{place}: expected {message}" in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.conllu").mkdir()
    for path in (tmp_path / "none.conllu", tmp_path / "folder.conllu"):
        with pytest.raises(DataError, match="expected a readable file"):
            list(read_file(path, "upos"))


def tree(*heads: int) -> Sentence:
    words = tuple("w" for _ in heads)
    return Sentence(words, {"head": heads}, lines=tuple(range(11, 11 + len(heads))), origin="t.conllu")


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ((0, 3), "t.conllu:12: expected a head from 0 (the root) to 2 (the last word), found 3"),
        ((0, 0), "t.conllu:12: expected one root (a word with head 0), found 2 at the words 1, 2"),
        ((2, 1), "t.conllu:11: expected one root (a word with head 0), found none"),
        ((0, 3, 4, 2), "t.conllu:12: expected a tree, found a cycle through the words 2, 3, 4"),
        ((0, 2), "t.conllu:12: expected a tree, found a cycle through the words 2"),
    ],
)
def test_what_is_no_tree(heads: tuple[int, ...], message: str) -> None:
    with pytest.raises(DataError) as caught:
        check_tree(tree(*heads))
    assert message in str(caught.value)


def test_a_long_chain_is_a_tree() -> None:
    check_tree(tree(*range(20_000)))
    check_tree(tree(*range(2, 20_001), 0))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=6))
def test_trees_are_told_from_others(heads: list[int]) -> None:
    def reaches_root(word: int) -> bool:
        for _ in heads:
            word = heads[word - 1]
            if not 0 < word <= len(heads):
                return word == 0
        return False

    is_tree = heads.count(0) == 1 and all(reaches_root(word + 1) for word in range(len(heads)))
    if is_tree:
        check_tree(tree(*heads))
    else:
        with pytest.raises(DataError):
            check_tree(tree(*heads))


def test_labels_are_checked() -> None:
    assert len(UPOS_TAGS) == 18
    assert len(UD_RELATIONS) == 38
    sentence = Sentence(("a", "b"), {"upos": ("X", "NOUNS"), "deprel": ("root:x", "subj")}, lines=(5, 6), origin="f")
    with pytest.raises(DataError, match=r"f:6: expected one of ADJ .* found 'NOUNS' at 'b'\. Did you mean 'NOUN'\?"):
        check_tags(sentence, "upos", UPOS_TAGS)
    with pytest.raises(DataError, match=r"f:6: .* found 'subj' at 'b'\. Did you mean"):
        check_tags(sentence, "deprel", UD_RELATIONS)
