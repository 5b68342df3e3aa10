"""Files and folders: paths with ``~``, content hashes, atomic writing of JSON, the cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from platformdirs import user_cache_dir

CACHE_VARIABLE = "HYPERX_CACHE"


def in_home(path: str | Path) -> Path:
    """A path with ``~`` expanded to the home folder; unchanged if there is no such user."""
    with contextlib.suppress(RuntimeError):
        return Path(path).expanduser()
    return Path(path)


def user_cache() -> Path:
    """The folder of all that is kept between runs: the user's cache, or the one that the environment names."""
    return in_home(os.environ.get(CACHE_VARIABLE) or user_cache_dir("hyperx"))


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()  # hashlib.file_digest needs Python 3.11
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, complete or not at all, even if others write it at the same time."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, complete or not at all, even if others write it at the same time."""
    staged = path.with_name(f".{path.name}.part-{os.getpid()}-{threading.get_ident()}")
    try:
        staged.write_text(text, encoding="utf-8")
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
