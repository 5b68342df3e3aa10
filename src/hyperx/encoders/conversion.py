"""Conversion of an E5S1 file to a folder in the hub's format: weights, configuration and tokenizer of a BERT."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

from hyperx.encoders.e5s1 import MASK, EmbeddedFile, Floats, Pieces, is_character, read_e5s1
from hyperx.errors import EncoderError
from hyperx.files import checksum, read_checked_json, write_checked_json, write_json

CONVERTER_VERSION = 1  # part of the cached folder's name: raise it whenever the output of ``convert`` changes
SOURCE_RECORD = "hyperx_source.json"

# The file's names -> those in transformers' BertModel.
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_MODULES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """The content of ``hyperx_source.json`` in a converted folder.

    Args:
        source_sha256: SHA-256 of the E5S1 file.
        content_hash: ``weights_hash`` of the weights, so that they need not be hashed again.
        sizes: file name -> bytes, for every other file of the folder.
        checksums: file name -> CRC-32, for the same files.
    """

    source_sha256: str
    content_hash: str
    sizes: Mapping[str, int]
    checksums: Mapping[str, int]


def convert(source: Path, folder: Path) -> SourceRecord:
    """Write an E5S1 file as a Hugging Face folder: a float32 BertModel without pooler, and a fast tokenizer.

    Args:
        source: the E5S1 file.
        folder: the output folder, created if missing; files of the same names in it are replaced.

    Raises:
        EncoderError: if the file is not sound or the folder cannot be written.
    """
    file = read_e5s1(source)
    tokenizer = build_tokenizer(file.pieces, build_normaliser(file.normaliser))
    weights = bert_weights(file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        write_json(folder / "tokenizer_config.json", _tokenizer_config(file))
        write_json(folder / "config.json", _model_config(file))
        written = [path for path in folder.iterdir() if path.name != SOURCE_RECORD]
        sizes = {path.name: path.stat().st_size for path in written}
        checksums = {path.name: checksum(path) for path in written}
        record = SourceRecord(file.sha256, weights_hash(weights), sizes, checksums)
        write_checked_json(folder / SOURCE_RECORD, asdict(record))
    except Exception as error:  # the two Rust libraries raise their own types for a full disk
        raise EncoderError(f"{folder}: the converted encoder could not be written: {error}") from error
    return record


def bert_weights(file: EmbeddedFile) -> dict[str, Floats]:
    """The file's tensors under the names of transformers' ``BertModel(add_pooling_layer=False)``."""
    return {_bert_name(name): values for name, values in file.tensors.items()}


def _bert_name(name: str) -> str:
    if name in _EMBEDDINGS:
        return _EMBEDDINGS[name]
    layer, module, part = name.split(".")
    return f"encoder.layer.{layer[1:]}.{_MODULES[module]}.{'weight' if part == 'w' else 'bias'}"


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
    # Not XLMRobertaTokenizer: transformers 5 would rebuild it from the pieces and drop the normaliser.
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
        "mask_token": MASK,
    }


def _special_texts(pieces: Pieces) -> tuple[str, str, str, str]:
    texts = pieces.texts
    return texts[pieces.bos], texts[pieces.eos], texts[pieces.pad], texts[pieces.unk]


def build_tokenizer(pieces: Pieces, normaliser: normalizers.Normalizer) -> Tokenizer:
    """XLM-RoBERTa's tokenizer: Unigram, a space in front of every text, ``<s> $A </s>``.

    A word of which the normaliser leaves nothing (such as zero-width characters) has no token.
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
    tokenizer.add_special_tokens([*special, AddedToken(MASK, lstrip=True, special=True, normalized=False)])
    return tokenizer


# Noncharacters: no text contains them, and no normalisation changes them.
_STAND_INS = tuple(map(chr, range(0xFDD0, 0xFDEF)))
_SEPARATOR = "\ufdef"


def build_normaliser(mapping: Mapping[str, str]) -> normalizers.Normalizer:
    """A normaliser equal to the file's map on every character, with runs of spaces collapsed and the ends stripped.

    The map is NMT + NFKC except for a few characters (SentencePiece keeps U+FF5E, the fullwidth tilde); each of those
    is hidden from NFKC and then put back. NFKC also composes sequences, as a map of single characters cannot.

    Raises:
        EncoderError: if the map is another normalisation.
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
    """The characters that ``standard`` normalises differently from the map -> their text in the map."""
    differing: dict[str, str] = {}
    for start in range(0, 0x110000, 0x10000):
        codes = range(start, start + 0x10000)
        characters = [chr(code) for code in codes if is_character(code) and chr(code) != _SEPARATOR]
        # One call for many characters, with a separator that keeps them from combining: 0.7 s for all of Unicode.
        found = standard.normalize_str(_SEPARATOR.join(characters)).split(_SEPARATOR)
        for character, text in zip(characters, found, strict=True):
            wanted = mapping.get(character, character)
            if text != wanted:
                differing[character] = wanted
    return differing


def read_source_record(folder: Path) -> SourceRecord | None:
    """The record of a converted folder; None if there is none, or it is damaged."""
    content = read_checked_json(folder / SOURCE_RECORD)
    try:
        return None if content is None else SourceRecord(**content)
    except TypeError:  # a record of another release
        return None


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
