"""Batches as tensors: ids, mask, and labels at the first subwords of owned words alone."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperx.data.collate import Collator, pad, pad_windows
from hyperx.data.encoding import SubwordEncoder, encode
from hyperx.data.sentence import Sentence
from hyperx.pairs import TaskLanguagePair
from tiny import tiny_tokenizer

PAIRS = [TaskLanguagePair("pos", "en"), TaskLanguagePair("ner", "tr")]
LABELS = [("NOUN", "VERB", "ADJ"), ("O", "B-PER", "I-PER")]
TAGGED = st.tuples(st.text("abcde", min_size=1, max_size=9), st.integers(0, 2))


def collator(sentences: list[list[list[tuple[str, int]]]], *, max_length: int = 20, pad_id: int = 0) -> Collator:
    """A collator over sentences of words with indices of labels."""
    encoder = SubwordEncoder(tiny_tokenizer(), max_length=max_length)
    splits = [
        encode(
            [
                Sentence(
                    words=tuple(word for word, _ in sentence), columns={"tag": tuple(names[tag] for _, tag in sentence)}
                )
                for sentence in split
            ],
            "tag",
            encoder,
        )
        for split, names in zip(sentences, LABELS, strict=True)
    ]
    return Collator(pairs=PAIRS, splits=splits, labels=LABELS, pad_id=pad_id)


def test_batch_by_hand() -> None:
    collate = collator([[[("bad", 1), ("abc", 2)]], [[("e", 0), ("ab", 1), ("a", 2)]]], pad_id=9)
    batch = collate([(1, 0), (0, 0)])
    vocabulary = tiny_tokenizer().get_vocab()
    pieces = [["[CLS]", "e", "a", "##b", "a", "[SEP]"], ["[CLS]", "bad", "a", "##b", "##c", "[SEP]"]]
    assert batch.pairs == [PAIRS[1], PAIRS[0]]
    assert batch.input_ids.tolist() == [[vocabulary[piece] for piece in row] for row in pieces]
    assert batch.labels.tolist() == [[-100, 0, 1, -100, 2, -100], [-100, 1, 2, -100, -100, -100]]
    longer = collate([(0, 0), (1, 0), (0, 0)])
    assert longer.attention_mask.equal(torch.ones(3, 6, dtype=torch.long))


def test_padding() -> None:
    rows = [np.array([1, 2, 3], dtype=np.int32), np.array([4], dtype=np.int32)]
    assert pad(rows, 7).tolist() == [[1, 2, 3], [4, 7, 7]]
    windows = next(SubwordEncoder(tiny_tokenizer(), max_length=20).windows([["a"]]))
    longer = next(SubwordEncoder(tiny_tokenizer(), max_length=20).windows([["a", "a"]]))
    ids, mask = pad_windows([*windows, *longer], 9)
    assert ids[0].tolist()[3:] == [9]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert ids.dtype == mask.dtype == torch.int64


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(st.lists(st.lists(TAGGED, min_size=1, max_size=25), min_size=1, max_size=5))
def test_every_word_is_labelled_once(sentences: list[list[tuple[str, int]]]) -> None:
    collate = collator([[[("a", 0)]], sentences])
    split = collate.splits[1]
    batch = collate([(1, index) for index in range(len(split))])
    assert batch.input_ids.shape == batch.labels.shape == batch.attention_mask.shape
    for row in range(len(split)):
        window = split.window(row)
        length = len(window.ids)
        assert batch.attention_mask[row].tolist() == [1] * length + [0] * (batch.labels.shape[1] - length)
        labels = batch.labels[row].tolist()
        assert labels[length:] == [-100] * (len(labels) - length)
        for position, word in enumerate(window.words.tolist()):
            assert labels[position] == (-100 if word < 0 else sentences[window.sentence][word][1])
    # In the order of the windows the labels are the sentences' own: each word's once.
    assert batch.labels[batch.labels != -100].tolist() == [tag for sentence in sentences for _, tag in sentence]
