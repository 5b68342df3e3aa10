"""Write the sample corpus: fill the sentence frames of ``frames/<lang>.txt`` and save them as CoNLL-U.

The notation of the frames is explained in ``README.md`` beside this file. The output depends on the frames alone (the
entries of a list are drawn in an order given by a hash), so every machine and Python version writes the same bytes.

    python examples/corpus/make_corpus.py            write the files
    python examples/corpus/make_corpus.py --check    compare them with what would be written
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
SPLITS = ("train", "dev", "test")
VARIANTS = {"train": 5, "dev": 4, "test": 4}
SENTENCES = {"train": 126, "dev": 34, "test": 45}
UPOS = frozenset(
    {"ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ"}
    | {"SYM", "VERB", "X"}
)
NOMINAL_UPOS = frozenset({"NOUN", "PROPN", "PRON", "SYM"})
NOMINAL_RELATIONS = frozenset({"nsubj", "obj", "iobj", "obl", "nmod"})
NEVER_NOMINAL = frozenset({"flat", "compound", "det", "fixed", "expl"})
CLAUSAL = frozenset({"advcl", "acl", "ccomp", "xcomp", "csubj", "conj", "parataxis", "appos"})
DEFAULT_RELATION = {
    "DET": "det",
    "ADJ": "amod",
    "ADP": "case",
    "NUM": "nummod",
    "AUX": "aux",
    "ADV": "advmod",
    "PART": "advmod",
    "INTJ": "discourse",
    "PUNCT": "punct",
    "CCONJ": "cc",
    "SCONJ": "mark",
}
TOKEN = re.compile(
    r"(?P<form>\{[^}]+\}\+?|.[^/:>@]*)(/(?P<upos>[A-Z]+))?(:(?P<rel>[a-z]+(:[a-z]+)?))?(>(?P<head>[^@]+))?"
    r"(@(?P<ner>O|[BI]-[A-Z]+))?"
)
SLOT = re.compile(r"\{(?P<list>[A-Za-z_]+)(?P<number>[0-9]*)(\.(?P<case>[a-z0-9]+))?\}")
PUNCTUATION = re.compile(r"[^\w\s%$€₹₺£+=&@]+")


class FrameError(ValueError):
    """A frame or a word list that cannot be read."""


@dataclass(frozen=True)
class Item:
    """One place of a frame: a word, or a slot (``slot`` = list, number, form of the entry)."""

    form: str
    upos: str
    rel: str
    head: str = ""
    ner: str = ""
    clause: tuple[int, ...] = ()
    glued: bool = False
    range_form: str = ""
    slot: tuple[str, str, str] | None = None

    @property
    def relation(self) -> str:
        """The universal part of the relation."""
        return self.rel.partition(":")[0]

    @property
    def nominal(self) -> bool:
        """Whether determiners, adpositions and noun modifiers may attach here."""
        if self.upos in NOMINAL_UPOS:
            return self.relation not in NEVER_NOMINAL
        return self.relation in NOMINAL_RELATIONS


@dataclass(frozen=True)
class Frame:
    """Items with the index of each one's head (-1 for the root)."""

    items: tuple[Item, ...]
    heads: tuple[int, ...]
    source: str


@dataclass
class WordList:
    """Entries for each split; an entry has one filled frame for each named form."""

    name: str
    upos: str
    ner: str
    forms: tuple[str, ...] = ("",)
    entries: dict[str, list[str]] = field(default_factory=dict)

    def of(self, split: str) -> list[str]:
        """The entries of a split: its own and those that every split may use."""
        found = self.entries.get(split, []) + self.entries.get("all", [])
        if not found:
            raise FrameError(f"list {self.name} has no entries for {split}")
        return found


@dataclass
class Language:
    """Everything that one file of frames says."""

    code: str
    options: dict[str, str] = field(default_factory=dict)
    lexicon: dict[str, tuple[str, str]] = field(default_factory=dict)
    ranges: dict[str, list[str]] = field(default_factory=dict)
    lists: dict[str, WordList] = field(default_factory=dict)
    frames: dict[str, list[Frame]] = field(default_factory=dict)

    def option(self, name: str, default: str) -> str:
        """An option of the file's head, such as the side of adpositions."""
        return self.options.get(name, default)


@dataclass(frozen=True)
class Word:
    """One word of a finished sentence; ``head`` counts from 1, and 0 is the root."""

    form: str
    upos: str
    head: int
    rel: str
    ner: str
    space_after: bool = True
    range_form: str = ""


# --- reading frames ---------------------------------------------------------------------------------------------------


def read_language(path: Path) -> Language:
    """Read one file of frames."""
    language = Language(path.stem)
    section: list[str] = ["options"]
    pending: list[tuple[str, str]] = []
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        try:
            if line.startswith("= "):
                section = line[2:].split()
                _open_section(language, section)
            elif section[0] == "frames":
                pending.append((section[1], line))
            else:
                _read_line(language, section, line)
        except (FrameError, ValueError, IndexError) as error:
            raise FrameError(f"{path.name}:{number}: {error}") from error
    for split, line in pending:
        try:
            language.frames.setdefault(split, []).append(parse_frame(language, line))
        except FrameError as error:
            raise FrameError(f"{path.name}: {error} in frame: {line}") from error
    return language


def _open_section(language: Language, section: list[str]) -> None:
    if section[0] == "list":
        name, upos, *ner = section[1:]
        language.lists[name] = WordList(name, upos, ner[0] if ner else "")
    elif section[0] not in ("frames", "lexicon", "ranges"):
        raise FrameError(f"unknown section {section[0]}")


def _read_line(language: Language, section: list[str], line: str) -> None:
    """One line of the options, the lexicon, the multiword tokens or a word list."""
    if section[0] == "lexicon":
        tag, *forms = line.split()
        upos, _, relation = tag.partition(":")
        for word in forms:
            language.lexicon[word] = (upos, relation)
    elif section[0] == "ranges":
        form, parts = line.split(" = ")
        language.ranges[form] = parts.split()
    elif section[0] == "list":
        key, _, rest = line.partition(":")
        words = language.lists[section[1]]
        if key == "forms":
            words.forms = tuple(rest.split())
            return
        if key == "include":
            _include(words, [language.lists[name] for name in rest.split()])
            return
        entries = [entry.strip() for entry in rest.split("|")]
        wrong = [entry for entry in entries if len(entry.split(", ")) != len(words.forms)]
        if wrong or key not in (*SPLITS, "all"):
            raise FrameError(f"{key}: {wrong}")
        words.entries.setdefault(key, []).extend(entries)
    else:
        key, _, rest = line.partition(":")
        language.options[key] = rest.strip()


def _include(words: WordList, others: Sequence[WordList]) -> None:
    """Let a list have the entries of other lists too."""
    for other in others:
        words.forms = other.forms
        for split, entries in other.entries.items():
            words.entries.setdefault(split, []).extend(entries)


def parse_frame(language: Language, line: str, default_upos: str = "") -> Frame:
    """Parse one frame; words without a tag have it from the lexicon, heads left out follow the default rules."""
    items: list[Item] = []
    clause: tuple[int, ...] = ()
    for count, token in enumerate(line.split()):
        if token == "[":
            clause = (*clause, count)
        elif token == "]":
            clause = clause[:-1]
        else:
            items += [replace(item, clause=clause) for item in _parse_token(language, token, default_upos)]
    if clause or sum(item.rel == "root" for item in items) != 1:
        raise FrameError("unbalanced clause, or not exactly one root")
    heads = tuple(_head_of(language, items, index) for index in range(len(items)))
    return Frame(tuple(items), heads, line)


def _parse_token(language: Language, token: str, default_upos: str) -> list[Item]:
    """The items of one token: several for a multiword token of the language."""
    match = TOKEN.fullmatch(token)
    if match is None:
        raise FrameError(f"cannot read {token!r}")
    form, ner = match["form"], match["ner"] or ""
    lowered = _lower(language, form)
    if lowered in language.ranges:
        parts = [item for part in language.ranges[lowered] for item in _parse_token(language, part, "")]
        if match["rel"]:
            parts[0] = replace(parts[0], rel=match["rel"])
        return [replace(part, ner=ner, range_form="^" if place else form) for place, part in enumerate(parts)]
    glued = len(form) > 1 and form.endswith("+")
    form = form[:-1] if glued else form
    slot = SLOT.fullmatch(form)
    if slot:
        words = language.lists.get(slot["list"])
        if words is None or (slot["case"] or words.forms[0]) not in words.forms:
            raise FrameError(f"no such list or form: {form}")
        reference = (words.name, slot["number"], slot["case"] or words.forms[0])
        relation = match["rel"] or DEFAULT_RELATION.get(words.upos, "")
        item = Item(form, words.upos, relation, match["head"] or "", ner, glued=glued, slot=reference)
    else:
        upos, relation = _tag_of(language, form, match["upos"], match["rel"], default_upos)
        item = Item(form, upos, relation, match["head"] or "", ner, glued=glued)
    if not item.rel or item.upos not in UPOS:
        raise FrameError(f"no relation or tag for {token!r}")
    return [item]


def _tag_of(language: Language, form: str, upos: str | None, rel: str | None, default: str) -> tuple[str, str]:
    """Tag and relation of a word: as written, else from the lexicon, else by kind."""
    known = language.lexicon.get(form) or language.lexicon.get(_lower(language, form))
    if upos is None and known:
        upos, listed = known
        return upos, rel or listed or DEFAULT_RELATION.get(upos, "")
    if upos is None and PUNCTUATION.fullmatch(form):
        upos = "PUNCT"
    if upos is None and default:
        return default, rel or "root"
    if upos is None:
        raise FrameError(f"{form!r} has no tag and is not in the lexicon")
    return upos, rel or DEFAULT_RELATION.get(upos, "")


def _lower(language: Language, form: str) -> str:
    return form.replace("İ", "i").replace("I", "ı").lower() if language.code == "tr" else form.lower()


def _upper(language: Language, form: str) -> str:
    first = "İ" if language.code == "tr" and form[0] == "i" else form[0].upper()
    return first + form[1:]


# --- heads ------------------------------------------------------------------------------------------------------------


def _head_of(language: Language, items: Sequence[Item], index: int) -> int:
    """The head of an item: -1 for the root, as written, or by the default rules."""
    item = items[index]
    if item.rel == "root":
        return -1
    if item.head:
        return _named(items, item.head, index)
    relation = item.relation
    if item.rel == "advmod:degree":
        return index + 1
    if relation in ("det", "nummod", "case", "amod"):
        return _nominal_beside(items, index, _side(language, items, index, relation))
    if relation in ("nmod", "acl", "appos", "flat"):
        return _nominal_beside(items, index, language.option(relation, "left"))
    if relation == "cc":
        return _next_with(items, index, "conj")
    found = _governor(items, index)
    if found is None or found == index:
        raise FrameError(f"no head for {item.form!r}")
    return found


def _side(language: Language, items: Sequence[Item], index: int, relation: str) -> str:
    """On which side the noun of a modifier stands; adjectives after the noun only where nothing else intervenes."""
    side = language.option(relation, "right")
    if relation != "amod" or side == "right":
        return side
    place = index - 1
    while place >= 0 and items[place].upos in ("ADV", "ADJ", "CCONJ"):
        place -= 1
    return "left" if place >= 0 and items[place].nominal else "right"


def _named(items: Sequence[Item], name: str, index: int) -> int:
    """Find the head that a frame names: by form, slot, or the start of a form; ``#2`` picks the second."""
    name, _, which = name.partition("#")
    exact = [i for i, item in enumerate(items) if i != index and name in (item.form, _slot_name(item))]
    found = exact or [i for i, item in enumerate(items) if i != index and item.form.startswith(name)]
    if which and len(found) >= int(which):
        return found[int(which) - 1]
    if len(found) != 1:
        raise FrameError(f"head {name!r} fits {len(found)} items")
    return found[0]


def _slot_name(item: Item) -> str:
    return "".join(item.slot[:2]) if item.slot else ""


def _nominal_beside(items: Sequence[Item], index: int, side: str) -> int:
    """The nearest nominal on a side; a clause looks past its own beginning."""
    item = items[index]
    relation = item.relation
    places: Iterator[int] = iter(range(index + 1, len(items)) if side == "right" else range(index - 1, -1, -1))
    for place in places:
        inside = relation in CLAUSAL and item.clause and items[place].clause[: len(item.clause)] == item.clause
        if items[place].nominal and not inside:
            return place
    raise FrameError(f"no noun for {item.form!r} on the {side}")


def _next_with(items: Sequence[Item], index: int, relation: str) -> int:
    for place in range(index + 1, len(items)):
        if items[place].relation == relation:
            return place
    raise FrameError(f"no {relation} after {items[index].form!r}")


def _clause_head(items: Sequence[Item], clause: tuple[int, ...]) -> int | None:
    """The head of a bracketed clause; the root outside of brackets."""
    for place, item in enumerate(items):
        if item.rel == "root" and not clause:
            return -1
        if item.clause == clause and clause and (item.relation in CLAUSAL or item.rel == "root"):
            return place
    return None


def _governor(items: Sequence[Item], index: int) -> int | None:
    """The head of the innermost clause that the item is in and does not head itself."""
    clause = items[index].clause
    while clause:
        head = _clause_head(items, clause)
        if head is not None and head != index:
            return head
        clause = clause[:-1]
    return next((place for place, item in enumerate(items) if item.rel == "root"), None)


# --- filling ----------------------------------------------------------------------------------------------------------


class Draw:
    """Draws the entries of the lists in turn, each time round in another order fixed by a hash."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._waiting: dict[str, list[str]] = {}
        self._rounds: dict[str, int] = {}

    def next(self, name: str, entries: Sequence[str], taken: Sequence[str]) -> str:
        """The next entry that is not taken already in the same sentence."""
        waiting = self._waiting.setdefault(name, [])
        if not any(entry not in taken for entry in waiting):
            turn = self._rounds[name] = self._rounds.get(name, 0) + 1
            waiting += sorted(entries, key=lambda entry: _hash(f"{self._seed}/{name}/{turn}/{entry}"))
        for place, entry in enumerate(waiting):
            if entry not in taken:
                return waiting.pop(place)
        raise FrameError(f"list {name} is too short")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def fill(language: Language, frame: Frame, split: str, draw: Draw) -> list[Word]:
    """One sentence of a frame."""
    taken: dict[str, list[str]] = {}
    picks: dict[tuple[str, str], str] = {}
    parts: list[Frame] = []
    for item in frame.items:
        if item.slot is None:
            parts.append(Frame((item,), (-1,), ""))
            continue
        name, number, form = item.slot
        words = language.lists[name]
        if (name, number) not in picks:
            used = taken.setdefault(name, [])
            picks[name, number] = draw.next(name, words.of(split), used)
            used.append(picks[name, number])
        parts.append(_entry(language, words, picks[name, number], form))
    return _capitalised(language, _words(language, frame, parts))


def _entry(language: Language, words: WordList, entry: str, form: str) -> Frame:
    """One form of an entry as a small frame; untagged words of a name are PROPN joined by flat."""
    text = entry.split(", ")[words.forms.index(form)]
    if words.upos == "PROPN" and "/" not in text:
        outside = " ".join(part for part in text.split() if part.endswith("@O"))
        first, *rest = (part for part in text.split() if not part.endswith("@O"))
        text = " ".join([outside, f"{first}/PROPN:root", *(f"{name}/PROPN:flat>{first}#1" for name in rest)])
    return parse_frame(language, text, words.upos)


def _words(language: Language, frame: Frame, parts: Sequence[Frame]) -> list[Word]:
    """Join the filled parts of a frame into words with heads counted from 1."""
    starts = [1 + sum(len(part.items) for part in parts[:place]) for place in range(len(parts))]
    tops = [start + part.heads.index(-1) for start, part in zip(starts, parts, strict=True)]
    words: list[Word] = []
    for place, (item, part) in enumerate(zip(frame.items, parts, strict=True)):
        entity = language.lists[item.slot[0]].ner if item.slot else ""
        begun = False
        above = 0 if frame.heads[place] < 0 else tops[frame.heads[place]]
        for inner, (piece, head) in enumerate(zip(part.items, part.heads, strict=True)):
            ner = piece.ner or "O"
            if entity and not piece.ner:
                ner = ("I-" if begun else "B-") + entity
                begun = True
            last = inner == len(part.items) - 1
            top = head < 0
            target = above if top or (item.rel == piece.rel == "flat") else starts[place] + head
            relation = item.rel if top else piece.rel
            glued = piece.glued or (last and item.glued)
            relation = relation.removesuffix(":degree")
            words.append(Word(piece.form, piece.upos, target, relation, ner, not glued, piece.range_form))
    return _spaced(language, words)


def _spaced(language: Language, words: list[Word]) -> list[Word]:
    """Say where no space follows: before closing and after opening punctuation."""
    opening = language.option("open", "(«¿¡„“")
    closing = language.option("close", ".,?!;:)»”…।")
    spaced = []
    for place, word in enumerate(words):
        following = words[place + 1].form if place + 1 < len(words) else ""
        tight = word.form in opening or (following and following in closing)
        spaced.append(replace(word, space_after=word.space_after and not tight))
    return spaced


def _capitalised(language: Language, words: list[Word]) -> list[Word]:
    """A capital for the first word, behind opening punctuation."""
    place = next(i for i, word in enumerate(words) if word.upos != "PUNCT")
    word = words[place]
    shown = _upper(language, word.range_form) if word.range_form else ""
    words[place] = replace(word, form=_upper(language, word.form), range_form=shown)
    return words


# --- writing ----------------------------------------------------------------------------------------------------------


def _surface(words: Sequence[Word]) -> list[tuple[int, int, str, bool]]:
    """The tokens of the text: first word, last word, form, whether a space follows."""
    tokens: list[tuple[int, int, str, bool]] = []
    for number, word in enumerate(words, start=1):
        if word.range_form == "^":
            first, _, form, _ = tokens.pop()
            tokens.append((first, number, form, word.space_after))
        else:
            tokens.append((number, number, word.range_form or word.form, word.space_after))
    return tokens


def text_of(words: Sequence[Word]) -> str:
    """The raw sentence."""
    return "".join(form + (" " if space else "") for _, _, form, space in _surface(words)).strip()


def conllu_of(words: Sequence[Word], sent_id: str) -> str:
    """One sentence as a block of CoNLL-U."""
    rows = [f"# sent_id = {sent_id}", f"# text = {text_of(words)}"]
    for first, last, form, space in _surface(words):
        ending = "" if space else "SpaceAfter=No"
        if last > first:
            rows.append("\t".join([f"{first}-{last}", form, *"_______", ending or "_"]))
        for number in range(first, last + 1):
            word = words[number - 1]
            misc = f"NER={word.ner}" + (f"|{ending}" if ending and last == first else "")
            rows.append(
                "\t".join([str(number), word.form, "_", word.upos, "_", "_", str(word.head), word.rel, "_", misc])
            )
    return "\n".join(rows) + "\n\n"


def sentences_of(language: Language) -> dict[str, list[list[Word]]]:
    """All sentences of a language for each split, no text twice."""
    seen: set[str] = set()
    made: dict[str, list[list[Word]]] = {}
    for split in SPLITS:
        draw = Draw(f"{language.code}/{split}")
        rounds: list[list[list[Word]]] = [[] for _ in range(VARIANTS[split])]
        for frame in language.frames[split]:
            variants = 0
            for _ in range(3 * VARIANTS[split]):
                words = fill(language, frame, split, draw)
                if variants < VARIANTS[split] and text_of(words) not in seen:
                    seen.add(text_of(words))
                    rounds[variants].append(words)
                    variants += 1
        made[split] = [words for one_round in rounds for words in one_round][: SENTENCES[split]]
    return made


def make(folder: Path = HERE / "frames") -> dict[str, str]:
    """The files of the corpus by their path below this folder."""
    files: dict[str, str] = {}
    for path in sorted(folder.glob("*.txt")):
        language = read_language(path)
        for split, sentences in sentences_of(language).items():
            blocks = [
                conllu_of(words, f"{language.code}-{split}-{number:03}") for number, words in enumerate(sentences, 1)
            ]
            files[f"{language.code}/{split}.conllu"] = "".join(blocks)
    return files


def main() -> int:
    """Write or check the corpus."""
    parser = argparse.ArgumentParser(description="Write the sample corpus from its frames.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file differs")
    parser.add_argument("--out", type=Path, default=HERE, help="the folder to write to")
    options = parser.parse_args()
    stale = []
    for name, text in make().items():
        path: Path = options.out / name
        if options.check:
            if not path.is_file() or path.read_bytes() != text.encode("utf-8"):
                stale.append(name)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8"))
    for name in stale:
        print(f"differs: {name}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
