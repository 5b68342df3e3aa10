"""The label sets of Universal Dependencies, and the check of a sentence's labels against a set."""

from __future__ import annotations

from collections.abc import Collection

from hyperx.data.lines import OnFault, stop
from hyperx.data.sentence import Sentence
from hyperx.errors import DataError, did_you_mean

_TAGS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X _"
UPOS_TAGS = tuple(_TAGS.split())
"""The 17 universal part-of-speech tags in alphabetical order, and `_` for a word without one."""

_RELATIONS = """
    acl advcl advmod amod appos aux case cc ccomp clf compound conj cop csubj dep det discourse dislocated expl fixed
    flat goeswith iobj list mark nmod nsubj nummod obj obl orphan parataxis punct reparandum root vocative xcomp _
    """
UD_RELATIONS = tuple(_RELATIONS.split())
"""The 37 universal relations in alphabetical order, and `_` for a word without one; no subtypes."""


def check_tags(sentence: Sentence, column: str, known: Collection[str], on_fault: OnFault = stop) -> None:
    """Check that every value of a column is a known label. A relation's subtype (`nsubj:pass`) is ignored.

    Args:
        sentence: the sentence.
        column: the column to check.
        known: the known labels.
        on_fault: called for every value that is not known, with its file and line; by default it raises the DataError.
    """
    for word, value in enumerate(sentence.columns[column]):
        label = str(value).partition(":")[0] if column == "deprel" else value
        if label in known:
            continue
        # A split list keeps the message on one line, in the labels' own order.
        message = (
            f"expected one of {' '.join(known)} in column {column}, found {value!r} at {sentence.words[word][:40]!r}."
        )
        hint = did_you_mean(str(value), known)
        on_fault(DataError(message + hint, path=sentence.source, line=sentence.line_of(word)))
