"""What several tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

SHARED = Path(__file__).resolve().parents[1] / "../shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data, models and parity files that stand beside the project."""
    if not SHARED.is_dir():
        pytest.skip("the folder shared/ with real data is not beside the project")
    return SHARED.resolve()


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
