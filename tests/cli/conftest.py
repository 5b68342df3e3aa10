"""What the tests of the command line add to pytest."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker that ``-m "not slow"`` leaves out."""
    config.addinivalue_line("markers", "slow: starts several processes")
