"""How similar languages are in family and typology, by URIEL (Littell et al. 2017), as the package lang2vec carries it.

Its data is under CC BY-SA and is read from where that package is installed; its code is not imported.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from hyperx.errors import ConfigError
from hyperx.languages import canonical

# NumPy is imported where it is needed: what is wrong with options is said without waiting for it.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float32]

WEIGHS = 'those like it would weigh more with: pip install "hyperx-nlp[typology]"'
MISSING = '--relatives: needs the package lang2vec: pip install "hyperx-nlp[typology]"'
# Codes for several languages -> the member whose features are meant.
_MEMBERS = {"ar": "arb", "et": "est", "fa": "pes", "lv": "lav", "no": "nob", "sw": "swh", "tl": "fil", "zh": "cmn"}


def data_folder() -> Path | None:
    """Where the data of lang2vec is; None if the package is not installed."""
    try:  # it also installs a script lang2vec.py, which is found first as a module by programs beside that
        return Path(str(importlib.metadata.distribution("lang2vec").locate_file("lang2vec/data")))
    except importlib.metadata.PackageNotFoundError:
        return None


def similarities(languages: Sequence[str]) -> Floats:
    """For every two languages the cosine of their families plus that of their syntax, phonology and inventory of sounds
    (imputed where unknown, and centred), from -1 to 2 ``[G, G]``; 0 for a language that the data lacks.

    Raises:
        ConfigError: if the package lang2vec is not installed.
    """
    import numpy as np

    if (folder := data_folder()) is None:
        raise ConfigError([MISSING])
    typology, rows = _features(folder / "feature_predictions.npz")
    families, places = _features(folder / "family_features.npz")
    codes = [_three_letters(language) for language in languages]
    mean, family = typology.mean(axis=0), np.zeros(families.shape[1], np.float32)
    kinds = np.stack([typology[rows[code]] - mean if code in rows else 0 * mean for code in codes])
    trees = np.stack([families[places[code]] if code in rows and code in places else family for code in codes])
    return _cosines(kinds) + _cosines(trees)


def without_features(languages: Sequence[str]) -> list[str]:
    """The languages of which the data has no features, if it is there."""
    folder = data_folder()
    rows = {} if folder is None else _features(folder / "feature_predictions.npz")[1]
    return [language for language in languages if rows and _three_letters(language) not in rows]


@cache
def _features(path: Path) -> tuple[Floats, dict[str, int]]:
    """The features of all languages ``[N, F]``, and the row of each code."""
    import numpy as np

    with np.load(path, allow_pickle=False) as file:
        return file["data"][:, :, 0].astype(np.float32), {code: row for row, code in enumerate(file["langs"].tolist())}


def _three_letters(language: str) -> str:
    import langcodes

    code = canonical(language)
    try:
        return _MEMBERS.get(code) or langcodes.Language.get(code).to_alpha3()
    except (LookupError, ValueError):  # names of the user's own
        return code


def _cosines(rows: Floats) -> Floats:
    import numpy as np

    units = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(min=1e-9)
    return np.asarray(units @ units.T, dtype=np.float32)
