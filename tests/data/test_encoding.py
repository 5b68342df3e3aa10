"""Windows of words, texts and pairs: none too long, nothing dropped; and the cache of encoded splits."""

from __future__ import annotations

import itertools
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from hyperx.data.batch.store import CHUNK, EncodedSplit, cache_key, read_encoded, write_encoded
from hyperx.data.batch.windows import SubwordEncoder, Window, cover, cover_together
from hyperx.data.locate.places import DataPlaces
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError
from hyperx.plan.data import SplitLoader
from hyperx.tasks.parsing import DependencyParsing
from hyperx.tasks.tagging import PartOfSpeech
from tiny import tiny_split, tiny_tokenizer

exact = settings(derandomize=True, database=None, deadline=None, max_examples=100)
CLS, SEP, UNK = 2, 3, 1
WORDS = st.lists(st.text("abcdex. \u200b", min_size=1, max_size=30), min_size=1, max_size=40)


def unigram_tokenizer() -> PreTrainedTokenizerFast:
    """A Unigram tokenizer that marks the beginnings of words, with two special subwords behind the text."""
    pieces = [("[PAD]", 0.0), ("[UNK]", -9.0), ("</s>", 0.0), ("▁", -3.0), ("▁a", -2.0), ("a", -3.0), ("ba", -2.5)]
    backend = Tokenizer(models.Unigram(pieces, unk_id=1))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s> </s>", pair="$A </s> </s> $B </s>", special_tokens=[("</s>", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", eos_token="</s>")


def bert_tokenizer() -> PreTrainedTokenizerFast:
    """The tiny one with a pair's template, ``[CLS] A [SEP] B [SEP]``."""
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    return tokenizer


def word_level_tokenizer() -> PreTrainedTokenizerFast:
    """One subword a word."""
    backend = Tokenizer(models.WordLevel({"[UNK]": 1, "[PAD]": 0, "a": 4}, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]")


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Merged bytes, with a space before every word, an added subword, and post-processing in several steps."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    known = {piece: number for number, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", *letters, "ab", "Ġab"])}
    backend = Tokenizer(models.BPE(known, [("a", "b"), ("Ġ", "ab")], unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("\u200b", "")])
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    backend.add_tokens(["cde"])
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>")


TOKENIZERS = {
    "wordpiece": tiny_tokenizer(),
    "unigram": unigram_tokenizer(),
    "word level": word_level_tokenizer(),
    "bytes": byte_tokenizer(),
    "bert": bert_tokenizer(),
}


def is_space(tokenizer: PreTrainedTokenizerFast, piece: int) -> bool:
    return tokenizer.convert_ids_to_tokens(piece) in ("▁", "Ġ")


def literal_windows(tokenizer: PreTrainedTokenizerFast, words: Sequence[str], max_length: int) -> Iterator[Window]:
    """What the tokenizer makes of one whole sentence, cut by hand."""
    backend, whole = tokenizer.backend_tokenizer, len(words)
    encoding = backend.encode(words, is_pretokenized=True, add_special_tokens=False)
    pieces: list[list[int]] = [[] for _ in words]
    for piece, word in zip(encoding.ids, encoding.word_ids, strict=True):
        pieces[word].append(piece)
    pieces = [
        own[1:] if len(own) > 1 and is_space(tokenizer, own[0]) and word[0] not in "abcdex" else own
        for own, word in zip(pieces, words, strict=True)
    ]
    alone = backend.encode(["a"], is_pretokenized=True, add_special_tokens=False).ids
    around = backend.encode(["a"], is_pretokenized=True).ids
    begin = next(place for place in range(len(around)) if around[place : place + len(alone)] == alone)
    before, behind = around[:begin], around[begin + len(alone) :]
    room = max_length - len(around) + len(alone)
    ranges: Iterable[tuple[int, int, int, int]] = [(0, whole, 0, whole)]
    if sum(map(len, pieces)) > room or not all(pieces):
        pieces = [own[: room // 4] or [tokenizer.unk_token_id] for own in pieces]
        ranges = cover(list(map(len, pieces)), room, room // 4)
    for start, stop, own_start, own_stop in ranges:
        ids, numbers = list(before), [-1] * len(before)
        for word in range(start, stop):
            ids += pieces[word]
            space = len(pieces[word]) > 1 and is_space(tokenizer, pieces[word][0])
            numbers += [-1 if space and not place else word for place in range(len(pieces[word]))]
        numbers += [-1] * len(behind)
        yield Window(np.array([*ids, *behind], np.int32), np.array(numbers, np.int32), own_start, own_stop)


def owned(windows: Sequence[Window]) -> list[int]:
    return [int(word) for window in windows for word in window.words[window.first_subwords]]


def sentence(words: str, tags: str = "") -> Sentence:
    split = tuple(words.split())
    return Sentence(words=split, columns={"upos": tuple(tags.split() or ["NOUN"] * len(split))})


# Covering ---------------------------------------------------------------------------------------------------------


@exact
@given(st.data(), st.integers(4, 60))
def test_cover_partitions_the_words(data: st.DataObject, room: int) -> None:
    lengths = data.draw(st.lists(st.integers(1, room), min_size=1, max_size=80))
    overlap = data.draw(st.integers(0, room // 4))
    found = list(cover(lengths, room, overlap))
    everything = [word for _, _, own_start, own_stop in found for word in range(own_start, own_stop)]
    assert everything == list(range(len(lengths)))
    for start, stop, own_start, own_stop in found:
        assert start <= own_start <= own_stop <= stop
        assert sum(lengths[start:stop]) <= room


@exact
@given(st.integers(8, 60), st.integers(1, 300))
def test_cover_of_single_subwords_overlaps_by_a_quarter(room: int, words: int) -> None:
    overlap = room // 4
    found = list(cover([1] * words, room, overlap))
    assert len(found) == max(1, -(-(words - overlap) // (room - overlap)))
    for (_, stop, _, own_stop), (following, _, own_start, _) in itertools.pairwise(found):
        assert stop - following == overlap
        assert own_start == own_stop
        # A word in the overlap belongs to the window in which it stands farther from the end.
        assert abs((stop - own_stop) - (own_stop - following)) <= 1


# Windows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TOKENIZERS)
@exact
@given(words=WORDS, max_length=st.integers(10, 40))
def test_every_word_is_owned_once_and_windows_fit(name: str, words: list[str], max_length: int) -> None:
    (windows,) = SubwordEncoder(TOKENIZERS[name], max_length=max_length).windows([words])
    assert owned(windows) == list(range(len(words)))
    assert all(len(window.ids) == len(window.words) <= max_length for window in windows)


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(exact, max_examples=50)
@given(sentences=st.lists(st.one_of(WORDS, st.just([])), min_size=1, max_size=6), max_length=st.integers(10, 60))
def test_windows_are_those_of_whole_sentences(name: str, sentences: list[list[str]], max_length: int) -> None:
    """A tokenizer that reads words one by one, each once, says what it says of the sentence."""
    encoder = SubwordEncoder(TOKENIZERS[name], max_length=max_length)
    for _ in range(2):
        for windows, words in zip(encoder.windows(sentences), sentences, strict=True):
            wanted = literal_windows(TOKENIZERS[name], words, max_length)
            for window, literal in zip(windows, wanted, strict=True):
                assert_same_window(window, literal)


def test_the_words_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperx.data.batch.windows.REMEMBERED", 40)
    encoder = SubwordEncoder(tiny_tokenizer(), max_length=16)
    words = ["".join(letters) for letters in itertools.product("abc", repeat=4)]
    for word in words:
        ((window,),) = encoder.windows([[word, "e"]])
        (literal,) = literal_windows(tiny_tokenizer(), [word, "e"], 16)
        assert_same_window(window, literal)
        assert sum(map(len, encoder._known)) <= 40 + 4 + 1


@exact
@given(WORDS)
def test_short_sentence_is_what_the_tokenizer_makes_of_it(words: list[str]) -> None:
    words = [word.strip().replace("\u200b", "a") or "a" for word in words]
    tokenizer = tiny_tokenizer()
    (windows,) = SubwordEncoder(tokenizer, max_length=10_000).windows([words])
    encoding = tokenizer(words, is_split_into_words=True)
    assert windows[0].ids.tolist() == encoding["input_ids"]
    assert windows[0].words.tolist() == [-1 if word is None else word for word in encoding.word_ids()]
    assert (windows[0].start, windows[0].stop) == (0, len(words))


@pytest.mark.parametrize(
    ("name", "words", "pieces"),
    [
        ("unigram", ["ba", "a", "aba", "▁"], [["ba"], ["▁a"], ["▁a", "ba"], ["▁"]]),
        ("unigram", ["a ba", "ba ba"], [["▁a", "▁", "ba"], ["ba", "▁", "ba"]]),
        ("bytes", ["ab", "b", "cab"], [["Ġab"], ["b"], ["c", "ab"]]),
        ("wordpiece", ["a", "ab"], [["a"], ["a", "##b"]]),
    ],
)
def test_a_space_alone_is_of_no_word(name: str, words: list[str], pieces: list[list[str]]) -> None:
    tokenizer = TOKENIZERS[name]
    ((window,),) = SubwordEncoder(tokenizer, max_length=20).windows([words])
    tokens = np.array(tokenizer.convert_ids_to_tokens(window.ids.tolist()))
    assert [tokens[window.words == word].tolist() for word in range(len(words))] == pieces
    assert window.first_subwords.tolist() == [window.words.tolist().index(word) for word in range(len(words))]
    assert window.ids.tolist() == tokenizer(words, is_split_into_words=True).input_ids


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["ba", "éa", "жa", "அa", "ሀa", "한a", "1a", "\u0301a"], True),
        (["中a", "のa", "カa", "กa", "ລa", "ကa", "ខa", ".a", "，", "$", "☺"], False),
    ],
)
def test_a_space_is_left_out_where_text_has_none(words: list[str], kept: bool) -> None:
    pieces = [("[UNK]", -9.0), ("▁", -3.0), *((word, -2.0) for word in words)]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[UNK]", unk_token="[UNK]")
    encoder = SubwordEncoder(tokenizer, max_length=40)
    for number, (window,) in enumerate(encoder.windows([[word] for word in words])):
        assert window.ids.tolist() == ([1, number + 2] if kept else [number + 2])
        assert window.words.tolist() == ([-1, 0] if kept else [0])


def test_word_without_subwords_becomes_unknown() -> None:
    (windows,) = SubwordEncoder(tiny_tokenizer(), max_length=32).windows([["bad", "\u200b", "\u200b\u200b", "a"]])
    assert windows[0].ids.tolist()[2:4] == [UNK, UNK]
    assert owned(windows) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_word_of_100000_characters_and_sentence_of_20000_words(name: str) -> None:
    encoder = SubwordEncoder(TOKENIZERS[name], max_length=64)
    windows, many = encoder.windows([["a", "ab" * 50_000, "a"], ["a"] * 20_000])
    assert (owned(windows), owned(many)) == ([0, 1, 2], list(range(20_000)))
    assert all(len(window.ids) <= 64 for window in windows)
    assert encoder.shortened_words == (name in ("unigram", "bytes"))


def test_tokenizer_that_would_cut_and_pad_does_not() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.enable_truncation(5)
    tokenizer.backend_tokenizer.enable_padding(length=50)
    (windows,) = SubwordEncoder(tokenizer, max_length=40).windows([["a"] * 20])
    assert len(windows[0].ids) == 22


# Texts and pairs of texts -----------------------------------------------------------------------------------------

TEXTS = st.text("abcde xAé.\n", min_size=1, max_size=40).map(lambda text: f"{text}a")


def text_windows(name: str, *texts: str, max_length: int = 24) -> list[Window]:
    (found,) = SubwordEncoder(TOKENIZERS[name], max_length=max_length).pair_windows([(texts[0], (*texts, None)[1])])
    return found


@exact
@given(st.sampled_from(sorted(TOKENIZERS)), st.lists(TEXTS, min_size=1, max_size=2))
def test_what_fits_is_as_the_tokenizer_has_it(name: str, texts: list[str]) -> None:
    (window,) = text_windows(name, *texts, max_length=300)
    encoding = TOKENIZERS[name](*texts)
    assert window.ids.tolist() == encoding.input_ids
    assert window.words.tolist() == [-1 if text is None else text for text in encoding.sequence_ids(0)]
    assert window.inner_words.tolist() == window.words.tolist()


def test_a_text_of_which_nothing_is_left_is_unknown() -> None:
    (window,) = text_windows("bert", "\u200b", "a\u200b")
    assert window.ids.tolist() == [CLS, UNK, SEP, 4, SEP]
    assert window.words.tolist() == [-1, 0, -1, 1, -1]


def test_texts_and_pairs_may_be_mixed_and_are_numbered() -> None:
    texts = [("a", None), ("b", "c"), ("d e " * 30, None), ("x", "a")] * 300
    found = SubwordEncoder(TOKENIZERS["bert"], max_length=24).pair_windows(texts)
    alone = [text_windows("bert", *(text for text in pair if text is not None)) for pair in texts[:4]]
    assert len(found) == 1200
    for index, own in enumerate(found):
        assert [window.ids.tolist() for window in own] == [window.ids.tolist() for window in alone[index % 4]]


@exact
@given(st.lists(st.integers(1, 300), min_size=1, max_size=2), st.integers(12, 60))
def test_nothing_is_lost_and_no_window_is_too_long(lengths: list[int], room: int) -> None:
    found = list(cover_together(lengths, room))
    parts = [
        [range(length)[part] for part in own] for length, own in zip(lengths, zip(*found, strict=True), strict=True)
    ]
    for length, own in zip(lengths, parts, strict=True):
        assert (own[0].start, own[-1].stop) == (0, length)
        assert len({len(part) for part in own}) == 1, "the mean over the windows weighs them alike"
        for before, after in itertools.pairwise(own):
            assert before.start <= after.start
            assert before.stop - after.start >= len(before) // 4
    assert all(sum(len(own[window]) for own in parts) <= room for window in range(len(found)))
    assert (len(found) == 1) == (sum(lengths) <= room)


@pytest.mark.parametrize(
    ("lengths", "room", "expected"),
    [
        ([10], 10, [[(0, 10)]]),
        ([11], 10, [[(0, 10)], [(1, 11)]]),
        ([30], 12, [[(0, 12)], [(9, 21)], [(18, 30)]]),
        # The shorter takes half at most, and stands whole.
        ([5, 5], 10, [[(0, 5), (0, 5)]]),
        ([5, 6], 10, [[(0, 5), (0, 5)], [(0, 5), (1, 6)]]),
        ([2, 20], 14, [[(0, 2), (0, 12)], [(0, 2), (8, 20)]]),
        ([20, 2], 14, [[(0, 12), (0, 2)], [(8, 20), (0, 2)]]),
        # Both are longer than half: each has its half, and they advance together.
        ([8, 16], 16, [[(0, 8), (0, 8)], [(0, 8), (4, 12)], [(0, 8), (8, 16)]]),
        ([10, 20], 16, [[(0, 8), (0, 8)], [(1, 9), (6, 14)], [(2, 10), (12, 20)]]),
    ],
)
def test_windows_by_hand(lengths: list[int], room: int, expected: list[list[tuple[int, int]]]) -> None:
    found = [
        [range(length)[part] for length, part in zip(lengths, own, strict=True)]
        for own in cover_together(lengths, room)
    ]
    assert found == [[range(*part) for part in own] for own in expected]


@exact
@given(
    st.sampled_from(sorted(TOKENIZERS)), st.lists(st.text("abcdex ", min_size=1, max_size=150), min_size=1, max_size=2)
)
def test_every_subword_of_a_long_text_is_in_a_window(name: str, texts: list[str]) -> None:
    texts = [f"a{text}" for text in texts]
    found = text_windows(name, *texts)
    backend = TOKENIZERS[name].backend_tokenizer
    for number, text in enumerate(texts):
        whole = backend.encode(text, add_special_tokens=False).ids
        parts = [window.ids[window.words == number].tolist() for window in found]
        assert all(any(part == whole[i : i + len(part)] for i in range(len(whole))) for part in parts)
        assert parts[0] == whole[: len(parts[0])]
        assert parts[-1] == whole[-len(parts[-1]) :]
    short = TOKENIZERS[name](*["a"] * len(texts))
    special = [piece for piece, text in zip(short.input_ids, short.sequence_ids(0), strict=True) if text is None]
    assert [window.ids[window.words < 0].tolist() for window in found] == [special] * len(found)
    assert max(len(window.ids) for window in found) <= 24


# Splits -----------------------------------------------------------------------------------------------------------


def split_of(*sentences: Sentence, max_length: int = 16) -> EncodedSplit:
    with tempfile.TemporaryDirectory() as folder:
        return tiny_split(Path(folder) / "split", PartOfSpeech(), sentences, max_length=max_length)


def gold(split: EncodedSplit) -> list[list[str]]:
    return [found["upos"] for found in split.annotation()]


SENTENCES = [
    sentence("bad a", "ADJ NOUN"),
    sentence("abcde " * 9, "VERB " * 9),
    sentence("e", "_"),
    sentence("a b", "NOUN ADJ"),
]
SPLIT = split_of(*SENTENCES)


def assert_same_window(found: Window, wanted: Window) -> None:
    assert found.ids.tolist() == wanted.ids.tolist()
    assert found.words.tolist() == wanted.words.tolist()
    assert (found.start, found.stop) == (wanted.start, wanted.stop)


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 5])
def test_a_split_does_not_depend_on_how_many_are_written_together(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hyperx.data.batch.store.CHUNK", chunk)
    trees = [
        Sentence(words=("a", "b"), columns={"head": (2, 0), "deprel": ("det", "root")}),
        Sentence(words=(), columns={"head": (), "deprel": ()}),
        Sentence(words=("abcde",) * 9, columns={"head": (*range(9),), "deprel": ("root", *["conj"] * 8)}),
        Sentence(words=("e",), columns={"head": (0,), "deprel": ("root",)}),
    ]
    split = tiny_split(tmp_path / "split", DependencyParsing(), trees, max_length=16)
    encoder = SubwordEncoder(tiny_tokenizer(), max_length=16)
    by_tree = encoder.windows([tree.words for tree in trees])
    windows = list(itertools.chain.from_iterable(by_tree))
    assert split.ids.tolist() == [piece for window in windows for piece in window.ids]
    assert split.words.tolist() == [word for window in windows for word in window.words]
    assert split.offsets.tolist() == [0, *itertools.accumulate(len(window.ids) for window in windows)]
    assert split.sentences.tolist() == [number for number, own in enumerate(by_tree) for _ in own]
    assert split.starts.tolist() == [window.start for window in windows]
    assert split.stops.tolist() == [window.stop for window in windows]
    assert split.target_offsets.tolist() == [0, 2, 2, 11, 12]
    assert split.names == {"deprel": ("det", "root", "conj")}
    assert split.annotation() == [{name: list(column) for name, column in tree.columns.items()} for tree in trees]


def test_some_sentences() -> None:
    for chosen in ([0, 3], [1, 2], [], [2]):
        some, every = SPLIT.some(chosen), list(SPLIT.by_sentence())
        assert some.annotation() == [SPLIT.annotation()[index] for index in chosen]
        for own, expected in zip(some.by_sentence(), (every[index] for index in chosen), strict=True):
            for one, other in zip(own, expected, strict=True):
                assert one.ids.tolist() == other.ids.tolist()
                assert one.words.tolist() == other.words.tolist()
                assert (one.start, one.stop) == (other.start, other.stop)


def test_first_sentences() -> None:
    for count in range(4):
        first = SPLIT.first(count)
        assert gold(first) == gold(SPLIT)[:count]
        assert set(first.sentences.tolist()) == set(range(count))
        for index in range(len(first)):
            assert_same_window(first.window(index), SPLIT.window(index))
    assert all(SPLIT.first(count) is SPLIT for count in (None, 4, 100))


def test_shortened_words_are_told_once(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    loader = SplitLoader(DataPlaces({}), {}, tiny_tokenizer(), max_length=18, cache=tmp_path)
    with caplog.at_level(logging.WARNING):
        for words in ("a " * 20 + "abcabc abcabc", "a", "a " * 20 + "abcabc abcabc"):
            loader.cached(PartOfSpeech(), [words], lambda words=words: iter([sentence(words)]))
    assert [record.getMessage() for record in caplog.records] == [
        "2 words of more than 4 subwords are represented by their beginning"
    ]


# Cache ------------------------------------------------------------------------------------------------------------


def written(path: Path, sentences: Iterable[Sentence] = SENTENCES) -> Path:
    encoder = SubwordEncoder(tiny_tokenizer(), max_length=16)
    write_encoded(path, sentences, partial(PartOfSpeech().windows, encoder), ["upos"])
    return path


def test_a_split_is_one_file_that_the_library_reads(tmp_path: Path) -> None:
    path = written(tmp_path / "new" / "folder" / "split.safetensors")
    assert list(path.parent.iterdir()) == [path]
    tensors = load_file(path)
    assert tensors["ids"].tolist() == SPLIT.ids.tolist()
    assert tensors["stops"].tolist() == SPLIT.stops.tolist()
    assert tensors["targets.upos"].tolist() == SPLIT.targets["upos"].tolist()


def test_writing_holds_little_at_a_time(tmp_path: Path) -> None:
    """Sentences are read a chunk ahead of what is written, and mapped, not loaded, when they come back; also where
    labels are numbered. A mapping holds no descriptor of the file, of which a process may have a thousand."""
    read, encoded = 0, []
    encoder = SubwordEncoder(tiny_tokenizer(), max_length=16)

    def endless() -> Iterator[Sentence]:
        nonlocal read
        for read in range(1, 5 * CHUNK + 1):  # noqa: B007
            yield sentence("a b")

    def encode(sentences: Sequence[Sentence]) -> list[list[Window]]:
        encoded.append((read, len(sentences)))
        return PartOfSpeech().windows(encoder, sentences)

    write_encoded(tmp_path / "split", endless(), encode, ["upos"])
    assert encoded == [(CHUNK * number, CHUNK) for number in range(1, 6)]
    found = read_encoded(tmp_path / "split")
    assert found is not None
    assert found.sentence_count == 5 * CHUNK
    numbered = found.numbered(["VERB", "NOUN"], None)
    assert numbered.window(0).targets["upos"].tolist() == [1, 1]
    assert numbered.targets["upos"] is found.targets["upos"]
    if Path("/proc/self/maps").exists():
        assert str(tmp_path / "split") in Path("/proc/self/maps").read_text()
        assert str(tmp_path / "split") not in [os.path.realpath(one) for one in Path("/proc/self/fd").iterdir()]


def test_a_fault_leaves_nothing(tmp_path: Path) -> None:
    def faulty() -> Iterator[Sentence]:
        yield sentence("a b")
        raise DataError("no more")

    with pytest.raises(DataError, match="no more"):
        written(tmp_path / "split", faulty())
    assert list(tmp_path.iterdir()) == []


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "text": lambda path: path.write_text("not a cache"),
    "other tensors": lambda path: save_file({"ids": load_file(path)["ids"]}, path, metadata={"names": "{}"}),
    "no names": lambda path: save_file(load_file(path), path),
    "bad names": lambda path: save_file(load_file(path), path, metadata={"names": "[,"}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_cache_is_none(damage: str, tmp_path: Path) -> None:
    path = written(tmp_path / "split.safetensors")
    DAMAGE[damage](path)
    assert read_encoded(path) is None


def test_a_flipped_bit_anywhere_is_damage(tmp_path: Path) -> None:
    path = written(tmp_path / "split.safetensors")
    content = path.read_bytes()
    for place, byte in enumerate(content):
        path.write_bytes(content[:place] + bytes([byte ^ 1 << place % 8]) + content[place + 1 :])
        assert read_encoded(path) is None, place


def test_cache_key_follows_every_fact() -> None:
    facts = ["tokenizer", 256, {"ner": "x"}]
    assert cache_key(*facts) == cache_key(*facts)
    assert len({cache_key(*facts), cache_key(*facts[:2]), cache_key("tokenizer", 255, {"ner": "x"})}) == 3


def test_repeats_are_the_sentences_of_the_other_split_long_ones_too() -> None:
    long = "a b " * 20
    train = split_of(sentence("a b"), sentence(long), sentence("b"))
    test = split_of(sentence("b a"), sentence(long), sentence("a b a"), sentence("a b"))
    assert test.repeats(train) == {1, 3}
    assert train.repeats(test) == {0, 1}
