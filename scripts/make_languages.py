"""Write src/hyperx/languages.tsv: every language of Universal Dependencies and WikiANN, from public lists.

    python scripts/make_languages.py                  # download the lists
    python scripts/make_languages.py --lists FOLDER   # read them from a folder, under the names in LISTS

It needs the package `hyperx` and, for the names of languages without a treebank, `pip install language_data`. The
lists are:

* treebanks.py: names of all treebanks of a UD release, short (`en_ewt`) and long (`UD_English-EWT`). The Stanza project
  makes it for each release; it is in its repository and in its package on PyPI (stanza/models/common/
  short_name_to_treebank.py). Only the dictionary in it is read; nothing is run.
* ud.json: configurations and splits of the UD data set on the Hugging Face hub, from the hub's data set service.
* wikiann.json: the same for WikiANN.

The output depends on the lists alone. If a language has several treebanks with training data and none of them is chosen
below, the script stops: choose one.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
import urllib.request
from collections import defaultdict
from pathlib import Path

import langcodes

from hyperx.languages import TABLE_HEADER, canonical

LISTS = {
    "treebanks.py": "https://raw.githubusercontent.com/stanfordnlp/stanza/main/stanza/models/common/"
    "short_name_to_treebank.py",
    "ud.json": "https://datasets-server.huggingface.co/splits?dataset=universal-dependencies/universal_dependencies",
    "wikiann.json": "https://datasets-server.huggingface.co/splits?dataset=unimelb-nlp/wikiann",
}
TARGET = Path(__file__).parents[1] / "src" / "hyperx" / "languages.tsv"

SPLITS = {"train": "train", "dev": "dev", "validation": "dev", "test": "test"}

PUBLISHED = """
    en_ewt ar_padt zh_gsd tr_imst kk_ktb ta_ttb yue_hk br_keb is_pud tl_trg yo_ytb fo_oft ug_udt mt_mudt sa_ufal
    hsb_ufal gun_thomas
    """.split()  # noqa: SIM905  (a list of words reads better)
"""The treebanks of the published Hyper-X code."""

CHOSEN = """
    akk_riao cop_scriptorium cpg_tuecl cs_pdtc de_gsd el_gdt eo_prago es_gsd et_edt fa_perdt fi_tdt fr_gsd ga_idt gl_ctg
    grc_proiel gsw_uzh ha_southernautogramm he_htb hy_armtdp id_gsd it_isdt ja_gsd ka_glc ko_gsd la_ittb lt_alksnis
    mr_ufal nl_lassysmall no_bokmaal orv_torot ota_boun pa_cs pl_pdb ps_prince pt_bosque ro_rrt ru_gsd sga_dipsgg si_stb
    sl_ssj sv_talbanken uk_iu
    """.split()  # noqa: SIM905  (a list of words reads better)
"""The usual choice in the literature among several treebanks: large, freely licensed, and with its text."""

OWN_ROWS = {"nn": ["no_nynorsk"], "gn": ["gun_thomas", "gn_oldtudet"]}
"""Languages whose treebanks are under another code: Norwegian Nynorsk, and the published code's `gn`."""

WIKIPEDIA = {"als": "gsw"}
"""Codes of WikiANN that mean another language in ISO 639: its `als` is Alemannic."""

NAMES = {
    "be-tarask": "Belarusian (Taraškievica)",
    "bho": "Bhojpuri",
    "eml": "Emiliano-Romagnolo",
    "gn": "Guaraní",
    "map-bms": "Banyumasan",
    "nn": "Norwegian Nynorsk",
    "no": "Norwegian Bokmål",
    "sh": "Serbo-Croatian",
    "simple": "Simple English",
    "tl": "Tagalog",
    "wuu": "Wu Chinese",
}
"""Names that the lists lack or that would be misleading."""


def read_lists(folder: Path | None) -> dict[str, str]:
    """The text of each list, from a folder or downloaded."""
    if folder:
        return {name: (folder / name).read_text(encoding="utf-8") for name in LISTS}
    return {name: urllib.request.urlopen(address, timeout=60).read().decode() for name, address in LISTS.items()}


def long_names(text: str) -> dict[str, str]:
    """UD's short name of a treebank -> its folder in a release."""
    (dictionary,) = (
        ast.literal_eval(node.value)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SHORT_NAMES"
    )
    # The list distinguishes written standards and scripts that have a single code in UD.
    return {re.sub("^n[bn]_", "no_", re.sub("^zh-han[st]_", "zh_", short)): name for short, name in dictionary.items()}


def splits_of(text: str) -> dict[str, list[str]]:
    """Configuration of a data set -> the splits that it has, with our names and in our order."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in json.loads(text)["splits"]:
        found[row["config"]].add(SPLITS[row["split"]])
    return {name: [split for split in ("train", "dev", "test") if split in found[name]] for name in sorted(found)}


def by_language(treebanks: dict[str, list[str]]) -> dict[str, list[str]]:
    """Canonical code -> the language's treebanks, the default one first."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in treebanks:
        groups[canonical(name.partition("_")[0])].append(name)
    groups |= OWN_ROWS
    undecided = []
    for code, names in groups.items():
        trained = [name for name in names if "train" in treebanks[name]] or names
        choices = [name for chosen in (PUBLISHED, CHOSEN, trained) for name in chosen if name in names]
        if choices[0] in trained and len(trained) > 1 and choices[0] not in PUBLISHED + CHOSEN:
            undecided.append(f"{code}: {' '.join(trained)}")
        names.sort(key=lambda name: (name != choices[0], name))
    if undecided:
        sys.exit("choose one of each in CHOSEN:\n" + "\n".join(undecided))
    return dict(groups)


def name_of(code: str, treebanks: list[str], folders: dict[str, str]) -> str:
    """The English name of a language: UD's, or else that in the Unicode locale data."""
    if code in NAMES:
        return NAMES[code]
    if treebanks:
        return folders[treebanks[0]].removeprefix("UD_").rpartition("-")[0].replace("_", " ")
    return langcodes.Language.get(code).display_name()


def main() -> None:
    """Read, combine, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lists", type=Path, help="folder with the lists; by default they are downloaded")
    lists = read_lists(parser.parse_args().lists)
    folders, splits = long_names(lists["treebanks.py"]), splits_of(lists["ud.json"])
    if unknown := [name for name in [*splits, *PUBLISHED, *CHOSEN] if name not in folders or name not in splits]:
        sys.exit(f"treebanks that a list lacks: {' '.join(unknown)}")
    treebanks = by_language(splits)
    wikiann = {WIKIPEDIA.get(code) or canonical(code): code for code in splits_of(lists["wikiann.json"])}
    lines = [TABLE_HEADER]
    for code in sorted(treebanks | wikiann):
        names = treebanks.get(code, [])
        entries = [f"{name}={folders[name].removeprefix('UD_')}:{','.join(splits[name])}" for name in names]
        lines.append("\t".join([code, name_of(code, names, folders), wikiann.get(code, ""), " ".join(entries)]))
    TARGET.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    print(f"{len(lines) - 1} languages, {len(splits)} treebanks, {len(wikiann)} configurations of WikiANN in {TARGET}")


if __name__ == "__main__":
    main()
