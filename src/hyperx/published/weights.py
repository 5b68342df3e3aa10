"""The weights of a published run: our names and the published ones, and checks of the files."""

from __future__ import annotations

import logging
import math
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from hyperx.config import HypernetworkOptions
from hyperx.encoders.layout import encoder_layers
from hyperx.errors import CheckpointError, itemised
from hyperx.model import HyperX
from hyperx.published.run import TASKS, PublishedRun

log = logging.getLogger(__name__)

WEIGHTS = "pytorch_model.bin"
LIMIT = 1 << 35
"""Largest size in bytes of a file of weights; that of a BERT large has some 10**9."""
SOURCE = "bert.encoder.hypernet_source_controller."
GENERATORS = "bert.encoder.hypernet."

# The published program also assigns the generators to the layers, at its first step; torch then saves them twice.
_SECOND_COPY = re.compile(r"bert\.encoder\.layer\.(\d+)\.output\.hypernet\.(.+)")
# No task reads these: position ids, and the pooler that some encoders have.
_UNUSED = re.compile(r"bert\.embeddings\.position_ids|bert\.pooler\..*")


def hypernetwork_names(run: PublishedRun, layers: int) -> dict[str, str | tuple[str, ...]]:
    """Our names of the hypernetwork's weights -> the published name, or the names of the tensors to stack.

    Args:
        run: tasks, languages and shape.
        layers: number of the encoder's layers.
    """
    options = run.hypernetwork
    names: dict[str, str | tuple[str, ...]] = {
        "source.task": tuple(f"{SOURCE}task_embeddings.{task}" for task in run.kept_tasks),
        "source.language": tuple(f"{SOURCE}lang_embeddings.{language}" for language in run.languages),
    }
    if options.condition_to_layer_id:
        names["source.layer"] = tuple(f"{SOURCE}layer_id_embeddings.layer:{layer}" for layer in range(layers))
    if options.project_source_embeddings:
        names |= {
            f"projector.{index}.{part}": f"{SOURCE}source_embedding_MLP.{index}.{part}"
            for index in (0, 2)
            for part in ("weight", "bias")
        }
    sets = [GENERATORS] if options.condition_to_layer_id else [f"{GENERATORS}{layer}." for layer in range(layers)]
    for ours, theirs in _generator_names(options).items():
        names |= {f"{ours}.{part}": tuple(f"{prefix}{theirs}.{part}" for prefix in sets) for part in ("weight", "bias")}
    # A norm that is not generated is shared by all layers if the generators are.
    of_layers = sets * layers if options.condition_to_layer_id else sets
    for ours, theirs in _plain_norm_names(options).items():
        names |= {
            f"{ours}.{part}": tuple(f"{prefix}{theirs}.{part}" for prefix in of_layers) for part in ("weight", "bias")
        }
    return names


def _generator_names(options: HypernetworkOptions) -> dict[str, str]:
    """Our names of the generators -> the published ones; each is one linear map."""
    names = {
        f"{ours}{suffix}": f"meta_{ours}_sampler.{kind}_generator.0"
        for ours in ("down", "up")
        for suffix, kind in (("", "weight"), ("_bias", "bias"))
    }
    if options.conditional_layer_norm:
        names |= {
            f"norm_{side}.{kind}": f"{side}_layernorm_hypernet.{kind}_generator"
            for side in _norms(options)
            for kind in ("weight", "bias")
        }
    return names


def _plain_norm_names(options: HypernetworkOptions) -> dict[str, str]:
    if options.conditional_layer_norm:
        return {}
    return {f"norm_{side}": f"{side}_layer_norm" for side in _norms(options)}


def _norms(options: HypernetworkOptions) -> list[str]:
    wanted = {"pre": options.add_layer_norm_before_adapter, "post": options.add_layer_norm_after_adapter}
    return [side for side, there in wanted.items() if there]


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights in a file of ``torch.save``, which are mapped into memory, not copied, if its format allows.

    Raises:
        CheckpointError: if the file is missing, too large or damaged, or has anything but plain tensors by name.
    """
    size, is_archive = _check_file(path)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except Exception as error:  # torch raises many kinds for a damaged or foreign file
        # Its own message advises running the file's code.
        asked = re.search(r"GLOBAL (\S+)", str(error))
        found = f"it asks for {asked[1]}" if asked else "it cannot be read"
        raise CheckpointError(
            f"{path}: expected weights alone; {found}. The file is damaged or no file of weights; nothing of it was run"
        ) from None
    if not isinstance(weights, dict):
        raise CheckpointError(f"{path}: expected weights by name; found a {type(weights).__name__}")
    for name, tensor in weights.items():
        if not isinstance(name, str) or type(tensor) is not Tensor or tensor.layout != torch.strided:
            raise CheckpointError(
                f"{path}: expected a plain tensor; found a {type(tensor).__name__} at {str(name)[:80]}"
            )
        if tensor.device.type != "cpu" or tensor.numel() * tensor.element_size() > size:
            raise CheckpointError(f"{path}: {name[:80]} is larger than the file that holds it")
    return weights


def _check_file(path: Path) -> tuple[int, bool]:
    """The size of a file of weights, and whether it is an archive, whose members must not be compressed."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            is_archive = file.read(4) == b"PK\x03\x04"
        if size > LIMIT:
            raise CheckpointError(f"{path}: expected weights of at most {LIMIT:,} bytes; it has {size:,}")
        if is_archive:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
            packed = [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]
            if packed or sum(member.file_size for member in members) > size:
                raise CheckpointError(
                    f"{path}: expected an archive as torch.save writes it; its members are compressed"
                )
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} has no {path.name}: expected the weights of the task there") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from None
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{path} is a damaged archive: {error}") from None
    return size, is_archive


def _check_second_copies(weights: Mapping[str, Tensor], run: PublishedRun) -> set[str]:
    """The names of the second copies of the generators, which are not needed; warns if they differ."""
    copies, differing = set(), []
    for name in weights:
        if not (match := _SECOND_COPY.fullmatch(name)):
            continue
        layer, rest = match.groups()
        original = f"{GENERATORS}{rest}" if run.hypernetwork.condition_to_layer_id else f"{GENERATORS}{layer}.{rest}"
        if original not in weights:
            continue
        copies.add(name)
        if (difference := _difference(weights[name], weights[original])) > 0:
            differing.append((difference, name))
    if differing:
        most, name = max(differing)
        log.warning(
            "%d of the %d second copies of generators under the layers differ from the generators, most %s by %.3g; "
            "the generators are taken",
            len(differing), len(copies), name, most,
        )  # fmt: skip
    return copies


def _check_shared(first: Mapping[str, Tensor], other: Mapping[str, Tensor], tasks: tuple[str, str]) -> None:
    """Warn if two tasks' files hold different encoders or hypernetworks, which the published program shares."""
    names = {name for name in {*first, *other} if _is_shared(name)}
    differences = {
        name: _difference(first[name], other[name]) if name in first and name in other else math.inf for name in names
    }
    differing = {name: value for name, value in differences.items() if value > 0}
    if differing:
        name = max(sorted(differing), key=lambda key: differing[key])
        log.warning(
            "%d of the %d tensors of the encoder and the hypernetwork in %s differ from those in %s, most %s by %.3g; "
            "those of %s are taken, and %s may predict otherwise than it did",
            len(differing), len(names), tasks[1], tasks[0], name, differing[name], tasks[0], tasks[1],
        )  # fmt: skip


def _is_shared(name: str) -> bool:
    return name.startswith("bert.") and not _SECOND_COPY.fullmatch(name) and not _UNUSED.fullmatch(name)


def _difference(one: Tensor, other: Tensor) -> float:
    """The largest difference between two tensors; infinite if their shapes differ."""
    if one.shape != other.shape:
        return math.inf
    return 0.0 if torch.equal(one, other) else float((one.double() - other.double()).abs().max())


class _Fit:
    """Reads weights for a model by their published names; collects what is missing, unexpected or of another shape."""

    def __init__(self, model: HyperX) -> None:
        self.shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
        self.tensors: dict[str, Tensor] = {}
        self.problems: list[str] = []

    def take(self, weights: Mapping[str, Tensor], names: Mapping[str, str | tuple[str, ...]]) -> None:
        """Read the parameters that ``names`` lists, our names -> the published ones."""
        for ours, theirs in names.items():
            stacked = isinstance(theirs, tuple)
            shape = self.shapes[ours][1:] if stacked else self.shapes[ours]
            wanted = (theirs,) if isinstance(theirs, str) else theirs
            faults = [fault for name in dict.fromkeys(wanted) if (fault := self._fault(weights, name, shape))]
            self.problems += faults
            if not faults:
                found = [weights[name].to(torch.float32) for name in wanted]
                self.tensors[ours] = torch.stack(found) if stacked else found[0].clone()

    @staticmethod
    def _fault(weights: Mapping[str, Tensor], name: str, shape: torch.Size) -> str | None:
        if name not in weights:
            return f"missing: {name}"
        if weights[name].shape != shape or not weights[name].is_floating_point():
            kind = str(weights[name].dtype).removeprefix("torch.")
            return f"{name}: expected numbers of shape {tuple(shape)}, found {kind} of {tuple(weights[name].shape)}"
        return None

    def refuse(self, names: Iterable[str]) -> None:
        """Note weights that have no place in the model."""
        self.problems += [f"unexpected: {name[:120]}" for name in names]

    def check(self, path: Path) -> None:
        """Raise a CheckpointError with all problems of a file, if there are any."""
        if self.problems:
            heading = f"{path}: the weights do not fit the run's arguments and the encoder"
            raise CheckpointError(itemised(heading, self.problems))


def read_tensors(folder: Path, run: PublishedRun, shared: Mapping[str, Tensor], model: HyperX) -> dict[str, Tensor]:
    """All weights of a run under our names.

    Args:
        folder: the published checkpoint.
        run: its arguments.
        shared: the weights of its first task, from which the encoder and the hypernetwork are taken.
        model: a model of its shape; its own weights are not used.

    Raises:
        CheckpointError: if weights are missing, unexpected or of another shape.
    """
    fit = _Fit(model)
    names = _shared_names(model, run)
    fit.take(shared, names)
    used = {name for theirs in names.values() for name in ((theirs,) if isinstance(theirs, str) else theirs)}
    # The embeddings of tasks that are left out have no place here.
    used |= _check_second_copies(shared, run) | {f"{SOURCE}task_embeddings.{task}" for task in run.tasks}
    fit.refuse(name for name in shared if name.startswith("bert.") and not _UNUSED.fullmatch(name) and name not in used)
    fit.check(weights_path(folder, run.tasks[0]))
    for task in run.kept_tasks:
        weights = shared
        if task != run.tasks[0]:
            weights = read_weights(weights_path(folder, task))
            _check_shared(shared, weights, (run.tasks[0], task))
        head = TASKS[task].head
        fit.take(weights, {f"heads.{task}.{ours}": theirs for ours, theirs in head.items()})
        fit.refuse(name for name in weights if not name.startswith("bert.") and name not in head.values())
        fit.check(weights_path(folder, task))
    return fit.tensors


def weights_path(folder: Path, task: str) -> Path:
    """Where a published checkpoint keeps a task's weights."""
    return folder / f"{task}_model" / WEIGHTS


def _shared_names(model: HyperX, run: PublishedRun) -> dict[str, str | tuple[str, ...]]:
    """Our names of the encoder's and the hypernetwork's weights -> the published ones."""
    names: dict[str, str | tuple[str, ...]] = {
        name: f"bert.{name.removeprefix('encoder.')}"
        for name, _ in model.named_parameters()
        if name.startswith("encoder.")
    }
    generated = hypernetwork_names(run, len(encoder_layers(model.encoder)))
    return names | {f"hypernetwork.{ours}": theirs for ours, theirs in generated.items()}
