"""The sentences of a split, checked and converted as the column that a task reads requires."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from hyperx.data.read.base import LABEL, TEXT
from hyperx.data.read.conllu import check_tree
from hyperx.data.read.formats import TREE_COLUMNS
from hyperx.data.read.labels import UD_RELATIONS, UPOS_TAGS, check_tags, labelled
from hyperx.data.read.lines import OnFault
from hyperx.data.read.sentence import Sentence
from hyperx.data.read.spans import BioConversion, bio_sentences, map_types
from hyperx.errors import DataError

log = logging.getLogger(__name__)

_HIDDEN = "_"  # in place of a word that may not be published


def prepared(
    sentences: Iterable[Sentence], column: str, label_map: Mapping[str, str], origin: str, on_fault: OnFault
) -> Iterator[Sentence]:
    """The sentences of one file or data set with the annotation of a column; without any if the column is ``text``."""
    sentences = _visible(sentences, origin, on_fault)
    if column == TEXT:
        for sentence in sentences:
            if sentence.raw_text.strip():  # data sets may have empty rows
                yield replace(sentence, columns={}, text=sentence.raw_text, text_pair=None, comments=())
    elif column == LABEL:
        for sentence in _with_columns(sentences, [LABEL], on_fault):
            label = str(sentence.columns[LABEL][0])
            yield replace(sentence, columns={LABEL: (label_map.get(label, label),)})
    elif column == "ner":
        yield from _entities(_with_columns(sentences, ["ner"], on_fault), label_map, origin, on_fault)
    elif column in TREE_COLUMNS:
        for sentence in labelled(_with_columns(sentences, ["head", "deprel"], on_fault), "deprel", origin, on_fault):
            try:
                check_tree(sentence)
            except DataError as fault:
                on_fault(fault)
                continue
            check_tags(sentence, "deprel", UD_RELATIONS, on_fault)
            universal = tuple(str(relation).partition(":")[0] for relation in sentence.columns["deprel"])
            yield replace(sentence, columns={**sentence.columns, "deprel": universal})
    else:
        for sentence in labelled(_with_columns(sentences, [column], on_fault), column, origin, on_fault):
            check_tags(sentence, column, UPOS_TAGS, on_fault)
            yield sentence


def _visible(sentences: Iterable[Sentence], origin: str, on_fault: OnFault) -> Iterator[Sentence]:
    """Report a treebank whose text is withheld, where every word is `_`."""
    words = hidden = hidden_sentences = 0
    for sentence in sentences:
        words, own = words + len(sentence.words), sentence.words.count(_HIDDEN)
        # A text may have the word `_` here and there.
        hidden, hidden_sentences = hidden + own, hidden_sentences + (own == len(sentence.words) > 1)
        yield sentence
    advice = "is the text of this treebank withheld? Merge it in first, as the treebank's README tells"
    if hidden > words / 2:
        message = f"expected words, found {_HIDDEN} in place of {hidden:,} of {words:,}; {advice}"
        on_fault(DataError(message, path=origin))
    elif hidden_sentences:
        log.warning("%s: in %d sentences every word is %s; %s", origin, hidden_sentences, _HIDDEN, advice)


def _with_columns(sentences: Iterable[Sentence], columns: Sequence[str], on_fault: OnFault) -> Iterator[Sentence]:
    for sentence in sentences:
        if missing := [column for column in columns if column not in sentence.columns]:
            found = ", ".join(sentence.columns) or "none"
            expected = f"expected annotation in the column {missing[0]}, found {found}"
            message = f"{expected}; annotate the sentence or remove it"
            on_fault(DataError(message, path=sentence.origin, line=sentence.line_of(0)))
        else:
            yield sentence


def _entities(
    sentences: Iterable[Sentence], label_map: Mapping[str, str], origin: str, on_fault: OnFault
) -> Iterator[Sentence]:
    conversion = BioConversion()
    for sentence in bio_sentences(sentences, conversion, "ner", on_fault):
        if label_map:
            tags = map_types([str(tag) for tag in sentence.columns["ner"]], label_map)
            sentence = replace(sentence, columns={**sentence.columns, "ner": tags})
        yield sentence
    if conversion.repairs:
        log.warning("%s: %d spans began with I- and were given a B-", origin, conversion.repairs)
    if conversion.scheme != "BIO":
        log.info("%s: tags converted from %s to BIO", origin, conversion.scheme)
