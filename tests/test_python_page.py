"""The page on Python: its code runs as it stands there."""

from __future__ import annotations

import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import hyperx
import toy

pytest_plugins = ["world"]
pytestmark = pytest.mark.usefixtures("isolated")

PAGE = (toy.ROOT / "docs" / "python.md").read_text(encoding="utf-8")


def test_the_code_runs_as_it_stands_there(
    trained: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained, tmp_path / "runs" / "first")
    names: dict[str, Any] = {}
    train, predict, forward, loss = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    brief: dict[str, Any] = {"model_name_or_path": str(encoder), "max_train_steps": 2, "no_cuda": True}
    monkeypatch.setattr(hyperx, "train", partial(hyperx.train, **brief))
    exec(compile(train, "docs/python.md", "exec"), names)
    assert names["model"].config.languages == ("en", "de")
    assert [pair.sentences for pair in names["scores"]] == [2]
    assert names["answers"][0].words == ("Grace", "Hopper", "sees", "Ankara", ".")
    exec(compile(predict, "docs/python.md", "exec"), names)
    assert names["found"].labels["ner"] == ("B-PER", "I-PER", "O", "B-LOC", "O")
    exec(compile(forward, "docs/python.md", "exec"), names)
    assert names["output"].loss is None
    assert {task: len(logits) for task, logits in names["output"].logits.items()} == {"ner": 1, "pos": 1}
    exec(compile(loss, "docs/python.md", "exec"), names)
    assert (names["labels"] >= 0).sum() == 5
    assert torch.isfinite(names["output"].loss)
    assert names["model"].hypernetwork.source.language.grad.any()
