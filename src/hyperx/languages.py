"""Language codes: one canonical form for a language, and each data set's own code for it."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterable
from functools import cache

# Forms of one language that BCP 47 keeps apart: the predominant member of a macrolanguage, and two names for one.
_SAME_LANGUAGE = {
    "arb": "ar",
    "azj": "az",
    "cmn": "zh",
    "ekk": "et",
    "fil": "tl",
    "gug": "gn",
    "khk": "mn",
    "kmr": "ku",
    "lvs": "lv",
    "nb": "no",
    "nob": "no",
    "npi": "ne",
    "ory": "or",
    "pes": "fa",
    "plt": "mg",
    "swh": "sw",
    "uzn": "uz",
    "ydd": "yi",
    "zsm": "ms",
}

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

# Canonical code -> English name and the treebank that is read where nobody names one: the largest that is the usual
# choice in the literature, and for the languages of the published code the one that it used.
_UD = {
    "af": ("Afrikaans", "af_afribooms"),
    "am": ("Amharic", "am_att"),
    "ar": ("Arabic", "ar_padt"),
    "be": ("Belarusian", "be_hse"),
    "bg": ("Bulgarian", "bg_btb"),
    "bho": ("Bhojpuri", "bho_bhtb"),
    "bm": ("Bambara", "bm_crb"),
    "br": ("Breton", "br_keb"),
    "bxr": ("Buryat", "bxr_bdt"),
    "ca": ("Catalan", "ca_ancora"),
    "ceb": ("Cebuano", "ceb_gja"),
    "cop": ("Coptic", "cop_scriptorium"),
    "cs": ("Czech", "cs_pdt"),
    "cu": ("Old Church Slavonic", "cu_proiel"),
    "cy": ("Welsh", "cy_ccg"),
    "da": ("Danish", "da_ddt"),
    "de": ("German", "de_gsd"),
    "el": ("Greek", "el_gdt"),
    "en": ("English", "en_ewt"),
    "es": ("Spanish", "es_gsd"),
    "et": ("Estonian", "et_edt"),
    "eu": ("Basque", "eu_bdt"),
    "fa": ("Persian", "fa_perdt"),
    "fi": ("Finnish", "fi_tdt"),
    "fo": ("Faroese", "fo_oft"),
    "fr": ("French", "fr_gsd"),
    "fro": ("Old French", "fro_profiterole"),
    "ga": ("Irish", "ga_idt"),
    "gd": ("Scottish Gaelic", "gd_arcosg"),
    "gl": ("Galician", "gl_ctg"),
    # The paper calls its Mbyá Guaraní treebank `gn`, the code of Guaraní as a whole.
    "gn": ("Guaraní", "gun_thomas"),
    "got": ("Gothic", "got_proiel"),
    "grc": ("Ancient Greek", "grc_proiel"),
    "gsw": ("Swiss German", "gsw_uzh"),
    "gun": ("Mbyá Guaraní", "gun_thomas"),
    "gv": ("Manx", "gv_cadhan"),
    "he": ("Hebrew", "he_htb"),
    "hi": ("Hindi", "hi_hdtb"),
    "hr": ("Croatian", "hr_set"),
    "hsb": ("Upper Sorbian", "hsb_ufal"),
    "hu": ("Hungarian", "hu_szeged"),
    "hy": ("Armenian", "hy_armtdp"),
    "id": ("Indonesian", "id_gsd"),
    "is": ("Icelandic", "is_pud"),
    "it": ("Italian", "it_isdt"),
    "ja": ("Japanese", "ja_gsd"),
    "kk": ("Kazakh", "kk_ktb"),
    "ko": ("Korean", "ko_gsd"),
    "koi": ("Komi Permyak", "koi_uh"),
    "kpv": ("Komi Zyrian", "kpv_lattice"),
    "krl": ("Karelian", "krl_kkpp"),
    "ku": ("Kurmanji", "kmr_mg"),
    "la": ("Latin", "la_ittb"),
    "lij": ("Ligurian", "lij_glt"),
    "lt": ("Lithuanian", "lt_alksnis"),
    "lv": ("Latvian", "lv_lvtb"),
    "lzh": ("Classical Chinese", "lzh_kyoto"),
    "mdf": ("Moksha", "mdf_jr"),
    "mr": ("Marathi", "mr_ufal"),
    "mt": ("Maltese", "mt_mudt"),
    "myv": ("Erzya", "myv_jr"),
    "nds": ("Low Saxon", "nds_lsdc"),
    "nl": ("Dutch", "nl_lassysmall"),
    "nn": ("Norwegian Nynorsk", "no_nynorsk"),
    "no": ("Norwegian Bokmål", "no_bokmaal"),
    "olo": ("Livvi", "olo_kkpp"),
    "orv": ("Old East Slavic", "orv_torot"),
    "pcm": ("Naija", "pcm_nsc"),
    "pl": ("Polish", "pl_pdb"),
    "pt": ("Portuguese", "pt_bosque"),
    "ro": ("Romanian", "ro_rrt"),
    "ru": ("Russian", "ru_gsd"),
    "sa": ("Sanskrit", "sa_ufal"),
    "se": ("North Sámi", "sme_giella"),
    "sk": ("Slovak", "sk_snk"),
    "sl": ("Slovenian", "sl_ssj"),
    "sms": ("Skolt Sámi", "sms_giellagas"),
    "sq": ("Albanian", "sq_tsa"),
    "sr": ("Serbian", "sr_set"),
    "sv": ("Swedish", "sv_talbanken"),
    "ta": ("Tamil", "ta_ttb"),
    "te": ("Telugu", "te_mtg"),
    "th": ("Thai", "th_pud"),
    "tl": ("Tagalog", "tl_trg"),
    "tr": ("Turkish", "tr_imst"),
    "ug": ("Uyghur", "ug_udt"),
    "uk": ("Ukrainian", "uk_iu"),
    "ur": ("Urdu", "ur_udtb"),
    "vi": ("Vietnamese", "vi_vtb"),
    "wbp": ("Warlpiri", "wbp_ufal"),
    "wo": ("Wolof", "wo_wtb"),
    "yo": ("Yoruba", "yo_ytb"),
    "yue": ("Cantonese", "yue_hk"),
    "zh": ("Chinese", "zh_gsd"),
}

UD_TREEBANKS: dict[str, str] = {language: treebank for language, (_, treebank) in _UD.items()}
"""Canonical language code -> name of the treebank (the hub configuration) that is read by default."""

_CONFIGURATIONS = """
    ace af als am an ang ar arc arz as ast ay az ba bar bat-smg be be-x-old bg bh bn bo br bs ca cbk-zam cdo ce ceb
    ckb co crh cs csb cv cy da de diq dv el eml en eo es et eu ext fa fi fiu-vro fo fr frr fur fy ga gan gd gl gn gu
    hak he hi hr hsb hu hy ia id ig ilo io is it ja jbo jv ka kk km kn ko ksh ku ky la lb li lij lmo ln lt lv map-bms
    mg mhr mi min mk ml mn mr ms mt mwl my mzn nap nds ne nl nn no nov oc or os pa pdc pl pms pnb ps pt qu rm ro ru
    rw sa sah scn sco sd sh si simple sk sl so sq sr su sv sw szl ta te tg th tk tl tr tt ug uk ur uz vec vep vi vls
    vo wa war wuu xmf yi yo zea zh zh-classical zh-min-nan zh-yue
    """
WIKIANN_CONFIGURATIONS = frozenset(_CONFIGURATIONS.split())
"""WikiANN's configurations, in its own spelling."""

# WikiANN spells languages as Wikipedia does. Its `als` is Alemannic (ISO: gsw); ISO's `als` is Tosk Albanian (`sq`).
_WIKIANN = {canonical: code for code, canonical in _WIKIPEDIA.items() if code in WIKIANN_CONFIGURATIONS}
_WIKIANN |= {"als": "sq", "gsw": "als"}


def _standard(code: str) -> str | None:
    """The language subtag of a well-formed BCP-47 tag in its shortest ISO 639 form, or None."""
    import langcodes
    from langcodes.tag_parser import LanguageTagError

    try:
        return langcodes.Language.get(code).language
    except LanguageTagError:
        return None


@cache
def canonical(code: str) -> str:
    """The one form of a language code that stands for the language: `tur`, `tr-TR` and `tr_tr` are `tr`.

    Script and region are left out: they do not make another language. A code that no standard knows is its own
    canonical form in lower case (see `is_language`), so a user's own names for languages work too. ISO 639's meaning
    is taken: `als` is Tosk Albanian here, although WikiANN means Alemannic by it.
    """
    lowered = code.strip().replace("_", "-").lower()
    if lowered in _WIKIPEDIA:
        return _WIKIPEDIA[lowered]
    primary = lowered.partition("-")[0]
    if primary in _KEPT:
        return _KEPT[primary]
    standard = _standard(lowered) or lowered
    return _SAME_LANGUAGE.get(standard, standard)


@cache
def is_language(code: str) -> bool:
    """Whether a code names a language, in ISO 639, BCP 47 or as a Wikipedia edition does."""
    import langcodes

    known = canonical(code)
    return known in _UD or known in _WIKIPEDIA.values() or (known != "und" and langcodes.tag_is_valid(known))


def language_name(code: str) -> str:
    """The English name of a language, or the code itself where no name is known.

    The names of the languages that have a treebank are part of Hyper-X; more come from the optional package
    `language_data`.
    """
    known = canonical(code)
    if known in _UD:
        return _UD[known][0]
    # Asked for a name without its data, langcodes prints advice to the terminal: look before asking.
    if importlib.util.find_spec("language_data") is None or not is_language(code):
        return code
    import langcodes

    return str(langcodes.Language.get(known).display_name())


def suggest(code: str, known: Iterable[str]) -> str | None:
    """The one of some known codes that a user most likely meant: the same language, else the closest spelling."""
    codes = list(known)
    same = [candidate for candidate in codes if canonical(candidate) == canonical(code)]
    close = same or difflib.get_close_matches(code, codes, n=1, cutoff=0.5)
    return close[0] if close else None


def suggestion(code: str, known: Iterable[str]) -> str:
    """A hint for a misspelt code: " Did you mean 'tr'?", or "" where nothing is close or the code is right."""
    near = suggest(code, known)
    return f" Did you mean {near!r}?" if near and near != code else ""


def ud_treebank(language: str) -> str | None:
    """The default treebank of a language, such as `tr_imst`, or None where it has none."""
    return UD_TREEBANKS.get(canonical(language))


def wikiann_configuration(language: str) -> str | None:
    """WikiANN's own code for a language, or None where it has none: `yue` is its `zh-yue`, `gsw` its `als`."""
    known = canonical(language)
    code = _WIKIANN.get(known, known)
    return code if code in WIKIANN_CONFIGURATIONS else None
