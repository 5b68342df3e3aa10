"""What several tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# No test asks the hub: without a network its libraries try for half a minute.
os.environ["HF_HUB_OFFLINE"] = "1"

SHARED = Path(__file__).resolve().parents[1] / "../shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data, models and parity files that stand beside the project."""
    if not SHARED.is_dir():
        pytest.skip("the folder shared/ with real data is not beside the project")
    return SHARED.resolve()
