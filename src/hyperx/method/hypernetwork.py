"""The hypernetwork: from task–language pairs to the adapter weights of all layers at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hyperx.config import HypernetworkOptions
from hyperx.device import placed
from hyperx.errors import HyperXError
from hyperx.method.adapter import AdapterWeights, NormWeights
from hyperx.method.source import SourceEmbedding, SourceProjector, UnitScale

PUBLISHED_STD = 0.01


class Generator(nn.Module):
    """One linear map from s to a weight of the adapter, ``reshape(A s + a)``, for all layers in one product.

    Args:
        source_dim: size P of s.
        shape: shape of the generated weight, such as ``(b, h)``.
        layers: number of generator sets: 1 shared by all layers, or one per layer.
    """

    def __init__(self, *, source_dim: int, shape: Sequence[int], layers: int) -> None:
        super().__init__()
        self.shape = tuple(shape)
        size = torch.Size(shape).numel()
        self.weight = nn.Parameter(torch.zeros(layers, size, source_dim))
        self.bias = nn.Parameter(torch.zeros(layers, size))

    def forward(self, source: Tensor) -> Tensor:
        """``s [K, L, P]`` (or ``[K, 1, P]`` if each layer has its own set) to ``[K, L, *shape]``."""
        if self.weight.shape[0] == 1:
            flat = nn.functional.linear(source, self.weight.squeeze(0), self.bias.squeeze(0))
        else:
            flat = torch.einsum("klp,lop->klo", source.expand(-1, len(self.weight), -1), self.weight) + self.bias
        return flat.view(*flat.shape[:2], *self.shape)


class SharedBasis(nn.Module):
    """A generator with few parameters, ``reshape(B (C s + c) + a)``: every weight is a mixture of the same R matrices.

    Args:
        source_dim: size P of s.
        shape: shape of the generated weight.
        layers: number of generator sets.
        rank: number R of basis matrices, the columns of B.
    """

    def __init__(self, *, source_dim: int, shape: Sequence[int], layers: int, rank: int) -> None:
        super().__init__()
        self.coefficients = Generator(source_dim=source_dim, shape=(rank,), layers=layers)
        self.basis = Generator(source_dim=rank, shape=shape, layers=layers)
        self.shape = self.basis.shape

    @classmethod
    def of(cls, full: Generator, sources: Tensor, rank: int) -> SharedBasis:
        """The closest one to a full generator: the principal components of the weights that it generates.

        Args:
            full: the generator ``A s + a``.
            sources: every s to be considered ``[N, L, P]`` (``[N, 1, P]`` if each layer has its own set).
            rank: number of components.
        """
        sets, _, source_dim = full.weight.shape
        found = cls(source_dim=source_dim, shape=full.shape, layers=sets, rank=rank).to(full.weight)
        found.requires_grad_(full.weight.requires_grad)
        # PyTorch has no decomposition in half precision.
        sources = sources.float()
        for index, weight in enumerate(full.weight.float()):
            mean = sources.flatten(0, 1).mean(0)
            # A times this has the singular vectors of all generated weights, in P columns instead of N L.
            spread = torch.linalg.svd((sources.flatten(0, 1) - mean).T, full_matrices=False)
            basis = torch.linalg.svd(weight @ (spread.U * spread.S), full_matrices=False).U[:, :rank]
            found.basis.weight[index], found.basis.bias[index] = basis, full.bias[index] + weight @ mean
            found.coefficients.weight[index] = basis.T @ weight
            found.coefficients.bias[index] = -basis.T @ weight @ mean
        return found

    def forward(self, source: Tensor) -> Tensor:
        """``s [K, L, P]`` (or ``[K, 1, P]``) to ``[K, L, *shape]``."""
        mixed: Tensor = self.basis(self.coefficients(source))
        return mixed


class NormGenerator(nn.Module):
    """Weight and bias of a conditional layer norm, generated from s."""

    def __init__(self, *, source_dim: int, hidden_size: int, layers: int) -> None:
        super().__init__()
        self.weight = Generator(source_dim=source_dim, shape=(hidden_size,), layers=layers)
        self.bias = Generator(source_dim=source_dim, shape=(hidden_size,), layers=layers)

    def forward(self, source: Tensor) -> NormWeights:
        """``s [K, L, P]`` to norms of ``[K, L, h]``."""
        return NormWeights(self.weight(source), self.bias(source))


class PlainNorm(nn.Module):
    """An ordinary layer norm in each layer, the same for every pair."""

    def __init__(self, *, hidden_size: int, layers: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(layers, hidden_size))
        self.bias = nn.Parameter(torch.zeros(layers, hidden_size))

    def forward(self, source: Tensor) -> NormWeights:
        """Norms of ``[K, L, h]`` for the K pairs of ``s [K, L, P]``."""
        pairs = source.shape[0]
        return NormWeights(self.weight.expand(pairs, -1, -1), self.bias.expand(pairs, -1, -1))


class Hypernetwork(nn.Module):
    """Source embedding, source projector and generators (Hyper-X, section 2).

    Args:
        learnt: for each task and language whether the task has learnt the language ``[T, G]``.
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
        )
        self.projector: nn.Module = nn.Identity()
        if options.project_source_embeddings:
            self.projector = SourceProjector(
                source_dim=options.source_dim,
                hidden_dim=options.source_hidden_dim,
                projected_dim=options.generators_read,
            )
        self.scale = UnitScale() if options.generator_start == "scaled" else nn.Identity()
        self._add_generators(hidden_size, layers)
        self.reset_parameters()

    def _add_generators(self, hidden_size: int, layers: int) -> None:
        options = self.options
        source_dim = options.generators_read
        sets = 1 if options.condition_to_layer_id else layers

        def generator(*shape: int) -> Generator:
            return Generator(source_dim=source_dim, shape=shape, layers=sets)

        def projection(*shape: int) -> Generator | SharedBasis:
            if self.rank is None:
                return generator(*shape)
            return SharedBasis(source_dim=source_dim, shape=shape, layers=sets, rank=self.rank)

        def norm(wanted: bool) -> nn.Module | None:
            if not wanted:
                return None
            if options.conditional_layer_norm:
                return NormGenerator(source_dim=source_dim, hidden_size=hidden_size, layers=sets)
            return PlainNorm(hidden_size=hidden_size, layers=layers)

        self.down, self.down_bias = projection(options.adapter_dim, hidden_size), generator(options.adapter_dim)
        self.up, self.up_bias = projection(hidden_size, options.adapter_dim), generator(hidden_size)
        self.norm_pre = norm(options.add_layer_norm_before_adapter)
        self.norm_post = norm(options.add_layer_norm_after_adapter)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise the projector and the generators as ``options.generator_start`` says."""
        if self.options.generator_start == "published":
            self._start_published()
        else:
            self._start_scaled()

    def _start_published(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | Generator):
                nn.init.normal_(module.weight, std=PUBLISHED_STD)
                nn.init.zeros_(module.bias)

    def _start_scaled(self) -> None:
        """Down-projections with a linear layer's usual variance 1/h; what is added to the encoder starts at zero."""
        if isinstance(self.down, Generator):
            nn.init.normal_(self.down.weight, std=self.down.shape[1] ** -0.5)
        for norm in (self.norm_pre, self.norm_post):
            if isinstance(norm, NormGenerator):
                nn.init.ones_(norm.weight.bias)

    @torch.no_grad()
    def compress(self, rank: int) -> None:
        """Replace the generators of both projections by mixtures of R matrices, the closest over all pairs.

        Args:
            rank: number R of basis matrices.

        Raises:
            HyperXError: if they are mixtures already, or there are fewer than R matrices.
        """
        if not isinstance(self.down, Generator) or not isinstance(self.up, Generator):
            raise HyperXError(f"the generators are mixtures of {self.rank} matrices already")
        tasks, languages = len(self.source.task), len(self.source.language)
        pairs = torch.cartesian_prod(torch.arange(tasks), torch.arange(languages)).to(self.source.task.device)
        training = self.training
        sources = self.eval().read(pairs[:, 0], pairs[:, 1])
        self.train(training)
        most = min(sources[..., 0].numel(), *self.down.weight.shape[1:])
        if not 1 <= rank <= most:
            raise HyperXError(f"rank: expected 1 to {most}, what the generators can tell apart; found {rank}")
        self.down, self.up = SharedBasis.of(self.down, sources, rank), SharedBasis.of(self.up, sources, rank)
        self.rank = rank

    def read(self, tasks: Tensor, languages: Tensor) -> Tensor:
        """The generators' input for K pairs, ``s [K, L, P]`` (``[K, 1, P]`` if each layer has its own set)."""
        source: Tensor = self.scale(self.projector(self.source(tasks, languages)))
        return source

    def forward(self, tasks: Sequence[int] | Tensor, languages: Sequence[int] | Tensor) -> AdapterWeights:
        """The adapters of K distinct pairs in all L layers.

        Args:
            tasks: K task indices.
            languages: K language indices, -1 for a language that is not there.
        """
        indices = torch.stack([torch.as_tensor(tasks), torch.as_tensor(languages)])
        source = self.read(*placed(indices, self.source.task.device))
        return AdapterWeights(
            down=self.down(source),
            down_bias=self.down_bias(source),
            up=self.up(source),
            up_bias=self.up_bias(source),
            norm_pre=None if self.norm_pre is None else self.norm_pre(source),
            norm_post=None if self.norm_post is None else self.norm_post(source),
        )
