"""Rows of named values, such as JSON objects and those of a data set, to sentences: words with labels, or texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hyperx.data.read.base import LABEL, TEXT, Request
from hyperx.data.read.lines import check_word, stands_on_a_line
from hyperx.data.read.segmentation import check_whole, is_visible
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError, counted, did_you_mean

NAMES: dict[str, tuple[str, ...]] = {
    "words": ("words", "tokens"),
    "upos": ("upos", "pos", "upos_tags", "pos_tags", "tags"),
    "head": ("head",),
    "deprel": ("deprel",),
    "ner": ("ner", "ner_tags", "tags"),
    "text": ("text", "sentence", "sentence1", "premise", "review"),
    "text_pair": ("text_pair", "sentence2", "hypothesis"),
    LABEL: ("label", "class", "category"),
}
"""Our names of columns -> those in files and data sets, whatever their case."""

_MULTIWORD = (None, "None")  # the head of a row that is not a word
_NO_HEAD = (*_MULTIWORD, "_")


def known_names(column: str) -> tuple[str, ...]:
    """Our names that a user may give others for, in data that is read for a column."""
    texts = ("text", "text_pair", LABEL)
    return texts if column == LABEL else tuple(name for name in NAMES if name == "text" or name not in texts)


def class_names(features: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """The names of class labels, or of lists of them, by the columns of a data set."""
    named = {name: getattr(getattr(kind, "feature", kind), "names", None) for name, kind in features.items()}
    return {name: names for name, names in named.items() if names}


def read_rows(rows: Iterable[Mapping[str, Any]], reader: RowReader) -> Iterator[Sentence]:
    """Stream the sentences of rows in memory; faults give the number of the row, counted from 1."""
    for number, row in enumerate(rows, start=1):
        try:
            yield reader.sentence(row)
        except DataError as fault:
            reader.request.on_fault(DataError(f"row {number}: {fault.message}", path=reader.request.origin))


@dataclass
class RowReader:
    """Converts rows to sentences. Its DataErrors have no place.

    Args:
        request: what is asked. If it names no column, words, texts or pairs of texts are read, and of rows that have
            both words and a text what tasks need.
        labels: by name of the rows the names of labels that are numbers.
        checked: whether words that cannot be seen are faults.
        in_file: whether the rows stand in a file of ours: its names of columns are fixed, and ``head`` is not read.
    """

    request: Request
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    checked: bool = True
    in_file: bool = False
    _keys: Sequence[str] | None = field(default=None, init=False)
    _names: Mapping[str, str] = field(default_factory=dict, init=False)

    def names(self, theirs: Sequence[str]) -> dict[str, str]:
        """The rows' name for each of our columns that is read, given all their names; raises a DataError if there is
        none for one that rows must have."""
        needed, optional = {
            LABEL: (("text", LABEL), ("text_pair",)),
            "head": (("words", "head", "deprel"), ()),
            TEXT: ((), ("text", "words")),
            None: ((), ("text", "words", "text_pair")),
        }.get(self.request.column, (("words", str(self.request.column)), () if self.in_file else ("head",)))
        by_lower = {name.strip().lower(): name for name in theirs}
        listed = ", ".join(name[:40] for name in theirs[:20]) or "none"
        for ours, named in self.request.names.items():
            if named not in theirs:
                hint = did_you_mean(named, theirs)
                raise DataError(f"expected the column {named!r} for {ours}, found {listed}.{hint}")
        names: dict[str, str] = {}
        for ours in (*needed, *optional):
            known = NAMES.get(ours, (ours,))
            own = self.request.names.get(ours) or next((by_lower[name] for name in known if name in by_lower), None)
            if own:
                names[ours] = own
            elif ours in needed:
                advice = f"name it under columns in the data table, such as {{{ours}: NAME}}"
                if self.in_file and self.request.column != LABEL:
                    advice = "add it to the row, or rename it"
                raise DataError(f"expected a column named {' or '.join(known)}, found {listed}; {advice}")
        if not needed and names.keys() <= {"text_pair"}:
            expected = f"expected a column named {' or '.join(NAMES['text'])}, or words or tokens, which list words"
            raise DataError(f"{expected}, found {listed}")
        return dict(list(names.items())[:1]) if self.request.column == TEXT else names

    def sentence(self, row: Mapping[str, Any], line: int | None = None) -> Sentence:
        """One row, given its line number in a file, as a sentence; raises a DataError if a value is missing or of the
        wrong kind."""
        if tuple(row) != self._keys:
            self._keys, self._names = tuple(row), self.names(tuple(row))
        values = {ours: row[theirs] for ours, theirs in self._names.items()}
        words, *others = [row[key] for key in NAMES["words"] if isinstance(row.get(key), list)] or [None]
        if others and others != [words]:
            raise DataError("expected words or tokens, found both, and they differ; leave one of them out")
        without_words = self.request.column is None and (words is None or "words" not in self.request.reads)
        if "words" in values and not (without_words and values.get("text")):
            if words is not None and "words" not in self.request.names:
                values["words"] = words
            return self._of_words(row, values, line)
        pair = values.get("text_pair")
        return Sentence(
            words=(),
            columns={LABEL: (self._label(LABEL, values[LABEL]),)} if LABEL in values else {},
            lines=() if line is None else (line,),
            origin=self.request.origin,
            text=_text(values["text"], self._names["text"], may_lack=self.request.column == TEXT),
            text_pair=None if pair is None else _text(pair, self._names["text_pair"]),
        )

    def _of_words(self, row: Mapping[str, Any], values: Mapping[str, Any], line: int | None) -> Sentence:
        given = in_order(values["words"])
        if not given:
            raise DataError(f"expected a list of words in {self._names['words']}, found {values['words']!r:.40}")
        words = checked_words(given) if self.checked else tuple(map(str, given))
        # Beside words, a text of another name may be anything.
        names = {ours: self.request.names.get(ours, ours) for ours in ("text", "text_pair")}
        text, pair = (None if row.get(name) in (None, "") else _text(row[name], name) for name in names.values())
        tags: dict[str, tuple[Any, ...]] = {}
        for ours in (ours for ours in values if ours not in ("words", *names)):
            own = in_order(values[ours])
            if own is None or len(own) != len(words):
                found = f"{values[ours]!r:.40}" if own is None else len(own)
                raise DataError(f"expected {counted(len(words), 'value')} of {ours}, one a word, found {found}")
            tags[ours] = own
        # Inline rows of multiword tokens, as hub data sets have them, have no head, unless no word has one.
        heads = tags.pop("head", ())
        kept = [index for index, head in enumerate(heads) if head not in _MULTIWORD]
        has_tree = any(head not in _NO_HEAD for head in heads)
        if not has_tree:
            kept = list(range(len(words)))
        if self.request.column == "head":
            tags = {"head": heads, **tags} if has_tree else {}
        return Sentence(
            words=tuple(words[index] for index in kept),
            columns={ours: tuple(self._label(ours, own[index]) for index in kept) for ours, own in tags.items()},
            lines=() if line is None else (line,) * len(kept),
            origin=self.request.origin,
            text=text,
            text_pair=pair if self.request.column is None else None,
        )

    def _label(self, ours: str, value: Any) -> Any:
        """A head as a number, or a label by its name."""
        if ours == "head":
            try:
                return int(value)
            except (TypeError, ValueError, OverflowError) as error:
                raise DataError(f"expected a head (a number from 0), found {value!r:.40}") from error
        names = self.labels.get(self._names[ours], ())
        if names and isinstance(value, int):
            if not 0 <= value < len(names):  # test splits with secret labels have -1
                found = f"expected a class label from 0 to {len(names) - 1}, found {value!r}"
                raise DataError(f"{found}; is this split without labels?")
            value = names[value]
        if ours == LABEL and isinstance(value, int):
            # Of labels that are yes or no, JSON has the words true and false; Python's begin with a capital letter.
            value = str(value).lower() if isinstance(value, bool) else str(value)
        if ours == LABEL and isinstance(value, list) and len(value) == 1:  # as tools for annotation have it
            (value,) = value
        label = value.strip() if ours == LABEL and isinstance(value, str) else value
        if isinstance(label, str) and is_visible(label) and (ours != LABEL or stands_on_a_line(label)):
            return label
        what = "a label, a word or an integer" if ours == LABEL else f"a label of {ours}, a text or a class label"
        raise DataError(f"expected {what}, found {value!r:.40}; write its name, or remove the row")


def _text(value: Any, name: str, *, may_lack: bool = False) -> str:
    if may_lack and not value:
        return ""
    if not isinstance(value, str) or not (may_lack or is_visible(value)):
        raise DataError(f"expected a text in {name}, found {value!r:.40}; write one, or leave it out")
    check_whole(value)
    return value


def in_order(values: Any) -> tuple[Any, ...] | None:
    """The items of a list, an array, a series, a generator or any other iterable with an order of its own; None for
    others, text, and tables, which iterate over the names of their columns."""
    if isinstance(values, str | bytes | bytearray | Mapping | set | frozenset) or hasattr(values, "columns"):
        return None
    try:
        items = iter(values)
    except TypeError:
        return None
    return tuple(items)


def checked_words(words: Iterable[str]) -> tuple[str, ...]:
    """The words of a sentence; raises a DataError if it is no sequence of words, or one has a lone surrogate or no
    visible content."""
    own = in_order(words)
    if own is None or not all(isinstance(word, str) for word in own):
        raise DataError(f"expected a sequence of words, found {str(words)[:60]!r}")
    for word in own:
        check_whole(word)
        check_word(word)
    return tuple(map(str.__str__, own))  # strings of numpy are strings, but print otherwise
