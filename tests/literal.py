"""The equations of Hyper-X and of BERT, written out word by word: slow, and plain enough to be checked by eye."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertModel

from hyperx.config import HypernetworkOptions
from hyperx.method.hypernetwork import Hypernetwork
from hyperx.model import HyperX

ACTIVATIONS = {
    "relu": lambda x: torch.where(x > 0, x, 0 * x),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2))),
    "tanh": lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    "silu": lambda x: x / (1 + (-x).exp()),
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "mish": lambda x: x * torch.tanh(torch.log(1 + x.exp())),
}


def standardise(x: Tensor, eps: float) -> Tensor:
    """A vector shifted to mean 0 and scaled to variance 1."""
    centred = x - x.sum() / len(x)
    return centred / torch.sqrt((centred**2).sum() / len(x) + eps)


def source_embedding(net: Hypernetwork, task: int, language: int, layer: int) -> Tensor:
    """``[e_task(t) ; e_lang(g) ; e_corpus(c) ; e_layer(l)]``; a language or a corpus that is not learnt for the task is
    the mean of those that are."""
    learnt = net.source.learnt[task].tolist()
    known = [i for i in range(len(learnt)) if learnt[i]]
    near = [1.0 if net.source.similarity is None else float(net.source.similarity[language, i]) for i in known]
    if net.source.similarity is not None:
        near = [math.exp(net.options.relatives * one) for one in near]
    mean = sum(weight / sum(near) * net.source.language[i] for i, weight in zip(known, near, strict=True))
    vector = net.source.language[language] if learnt[language] else mean
    parts = [net.source.task[task], vector]
    if net.source.corpus is not None:
        own = int(net.source.corpora[task, language])
        read = [own] if own >= 0 else sorted({*net.source.corpora[task].tolist()} - {-1})
        nothing = torch.zeros(net.source.corpus.shape[1])
        parts.append(sum((net.source.corpus[one] / len(read) for one in read), nothing))
    if net.options.condition_to_layer_id:
        parts.append(net.source.layer[layer])
    return torch.cat(parts)


def projected(net: Hypernetwork, source: Tensor) -> Tensor:
    """``W2 relu(W1 source + c1) + c2``, and with the scaled start ``LayerNorm(s) / sqrt(P)``."""
    s = source
    if net.options.project_source_embeddings:
        first, second = net.projector[0], net.projector[2]
        s = second.weight @ ACTIVATIONS["relu"](first.weight @ source + first.bias) + second.bias
    if net.options.generator_start == "scaled":
        s = standardise(s, 1e-5) / math.sqrt(len(s))
    return s


class LiteralAdapter:
    """The adapter of one pair in one layer; ``generated`` tells where its weights come from."""

    def __init__(
        self,
        options: HypernetworkOptions,
        activation: str,
        hidden: int,
        generated: Callable[[str], Tensor],
    ) -> None:
        self.options, self.activation, self.generated = options, ACTIVATIONS[activation], generated
        bottleneck = options.adapter_dim
        self.down, self.down_bias = generated("down").reshape(bottleneck, hidden), generated("down_bias").reshape(-1)
        self.up, self.up_bias = generated("up").reshape(hidden, bottleneck), generated("up_bias").reshape(-1)

    def norm(self, x: Tensor, name: str, *, wanted: bool) -> Tensor:
        """The norm before or after the projections, where it is asked for."""
        if not wanted:
            return x
        return standardise(x, 1e-5) * self.generated(f"{name}.weight").reshape(-1) + self.generated(f"{name}.bias")

    def __call__(self, x: Tensor) -> Tensor:
        """``x + norm_post(U act(D norm_pre(x) + d) + u)`` for one subword ``[h]``."""
        read = self.norm(x, "norm_pre", wanted=self.options.add_layer_norm_before_adapter)
        written = self.up @ self.activation(self.down @ read + self.down_bias) + self.up_bias
        return x + self.norm(written, "norm_post", wanted=self.options.add_layer_norm_after_adapter)


def generated_adapter(model: HyperX, task: str, language: str, layer: int) -> LiteralAdapter:
    """What the hypernetwork writes for a pair and a layer: ``A s + a`` with the generator of each weight."""
    net, config = model.hypernetwork, model.config
    s = projected(net, source_embedding(net, list(config.labels).index(task), config.languages.index(language), layer))
    chosen = 0 if net.options.condition_to_layer_id else layer

    def generated(name: str) -> Tensor:
        if name.startswith("norm") and not net.options.conditional_layer_norm:
            return net.get_parameter(name)[layer]
        generator = net.get_submodule(name)
        if name in ("down", "up") and net.rank is not None:
            shares = generator.coefficients.weight[chosen] @ s + generator.coefficients.bias[chosen]
            matrices, mean = generator.basis.weight[chosen].T, generator.basis.bias[chosen]
            return mean + sum(share * matrix for share, matrix in zip(shares, matrices, strict=True))
        return (generator.weight[chosen] @ s + generator.bias[chosen]).reshape(-1)

    hidden = model.encoder.config.hidden_size
    return LiteralAdapter(net.options, config.architecture.adapter_non_linearity, hidden, generated)


def plain_adapter(model: HyperX, names: list[str], layer: int) -> LiteralAdapter:
    """The mean of some plain adapters in one layer; of one, itself."""

    def mean(name: str) -> Tensor:
        weights = [model.get_parameter(f"plain_adapters.{adapter}.{name}")[layer] for adapter in names]
        return sum(weights) / len(weights)

    config = model.config
    return LiteralAdapter(
        config.hypernetwork, config.architecture.adapter_non_linearity, model.encoder.config.hidden_size, mean
    )


def plain_names(model: HyperX, kind: str, task: str, language: str) -> list[str]:
    """Which plain adapters a pair reads: its own, or all those whose mean stands in for it."""
    trained = [tuple(pair.split("#")) for pair in model.config.trained_pairs]
    if kind == "shared":
        return ["shared"]
    if kind == "task":
        tasks = sorted({t for t, _ in trained})
        return [f"task-{t}" for t in tasks if t == task or task not in tasks]
    if kind == "language":
        languages = sorted({g for _, g in trained})
        return [f"language-{g}" for g in languages if g == language or language not in languages]
    same_task = [pair for pair in trained if pair[0] == task] or trained
    return [f"pair-{t}#{g}" for t, g in ([(task, language)] if (task, language) in trained else same_task)]


def literal_adapters(model: HyperX, task: str, language: str, layer: int) -> list[LiteralAdapter]:
    """The adapters of a pair at one point, in the order in which they are applied."""
    sharing = model.config.architecture.adapters
    if sharing == "none":
        return []
    if sharing == "hypernetwork":
        return [generated_adapter(model, task, language, layer)]
    kinds = ["language", "task"] if sharing == "stacked" else [sharing]
    return [plain_adapter(model, plain_names(model, kind, task, language), layer) for kind in kinds]


def norm(module: nn.LayerNorm, x: Tensor) -> Tensor:
    """A layer norm of the encoder over rows ``[T, h]``."""
    return torch.stack([standardise(row, module.eps) * module.weight + module.bias for row in x])


def attention(layer: nn.Module, x: Tensor) -> Tensor:
    """BERT's self-attention with its residual sum and norm, head by head ``[T, h]``."""
    own = layer.attention.self
    query, key, value = (F.linear(x, part.weight, part.bias) for part in (own.query, own.key, own.value))
    heads, size = own.num_attention_heads, own.attention_head_size
    mixed = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = query[:, part] @ key[:, part].T / math.sqrt(size)
        mixed.append(torch.softmax(scores, dim=-1) @ value[:, part])
    output = layer.attention.output
    return norm(output.LayerNorm, F.linear(torch.cat(mixed, dim=-1), output.dense.weight, output.dense.bias) + x)


def in_turn(adapters: list[LiteralAdapter], x: Tensor) -> Tensor:
    """Rows ``[T, h]`` after one adapter upon the other."""
    for adapter in adapters:
        x = torch.stack([adapter(row) for row in x])
    return x


def encoder_states(model: HyperX, ids: Tensor, task: str, language: str) -> list[Tensor]:
    """Every state of one unpadded sentence ``[T]`` through an adapted BERT: the embeddings' and one a layer."""
    encoder: BertModel = model.encoder
    embeddings = encoder.embeddings
    x = embeddings.word_embeddings.weight[ids] + embeddings.position_embeddings.weight[: len(ids)]
    states = [norm(embeddings.LayerNorm, x + embeddings.token_type_embeddings.weight[0])]
    for index, layer in enumerate(encoder.encoder.layer):
        adapters = literal_adapters(model, task, language, index)
        attended = attention(layer, states[-1])
        wide = ACTIVATIONS["gelu"](F.linear(attended, layer.intermediate.dense.weight, layer.intermediate.dense.bias))
        block = F.linear(wide, layer.output.dense.weight, layer.output.dense.bias)
        if model.config.architecture.after_layer_output:
            state = in_turn(adapters, norm(layer.output.LayerNorm, block + attended))
        else:
            state = norm(layer.output.LayerNorm, in_turn(adapters, block) + attended)
        states.append(state)
    return states


def literal_output(model: HyperX, ids: Tensor, task: str, language: str) -> tuple[Tensor, Tensor]:
    """What the heads read and the logits of one unpadded sentence, ``[T, h]`` and ``[T, labels]``."""
    hidden = encoder_states(model, ids, task, language)[-1]
    return hidden, hidden @ model.heads[task].weight.T + model.heads[task].bias
