"""The label sets of Universal Dependencies, and the check of a sentence's labels against a set."""

from __future__ import annotations

from collections.abc import Collection

from hyperx.data.read.lines import OnFault, stop
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError, did_you_mean

NO_LABEL = "_"
"""What stands for the tag or relation of a word without one, which is neither learnt nor scored."""

_TAGS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X _"
UPOS_TAGS = tuple(_TAGS.split())
"""The 17 universal part-of-speech tags in alphabetical order, and `_` for a word without one."""

_RELATIONS = """
    acl advcl advmod amod appos aux case cc ccomp clf compound conj cop csubj dep det discourse dislocated expl fixed
    flat goeswith iobj list mark nmod nsubj nummod obj obl orphan parataxis punct reparandum root vocative xcomp _
    """
UD_RELATIONS = tuple(_RELATIONS.split())
"""The 37 universal relations in alphabetical order, and `_` for a word without one; no subtypes."""


def unlabelled_words(pair: str, split: str, missing: int, words: int) -> str | None:
    """A message about the words of a split that have no label; None if all have one, or none, which is an error."""
    what = f"{missing:,} of the {words:,} words of its {split} data have no label ({NO_LABEL})"
    return f"{pair}: {what}: they are not learnt from and not scored" if 0 < missing < words else None


def likely_cause(sentence: Sentence, column: str) -> str:
    """A hint at what a file has wrong as a whole, given a sentence whose labels are none."""
    if sentence.line_of(0) == 1 and str(sentence.columns[column][0]).lower() in ("tag", "pos", "upos", "ner", "label"):
        return " Is the first line a header? Remove it."
    swapped = all(word in UPOS_TAGS or word == "O" or word[1:2] == "-" for word in sentence.words)
    return " Are the columns swapped? The word comes first." if swapped else ""


def check_tags(sentence: Sentence, column: str, known: Collection[str], on_fault: OnFault = stop) -> None:
    """Check that every value of a column is a known label; ``on_fault`` is called for every other one. A relation's
    subtype (`nsubj:pass`) is ignored."""
    for word, value in enumerate(sentence.columns[column]):
        label = str(value).partition(":")[0] if column == "deprel" else str(value)
        if label in known:
            continue
        # A split list keeps the message on one line, in the labels' own order.
        message = (
            f"expected one of {' '.join(known)} in column {column}, found {value!r} at {sentence.words[word][:40]!r}."
        )
        # Tags of another set are short, and resemble some of these by chance.
        hint = likely_cause(sentence, column) or did_you_mean(label, known, cutoff=0.7)
        on_fault(DataError(message + hint, path=sentence.origin, line=sentence.line_of(word)))
