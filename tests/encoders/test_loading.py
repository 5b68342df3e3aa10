"""Encoders by name: tiny folders made here, and the real encoder where its file is at hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForTokenClassification,
    BertModel,
    FunnelConfig,
    FunnelModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from hyperx.data.batch.windows import SubwordEncoder, Subwords
from hyperx.encoders import loading
from hyperx.encoders.families import LAYOUTS, EncoderLayout
from hyperx.encoders.loading import encoder_folder, load_encoder, load_tokenizer
from hyperx.errors import EncoderError

CONFIG = BertConfig(
    vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, dtype="float32"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny BERT with a head and a fast tokenizer."""
    torch.manual_seed(0)
    BertForTokenClassification(CONFIG).save_pretrained(tmp_path / "encoder")
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


def test_loads_a_local_folder_quietly(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    verbosity = transformers.utils.logging.get_verbosity()
    encoder = load_encoder(str(folder))
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.get_verbosity() == verbosity
    assert transformers.utils.logging.is_progress_bar_enabled()
    assert encoder.name == str(folder)
    assert isinstance(encoder.model, BertModel)
    assert encoder.model.pooler is None
    assert not encoder.model.training
    assert encoder.tokenizer(["a", "b"], is_split_into_words=True).word_ids() == [0, 1]


def test_the_hash_is_of_the_weights_alone(folder: Path, tmp_path: Path) -> None:
    first = load_encoder(folder)
    first.model.save_pretrained(tmp_path / "copy")  # without the head
    first.tokenizer.save_pretrained(tmp_path / "copy")
    assert load_encoder(tmp_path / "copy").content_hash == first.content_hash
    weights = load_file(tmp_path / "copy" / "model.safetensors")
    weights["embeddings.LayerNorm.bias"][0] += 1
    save_file(weights, tmp_path / "copy" / "model.safetensors", metadata={"format": "pt"})
    assert load_encoder(tmp_path / "copy").content_hash != first.content_hash


def test_weights_are_float32(folder: Path) -> None:
    BertModel(CONFIG).to(torch.bfloat16).save_pretrained(folder)
    assert {parameter.dtype for parameter in load_encoder(folder).model.parameters()} == {torch.float32}


def byte_level() -> Tokenizer:
    """As RoBERTa and ModernBERT have it."""
    alphabet = {symbol: index for index, symbol in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def byte_level_after_a_split() -> Tokenizer:
    """As EuroBERT has it: a space before every part of a word would be wrong."""
    tokenizer = byte_level()
    split = pre_tokenizers.Split(Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"), "isolated")
    bytes_alone = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_alone])
    return tokenizer


def marked_by_the_normaliser() -> Tokenizer:
    """As mmBERT has it."""
    pieces = {piece: index for index, piece in enumerate("Ġab1")}
    tokenizer = Tokenizer(models.BPE(pieces, []))
    tokenizer.normalizer = normalizers.Replace(" ", "Ġ")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    return tokenizer


def stripped() -> Tokenizer:
    """A space has to be put after what strips it."""
    tokenizer = byte_level()
    tokenizer.normalizer = normalizers.Strip()
    return tokenizer


@pytest.mark.parametrize("make", [byte_level, byte_level_after_a_split, marked_by_the_normaliser, stripped])
def test_words_alone_are_split_as_in_a_text(make: Callable[[], Tokenizer], folder: Path) -> None:
    """Tokenizers that mark a word's start by the space before it."""
    PreTrainedTokenizerFast(tokenizer_object=make(), unk_token=None).save_pretrained(folder)
    text = make().encode("a a1 b").tokens
    encoding: Any = load_tokenizer(folder)(["a", "a1", "b"], is_split_into_words=True)
    assert encoding.tokens() == ["Ġ", *text] == ["Ġ", "a", "Ġ", "a", "1", "Ġ", "b"]
    assert encoding.word_ids() == [0, 0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize(
    "model", [models.WordPiece({"[UNK]": 0, "a": 1}), models.WordLevel({"[UNK]": 0, "b": 1}, "[UNK]")]
)
@pytest.mark.parametrize("split", [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Metaspace(), None])
def test_other_tokenizers_stay_as_they_are(model: Any, split: Any, folder: Path) -> None:
    tokenizer = Tokenizer(model)
    if split is not None:
        tokenizer.pre_tokenizer = split
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    assert load_encoder(folder).tokenizer.backend_tokenizer.normalizer is None


def test_a_tokenizer_whose_words_depend_on_their_place_is_refused(folder: Path) -> None:
    tokenizer = byte_level()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.Replace(Regex(" +a$"), " aaa")])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=None).save_pretrained(folder)
    with pytest.raises(EncoderError, match="other subwords of a word alone than of a word in a text"):
        load_encoder(folder)


def test_of_t5_the_encoder_alone_is_loaded(folder: Path) -> None:
    """Its tokenizer puts one special subword at the end, none at the start."""
    shape = {"d_model": 8, "d_kv": 4, "d_ff": 16, "num_heads": 2, "num_layers": 1, "vocab_size": 10}
    T5ForConditionalGeneration(T5Config(**shape)).save_pretrained(folder)
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -2.0), ("a", -2.0), ("▁a", -1.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    encoder = load_encoder(folder)
    assert type(encoder.model).__name__ == "T5EncoderModel"
    assert not [name for name in encoder.model.state_dict() if "decoder" in name]
    ((window,),) = SubwordEncoder(encoder.tokenizer, max_length=16).windows([["a", "aa", "a"]])
    assert window.ids.tolist() == [5, 5, 4, 5, 1]
    assert window.words.tolist() == [0, 1, 1, 2, -1]


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("config.json", None, "found no config.json"),
        ("config.json", "{", "config.json is not JSON"),
        ("config.json", '{"model_type": "nothing"}', "encoders of type 'nothing' are not known"),
        (
            "config.json",
            '{"model_type": "x", "auto_map": {"AutoConfig": "a.B"}}',
            "code of their own is never run",
        ),
        ("model.safetensors", "nothing", "its header would have"),
        ("tokenizer.json", "nothing", "tokenizer.json is not JSON"),
    ],
)
def test_folders_that_are_not_sound(folder: Path, file: str, content: str | None, problem: str) -> None:
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content)
    with pytest.raises(EncoderError, match=problem):
        load_encoder(folder)


def test_missing_weights_pickles_and_slow_tokenizers_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: SimpleNamespace(is_fast=False))
        with pytest.raises(EncoderError, match=r"expected a fast tokenizer \(tokenizer\.json\), found SimpleNamespace"):
            load_encoder(folder)
    weights = load_file(folder / "model.safetensors")
    del weights["bert.encoder.layer.0.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=r"missing 1, such as encoder\.layer\.0\.output\.dense\.weight"):
        load_encoder(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match=r"found pytorch_model\.bin.*save_pretrained"):
        load_encoder(folder)


@pytest.mark.parametrize("name", ["./absent", "/absent/x", "a/b/c", "~nobody-here/x", "absent.bin", "", Path("a/b")])
def test_absent_paths_never_ask_the_hub(name: str | Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "fetched", lambda *_: pytest.fail("asked the hub"))
    with pytest.raises(EncoderError, match="expected"):
        load_encoder(name)


def test_a_hub_name_without_a_network_fails_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    # A port of this machine that nobody listens at stands for the hub.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    start = time.perf_counter()
    told = r"the hub cannot be reached .*refused.* Did you mean 'embedded'\?"
    with pytest.raises(EncoderError, match=told) as caught:
        load_encoder("embeded")
    assert time.perf_counter() - start < 5
    assert "\n" not in str(caught.value)


def test_a_hub_model_is_the_same_as_its_local_copy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its description is fetched where the weights are not needed."""
    asked: dict[str, Any] = {}

    def download(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(folder)

    def fetched(name: str) -> bool:
        return any(fnmatch(name, pattern) for pattern in asked["allow_patterns"])

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    encoder = load_encoder("someone/encoder")
    assert encoder.name == asked["name"] == "someone/encoder"
    assert encoder.content_hash == load_encoder(folder).content_hash
    assert all(map(fetched, ("model.safetensors", "config.json", "tokenizer.json", "vocab.txt")))
    assert encoder_folder("someone/encoder", weights=False) == folder
    assert all(map(fetched, ("config.json", "tokenizer.json", "vocab.txt")))
    assert not fetched("model.safetensors")
    monkeypatch.setenv("HOME", str(folder.parent))
    assert encoder_folder(f"~/{folder.name}", weights=False) == folder


def test_a_connection_lost_on_the_way_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(*_: Any, **__: Any) -> str:
        raise Exception("peer closed the connection")  # as HTTP libraries have it: no OSError

    monkeypatch.setattr("huggingface_hub.snapshot_download", lose)
    with pytest.raises(EncoderError, match=r"could not be fetched from the hub: .*peer closed the connection"):
        load_encoder("someone/encoder")


def test_of_two_classes_for_a_type_of_encoder_the_first_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LAYOUTS, "funnel", EncoderLayout(layers="encoder.blocks", feed_forward="ffn"))
    shape = {"block_sizes": [1], "num_decoder_layers": 1, "d_model": 8, "n_head": 2, "d_head": 4, "d_inner": 8}
    FunnelModel(FunnelConfig(vocab_size=10, **shape)).save_pretrained(tmp_path)
    assert isinstance(load_encoder(tmp_path).model, FunnelModel)


def test_a_tokenizer_by_itself_and_an_encoder_without_one(folder: Path) -> None:
    assert len(load_tokenizer(folder)) == len(load_encoder(folder).checked_tokenizer())
    with pytest.raises(EncoderError, match="expected a padding subword, found none"):
        Subwords.of(load_tokenizer(folder))
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(EncoderError, match=r"expected a tokenizer, found none of tokenizer\.json"):
        load_encoder(folder).checked_tokenizer()
