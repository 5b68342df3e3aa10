"""The page on Python: its code runs as it stands there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import toy

pytest_plugins = ["world"]
pytestmark = pytest.mark.usefixtures("isolated")

PAGE = (toy.ROOT / "docs" / "python.md").read_text(encoding="utf-8")


def test_the_code_runs_as_it_stands_there(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "runs" / "first")
    names: dict[str, Any] = {}
    predict, forward, loss = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile(predict, "docs/python.md", "exec"), names)
    assert names["found"].labels["ner"] == ("B-PER", "I-PER", "O", "B-LOC", "O")
    exec(compile(forward, "docs/python.md", "exec"), names)
    assert names["output"].loss is None
    assert {task: len(logits) for task, logits in names["output"].logits.items()} == {"ner": 1, "pos": 1}
    exec(compile(loss, "docs/python.md", "exec"), names)
    assert (names["labels"] >= 0).sum() == 5
    assert torch.isfinite(names["output"].loss)
    assert names["model"].hypernetwork.source.language.grad.any()
