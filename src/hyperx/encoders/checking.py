"""What is checked of an encoder's folder, which may be a stranger's, before libraries that trust it read it."""

from __future__ import annotations

import base64
import itertools
import json
import re
from math import inf
from pathlib import Path
from typing import Any

from hyperx.encoders.families import LAYOUTS
from hyperx.encoders.masked_lm import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from hyperx.errors import EncoderError, HyperXError
from hyperx.files import check_links, checked_tensors, opened, read_json, read_text

_READ = ("*.json", "*.txt", "*.model", "*.safetensors")
"""What the libraries may read."""
_CHOICES = (
    "_attn_implementation", "_experts_implementation", "auto_map", "quantization_config", "transformers_weights",
)  # fmt: skip
"""Settings that would choose code, or files of weights that nobody looked at."""
_LEAST = {"num_attention_heads": 1, "num_hidden_layers": 1}
_MOST = {"inner_group_num": 4}  # each layer has so many
MOST_PARTS = 1000
"""The most layers, groups of them or labels that a configuration may ask for."""
MOST_GROWTH, MOST_SPECIAL = 1000, 10_000
"""How many times as long a tokenizer may make a text, and the characters of its rule for special subwords."""


def check_folder(folder: Path) -> None:
    """Raise an EncoderError if a file that may be read is none of the folder's own, or if its libraries would not
    survive it."""
    try:
        check_links(folder)
        for path in itertools.chain.from_iterable(map(folder.glob, _READ)):
            opened(path).close()
            if path.suffix == ".safetensors":
                checked_tensors(path)
        for file in weight_files(folder):
            if Path(file).name != file or not file.endswith(".safetensors"):
                found = f"expected names of files *.safetensors in the folder, found {file!r:.60}"
                raise EncoderError(f"{folder / SAFE_WEIGHTS_INDEX_NAME}: {found}")
        if (folder / "adapter_config.json").exists():
            found = "found an adapter of peft, whose weights would be read too; merge it into the encoder"
            raise EncoderError(f"{folder}: expected an encoder alone, {found}")
        if (folder / "config.json").is_file():
            settings = read_json(folder / "config.json", dict[str, Any])
            if problem := family_problem(settings.get("model_type", "auto_map" in settings or "bert")):
                raise EncoderError(f"{folder}: {problem}")
            for name, value in settings.items():
                counts = isinstance(value, int) and re.search("layer|group|label|depth|num_attention_heads", name)
                most = _MOST.get(name, MOST_PARTS) if counts else inf
                if isinstance(value, int | float) and not _LEAST.get(name, -inf) <= value <= most:  # NaN neither
                    expected = f"{name}: expected a number up to {most:,}, found {value}"
                    raise EncoderError(f"{folder / 'config.json'}: {expected}")
    except OSError as error:
        raise EncoderError(f"{error.filename or folder}: cannot be read: {error.strerror or error}") from None
    except EncoderError:
        raise
    except HyperXError as error:
        raise EncoderError(str(error)) from None


def family_problem(family: object) -> str | None:
    """That a family of encoders is not known; None if it is. Of others the library may build anything, or fetch it."""
    if family in [*LAYOUTS]:
        return None
    how = "from transformers import AutoModel as M; from hyperx.encoders.families import layout_of as f"
    what = f"encoders of type {family!r:.60} are not known (code of their own is never run), only {', '.join(LAYOUTS)}"
    return f"{what}. To add the family of one that you trust: python -c \"{how}; f(M.from_pretrained('FOLDER'))\""


def weight_files(folder: Path) -> set[str]:
    """The names of the files of weights."""
    if not (folder / SAFE_WEIGHTS_INDEX_NAME).is_file():
        return {SAFE_WEIGHTS_NAME}
    index = read_json(folder / SAFE_WEIGHTS_INDEX_NAME, dict[str, Any])
    return {*map(str, index["weight_map"].values())} if isinstance(index.get("weight_map"), dict) else {"no weight_map"}


def check_size(folder: Path, config: Any, model_class: Any) -> None:
    """Drop from a configuration what would choose code; raise a ValueError if it describes a far larger model than the
    weights fill, before memory is allocated for it."""
    import torch

    for name in _CHOICES:
        if getattr(config, name, None):
            setattr(config, name, None)
    with torch.device("meta"):
        described = sum(parameter.numel() for parameter in model_class(config).parameters())
    size = sum((folder / name).stat().st_size for name in weight_files(folder))
    if described > 2 * size + 10_000_000:  # a weight has a byte or more
        raise ValueError(f"config.json describes {described:,} weights; {size:,} bytes of weights are there")


def check_tokenizer(path: Path) -> None:
    """Raise an EncoderError if a table of characters (SentencePiece's) is not as its library takes for granted (a size
    in bytes, a trie of that size and UTF-8), or if the rules would make a text very much longer."""
    try:
        value = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise EncoderError(f"{path} is not JSON: {error}") from None
    whole = value if isinstance(value, dict) else {}
    waiting, growth = [whole.get("normalizer"), whole.get("pre_tokenizer")], 1
    while waiting:
        match waiting.pop():
            case {"type": "Precompiled", "precompiled_charsmap": table}:
                try:
                    content = base64.b64decode(table, validate=True)
                    size, rest = int.from_bytes(content[:4], "little"), content[4:]
                    if not (len(content) > 4 and 0 < size <= len(rest) and size % 4 == 0):
                        raise ValueError
                    growth *= max(map(len, rest[size:].decode().split("\0")))
                except (TypeError, ValueError):
                    table = "the table precompiled_charsmap is damaged; get the tokenizer again"
                    raise EncoderError(f"{path}: {table}") from None
            case {"type": "Replace", "content": str(text)} | {"type": "Prepend", "prepend": str(text)}:
                growth *= 1 + len(text)
            case {"type": "ByteLevel"}:
                growth *= 2
            case {"type": "Sequence", "normalizers": list(more)} | {"type": "Sequence", "pretokenizers": list(more)}:
                waiting += more
    if growth > MOST_GROWTH:
        raise EncoderError(f"{path}: expected rules that leave a text about as long as it is; these would swell it")
    if len(json.dumps(whole.get("post_processor"))) > MOST_SPECIAL:
        raise EncoderError(f"{path}: post_processor: expected a few special subwords around a text; found very many")
