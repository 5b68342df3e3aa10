"""Make the ready-made model of the package from a run: compress it, score it on test data, write its card.

python scripts/ready_made.py runs/ready babel-2 --rank 64 --encoder_bits 2

All languages of Universal Dependencies and WikiANN are added to those of the run: where it has relatives, a language
without training data reads those of its own kind (needs lang2vec). What is left in the folder names no path of this
machine. An evaluation that was interrupted goes on with the pairs that are not scored.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from hyperx import checkpoint
from hyperx.card import card
from hyperx.cli import main
from hyperx.data.locate.places import DataPlaces
from hyperx.data.locate.spec import DataRecord
from hyperx.files import write_text
from hyperx.languages import canonical, known_languages
from hyperx.packing import in_8_bits
from hyperx.sharing import fill
from hyperx.typology import similarities

LICENCE = """## Licence

CC BY-SA 4.0, as most of the data. The encoder, multilingual-e5-small, is not in the file; it is under the MIT licence.
"""


def extend(folder: Path) -> None:
    """Add all known languages to a compressed model."""
    config = checkpoint.read_config(folder)
    own = set(map(canonical, config.languages))
    languages = (*config.languages, *(code for code in known_languages() if code not in own))
    tensors = load_file(folder / checkpoint.WEIGHTS)
    table, scale = (tensors[f"hypernetwork.source.language{part}"] for part in ("", ".scale"))
    new = len(languages) - len(table)
    if config.hypernetwork.relatives:
        near = torch.from_numpy(similarities(languages))
        numbers, scales = in_8_bits(near)
        tensors["hypernetwork.source.similarity"], tensors["hypernetwork.source.similarity.scale"] = numbers, scales
    # Languages that were not trained never read their own embedding.
    tensors["hypernetwork.source.language"] = torch.cat([table, table.new_zeros(new, table.shape[1])])
    tensors["hypernetwork.source.language.scale"] = torch.cat([scale, scale.new_ones(new, 1)])
    checkpoint.save_model(folder, replace(config, languages=languages), tensors)


def make(run: Path, name: str, options: list[str]) -> None:
    """Write ``models/<name>`` into the package; its unstripped form stays beside the run."""
    whole = run.with_name(f"{run.name}-{name}")
    if not whole.exists():
        if main(["compress", str(run), "--output", str(whole), *options]):
            raise SystemExit(1)
        extend(whole)
    scored = whole / checkpoint.RESULTS
    done = json.loads(scored.read_text(encoding="utf-8"))["pairs"] if scored.exists() else {}
    record = checkpoint.read_json(whole / checkpoint.DATA, DataRecord)
    places = DataPlaces(record.data)
    local = [pair for pair in places.pairs if places.has(pair, "test") and not places.from_hub(pair)]
    left = [str(pair) for pair in local if str(pair) not in done]
    for start in range(0, len(left), 10):
        pairs = left[start : start + 10]
        if main(["evaluate", "--eval_ckpt", str(whole), "--test_task_language_pairs", *pairs]):
            raise SystemExit(1)
    folder = checkpoint.READY_MADE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fill(whole, folder)
    write_text(folder / checkpoint.CARD, f"{card(whole, name)}\n{LICENCE}")
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
