"""Folders of data and treebanks: where they are by convention, and which of their files are which split."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from hyperx.data.locate.places import SPLIT_NAMES, SPLITS, Files
from hyperx.data.read.base import TEXT
from hyperx.data.read.formats import endings, format_problem
from hyperx.errors import did_you_mean
from hyperx.languages import (
    Treebank,
    canonical,
    find_treebank,
    is_language,
    known_languages,
    language_name,
    no_language,
    treebanks_of,
)
from hyperx.pairs import TaskLanguagePair

# UD releases, whose largest treebanks split train into parts (-train-a, ...). Their .txt files hold the raw text.
_RELEASE_NAME = re.compile(r"(?P<treebank>.+)-ud-(?P<split>train|dev|test)(?P<part>-.+)?")
_RELEASE_ENDINGS = (".conllu", ".iob2")


def folder_of(data_folder: Path, pair: TaskLanguagePair, column: str, problems: list[str]) -> Path | None:
    """`<data_folder>/<task>/<language>`, a folder or for raw text also a file, under any code of the language; the
    user's own spelling comes first."""
    files = endings(TEXT) if column == TEXT else ()
    paths = _inside(data_folder / pair.task, str(pair), problems) or []
    paths = [path for path in paths if path.is_dir() or path.suffix.lower() in files]
    same = [path for path in paths if canonical(_name(path)) == canonical(pair.language)]
    matching = [path for path in same if _name(path) == pair.language] or same
    if len(matching) > 1:
        found = f"{pair}: found two folders or files of one language, {' and '.join(map(str, matching))}"
        problems.append(f"{found}; keep one or name it in the data table")
    return matching[0] if matching else None


def _inside(folder: Path, place: str, problems: list[str]) -> list[Path] | None:
    """What is in a folder, if there is one; None, and a problem, if it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        found = f"found {folder}: {error.strerror}"
        problems.append(f"{place}: expected a readable folder, {found}; change its permissions")
        return None


def _name(path: Path) -> str:
    """The name of a folder, or of a file without its extension."""
    return path.stem if path.suffix.lower() in endings() and path.is_file() else path.name


def likely_meant(
    folder: Path, pair: TaskLanguagePair, columns: Mapping[str, str], tabled: Collection[str]
) -> str | None:
    """What is likely meant as a pair's data, though it is not read, and what to do: a folder of another case, with the
    name of the language, or with language and task swapped; another treebank; files that lie one folder too high. The
    tasks have ``columns``; files of the languages that the data table has, ``tabled``, may lie anywhere."""
    code, task, column = canonical(pair.language), pair.task.lower(), columns[pair.task]
    name, treebanks = language_name(code).lower(), treebanks_of(code) if code not in tabled else ()
    here = [one for one in treebanks if release_folder(folder, one)] if column in UD_COLUMNS else []
    if here and here[0] != treebanks[0]:
        found = release_folder(folder, here[0])
        return f"found {found}; choose it with --treebanks {code}={here[0].name}, or name it in the data table"

    def words_of(text: str) -> set[str]:
        found = set(re.findall(rf"\b{re.escape(name)}\b|[^\W_]+", text.lower()))
        # `be-tarask` is another language than `be`; `ner-en` would be one by the standard.
        return {canonical(text)} if found.isdisjoint({*SPLIT_NAMES, task}) and is_language(text) else found

    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        is_file, is_below = path.suffix.lower() in endings(column), path.parent != folder
        above, own = words_of(path.parent.name * is_below), words_of(path.stem if is_file else path.name)
        splits, words = sorted(own & SPLIT_NAMES.keys()) * is_file, (own | above) - SPLIT_NAMES.keys() - {task}
        rest = {word for word in words if word != name and canonical(word) != code}
        if not rest.isdisjoint({*above, *columns}):
            continue
        if words == rest:  # of no language: it may be of anything, unless nothing else is in its place
            proper = path.parent.glob("*/*" if is_below else "*/*/*")
            is_likely = bool(splits) and not (
                words or tabled or any(path.parent.glob("UD_*")) or any(map(_split_of, proper))
            )
        elif splits:
            is_likely = code not in tabled and not here
        else:
            is_likely = task in above or (not rest and (task in own or path.suffix.lower() in _RELEASE_ENDINGS))
        if is_likely and (path.is_file() if is_file else path.is_dir()):
            target = folder / pair.task / pair.language / f"{SPLIT_NAMES[splits[0]]}{path.suffix}" if splits else ""
            move = f"move it to {target}, name it in the data table, or name another --data_folder"
            return f"found {path}; {move if splits else 'rename it, or name it in the data table'}"
    return None


def splits_of(folder: Path, column: str, place: str, problems: list[str], start: str = "") -> dict[str, Files]:
    """The splits of a folder whose files hold a column, `{train,dev,test}.*`, or a UD or UNER release; a file of raw
    text is a train split. Messages name it by its ``place``, and tell where its path starts if there is nothing."""
    if column == TEXT and folder.is_file():
        return {"train": Files(checked_files([folder], column, place, problems))}
    if folder.is_file():
        advice = f"say which split it is, such as {{test: {folder.name}}}"
        problems.append(f"{place}: expected a folder, found the file {folder}; {advice}")
    elif not folder.is_dir():
        advice = "a data set of the hub is written {hub: {name: ..., configuration: ...}}"
        problems.append(f"{place}: expected a folder, found none at {folder}{start}; {advice}")
    if not folder.is_dir():
        return {}
    if (paths := _inside(folder, place, problems)) is None:
        return {}
    by_split: dict[str, list[Path]] = {}
    for path in paths:
        if path.is_file() and (split := _split_of(path)):
            by_split.setdefault(split, []).append(path)
    known = ", ".join(endings(column))
    if not by_split:
        found = ", ".join(path.name for path in paths[:5]) or "nothing"
        named = f"train, dev (or validation) or test with the extension {known}"
        problems.append(f"{place}: expected files in {folder} named {named}, or as in UD releases; found {found}")
        return {}
    for path in paths:
        split = SPLIT_NAMES.get(path.name.partition(".")[0].lower())
        if split and split not in by_split:
            expected = f"expected {split} with the extension {known}, found {path}"
            problems.append(f"{place}: {expected}; rename or convert it")
    for split, own in by_split.items():
        # Several files make one split only if they are the parts of one treebank.
        matches = [_RELEASE_NAME.fullmatch(path.stem) for path in own]
        treebanks = {match and match["part"] and match["treebank"] for match in matches} | {path.suffix for path in own}
        if len(own) > 1 and (len(treebanks) > 2 or None in treebanks):
            found = f"found {' and '.join(path.name for path in own)} for {split} in {folder}"
            problems.append(f"{place}: {found}; keep one, or name the file in the data table")
        problems.extend(f"{place}: {problem}" for path in own if (problem := format_problem(path, column)))
    return {split: Files(tuple(by_split[split])) for split in SPLITS if split in by_split}


def checked_files(
    paths: Sequence[Path], column: str, place: str, problems: list[str], starts: Sequence[str] = ("",)
) -> tuple[Path, ...]:
    """Files that must be there and hold a column, judged by their names; ``starts`` tell where each path does."""
    for path, start in zip(paths, starts, strict=True):
        if not path.is_file():
            found = f"a folder at {path}" if path.is_dir() else f"none at {path}{start}"
            problems.append(f"{place}: expected a file, found {found}")
        elif problem := format_problem(path, column):
            problems.append(f"{place}: {problem}")
    return tuple(paths)


def named_test(path: Path) -> bool:
    """Whether the last name of a split in a file's name is test."""
    words = [word for word in re.findall("[a-z]+", path.name.lower()) if word in SPLIT_NAMES]
    return words[-1:] == ["test"]


def _split_of(path: Path) -> str | None:
    """The split of a file by its name; None for other files."""
    if path.suffix.lower() in _RELEASE_ENDINGS and (match := _RELEASE_NAME.fullmatch(path.stem)):
        return match["split"]
    return SPLIT_NAMES.get(path.stem.lower()) if path.suffix.lower() in endings() else None


# Treebanks ------------------------------------------------------------------------------------------------------------

UD_COLUMNS = frozenset({"upos", "head", "deprel"})
"""The columns that treebanks have."""


def choose_treebanks(entries: Sequence[str], problems: list[str]) -> dict[str, tuple[Treebank, ...]]:
    """The user's choice of treebanks, such as `tr=tr_boun` or `en=EWT+GUM`, by the canonical code of the language."""
    chosen: dict[str, tuple[Treebank, ...]] = {}
    for entry in entries:
        language, _, names = entry.partition("=")
        if not (language and names):
            problems.append(f"--treebanks: expected LANGUAGE=TREEBANK, such as en=en_gum; found {entry!r}")
            continue
        if canonical(language) in chosen:
            problems.append(f"--treebanks: {entry}: the language is named twice; join its treebanks with +")
        found = {name: find_treebank(language, name) for name in names.split("+")}
        known = [treebank.name for treebank in treebanks_of(language)]
        for name in (name for name, treebank in found.items() if treebank is None):
            if known:
                others = [code for code in known_languages() if find_treebank(code, name)]
                hint = f" It is one of {', '.join(others)}." if others else did_you_mean(name, known)
                fault = f"{language} has no treebank {name!r}; it has {', '.join(known)}.{hint}"
            elif is_language(language):
                fault = f"UD has no treebank of the language {language!r}; `hyperx languages` lists all"
            else:
                fault = no_language(language)
            problems.append(f"--treebanks: {fault}")
        chosen[canonical(language)] = tuple(dict.fromkeys(treebank for treebank in found.values() if treebank))
    return chosen


def release_folder(data_folder: Path, treebank: Treebank) -> Path | None:
    """The treebank's folder in an unpacked UD release: in the data folder, or in `ud` or `ud-treebanks-v2.x` there.

    If there are several releases, the newest is used.
    """
    releases = sorted(data_folder.glob("ud-treebanks-*"), key=lambda path: [*map(int, re.findall(r"\d+", path.name))])
    places = [data_folder, data_folder / "ud", *reversed(releases)]
    return next((folder for place in places if (folder := place / treebank.folder).is_dir()), None)
