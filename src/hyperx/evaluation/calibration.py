"""How far confidences are from the share of what is right, and the temperatures that bring them nearer."""

from __future__ import annotations

import math
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tqdm.auto import tqdm

from hyperx import checkpoint
from hyperx.config import COOLEST, HOTTEST, CalibrateConfig, Trained
from hyperx.errors import ConfigError, DataError
from hyperx.evaluation.scoring import find_data, read_splits
from hyperx.files import not_new, read_json, write_json

# PyTorch is imported where it is needed: what is wrong with the options is said without waiting for it.
if TYPE_CHECKING:
    from torch import Tensor

    from hyperx.pairs import TaskLanguagePair

Decision: TypeAlias = "tuple[Tensor, Tensor]"
"""Logits ``[n, classes]`` and the right classes ``[n]``."""
BINS = 15
"""Number of bins of equal width."""


def reliability(outcomes: Iterable[tuple[float, bool]]) -> list[tuple[int, float, float]]:
    """Of each bin of equal width, with its upper end, that has outcomes: their number, the mean confidence, and the
    share of what is right. Outcomes are confidences, and whether what they are of is right."""
    bins = [[0.0, 0.0, 0.0] for _ in range(BINS)]
    for sure, right in outcomes:
        own = bins[min(max(math.ceil(sure * BINS), 1), BINS) - 1]
        own[:] = own[0] + 1, own[1] + sure, own[2] + right
    return [(int(count), sure / count, right / count) for count, sure, right in bins if count]


def expected_calibration_error(outcomes: Iterable[tuple[float, bool]]) -> float | None:
    """The expected calibration error (Guo et al. 2017, equation 3): the mean distance of the mean confidence from the
    share of what is right over the bins of :func:`reliability`, weighted by their sizes; None without outcomes."""
    bins = reliability(outcomes)
    gaps = sum(count * abs(sure - right) for count, sure, right in bins)
    return gaps / sum(count for count, *_ in bins) if bins else None


def negative_log_likelihood(decisions: Sequence[Decision], temperature: float) -> float:
    """The mean negative log-likelihood of the right classes ``[n]`` under logits ``[n, classes]`` divided by a
    temperature, over all decisions."""
    from torch.nn.functional import cross_entropy

    total = sum(cross_entropy(logits / temperature, right, reduction="sum").item() for logits, right in decisions)
    return float(total / sum(len(right) for _, right in decisions))


def fitted_temperature(decisions: Sequence[Decision]) -> float:
    """The temperature with the least negative log-likelihood, by ternary search: as that is convex in the inverse of
    the temperature, it has one minimum."""
    low, high = math.log(COOLEST), math.log(HOTTEST)
    while high - low > 1e-3:
        third = (high - low) / 3
        costs = [negative_log_likelihood(decisions, math.exp(place)) for place in (low + third, high - third)]
        low, high = (low, high - third) if costs[0] <= costs[1] else (low + third, high)
    return round(math.exp((low + high) / 2), 4)


def calibrate(config: CalibrateConfig) -> tuple[Path, list[tuple[Any, ...]], tuple[TaskLanguagePair, ...]]:
    """Fit temperatures and write them into the checkpoint's configuration, or into that of a copy; those of tasks and
    groups without data stay.

    Returns:
        The folder that has them now; of each task and group on how many labels it was fitted, the temperature, and the
        mean negative log-likelihood of the right labels before and after; and the pairs whose data cannot be read.

    Raises:
        ConfigError: all problems with the options.
        CheckpointError: if there is no checkpoint, or it does not fit its encoder.
        DataError: if data of a requested pair is missing or malformed, or none has confidences.
    """
    folder, output, problems = checkpoint.resolve(config.folder), config.output, list[str]()
    data = find_data(config, folder, problems)
    if output is None and (checkpoint.read_only(folder) or not os.access(folder, os.W_OK)):
        problems.append(f"--output: {folder.name} is not written into; name a new folder for a calibrated copy")
    elif output is not None and (problem := not_new(output)):
        problems.append(f"--output: {problem}")
    if problems:
        raise ConfigError(problems)
    import torch

    from hyperx.data.batch.windows import Subwords, pad_windows
    from hyperx.device import placed
    from hyperx.model import load

    model = load(folder, config)
    device, size = model.word_embeddings.device, config.per_device_eval_batch_size
    pad = Subwords.of(model.checked_tokenizer()).pad
    found = defaultdict[tuple[str, Trained], list[Decision]](list)
    splits, _, unread = read_splits(config, model, data)
    for pair, split in tqdm(splits.items(), "labelling", unit="pair", disable=config.silent):
        task, known = model.tasks[pair.task], model.config.labels_of(pair)
        if task.auxiliary:
            continue
        none = task.no_label or ""  # what is not among the model's labels is left out
        names = {column: tuple(one if one in known else none for one in had) for column, had in split.names.items()}
        split, own = replace(split, names=names).numbered(known, none), found[pair.task, model.config.trained(pair)]
        with torch.inference_mode():
            adapters = model.adapters([pair], model.config.style(pair.task, data.places.corpus(pair)))
            for start in range(0, len(split), size):
                windows = [split.window(index) for index in range(start, min(start + size, len(split)))]
                ids, mask, words = (placed(tensor, device) for tensor in pad_windows(windows, pad))
                logits = model(pair, ids, mask, words=words, adapters=adapters).logits
                own += task.decisions(logits, placed(task.labels(windows, ids.shape[1]), device), known)
    temperatures, fits = {name: {**old} for name, old in model.config.temperatures.items()}, list[tuple[Any, ...]]()
    for (name, group), decisions in found.items():
        if count := sum(len(right) for _, right in decisions):
            fitted = temperatures.setdefault(name, {})[group] = fitted_temperature(decisions)
            fits.append((name, group, count, fitted, *(negative_log_likelihood(decisions, one) for one in (1, fitted))))
    if not fits:
        raise DataError(f"expected {config.split} data with labels of a task that has confidences; found none")
    settings = read_json(folder / checkpoint.CONFIG, dict[str, Any]) | {"temperatures": temperatures}

    def fill(staged: Path) -> None:
        shutil.copytree(folder, staged, ignore=shutil.ignore_patterns(checkpoint.STATE), dirs_exist_ok=True)
        write_json(staged / checkpoint.CONFIG, settings)

    if output is None:
        write_json(folder / checkpoint.CONFIG, settings)
    else:
        checkpoint.write_folder(output, fill)
    return output or folder, fits, unread
