"""Language codes and each data set's own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hyperx.languages import (
    UD_TREEBANKS,
    WIKIANN_CONFIGURATIONS,
    canonical,
    is_language,
    language_name,
    suggest,
    ud_treebank,
    wikiann_configuration,
)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *((form, "tr") for form in ("tr", "tur", "tr-TR", "tr_TR", "TR", " tr ")),
        *((form, "yue") for form in ("yue", "zh-yue", "yue-HK")),
        *((form, "zh") for form in ("zh", "zho", "cmn", "zh-Hant", "zh_CN")),
        *((form, "sw") for form in ("sw", "swa", "swh")),
        *((form, "tl") for form in ("tl", "tgl", "fil")),
        *((form, "no") for form in ("no", "nb", "nob")),
        ("nn", "nn"),
        ("als", "als"),
        ("sh", "sh"),
        ("sr-Latn", "sr"),
        ("iw", "he"),
        ("zh-classical", "lzh"),
        ("My Language", "my language"),
    ],
)
def test_the_forms_of_a_language_are_one(code: str, expected: str) -> None:
    assert canonical(code) == expected


@pytest.mark.parametrize("code", UD_TREEBANKS)
def test_canonical_is_a_fixed_point_of_the_treebanks(code: str) -> None:
    assert canonical(code) == code
    assert is_language(code)


def test_each_data_set_has_codes_of_its_own() -> None:
    assert wikiann_configuration("yue") == wikiann_configuration("zh-yue") == "zh-yue"
    assert wikiann_configuration("gsw") == "als"
    assert wikiann_configuration("als") == "sq"
    assert wikiann_configuration("swa") == "sw"
    assert wikiann_configuration("kin") == "rw"
    assert wikiann_configuration("bbj") is None
    assert ud_treebank("gn") == ud_treebank("gun") == "gun_thomas"
    assert ud_treebank("zh-yue") == "yue_hk"
    assert ud_treebank("kmr") == "kmr_mg"


def test_every_wikiann_configuration_is_reached_by_its_own_code() -> None:
    others = {code for code in WIKIANN_CONFIGURATIONS if wikiann_configuration(code) != code}
    assert others == {"als"}  # ISO's als is not WikiANN's
    assert len(WIKIANN_CONFIGURATIONS) == 176


def test_unknown_codes_are_known_as_such() -> None:
    assert not any(map(is_language, ("", "xx", "und", "hello", "english")))
    assert is_language("bbj")


def test_names_and_suggestions() -> None:
    assert language_name("tur") == "Turkish"
    assert language_name("xx-unknown") == "xx-unknown"
    assert suggest("tur", ["de", "tr"]) == "tr"
    assert suggest("de_gsd", ["de_gds", "tr"]) == "de_gds"
    assert suggest("qqq", ["de", "tr"]) is None


def test_no_torch_is_needed() -> None:
    code = "import sys, hyperx.languages; sys.exit('torch' in sys.modules or 'langcodes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
