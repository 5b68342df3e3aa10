"""Treebanks of Universal Dependencies: which ones are read for a language, and where a release of them is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from hyperx.errors import did_you_mean
from hyperx.languages import Treebank, canonical, find_treebank, is_language, known_languages, no_language, treebanks_of

UD_COLUMNS = frozenset({"upos", "head", "deprel"})
"""The columns that treebanks have."""

Choice = Mapping[str, tuple[Treebank, ...]]
"""Canonical language code -> the treebanks that the user chose for it."""


def choose_treebanks(entries: Sequence[str], problems: list[str]) -> Choice:
    """Read the user's choice of treebanks, such as `tr=tr_boun` or `en=EWT+GUM`.

    Args:
        entries: language and treebanks, joined by `=` and `+`.
        problems: the list to which problems with them are added.
    """
    chosen: dict[str, tuple[Treebank, ...]] = {}
    for entry in entries:
        language, separator, names = entry.partition("=")
        if not (language and separator and names):
            problems.append(f"--treebanks: expected LANGUAGE=TREEBANK, such as en=en_gum; found {entry!r}")
            continue
        if canonical(language) in chosen:
            problems.append(f"--treebanks: {entry}: the language is named twice; join its treebanks with +")
        found = [_treebank(language, name, problems) for name in names.split("+")]
        chosen[canonical(language)] = tuple(dict.fromkeys(treebank for treebank in found if treebank))
    return chosen


def _treebank(language: str, name: str, problems: list[str]) -> Treebank | None:
    treebank = find_treebank(language, name)
    if treebank is None:
        known = [treebank.name for treebank in treebanks_of(language)]
        if known:
            others = [code for code in known_languages() if find_treebank(code, name)]
            hint = f" It is one of {', '.join(others)}." if others else did_you_mean(name, known)
            problems.append(f"--treebanks: {language} has no treebank {name!r}; it has {', '.join(known)}.{hint}")
        elif is_language(language):
            problems.append(
                f"--treebanks: UD has no treebank of the language {language!r}; `hyperx languages` lists all"
            )
        else:
            problems.append(f"--treebanks: {no_language(language)}")
    return treebank


def release_folder(data_folder: Path, treebank: Treebank) -> Path | None:
    """The treebank's folder in an unpacked UD release: in the data folder, or in `ud` or `ud-treebanks-v2.x` there.

    If there are several releases, the newest is used.
    """
    releases = sorted(data_folder.glob("ud-treebanks-*"), key=lambda path: [*map(int, re.findall(r"\d+", path.name))])
    places = [data_folder, data_folder / "ud", *reversed(releases)]
    return next((folder for place in places if (folder := place / treebank.folder).is_dir()), None)
