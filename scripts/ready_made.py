"""Make the ready-made model of the package from a run: compress it, score it on test data, write its card.

python scripts/ready_made.py runs/ready babel-1 --rank 64 --encoder_bits 2

What is left in the folder names no path of this machine. Scores are kept while the weights stay the same, so that an
interrupted evaluation is not lost.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path

from hyperx import checkpoint
from hyperx.cli import main
from hyperx.data.locate.spec import DataRecord
from hyperx.evaluation.card import card
from hyperx.files import write_json, write_text

ENTRY = ("group", "sentences", "style", "measures", "repeats")


def make(run: Path, name: str, options: list[str]) -> None:
    """Write ``models/<name>`` into the package; its unstripped form stays beside the run."""
    whole = run.with_name(f"{run.name}-{name}")
    if not whole.exists() and main(["compress", str(run), "--output", str(whole), *options]):
        raise SystemExit(1)
    scored = whole / checkpoint.RESULTS
    if not scored.exists() and main(["evaluate", "--eval_ckpt", str(whole)]):
        raise SystemExit(1)
    folder = checkpoint.READY_MADE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in (checkpoint.CONFIG, checkpoint.WEIGHTS):
        shutil.copyfile(whole / file, folder / file)
    record = checkpoint.read_json(whole / checkpoint.DATA, DataRecord)
    spec = replace(record.spec, folder=Path("data"))
    write_json(folder / checkpoint.DATA, replace(record, spec=spec, data=()).to_json())
    results = json.loads(scored.read_text(encoding="utf-8"))
    entries = {pair: {key: entry[key] for key in ENTRY} for pair, entry in results["pairs"].items()}
    write_json(folder / checkpoint.RESULTS, {"split": "test", "averages": results["averages"], "pairs": entries})
    write_text(folder / checkpoint.CARD, card(whole, name))
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the output folder of a run, or a checkpoint")
    parser.add_argument("name", help="the name of the model")
    parser.add_argument("--rank", default="64", help="rank of the generators")
    parser.add_argument("--encoder_bits", default="2", help="bits of the changes of the encoder's layers")
    given = parser.parse_args()
    make(given.run, given.name, ["--rank", given.rank, "--encoder_bits", given.encoder_bits])
