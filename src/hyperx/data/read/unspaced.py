"""Text without spaces between words: Chinese, Japanese and Thai are cut by dictionaries, extras that are imported with
the first line that needs them. Their words are not always those of treebanks: see docs/languages.md."""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Callable, Iterable
from functools import cache
from itertools import accumulate, pairwise

from hyperx.errors import DataError

Cut = Callable[[str], list[str]]
"""From a run of characters without white space to its words, which joined give the run."""
Lengths = Callable[[str], Iterable[int]]
"""The same, as the lengths of the words."""

LONGEST_CUT = 10_000
"""Most characters that are cut at a time: sudachipy takes 49,149 bytes."""
_loading = threading.Lock()  # filters of warnings and variables of the environment are the whole process's

# Scripts without spaces between words, as a regular expression's set of characters. Kana come before Han, so that a
# Japanese line, which has both, is called Japanese.
_UNSPACED_SCRIPTS = {
    "Japanese kana": "\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f\U0001b000-\U0001b16f",
    "Han": "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff",
    "Bopomofo": "\u3105-\u312f\u31a0-\u31bf",
    "Thai": "\u0e01-\u0e3a\u0e40-\u0e4f",
    "Lao": "\u0e80-\u0ecf\u0edc-\u0edf",
    "Khmer": "\u1780-\u17d3\u17d7-\u17dd",
    "Myanmar": "\u1000-\u103f\u1050-\u108f\u109a-\u109d\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa7f",
    "Tibetan": "\u0f00-\u0f1f\u0f35-\u0fff",
    "Javanese": "\ua980-\ua9cd",
    "Balinese": "\u1b00-\u1b4f",
    "Tai": "\u1950-\u19cf\u1a20-\u1a7c\uaa80-\uaadf",
    "Yi": "\ua000-\ua4cf",
}
UNSPACED = re.compile("[" + "".join(_UNSPACED_SCRIPTS.values()) + "]+")


def unspaced_script(line: str) -> str | None:
    """The script without spaces of more than half of a line's letters, or None: a name among other words, as in *she
    flew to Tokyo (東京) in May*, is a word."""
    if line.isascii():
        return None
    unspaced = "".join(UNSPACED.findall(line))
    if 2 * sum(map(str.isalpha, unspaced)) > sum(map(str.isalpha, line)):
        return next(name for name, characters in _UNSPACED_SCRIPTS.items() if re.search(f"[{characters}]", unspaced))
    return None


_EXTRAS = {"Japanese kana": ("ja", "zh"), "Han": ("zh", "ja"), "Bopomofo": ("zh",), "Thai": ("th",)}
"""The extras that cut a script. The language of the text decides; in any other the first one does."""
_EXTRA_OF = {"ja": "ja", "th": "th"} | dict.fromkeys(("zh", "yue", "lzh", "wuu", "nan", "hak", "gan"), "zh")
"""The extra of a language, of which a line is cut even where most of its letters are of other scripts."""


def cut_of(line: str, language: str) -> Cut | None:
    """What cuts the words without spaces of a line in a language, given by its code; None if there are none but names.
    Raises a DataError if no extra cuts the script of most of the line, or that one is not installed."""
    script, own = unspaced_script(line), _EXTRA_OF.get(language)
    if script is None:
        return _loaded(own) if own and UNSPACED.search(line) else None
    if script in _EXTRAS:
        return _loaded(own if own in _EXTRAS[script] else _EXTRAS[script][0])
    raise DataError(
        f"{script} script has no spaces between words, and no rules cut it. Segment it first, such as with stanza, and "
        "pass the words separated by spaces with --input_format tokens"
    )


@cache
def _loaded(extra: str) -> Cut:
    """What cuts by the libraries of an extra; raises a DataError if one is missing."""
    try:
        with _loading, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # jieba's, of its escapes
            lengths = {"ja": _japanese, "th": _thai, "zh": _chinese}[extra]()
    except ImportError as error:
        advice = f'pip install "hyperx-nlp[{extra}]", or pass words separated by spaces with --input_format tokens'
        found = f"found none, and what would cut the text cannot be imported ({error})"
        raise DataError(f"expected spaces between words, {found}: {advice}") from error
    lock = threading.Lock()  # sudachipy refuses a second thread

    def cut(text: str) -> list[str]:
        parts = (text[start : start + LONGEST_CUT] for start in range(0, len(text), LONGEST_CUT))
        with lock:
            return [part[start:end] for part in parts for start, end in pairwise([0, *accumulate(lengths(part))])]

    return cut


def _japanese() -> Lengths:
    from sudachipy import Dictionary, SplitMode

    # The shortest units, which are closest to those of Universal Dependencies.
    tokenizer = Dictionary(dict="core").tokenizer(mode=SplitMode.A)
    return lambda text: (len(morpheme.surface()) for morpheme in tokenizer.tokenize(text))


def _thai() -> Lengths:
    name = "PYTHAINLP_READ_ONLY"
    set_before = os.environ.get(name)
    os.environ[name] = "1"  # while it is imported: else it makes a folder in the user's home
    try:
        from pythainlp.tokenize import word_tokenize
    finally:
        del os.environ[name]
        if set_before is not None:
            os.environ[name] = set_before
    return lambda text: map(len, word_tokenize(text, engine="newmm-safe"))


def _chinese() -> Lengths:
    import jieba
    from opencc import OpenCC

    # `initialize` would read a cache that anyone may have left in the folder for temporary files.
    tokenizer = jieba.Tokenizer()
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    # Most of jieba's words are in simplified characters; each character stands for one.
    han = re.findall(f"[{_UNSPACED_SCRIPTS['Han']}]", "".join(map(chr, range(0x3400, 0x32000))))
    simplified = OpenCC("t2s").convert("\n".join(han)).split("\n")
    table = {ord(char): other for char, other in zip(han, simplified, strict=True) if len(other) == 1}
    return lambda text: map(len, tokenizer.cut(text.translate(table)))
