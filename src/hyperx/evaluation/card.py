"""The card of a checkpoint: what it does, what it was trained on, its scores and its limits, as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from hyperx import checkpoint
from hyperx.config import ModelConfig
from hyperx.data.locate.places import DataPlaces, short_place
from hyperx.data.locate.spec import DataRecord
from hyperx.languages import known_languages
from hyperx.pairs import AVERAGE_NAMES, GROUPS
from hyperx.tables import markdown_table
from hyperx.tasks.registry import make_tasks

TOLD_OPTIONS = (
    "max_train_steps", "per_device_train_batch_size", "learning_rate", "temperature", "train_encoder",
    "language_dropout", "relatives", "corpus_dropout", "adapter_dim", "seed",
)  # fmt: skip
LIMITS = """## Limits

* Scores hold for text like that of the test data, split into words as its annotators split it. Raw text is split by
  rules, and a word that a treebank splits in two stays whole.
* In a language without training data expect what the tables call new languages, or less if the encoder hardly knows
  its script.
* Labels follow the habits of the corpora above; those of one corpus are chosen by its name (`--style`).
"""


def card(folder: Path, name: str) -> str:
    """The card of a checkpoint, from the files in its folder; what is not recorded there is left out.

    Raises:
        CheckpointError: if there is no checkpoint, or a file is damaged.
    """
    settings = checkpoint.read_config(folder)
    size, encoder = (folder / checkpoint.WEIGHTS).stat().st_size / 1e6, Path(settings.encoder)
    encoder_name = encoder.name if encoder.is_absolute() else settings.encoder
    head = f"""# {name}

A model of Hyper-X: one hypernetwork writes the adapters of the encoder `{encoder_name}` for every task and language.
Trained on {settings.trained_on}; any other language works without training data. The file has
{size:.1f} MB, besides the encoder.

```python
import hyperx

model = hyperx.HyperX.from_pretrained("{name}")
for sentence in model.predict(["Ada reads."], task={json.dumps(sorted(settings.trained_tasks))}, language="en"):
    print(sentence.words, sentence.labels)
```
"""
    return "\n".join([head, *_data(folder), *_training(folder, settings), *_scores(folder, settings), LIMITS])


def _data(folder: Path) -> Iterator[str]:
    """The training data: one row for each place, with what is read there."""
    if not (folder / checkpoint.DATA).is_file():
        return
    record = checkpoint.read_json(folder / checkpoint.DATA, DataRecord)
    places, rows = DataPlaces(record.data), dict[str, list[str]]()
    for pair in record.read:
        if not places.has(pair, "train"):
            continue
        place = short_place(places.record(pair, "train"), record.spec.folder)
        entry = record.spec.table.get(str(pair))
        told: Mapping[str, Any] = entry if isinstance(entry, Mapping) else {}
        count = f"{record.sentences[str(pair)]:,}" if str(pair) in record.sentences else ""
        row = rows.setdefault(place, [place, "", count, "", ""])
        row[1] = f"{row[1]} {pair}".strip()
        row[3], row[4] = row[3] or told.get("corpus", ""), row[4] or told.get("licence", "")
    if rows:
        header, kept = ["source", "pairs", "sentences", "corpus", "licence"], [*rows.values()]
        columns = [index for index in range(5) if any(row[index] for row in kept)]
        table = [[row[index] for index in columns] for row in (header, *kept)]
        yield f"## Data\n\n{markdown_table(table[0], table[1:], text_columns=5)}"


def _training(folder: Path, settings: ModelConfig) -> Iterator[str]:
    """The options of training that matter most, and how the file was made small."""
    lines = []
    if (folder / checkpoint.OPTIONS).is_file():
        options = checkpoint.read_json(folder / checkpoint.OPTIONS, dict[str, str])
        told = ", ".join(f"{name} {options[name]}" for name in TOLD_OPTIONS if options.get(name) not in (None, "None"))
        before = "" if options.get("load_from_ckpt") in (None, "None") else " It started from an earlier model."
        lines.append(f"Trained with: {told}.{before}")
    small = [f"generators as mixtures of {settings.generator_rank} matrices"] * (settings.generator_rank is not None)
    kinds = {kind for *_, kind in checkpoint.read_sizes(folder).values()}
    small += ["matrices in 8 bits with a scale for each row"] * ("I8" in kinds)
    small += ["changes of the encoder's matrices in 2 bits"] * ("U8" in kinds)
    if small:
        lines.append(f"Made small: {', '.join(small)}.")
    if lines:
        yield "## Training\n\n{}\n".format("\n".join(lines))


def _scores(folder: Path, settings: ModelConfig) -> Iterator[str]:
    """Averages by task and group, and a row for each language."""
    measures = {name: task.measure for name, task in make_tasks(settings.kinds).items()}
    scores = checkpoint.read_scores(folder, measures)
    entries = {key: (group, 100 * value) for key, (group, value) in scores.items() if group in GROUPS}
    if not entries:
        return
    tasks, rows = list(dict.fromkeys(task for task, _ in entries)), []
    for group in GROUPS:
        own = {task: [v for key, (g, v) in entries.items() if key[0] == task and g == group] for task in tasks}
        if any(own.values()):
            cells = [f"{fmean(values):.1f} ({len(values)})" if values else "" for values in own.values()]
            rows.append([AVERAGE_NAMES[group], *cells])
    header = [f"{task} ({measures[task]})" for task in tasks]
    averages = markdown_table(["group", *header], rows)
    yield f"## Scores\n\nOn test data; averages, and in brackets over how many languages.\n\n{averages}"
    rows = []
    for code in dict.fromkeys(language for _, language in entries):
        language, cells = known_languages().get(code), []
        for task in tasks:
            own_group, value = entries.get((task, code), ("", 0.0))
            cells.append(f"{value:.1f}" if own_group == "seen" else f"*{value:.1f}*" if own_group else "")
        rows.append([code, code if language is None else language.name, *cells])
    yield f"In *italics* without training data.\n\n{markdown_table(['', 'language', *header], rows, text_columns=2)}"
