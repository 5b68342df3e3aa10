"""Files and folders: paths with ``~``, content hashes, reading what strangers wrote, atomic writing, the cache."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from platformdirs import user_cache_dir, user_config_dir

from hyperx.errors import HyperXError, faults_of, itemised, listed

T = TypeVar("T")
CACHE_VARIABLE = "HYPERX_CACHE"
MOST_TEXT, MOST_VALUES, MOST_HEADER = 64 << 20, 32 << 20, 8 << 20
"""Largest sizes in bytes of a text, of JSON that becomes values, which take twenty times as much memory, and of the
header of a file of safetensors."""


def in_home(path: str | Path) -> Path:
    """A path with ``~`` expanded to the home folder; unchanged if there is no such user. A HyperXError if it can be the
    path of no file."""
    if "\0" in str(path) or any(len(part.encode(errors="replace")) > 255 for part in Path(path).parts):
        raise HyperXError(f"expected a path, found what none can be: {str(path)[:60]!r}")
    with contextlib.suppress(RuntimeError):
        return Path(path).expanduser()
    return Path(path)


def placeless(path: str | Path, folder: Path | None = None) -> str:
    """A path without what is known of this machine by it: relative to a folder that it is in, else its name alone;
    relative ones that stay below where they start are left as they are."""
    place = os.path.normpath(in_home(path))
    if folder is not None and Path(place).is_relative_to(folder):
        return Path(place).relative_to(folder).as_posix()
    return Path(place).name if Path(place).is_absolute() or place.startswith(("..", "~")) else Path(place).as_posix()


def missing_encoder(name: str | Path) -> str | None:
    """That an encoder's name is neither a path that exists nor, if it is a text, one that the hub may have; or None."""
    on_hub = isinstance(name, str) and re.fullmatch(r"(?!\.)[\w.-]+(/[\w.-]+)?(?<!\.bin)", name)
    return None if on_hub or in_home(name).exists() else f"{name}: expected an encoder, found no such file or folder"


def no_folder(path: Path) -> str | None:
    """Why a path is no folder that may be written, and cannot become one; None if it can."""
    nearest = next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())
    try:
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:  # for more reasons than its mode
        return f"{nearest} cannot hold files: {error.strerror}; name another folder"
    names = "addon bin conllu csv html json jsonl md onnx png pt pt2 safetensors svg tsv txt yaml yml zip"
    is_file = not path.exists() and path.suffix.lower()[1:] in names.split()
    return f"expected a folder; {path} is the name of a file" if is_file else None


def not_new(folder: Path | None) -> str | None:
    """That a folder to be written is not named, or there already and not empty; None if it can be written."""
    if folder is None:
        return "name a new folder"
    taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    return f"{folder} exists already; name a new folder" if taken else no_folder(folder)


def is_utf8(value: Any) -> bool:
    """Whether all text and paths in a value are UTF-8, so that JSON files can hold them."""
    with contextlib.suppress(UnicodeEncodeError):
        json.dumps(value, ensure_ascii=False, default=str).encode()
        return True
    return False


def user_cache() -> Path:
    """The folder of all that is kept between runs: the user's cache, or the one that the environment names."""
    return in_home(os.environ.get(CACHE_VARIABLE) or user_cache_dir("hyperx"))


def check_links(folder: Path) -> None:
    """Raise a HyperXError if a link in a folder, such as a stranger's checkpoint, leads out of it; those of the hub's
    cache lead to what a repository shares there."""
    inside = folder.resolve()
    inside = next((parent for parent in inside.parents if parent.name.startswith("models--")), inside)
    for path in folder.rglob("*"):
        real = Path(os.path.realpath(path)) if path.is_symlink() else inside  # still a link if it leads to itself
        if not real.is_relative_to(inside) or real.is_symlink():
            raise HyperXError(f"{path}: expected a file in the folder, found a link out of it; copy the file there")


def opened(path: Path) -> BinaryIO:
    """A regular file, open for reading; an OSError if it is none: others are waited for, or have no end."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is a pipe or a device, no regular file", str(path))
    return path.open("rb")


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """The text of a regular file of at most so many bytes; an OSError or a UnicodeDecodeError if it has none."""
    with opened(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return content.decode("utf-8")


def checked_tensors(path: Path) -> Path:
    """The path of a file of safetensors whose header can be read in reasonable time; a HyperXError if it is too long,
    an OSError if there is no regular file."""
    with opened(path) as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MOST_HEADER:
        raise HyperXError(f"{path} is damaged or no file of safetensors: its header would have {length:,} bytes")
    return path


def own_mark(value: Any) -> str:
    """A mark of a JSON value that only this user can make: a hash of its content with a key of the user's settings."""
    key = Path(user_config_dir("hyperx")) / "key"
    with contextlib.suppress(OSError):
        if not key.exists():
            key.parent.mkdir(parents=True, exist_ok=True)
            with taking_turns(key.with_name(".key.lock")):
                if not key.exists():
                    write_text(key, secrets.token_hex(32))
                    key.chmod(0o600)
    try:
        secret = read_text(key)
    except (OSError, UnicodeDecodeError):  # without a home nothing is known to be the user's own
        secret = secrets.token_hex(32)
    return hmac.new(secret.encode(), json.dumps(value, sort_keys=True).encode(), "sha256").hexdigest()


def sha256(path: Path) -> str:
    """The SHA-256 of a regular file's content, in hexadecimal."""
    digest = hashlib.sha256()  # hashlib.file_digest needs Python 3.11
    with opened(path) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def json_checksum(value: Mapping[str, Any]) -> int:
    """The CRC-32 of a JSON object, however it is laid out."""
    return zlib.crc32(json.dumps(value, sort_keys=True).encode())


@contextlib.contextmanager
def taking_turns(path: Path) -> Iterator[None]:
    """Let one process at a time into such a block. Where files cannot be locked, as on some network disks, nobody
    waits."""
    from filelock import FileLock

    lock = FileLock(path)
    with contextlib.suppress(OSError, NotImplementedError):
        lock.acquire(timeout=60)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def part_folder(parent: Path) -> Iterator[Path]:
    """A folder ``.part-*`` to write in, which is deleted in the end. Those of processes that were killed are cleared.
    Its lock is held while somebody writes there, and that of ``parent`` until nobody can find it unlocked."""
    from filelock import FileLock

    with contextlib.ExitStack() as stack:
        with taking_turns(parent.with_name(f".{parent.name}.lock")):
            for stale in parent.glob(".part-*"):
                with contextlib.suppress(OSError), FileLock(stale / "lock", timeout=0):
                    shutil.rmtree(stale, ignore_errors=True)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=parent, prefix=".part-")))
            stack.enter_context(taking_turns(folder / "lock"))
        yield folder


def checked(value: Any, kind: type[T], place: object) -> T:
    """A JSON value as one of a type, such as a dataclass; raises a HyperXError with all that is not of that type."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        problems = faults_of(listed(error), lambda path: ".".join(map(str, path)) or "all of it")
        raise HyperXError(itemised(f"{place} is not as Hyper-X writes it", problems)) from None


def read_json(path: Path, kind: type[T]) -> T:
    """A JSON file as a value of a type, see :func:`checked`; an OSError if there is no regular file."""
    try:
        value = json.loads(read_text(path, MOST_VALUES))
        is_whole = is_utf8(value)
    except (ValueError, RecursionError) as error:
        raise HyperXError(f"{path} is not JSON: {error}") from None
    if not is_whole:
        raise HyperXError(f"{path} has half a character (a lone surrogate), which is no Unicode; write it anew")
    return checked(value, kind, path)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, complete or not at all, even if others write it at the same time."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, complete or not at all, even if others write it at the same time."""
    staged = path.with_name(f".{path.name}.part-{os.getpid()}-{threading.get_ident()}")
    staged.unlink(missing_ok=True)
    try:
        with staged.open("x", encoding="utf-8") as file:  # never through a link
            file.write(text)
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
