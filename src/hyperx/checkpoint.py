"""Checkpoint folders: a model's configuration, its trained weights, where its data is, and the state for resuming.

A folder is written under a temporary name and renamed into place, so a kill at any moment leaves the last complete one
usable.
"""

from __future__ import annotations

import glob
import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open

from hyperx import files
from hyperx.config import ModelConfig
from hyperx.errors import CheckpointError, HyperXError, itemised, listing
from hyperx.files import write_json
from hyperx.hub import Access, Address, fetched, is_fetched
from hyperx.packing import unpacked
from hyperx.pairs import TaskLanguagePair

log = logging.getLogger(__name__)
T = TypeVar("T")

# PyTorch is imported where it is needed: what is wrong with a command's options is said without waiting for it.
if TYPE_CHECKING:
    from torch import Tensor

CONFIG, WEIGHTS, DATA, STATE = "hyperx.json", "model.safetensors", "data.json", "state.safetensors"
ENCODER = "encoder"
INSIDE = f"./{ENCODER}"
"""How a configuration names an encoder that is stored in the checkpoint's own folder, and so moves with it."""
OPTIONS, BEST, RUN = "options.json", "best.json", "run.json"
LOG, LOCK, TRIAL = "log.jsonl", ".lock", "checkpoint-trial"
RESULTS, CARD, README = "results.json", "card.md", "README.md"
SHARED = (
    CONFIG, WEIGHTS, DATA, OPTIONS, RUN, RESULTS, README,
    *(f"{ENCODER}/{name}" for name in (
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    )),
)  # fmt: skip
"""The files of a checkpoint on the hub; no others are written there, and no others fetched."""
EXPORTED = "export.json"
"""What a folder that ``hyperx export`` wrote has in place of weights."""
OWN = ("checkpoint-*", BEST, LOG)
"""What a run writes into its output folder."""
READY_MADE, DEFAULT = Path(__file__).with_name("models"), "default"
FORMAT = 2


class NotFiniteError(HyperXError):
    """Weights, or what the optimiser keeps of them, hold NaN or infinity; they are neither saved nor read."""


@dataclass(frozen=True)
class Best:
    """The best checkpoint of a run, its average and the group of pairs that was averaged over."""

    checkpoint: str
    average: float | None = None
    of: str = "all"


@dataclass(frozen=True)
class Run:
    """What training took: the device, the number of processes and seconds, those before interruptions included."""

    device: str
    processes: int
    seconds: float

    def __str__(self) -> str:
        long = f"{self.seconds / 60:.0f} minutes" if self.seconds >= 90 else f"{self.seconds:.0f} seconds"
        return f"{long} on {f'{self.processes} times ' * (self.processes > 1)}{self.device}"


# Folders --------------------------------------------------------------------------------------------------------------


@contextmanager
def locked(output_dir: Path) -> Iterator[None]:
    """Let no other run write into an output folder, which is made, in this block; raises a HyperXError if one does.
    A kill of the process ends this too."""
    made = not output_dir.exists()
    output_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output_dir / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise HyperXError(
            f"--output_dir: another run is training into {output_dir}. Wait until it ends, or name another folder"
        ) from None
    except (OSError, NotImplementedError) as error:  # as on some network file systems
        log.warning("%s cannot be locked (%s): start no other run in it", output_dir, error)
    try:
        yield
    finally:
        if lock.is_locked:
            (output_dir / LOCK).unlink(missing_ok=True)
            lock.release()
        if made:
            with suppress(OSError):  # a run is in it
                output_dir.rmdir()


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Write ``folder`` with what ``fill`` puts into it, complete or not at all; an existing one is replaced."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    recover(folder)
    for path in folder.parent.glob(f".{glob.escape(folder.name)}.part-*"):  # of a run that was killed
        shutil.rmtree(path, ignore_errors=True)
    old = _replaced(folder)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
    staged = folder.with_name(f".{folder.name}.part-{uuid4().hex[:8]}")
    staged.mkdir()
    try:
        (staged / CONFIG).touch()
        mode = (staged / CONFIG).stat().st_mode  # as the user's umask has it; safetensors gives its files another
        (staged / CONFIG).unlink()
        fill(staged)
        for path in filter(Path.is_file, staged.rglob("*")):
            path.chmod(mode)
            with path.open("rb") as file:  # a full disk may show only here
                os.fsync(file.fileno())
        if folder.exists():
            folder.rename(old)
        staged.rename(folder)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> None:
    """Restore the old folder if a kill came between its renaming and that of the new one."""
    if not folder.exists() and (old := _replaced(folder)).is_dir():
        old.rename(folder)


def _replaced(folder: Path) -> Path:
    """The temporary name of the old folder while the new one replaces it."""
    return folder.with_name(f".{folder.name}.old")


def checkpoints(output_dir: Path) -> list[Path]:
    """The checkpoints of a run, by step."""
    steps = {path: path.name.removeprefix("checkpoint-") for path in output_dir.glob("checkpoint-*")}
    whole = [path for path, step in steps.items() if step.isdecimal() and (path / CONFIG).is_file()]
    return sorted(whole, key=lambda path: int(steps[path]))


def ready_made() -> dict[str, Path]:
    """The models that come with the package, by name: checkpoints, each with its card. The last one is the default."""
    folders = sorted(path.parent for path in READY_MADE.glob(f"*/{CONFIG}"))
    return {path.name: path for path in folders}


def read_only(folder: Path | None) -> bool:
    """Whether a checkpoint is of the package or of the hub's cache, so that nothing is written into its folder."""
    return folder is not None and (folder in ready_made().values() or is_fetched(folder))


def resolve(folder: Path | None, access: Access = Access()) -> Path:
    """The checkpoint that a folder means: the folder itself, or the best checkpoint of an output folder, else its last.
    Where there is no such folder, a ready-made model of that name, else one of the hub, which is fetched; None and
    ``default`` are the default one. Raises a CheckpointError if there is none."""
    own = ready_made()
    if folder is None or (str(folder) == DEFAULT and not folder.exists()):
        if not own:
            raise CheckpointError("no model comes with this package; name a checkpoint or the output folder of a run")
        return [*own.values()][-1]
    if not folder.exists() and str(folder) in own:
        return own[str(folder)]
    if not files.is_utf8(folder):  # its libraries would call it damaged
        raise CheckpointError(f"expected the path of a checkpoint in UTF-8; found {str(folder)!a}. Rename it")
    recover(folder)
    if folder.is_file() and folder.name in (CONFIG, WEIGHTS, BEST):
        folder = folder.parent
    if (folder / CONFIG).is_file():
        return folder
    written = checkpoints(folder)
    best = Path(read_json(folder / BEST, Best).checkpoint).name if (folder / BEST).is_file() else ""
    if written:
        return next((path for path in written if path.name == best), written[-1])
    what = "holds no checkpoint" if folder.is_dir() else "is a file" if folder.exists() else "does not exist"
    models = f", or a ready-made model ({', '.join(own)})" if own else ""
    expected = f"expected a folder with {CONFIG}, or one with checkpoint-<step> folders{models}"
    address = None if folder.exists() else Address.read(folder)
    if address is None or address.file is not None:
        raise CheckpointError(f"{folder} {what}: {expected}, or a model of the hub, OWNER/NAME")
    try:
        folder = fetched(address, SHARED, access)
    except CheckpointError as error:
        raise CheckpointError(f"{folder} {what}: {expected}, or a model of the hub, but {error}") from error
    if missing := [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]:
        lacks = f"has no {' and no '.join(missing)}"
        raise CheckpointError(f"{address.repo} on the hub is no model of Hyper-X: it {lacks}; name one that has them")
    return folder


def read_scores(folder: Path, measures: Mapping[str, str]) -> dict[tuple[str, str], tuple[str, float]]:
    """By task and language the group of a pair and its score, from the results beside a checkpoint, as far as there are
    any and they can be read.

    Args:
        folder: the checkpoint.
        measures: the main measure of each task.
    """
    scores: dict[tuple[str, str], tuple[str, float]] = {}
    faults = (OSError, ArithmeticError, ValueError, LookupError, TypeError, AttributeError, HyperXError)
    with suppress(*faults):
        for name, entry in files.read_json(folder / RESULTS, dict[str, Any])["pairs"].items():
            pair = TaskLanguagePair.parse(name)
            if (value := entry["measures"][measures[pair.task]]) is not None:
                scores[pair.key] = entry["group"], float(value)
    return scores


def clean(output_dir: Path) -> None:
    """Delete what interrupted writing and pruning left behind in an output folder, into which no other run writes."""
    for path in chain.from_iterable(map(output_dir.glob, (TRIAL, *(f".{name}.part-*" for name in OWN)))):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def delete_run(output_dir: Path) -> None:
    """Delete what a run wrote, and nothing else in the folder."""
    for path in checkpoints(output_dir):
        shutil.rmtree(path)
    clean(output_dir)
    for name in (BEST, LOG):
        (output_dir / name).unlink(missing_ok=True)


def prune(output_dir: Path, limit: int | None, keep: Path | None) -> None:
    """Delete the oldest checkpoints beyond ``limit``, never ``keep`` and never the last one."""
    written = checkpoints(output_dir)
    spare = [path for path in written[:-1] if path != keep]
    for path in spare[: max(len(written) - limit, 0)] if limit is not None else []:
        # Renamed first: a kill while deleting must not leave a folder that looks complete.
        renamed = path.rename(path.with_name(f".{path.name}.part-deleted"))
        shutil.rmtree(renamed)


# Files ----------------------------------------------------------------------------------------------------------------


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Make what is wrong with a file's content, or that it is not there, a CheckpointError, which names a checkpoint
    beside it that has this file and is whole, if there is one."""
    folder = path.parent
    try:
        files.opened(path).close()  # safetensors calls a file missing that may not be read
        yield
        return
    except FileNotFoundError:
        lacks = "cannot be resumed" if path.name == STATE else "is not a complete checkpoint"
        what = f"{folder} {lacks}: it has no {path.name}"
    except OSError as error:
        what = f"cannot read {path}: {error.strerror or error}"
    except (SafetensorError, NotFiniteError) as error:
        what = f"{path} is damaged: {error}"
    except HyperXError as error:
        what = str(error)
    for other in reversed(checkpoints(folder.parent)):
        if other.name != folder.name and (other / path.name).is_file() and _is_whole(other):
            advice = f"name that one, or to --resume from it, delete {folder}"
            raise CheckpointError(f"{what}. {other} beside it is whole: {advice}") from None
    anew = "; start anew from its weights with --load_from_ckpt" if path.name == STATE else ""
    raise CheckpointError(what + anew) from None


def _is_whole(folder: Path) -> bool:
    try:
        files.read_json(folder / CONFIG, dict[str, Any])
        with safe_open(files.checked_tensors(folder / WEIGHTS), "np"):
            return True
    except (OSError, SafetensorError, HyperXError):
        return False


def read_json(path: Path, kind: type[T]) -> T:
    """A JSON file as a value of a type; raises a CheckpointError if it is missing or something else."""
    with _reading(path):
        return files.read_json(path, kind)


def save_model(folder: Path, config: ModelConfig, tensors: Mapping[str, Tensor]) -> None:
    """Write a model's configuration and trained weights into an existing folder; raises a NotFiniteError."""
    from safetensors.torch import save_file

    write_json(folder / CONFIG, {"format": FORMAT, **config.to_json()})
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    _check_finite(contiguous)
    try:
        save_file(contiguous, folder / WEIGHTS, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(f"{WEIGHTS} cannot be written: {error}") from error


def read_config(folder: Path, *, exported: bool = False) -> ModelConfig:
    """The configuration of a saved model; an encoder inside the folder is named by its current path. Raises a
    CheckpointError if the file is missing, damaged or of another format version, or, unless such may be, if the folder
    holds exported pairs."""
    with _reading(folder / CONFIG):
        files.check_links(folder)
    if not exported and (folder / EXPORTED).is_file():
        raise CheckpointError(f"{folder} holds exported pairs, for predict alone; name the checkpoint that they are of")
    value = read_json(folder / CONFIG, dict[str, Any])
    if value.pop("format", None) != FORMAT:
        raise CheckpointError(f"{folder / CONFIG}: expected a checkpoint of format {FORMAT}; it is of another version")
    with _reading(folder / CONFIG):
        config = files.checked(value, ModelConfig, folder / CONFIG)
        if unknown := sorted({*config.corpora} - {*config.trained_pairs}):
            raise HyperXError(f"{folder / CONFIG}: corpora: {listing(unknown, most=3)}: not among trained_pairs")
    return replace(config, encoder=str((folder / ENCODER).resolve())) if config.encoder == INSIDE else config


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """The trained weights in 32 bits, of some only the change (see ``packing.restored``); raises a CheckpointError if
    the file is missing or damaged, or has NaN or infinity."""
    from safetensors.torch import load_file

    faults: list[str] = []
    with _reading(folder / WEIGHTS):
        tensors = unpacked(load_file(files.checked_tensors(folder / WEIGHTS)), faults)
        if faults:
            raise HyperXError(itemised(f"{folder / WEIGHTS} is damaged", faults))
        _check_finite(tensors)
    return tensors


def read_sizes(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Bytes, number of dimensions and type of every tensor in the file of weights, by its header; raises a
    CheckpointError if the file is missing or damaged."""
    path = folder / WEIGHTS
    with _reading(path), files.checked_tensors(path).open("rb") as file:
        try:  # not by its library, which loads NumPy
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            header.pop("__metadata__", None)
            parts = {name: (*one["data_offsets"], one["shape"], str(one["dtype"])) for name, one in header.items()}
            return {name: (int(end - start), len(shape), kind) for name, (start, end, shape, kind) in parts.items()}
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise HyperXError(f"{path} is damaged: {error}") from error


def part_sizes(folder: Path) -> Counter[str]:
    """Bytes of each part of the model in the file of weights, see :func:`read_sizes`."""
    sizes = Counter[str]()
    for name, (size, *_) in read_sizes(folder).items():
        sizes[name.partition(".")[0].replace("_", " ")] += size
    return sizes


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write what resuming needs, mappings of numbers, texts, lists and, at any depth, tensors: these by the keys that
    lead to them, all else as JSON in the header. Raises a NotFiniteError."""
    from safetensors.torch import save_file
    from torch import Tensor

    tensors: dict[str, Tensor] = {}

    def plain(values: Mapping[Any, Any], place: str) -> dict[str, Any]:
        rest = {}
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{place}{key}"] = value.detach().cpu().contiguous()
            else:
                rest[str(key)] = plain(value, f"{place}{key}.") if isinstance(value, Mapping) else value
        return rest

    metadata = {"state": json.dumps(plain(state, ""))}
    _check_finite(tensors)
    try:
        save_file(tensors, folder / STATE, metadata=metadata)
    except SafetensorError as error:
        raise OSError(f"{STATE} cannot be written: {error}") from error


def read_state(folder: Path, kind: type[T]) -> T:
    """Read what :func:`save_state` wrote, as a value of a type; raises a CheckpointError if there is none, it holds
    anything else, or NaN or infinity."""
    path = folder / STATE
    with _reading(path), safe_open(files.checked_tensors(path), "pt") as file:
        try:
            state = files.checked(json.loads((file.metadata() or {}).get("state", "null")), dict[str, Any], path)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            for name, tensor in tensors.items():
                *way, last = name.split(".")
                place: Any = state
                for key in way:
                    place = place.setdefault(key, {})
                place[last] = tensor
        except (ValueError, RecursionError, AttributeError, TypeError) as error:
            raise HyperXError(f"{path} is damaged or not of Hyper-X: {error}") from None
        _check_finite(tensors)
        return files.checked(state, kind, path)


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    from hyperx.device import not_finite

    if names := not_finite(tensors):
        raise NotFiniteError(f"{listing(names, most=3)} holds NaN or infinity")


def copy_weights(weights: Mapping[str, Sequence[tuple[Tensor, Tensor]]], faults: Sequence[str], told: str) -> None:
    """Copy weights into a model: for each name pairs of target and value.

    Raises a CheckpointError, and copies nothing, if there are other shapes or types, or faults that were known before;
    it lists all of them after the words ``told``.
    """
    import torch

    pairs = [(name, target, saved) for name, rows in weights.items() for target, saved in rows]
    unfit = dict.fromkeys(faults)
    for name, target, saved in pairs:
        if target.shape != saved.shape:
            unfit[f"{name}: expected shape {tuple(target.shape)}, found {tuple(saved.shape)}"] = None
        elif target.dtype != saved.dtype:  # copying would change it without a word
            unfit[f"{name}: expected {target.dtype}, found {saved.dtype}"] = None
    if unfit:
        raise CheckpointError(itemised(told, list(unfit)))
    with torch.no_grad():
        for _, target, saved in pairs:
            target.copy_(saved)
