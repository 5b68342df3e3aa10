"""``hyperx languages``."""

from __future__ import annotations

from collections.abc import Sequence

from hyperx.cli.options import parse
from hyperx.config import LanguagesConfig
from hyperx.errors import HyperXError
from hyperx.languages import Language, canonical, known_languages
from hyperx.tables import print_table, print_text


def main(arguments: Sequence[str]) -> None:
    """Print the table; raises a HyperXError if no language is called by the words."""
    words = parse(LanguagesConfig, arguments, "languages").words
    every = known_languages().values()
    rows = []
    for language in every:
        if not words or any(_matches(language, word) for word in words):
            names = [treebank.name + ("" if "train" in treebank.splits else "*") for treebank in language.treebanks]
            first, others = "".join(names[:1]), ", ".join(names[1:])
            rows.append([language.code, language.name, first, others, language.wikiann or ""])
    if not rows:
        raise HyperXError(f"no language or treebank is called {' or '.join(words)}; `hyperx languages` lists all")
    header = ["code", "language", "default treebank", "other treebanks", "WikiANN"]
    print_table("Languages", header, rows, text_columns=len(header))
    print_text(
        f"{len(rows)} of {len(every)} languages. * has no train split. Choose with: --treebanks LANGUAGE=TREEBANK"
    )


def _matches(language: Language, word: str) -> bool:
    """Whether a word is the language's code or, if it is no language's code, part of its name or of a treebank's."""
    if canonical(word) in known_languages():
        return canonical(word) == language.code
    names = [language.name, *(name for one in language.treebanks for name in (one.name, one.folder))]
    return any(word.lower() in name.lower() for name in names)
