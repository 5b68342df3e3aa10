"""The hypernetwork: from task–language pairs to the adapter weights of all layers at once (Hyper-X, section 2).

::

    source  = [e_task(t) ; e_lang(g) ; e_layer(l)]                  SourceEmbedding (and e_corpus(c), if there are any)
    s       = W2 relu(W1 source + c1) + c2, scaled to length 1      SourceProjector, UnitScale
    D       = reshape(A s + a), and so on for d, U and u            Generator
    x      <- x + norm_post(U act(D norm_pre(x) + d) + u)           bottleneck_adapter
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hyperx.config import HypernetworkOptions
from hyperx.device import placed
from hyperx.errors import HyperXError
from hyperx.method.adapter import AdapterWeights, NormWeights
from hyperx.method.add_on import Use, language_shifts
from hyperx.method.source import SourceEmbedding, SourceProjector, UnitScale

PUBLISHED_STD = 0.01


class Hypernetwork(nn.Module):
    """Source embedding, source projector and generators.

    Args:
        learnt: for each task and language whether the language counts in the task's mean ``[T, G]``.
        corpora: for each task and language the index of its corpus in training, -1 for none ``[T, G]``; see
            :class:`~hyperx.method.source.SourceEmbedding`.
        layers: number L of adapted layers.
        hidden_size: hidden size h of the encoder.
        options: sizes, norms and initialisation.
        rank: number R of basis matrices of a compressed one, whose weights are then loaded.
    """

    def __init__(
        self,
        *,
        learnt: Sequence[Sequence[bool]],
        layers: int,
        hidden_size: int,
        options: HypernetworkOptions,
        rank: int | None = None,
        corpora: Sequence[Sequence[int]] = (),
    ) -> None:
        super().__init__()
        self.options, self.rank = options, rank
        self.source = SourceEmbedding(
            learnt=learnt,
            mean_for_untrained=options.mean_for_untrained,
            layers=layers if options.condition_to_layer_id else 0,
            task_dim=options.task_embedding_dim,
            language_dim=options.language_embedding_dim,
            layer_dim=options.layer_id_embedding_dim,
            dropout=options.language_dropout,
            relatives=options.relatives,
            corpora=corpora,
            corpus_dim=options.corpus_embedding_dim,
            corpus_dropout=options.corpus_dropout,
        )
        size, sets = self.source.size, 1 if options.condition_to_layer_id else layers
        self.projector: nn.Module = nn.Identity()
        if options.project_source_embeddings:
            size = options.projected_source_embedding_dim
            self.projector = SourceProjector(self.source.size, options.source_hidden_dim, size)
        self.scale = UnitScale() if options.generator_start == "scaled" else nn.Identity()

        def projection(*shape: int) -> Generator | SharedBasis:
            return Generator(size, shape, sets) if rank is None else SharedBasis(size, shape, sets, rank)

        def norm(wanted: bool) -> nn.Module | None:
            if not wanted:
                return None
            if options.conditional_layer_norm:
                return NormGenerator(size, hidden_size, sets)
            return PlainNorm(hidden_size=hidden_size, layers=layers)

        b, h = options.adapter_dim, hidden_size
        self.down, self.down_bias = projection(b, h), Generator(size, (b,), sets)
        self.up, self.up_bias = projection(h, b), Generator(size, (h,), sets)
        self.norm_pre = norm(options.add_layer_norm_before_adapter)
        self.norm_post = norm(options.add_layer_norm_after_adapter)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise projector and generators. ``published``: N(0, 0.01). ``scaled``: down-projections have a linear
        layer's usual variance 1/h, and what adapters add to the encoder is zero."""
        if self.options.generator_start == "published":
            for module in self.modules():
                if isinstance(module, nn.Linear | Generator):
                    nn.init.normal_(module.weight, std=PUBLISHED_STD)
                    nn.init.zeros_(module.bias)
            return
        if isinstance(self.down, Generator):
            nn.init.normal_(self.down.weight, std=self.down.shape[1] ** -0.5)
        for norm in (self.norm_pre, self.norm_post):
            if isinstance(norm, NormGenerator):
                nn.init.ones_(norm.weight.bias)

    def projected(self, *pairs: Tensor | None) -> Tensor:
        """What the generators read, ``s [K, L, P]`` (``[K, 1, P]`` if each layer has its own set), for K pairs as
        :meth:`~hyperx.method.source.SourceEmbedding.forward` takes them."""
        s: Tensor = self.scale(self.projector(self.source(*pairs)))
        return s

    def forward(
        self,
        tasks: Sequence[int],
        languages: Sequence[int],
        corpora: Sequence[int] | None = None,
        add_ons: Sequence[Use | None] = (),
        similar: Tensor | None = None,
    ) -> AdapterWeights:
        """The adapters of K distinct pairs in all L layers.

        Args:
            tasks: K task indices.
            languages: K language indices, -1 for a language that is not there.
            corpora: K indices of corpora, -1 for the mean; by default those that the pairs were trained on.
            add_ons: K add-ons of the pairs' languages, where there is one.
            similar: how similar languages that are not there are to those of the model ``[K, G]``.
        """
        indices = [[*given] for given in (tasks, languages, corpora) if given is not None]
        task, language, *corpus = placed(torch.tensor(indices), self.source.task.device)
        shifts = language_shifts(add_ons, self.source.language.shape[1])
        s = self.projected(task, language, corpus[0] if corpus else None, shifts, similar)
        weights = AdapterWeights(
            down=self.down(s),
            down_bias=self.down_bias(s),
            up=self.up(s),
            up_bias=self.up_bias(s),
            norm_pre=None if self.norm_pre is None else self.norm_pre(s),
            norm_post=None if self.norm_post is None else self.norm_post(s),
        )
        for row, use in enumerate(add_ons):
            if use is not None:
                weights = use[0].changed(weights, row, use[1])
        return weights

    @torch.no_grad()
    def compress(self, rank: int) -> None:
        """Replace the generators of both projections by mixtures of R matrices, the closest over all pairs.

        Raises:
            HyperXError: if they are mixtures already, or there are fewer than R matrices.
        """
        if not isinstance(self.down, Generator) or not isinstance(self.up, Generator):
            raise HyperXError(f"the generators are mixtures of {self.rank} matrices already")
        counts = (len(self.source.task), len(self.source.language), self.source.learnt_corpora.shape[1])
        ranges = [torch.arange(-1 if number == 2 else 0, count) for number, count in enumerate(counts)]
        every = torch.cartesian_prod(*ranges).to(self.source.task.device)
        training = self.training
        every_s = self.eval().projected(*every.unbind(dim=1))
        self.train(training)
        most = min(every_s[..., 0].numel(), *self.down.weight.shape[1:])
        if not 1 <= rank <= most:
            raise HyperXError(f"rank: expected 1 to {most}, what the generators can tell apart; found {rank}")
        self.down, self.up = SharedBasis.of(self.down, every_s, rank), SharedBasis.of(self.up, every_s, rank)
        self.rank = rank


# Generators -----------------------------------------------------------------------------------------------------------


class Generator(nn.Module):
    """One linear map from s to a weight of the adapter, ``reshape(A s + a)``, for all layers in one product.

    Args:
        size: size P of s.
        shape: shape of the generated weight, such as ``(b, h)``.
        sets: number of generator sets: 1 shared by all layers, or one for each of the L layers.
    """

    def __init__(self, size: int, shape: Sequence[int], sets: int) -> None:
        super().__init__()
        self.shape = tuple(shape)
        outputs = torch.Size(shape).numel()
        self.weight = nn.Parameter(torch.zeros(sets, outputs, size))
        self.bias = nn.Parameter(torch.zeros(sets, outputs))

    def forward(self, s: Tensor) -> Tensor:
        """``s [K, L, P]`` (or ``[K, 1, P]`` if each layer has its own set) to ``[K, L, *shape]``."""
        if len(self.weight) == 1:
            flat = nn.functional.linear(s, self.weight.squeeze(0), self.bias.squeeze(0))
        else:
            flat = torch.einsum("klp,lop->klo", s.expand(-1, len(self.weight), -1), self.weight) + self.bias
        return flat.view(*flat.shape[:2], *self.shape)


class SharedBasis(nn.Module):
    """A generator with few parameters, ``reshape(B (C s + c) + a)``: every weight is a mixture of the same R matrices,
    the columns of B. For the other arguments see :class:`Generator`.

    Args:
        rank: the number R.
    """

    def __init__(self, size: int, shape: Sequence[int], sets: int, rank: int) -> None:
        super().__init__()
        self.coefficients, self.basis = Generator(size, (rank,), sets), Generator(rank, shape, sets)

    @classmethod
    def of(cls, full: Generator, every_s: Tensor, rank: int) -> SharedBasis:
        """The closest one to a full generator: the principal components of the weights that it generates.

        Args:
            full: the generator ``A s + a``.
            every_s: every s to be considered ``[N, L, P]`` (``[N, 1, P]`` if each layer has its own set).
            rank: number of components.
        """
        sets, _, size = full.weight.shape
        closest = cls(size, full.shape, sets, rank).to(full.weight)
        closest.requires_grad_(full.weight.requires_grad)
        # PyTorch has no decomposition in half precision.
        rows = every_s.float().flatten(0, 1)
        mean = rows.mean(0)
        # A times this has the singular vectors of all generated weights, in P columns instead of N L.
        spread = torch.linalg.svd((rows - mean).T, full_matrices=False)
        for index, weight in enumerate(full.weight.float()):
            basis = torch.linalg.svd(weight @ (spread.U * spread.S), full_matrices=False).U[:, :rank]
            closest.basis.weight[index], closest.basis.bias[index] = basis, full.bias[index] + weight @ mean
            closest.coefficients.weight[index] = basis.T @ weight
            closest.coefficients.bias[index] = -basis.T @ weight @ mean
        return closest

    def forward(self, s: Tensor) -> Tensor:
        """``s [K, L, P]`` (or ``[K, 1, P]``) to ``[K, L, *shape]``."""
        mixed: Tensor = self.basis(self.coefficients(s))
        return mixed


def expanded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by name, those of each :class:`SharedBasis` as those of the :class:`Generator` that it equals."""
    whole = dict(tensors)
    for path in [name.removesuffix(".basis.weight") for name in tensors if name.endswith(".basis.weight")]:
        parts = [f"{path}.{own}.{part}" for own in ("basis", "coefficients") for part in ("weight", "bias")]
        if all(part in whole for part in parts):
            basis, offset, weight, bias = (whole.pop(part) for part in parts)
            whole[f"{path}.weight"] = basis @ weight
            whole[f"{path}.bias"] = offset + (basis @ bias[..., None]).squeeze(-1)
    return whole


class NormGenerator(nn.Module):
    """Weight and bias of a conditional layer norm, generated from s."""

    def __init__(self, size: int, hidden_size: int, sets: int) -> None:
        super().__init__()
        self.weight, self.bias = Generator(size, (hidden_size,), sets), Generator(size, (hidden_size,), sets)

    def forward(self, s: Tensor) -> NormWeights:
        """``s [K, L, P]`` to norms of ``[K, L, h]``."""
        return NormWeights(self.weight(s), self.bias(s))


class PlainNorm(nn.Module):
    """An ordinary layer norm in each layer, the same for every pair."""

    def __init__(self, *, hidden_size: int, layers: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(layers, hidden_size))
        self.bias = nn.Parameter(torch.zeros(layers, hidden_size))

    def forward(self, s: Tensor) -> NormWeights:
        """Norms of ``[K, L, h]`` for the K pairs of ``s [K, L, P]``."""
        return NormWeights(self.weight.expand(len(s), -1, -1), self.bias.expand(len(s), -1, -1))
