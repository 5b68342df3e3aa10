"""What is kept between runs: damage is noticed and mended, and a run that is killed leaves nothing for long."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import toy
from hyperx.cli import main
from hyperx.files import CACHE_VARIABLE

pytestmark = pytest.mark.usefixtures("isolated")


@pytest.fixture
def cache(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv(CACHE_VARIABLE, str(isolated / "cache"))
    return isolated / "cache"


def damaged(content: bytes, bits: int) -> Iterator[bytes]:
    """A file's content with a flipped bit, at so many places, and other damage."""
    for number in range(bits):
        place, bit = number * len(content) // bits, number % 8
        yield content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]
    yield from (b"", content[:-7], content[: len(content) // 2], bytes(len(content)), b"{}", content + b"\0")


# Encoded splits -------------------------------------------------------------------------------------------------------


@pytest.fixture
def scores(trained: Path, tmp_path: Path) -> Callable[[], object]:
    """The scores of a pair, evaluated now."""
    shutil.copytree(trained, tmp_path / "run")
    folder = tmp_path / "run" / json.loads((trained / "best.json").read_text())["checkpoint"]

    def evaluate() -> object:
        (folder / "results.json").unlink(missing_ok=True)
        words = ["evaluate", "--eval_ckpt", str(folder), "--test_task_language_pairs", "pos#de", *toy.QUIET]
        assert main(words) == 0
        return json.loads((folder / "results.json").read_text())

    return evaluate


def test_a_damaged_split_is_encoded_again(
    cache: Path, scores: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    before = scores()
    (path,) = (cache / "encoded").iterdir()
    content = path.read_bytes()
    for bent in damaged(content, 12):
        path.write_bytes(bent)
        caplog.clear()
        assert scores() == before
        assert path.read_bytes() == content
        assert caplog.text.count("is damaged and is made again") == 1
    path.unlink()
    caplog.clear()
    assert scores() == before
    assert "damaged" not in caplog.text


WRITER = """
import sys, time
from pathlib import Path
from hyperx.data.batch.store import write_encoded

def slow():
    print("writing", flush=True)
    sys.stdin.read()
    yield from ()

write_encoded(Path(sys.argv[1]), slow(), list, ["upos"])
"""


def test_what_killed_runs_left_is_cleared_and_what_live_ones_write_stays(
    cache: Path, scores: Callable[[], object]
) -> None:
    command = [sys.executable, "-c", WRITER, str(cache / "encoded" / "split")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as live, subprocess.Popen(command, **pipes) as killed:  # type: ignore[call-overload]
        for process in (live, killed):
            assert process.stdout.readline() == b"writing\n"
        assert len(list((cache / "encoded").glob(".part-*"))) == 2
        killed.kill()
        killed.wait()
        scores()
        assert len(list((cache / "encoded").glob(".part-*"))) == 1
        live.stdin.close()
        assert live.wait(timeout=60) == 0
    assert (cache / "encoded" / "split").is_file()
    assert not list((cache / "encoded").glob(".part-*"))
