"""A new language from a few labelled sentences: an add-on beside what else could be trained on them.

    python benchmarks/few_shot.py --data_folder DATA --output few.jsonl --split dev       # to choose by
    python benchmarks/few_shot.py --data_folder DATA --output few.jsonl --split test      # to report: other languages
    python benchmarks/few_shot.py --output few.jsonl --show test

Sentences are drawn from a cell's train split; the scores are of its dev or test split. Rows that the output has
already are not run again. The methods: *zero-shot*; *add-on*, what ``hyperx adapt`` does; *adapter*, a plain adapter of
this pair and the task's head, which start from what the model reads for it; *fine-tuning*, the encoder's layers and the
head, with the same adapter as it is; *text*, what ``hyperx adapt --text`` does with the words of the sentences alone;
*add-on-text*, what it does after that with the words of up to 2,000 sentences.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import torch
from transformers import get_linear_schedule_with_warmup, set_seed

import hyperx
from hyperx.config import AdaptConfig
from hyperx.data.batch.sampling import BatchPlan
from hyperx.data.batch.windows import Subwords
from hyperx.method.adapter import AdapterWeights
from hyperx.model import HyperX
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.adaptation import plan_adaptation
from hyperx.plan.data import prepare
from hyperx.training.adapting import default_steps
from hyperx.training.collate import Collator

LABEL_MAP = {"DATE": "O"}
CELLS = {
    "dev": {
        "pos#ha": "masakhapos/hau", "pos#ig": "masakhapos/ibo", "pos#yo": "masakhapos/yor", "pos#tw": "masakhapos/twi",
        "ner#ha": "masakhaner/hau", "ner#ig": "masakhaner/ibo", "ner#yo": "masakhaner/yor", "ner#tw": "masakhaner/twi",
        "dep#et": "ud/UD_Estonian-EWT", "dep#gl": "ud/UD_Galician-TreeGal",
    },
    "test": {
        "pos#rw": "masakhapos/kin", "pos#wo": "masakhapos/wol", "pos#zu": "masakhapos/zul", "pos#sn": "masakhapos/sna",
        "pos#lug": "masakhapos/lug", "pos#tsn": "masakhapos/tsn",
        "ner#rw": "masakhaner/kin", "ner#wo": "masakhaner/wol", "ner#zu": "masakhaner/zul", "ner#sn": "masakhaner/sna",
        "ner#nya": "masakhaner/nya",
        "dep#eu": "ud/UD_Basque-BDT", "dep#bg": "ud/UD_Bulgarian-BTB", "dep#hu": "ud/UD_Hungarian-Szeged",
        "dep#it": "ud/UD_Italian-ISDT", "dep#ta": "ud/UD_Tamil-TTB", "dep#ur": "ud/UD_Urdu-UDTB",
    },
}  # fmt: skip
"""The folders of each split's languages, none of which the ready-made model was trained on in the task."""
RATES = {"add-on": 2e-2, "text": 2e-2, "add-on-text": 2e-2, "adapter": 1e-3, "fine-tuning": 1e-4}
ADD_ONS = ("add-on", "text", "add-on-text")


def draw(folder: Path, size: int, number: int, into: Path, words_alone: bool) -> Path:
    """A file of that many sentences of a train split, or a text of their words."""
    (source,) = folder.glob("*train.*")
    sentences = source.read_text(encoding="utf-8").strip().split("\n\n")
    random.Random(number).shuffle(sentences)
    file = into / f"few{'.txt' if words_alone else source.suffix}"
    if words_alone:
        form = 1 if source.suffix in (".conllu", ".iob2") else 0
        rows = ([line.split() for line in sentence.splitlines() if line[0] != "#"] for sentence in sentences[:size])
        lines = (" ".join(row[form] for row in own if form == 0 or row[0].isdecimal()) + "\n" for own in rows)
        file.write_text("".join(lines), encoding="utf-8")
    else:
        file.write_text("".join(f"{sentence}\n\n" for sentence in sentences[:size]), encoding="utf-8")
    return file


def options_of(pair: str, file: Path, output: Path, rate: float, changed: dict[str, Any]) -> dict[str, Any]:
    """The options of ``hyperx adapt``."""
    kind = "text" if file.suffix == ".txt" else "train"
    own = {"pairs": pair, kind: file, "output": output, "learning_rate": rate, "disable_progress_bar": True}
    return own | ({"label_map": LABEL_MAP} if pair.startswith("ner#") else {}) | changed


def trained(pair: str, file: Path, output: Path, rate: float, layers: bool) -> HyperX:
    """The model with the head trained and the encoder's layers, or a plain adapter in place of the generated one."""
    named = options_of(pair, file, output, rate, {}) | {"pairs": (pair,), "train": (file,)}
    named["label_map"] = tuple(f"{key}={value}" for key, value in named.get("label_map", {}).items())
    adaptation = plan_adaptation(AdaptConfig(**named))
    data, model, key = prepare(adaptation.plan), HyperX.from_pretrained(), TaskLanguagePair.parse(pair)
    options = data.plan.config.training
    set_seed(options.seed)
    model.requires_grad_(False)
    start = cast(AdapterWeights, model.adapters([key]))
    parts = {one.name: part for one in fields(start) if isinstance(part := getattr(start, one.name), torch.Tensor)}
    if layers:
        model.train_encoder("layers")
    else:
        parts = {name: torch.nn.Parameter(part.detach().clone()) for name, part in parts.items()}
    model.heads[key.task].requires_grad_(True)
    own = replace(start, **parts)
    model.adapters = lambda *_: own  # type: ignore[method-assign]
    learnt = [*model.parameters(), *parts.values()]
    learnt = [one for one in learnt if one.requires_grad]
    count = sum(split.sentence_count for split in data.train_splits)
    size = min(count, options.per_device_train_batch_size)
    steps = default_steps(count, options.per_device_train_batch_size)
    plan = BatchPlan([split.lengths for split in data.train_splits], data.plan.config.sampling, batch_size=size, seed=1)
    subwords = Subwords.of(data.encoder.checked_tokenizer())
    collate = Collator(
        pairs=data.plan.trained_pairs,
        splits=data.train_splits,
        tasks=data.plan.tasks,
        labels=model.config.labels,
        subwords=subwords,
    )
    optimizer = torch.optim.AdamW(learnt, lr=rate, weight_decay=0.0)
    schedule = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    model.train()
    for _, rows in zip(range(steps), plan.batches(0), strict=False):
        batch = collate(rows)
        model(
            batch.pairs, batch.input_ids, batch.attention_mask, words=batch.words, labels=batch.labels
        ).loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return model.eval()


def score(model: HyperX, pair: str, folder: Path, split: str, limit: int | None) -> float:
    """The main measure in percent."""
    (file,) = folder.glob(f"*{split}.*")
    entry: dict[str, Any] = {split: file} | ({"label_map": LABEL_MAP} if pair.startswith("ner#") else {})
    scores = hyperx.evaluate(
        model, [pair], split=split, data={pair: entry}, max_eval_samples=limit, disable_progress_bar=True
    )
    return 100 * (scores[pair].value or 0.0)


def show(output: Path, split: str) -> None:
    """Print the means of each method, size and task: scores, and the share of the errors that are gone."""
    import pandas as pd

    rows = pd.read_json(output, lines=True)
    rows = rows[rows.split == split]
    rows["task"] = rows.pair.str.split("#").str[0]
    zero = rows[rows.method == "zero-shot"].set_index("pair").score
    rows = rows[rows.method != "zero-shot"]
    rows["before"] = rows.pair.map(zero)
    cells = rows.groupby(["options", "method", "size", "task", "pair"])[["before", "score", "seconds"]].mean()
    cells["gone"] = 100 * (cells.score - cells.before) / (100 - cells.before)
    print(cells.round(1).to_string())
    print(cells.groupby(["options", "method", "size", "task"]).mean().round(1).to_string())


def main() -> None:
    """Run what is asked for and is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_folder", type=Path, default=Path("data"))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--split", choices=CELLS, default="dev")
    parser.add_argument("--cells", nargs="*", help="by default all of the split's")
    parser.add_argument("--methods", nargs="*", default=["add-on"], choices=[*RATES])
    parser.add_argument("--sizes", nargs="*", type=int, default=[10])
    parser.add_argument("--draws", nargs="*", type=int, default=[1])
    parser.add_argument("--rate", type=float)
    parser.add_argument("--options", type=json.loads, default={}, help='of hyperx adapt, such as {"rank": 2}')
    parser.add_argument("--max_eval_samples", type=int)
    parser.add_argument("--show", choices=CELLS)
    given = parser.parse_args()
    if given.show:
        show(given.output, given.show)
        return
    names = ("split", "pair", "method", "size", "draw", "options", "limit")
    lines = given.output.read_text().splitlines() if given.output.exists() else []
    done = {tuple(row[name] for name in names) for row in map(json.loads, lines)}

    def record(pair: str, method: str, size: int, number: int, options: str, run: Callable[[Path], HyperX]) -> None:
        key = (given.split, pair, method, size, number, options, given.max_eval_samples)
        if key in done:
            return
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            model = run(Path(folder))
            seconds = time.perf_counter() - begin
            own = given.data_folder / CELLS[given.split][pair]
            value = score(model, pair, own, given.split, given.max_eval_samples)
        row = dict(zip(names, key, strict=True)) | {"score": round(value, 2), "seconds": round(seconds, 1)}
        with given.output.open("a") as file:
            print(json.dumps(row), file=file)
        print(row, file=sys.stderr)

    for pair in given.cells or CELLS[given.split]:
        record(pair, "zero-shot", 0, 0, "", lambda _: HyperX.from_pretrained())
    for size in given.sizes:
        for number in given.draws:
            for pair in given.cells or CELLS[given.split]:
                for method in given.methods:
                    rate = given.rate or RATES[method]

                    def run(
                        folder: Path, pair: str = pair, method: str = method, size: int = size, number: int = number,
                        rate: float = rate,
                    ) -> HyperX:  # fmt: skip
                        source = given.data_folder / CELLS[given.split][pair]
                        file = draw(source, size, number, folder, words_alone=method == "text")
                        output = folder / "few.addon"
                        if method not in ADD_ONS:
                            return trained(pair, file, output, rate, method == "fine-tuning")
                        model = hyperx.adapt(**options_of(pair, file, output, rate, given.options))
                        if method == "add-on-text":
                            text, more = draw(source, 2000, number, folder, words_alone=True), folder / "more.addon"
                            model = hyperx.adapt(**options_of(pair, text, more, rate, {"add_on": output}))
                        return model

                    changed = given.options if method in ADD_ONS else {}
                    told = json.dumps({"rate": rate, **changed}, sort_keys=True)
                    record(pair, method, size, number, told, run)


if __name__ == "__main__":
    main()
