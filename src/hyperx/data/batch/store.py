"""Encoded splits: flat arrays with checksums, written to disk incrementally and mapped into memory when read."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from hyperx.data.batch.windows import IGNORED, Ints, Window
from hyperx.data.read.sentence import Sentence
from hyperx.files import json_checksum, part_folder

log = logging.getLogger(__name__)

FORMAT_VERSION = 5
CHUNK = 1000
"""Sentences that are encoded and written together."""
SMALL = 2**16
"""Bytes of a file up to which it is read into memory rather than mapped."""
Offsets = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EncodedSplit:
    """One split of one pair, ready to batch.

    Args:
        ids: subword ids of all windows, end to end.
        words: :attr:`Window.words` of all windows, end to end.
        offsets: where window i begins, and the end ``[windows + 1]``.
        sentences: the sentence of each window ``[windows]``.
        starts: :attr:`Window.start` of each window ``[windows]``.
        stops: :attr:`Window.stop` of each window ``[windows]``.
        targets: annotation by column: one number per word (or sentence), sentences end to end. For columns of labels
            an index into ``names``, for others the number itself.
        target_offsets: where sentence i's numbers begin, and the end ``[sentences + 1]``.
        names: for each column of labels the labels that occur.
        numbers: for each column that is numbered (:meth:`numbered`) what stands for each index.
    """

    ids: Ints
    words: Ints
    offsets: Offsets
    sentences: Ints
    starts: Ints
    stops: Ints
    targets: Mapping[str, Ints]
    target_offsets: Offsets
    names: Mapping[str, tuple[str, ...]]
    numbers: Mapping[str, Ints] = field(default_factory=dict)

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
        """One window, with its sentence's annotation."""
        part = slice(self.offsets[index], self.offsets[index + 1])
        start, stop, sentence = int(self.starts[index]), int(self.stops[index]), int(self.sentences[index])
        own = slice(self.target_offsets[sentence], self.target_offsets[sentence + 1])
        targets = {column: values[own] for column, values in self.targets.items()}
        targets |= {column: numbers[targets[column]] for column, numbers in self.numbers.items()}
        return Window(self.ids[part], self.words[part], start, stop, sentence, targets)

    def by_sentence(self) -> Iterator[list[Window]]:
        """The windows of each sentence."""
        for _, windows in itertools.groupby(map(self.window, range(len(self))), key=lambda window: window.sentence):
            yield list(windows)

    def annotation(self) -> list[dict[str, list[Any]]]:
        """The labels or numbers of every sentence, by column."""
        columns: dict[str, list[Any]] = {
            column: [self.names[column][value] for value in values] if column in self.names else values.tolist()
            for column, values in self.targets.items()
        }
        return [
            {column: values[start:stop] for column, values in columns.items()}
            for start, stop in itertools.pairwise(self.target_offsets)
        ]

    def numbered(self, labels: Sequence[str], no_label: str | None) -> EncodedSplit:
        """The split whose windows have labels as their numbers in a task's label set, and :data:`IGNORED` for what is
        none. What is mapped stays so."""
        numbers = {
            column: np.array([IGNORED if name == no_label else labels.index(name) for name in names], dtype=np.int32)
            for column, names in self.names.items()
        }
        return replace(self, numbers=numbers)

    def first(self, sentences: int | None) -> EncodedSplit:
        """The first sentences, at most this many; all of them if None."""
        every = sentences is None or sentences >= self.sentence_count
        return self if every else self.some(range(sentences or 0))

    def some(self, sentences: Sequence[int]) -> EncodedSplit:
        """The sentences with these indices, in ascending order."""
        chosen = np.asarray(sentences, np.int64)
        bounds = zip(*(np.searchsorted(self.sentences, chosen + end) for end in (0, 1)), strict=True)
        windows = np.concatenate([np.zeros(0, np.int64), *(np.arange(*own) for own in bounds)])

        def joined(values: Ints, offsets: Offsets, rows: Offsets) -> Ints:
            return np.concatenate([values[:0], *(values[offsets[row] : offsets[row + 1]] for row in rows)])

        return replace(
            self,
            ids=joined(self.ids, self.offsets, windows),
            words=joined(self.words, self.offsets, windows),
            offsets=np.cumsum([0, *np.diff(self.offsets)[windows]]),
            sentences=np.searchsorted(chosen, self.sentences[windows]).astype(np.int32),
            starts=self.starts[windows],
            stops=self.stops[windows],
            targets={column: joined(values, self.target_offsets, chosen) for column, values in self.targets.items()},
            target_offsets=np.cumsum([0, *np.diff(self.target_offsets)[chosen]]),
        )

    def repeats(self, other: EncodedSplit) -> set[int]:
        """The indices of the sentences whose subwords equal those of a sentence of ``other``."""
        own, others = (
            [b"".join(window.ids.tobytes() for window in windows) for windows in split.by_sentence()]
            for split in (self, other)
        )
        known = set(others)
        return {index for index, subwords in enumerate(own) if subwords in known}

    def content_hash(self) -> str:
        """A hash of what training and evaluation read: subwords, their words and windows, and annotation."""
        digest = hashlib.sha256(json.dumps(self.names, sort_keys=True).encode())
        for name in ("ids", "words", "offsets", "sentences", "starts", "stops", "target_offsets"):
            digest.update(np.ascontiguousarray(getattr(self, name)).data)
        for name, values in sorted(self.targets.items()):
            digest.update(f"{name} {len(values)}".encode())
            digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()


# Writing and reading --------------------------------------------------------------------------------------------------


_TYPES: dict[str, np.dtype[Any]] = {"I32": np.dtype(np.int32), "I64": np.dtype(np.int64)}


def write_encoded(
    path: Path,
    sentences: Iterable[Sentence],
    encode: Callable[[Sequence[Sentence]], Sequence[Sequence[Window]]],
    columns: Sequence[str],
) -> None:
    """Write a split to a safetensors file, complete or not at all.

    Args:
        path: the file.
        sentences: any number of them; only :data:`CHUNK` are held at a time.
        encode: from some sentences to the windows of each.
        columns: the columns that are kept of every sentence.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = stack.enter_context(part_folder(path.parent))
        # Each array grows in a file of its own. The 64-bit ones come first, so that all are aligned.
        arrays = ["offsets", "target_offsets", "ids", "words", "sentences", "starts", "stops"]
        arrays += [f"targets.{column}" for column in columns]
        types = {name: "I64" if name.endswith("offsets") else "I32" for name in arrays}
        parts = {name: stack.enter_context((folder / name).open("w+b")) for name in arrays}
        checksums = dict.fromkeys(arrays, 0)

        def append(name: str, values: Any) -> None:
            content = np.asarray(values, dtype=_TYPES[types[name]]).tobytes()
            parts[name].write(content)
            checksums[name] = zlib.crc32(content, checksums[name])

        names: dict[str, dict[str, int]] = {}
        subwords, numbers, count = np.zeros(1, np.int64), np.zeros(1, np.int64), 0
        append("offsets", subwords)
        append("target_offsets", numbers)
        rest = iter(sentences)
        while chunk := list(itertools.islice(rest, CHUNK)):
            encoded = encode(chunk)
            windows = list(itertools.chain.from_iterable(encoded))
            subwords = subwords[-1] + np.cumsum([len(window.ids) for window in windows])
            numbers = numbers[-1] + np.cumsum([len(own.columns[columns[0]]) if columns else 0 for own in chunk])
            append("offsets", subwords)
            append("target_offsets", numbers)
            append("ids", np.concatenate([window.ids for window in windows]))
            append("words", np.concatenate([window.words for window in windows]))
            append("sentences", np.repeat(np.arange(count, count + len(chunk)), list(map(len, encoded))))
            append("starts", [window.start for window in windows])
            append("stops", [window.stop for window in windows])
            for column in columns:
                values: list[Any] = list(itertools.chain.from_iterable(own.columns[column] for own in chunk))
                if values and isinstance(values[0], str):  # sentences without words do not show a column's type
                    known = names.setdefault(column, {})
                    values = [known.setdefault(value, len(known)) for value in values]
                append(f"targets.{column}", values)
            count += len(chunk)
        facts = {"names": json.dumps(names), "crc32": json.dumps(checksums)}
        header: dict[str, Any] = {"__metadata__": facts}
        end = 0
        for name, part in parts.items():
            begin, end = end, end + part.tell()
            length = (end - begin) // _TYPES[types[name]].itemsize
            header[name] = {"dtype": types[name], "shape": [length], "data_offsets": [begin, end]}
        facts["header"] = str(json_checksum(header))
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with (folder / "whole").open("wb") as whole:
            whole.write(len(text).to_bytes(8, "little") + text)
            for part in parts.values():
                part.seek(0)
                shutil.copyfileobj(part, whole)
        (folder / "whole").replace(path)


def read_encoded(path: Path) -> EncodedSplit | None:
    """Map a written split into memory; None if there is none, or it is damaged, which is logged."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "np"):  # validates the header
            pass
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
        facts = header["__metadata__"]
        if facts.pop("header") != str(json_checksum(header)):
            raise ValueError("expected another checksum of its header")
        # A mapping of Python's would keep a descriptor of the file; a process may have a thousand of these, and some
        # 65,000 mappings, so that small files are read instead.
        total = path.stat().st_size
        whole = (
            np.fromfile(path, np.uint8)
            if total <= SMALL
            else torch.from_file(str(path), shared=False, size=total, dtype=torch.uint8).numpy()
        )[8 + size :]
        arrays = dict[str, Any]()
        for name, crc32 in json.loads(facts["crc32"]).items():
            content = whole[slice(*header[name]["data_offsets"])]
            if zlib.crc32(content.data) != crc32:
                raise ValueError(f"expected another checksum of {name}")
            arrays[name] = content.view(_TYPES[header[name]["dtype"]])
        targets = {name.partition(".")[2]: arrays.pop(name) for name in list(arrays) if name.startswith("targets.")}
        names = {column: tuple(known) for column, known in json.loads(facts["names"]).items()}
        return EncodedSplit(**arrays, targets=targets, names=names)
    except (OSError, SafetensorError, TypeError, KeyError, ValueError) as error:
        log.warning("%s is damaged and is made again: %s", path, error)
        return None


def cache_key(*facts: object) -> str:
    """A file name for what these facts determine."""
    return hashlib.sha256(json.dumps([FORMAT_VERSION, *facts], sort_keys=True).encode()).hexdigest()[:32]
