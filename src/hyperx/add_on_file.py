"""Files of add-ons: what is learnt of one language beside a model, with what it is and belongs to in the header."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperx import checkpoint
from hyperx.config import AddOnConfig, EncoderPlace, ModelConfig
from hyperx.errors import CheckpointError, ConfigError, HyperXError
from hyperx.files import checked, checked_tensors, is_utf8, missing_encoder, sha256
from hyperx.hub import Access, Address, fetched
from hyperx.languages import canonical
from hyperx.packing import packed, unpacked
from hyperx.pairs import TaskLanguagePair

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 3
KEY = "hyperx_add_on"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddOnHeader:
    """What a file of an add-on says of it."""

    add_on: AddOnConfig
    weights: str
    """SHA-256 of the file of weights that it was learnt beside."""
    hyperx: str
    """Version of Hyper-X that wrote it."""


def write_add_on(path: Path, header: AddOnHeader, tensors: Mapping[str, Tensor]) -> None:
    """Write an add-on, its matrices in 8 bits, complete or not at all."""
    from safetensors.torch import save

    metadata = {KEY: json.dumps({"format": FORMAT, **asdict(header)}, ensure_ascii=False)}
    content = save({name: one.contiguous() for name, one in packed(tensors, {}, bits=8).items()}, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        with part.open("xb") as file:  # never through a link
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_header(path: Path) -> AddOnHeader:
    """What a file says of the add-on in it; raises a CheckpointError if it is missing, damaged or no add-on."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(checked_tensors(path), "np") as file:
            value: Any = json.loads((file.metadata() or {}).get(KEY, "null"))
        if not isinstance(value, dict) or value.pop("format", None) != FORMAT or not is_utf8(value):
            raise CheckpointError(f"{path}: expected an add-on of format {FORMAT}, which hyperx adapt writes")
        header = checked(value, AddOnHeader, path)
        add_on, pairs = header.add_on, [TaskLanguagePair.parse(pair) for pair in header.add_on.pairs]
        tasks = [pair.task for pair in pairs if pair.key[1] == canonical(add_on.language)]
        if not tasks or len({*tasks}) < len(pairs) or not {*tasks} >= {*add_on.labels}:
            raise CheckpointError(f"{path}: add_on: expected pairs of {add_on.language}, and labels of their tasks")
        return header
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from None
    except (SafetensorError, RecursionError, ValueError) as error:
        raise CheckpointError(f"{path} is no add-on, or damaged: {error}") from None
    except HyperXError as error:
        raise CheckpointError(str(error)) from None


def located(path: Path, access: Access = Access()) -> Path:
    """The file that a path means: where there is none, it may be one of the hub, such as ``owner/name/gsw.addon``,
    which is fetched; a CheckpointError says why it cannot be had."""
    address = None if path.exists() else Address.read(path)
    if address is None or address.file is None:
        return path
    file = fetched(address, [address.file], access) / address.file
    if not file.is_file():
        raise CheckpointError(f"{address.repo} on the hub has no {address.file}; see its card for what it has")
    return file


def checked_checkpoint(
    named: Path | None, place: EncoderPlace, problems: list[str], add_ons: Sequence[Path] = (), option: str = ""
) -> tuple[Path, ModelConfig, tuple[Path, ...]]:
    """The checkpoint that options name, its settings, and the files of add-ons; what keeps these or the encoder from
    being read is added to ``problems``. Without a checkpoint, a CheckpointError, or a ConfigError with all problems, in
    which an option that names it may be told."""
    try:
        folder = checkpoint.resolve(named)
        settings = checkpoint.read_config(folder)
    except CheckpointError as error:
        if not problems:
            raise
        raise ConfigError([f"{option}{error}", *problems]) from None
    if missing := missing_encoder(place.model_name_or_path or settings.encoder):
        problems.append(f"--model_name_or_path: {missing}")
    return folder, settings, checked_add_ons(add_ons, settings, folder, problems)


def checked_add_ons(
    paths: Sequence[Path], settings: ModelConfig, folder: Path, problems: list[str]
) -> tuple[Path, ...]:
    """Files of add-ons, those of the hub in its cache. What keeps them from being read beside the checkpoint in a
    folder, which has these settings, is added to ``problems``."""
    files, weights, of = [], sha256(folder / checkpoint.WEIGHTS) if paths else "", dict[str, Path]()
    for path in paths:
        try:
            files.append(located(path))
            header = read_header(files[-1])
        except CheckpointError as error:
            problems.append(f"--add_on: {error}")
            continue
        problems += [f"--add_on: {problem}" for problem in misfits(path, header, settings, weights)]
        language = canonical(header.add_on.language)
        if language in of:
            problems.append(f"--add_on: {of[language]} and {path} are both of {language}; name one of them")
        of[language] = path
    return tuple(files)


def misfits(path: Path, header: AddOnHeader, settings: ModelConfig, weights: str) -> Iterator[str]:
    """Why an add-on is not one of the model with these settings and the SHA-256 of its file of weights."""
    if header.weights != weights:
        found = f"with weights {header.weights[:12]}; these are {weights[:12]}"
        yield f"{path} belongs to another model, {found}"
    elif unknown := sorted({*header.add_on.tasks} - {*settings.kinds}):
        yield f"{path} is of tasks that the model does not have: {', '.join(unknown)}"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The weights of an add-on in 32 bits; raises a CheckpointError as :func:`read_header`, or if any is not finite."""
    from safetensors.torch import load_file

    read_header(path)
    faults = list[str]()
    tensors = {name: tensor.float() for name, tensor in unpacked(load_file(path), faults).items()}
    if faults:
        raise CheckpointError(f"{path} is damaged: {'; '.join(faults)}")
    if broken := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise CheckpointError(f"{path} is damaged: {broken[0]} holds NaN or infinity")
    return tensors
