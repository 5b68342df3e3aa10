"""What is imported when. That imports go one way is checked by ``lint-imports``, see pyproject.toml."""

from __future__ import annotations

import subprocess
import sys

UNNEEDED = ("datasets", "networkx", "spacy", "langcodes", "hyperx.training", "hyperx.plan")


def test_the_model_imports_nothing_that_prediction_does_not_need() -> None:
    code = (
        "import sys; from hyperx import HyperX; from hyperx.languages import canonical; canonical('en');"
        f" print(*[name for name in {UNNEEDED} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
