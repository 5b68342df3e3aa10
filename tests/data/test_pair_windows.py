"""Windows of texts and pairs: what the tokenizer gives where it fits; else they overlap and nothing is lost."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from hyperx.data.batch.windows import SubwordEncoder, Window, cover_together
from tiny import tiny_tokenizer

exact = settings(derandomize=True, database=None, deadline=None, max_examples=100)
PIECES = ["[PAD]", "[UNK]", "<s>", "</s>", *"abcdex", *(f"##{letter}" for letter in "abcdex"), "bad"]
BEFORE, BEHIND = PIECES.index("<s>"), PIECES.index("</s>")


def finished(backend: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", eos_token="</s>")


def word_pieces() -> Tokenizer:
    backend = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace("\u200b", "")])
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return backend


def bert() -> PreTrainedTokenizerFast:
    """``[CLS] A [SEP] B [SEP]``."""
    backend = word_pieces()
    backend.post_processor = processors.BertProcessing(("</s>", BEHIND), ("<s>", BEFORE))
    return finished(backend)


def roberta() -> PreTrainedTokenizerFast:
    """Bytes, and ``<s> A </s></s> B </s>``."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", "<s>", "</s>", *alphabet, "ab"])}
    backend = Tokenizer(models.BPE(vocabulary, [("a", "b")], unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.RobertaProcessing(("</s>", 3), ("<s>", 2))
    return finished(backend)


def sentence_piece(*, single: str, pair: str) -> PreTrainedTokenizerFast:
    """Unigrams that mark the beginnings of words, as XLM-R and T5 have them."""
    pieces = [("[PAD]", 0.0), ("[UNK]", -9.0), ("<s>", 0.0), ("</s>", 0.0), ("▁", -3.0), ("▁a", -2.0), ("a", -3.0)]
    backend = Tokenizer(models.Unigram([*pieces, ("ba", -2.5)], unk_id=1))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    special = [("<s>", 2), ("</s>", 3)]
    backend.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=special)
    return finished(backend)


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "bert": bert,
    "roberta": roberta,
    "xlm-r": lambda: sentence_piece(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>"),
    "t5": lambda: sentence_piece(single="$A </s>", pair="$A </s> $B </s>"),
    "without a pair's template": tiny_tokenizer,
    "without a template": lambda: finished(word_pieces()),
}
MADE = {name: make() for name, make in TOKENIZERS.items()}
TEXTS = st.text("abcde xAé.\n", min_size=1, max_size=40).map(lambda text: f"{text}a")


def windows(name: str, *texts: str, max_length: int = 24) -> list[Window]:
    (found,) = SubwordEncoder(MADE[name], max_length=max_length).pair_windows([(texts[0], (*texts, None)[1])])
    return found


# What fits ------------------------------------------------------------------------------------------------------------


@exact
@given(st.sampled_from(sorted(MADE)), st.lists(TEXTS, min_size=1, max_size=2))
def test_what_fits_is_as_the_tokenizer_has_it(name: str, texts: list[str]) -> None:
    (window,) = windows(name, *texts, max_length=300)
    encoding = MADE[name](*texts)
    assert window.ids.tolist() == encoding.input_ids
    assert window.words.tolist() == [-1 if text is None else text for text in encoding.sequence_ids(0)]
    assert window.inner_words.tolist() == window.words.tolist()


def test_a_text_of_which_nothing_is_left_is_unknown() -> None:
    (window,) = windows("bert", "\u200b", "a\u200b")
    assert window.ids.tolist() == [BEFORE, 1, BEHIND, PIECES.index("a"), BEHIND]
    assert window.words.tolist() == [-1, 0, -1, 1, -1]


def test_texts_and_pairs_may_be_mixed_and_are_numbered() -> None:
    texts = [("a", None), ("b", "c"), ("d e " * 30, None), ("x", "a")] * 300
    found = SubwordEncoder(MADE["bert"], max_length=24).pair_windows(texts)
    alone = [windows("bert", *(text for text in pair if text is not None)) for pair in texts[:4]]
    assert len(found) == 1200
    for index, own in enumerate(found):
        assert [window.ids.tolist() for window in own] == [window.ids.tolist() for window in alone[index % 4]]


# What does not --------------------------------------------------------------------------------------------------------


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
@given(st.sampled_from(sorted(MADE)), st.lists(st.text("abcdex ", min_size=1, max_size=150), min_size=1, max_size=2))
def test_every_subword_of_a_long_text_is_in_a_window(name: str, texts: list[str]) -> None:
    texts = [f"a{text}" for text in texts]
    found = windows(name, *texts)
    backend = MADE[name].backend_tokenizer
    for number, text in enumerate(texts):
        whole = backend.encode(text, add_special_tokens=False).ids
        parts = [window.ids[window.words == number].tolist() for window in found]
        assert all(any(part == whole[i : i + len(part)] for i in range(len(whole))) for part in parts)
        assert parts[0] == whole[: len(parts[0])]
        assert parts[-1] == whole[-len(parts[-1]) :]
    short = MADE[name](*["a"] * len(texts))
    special = [piece for piece, text in zip(short.input_ids, short.sequence_ids(0), strict=True) if text is None]
    assert [window.ids[window.words < 0].tolist() for window in found] == [special] * len(found)
    assert max(len(window.ids) for window in found) <= 24
