"""CoNLL-U: syntactic words with tags, trees and entities; the lines of a sentence are kept for writing."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

from hyperx.data.read.base import Request, Writer, check_fields, no_field
from hyperx.data.read.blocks import Block, Layout, comment_value, name_of, read_blocks
from hyperx.data.read.lines import LINE_BREAKS, Line, without_ends
from hyperx.data.read.segmentation import is_visible, offsets_in
from hyperx.data.read.sentence import Offsets, Places, Prediction, Sentence
from hyperx.errors import DataError

log = logging.getLogger(__name__)

_ID, _FORM, _UPOS, _HEAD, _DEPREL, _MISC = 0, 1, 3, 6, 7, 9
_LIKE_ENTITIES = re.compile("ner|name|tag|ent", re.IGNORECASE)
# Annotation that has a column of its own; all other goes into MISC under the task's name, as `NER=B-PER`.
_COLUMNS = {"upos": _UPOS, "head": _HEAD, "deprel": _DEPREL}
NOTHING = "_"
"""What stands for the word, and for its labels, of a sentence that could not be read."""


_LAYOUT = Layout(
    "\t", 10, "10 columns separated by tabs, as CoNLL-U has", "fix the line", word=1, indexed=True, has_documents=False
)


def read_conllu(lines: Iterable[Line], request: Request) -> Iterator[Sentence]:
    """CoNLL-U.

    Words are the syntactic words: multiword ranges (`1-2`) and empty nodes (`1.1`) are left out. Columns are `upos`;
    `head` and `deprel` if the sentence has heads, see `check_tree`; `ner` if MISC gives every word a `NER=` value. In
    prediction annotation is kept, not interpreted.
    """
    advice = _LAYOUT.advice if request.column else "fix the line, or say with --input_format what the text is"
    return read_blocks(without_ends(lines), replace(_LAYOUT, advice=advice), request, _sentence)


def _sentence(block: Block, request: Request) -> Sentence:
    """The sentence of a block; raises a DataError if its annotation has a fault."""
    trained = request.column is not None
    space_after: list[bool] = []
    for words, _, space in _units(block.rows, 0, len(block.words)):
        space_after += [*[False] * (words - 1), space]
    return Sentence(
        words=tuple(block.words),
        columns=_columns(block, request) if trained else {},
        lines=tuple(block.lines),
        origin=request.origin,
        text=comment_value(block.comments, "text") or _surface(block.rows),
        text_pair=None if trained else comment_value(block.comments, "text_pair"),
        space_after=tuple(space_after),
        offsets=None if trained else _offsets(block),
        comments=tuple(block.comments),
        rows=() if trained else tuple(block.rows),
    )


def _offsets(block: Block) -> Offsets | None:
    """Where the words stand in the text of the comment; those of a range that are not written there, where it does."""
    units = list(_units(block.rows, 0, len(block.words)))
    text = comment_value(block.comments, "text")
    if text is None or (places := offsets_in(text, [form for _, form, _ in units])) is None:
        return None
    offsets: list[tuple[int, int]] = []
    for (words, form, _), (start, end) in zip(units, places, strict=True):
        inside = offsets_in(form, block.words[len(offsets) :][:words]) or ((0, end - start),) * words
        offsets += [(start + first, start + last) for first, last in inside]
    return tuple(offsets)


def _columns(block: Block, request: Request) -> dict[str, tuple[str, ...] | tuple[int, ...]]:
    """The annotation that the sentence has, by name."""
    rows = block.rows
    if len(rows) > len(block.words):
        rows = [row for row in rows if row[_ID].isdecimal()]
    columns: dict[str, tuple[str, ...] | tuple[int, ...]] = {}
    tags, heads, relations = (tuple(row[column] for row in rows) for column in (_UPOS, _HEAD, _DEPREL))
    if any(tag != "_" for tag in tags):
        columns["upos"] = tags
    if any(head != "_" for head in heads):
        for number, head in zip(block.lines, heads, strict=True):
            if not (head.isdigit() and head.isascii() and len(head) < 10):
                raise DataError(f"expected a head (a number from 0) in column 7, found {head!r:.40}", line=number)
        columns |= {"head": tuple(map(int, heads)), "deprel": relations}
    key = request.names.get("ner", "NER")
    entities = [_misc(row, key) for row in rows]
    if any(entity is not None for entity in entities):
        for number, entity in zip(block.lines, entities, strict=True):
            if not entity:
                expected = f"expected {key}= in MISC (column 10), as other words of the sentence have it"
                raise DataError(f"{expected}; write {key}=O for none", line=number)
        columns["ner"] = tuple(map(str, entities))
    elif request.column == "ner":
        keys = {part.partition("=")[0][:40] for row in rows for part in row[_MISC].split("|") if "=" in part}
        others = sorted(keys - {"SpaceAfter"})[:8]
        near = next((name for name in others if _LIKE_ENTITIES.search(name)), "KEY")
        expected = f"expected {key}= in MISC (column 10) of every word, such as {key}=B-PER or {key}=O"
        found = ", ".join(f"{name}=" for name in others) or "none"
        advice = f"annotate the sentence, or name the key in the data table, such as {{columns: {{ner: {near}}}}}"
        raise DataError(f"{expected}, found {found}; {advice}", line=block.lines[0])
    return columns


def _units(rows: Iterable[Sequence[str]], start: int, end: int) -> Iterator[tuple[int, str, bool]]:
    """How many words, form, and whether a space follows, of what stands for the words ``start`` to ``end`` (exclusive):
    a range of words among them replaces these, and empty nodes have no text."""
    covered = start
    for row in rows:
        first, _, last = row[_ID].partition("-")
        if "." not in first and covered < int(first) and int(last or first) <= end:
            covered = int(last or first)
            yield covered - int(first) + 1, row[_FORM], _misc(row, "SpaceAfter") != "No"


def _surface(rows: Sequence[Sequence[str]], start: int = 0, end: int | None = None) -> str:
    """The text that rows spell."""
    units = _units(rows, start, len(rows) if end is None else end)
    return "".join(form + " " * space for _, form, space in units).rstrip(" ")


def text_of_words(sentence: Sentence, start: int, end: int) -> str:
    """The text of the words ``start`` to ``end`` (exclusive), as it is in the sentence."""
    return _surface(sentence.rows, start, end) if sentence.rows else sentence.joined(start, end)


def _misc(row: Sequence[str], key: str) -> str | None:
    """The value of a key in MISC; a value may contain `=`."""
    if key not in row[_MISC]:
        return None
    pairs = (part.partition("=") for part in row[_MISC].split("|"))
    return next((value for name, _, value in pairs if name == key), None)


def check_tree(sentence: Sentence) -> None:
    """Check that a sentence's heads are one tree: within the sentence, with a single root, without a cycle; raises a
    DataError with file and line if not."""
    heads = [int(head) for head in sentence.columns["head"]]

    def fault(word: int, message: str) -> DataError:
        return DataError(message, path=sentence.origin, line=sentence.line_of(word))

    for word, head in enumerate(heads):
        if not 0 <= head <= len(heads):
            found = f"expected a head from 0 (the root) to {len(heads)} (the last word), found {head}"
            raise fault(word, f"{found}; correct the head")
    roots = [word for word, head in enumerate(heads) if head == 0]
    if len(roots) != 1:
        found = f"{len(roots)} at the words " + ", ".join(str(root + 1) for root in roots) if roots else "none"
        raise fault(roots[1] if roots else 0, f"expected one root (a word with head 0), found {found}")
    # Every word is followed to the root once; words that are known to reach it are not followed again.
    reaches_root = [False] * len(heads)
    for start in range(len(heads)):
        way: dict[int, None] = {}
        word = start
        while word >= 0 and not reaches_root[word]:
            if word in way:
                cycle = list(way)[list(way).index(word) :]
                words = ", ".join(str(member + 1) for member in cycle)
                raise fault(min(cycle), f"expected a tree, found a cycle through the words {words}")
            way[word] = None
            word = heads[word] - 1
        for member in way:
            reaches_root[member] = True


# Writing --------------------------------------------------------------------------------------------------------------


class ConlluWriter(Writer):
    """Writes CoNLL-U.

    A sentence that was read from CoNLL-U is written with all lines, columns and comments except those predicted. Others
    get their number as ``# sent_id``, their words or text as ``# text``, and in MISC ``start_char`` and ``end_char`` of
    each word if known; a text without words is split at white space. If several tasks give tags or trees, the first has
    the column, and the others are in MISC under their names: ``TAGS=NOUN``, ``TREES_HEAD=2``. In the place of a
    sentence that could not be read there is the word ``_`` without labels, below ``# error = ...``.
    """

    def label_problems(self, places: Places, labels: Mapping[str, Iterable[str]]) -> list[str]:
        """As for all formats, and tasks whose attributes of MISC would have one name."""
        owners: dict[int | str, str] = {}
        twice = [
            f"the tasks {owners[place]} and {task}, as both are {place}= in MISC"
            for place, (task, _) in _place_list(places)
            if owners.setdefault(place, task) != task
        ]
        return [*twice, *super().label_problems(places, labels)]

    def label_problem(self, label: str, task: str, places: Places) -> str | None:
        """Labels stand in fields of a line, in MISC or in comments."""
        if problem := no_field(label, edges=any(places[task])):
            return problem
        in_misc = any(isinstance(place, str) and owner == task for place, (owner, _) in _place_list(places))
        return "| separates the entries of MISC" if in_misc and "|" in label else None

    def check(self, sentence: Sentence, places: Places) -> None:
        """Words have neither tabs nor line ends."""
        if not sentence.rows:
            check_fields(sentence)

    def render(self, prediction: Prediction, number: int) -> str:
        """The block of a sentence and a blank line."""
        sentence = prediction.sentence
        if sentence.error is not None:
            nothing = replace(sentence, words=(NOTHING,), text=sentence.text or NOTHING)
            error = f"# error = {LINE_BREAKS.sub(' ', sentence.error)}"
            return "\n".join([*_comments(nothing, (), number), error, *map("\t".join, _new_rows(nothing)), "\n"])
        rows = sentence.rows or tuple(_new_rows(sentence))
        own = [one for one in _comments(sentence, rows, number) if name_of(one) not in prediction.sentence_labels]
        labels = label_comments(prediction)
        return "\n".join([*own, *labels, *map("\t".join, _filled(rows, prediction)), "\n"])


def label_comments(prediction: Prediction) -> list[str]:
    """The labels of the whole sentence as comments."""
    return [f"# {task} = {label}" for task, label in prediction.sentence_labels.items()]


def pair_comment(sentence: Sentence) -> list[str]:
    """The second of two texts as a comment, if there are two."""
    return [] if sentence.text_pair is None else [f"# text_pair = {LINE_BREAKS.sub(' ', sentence.text_pair)}"]


def _comments(sentence: Sentence, rows: Sequence[Sequence[str]], number: int) -> list[str]:
    """The sentence's own comments; those that it lacks are inserted after its id, or at the beginning."""
    given = list(sentence.comments)
    place = next((index for index, comment in enumerate(given, start=1) if name_of(comment) == "sent_id"), 0)
    new = [] if place else [f"# sent_id = {number}"]
    if comment_value(given, "text") is None:
        # The comment is what the words spell, with single spaces, where that is the text.
        own = _surface(rows) if sentence.offsets and sentence.space_after else sentence.text or _surface(rows)
        new.append(f"# text = {LINE_BREAKS.sub(' ', own)}")
    if comment_value(given, "text_pair") is None:
        new += pair_comment(sentence)
    if sentence.language and comment_value(given, "language") is None:
        new.append(f"# language = {sentence.language}")
    return [*given[:place], *new, *given[place:]]


def _new_rows(sentence: Sentence) -> Iterator[Sequence[str]]:
    words = sentence.words or tuple(filter(is_visible, LINE_BREAKS.sub(" ", sentence.raw_text).split()))
    spaces = sentence.spaces if sentence.words else (True,) * len(words)
    for number, (word, space) in enumerate(zip(words, spaces, strict=True), start=1):
        misc = [] if space else ["SpaceAfter=No"]
        if sentence.offsets:
            start, end = sentence.offsets[number - 1]
            misc += [f"start_char={start}", f"end_char={end}"]
        yield (str(number), word, *"_______", "|".join(misc) or "_")


def _filled(rows: Iterable[Sequence[str]], prediction: Prediction) -> Iterator[Sequence[str]]:
    """The rows with each task's labels at the words; ranges and empty nodes stay unchanged."""
    places = [(place, prediction.columns[task][name]) for place, (task, name) in _place_list(prediction.columns)]
    word = -1
    for row in rows:
        filled = list(row)
        word += filled[_ID].isdecimal()
        for place, values in places if filled[_ID].isdecimal() else ():
            if isinstance(place, int):
                filled[place] = str(values[word])
                continue
            # An attribute of the same name is removed, in the same case.
            others = [part for part in filled[_MISC].split("|") if part != "_" and part.partition("=")[0] != place]
            for name in (part.partition("=")[0] for part in others):
                if name.upper() == place:
                    _tell_kept(name, place)
            filled[_MISC] = "|".join([*others, f"{place}={values[word]}"])
        yield filled


def _place_list(tasks: Places) -> Iterator[tuple[int | str, tuple[str, str]]]:
    """The column of CoNLL-U, by its number, or attribute of MISC, by its name, for each task and annotation.

    If several tasks have the same column, the first gets it.
    """
    taken = set()
    for task, columns in tasks.items():
        names = tuple(columns)
        for name in names:
            column = _COLUMNS.get(name)
            attribute = (task if len(names) == 1 else f"{task}_{name}").upper()
            yield attribute if column is None or column in taken else column, (task, name)
            taken.add(column)


@cache
def _tell_kept(name: str, key: str) -> None:
    """Log, once, that MISC has a key of the input beside ours that differs in case alone."""
    log.warning("MISC keeps %s= of the input beside the predicted %s=", name, key)
