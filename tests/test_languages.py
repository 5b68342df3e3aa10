"""Language codes and each data set's own."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import langcodes
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperx.languages import (
    FORMER_TREEBANKS,
    Language,
    canonical,
    find_treebank,
    is_language,
    known_languages,
    no_language,
    suggestion,
    treebanks_of,
    wikiann_configuration,
)

TABLE = list(known_languages().values())
SCRIPT = Path(__file__).parents[1] / "scripts" / "make_languages.py"


def default(code: str) -> str | None:
    return treebanks_of(code)[0].name if treebanks_of(code) else None


FORMS = {
    "tr": "tr tur tr-TR tr_TR TR", "yue": "yue zh-yue yue-HK", "zh": "zh zho chi cmn zh-Hant zh_CN zh-cmn-Hans",
    "sw": "sw swa swh", "tl": "tl tgl fil", "no": "no nb nob", "nn": "nn", "sq": "sq sqi alb als", "se": "se sme",
    "de": "de deu ger de-Latn-AT", "ku": "ku kur kmr", "kv": "kv kpv", "sh": "sh", "sr": "sr-Latn", "he": "iw",
    "lzh": "zh-classical", "hak": "zh-hak", "arz": "ar-arz", "qtd": "qtd",
}  # fmt: skip


def test_the_forms_of_a_language_are_one() -> None:
    forms = [(form, code) for code, forms in FORMS.items() for form in forms.split()]
    for form, expected in [*forms, (" tr ", "tr"), ("My Language", "my language")]:
        assert canonical(form) == expected, form
    assert not any(map(is_language, ("", "xx", "und", "und-Latn", "hello", "english")))
    assert is_language("bbj")
    assert is_language("qtd")


# Properties of the whole table


def standard_codes(language: Language) -> list[str]:
    """The language's codes in ISO 639-1, -2/T, -2/B and -3, where it has them."""
    tag = langcodes.Language.make(language=language.code)
    found = [language.code]
    for variant in ("T", "B"):
        try:
            found.append(tag.to_alpha3(variant=variant))
        except LookupError:
            continue
    return found


def test_a_language_is_found_under_each_of_its_codes() -> None:
    for language in TABLE:
        for code in standard_codes(language):
            for form in (code, code.upper(), f" {code}"):
                assert canonical(form) == language.code, form
                assert is_language(form), form
        if "-" not in language.code and langcodes.tag_is_valid(language.code):
            assert canonical(f"{language.code}-Latn-DE") == canonical(f"{language.code}_DE") == language.code
        assert known_languages()[language.code].name not in ("", language.code)


def test_every_ud_code_leads_to_its_treebanks() -> None:
    for language in TABLE:
        for treebank in language.treebanks:
            ud_code = treebank.name.partition("_")[0]
            known = treebanks_of("gun" if treebank.name == "gun_thomas" else ud_code)
            assert treebank in known or language.code == "nn"
            folder = treebank.folder.removeprefix("UD_")
            for name in (treebank.name, treebank.folder, folder, folder.rpartition("-")[2], treebank.name.upper()):
                assert find_treebank(language.code, name) == treebank
            assert treebank.splits
            assert set(treebank.splits) <= {"train", "dev", "test"}


def test_every_wikiann_configuration_belongs_to_one_language() -> None:
    configurations = [language.wikiann for language in TABLE if language.wikiann]
    assert len(configurations) == len(set(configurations)) == 176
    for language in TABLE:
        assert wikiann_configuration(language.code) == language.wikiann
    others = {code for code in configurations if wikiann_configuration(code) != code}
    assert others == {"als"}  # ISO's als is not WikiANN's


def test_the_table_has_all_of_ud() -> None:
    treebanks = {treebank.name for language in TABLE for treebank in language.treebanks}
    assert len(treebanks) == 350
    assert len({name.partition("_")[0] for name in treebanks}) == 193
    assert {canonical(name.partition("_")[0]) for name in treebanks} <= known_languages().keys()
    assert set(FORMER_TREEBANKS.values()) <= treebanks
    assert not FORMER_TREEBANKS.keys() & treebanks
    assert len({language.code for language in TABLE}) == len(TABLE) == 267


@given(st.one_of(st.text(max_size=12), st.sampled_from([language.code for language in TABLE]).map(str.upper)))
def test_canonical_is_idempotent(code: str) -> None:
    assert canonical(canonical(code)) == canonical(code)


# Data sets


def test_each_data_set_has_codes_of_its_own() -> None:
    configurations = {"yue": "zh-yue", "zh-yue": "zh-yue", "gsw": "als", "als": "sq", "swa": "sw", "kin": "rw"}
    assert {code: wikiann_configuration(code) for code in configurations} == configurations
    assert wikiann_configuration("bbj") is None
    defaults = {"gn": "gun_thomas", "gun": "gun_thomas", "zh-yue": "yue_hk", "kmr": "kmr_kurmanji"}
    defaults |= {"nb": "no_bokmaal", "nno": "no_nynorsk"}
    assert {code: default(code) for code in defaults} == defaults
    assert default("simple") is None


PUBLISHED = {
    **{"en": "ewt", "ar": "padt", "zh": "gsd", "tr": "imst", "kk": "ktb", "ta": "ttb", "br": "keb", "is": "pud"},
    **{"tl": "trg", "yo": "ytb", "fo": "oft", "ug": "udt", "mt": "mudt", "sa": "ufal", "hsb": "ufal", "yue": "hk"},
}


def test_the_published_codes_treebanks_are_the_defaults_and_others_can_be_trained_on() -> None:
    assert {code: default(code) for code in PUBLISHED} == {code: f"{code}_{name}" for code, name in PUBLISHED.items()}
    published = {f"{code}_{name}" for code, name in PUBLISHED.items()} | {"gun_thomas"}
    for language in TABLE:
        if language.treebanks and language.treebanks[0].name not in published:
            trained = ["train" in treebank.splits for treebank in language.treebanks]
            assert trained[0] == any(trained), language.code


def test_treebanks_are_found_by_any_name() -> None:
    assert find_treebank("ces", "cs_pdt") == find_treebank("cs", "PDTC")
    assert find_treebank("en", "gum") != find_treebank("en", "gumreddit")
    assert find_treebank("en", "gsd") is None
    assert find_treebank("so", "ewt") is None
    assert treebanks_of("so") == treebanks_of("xx") == ()


@pytest.mark.parametrize(
    ("code", "known", "meant"),
    [
        ("tur", ["de", "tr"], "tr"),
        ("turkish", ["de"], "tr"),
        ("englsh", ["sh"], "en"),
        ("de_gsx", ["de_gds", "tr"], "de_gds"),
        ("eng_x9", ["ne"], "en"),
        ("en_ewt", ["ne"], "en"),
        ("cs_pdt", ["pdt"], "cs"),
        ("UD_Turkish-BOUN", [], "tr"),
        ("Swiss", ["is"], None),
        ("qqq", ["de", "tr"], None),
        ("tr", ["tr"], None),
    ],
)
def test_suggestions(code: str, known: list[str], meant: str | None) -> None:
    assert suggestion(code, known) == (f" Did you mean {meant!r}?" if meant else "")


@pytest.mark.parametrize("name", ["en_gum", "en-gum", "UD_English-GUM"])  # `gum` is a language
def test_a_treebank_is_no_language(name: str) -> None:
    assert not is_language(name)
    told = f"{name!r} is a treebank of en (English); name the language: en (--treebanks en=en_gum chooses it"
    assert no_language(name, ["ne"]) == f"{told} for training)."
    assert is_language("zh_hk")  # as zh-HK


# The script that makes the table


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The script as a module, with choices and a target of its own."""
    spec = importlib.util.spec_from_file_location("make_languages", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PUBLISHED", ["tr_a", "gun_thomas"])
    monkeypatch.setattr(module, "CHOSEN", [])
    monkeypatch.setattr(module, "TARGET", tmp_path / "languages.tsv")
    monkeypatch.setattr(sys, "argv", ["make_languages.py", "--lists", str(tmp_path)])
    return module


def put_lists(folder: Path, ud: dict[str, str], wikiann: list[str]) -> None:
    (folder / "treebanks.py").write_text(f"import os\nSHORT_NAMES = {NAMES}\nraise SystemExit\n")
    rows = [{"config": name, "split": split} for name, splits in ud.items() for split in splits.split()]
    (folder / "ud.json").write_text(json.dumps({"splits": rows}))
    (folder / "wikiann.json").write_text(json.dumps({"splits": [{"config": c, "split": "test"} for c in wikiann]}))


NAMES = {
    "nn_nynorsk": "UD_Norwegian-Nynorsk", "gun_thomas": "UD_Mbya_Guarani-Thomas", "gn_oldtudet": "UD_Guarani-OldTuDeT",
    "tr_a": "UD_Turkish-A", "tr_b": "UD_Turkish-B", "gsw_u": "UD_Alemannic-U", "cs_x": "UD_Czech-X",
    "cs_y": "UD_Czech-Y",
}  # fmt: skip
SPLITS = {
    "no_nynorsk": "train", "gun_thomas": "test", "gn_oldtudet": "test", "tr_a": "test", "tr_b": "train test",
    "gsw_u": "test",
}  # fmt: skip


def test_the_script_writes_a_row_a_language(script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_lists(tmp_path, {**SPLITS, "cs_x": "validation test", "cs_y": "test train"}, ["als", "cs", "simple"])
    script.main()
    header, *rows = (tmp_path / "languages.tsv").read_text(encoding="utf-8").splitlines()
    assert header.split("\t") == ["code", "name", "wikiann", "treebanks"]
    assert "cs\tCzech\tcs\tcs_y=Czech-Y:train,test cs_x=Czech-X:dev,test" in rows  # the one with a train split first
    assert "tr\tTurkish\t\ttr_a=Turkish-A:test tr_b=Turkish-B:train,test" in rows  # the published one first
    assert "simple\tSimple English\tsimple\t" in rows
    assert [row.split("\t")[0] for row in rows] == ["cs", "gn", "gsw", "gun", "nn", "no", "simple", "tr"]
    assert capsys.readouterr().out.startswith("8 languages, 8 treebanks, 3 configurations of WikiANN")


def test_the_script_leaves_no_choice_to_chance(script: Any, tmp_path: Path) -> None:
    put_lists(tmp_path, {**SPLITS, "cs_x": "train", "cs_y": "train"}, [])
    with pytest.raises(SystemExit, match="choose one of each in CHOSEN:\ncs: cs_x cs_y"):
        script.main()
    put_lists(tmp_path, {**SPLITS, "xx_new": "train"}, [])
    with pytest.raises(SystemExit, match="treebanks that a list lacks: xx_new"):
        script.main()
    assert not script.TARGET.exists()
