"""Encoded splits: flat arrays with checksums, written to disk incrementally and mapped into memory when read."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from hyperx.data.batch.windows import CHUNK, Ints, Window
from hyperx.data.read.sentence import Sentence
from hyperx.files import json_checksum, part_folder

log = logging.getLogger(__name__)

FORMAT_VERSION = 4
Offsets = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EncodedSplit:
    """One split of one pair, ready to batch.

    Args:
        ids: subword ids of all windows, end to end.
        words: :attr:`Window.words` of all windows, end to end.
        offsets: where window i begins, and the end ``[windows + 1]``.
        sentences: the sentence of each window ``[windows]``.
        owned: the words that each window owns, :attr:`Window.start` and :attr:`Window.stop` ``[windows, 2]``.
        targets: annotation by column: one number per word (or sentence), sentences end to end. For columns of labels
            an index into ``names``, for others the number itself.
        target_offsets: where sentence i's numbers begin, and the end ``[sentences + 1]``.
        names: for each column of labels the labels that occur.
    """

    ids: Ints
    words: Ints
    offsets: Offsets
    sentences: Ints
    owned: Ints
    targets: Mapping[str, Ints]
    target_offsets: Offsets
    names: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.sentences)

    @property
    def lengths(self) -> Offsets:
        """Subwords of each window ``[windows]``."""
        return np.diff(self.offsets)

    @property
    def sentence_count(self) -> int:
        """Number of sentences."""
        return len(self.target_offsets) - 1

    def window(self, index: int) -> Window:
        """One window."""
        part = slice(self.offsets[index], self.offsets[index + 1])
        start, stop = self.owned[index].tolist()
        return Window(self.ids[part], self.words[part], int(self.sentences[index]), start, stop)

    def content_hash(self) -> str:
        """A hash of what training and evaluation read: subwords, their words and windows, and annotation."""
        digest = hashlib.sha256(json.dumps(self.names, sort_keys=True).encode())
        for name in ("ids", "words", "offsets", "sentences", "owned", "target_offsets"):
            digest.update(np.ascontiguousarray(getattr(self, name)).data)
        for name, values in sorted(self.targets.items()):
            digest.update(f"{name} {len(values)}".encode())
            digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()

    def annotation(self) -> list[dict[str, list[Any]]]:
        """The labels or numbers of every sentence, by column."""
        columns = {column: _named(values, self.names.get(column)) for column, values in self.targets.items()}
        return [
            {column: values[start:stop] for column, values in columns.items()}
            for start, stop in itertools.pairwise(self.target_offsets)
        ]

    def repeats(self, other: EncodedSplit) -> set[int]:
        """The indices of the sentences whose subwords equal those of a sentence of ``other``."""
        known = set(other._subwords_by_sentence())
        return {index for index, subwords in enumerate(self._subwords_by_sentence()) if subwords in known}

    def _subwords_by_sentence(self) -> Iterator[bytes]:
        for _, windows in itertools.groupby(range(len(self)), key=lambda index: self.sentences[index]):
            yield b"".join(self.window(index).ids.tobytes() for index in windows)

    def first(self, sentences: int | None) -> EncodedSplit:
        """The first sentences, at most this many; all of them if None."""
        if sentences is None or sentences >= self.sentence_count:
            return self
        windows = int(np.searchsorted(self.sentences, sentences))
        subwords, targets = self.offsets[windows], self.target_offsets[sentences]
        return EncodedSplit(
            ids=self.ids[:subwords],
            words=self.words[:subwords],
            offsets=self.offsets[: windows + 1],
            sentences=self.sentences[:windows],
            owned=self.owned[:windows],
            targets={column: values[:targets] for column, values in self.targets.items()},
            target_offsets=self.target_offsets[: sentences + 1],
            names=self.names,
        )


def _named(values: Ints, names: Sequence[str] | None) -> list[Any]:
    return values.tolist() if names is None else [names[value] for value in values]


# Writing and reading --------------------------------------------------------------------------------------------------


class SplitWriter:
    """Writes an encoded split sentence by sentence, in constant memory: the arrays of :class:`EncodedSplit` in a
    safetensors file, so that reading maps them into memory.

    Args:
        path: the file, which appears once everything is written.
        columns: the columns that are kept of every sentence.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.columns = path, columns
        self.names: dict[str, dict[str | int, int]] = {}
        self._held: list[tuple[Sequence[Window], Mapping[str, Sequence[str | int]]]] = []
        self._sentences = 0
        self._ends: dict[str, int] = {}
        self._stack = ExitStack()
        self._folder = self._stack.enter_context(part_folder(path.parent))
        self._parts: dict[str, BinaryIO] = {}
        self._checksums: dict[str, int] = {}
        self._put("offsets", np.zeros(1, dtype=np.int64))
        self._put("target_offsets", np.zeros(1, dtype=np.int64))
        for name in ("ids", "words", "sentences", "owned", *(f"targets.{column}" for column in columns)):
            self._put(name, np.zeros(0, dtype=np.int32))

    def _put(self, name: str, values: NDArray[Any]) -> None:
        if name not in self._parts:
            self._parts[name] = self._stack.enter_context((self._folder / name).open("w+b"))
        content = values.tobytes()
        self._parts[name].write(content)
        self._checksums[name] = zlib.crc32(content, self._checksums.get(name, 0))

    def add(self, windows: Sequence[Window], annotation: Mapping[str, Sequence[str | int]]) -> None:
        """Add one sentence: its windows and its kept columns."""
        self._held.append((windows, annotation))
        if len(self._held) == CHUNK:
            self._write_held()

    def _write_held(self) -> None:
        """Write the buffered sentences."""
        if not self._held:
            return
        sentences, annotations = zip(*self._held, strict=True)
        windows = list(itertools.chain.from_iterable(sentences))
        self._put("ids", np.concatenate([window.ids for window in windows]))
        self._put("words", np.concatenate([window.words for window in windows]))
        self._put_ends("offsets", [len(window.ids) for window in windows])
        indices = np.arange(self._sentences, self._sentences + len(sentences), dtype=np.int32)
        self._put("sentences", np.repeat(indices, list(map(len, sentences))))
        self._put("owned", np.array([(window.start, window.stop) for window in windows], dtype=np.int32))
        for column in self.columns:
            values = list(itertools.chain.from_iterable(annotation[column] for annotation in annotations))
            self._put(f"targets.{column}", self._numbers(column, values))
        counts = [len(annotation[self.columns[0]]) if self.columns else 0 for annotation in annotations]
        self._put_ends("target_offsets", counts)
        self._sentences += len(sentences)
        self._held.clear()

    def _put_ends(self, name: str, lengths: Sequence[int]) -> None:
        """Write where pieces of these lengths end if they follow all those written before."""
        ends = np.cumsum([self._ends.get(name, 0), *lengths], dtype=np.int64)
        self._put(name, ends[1:])
        self._ends[name] = int(ends[-1])

    def _numbers(self, column: str, values: Sequence[str | int]) -> Ints:
        # Sentences without words do not show the type of a column.
        if not values or isinstance(values[0], int):
            return np.array(values, dtype=np.int32)
        known = self.names.setdefault(column, {})
        for name in dict.fromkeys(values):
            known.setdefault(name, len(known))
        return np.fromiter(map(known.__getitem__, values), np.int32, len(values))

    def close(self) -> None:
        """Move the complete file into place."""
        self._write_held()
        names = json.dumps({column: list(known) for column, known in self.names.items()})
        header: dict[str, Any] = {"__metadata__": {"names": names, "crc32": json.dumps(self._checksums)}}
        begin = 0
        for name, file in self._parts.items():
            kind, size = ("I64", 8) if name.endswith("offsets") else ("I32", 4)
            end = begin + file.tell()
            count = file.tell() // size
            shape = [count // 2, 2] if name == "owned" else [count]
            header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
            begin = end
        header["__metadata__"]["header"] = str(json_checksum(header))
        self._assemble(json.dumps(header).encode())
        self.discard()

    def _assemble(self, header: bytes) -> None:
        header += b" " * (-len(header) % 8)
        whole = self._folder / "whole"
        with whole.open("wb") as target:
            target.write(len(header).to_bytes(8, "little") + header)
            for file in self._parts.values():
                file.seek(0)
                shutil.copyfileobj(file, target)
        whole.replace(self.path)

    def discard(self) -> None:
        """Delete the temporary files."""
        self._stack.close()


def write_encoded(path: Path, encoded: Iterable[tuple[Sequence[Window], Sentence]], columns: Sequence[str]) -> None:
    """Write a split from its sentences and their windows, complete or not at all."""
    writer = SplitWriter(path, columns)
    try:
        for windows, sentence in encoded:
            writer.add(windows, {column: sentence.columns[column] for column in columns})
    except BaseException:
        writer.discard()
        raise
    writer.close()


def read_encoded(path: Path) -> EncodedSplit | None:
    """Map a written split into memory; None if there is none, or it is damaged, which is logged."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "np"):  # validates the header
            arrays, names = _mapped(path)
        targets = {
            name.removeprefix("targets."): arrays.pop(name) for name in list(arrays) if name.startswith("targets.")
        }
        return EncodedSplit(**arrays, targets=targets, names=names)
    except (OSError, SafetensorError, TypeError, KeyError, ValueError) as error:
        log.warning("%s is damaged and is made again: %s", path, error)
        return None


def _mapped(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, tuple[str, ...]]]:
    """The tensors of a safetensors file that the library has validated, as views of the file, and the labels' names.

    Raises:
        ValueError: if a checksum is not that of the content.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    facts = header["__metadata__"]
    if facts.pop("header") != str(json_checksum(header)):
        raise ValueError("expected another checksum of its header")
    del header["__metadata__"]
    # Not as np.memmap, which costs a Python call for every slice.
    whole = np.memmap(path, mode="r").view(np.ndarray)
    kinds = {"I32": np.int32, "I64": np.int64}
    arrays = {}
    for name, expected in json.loads(facts["crc32"]).items():
        begin, end = (8 + size + place for place in header[name]["data_offsets"])
        if zlib.crc32(whole[begin:end].data) != expected:
            raise ValueError(f"expected another checksum of {name}")
        arrays[name] = whole[begin:end].view(kinds[header[name]["dtype"]]).reshape(header[name]["shape"])
    return arrays, {column: tuple(known) for column, known in json.loads(facts["names"]).items()}


def cache_key(*facts: object) -> str:
    """A file name for what these facts determine."""
    return hashlib.sha256(json.dumps([FORMAT_VERSION, *facts], sort_keys=True).encode()).hexdigest()[:32]
