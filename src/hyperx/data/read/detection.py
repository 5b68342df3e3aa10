"""The language of a text, as py3langid (an extra) detects it: one of 139, offline."""

from __future__ import annotations

import importlib.util
import logging
from functools import cache
from typing import TYPE_CHECKING

from hyperx.errors import HyperXError
from hyperx.languages import canonical

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

log = logging.getLogger(__name__)

AUTO = "auto"
"""What stands in the place of a language that is to be detected."""
MISSING = 'detecting languages needs the package py3langid: pip install "hyperx-nlp[detect]"'
SURE = 0.7
"""The probability below which a detected language is often another: of such sentences four in ten."""
_told = set[str]()


def detection_problem(language: str | None) -> str | None:
    """That a language is to be detected, and what does it is not installed; None if not."""
    return MISSING if language == AUTO and importlib.util.find_spec("py3langid") is None else None


def detected(text: str) -> str:
    """The code of the language that a text is most likely in; logged, once for each language, where that is not sure.
    Raises a HyperXError if the package is not installed."""
    code, probability = _identifier().classify(text)
    language = canonical(code)
    if probability < SURE and language not in _told:
        _told.add(language)
        hint = "name the language if it is another"
        log.warning("%r is taken as %s, with probability %.2f: %s", text[:40], language, probability, hint)
    return language


@cache
def _identifier() -> LanguageIdentifier:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise HyperXError(MISSING) from error
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([code for code in identifier.labels if code != "zxx"])  # no language at all
    return identifier
