"""Small random encoders, models, batches and a tokenizer that many tests share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CONFIG_MAPPING,
    MODEL_MAPPING,
    BertConfig,
    BertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from hyperx.config import ArchitectureOptions, HypernetworkOptions, ModelConfig
from hyperx.data.batch.store import EncodedSplit, read_encoded, write_encoded
from hyperx.data.batch.windows import SubwordEncoder
from hyperx.data.read.sentence import Sentence
from hyperx.encoders.families import LAYOUTS
from hyperx.model import HyperX
from hyperx.tasks.base import Task


def tiny_bert(*, layers: int = 3, seed: int = 0) -> BertModel:
    """A random BERT of hidden size 32, without dropout."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return BertModel(config, add_pooling_layer=False).eval()


def write_tiny_bert(folder: Path, *, seed: int = 0) -> Path:
    """A folder with the tiny BERT of two layers and its tokenizer."""
    tiny_bert(layers=2, seed=seed).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def tiny_encoder(
    family: str, *, layers: int = 2, seed: int = 0, dropout: float = 0.0, attention_dropout: float = 0.0, **fields: Any
) -> PreTrainedModel:
    """A random encoder of one of the known families, of hidden size 32, without a pooler, padded by 1 (T5: 0).

    Args:
        family: the model type of the Hugging Face library.
        layers: its depth.
        seed: of its weights.
        dropout: all dropout but that of attention weights; of some families it has to be the same.
        attention_dropout: the dropout of attention weights.
        fields: changes to its configuration.
    """
    if family == "bert" and not (dropout or attention_dropout or fields):
        return tiny_bert(layers=layers, seed=seed)
    shape = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 4}
    shape |= {"max_position_embeddings": 40, "pad_token_id": 1}
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": attention_dropout}
    own: dict[str, Any] = rates | {"intermediate_size": 64, "bos_token_id": None, "eos_token_id": None}
    if family == "distilbert":
        own = {"hidden_dim": 64, "dropout": dropout, "attention_dropout": attention_dropout}
    elif family in ("albert", "electra"):
        own |= {"embedding_size": 16}
    elif family == "rembert":
        own |= {"input_embedding_size": 16}
    elif family in ("deberta", "deberta-v2"):
        # As the published ones: relative positions only, by content and by position.
        own |= {"relative_attention": True, "position_biased_input": False, "pos_att_type": ["p2c", "c2p"]}
        if family == "deberta-v2":
            own |= {"position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True, "conv_kernel_size": 3}
    elif family == "modernbert":
        own = {"intermediate_size": 64, "global_attn_every_n_layers": 2, "local_attention": 4}
        own |= {"embedding_dropout": dropout, "mlp_dropout": dropout, "attention_dropout": attention_dropout}
        own |= dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 2)
    elif family == "eurobert":
        own = {"intermediate_size": 64, "num_key_value_heads": 2, "attention_dropout": attention_dropout}
        own |= {"bos_token_id": 2, "eos_token_id": 2, "mask_token_id": 2}
    elif family in ("t5", "mt5", "umt5"):
        del shape["max_position_embeddings"]
        own = {"d_kv": 8, "d_ff": 64, "dropout_rate": dropout, "pad_token_id": 0}
        own |= {} if family == "t5" else {"feed_forward_proj": "gated-gelu"}
    config = CONFIG_MAPPING[family](**(shape | own | fields))
    alone = LAYOUTS[family].loads_as if family in LAYOUTS else None
    make = MODEL_MAPPING[type(config)] if alone is None else getattr(transformers, alone)
    pooler = {"add_pooling_layer": False} if "add_pooling_layer" in signature(make).parameters else {}
    torch.manual_seed(seed)
    return make(config, **pooler).eval()


LABELS = {"ner": ("O", "B-PER", "I-PER"), "pos": ("NOUN", "VERB", "ADJ", "_")}


def tiny_model(
    *,
    encoder: PreTrainedModel | None = None,
    options: dict[str, Any] | None = None,
    seed: int = 1,
    **fields: Any,
) -> HyperX:
    """A small model of two tasks and three languages (`de` untrained) whose every weight is random, none zero.

    Args:
        encoder: by default a tiny BERT of three layers.
        options: changes to the shape of the hypernetwork.
        seed: of all weights outside the encoder.
        fields: changes to the model's configuration.
    """
    shape = {
        "task_embedding_dim": 3, "language_embedding_dim": 5, "layer_id_embedding_dim": 4, "source_hidden_dim": 7,
        "projected_source_embedding_dim": 6, "adapter_dim": 8,
    }  # fmt: skip
    config = {
        "encoder": "tiny", "encoder_hash": "", "labels": LABELS, "languages": ("en", "tr", "de"),
        "trained_pairs": ("ner#en", "pos#tr"),
        "hypernetwork": HypernetworkOptions(**(shape | (options or {}))),
    }  # fmt: skip
    config |= fields
    config.setdefault("kinds", {task: task for task in config["labels"]})
    torch.manual_seed(seed)
    model = HyperX(tiny_bert() if encoder is None else encoder, model_config(**config))
    randomise(model, seed=seed)
    return model.eval()


def model_config(**fields: Any) -> ModelConfig:
    """A configuration with the options of the architecture among its fields."""
    own = {name: fields.pop(name) for name in ArchitectureOptions.__slots__ if name in fields}
    before = fields.get("architecture", ArchitectureOptions(head_layer="last"))
    return ModelConfig(**({"max_length": 32} | fields | {"architecture": replace(before, **own)}))


def randomise(model: HyperX, *, seed: int) -> None:
    """Give every weight outside the encoder, and its norms, a random value: adapters that do something."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("encoder."):
                parameter.normal_(std=0.3, generator=random)
            elif parameter.requires_grad:
                parameter.add_(torch.empty_like(parameter).normal_(std=0.1, generator=random))


def tiny_batch(
    lengths: Sequence[int], *, seed: int = 2, pad_id: int = 0, vocabulary: int = 60
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random subword ids and the attention mask of rows of the given lengths."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.full((len(lengths), max(lengths)), pad_id)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(2, vocabulary, (length,), generator=random)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return ids, mask


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer over the letters a to e that makes nothing of zero-width spaces, ids below 60."""
    letters = "abcde"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters), "bad", "##de"]
    ids = {piece: index for index, piece in enumerate(vocabulary)}
    backend = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    backend.normalizer = normalizers.Replace("\u200b", "")
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def tiny_split(path: Path, task: Task, sentences: Iterable[Sentence], *, max_length: int = 20) -> EncodedSplit:
    """A split of the tiny tokenizer's windows, written and read back."""
    encoder = SubwordEncoder(tiny_tokenizer(), max_length=max_length)
    write_encoded(path, sentences, partial(task.windows, encoder), task.columns)
    split = read_encoded(path)
    assert split is not None
    return split
