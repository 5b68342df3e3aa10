"""Encoders by name: the embedded one, a local folder or a model of the hub."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import tokenizers

from hyperx.data.batch.windows import FastTokenizer
from hyperx.device import not_finite
from hyperx.encoders.checking import check_folder, check_size, check_tokenizer, family_problem
from hyperx.encoders.embedded import EMBEDDED, EMBEDDED_HEAD_LAYER, find_embedded_file, load_embedded
from hyperx.encoders.families import LAYOUTS
from hyperx.encoders.masked_lm import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from hyperx.errors import CheckpointError, EncoderError, did_you_mean, listing, panics_told
from hyperx.files import in_home, missing_encoder
from hyperx.hub import Access, Address, fetched

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from hyperx.encoders.families import Encoder

_DESCRIPTION = ["*.json", "*.txt", "*.model"]
_TOKENIZER_FILES = [
    "tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "spm.model",
    "tokenizer.model",
]  # fmt: skip
_ELSE = f"Name another encoder: {EMBEDDED}, a local folder or a model of the hub."


@dataclass(frozen=True)
class LoadedEncoder:
    """An encoder ready for use."""

    name: str
    """As the user spelled it, but absolute if it is a path."""
    content_hash: str
    """Hash of the weights; the same for every copy of them, wherever it was loaded from."""
    model: Encoder
    """In float32 and evaluation mode, without a pooler."""
    tokenizer: FastTokenizer | None
    """A fast one, so that subwords can be traced to words; None if its folder has none."""
    head_layer: int | None = None
    """The best layer for task heads, if the upper ones are known to serve another purpose."""
    folder: Path | None = None
    """Where its files are; None for the embedded one."""

    def checked_tokenizer(self) -> FastTokenizer:
        """The tokenizer; raises an EncoderError if there is none."""
        if self.tokenizer is None:
            raise EncoderError(
                f"{self.name}: expected a tokenizer, found none of {', '.join(_TOKENIZER_FILES)}. Save the encoder's"
                ' tokenizer into the folder: python -c "from transformers import AutoTokenizer as T;'
                " T.from_pretrained('FROM').save_pretrained('FOLDER')\""
            )
        return self.tokenizer


def load_encoder(name: str | Path, access: Access = Access()) -> LoadedEncoder:
    """Load an encoder (``embedded``; the path of its file or of a Hugging Face folder; or a model of the hub) with its
    tokenizer, if it has one. Never runs code or reads pickles that come with it.

    Raises:
        EncoderError: if it cannot be found, or is not an encoder with safetensors weights and a fast tokenizer.
    """
    path = in_home(name)
    # A name that means the same in any working folder.
    lasting = str(path.resolve()) if name != EMBEDDED and path.exists() else str(name)
    if name == EMBEDDED or path.is_file():
        file = find_embedded_file() if name == EMBEDDED else path
        model, tokenizer, content_hash = load_embedded(file)
        return LoadedEncoder(lasting, content_hash, model, tokenizer, EMBEDDED_HEAD_LAYER)
    folder = encoder_folder(name, access=access)
    check_folder(folder)
    with _quiet():
        whole = _load_model(folder)
    own = load_tokenizer(folder) if has_tokenizer(folder) else None
    if names := not_finite(whole.state_dict()):
        raise EncoderError(f"{folder}: {listing(names, most=3)} holds NaN or infinity. {_ELSE}")
    rows = len(cast("Tensor", whole.get_input_embeddings().weight))
    if own is not None and (largest := _largest_id(own, folder)) >= rows:
        problem = f"the tokenizer has subwords up to number {largest:,}, the encoder embeddings of {rows:,}"
        raise EncoderError(f"{folder}: {problem}. Check that they belong together.")
    content_hash = weights_hash({name: tensor.numpy(force=True) for name, tensor in whole.state_dict().items()})
    return LoadedEncoder(lasting, content_hash, whole, own, folder=folder)


def weights_hash(weights: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256 over all weights by name: names, types, shapes and bytes; the same however they are stored."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        values = np.ascontiguousarray(weights[name])
        shape = "x".join(map(str, weights[name].shape))
        digest.update(f"{name}\0{values.dtype.name}\0{shape}\n".encode())
        digest.update(values.reshape(-1).view(np.uint8).data)
    return f"sha256:{digest.hexdigest()}"


def encoder_folder(name: str | Path, *, weights: bool = True, access: Access = Access()) -> Path:
    """The folder of an encoder, which is that of the hub's cache for a model of the hub. Without ``weights``, only its
    configuration and tokenizer are fetched from the hub; with them, an EncoderError if there are none."""
    if str(name) == EMBEDDED:
        raise EncoderError(f"{name}: expected a local folder or a model of the hub; this encoder has no folder")
    folder = in_home(name)
    if not folder.is_dir():
        if folder.is_file() or missing_encoder(name):
            raise EncoderError(f"{name}: expected an encoder, found no such folder. {_ELSE}")
        files = [*_DESCRIPTION, SAFE_WEIGHTS_NAME, "model-*.safetensors"] if weights else _DESCRIPTION
        try:
            folder = fetched(Address(str(name)), files, access)
        except CheckpointError as error:
            problem = f"found no such local folder, and it could not be fetched from the hub: {error}"
            hint = did_you_mean(str(name), [EMBEDDED])
            raise EncoderError(f"{name}: {problem}.{hint} {_ELSE}") from error
    if weights and not (folder / "config.json").is_file():
        raise EncoderError(f"{folder}: expected an encoder's folder, found no config.json in it. {_ELSE}")
    if weights and not any((folder / file).is_file() for file in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)):
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        raise EncoderError(
            f"{folder}: expected weights in {SAFE_WEIGHTS_NAME}, found {', '.join(pickles) or 'none'}. Other formats"
            " can run code when they are read, so they are refused. Where you trust the origin, convert it once:"
            " python -c \"from transformers import AutoModel, AutoTokenizer as T; a, b = 'FROM', 'NEW_FOLDER';"
            ' AutoModel.from_pretrained(a).save_pretrained(b); T.from_pretrained(a).save_pretrained(b)"'
        )
    return folder


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _load_model(folder: Path) -> PreTrainedModel:
    """The encoder in float32, every weight but the pooler's read from the folder."""
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if problem := family_problem(config.model_type):  # which an old folder does not name
            raise ValueError(problem)
        alone = LAYOUTS[config.model_type].loads_as
        model_class: Any = getattr(transformers, alone) if alone else transformers.MODEL_MAPPING[type(config)]
        if isinstance(model_class, tuple):
            model_class = model_class[0]
        check_size(folder, config, model_class)
        # No task reads the pooler that BERT-like classes add.
        pooler = "add_pooling_layer" in inspect.signature(model_class).parameters
        options = {"add_pooling_layer": False} if pooler else {}
        model, info = model_class.from_pretrained(
            folder, config=config, dtype="float32", use_safetensors=True, output_loading_info=True, **options
        )
    except Exception as error:  # whatever the libraries raise for a damaged folder
        raise EncoderError(f"{folder}: the encoder could not be read: {_first_line(error)}. {_ELSE}") from error
    if missing := sorted(key for key in info["missing_keys"] if "pooler" not in key):
        raise EncoderError(
            f"{folder}: expected all weights of {type(model).__name__}, missing {len(missing)},"
            f" such as {', '.join(missing[:3])}. Check that config.json and the weights belong together."
        )
    return cast("PreTrainedModel", model)


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer. If there is none, the library would make an empty one."""
    return any((folder / name).is_file() for name in _TOKENIZER_FILES)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The fast tokenizer in a folder that has one, ready for text that is split into words."""
    import transformers

    check_folder(folder)
    if (folder / "tokenizer.json").is_file():
        check_tokenizer(folder / "tokenizer.json")
    try:
        with _quiet(), panics_told(str(folder)):
            tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except EncoderError:
        raise
    except Exception as error:
        raise EncoderError(f"{folder}: the tokenizer could not be read: {_first_line(error)}. {_ELSE}") from error
    if not tokenizer.is_fast:
        raise EncoderError(
            f"{folder}: expected a fast tokenizer (tokenizer.json), found {type(tokenizer).__name__}, which cannot tell"
            " the word of a subword. Where the same vocabulary is to be had as a tokenizer.json of the tokenizers"
            f" library, put it into the folder. {_ELSE}"
        )
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    # Many tokenizers mark a word's start by the space before it, which a word that is given alone does not have.
    backend: tokenizers.Tokenizer = tokenizer.backend_tokenizer
    given, space = backend.normalizer, tokenizers.normalizers.Prepend(" ")
    orders = iter([[space]] if given is None else [[space, given], [given, space]])
    while not _splits_words_as_text(backend, folder):
        if (order := next(orders, None)) is None:
            raise EncoderError(
                f"{folder}: the tokenizer makes other subwords of a word alone than of a word in a text, and a space"
                f" before it does not help. {_ELSE}"
            )
        backend.normalizer = tokenizers.normalizers.Sequence(order)
        tokenizer.add_prefix_space = True
    return cast("PreTrainedTokenizerFast", tokenizer)


def _largest_id(tokenizer: PreTrainedTokenizerFast, folder: Path) -> int:
    """The largest number of a subword, those that are put around texts among them."""
    with panics_told(str(folder)):
        around = [*tokenizer.backend_tokenizer.encode("a").ids, *tokenizer.backend_tokenizer.encode("a", "a").ids]
    return max([*tokenizer.get_vocab().values(), *around], default=0)


def _splits_words_as_text(backend: tokenizers.Tokenizer, folder: Path) -> bool:
    """Whether a word given alone has the subwords that it has inside a text."""
    with panics_told(str(folder)):
        alone, text = (backend.encode(text, add_special_tokens=False).ids for text in ("a", "a a"))
        words = backend.encode(["a", "a"], is_pretokenized=True, add_special_tokens=False).ids
    # A tokenizer without word boundaries encodes the two together differently; then there is nothing to compare.
    return text[: len(alone)] != alone or text[len(alone) :] in ([], words[len(words) // 2 :])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no report of unused weights (heads, poolers) while an encoder is loaded."""
    from transformers.utils import logging

    log: Any = logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
