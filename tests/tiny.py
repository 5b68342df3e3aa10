"""Small random encoders, models, batches and a tokenizer that many tests share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from hyperx.config import HypernetworkOptions, ModelConfig
from hyperx.data.encoding import SubwordEncoder
from hyperx.data.sentence import Sentence
from hyperx.data.splits import encoded
from hyperx.data.storage import EncodedSplit, read_encoded, write_encoded
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


def tiny_encoder(family: str, *, layers: int = 2, seed: int = 0) -> PreTrainedModel:
    """A random encoder of one of the known families, of hidden size 32 and without dropout."""
    if family == "bert":
        return tiny_bert(layers=layers, seed=seed)
    torch.manual_seed(seed)
    if family == "distilbert":
        config = DistilBertConfig(
            vocab_size=60, dim=32, n_layers=layers, n_heads=4, hidden_dim=64, max_position_embeddings=40,
            dropout=0.0, attention_dropout=0.0,
        )  # fmt: skip
        return DistilBertModel(config).eval()
    shape = {
        "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 4,
        "intermediate_size": 64, "max_position_embeddings": 40, "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0, "pad_token_id": 1,
    }  # fmt: skip
    if family == "roberta":
        return RobertaModel(RobertaConfig(**shape), add_pooling_layer=False).eval()
    return XLMRobertaModel(XLMRobertaConfig(**shape), add_pooling_layer=False).eval()


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
        "trained_languages": ("en", "tr"), "trained_pairs": ("ner#en", "pos#tr"),
        "hypernetwork": HypernetworkOptions(**(shape | (options or {}))),
    }  # fmt: skip
    config |= fields
    config.setdefault("kinds", {task: task for task in config["labels"]})
    torch.manual_seed(seed)
    model = HyperX(tiny_bert() if encoder is None else encoder, ModelConfig(**config))
    randomise(model, seed=seed)
    return model.eval()


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
    write_encoded(path, encoded(iter(sentences), task, encoder), task.columns)
    split = read_encoded(path)
    assert split is not None
    return split
