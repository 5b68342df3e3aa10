"""Language codes: one canonical form for a language, and each data set's own code for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Two names for one language where the standards prefer a form that few use.
_SAME_LANGUAGE = {"fil": "tl", "nb": "no"}

# Codes that the standard would fold into another language although data sets hold a language of their own there.
_KEPT = {"hbs": "sh", "sh": "sh", "tgl": "tl", "tl": "tl"}

# Codes of Wikipedia editions, which are no BCP-47 tags or mean something else when read as one.
_WIKIPEDIA = {
    "bat-smg": "sgs",
    "be-tarask": "be-tarask",
    "be-x-old": "be-tarask",
    "bh": "bho",
    "cbk-zam": "cbk",
    "eml": "eml",
    "fiu-vro": "vro",
    "map-bms": "map-bms",
    "nds-nl": "nds-nl",
    "roa-rup": "rup",
    "simple": "simple",
    "zh-classical": "lzh",
    "zh-min-nan": "nan",
    "zh-yue": "yue",
}

_WELL_KNOWN = ("en", "de", "tr")

FORMER_TREEBANKS = {
    "bej_nsc": "bej_autogramm",
    "cs_pdt": "cs_pdtc",
    "fr_spoken": "fr_rhapsodie",
    "fro_srcmf": "fro_profiterole",
    "kmr_mg": "kmr_kurmanji",
    "nhi_itml": "nhi_mesotree",
    "otk_tonqq": "otk_clausal",
}
"""Names of treebanks in UD releases from 2.7 on that later ones renamed -> the name now."""

TABLE_HEADER = "code\tname\twikiann\ttreebanks"
"""First line of the table of languages; scripts/make_languages.py writes it."""


@dataclass(frozen=True, slots=True)
class Treebank:
    """A treebank of Universal Dependencies.

    Args:
        name: its short name, which is its configuration on the hub, such as ``en_ewt``.
        folder: its folder in a UD release, such as ``UD_English-EWT``.
        splits: those of train, dev and test that it has.
    """

    name: str
    folder: str
    splits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Language:
    """A language that Universal Dependencies or WikiANN has data of.

    Args:
        code: its canonical code.
        name: its English name.
        wikiann: WikiANN's own code for it, or None.
        treebanks: its treebanks, the one that is read by default first.
    """

    code: str
    name: str
    wikiann: str | None
    treebanks: tuple[Treebank, ...]


@cache
def known_languages() -> Mapping[str, Language]:
    """Canonical code -> language, for all that have a treebank or a configuration of WikiANN."""
    text = Path(__file__).with_name("languages.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines()[1:])
    return {
        code: Language(code, name, wikiann or None, tuple(map(_treebank, treebanks.split())))
        for code, name, wikiann, treebanks in rows
    }


def _treebank(entry: str) -> Treebank:
    """Read `en_ewt=English-EWT:train,dev,test`."""
    name, _, rest = entry.partition("=")
    folder, _, splits = rest.partition(":")
    return Treebank(name, f"UD_{folder}", tuple(splits.split(",")))


def _standard(code: str) -> str | None:
    """The language subtag of a well-formed BCP-47 tag in its shortest ISO 639 form, or None.

    The predominant member of a macrolanguage, such as `arb`, is the macrolanguage: `ar`.
    """
    import langcodes
    from langcodes.tag_parser import LanguageTagError

    try:
        found = langcodes.Language.get(code)
        # `zh-hak` is `hak`, as BCP 47 has it.
        alone = langcodes.Language.get(found.extlangs[0]) if found.extlangs else found
        return alone.prefer_macrolanguage().language
    except LanguageTagError:
        return None


@cache
def canonical(code: str) -> str:
    """The one form of a language code that stands for the language: `tur`, `tr-TR` and `tr_tr` are `tr`.

    Script and region are left out: they do not make another language. A code that no standard knows is its own
    canonical form in lower case (see `is_language`), so a user's own names for languages work too. ISO 639's meaning
    is taken: `als` is Tosk Albanian, so `sq`, although WikiANN means Alemannic by it.
    """
    lowered = code.strip().replace("_", "-").lower()
    if lowered in _WIKIPEDIA:
        return _WIKIPEDIA[lowered]
    primary = lowered.partition("-")[0]
    if primary in _KEPT:
        return _KEPT[primary]
    # The table's codes are canonical. Most codes are among them, and do not wait for the standard's data to be read.
    if lowered in known_languages():
        return lowered
    standard = _standard(lowered) or lowered
    return _SAME_LANGUAGE.get(standard, standard)


@cache
def is_language(code: str) -> bool:
    """Whether a code names a language, in ISO 639, BCP 47 or as UD or a Wikipedia edition does."""
    import langcodes

    known = canonical(code)
    if known in known_languages() or known in _WIKIPEDIA.values():
        return True
    return known.partition("-")[0] != "und" and langcodes.tag_is_valid(known)


def suggest(code: str, known: Iterable[str]) -> str | None:
    """The code that a user most likely meant: of some known ones that of the same language; that of the language which
    has this name; else the known one of the closest spelling."""
    codes = list(known)
    same = [candidate for candidate in codes if canonical(candidate) == canonical(code)]
    named = [language.code for language in known_languages().values() if language.name.lower() == code.lower()]
    close = same or named or difflib.get_close_matches(code, codes, n=1, cutoff=0.5)
    return close[0] if close else None


def suggestion(code: str, known: Iterable[str]) -> str:
    """A hint for a misspelt code: " Did you mean 'tr'?", or "" where nothing is close or the code is right."""
    near = suggest(code, known)
    return f" Did you mean {near!r}?" if near and near != code else ""


def no_language(code: str, known: Iterable[str] = ()) -> str:
    """What to say of a code that names no language, with the one of the known ones that was meant."""
    return f"{code!r} is no language code of ISO 639 or BCP 47.{suggestion(code, [*known, *_WELL_KNOWN])}"


def language_problems(languages: Sequence[str]) -> Iterator[str]:
    """What is wrong in a list of languages: codes that no standard knows, and two codes of one language."""
    seen: dict[str, str] = {}
    for language in languages:
        if not is_language(language):
            yield no_language(language, filter(is_language, languages))
        elif canonical(language) in seen:
            yield f"{language!r} is the same language as {seen[canonical(language)]!r}"
        seen.setdefault(canonical(language), language)


def treebanks_of(language: str) -> tuple[Treebank, ...]:
    """The treebanks of a language, the default one first; empty where it has none."""
    known = known_languages().get(canonical(language))
    return known.treebanks if known else ()


def find_treebank(language: str, name: str) -> Treebank | None:
    """The treebank of a language that a name means: `en_ewt`, `UD_English-EWT`, `English-EWT` or `EWT`.

    The names of earlier UD releases are understood too: `cs_pdt` is `cs_pdtc` now.
    """
    wanted = name.strip().lower().replace("-", "_")
    wanted = FORMER_TREEBANKS.get(wanted, wanted).removeprefix("ud_")
    for treebank in treebanks_of(language):
        folder = treebank.folder.removeprefix("UD_").lower()
        if wanted in (treebank.name, folder.replace("-", "_"), folder.rpartition("-")[2]):
            return treebank
    return None


def wikiann_configuration(language: str) -> str | None:
    """WikiANN's own code for a language, or None where it has none: `yue` is its `zh-yue`, `gsw` its `als`."""
    known = known_languages().get(canonical(language))
    return known.wikiann if known else None
