"""Exported pairs beside the model that they are of: bytes, scores and sentences a second.

    python benchmarks/export.py pos#de=DATA/ud/UD_German-GSD/de_gsd-ud-test.conllu ner#en=DATA/wikiann/en/test.tsv

All run on one thread, in turn, and times are those of the processor: another program on the machine changes the
ratios little. They are of windows that are there already, up to labels and trees.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from itertools import islice
from pathlib import Path

import torch

import hyperx
from hyperx.data.batch.windows import SubwordEncoder
from hyperx.data.read.formats import read_file
from hyperx.exporting.running import ExportedModel, load_model
from hyperx.pairs import TaskLanguagePair
from hyperx.prediction.predictor import Predictor
from hyperx.tasks.parsing import Arc

BATCHES = (1, 32)


def main() -> None:
    """Export, score and time; print a row for each of PyTorch, ONNX and ONNX in 8 bits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="PAIR=FILE", help="the test data of pairs")
    parser.add_argument("--checkpoint", default="default", help="whose pairs")
    parser.add_argument("--sentences", type=int, default=200, help="how many of each file, from the first")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is timed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = dict(one.split("=", 1) for one in options.files)
    models: dict[str, hyperx.HyperX | ExportedModel] = {"PyTorch": hyperx.HyperX.from_pretrained(options.checkpoint)}
    sizes = {"PyTorch": ""}
    with tempfile.TemporaryDirectory() as folder:
        for bits in (32, 8):
            place = Path(folder) / str(bits)
            hyperx.export(models["PyTorch"], pairs=tuple(files), output=place, bits=bits)
            name = "ONNX" if bits == 32 else f"ONNX, {bits} bits"
            models[name], sizes[name] = load_model(place), f"{(place / 'model.onnx').stat().st_size / 1e6:.1f}"
    print(f"| | MB | {' | '.join(files)} | mean | {' | '.join(f'batch {size}' for size in BATCHES)} |")
    print("| --- |" + " ---: |" * (len(files) + len(BATCHES) + 2))
    scores, rates = defaultdict[str, list[float]](list), defaultdict[tuple[str, int], list[float]](list)
    for name, path in files.items():
        pair = TaskLanguagePair.parse(name)
        task = models["PyTorch"].tasks[pair.task]
        sentences = list(islice(read_file(path, task.column), options.sentences))
        columns = [[sentence.columns[column] for column in task.columns] for sentence in sentences]
        gold = [tuple(map(Arc, *one)) if task.kind == "dep" else one[0] for one in columns]
        encoder = SubwordEncoder(models["PyTorch"].checked_tokenizer(), max_length=models["PyTorch"].config.max_length)
        windows = task.windows(encoder, sentences)
        for turn in range(options.rounds):
            for size in BATCHES:
                for told, model in models.items():
                    begin = time.process_time()
                    predicted = [one.labels for one in Predictor(model).results(pair, windows, batch_size=size)]
                    rates[told, size].append(len(windows) / (time.process_time() - begin))
                    if turn == 0 and size == BATCHES[-1]:
                        scores[told].append(100 * (task.score(gold, predicted).measures[task.measure] or 0))
    for told in models:
        found = [f"{value:.1f}" for value in (*scores[told], statistics.mean(scores[told]))]
        cells = [told, sizes[told], *found]
        for size in BATCHES:
            mine, other = rates[told, size], rates["PyTorch", size]
            ratio = statistics.median(a / b for a, b in zip(mine, other, strict=True))
            cells.append(f"{statistics.median(mine):.0f} ({ratio:.2f}x)")
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
