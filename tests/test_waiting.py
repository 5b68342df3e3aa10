"""A training step never waits for a GPU, and the watch over that sees what would."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from torch import Tensor

import toy
from hyperx.config import ArchitectureOptions, HypernetworkOptions, ModelOptions, TrainConfig, TrainingOptions
from hyperx.data.batch.store import read_encoded, write_encoded
from hyperx.data.batch.windows import SubwordEncoder
from hyperx.data.read.sentence import Sentence
from hyperx.encoders.loading import load_encoder
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.data import RunData
from hyperx.plan.model import build_model
from hyperx.plan.options import Plan
from hyperx.tasks.base import Task
from hyperx.tasks.registry import make_tasks
from hyperx.training.collate import Batch
from hyperx.training.loop import TrainingRun, make_accelerator
from waiting import DEVICE, WaitingError, never_answers

KINDS = {"pos": "pos", "ner": "ner", "dep": "dep", "mlm": "mlm", "mood": "cls"}
LABELS = {"mood": ("bad", "good")}


def sentences(task: Task, language: str, *, count: int = 12) -> Iterator[Sentence]:
    """Sentences of several lengths with what a task asks for."""
    for number, rows in enumerate(toy.sentences(language, count, 0)):
        words, tags, entities = zip(*rows, strict=True)
        heads, relations = zip(*toy.tree(list(rows)), strict=True)
        columns = {"upos": tags, "ner": entities, "head": heads}
        columns["deprel"] = tuple(relation.partition(":")[0] for relation in relations)
        if task.kind == "cls":
            columns = {"label": (LABELS["mood"][number % 2],)}
        yield Sentence(words if task.reads == "words" else (), columns, text=" ".join(words))


@pytest.fixture
def run(encoder: Path, tmp_path: Path) -> Iterator[Callable[..., TrainingRun]]:
    """A run over some pairs, on the device that never answers."""

    def make(pairs: Sequence[str], *, rows: int = 16, **fields: object) -> TrainingRun:
        loaded, tasks = load_encoder(encoder), make_tasks(KINDS)
        labels = {name: LABELS.get(name) or task.label_set(()) for name, task in tasks.items()}
        config = TrainConfig(
            model=ModelOptions(train_encoder=fields.pop("train_encoder", "norms")),
            architecture=ArchitectureOptions(**fields),
            hypernetwork=HypernetworkOptions(adapter_dim=8, add_layer_norm_after_adapter=True),
            training=TrainingOptions(output_dir=tmp_path, max_train_steps=9, per_device_train_batch_size=rows),
        )
        trained = tuple(map(TaskLanguagePair.parse, pairs))
        languages = ("en", "tr", "de")
        splits = []
        for pair in trained:
            task, path = tasks[pair.task], tmp_path / str(pair).replace("#", "-")
            encode = partial(task.windows, SubwordEncoder(loaded.tokenizer, max_length=40))
            write_encoded(path, sentences(task, pair.language), encode, task.columns)
            splits.append(read_encoded(path))
        data = RunData(Plan(config, KINDS, languages, trained), loaded, labels, splits, {})
        return TrainingRun(tmp_path, make_accelerator(config.training), build_model(data).to(DEVICE), data)

    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState(cpu=True).device = DEVICE
    yield make
    AcceleratorState._reset_state(reset_partial_state=True)


ALL = ["pos#en", "ner#tr", "dep#de", "mlm#en", "mood#tr"]
CASES: list[tuple[list[str], dict[str, Any]]] = [
    (ALL, {}),
    (["mlm#en"], {}),
    (["pos#en", "pos#tr", "pos#de"], {}),
    (["pos#en"], {"rows": 1}),  # no padding
    (ALL, {"adapters": "stacked"}),
    (ALL, {"adapters": "none"}),
    (ALL, {"train_encoder": "all"}),
]


@pytest.mark.parametrize(("pairs", "fields"), CASES)
def test_a_step_never_waits(run: Callable[..., TrainingRun], pairs: list[str], fields: dict[str, Any]) -> None:
    training = run(pairs, **fields)
    batches = training._batches(0)
    if "rows" in fields:
        first = next(batches)
        assert first.to(DEVICE).attention_mask is None
        batches = itertools.chain([first], batches)
    with never_answers():
        loss = training._step(batches)
        training._step(batches)
    assert loss.device == DEVICE
    trained = {name for name, parameter in training.model.named_parameters() if parameter in training.optimizer.state}
    if fields.get("adapters") is None:
        assert any(name.startswith("hypernetwork.up") for name in trained)
    assert {name.split(".")[1] for name in trained if name.startswith("heads.")} == {
        pair.split("#")[0] for pair in pairs
    }


# The watch sees what would wait ---------------------------------------------------------------------------------------


def far(values: Tensor) -> Tensor:
    return values.to(DEVICE, non_blocking=True)


VALUES, NUMBERS = torch.ones(3, 4, device=DEVICE), torch.tensor([2, 0])
WAITS: dict[str, Callable[[], object]] = {
    "a value": lambda: VALUES.sum().item(),
    "a question": lambda: bool((VALUES > 0).all()),
    "a mask": lambda: VALUES[VALUES > 0],
    "a mask to write at": lambda: VALUES.clone().__setitem__(VALUES > 0, 0.0),
    "places": lambda: VALUES.nonzero(),
    "different values": lambda: VALUES.unique(),
    "a copy back": lambda: VALUES.cpu(),
    "a copy into the CPU's memory": lambda: torch.empty(3, 4).copy_(VALUES),
    "a copy there": lambda: NUMBERS.to(DEVICE),
    "a copy into its memory": lambda: torch.empty(2, device=DEVICE).copy_(NUMBERS),
    "a list made a tensor": lambda: torch.tensor([2, 0], device=DEVICE),
    "a list as an index": lambda: VALUES[[2, 0]],
    "an index on the CPU": lambda: VALUES[NUMBERS],
}


@pytest.mark.parametrize("waits", WAITS.values(), ids=WAITS)
def test_what_waits_is_seen(waits: Callable[[], object]) -> None:
    with never_answers(), pytest.raises(WaitingError):
        waits()


def test_what_does_not_wait_passes() -> None:
    with never_answers():
        index = far(NUMBERS)
        chosen = VALUES[index] * 2 + torch.zeros((), device=DEVICE)
        chosen.masked_fill(chosen > 1, 0.5).clamp(min=0)[:, 1:].sum().detach()
        assert NUMBERS[NUMBERS > 0].tolist() == [2]


def test_the_number_of_labels_of_mlm_would_be_waited_for(run: Callable[..., TrainingRun]) -> None:
    batch: Batch = next((training := run(["mlm#en"]))._batches(0))
    moved = replace(batch, labels={task: far(labels) for task, labels in batch.labels.items()})
    with never_answers(), pytest.raises(WaitingError):
        training._step(iter([moved]))
