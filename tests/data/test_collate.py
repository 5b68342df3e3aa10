"""Batches as tensors: ids, mask, and labels at the first subwords of owned words alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperx.data.batch.windows import SubwordEncoder, Subwords, pad_windows, padded
from hyperx.data.read.sentence import Sentence
from hyperx.pairs import TaskLanguagePair
from hyperx.tasks.masking import MaskedLanguageModelling
from hyperx.tasks.registry import make_tasks
from hyperx.training.collate import Collator
from tiny import tiny_split, tiny_tokenizer

PAIRS = [TaskLanguagePair("pos", "en"), TaskLanguagePair("ner", "tr")]
TASKS = make_tasks({"pos": "pos", "ner": "ner"})
LABELS = {"pos": ("NOUN", "VERB", "ADJ"), "ner": ("O", "B-PER", "I-PER")}
TAGGED = st.tuples(st.text("abcde", min_size=1, max_size=9), st.integers(0, 2))


def collator(folder: Path, sentences: list[list[list[tuple[str, int]]]], *, pad: int = 0) -> Collator:
    """A collator over sentences of words with indices of labels."""
    splits = [
        tiny_split(
            folder / task,
            TASKS[task],
            [
                Sentence(
                    words=tuple(word for word, _ in sentence),
                    columns={TASKS[task].column: tuple(LABELS[task][tag] for _, tag in sentence)},
                )
                for sentence in split
            ],
        )
        for task, split in zip(TASKS, sentences, strict=True)
    ]
    return Collator(pairs=PAIRS, splits=splits, tasks=TASKS, labels=LABELS, subwords=Subwords(pad=pad))


def test_batch_by_hand(tmp_path: Path) -> None:
    collate = collator(tmp_path, [[[("bad", 1), ("abc", 2)]], [[("e", 0), ("ab", 1), ("a", 2)]]], pad=9)
    batch = collate([(1, 0), (0, 0)])
    vocabulary = tiny_tokenizer().get_vocab()
    pieces = [["[CLS]", "e", "a", "##b", "a", "[SEP]"], ["[CLS]", "bad", "a", "##b", "##c", "[SEP]"]]
    assert batch.pairs == [PAIRS[1], PAIRS[0]]
    assert batch.input_ids.tolist() == [[vocabulary[piece] for piece in row] for row in pieces]
    assert {task: labels.tolist() for task, labels in batch.labels.items()} == {
        "ner": [[-100, 0, 1, -100, 2, -100]],
        "pos": [[-100, 1, 2, -100, -100, -100]],
    }
    assert batch.words.tolist() == [[-1, 0, 1, 1, 2, -1], [-1, 0, 1, 1, 1, -1]]
    longer = collate([(0, 0), (1, 0), (0, 0)])
    assert longer.attention_mask.equal(torch.ones(3, 6, dtype=torch.long))


def test_padding() -> None:
    rows = [np.array([1, 2, 3], dtype=np.int32), np.array([4], dtype=np.int32)]
    assert padded(rows, 7).tolist() == [[1, 2, 3], [4, 7, 7]]
    windows = SubwordEncoder(tiny_tokenizer(), max_length=20).windows([["a"], ["a", "a"]])
    ids, mask, words = pad_windows([window for own in windows for window in own], 9)
    assert words.tolist() == [[-1, 0, -1, -1], [-1, 0, 1, -1]]
    assert ids[0].tolist()[3:] == [9]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert ids.dtype == mask.dtype == torch.int64


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(st.lists(st.lists(TAGGED, min_size=1, max_size=25), min_size=1, max_size=5))
def test_every_word_is_labelled_once(sentences: list[list[tuple[str, int]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        collate = collator(Path(folder), [[[("a", 0)]], sentences])
    split = collate.splits[1]
    batch = collate([(1, index) for index in range(len(split))])
    found = batch.labels["ner"]
    assert batch.input_ids.shape == found.shape == batch.attention_mask.shape
    for row in range(len(split)):
        window = split.window(row)
        length = len(window.ids)
        assert batch.attention_mask[row].tolist() == [1] * length + [0] * (found.shape[1] - length)
        labels = found[row].tolist()
        first = dict(zip(window.first_subwords.tolist(), range(window.start, window.stop), strict=True))
        for position, label in enumerate(labels):
            assert label == (sentences[window.sentence][first[position]][1] if position in first else -100)
    # In the order of the windows the labels are the sentences' own: each word's once.
    assert found[found != -100].tolist() == [tag for sentence in sentences for _, tag in sentence]


def test_what_is_drawn_follows_from_the_seed_and_the_number_of_the_batch(tmp_path: Path) -> None:
    task = MaskedLanguageModelling()
    split = tiny_split(tmp_path / "text", task, [Sentence(words=(), text="abcde bad " * 4)], max_length=60)
    pair = TaskLanguagePair("mlm", "en")
    subwords = Subwords(pad=0, mask=59, vocabulary_size=14, special=frozenset(range(4)))

    def labels(seed: int, number: int) -> list[int]:
        collate = Collator(
            pairs=[pair], splits=[split], tasks={"mlm": task}, labels={"mlm": ()}, subwords=subwords, seed=seed
        )
        return collate([(0, 0)], number).labels["mlm"][0].tolist()

    drawn = {(seed, number): labels(seed, number) for seed in range(3) for number in range(3)}
    assert all(labels(*which) == found for which, found in drawn.items())
    assert len(set(map(tuple, drawn.values()))) == len(drawn)
