"""Encoders by name: the embedded one, an E5S1 file, a local folder or a model of the hub."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tokenizers

# Only the top level: transformers imports its parts, which takes seconds, when they are first used.
import transformers
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from hyperx.encoders.conversion import read_source_record, weights_hash
from hyperx.encoders.e5s1 import MAGIC, is_e5s1
from hyperx.encoders.embedded import embedded_encoder_folder
from hyperx.encoders.families import LAYOUTS
from hyperx.errors import EncoderError, did_you_mean, listing
from hyperx.files import in_home, is_hub_name

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

EMBEDDED = "embedded"
# The upper two of its twelve layers are shaped for sentence embeddings: neighbouring subwords become alike there.
EMBEDDED_HEAD_LAYER = 10

_HUB_SECONDS = 10.0
_HUB_DESCRIPTION = ["*.json", "*.txt", "*.model"]
_HUB_FILES = [*_HUB_DESCRIPTION, SAFE_WEIGHTS_NAME, "model-*.safetensors"]
_TOKENIZER_FILES = ["tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "tokenizer.model"]
_ELSE = f"Name another encoder: {EMBEDDED}, a local folder or a model of the hub."


@dataclass(frozen=True)
class LoadedEncoder:
    """An encoder ready for use.

    Args:
        name: the name as the user spelled it, but absolute if it is a path.
        content_hash: hash of the weights; the same for every copy of them, wherever it was loaded from.
        model: the model in float32 and evaluation mode, without a pooler.
        tokenizer: a fast tokenizer, so that subwords can be traced to words; None if it was not requested.
        head_layer: the best layer for task heads, if the upper ones are known to serve another purpose.
        folder: where its files are.
    """

    name: str
    content_hash: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast | None
    head_layer: int | None = None
    folder: Path | None = None

    def checked_tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer; raises an EncoderError if there is none."""
        if self.tokenizer is None:
            raise EncoderError(f"{self.name}: expected a tokenizer, found none. {_ELSE}")
        return self.tokenizer


def load_encoder(name: str | Path, *, tokenizer: bool = True) -> LoadedEncoder:
    """Load an encoder and its tokenizer. Never runs code or reads pickles that come with an encoder.

    Args:
        name: ``embedded``; the path of an E5S1 file or of a Hugging Face folder; or a model of the hub.
        tokenizer: also load its tokenizer.

    Raises:
        EncoderError: if it cannot be found, or is not an encoder with safetensors weights and a fast tokenizer.
    """
    folder, converted = _find(name)
    with _quiet():
        model = _load_model(folder)
        found = None
        if tokenizer:
            found = _load_converted_tokenizer(folder) if converted else _load_tokenizer(folder)
    # A record is trusted only in the cache: next to weights that somebody else wrote it could be another model's.
    record = read_source_record(folder) if converted else None
    content_hash = _state_hash(model) if record is None else record.content_hash
    from hyperx.device import not_finite  # and with it torch, which a tokenizer alone does not need

    if record is None and (names := not_finite(model.state_dict())):
        raise EncoderError(f"{folder}: {listing(names, most=3)} holds NaN or infinity. {_ELSE}")
    head_layer = EMBEDDED_HEAD_LAYER if converted else None
    return LoadedEncoder(_lasting_name(name), content_hash, model, found, head_layer, folder)


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer. If there is none, the library would make an empty one."""
    return any((folder / name).is_file() for name in _TOKENIZER_FILES)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The fast tokenizer in a folder, without its encoder; raises an EncoderError if it cannot be read."""
    if not has_tokenizer(folder):
        raise EncoderError(f"{folder}: expected a tokenizer, found none of {', '.join(_TOKENIZER_FILES)}")
    with _quiet():
        return _load_tokenizer(folder)


def description_folder(name: str) -> Path:
    """A folder with an encoder's configuration and tokenizer; the weights of a hub model are not downloaded.

    Raises:
        EncoderError: if it cannot be found.
    """
    if name == EMBEDDED:
        return embedded_encoder_folder()
    path = in_home(name)
    if path.is_dir():
        return path
    if not is_hub_name(name):
        raise EncoderError(f"{name}: expected an encoder, found no such folder")
    return _download(name, _HUB_DESCRIPTION)


def _lasting_name(name: str | Path) -> str:
    """A name that means the same in any working folder."""
    path = in_home(name)
    return str(path.resolve()) if name != EMBEDDED and path.exists() else str(name)


# Finding --------------------------------------------------------------------------------------------------------------


def _find(name: str | Path) -> tuple[Path, bool]:
    """The encoder's folder, and whether this package converted it and keeps it in its cache."""
    if name == EMBEDDED:
        return embedded_encoder_folder(), True
    path = in_home(name)
    if path.is_file():
        if not is_e5s1(path):
            raise EncoderError(f"{path}: expected a folder or a file that begins with {MAGIC!r}. {_ELSE}")
        return embedded_encoder_folder(path), True
    if path.is_dir():
        return _checked_folder(path), False
    if isinstance(name, Path) or not is_hub_name(name):
        raise EncoderError(f"{name}: expected an encoder, found no such file or folder. {_ELSE}")
    return _checked_folder(_download(name, _HUB_FILES)), False


def _checked_folder(folder: Path) -> Path:
    """The folder, checked to have a configuration and safetensors weights; raises an EncoderError if not."""
    if not (folder / "config.json").is_file():
        raise EncoderError(f"{folder}: expected an encoder's folder, found no config.json in it. {_ELSE}")
    if not any((folder / name).is_file() for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)):
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        raise EncoderError(
            f"{folder}: expected weights in {SAFE_WEIGHTS_NAME}, found {', '.join(pickles) or 'none'}. Other formats"
            " can run code when they are read, so they are refused. Where you trust the source, convert it once:"
            " python -c \"from transformers import AutoModel, AutoTokenizer as T; a, b = 'SOURCE', 'NEW_FOLDER';"
            ' AutoModel.from_pretrained(a).save_pretrained(b); T.from_pretrained(a).save_pretrained(b)"'
        )
    return folder


def _download(name: str, files: list[str]) -> Path:
    """The hub model's folder in the hub's cache, from a single call, so that it fails at once without a network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        # Sub-folders of hub models hold other formats (onnx, openvino), which are not read here.
        return Path(snapshot_download(name, etag_timeout=_HUB_SECONDS, allow_patterns=files, ignore_patterns=["*/*"]))
    except LocalEntryNotFoundError as error:
        raise EncoderError(
            f"{name}: found no such local folder, and the hub cannot be reached ({_first_line(error)}).{_hint(name)}"
            f" Without a network, use {EMBEDDED} or a local folder."
        ) from error
    except RepositoryNotFoundError as error:
        raise EncoderError(
            f"{name}: found neither such a local folder nor such a model on the hub"
            f" (a private one needs: hf auth login).{_hint(name)} {_ELSE}"
        ) from error
    except Exception as error:  # including a lost connection, an exception of the HTTP library
        raise EncoderError(f"{name}: could not be fetched from the hub: {_first_line(error)}. {_ELSE}") from error


def _hint(name: str) -> str:
    return did_you_mean(name, [EMBEDDED])


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


# Loading --------------------------------------------------------------------------------------------------------------


def _load_model(folder: Path) -> PreTrainedModel:
    """The encoder in float32, every weight read from the folder.

    Raises:
        EncoderError: if it cannot be read, or weights other than the pooler's are missing.
    """
    _refuse_foreign_code(folder)
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        alone = LAYOUTS[config.model_type].loads_as if config.model_type in LAYOUTS else None
        model_class: Any = transformers.AutoModel if alone is None else getattr(transformers, alone)
        options = {} if alone else {"trust_remote_code": False, **_without_pooler(config)}
        model, found = model_class.from_pretrained(
            folder, config=config, dtype="float32", use_safetensors=True, output_loading_info=True, **options
        )
    except Exception as error:  # whatever the libraries raise for a damaged folder
        raise EncoderError(f"{folder}: the encoder could not be read: {_first_line(error)}. {_ELSE}") from error
    missing = sorted(key for key in found["missing_keys"] if "pooler" not in key)
    if missing:
        raise EncoderError(
            f"{folder}: expected all weights of {type(model).__name__}, missing {len(missing)},"
            f" such as {', '.join(missing[:3])}. Check that config.json and the weights belong together."
        )
    checked: PreTrainedModel = model
    return checked


def _refuse_foreign_code(folder: Path) -> None:
    """Raise an EncoderError if the encoder comes with its own code."""
    with contextlib.suppress(ValueError):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if isinstance(config, dict) and "auto_map" in config:
            family = config.get("model_type")
            if family not in transformers.CONFIG_MAPPING:
                raise EncoderError(
                    f"{folder}: encoders of type {family!r} are code that comes with the encoder, which is never run;"
                    f" transformers {transformers.__version__} has none of its own. {_ELSE}"
                )


def _without_pooler(config: PreTrainedConfig) -> dict[str, Any]:
    """The option of BERT-like classes that leaves out their pooler, which no task reads."""
    model_class = transformers.MODEL_MAPPING.get(type(config), None)
    known = inspect.isclass(model_class) and "add_pooling_layer" in inspect.signature(model_class).parameters
    return {"add_pooling_layer": False} if known else {}


def _load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The folder's fast tokenizer, ready for text that is split into words."""
    try:
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:
        raise EncoderError(f"{folder}: the tokenizer could not be read: {_first_line(error)}. {_ELSE}") from error
    if not tokenizer.is_fast:
        raise EncoderError(
            f"{folder}: expected a fast tokenizer (tokenizer.json), found {type(tokenizer).__name__}, which cannot tell"
            " the word of a subword. Where the same vocabulary is to be had as a tokenizer.json of the tokenizers"
            f" library, put it into the folder. {_ELSE}"
        )
    if not _knows_subwords(tokenizer):
        raise EncoderError(
            f"{folder}: expected a tokenizer with subwords, found a {type(tokenizer).__name__} without any, as the"
            " library makes where a folder has no tokenizer files. Save the encoder's tokenizer into the folder:"
            ' python -c "from transformers import AutoTokenizer as T;'
            " T.from_pretrained('SOURCE').save_pretrained('FOLDER')\""
        )
    if not _splits_words_as_text(tokenizer.backend_tokenizer):
        _put_space_before_words(folder, tokenizer)
    fast: PreTrainedTokenizerFast = tokenizer
    return fast


def _knows_subwords(tokenizer: Any) -> bool:
    """Whether there is any subword other than the special ones and the mark of a word's start."""
    # Only an empty tokenizer is small enough to have only special ones; others' vocabulary need not be copied.
    if len(tokenizer) > 2 * len(tokenizer.all_special_ids):
        return True
    special = set(tokenizer.all_special_tokens)
    return any(any(map(str.isalnum, subword)) for subword in tokenizer.get_vocab() if subword not in special)


def _splits_words_as_text(backend: tokenizers.Tokenizer) -> bool:
    """Whether a word given alone has the subwords that it has inside a text."""
    alone, text = (backend.encode(text, add_special_tokens=False).ids for text in ("a", "a a"))
    words = backend.encode(["a", "a"], is_pretokenized=True, add_special_tokens=False).ids
    # A tokenizer without word boundaries encodes the two together differently; then there is nothing to compare.
    return text[: len(alone)] != alone or text[len(alone) :] in ([], words[len(words) // 2 :])


def _put_space_before_words(folder: Path, tokenizer: Any) -> None:
    """Add a space before every word, by which many tokenizers mark its start and which a word alone does not have.

    Raises:
        EncoderError: if that does not help.
    """
    backend: tokenizers.Tokenizer = tokenizer.backend_tokenizer
    given, space = backend.normalizer, tokenizers.normalizers.Prepend(" ")
    for order in [[space]] if given is None else [[space, given], [given, space]]:
        backend.normalizer = tokenizers.normalizers.Sequence(order)
        if _splits_words_as_text(backend):
            tokenizer.add_prefix_space = True
            return
    raise EncoderError(
        f"{folder}: the tokenizer makes other subwords of a word alone than of a word in a text, and a space before it"
        f" does not help. {_ELSE}"
    )


def _load_converted_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """What ``AutoTokenizer`` returns for a converted folder, without reading the 250,000 pieces a second time."""
    try:
        options = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        del options["tokenizer_class"]
        make: Any = transformers.PreTrainedTokenizerFast
        tokenizer: PreTrainedTokenizerFast = make(
            tokenizer_file=os.fspath(folder / "tokenizer.json"), name_or_path=os.fspath(folder), **options
        )
        return tokenizer
    except Exception as error:
        raise EncoderError(
            f"{folder}: the converted tokenizer could not be read: {_first_line(error)}."
            " Delete the folder; it is made again at the next start."
        ) from error


def _state_hash(model: PreTrainedModel) -> str:
    return weights_hash({name: tensor.numpy(force=True) for name, tensor in model.state_dict().items()})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no report of unused weights (heads, poolers) while an encoder is loaded."""
    log: Any = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
