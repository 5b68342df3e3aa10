"""Spoilt files: every reader answers, or raises one of the package's own exceptions."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from fuzz.targets import spoilt, targets
from hyperx.errors import HyperXError


@pytest.mark.filterwarnings("ignore")  # of libraries, of what they are given
def test_spoilt_files_are_read_or_refused(tmp_path: Path) -> None:
    faults = []
    for name, target in targets(tmp_path).items():
        draw, slow = random.Random(name), name.startswith(("encoder", "hyperx.json", "model.safetensors", "options"))
        for seed in target.seeds:
            target.read(seed)
        for _ in range(12 if slow else 60):
            content, before = spoilt(draw.choice(target.seeds), draw), time.monotonic()
            try:
                target.read(content)
            except HyperXError:
                pass
            except BaseException as error:
                faults.append(f"{name}: {error!r} for {content[:200]!r}")
            if time.monotonic() - before > 20:
                faults.append(f"{name}: {content[:200]!r} took long")
    assert not faults
