"""Fuzz every reader, guided by what its code reaches: ``python tests/fuzz/run.py MINUTES [READER ...]``.

Each reader runs in a process of its own for its share of the time. What is neither an answer nor one of the package's
own exceptions is kept, with the file that led to it, in the folder ``fuzz`` and told in the end; so are files that take
longer than half a minute or more than 6 GB.
"""

from __future__ import annotations

import logging
import random
import re
import subprocess
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
KEPT = Path("fuzz")
SECONDS, MEGABYTES = 30, 6000
"""Most time and memory for one file."""


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one reader; ends the process."""
    with atheris.instrument_imports(include=["hyperx"]):
        from targets import spoilt, targets

        from hyperx.errors import HyperXError
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    folder = Path(tempfile.mkdtemp())
    target = targets(folder)[name]
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds):
        (corpus / str(number)).write_bytes(seed)
    known = set()

    def read(content: bytes) -> None:
        try:
            target.read(content)
        except HyperXError:
            pass
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            fault = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
            if fault not in known:
                known.add(fault)
                path = KEPT / f"{re.sub('[^a-z]+', '-', name)}-{len(known)}"
                path.write_bytes(content)
                print(f"FOREIGN {fault}: {path}", file=sys.stderr, flush=True)

    def mutate(content: bytes, most: int, seed: int) -> bytes:
        changed = spoilt(content, random.Random(seed)) if seed % 2 else atheris.Mutate(content, most)
        return changed if len(changed) <= most else changed[:most]

    limits = [f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", f"-max_total_time={seconds}", "-max_len=200000"]
    kept = f"-artifact_prefix={KEPT}/"
    atheris.Setup([name, *limits, kept, "-print_final_stats=1", str(corpus)], read, custom_mutator=mutate)
    atheris.Fuzz()


def main(minutes: float, names: list[str]) -> int:
    """Fuzz readers one after the other; returns how many faults were found."""
    from targets import targets

    with tempfile.TemporaryDirectory() as folder:
        names = names or list(targets(Path(folder)))
    KEPT.mkdir(exist_ok=True)
    tried, faults, peak = 0, list[str](), 0
    for name in names:
        words = [sys.executable, __file__, "--reader", name, str(max(int(60 * minutes / len(names)), 1))]
        run = subprocess.run(words, capture_output=True, text=True, errors="replace")
        own = re.findall("^FOREIGN (.*)", run.stderr, re.MULTILINE)
        if run.returncode:
            own.append((re.findall("ERROR: libFuzzer: .*|[A-Za-z]*Error: .*", run.stderr) or [run.stderr[-300:]])[-1])
        stats = dict(re.findall("^stat::([a-z_]+): +([0-9]+)", run.stderr, re.MULTILINE))
        count, size = int(stats.get("number_of_executed_units", 0)), int(stats.get("peak_rss_mb", 0))
        tried, peak, faults = tried + count, max(peak, size), [*faults, *(f"{name}: {fault}" for fault in own)]
        print(f"{name:<40}{count:>9,} files  {size:>6,} MB  {'; '.join(own)}", flush=True)
    print(f"{tried:,} files, {len(faults)} faults, at most {peak:,} MB")
    return len(faults)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--reader"]:
        fuzz(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(main(float(sys.argv[1]), sys.argv[2:]) > 0)
