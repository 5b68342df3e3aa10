"""What the benchmarks share: training runs over random subwords, their bound, and rows that compare two functions.

The bound is the least that training inside a frozen encoder can cost: the encoder's forward pass and the backward pass
of the sum of its output, with only its first layer norm trained.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from torch import Tensor

from hyperx.config import TrainConfig
from hyperx.data.batch.store import EncodedSplit
from hyperx.encoders.families import disable_attention_dropout, norm_modules
from hyperx.encoders.loading import LoadedEncoder
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.data import RunData
from hyperx.plan.model import build_model
from hyperx.plan.options import Plan
from hyperx.tasks.registry import make_tasks
from hyperx.training.loop import TrainingRun, make_accelerator

LANGUAGES = ("en", "ru", "tr", "es", "de", "nl", "pl", "fr")
HEADER = "| what | target | median | spread | times |\n| --- | --- | ---: | --- | --- |"

Work = Callable[[], object]


def row(what: str, target: str = "", value: str = "", spread: str = "", detail: str = "") -> None:
    """Print a row of Markdown."""
    cells = (" ".join(cell.split()).replace("|", "/") for cell in (what, target, value, spread, detail))
    print(f"| {' | '.join(cells)} |", flush=True)


def ratios_row(what: str, target: str, rounds: Sequence[tuple[float, float]], unit: str = "{:.3f} s") -> None:
    """Print the median of the rounds' ratios, their lowest and highest, and the medians of both values."""
    ratios = [mine / other for mine, other in rounds]
    medians = [unit.format(statistics.median(column)) for column in zip(*rounds, strict=True)]
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    row(what, target, f"{statistics.median(ratios):.3f}", spread, " / ".join(medians))


def compare(what: str, target: str, ours: Work, other: Work, *, rounds: int, clock: Callable[[Work], float]) -> float:
    """Time two functions in turn and print the row; returns the median of the first's times. The first round does not
    count."""
    times = [(clock(ours), clock(other)) for _ in range(rounds + 1)][1:]
    ratios_row(what, target, times)
    return statistics.median(mine for mine, _ in times)


def random_split(
    kind: str, subwords: int, vocabulary: int, *, windows: int = 2048, padded: bool = False
) -> EncodedSplit:
    """Windows of random subwords, each a word of its own; padded ones have between half and all of them."""
    random = np.random.default_rng(0)
    lengths = random.integers(subwords // 2, subwords + 1, windows) if padded else np.full(windows, subwords)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    words = np.concatenate([np.arange(length) for length in lengths]).astype(np.int32)
    targets: dict[str, dict[str, Any]] = {
        "pos": {"upos": np.zeros(offsets[-1], dtype=np.int32)},
        "dep": {"head": np.minimum(words, 1), "deprel": np.minimum(words, 1)},
        "mlm": {},
        "cls": {"label": np.arange(windows, dtype=np.int32) % 2},
    }
    names = {"upos": ("NOUN",), "deprel": ("root", "obj"), "label": ("bad", "good")}
    return EncodedSplit(
        ids=random.integers(10, vocabulary, offsets[-1]).astype(np.int32),
        words=words,
        offsets=offsets,
        sentences=np.arange(windows, dtype=np.int32),
        starts=np.zeros(windows, dtype=np.int32),
        stops=lengths.astype(np.int32),
        targets=targets[kind],
        target_offsets=np.arange(windows + 1, dtype=np.int64) if kind == "cls" else offsets,
        names={column: names[column] for column in targets[kind] if column in names},
    )


def make_run(
    loaded: LoadedEncoder,
    config: TrainConfig,
    kinds: Mapping[str, str],
    splits: Mapping[str, EncodedSplit],
    *,
    languages: Sequence[str] = LANGUAGES,
    accelerator: Accelerator | None = None,
) -> TrainingRun:
    """A training run over the split of each pair, as the command line creates it, ready for its first step."""
    tasks = make_tasks(kinds)
    labels = {name: task.label_set(("bad", "good") if task.kind == "cls" else ()) for name, task in tasks.items()}
    pairs = tuple(map(TaskLanguagePair.parse, splits))
    data = RunData(Plan(config, kinds, tuple(languages), pairs), loaded, labels, list(splits.values()), {})
    folder = config.training.output_dir or Path()
    return TrainingRun(folder, accelerator or make_accelerator(config.training), build_model(data), data)


def steps_of(run: TrainingRun) -> Work:
    """The run's own training step, over the run's own batches."""
    batches = run._batches(0)
    return lambda: run._step(batches)


def bound(
    encoder: Any,
    batches: Iterator[dict[str, Tensor | None]],
    precision: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
) -> Work:
    """The frozen encoder's forward and backward pass, without attention dropout, as in the step."""
    encoder.train()
    disable_attention_dropout(encoder)
    encoder.requires_grad_(False)
    next(norm for _, norm in norm_modules(encoder)).requires_grad_(True)

    def once() -> None:
        with precision():
            states = encoder(**next(batches)).last_hidden_state
        states.float().sum().backward()
        encoder.zero_grad()

    return once
