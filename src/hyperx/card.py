"""The card of a checkpoint: what it does, what it was trained on, its scores and its limits, as Markdown; on the hub
with the metadata that is searched there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from hyperx import checkpoint
from hyperx.config import AddOnConfig, ModelConfig
from hyperx.data.locate.places import DataPlaces, short_place
from hyperx.data.locate.spec import DataRecord
from hyperx.errors import CheckpointError, HyperXError
from hyperx.files import placeless, read_json, read_text
from hyperx.languages import canonical, language_name
from hyperx.pairs import AVERAGE_NAMES, GROUPS, TaskLanguagePair
from hyperx.tables import markdown_table
from hyperx.tasks.registry import RAW_TEXT, kinds_of, make_tasks

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
EMBEDDED_ON_HUB = "intfloat/multilingual-e5-small"
"""What the embedded encoder was made from."""
_SUBTASKS = {"ner": "named-entity-recognition", "pos": "part-of-speech", "dep": "parsing", RAW_TEXT: "fill-mask"}
"""The hub's names of what the kinds of tasks do."""
_LICENCE = r"(mit|apache-2\.0|cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-[1-4]\.\d|[al]?gpl-[23]\.[01]|bsd-[23]-clause|odc-by|pddl)"
"""The hub's names of licences that data comes under."""
_FRONT = re.compile(r"\A---\n.*?\n---\n+", re.DOTALL)


Scored = dict[tuple[str, str], tuple[str, float]]
"""By task and language the group of a pair and its score."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the training data of a pair is, in few words and without a path of this machine, and what is told of it."""

    pair: TaskLanguagePair
    place: str | None
    hub: str | None
    corpus: str
    licence: str
    sentences: str


def card(
    folder: Path, name: str, add_ons: Mapping[str, AddOnConfig] | None = None, *, encoder: str | None = None
) -> str:
    """The card of a checkpoint: that in its folder, else one made from the files there; what is not recorded there is
    left out.

    Args:
        folder: the checkpoint.
        name: what it is loaded by.
        add_ons: the files of add-ons beside it on the hub.
        encoder: the encoder's name, if it is not that of training.

    Raises:
        CheckpointError: if there is no checkpoint, or a file is damaged.
    """
    for own in (checkpoint.CARD, checkpoint.README):
        if (folder / own).is_file():
            try:
                return _FRONT.sub("", read_text(folder / own)).strip() + "\n"
            except (OSError, UnicodeDecodeError) as error:
                raise CheckpointError(f"{folder / own} cannot be read: {error}") from None
    settings = checkpoint.read_config(folder)
    size = (folder / checkpoint.WEIGHTS).stat().st_size / 1e6
    encoder = encoder or placeless(settings.encoder)
    head = f"""# {name}

A model of Hyper-X: one hypernetwork writes the adapters of the encoder `{encoder}` for every task and language.
Trained on {settings.trained_on}; any other language works without training data. The file has
{size:.1f} MB, besides the encoder.

```python
import hyperx

model = hyperx.HyperX.from_pretrained("{name}")
for sentence in model.predict(["Ada reads."], task={json.dumps(sorted(settings.trained_tasks))}, language="en"):
    print(sentence.words, sentence.labels)
```

    echo "Ada reads." | hyperx predict --checkpoint {name} --language en
"""
    parts = [*_add_ons(name, add_ons or {}), *_data(folder), *_training(folder, settings), *_scores(folder, settings)]
    return "\n".join([head, *parts, LIMITS])


def model_card(
    folder: Path,
    name: str,
    add_ons: Mapping[str, AddOnConfig] | None = None,
    *,
    encoder: str | None = None,
    licence: str | None = None,
) -> str:
    """The card with the metadata of the hub before it.

    Args:
        folder, name, add_ons, encoder: as for :func:`card`.
        licence: that of the model, by the hub's name; by default that of all training data, if it is one and known.
    """
    settings, add_ons = checkpoint.read_config(folder), add_ons or {}
    sources = [one for one in _sources(folder) if one.pair.key in settings.trained_keys]
    kinds = {settings.kinds[task]: kind for task, kind in kinds_of(settings.kinds).items()}
    reads = {kind.reads for kind in kinds.values() if not kind.auxiliary}
    pipeline = "token-classification" if "words" in reads else "text-classification" if reads else "fill-mask"
    codes = [*settings.trained_languages, *(canonical(one.language) for one in (*settings.add_ons, *add_ons.values()))]
    base = encoder or settings.encoder
    licences = {_hub_licence(one.licence) for one in sources}
    if licence is None and licences and None not in licences:
        licence = licences.pop() if len(licences) == 1 else "other"
    fields = {
        "language": sorted({code for code in codes if re.fullmatch("[a-z]{2,3}", code)}),
        "license": licence,
        "license_name": "see-the-data" if licence == "other" else None,
        "library_name": "hyperx",
        "pipeline_tag": pipeline,
        "base_model": EMBEDDED_ON_HUB if base == "embedded" else None if Path(base).is_absolute() else base,
        "datasets": sorted({one.hub for one in sources if one.hub}),
        "tags": ["hyper-x", "hypernetwork", "adapter", "multilingual", *(_SUBTASKS.get(kind, kind) for kind in kinds)],
        "model-index": [{"name": name, "results": results}] if (results := [*_results(folder, settings)]) else None,
    }
    told = yaml.safe_dump({key: value for key, value in fields.items() if value}, sort_keys=False, allow_unicode=True)
    return f"---\n{told}---\n\n{card(folder, name, add_ons, encoder=encoder)}"


def _hub_licence(text: str) -> str | None:
    """The hub's name of a licence that a data table names; ``other`` if it is no name alone, None if there is none."""
    name = text.strip().lower().replace(" ", "-")
    return (name if re.fullmatch(_LICENCE, name) else "other") if name else None


def _sources(folder: Path) -> Iterator[Source]:
    """The training data of each pair that the run read, as far as it is recorded."""
    if not (folder / checkpoint.DATA).is_file():
        return
    record = checkpoint.read_json(folder / checkpoint.DATA, DataRecord)
    places = DataPlaces(record.data)
    for pair in record.read:
        entry = record.spec.table.get(str(pair))
        told: Mapping[str, Any] = entry if isinstance(entry, Mapping) else {}
        place = hub = None
        if places.has(pair, "train"):
            place, hub = _placeless(places.record(pair, "train"), record.spec.folder)
        count = f"{record.sentences[str(pair)]:,}" if str(pair) in record.sentences else ""
        yield Source(pair, place, hub, told.get("corpus") or "", told.get("licence") or "", count)


def _placeless(place: Mapping[str, Any], folder: Path | None = None) -> tuple[str, str | None]:
    """Where a split is by its record, in few words and without a path of this machine; and the hub's name of it."""
    if "files" in place:
        return short_place({"files": [placeless(file, folder) for file in place["files"]]}), None
    hub = place.get("hub")
    if hub and Path(hub["name"]).is_absolute():
        return placeless(hub["name"], folder), None
    return short_place(place), hub and hub["name"]


def _add_ons(name: str, add_ons: Mapping[str, AddOnConfig]) -> Iterator[str]:
    """The add-ons beside the model, and how they are used."""
    if add_ons:
        rows = [
            [file, one.language, ", ".join(f"{pair}: {count:,}" for pair, count in one.pairs.items())]
            for file, one in add_ons.items()
        ]
        table = markdown_table(["file", "language", "sentences that it learnt from"], rows, text_columns=3)
        file, first = next(iter(add_ons.items()))
        use = f"hyperx predict --checkpoint {name} --language {first.language} --add_on {name}/{file}"
        yield f"## Add-ons\n\nWhat was learnt of a language beside the model.\n\n{table}\n    {use}\n"


def _data(folder: Path) -> Iterator[str]:
    """The training data: one row for each place, with what is read there."""
    rows = dict[str, list[str]]()
    for one in _sources(folder):
        if one.place is not None:
            row = rows.setdefault(one.place, [one.place, "", one.sentences, "", ""])
            row[1] = f"{row[1]} {one.pair}".strip()
            row[3], row[4] = row[3] or one.corpus, row[4] or one.licence
    if rows:
        header, kept = ["source", "pairs", "sentences", "corpus", "licence"], [*rows.values()]
        columns = [index for index in range(5) if any(row[index] for row in kept)]
        table = [[row[index] for index in columns] for row in (header, *kept)]
        yield f"## Data\n\n{markdown_table(table[0], table[1:], text_columns=5)}"


def _training(folder: Path, settings: ModelConfig) -> Iterator[str]:
    """The options of training that matter most, how long it took on what, and how the file was made small."""
    lines = []
    if (folder / checkpoint.OPTIONS).is_file():
        options = checkpoint.read_json(folder / checkpoint.OPTIONS, dict[str, str])
        told = ", ".join(f"{name} {options[name]}" for name in TOLD_OPTIONS if options.get(name) not in (None, "None"))
        before = "" if options.get("load_from_ckpt") in (None, "None") else " It started from an earlier model."
        lines.append(f"Trained with: {told}.{before}")
    if (folder / checkpoint.RUN).is_file():
        lines.append(f"It took {checkpoint.read_json(folder / checkpoint.RUN, checkpoint.Run)}.")
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
    measures, entries = _read_scores(folder, settings)
    if not entries:
        return
    tasks, rows = list(dict.fromkeys(task for task, _ in entries)), []

    def averages(name: str, groups: Sequence[str]) -> None:
        own = [[100 * v for key, (g, v) in entries.items() if key[0] == task and g in groups] for task in tasks]
        rows.append([name, *(f"{fmean(values):.1f} ({len(values)})" if values else "" for values in own)])

    found = [group for group in GROUPS if any(own == group for own, _ in entries.values())]
    for group in found:
        averages(AVERAGE_NAMES[group], [group])
    if len(new := [group for group in found if group != "seen"]) > 1:
        averages(AVERAGE_NAMES["zero_shot"], new)
    header = [f"{task} ({measures[task]})" for task in tasks]
    table = markdown_table(["group", *header], rows)
    yield f"## Scores\n\nOn test data; averages, and in brackets over how many languages.\n\n{table}"
    rows = []
    for code in dict.fromkeys(language for _, language in entries):
        cells = []
        for task in tasks:
            own_group, value = entries.get((task, code), ("", 0.0))
            shown = f"{100 * value:.1f}"
            cells.append(shown if own_group == "seen" else f"*{shown}*" if own_group else "")
        rows.append([code, language_name(code), *cells])
    yield f"In *italics* without training data.\n\n{markdown_table(['', 'language', *header], rows, text_columns=2)}"


def _read_scores(folder: Path, settings: ModelConfig) -> tuple[dict[str, str], Scored]:
    """The main measure of each task; by task and language the group and the score of the pairs that are in averages."""
    measures = {name: task.measure for name, task in make_tasks(settings.kinds).items()}
    scores = checkpoint.read_scores(folder, measures)
    return measures, {key: entry for key, entry in scores.items() if entry[0] in GROUPS}


def _results(folder: Path, settings: ModelConfig) -> Iterator[dict[str, Any]]:
    """The scores as the hub lists them: one entry for each pair."""
    measures, entries = _read_scores(folder, settings)
    sources: dict[tuple[str, str], Any] = {}
    with suppress(OSError, LookupError, AttributeError, HyperXError):
        for name, entry in read_json(folder / checkpoint.RESULTS, dict[str, Any])["pairs"].items():
            sources[TaskLanguagePair.parse(name).key] = entry.get("source")
    recorded = (folder / checkpoint.DATA).is_file()
    data = checkpoint.read_json(folder / checkpoint.DATA, DataRecord).spec.folder if recorded else None
    for (task, code), (group, value) in entries.items():
        place, hub = _placeless(sources[task, code], data) if sources.get((task, code)) else ("", None)
        words = kinds_of(settings.kinds)[task].reads == "words"
        language = language_name(code)
        place = place or f"test data of {language}"
        yield {
            "task": {
                "type": f"{'token' if words else 'text'}-classification",
                "name": f"{task} in {language}",
            },
            "dataset": {"type": hub or "other", "name": place, "config": f"{task}#{code}", "split": "test"},
            "metrics": [
                {"type": measures[task], "value": round(value, 4), "name": f"{measures[task]}, {AVERAGE_NAMES[group]}"}
            ],
        }
