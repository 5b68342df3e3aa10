"""``hyperx predict --engine ray``: a corpus on several processes, one of which may die."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import toy
from hyperx.cli import main

pytestmark = [pytest.mark.usefixtures("isolated"), pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")]
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason='needs Ray (240 MB): pip install "hyperx-nlp[ray]"'
)


@pytest.fixture(scope="module", autouse=True)
def token() -> Iterator[None]:
    """What lets this module alone into the clusters that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        yield


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of one machine with two processors."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=2", "--include-dashboard=false"]
    sizes = [f"--port={port}", "--object-store-memory=100000000", "--disable-usage-stats"]
    with subprocess.Popen([sys.executable, *words, *sizes], stdout=subprocess.PIPE, text=True) as head:
        assert head.stdout is not None
        assert any("Ray runtime started" in line for line in head.stdout)
        yield f"127.0.0.1:{port}"
        head.terminate()


@pytest.fixture
def tag(trained: Path, cluster: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Predict with the toy model on the cluster."""
    monkeypatch.setenv("RAY_ADDRESS", cluster)

    def run(*words: str, engine: str = "ray") -> None:
        options = ["--checkpoint", str(trained), "--engine", engine, "--language", "en", "--disable_progress_bar"]
        assert main(["predict", *options, *words]) == 0

    return run


def lines_of(count: int) -> list[str]:
    """Sentences as they are written."""
    return [" ".join(word for word, _, _ in one) for one in toy.sentences("en", count, 5)]


def objects(*paths: Path) -> list[dict[str, Any]]:
    """The objects of files, in the order of their names."""
    return [json.loads(line) for path in sorted(paths) for line in path.read_text(encoding="utf-8").splitlines()]


@needs_ray
def test_lines_in_parts_as_plain_predict_writes_them(
    tag: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    lines = [*lines_of(70), "", "a\0b"]
    random.Random(3).shuffle(lines)
    Path("in").mkdir()
    for name, own in {"a.txt": lines[:50], "b.txt": lines[50:]}.items():
        Path("in", name).write_text("\n".join(own), encoding="utf-8")
        tag(
            "--input",
            f"in/{name}",
            "--output",
            f"plain-{name}l.jsonl",
            "--on_error",
            "empty",
            "--confidence",
            engine="plain",
        )
    options = ["--on_error", "empty", "--confidence", "--part_size", "16", "--workers", "2"]
    capfd.readouterr()
    tag("--input", "in", "--output", "out/*.jsonl", *options)
    assert "1 sentence written empty that cannot be read" in capfd.readouterr().err
    parts = sorted(Path("out").iterdir())
    assert [part.name for part in parts] == [f"{number:05}.jsonl" for number in range(6)]
    found = objects(*parts)
    ids = [one.pop("id") for one in found]
    assert ids == [f"in/{'ab'[at // 50]}.txt:{at % 50 + 1}" for at, line in enumerate(lines) if line]
    assert [json.dumps(one) for one in found] == [json.dumps(one) for one in objects(*Path().glob("plain-*"))]


@needs_ray
def test_rows_keep_their_columns(tag: Callable[..., None]) -> None:
    rows = [
        {"key": at, "words": line.split(), "weight": at / 3, "from": {"page": at}, "pos": "a label of another kind"}
        for at, line in enumerate(lines_of(50))
    ]
    groups = pa.Table.from_pylist(rows)
    pq.write_table(groups.append_column("seen", pa.array([date(1999, 1, 1)] * 50)), "in.parquet", row_group_size=30)
    tag("--input", "in.parquet", "--output", "out.parquet", "--part_size", "8", "--confidence")
    table = pq.read_table("out.parquet")
    assert table.select(["key", "words", "weight", "from", "seen"]).equals(pq.read_table("in.parquet").drop(["pos"]))
    tag("--input", "in.parquet", "--output", "out.jsonl", "--part_size", "8", "--confidence")
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tag("--input", "in.jsonl", "--output", "plain.jsonl", "--confidence", engine="plain")
    tag("--input", "in.jsonl", "--output", "again.parquet", "--part_size", "8", "--confidence")
    found, plain = objects(Path("out.jsonl")), objects(Path("plain.jsonl"))
    assert [{name: one[name] for name in plain[0]} for one in found] == plain
    assert {one["seen"] for one in found} == {"1999-01-01"}
    for other in (table, pq.read_table("again.parquet")):
        answers = [{name: value for name, value in one.items() if value is not None} for one in other.to_pylist()]
        assert [{name: one[name] for name in plain[0] if name != "entities"} for one in answers] == [
            {name: value for name, value in one.items() if name != "entities"} for one in plain
        ]
        assert [[entity["text"] for entity in one["entities"]] for one in answers] == [
            [entity["text"] for entity in one["entities"]] for one in plain
        ]


@needs_ray
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_killed_workers_lose_nothing(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    killed, before = list[int](), list[str]()
    Path("in.txt").write_text("\n".join(lines_of(2_000)), encoding="utf-8")

    def kill() -> None:
        while not (done := [*Path("out").glob("*.jsonl")]):
            time.sleep(0.001)
        before.extend(path.name for path in done)
        for process in Path("/proc").glob("[0-9]*"):
            try:
                # Workers work in the folder of the command, which is this test's own.
                own = process.joinpath("cwd").readlink() == Path.cwd()
                if own and process.joinpath("cmdline").read_bytes().startswith(b"ray::MapWorker"):
                    os.kill(int(process.name), signal.SIGKILL)
                    killed.append(int(process.name))
            except OSError:
                continue  # ended, or another user's

    thread = threading.Thread(target=kill)
    thread.start()
    words = ["--checkpoint", str(trained), "--language", "en", "--input", "in.txt", "--disable_progress_bar"]
    ray = ["--engine", "ray", "--output", "out/*.jsonl", "--workers", "2", "--part_size", "10"]
    assert main(["predict", *words, *ray]) == 0
    thread.join()
    assert len(killed) == 2
    assert 0 < len(before) < 200
    assert main(["predict", *words, "--output", "plain.jsonl"]) == 0
    found = objects(*Path("out").iterdir())
    assert [one.pop("id") for one in found] == [f"in.txt:{number}" for number in range(1, 2_001)]
    assert found == objects(Path("plain.jsonl"))


@needs_ray
def test_a_run_ends_at_the_first_bad_line_in_order(
    trained: Path, cluster: str, command: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    rows = [json.dumps({"text": line}) for line in lines_of(40)]
    rows[25] = rows[35] = '{"text": 1}'
    Path("in.jsonl").write_text("\n".join(rows), encoding="utf-8")
    words = ["predict", "--checkpoint", trained, "--language", "en", "--input", "in.jsonl"]
    plain = command(*words, "--output", "plain.jsonl", status=1)
    ray = ["--engine", "ray", "--part_size", "10"]
    fault = plain[plain.index("hyperx predict:") :]
    assert command(*words, *ray, "--output", "out.jsonl", status=1).endswith(fault)
    assert "in.jsonl:26: expected a text in text, found 1" in fault
    assert not Path("out.jsonl").exists()
    assert len(objects(Path("out.jsonl.partial"))) == 20
    assert sorted(path.name for path in Path().iterdir()) == ["in.jsonl", "out.jsonl.partial", "plain.jsonl.partial"]
    skipping = ["--output", "out/*.jsonl", "--on_error", "skip"]
    command(*words, *ray, *skipping)
    assert [len(objects(path)) for path in sorted(Path("out").iterdir())] == [10, 10, 9, 9]
    few = command(*words, *ray, "--output", "few.jsonl", "--workers", "9", status=1)
    assert "--workers: expected at most 2, one for each processor" in few


@needs_ray
@pytest.mark.parametrize(("row", "told"), [({"key": "a"}, "'a'"), ({"new": 1}, "found also 'new'")])
def test_columns_that_no_table_can_hold(
    trained: Path,
    cluster: str,
    command: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    row: dict[str, Any],
    told: str,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    rows = [*({"key": at, "text": "cat"} for at in range(4)), {"text": "dog", **row}]
    Path("in.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    words = ["predict", "--checkpoint", trained, "--language", "en", "--engine", "ray", "--part_size", "4"]
    assert told in command(*words, "--input", "in.jsonl", "--output", "out.parquet", status=1)


def test_what_makes_no_sense_is_refused_together(
    trained: Path, command: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("in/a.txt", "in/b.conllu", "full/a", "_hidden/in.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("cat\n", encoding="utf-8")
    words = ["predict", "--checkpoint", trained, "--language", "en"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    found = command(*words, "--engine", "ray", "--input", "in", "--output", "full/*.jsonl", "--tasks", "no", status=1)
    for problem in (
        '--engine: ray needs the package ray: pip install "hyperx-nlp[ray]"',
        "--input: expected files of one format, found conllu, raw; name a pattern",
        "--input_format: ray reads Parquet, and what has a sentence on a line",
        "--output: full exists already",
        "--tasks: the model has no task 'no'",
    ):
        assert problem in found
    found = command(*words, "--engine", "ray", "--output", "out", "--output_format", "jsonl", status=1)
    assert "--input: expected a file, a folder or a pattern such as 'in/*.txt'; found None" in found
    assert "--output: ray writes what the name ends in" in found
    assert "--output: in/a.txt is a file of the input" not in found
    found = command(*words, "--input", "in/a.txt", "--workers", "2", "--part_size", "9", status=1)
    assert "--workers is for --engine ray" in found
    assert "--part_size is for --engine ray" in found
