"""Checkpoint folders: a model's configuration, its trained weights, where its data is, and the state for resuming.

A folder is written under a temporary name and renamed into place, so a kill at any moment leaves the last complete one
usable.
"""

from __future__ import annotations

import glob
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open

from hyperx.config import ModelConfig
from hyperx.errors import CheckpointError, HyperXError, itemised, listing
from hyperx.files import is_utf8, write_json

log = logging.getLogger(__name__)

# PyTorch is imported where it is needed: what is wrong with a command's options is said without waiting for it.
if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG, WEIGHTS, DATA, STATE = "hyperx.json", "model.safetensors", "data.json", "state.pt"
ENCODER = "encoder"
INSIDE = f"./{ENCODER}"
"""How a configuration names an encoder that is stored in the checkpoint's own folder, and so moves with it."""
OPTIONS, BEST = "options.json", "best.json"
LOG, LOCK, TRIAL = "log.jsonl", ".lock", "checkpoint-trial"
FORMAT = 2


@contextmanager
def locked(output_dir: Path) -> Iterator[None]:
    """Let no other run write into an output folder, which is made, in this block. A kill of the process ends this too.

    Raises:
        HyperXError: if another run does.
    """
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
    remove_partial(folder)
    staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}.part-", dir=folder.parent))
    staged.chmod(0o755)
    try:
        fill(staged)
        # A full disk may show only here.
        for path in staged.rglob("*"):
            if path.is_dir():
                path.chmod(0o755)
                continue
            path.chmod(0o644)
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if folder.exists():
            folder.rename(_replaced(folder))
        staged.rename(folder)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    shutil.rmtree(_replaced(folder), ignore_errors=True)


def beside_model(folder: Path) -> list[str]:
    """The names of what a folder holds other than a saved model."""
    if not folder.is_dir():
        return [folder.name] if folder.exists() else []
    return sorted(path.name for path in folder.iterdir() if path.name not in (CONFIG, WEIGHTS))


def recover(folder: Path) -> None:
    """Restore the old folder if a kill came between its renaming and that of the new one."""
    if not folder.exists() and _replaced(folder).is_dir():
        _replaced(folder).rename(folder)


def remove_partial(folder: Path) -> None:
    """Delete what an interrupted :func:`write_folder` of this folder left behind."""
    for path in folder.parent.glob(f".{glob.escape(folder.name)}.part-*"):
        shutil.rmtree(path, ignore_errors=True)
    if folder.exists():
        shutil.rmtree(_replaced(folder), ignore_errors=True)


def _replaced(folder: Path) -> Path:
    """The temporary name of the old folder while the new one replaces it."""
    return folder.with_name(f".{folder.name}.old")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        CheckpointError: if it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = whole_beside(path.parent)
        raise CheckpointError(f"{path.parent} is not a complete checkpoint: it has no {path.name}{hint}") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}{whole_beside(path.parent)}") from None


def save_model(folder: Path, config: ModelConfig, tensors: Mapping[str, Tensor]) -> None:
    """Write a model's configuration and trained weights into an existing folder."""
    from safetensors.torch import save_file

    from hyperx.device import not_finite

    write_json(folder / CONFIG, {"format": FORMAT, **config.to_json()})
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if names := not_finite(contiguous):
        raise HyperXError(f"{listing(names, most=3)} holds NaN or infinity: such a model is not saved")
    try:
        save_file(contiguous, folder / WEIGHTS, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(f"{WEIGHTS} cannot be written: {error}") from error


def read_config(folder: Path) -> ModelConfig:
    """The configuration of a saved model; an encoder inside the folder is named by its current path.

    Raises:
        CheckpointError: if the file is missing, damaged or of another format version.
    """
    value = read_json(folder / CONFIG)
    if not isinstance(value, dict) or value.pop("format", None) != FORMAT:
        raise CheckpointError(f"{folder / CONFIG}: expected a checkpoint of format {FORMAT}; it is of another version")
    try:
        config = ModelConfig.from_json(value)
    except (TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{folder / CONFIG} does not describe a model: {error}") from None
    return replace(config, encoder=str((folder / ENCODER).resolve())) if config.encoder == INSIDE else config


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """The trained weights.

    Raises:
        CheckpointError: if the file is missing or damaged, or has values that are not finite.
    """
    from safetensors.torch import load_file

    from hyperx.device import not_finite

    try:
        tensors = load_file(folder / WEIGHTS)
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder} is not a complete checkpoint: it has no {WEIGHTS}{whole_beside(folder)}"
        ) from None
    except SafetensorError as error:
        raise damaged(folder / WEIGHTS, str(error)) from None
    if names := not_finite(tensors):
        raise damaged(folder / WEIGHTS, f"{listing(names, most=3)} holds NaN or infinity")
    return tensors


def damaged(path: Path, what: str) -> CheckpointError:
    """The error for a damaged file of a checkpoint."""
    return CheckpointError(f"{path} is damaged: {what}{whole_beside(path.parent)}")


def whole_beside(folder: Path) -> str:
    """A hint at the last checkpoint of the same run that can be read; "" if there is none."""
    for other in reversed(checkpoints(folder.parent)):
        with suppress(OSError, ValueError, SafetensorError):
            if other.name != folder.name:
                json.loads((other / CONFIG).read_text(encoding="utf-8"))
                with safe_open(other / WEIGHTS, "pt"):
                    return f". {other} beside it is whole: name that one, or to --resume from it, delete {folder}"
    return ""


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor], expected: Sequence[str]) -> None:
    """Copy tensors into a module: their names must be exactly those expected, shapes and types those of the module.

    Raises:
        CheckpointError: naming what is missing, unexpected or of another shape or type.
    """
    import torch

    own = dict(module.named_parameters())
    problems = [f"missing: {name}" for name in expected if name not in tensors]
    problems += [f"unexpected: {name}" for name in tensors if name not in expected or name not in own]
    problems += [
        f"{name}: expected shape {tuple(own[name].shape)}, found {tuple(tensor.shape)}"
        for name, tensor in tensors.items()
        if name in own and own[name].shape != tensor.shape
    ]
    problems += type_problems(own, tensors)
    if problems:
        raise CheckpointError(itemised("the weights do not fit the model", problems))
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def type_problems(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    """The tensors of another type than those of a module, which copying them would change without a word."""
    return [
        f"{name}: expected {own[name].dtype}, found {tensor.dtype}"
        for name, tensor in tensors.items()
        if name in own and own[name].dtype != tensor.dtype
    ]


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write what resuming needs: tensors, numbers, strings and containers of them."""
    import torch

    try:
        torch.save(dict(state), folder / STATE)
    except RuntimeError as error:
        raise OSError(f"{STATE} cannot be written: {error}") from error


def read_state(folder: Path) -> dict[str, Any]:
    """Read what :func:`save_state` wrote, weights-only: no code in the file is run.

    Raises:
        CheckpointError: if there is none, or it holds anything else.
    """
    import torch

    if not (folder / STATE).is_file():
        raise CheckpointError(f"{folder} cannot be resumed: it has no {STATE}")
    try:
        return dict(torch.load(folder / STATE, map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises many kinds for a damaged or foreign file
        hint = whole_beside(folder)
        raise CheckpointError(f"{folder / STATE} is damaged or not a state of Hyper-X: {error}{hint}") from error


def checkpoints(output_dir: Path) -> list[Path]:
    """The checkpoints of a run, by step."""
    found = [path for path in output_dir.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted((path for path in found if (path / CONFIG).is_file()), key=step_of)


def step_of(checkpoint: Path) -> int:
    """The step at which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def resolve(folder: Path) -> Path:
    """The checkpoint that a folder means: the folder itself, or the best checkpoint of an output folder, else its last.

    Raises:
        CheckpointError: if there is none.
    """
    if not is_utf8(folder):  # its libraries would call it damaged
        raise CheckpointError(f"expected the path of a checkpoint in UTF-8; found {str(folder)!a}. Rename it")
    recover(folder)
    if folder.is_file() and folder.name in (CONFIG, WEIGHTS, BEST):
        folder = folder.parent
    if (folder / CONFIG).is_file():
        return folder
    if (folder / BEST).is_file():
        best = folder / _best_name(folder / BEST)
        if (best / CONFIG).is_file():
            return best
    if found := checkpoints(folder):
        return found[-1]
    what = "holds no checkpoint" if folder.is_dir() else "is a file" if folder.exists() else "does not exist"
    raise CheckpointError(f"{folder} {what}: expected a folder with {CONFIG}, or one with checkpoint-<step> folders")


def _best_name(path: Path) -> str:
    value = read_json(path)
    if not isinstance(value, dict) or not isinstance(value.get("checkpoint"), str):
        raise CheckpointError(f"{path}: expected the name of a checkpoint; found {value!r}. Name the checkpoint itself")
    return Path(value["checkpoint"]).name


def clean(output_dir: Path) -> None:
    """Delete what interrupted writing and pruning left behind in an output folder, into which no other run writes."""
    for path in (*output_dir.glob(".checkpoint-*.part-*"), output_dir / TRIAL):
        shutil.rmtree(path, ignore_errors=True)
    for name in (BEST, LOG):
        for path in output_dir.glob(f".{name}.part-*"):
            path.unlink(missing_ok=True)


def prune(output_dir: Path, limit: int | None, keep: Path | None) -> None:
    """Delete the oldest checkpoints beyond ``limit``, never ``keep`` and never the last one."""
    found = checkpoints(output_dir)
    spare = [path for path in found[:-1] if path != keep]
    for path in spare[: max(len(found) - limit, 0)] if limit is not None else []:
        # Renamed first: a kill while deleting must not leave a folder that looks complete.
        doomed = path.with_name(f".{path.name}.part-deleted")
        path.rename(doomed)
        shutil.rmtree(doomed)
