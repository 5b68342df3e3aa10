"""The sentences of a split, checked and converted as the column that a task reads requires."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from hyperx.data.read.base import LABEL, TEXT
from hyperx.data.read.conllu import check_tree
from hyperx.data.read.formats import TREE_COLUMNS
from hyperx.data.read.labels import NO_LABEL, UD_RELATIONS, UPOS_TAGS, check_tags, likely_cause
from hyperx.data.read.lines import OnFault
from hyperx.data.read.sentence import Sentence
from hyperx.data.read.spans import bio_tags, map_types
from hyperx.errors import DataError

log = logging.getLogger(__name__)

_HIDDEN = "_"  # in place of a word that may not be published


def prepared(
    sentences: Iterable[Sentence], column: str, label_map: Mapping[str, str], origin: str, on_fault: OnFault
) -> Iterator[Sentence]:
    """The sentences of one file or data set with the annotation of a column; without any if the column is ``text``.

    At the end ``on_fault`` is told of words that are withheld, and if no word has a label.
    """
    read = "deprel" if column in TREE_COLUMNS else column
    needed = ("head", read) if column in TREE_COLUMNS else () if column == TEXT else (column,)
    words = hidden = hidden_sentences = labels = missing = begun = 0
    for sentence in sentences:
        own = sentence.words.count(_HIDDEN)
        words, hidden = words + len(sentence.words), hidden + own
        hidden_sentences += own == len(sentence.words) > 1  # a text may have the word `_` here and there
        try:
            for name in needed:
                if name not in sentence.columns:
                    message = f"expected annotation in the column {name}, found {', '.join(sentence.columns) or 'none'}"
                    advice = "annotate the sentence or remove it"
                    raise DataError(f"{message}; {advice}", path=sentence.origin, line=sentence.line_of(0))
            if column not in (TEXT, LABEL, "ner"):
                labels += len(sentence.columns[read])
                missing += sentence.columns[read].count(NO_LABEL)
            if column == TEXT:
                if not sentence.raw_text.strip():  # data sets may have empty rows
                    continue
                sentence = replace(sentence, columns={}, text=sentence.raw_text, text_pair=None, comments=())
            elif column == "ner":
                tags, added = bio_tags(sentence)
                begun += added
                sentence = replace(sentence, columns={**sentence.columns, "ner": map_types(tags, label_map)})
            else:
                own_columns = _converted(sentence, column, label_map, on_fault)
                sentence = replace(sentence, columns={**sentence.columns, **own_columns})
        except DataError as fault:
            hint = likely_cause(sentence, column) if column == "ner" and column in sentence.columns else ""
            on_fault(DataError(fault.message + (hint and f".{hint}"), path=fault.path, line=fault.line))
        else:
            yield sentence
    if labels and missing == labels:
        found = f"expected labels in the column {read}, found {NO_LABEL} (none) for each of the {labels:,} words"
        on_fault(DataError(f"{found}; annotate them, or name other data", path=origin))
    advice = "is the text of this treebank withheld? Merge it in first, as the treebank's README tells"
    if hidden > words / 2:
        message = f"expected words, found {_HIDDEN} in place of {hidden:,} of {words:,}; {advice}"
        on_fault(DataError(message, path=origin))
    elif hidden_sentences:
        log.warning("%s: in %d sentences every word is %s; %s", origin, hidden_sentences, _HIDDEN, advice)
    if begun:
        log.warning("%s: %d spans began with I-, as in IOB1, and were given a B-", origin, begun)


def _converted(
    sentence: Sentence, column: str, label_map: Mapping[str, str], on_fault: OnFault
) -> dict[str, tuple[str, ...]]:
    """The columns of a sentence that are read as others; raises a DataError if it cannot be used."""
    if column == LABEL:
        label = str(sentence.columns[LABEL][0])
        return {LABEL: (label_map.get(label, label),)}
    if column in TREE_COLUMNS:
        check_tree(sentence)
        check_tags(sentence, "deprel", UD_RELATIONS, on_fault)
        return {"deprel": tuple(str(relation).partition(":")[0] for relation in sentence.columns["deprel"])}
    check_tags(sentence, column, UPOS_TAGS, on_fault)
    return {}
