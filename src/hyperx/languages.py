"""Language codes: one canonical form for a language, and each data set's own code for it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

KEPT = 10_000
"""Of how many codes something is kept: a server is asked for anything."""

# Codes that the standards prefer but few use -> the common code of the same language.
_SAME_LANGUAGE = {"fil": "tl", "nb": "no"}
# Codes that the standard would merge into another language, although data sets treat them as a language of their own.
_KEPT = {"hbs": "sh", "sh": "sh", "tgl": "tl", "tl": "tl"}
# Codes of Wikipedia editions that are not BCP 47 tags, or mean something else when read as one.
_WIKIPEDIA = {
    "bat-smg": "sgs", "be-tarask": "be-tarask", "be-x-old": "be-tarask", "bh": "bho", "cbk-zam": "cbk", "eml": "eml",
    "fiu-vro": "vro", "map-bms": "map-bms", "nds-nl": "nds-nl", "roa-rup": "rup", "simple": "simple",
    "zh-classical": "lzh", "zh-min-nan": "nan", "zh-yue": "yue",
}  # fmt: skip
# Always among the candidates when a code that names no language is corrected.
_WELL_KNOWN = ("en", "de", "tr")

FORMER_TREEBANKS = {
    "bej_nsc": "bej_autogramm", "cs_pdt": "cs_pdtc", "fr_spoken": "fr_rhapsodie", "fro_srcmf": "fro_profiterole",
    "kmr_mg": "kmr_kurmanji", "nhi_itml": "nhi_mesotree", "otk_tonqq": "otk_clausal",
}  # fmt: skip
"""Treebank names of UD releases from 2.7 on that later releases changed -> the current name."""

TABLE_HEADER = "code\tname\twikiann\ttreebanks"
"""First line of the table of languages; scripts/make_languages.py writes it."""


@dataclass(frozen=True, slots=True)
class Treebank:
    """A treebank of Universal Dependencies: its configuration on the hub (``en_ewt``), its folder in a UD release
    (``UD_English-EWT``), and which of train, dev and test it has."""

    name: str
    folder: str
    splits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Language:
    """A language that Universal Dependencies or WikiANN has data for: its canonical code, its English name, WikiANN's
    own code for it, and its treebanks, the default one first."""

    code: str
    name: str
    wikiann: str | None
    treebanks: tuple[Treebank, ...]


@cache
def known_languages() -> Mapping[str, Language]:
    """Canonical code -> language, for all that have a treebank or a configuration of WikiANN."""
    text = Path(__file__).with_name("languages.tsv").read_text(encoding="utf-8")
    languages = {}
    for line in text.splitlines()[1:]:
        code, name, wikiann, entries = line.split("\t")
        parts = [re.split("[=:]", entry) for entry in entries.split()]  # en_ewt=English-EWT:train,dev,test
        treebanks = tuple(Treebank(short, f"UD_{folder}", tuple(splits.split(","))) for short, folder, splits in parts)
        languages[code] = Language(code, name, wikiann or None, treebanks)
    return languages


@cache
def _treebank_languages() -> Mapping[str, Language]:
    """The language of each treebank by its names, as `canonical` writes them; `zh_hk` is Chinese of Hong Kong."""
    every = [(treebank, language) for language in known_languages().values() for treebank in language.treebanks]
    names = [(name.replace("_", "-").lower(), own) for one, own in every for name in (one.name, one.folder)]
    known = {name: language for name, language in names if len(name.rpartition("-")[2]) > 2}
    return known | {old.replace("_", "-"): known[new.replace("_", "-")] for old, new in FORMER_TREEBANKS.items()}


class _Few(dict[Any, Any]):
    """Takes no more entries than :data:`KEPT`: langcodes keeps whatever it was ever asked, in two dictionaries."""

    def __setitem__(self, key: Any, value: Any) -> None:
        if len(self) < KEPT:
            super().__setitem__(key, value)


@lru_cache(maxsize=KEPT)
def canonical(code: str) -> str:
    """The canonical code of a language: `tr` for `tur`, `tr-TR` and `tr_tr`, without script and region.

    A code that no standard knows is only lower-cased (see `is_language`), so a user's own names for languages work too.
    Codes have their ISO 639 meaning: `als` is Tosk Albanian, so `sq`, although WikiANN uses it for Alemannic.
    """
    lowered = code.strip().replace("_", "-").lower()
    if lowered in _WIKIPEDIA:
        return _WIKIPEDIA[lowered]
    if (primary := lowered.partition("-")[0]) in _KEPT:
        return _KEPT[primary]
    if lowered in known_languages() or lowered in _treebank_languages():  # without loading the standard's data
        return lowered
    import langcodes
    from langcodes.tag_parser import LanguageTagError

    if not isinstance(langcodes.Language._PARSE_CACHE, _Few):
        langcodes.Language._PARSE_CACHE, langcodes.Language._INSTANCES = _Few(), _Few()
    try:
        tag = langcodes.Language.get(lowered)
        # In BCP 47, `zh-hak` is `hak`; of a macrolanguage, the predominant member (`arb`) stands for all (`ar`).
        alone = langcodes.Language.get(tag.extlangs[0]) if tag.extlangs else tag
        standard = alone.prefer_macrolanguage().language or lowered
    except LanguageTagError:
        return lowered
    return _SAME_LANGUAGE.get(standard, standard)


def language_name(code: str) -> str:
    """The English name of a language, or its code if no data of it is known."""
    language = known_languages().get(canonical(code))
    return code if language is None else language.name


@lru_cache(maxsize=KEPT)
def is_language(code: str) -> bool:
    """Whether a code names a language in ISO 639, BCP 47, UD or Wikipedia."""
    known = canonical(code)
    if known in known_languages() or known in _WIKIPEDIA.values():
        return True
    import langcodes

    return known not in _treebank_languages() and known.partition("-")[0] != "und" and langcodes.tag_is_valid(known)


def suggestion(code: str, known: Iterable[str]) -> str:
    """A hint at the code that a user most likely meant, " Did you mean 'tr'?": the known code of the same language; for
    what is no code, that of the language with this name, or the known code with the closest spelling. Else ""."""
    codes = list(known)
    likely = [candidate for candidate in codes if canonical(candidate) == canonical(code)]
    if not likely and not is_language(code):
        # Two letters are in most longer words.
        meant = {one: one for one in codes if len(code) <= len(one) + 1}
        meant |= {language.name.lower(): language.code for language in known_languages().values()}
        close = difflib.get_close_matches(code.lower(), meant, n=1, cutoff=0.75)
        first = canonical(re.split("[-_]", code)[0])
        likely = [meant[one] for one in close] or [first] * (first in known_languages())
        if language := _treebank_languages().get(canonical(code)):
            likely = [language.code]
    return f" Did you mean {likely[0]!r}?" if likely and likely[0] != code else ""


def no_language(code: str, known: Iterable[str] = ()) -> str:
    """The message for a code that names no language, with a suggestion among known and well-known ones."""
    if language := _treebank_languages().get(canonical(code)):
        own, treebank = language.code, find_treebank(language.code, code.replace("-", "_"))
        chosen = f"--treebanks {own}={treebank.name if treebank else code} chooses it for training"
        return f"{code!r} is a treebank of {own} ({language.name}); name the language: {own} ({chosen})."
    return f"{code!r} is no language code of ISO 639 or BCP 47.{suggestion(code, [*known, *_WELL_KNOWN])}"


def language_problems(languages: Sequence[str]) -> Iterator[str]:
    """What is wrong in a list of languages: codes that no standard knows, and two codes for the same language."""
    seen: dict[str, str] = {}
    known, hints = [*filter(is_language, languages)], 20  # what is close is searched for slowly
    for language in languages:
        if not is_language(language):
            yield no_language(language, known) if hints > 0 else f"{language!r} is no language code"
            hints -= 1
        elif canonical(language) in seen:
            yield f"{language!r} is the same language as {seen[canonical(language)]!r}"
        seen.setdefault(canonical(language), language)


def treebanks_of(language: str) -> tuple[Treebank, ...]:
    """The treebanks of a language, the default one first; empty if it has none."""
    known = known_languages().get(canonical(language))
    return known.treebanks if known else ()


def find_treebank(language: str, name: str) -> Treebank | None:
    """The treebank of a language by its name, also from earlier UD releases: `en_ewt`, `UD_English-EWT`, `English-EWT`
    or `EWT`."""
    wanted = name.strip().lower().replace("-", "_")
    wanted = FORMER_TREEBANKS.get(wanted, wanted).removeprefix("ud_")
    for treebank in treebanks_of(language):
        folder = treebank.folder.lower().removeprefix("ud_")
        if wanted in (treebank.name, folder.replace("-", "_"), folder.rpartition("-")[2]):
            return treebank
    return None


def wikiann_configuration(language: str) -> str | None:
    """WikiANN's own code for a language, such as `zh-yue` for `yue` or `als` for `gsw`; None if it has none."""
    known = known_languages().get(canonical(language))
    return known.wikiann if known else None
