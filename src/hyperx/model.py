"""The model: a frozen encoder, the hypernetwork that writes its adapters (or plain ones), and a head for each task."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, SupportsIndex, cast, get_args

import torch
from torch import Tensor, nn

import hyperx
from hyperx import add_on_file, checkpoint, packing, typology
from hyperx.config import AddOnConfig, EncoderPart, ModelConfig, PushConfig, RunOptions
from hyperx.data.batch.windows import FastTokenizer, SubwordEncoder, Subwords, pad_windows
from hyperx.data.read.detection import AUTO
from hyperx.data.read.rows import checked_words, in_order
from hyperx.data.read.sentence import Prediction
from hyperx.device import pick_device, placed
from hyperx.encoders.dropout import use_fast_dropout
from hyperx.encoders.families import (
    encoder_layers,
    keep_layers,
    longest_input,
    norm_modules,
    prepared_mask,
    unroll_shared_layers,
)
from hyperx.encoders.injection import Injection, layer_linears, never_compiled, not_compiled
from hyperx.encoders.loading import LoadedEncoder, load_encoder
from hyperx.encoders.masked_lm import head_form
from hyperx.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    HyperXError,
    counted,
    did_you_mean,
    listing,
    not_expected,
)
from hyperx.files import checked, in_home, sha256
from hyperx.hub import Access
from hyperx.languages import canonical
from hyperx.method.adapter import Adapters, Rows, non_linearity
from hyperx.method.adapters import new_adapters
from hyperx.method.add_on import ROW_PACE, AddOn, LayerChanges, Use
from hyperx.method.hypernetwork import Hypernetwork
from hyperx.method.plain import PlainAdapters
from hyperx.pairs import TaskLanguagePair
from hyperx.prediction.predictor import PairModel, Predictor, Turn
from hyperx.prediction.request import (
    default_tasks,
    language_problem,
    predicted_tasks,
    read_texts,
    style_problems,
    task_problem,
)
from hyperx.tasks.base import HeadFacts, HeadInput, Task
from hyperx.tasks.registry import KINDS, make_tasks

if TYPE_CHECKING:
    from hyperx.encoders.families import Encoder

NEAREST = 3
"""How many languages are named of those that a mean is made of."""

Pairs = str | TaskLanguagePair | Sequence[str | TaskLanguagePair]


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """The model's output for a batch.

    Args:
        hidden: the hidden states that the heads read ``[B, T, h]``.
        logits: those of the batch's task, in its own form, such as ``[B, T, labels]`` for tags; if rows are of several
            tasks, a mapping from each task to the logits of its rows, in their order.
        loss: if labels are given, the mean of the tasks' losses, each weighted by its share of the rows.
        losses: of each task what its loss gives, from which this is made.
    """

    hidden: Tensor
    logits: Any
    loss: Tensor | None = None
    losses: Mapping[str, Tensor] = field(default_factory=dict)


class Named(nn.ModuleDict):
    """Modules by name. They are no attributes, so one may be named like one: the task ``type``, the language ``to``."""

    def __setitem__(self, name: str, module: nn.Module) -> None:
        self._modules[name] = module

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


class HyperX(nn.Module):
    """Encoder + hypernetwork + heads (Hyper-X, figure 1); or with plain adapters, or none, instead.

    The hypernetwork or the plain adapters, the heads and the encoder's layer norms are trained (without adapters the
    whole encoder); all else is frozen.

    Args:
        encoder: a model of the Hugging Face library; layers above the one that the heads read are dropped from it.
        config: the configuration of the model.
    """

    tokenizer: FastTokenizer | None = None
    folder: Path | None = None
    """The checkpoint that it was loaded from."""
    learns: str | None = None
    """The language whose add-on alone is trained and saved, if one is."""

    def __init__(self, encoder: Encoder, config: ModelConfig) -> None:
        super().__init__()
        kinds = config.kinds
        problems = [
            f"there is no task {kind!r}; there are {', '.join(KINDS)}.{did_you_mean(kind, KINDS)}"
            for kind in kinds.values()
            if kind not in KINDS
        ]
        if set(kinds) != set(config.labels):
            problems.append(f"expected labels of {', '.join(kinds)}; found those of {', '.join(config.labels)}")
        if problems:
            raise ConfigError(problems)
        checked(config.to_json(), ModelConfig, "config")
        unroll_shared_layers(encoder)
        shape, depth = config.architecture, len(encoder_layers(encoder))
        if isinstance(shape.head_layer, int):
            if not 1 <= shape.head_layer <= depth:
                raise ConfigError([f"--head_layer: the encoder has layers 1 to {depth}; found {shape.head_layer}"])
            keep_layers(encoder, shape.head_layer)
            depth = shape.head_layer
        self.config = config
        self.encoder = encoder
        self.turn, self.told = Turn(), set[str]()  # of the threads that predict, and languages that were told of
        auxiliary = [name for name, kind in config.kinds.items() if KINDS[kind].auxiliary]
        writer = new_adapters(config, auxiliary, layers=depth, hidden_size=encoder.config.hidden_size)
        self.hypernetwork = writer if isinstance(writer, Hypernetwork) else None
        self.plain_adapters = writer if isinstance(writer, PlainAdapters) else None
        self.tasks: Mapping[str, Task] = make_tasks(config.kinds)
        vocabulary, width = self.word_embeddings.shape
        facts = HeadFacts(encoder.config.hidden_size, width, vocabulary, shape, *head_form(encoder.config))
        self.heads = Named({name: task.head(facts, config.labels[name]) for name, task in self.tasks.items()})
        self.add_ons = Named({canonical(one.language): self._new_add_on(one) for one in config.add_ons})
        # Two activations have weights; those of one are in half precision.
        with torch.device("cpu"):  # one of them has constants
            self.activation = non_linearity("linear" if writer is None else shape.adapter_non_linearity).float()
        self.injection = Injection(encoder, activation=self.activation, after_layer_output=shape.after_layer_output)
        use_fast_dropout(encoder)
        self.train_encoder("all" if writer is None else "norms")

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path | None = None,
        *,
        encoder: str | Path | None = None,
        add_ons: str | Path | Iterable[str | Path] = (),
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
    ) -> HyperX:
        """Load a checkpoint around its encoder, in evaluation mode.

        Args:
            folder: a checkpoint, or an output folder, whose best checkpoint is used; or the name of a ready-made model
                (``hyperx models``), by default the package's default one; or a model of the hub, ``owner/name`` or
                ``owner/name@revision``. What is on this machine goes first.
            encoder: where the encoder is now, if it has moved since training.
            add_ons: files of add-ons, see :meth:`load_add_on`.
            revision: of a model of the hub: a branch, a tag or a commit.
            cache_dir: the hub's cache, if it is another one.
            token: for the hub, if it is another one than that of the environment or of ``hf auth login``.
            local_files_only: only look into the hub's cache.

        Raises:
            CheckpointError: if the checkpoint or an add-on is incomplete or does not fit, cannot be fetched, or the
                encoder is another.
            EncoderError: if the encoder cannot be loaded.
        """
        access = Access(revision=revision, cache_dir=cache_dir, token=token, local_files_only=local_files_only)
        path = checkpoint.resolve(None if folder is None else _path("folder", folder), access)
        access = replace(access, revision=None)
        config = checkpoint.read_config(path)
        tensors = checkpoint.read_tensors(path)
        if encoder is not None:
            _path("encoder", encoder)
        name = os.fspath(encoder or config.encoder)
        loaded = _same_encoder(name, config, path, access)
        if Path(name) != (path / checkpoint.ENCODER).resolve():  # only one inside may have come without a tokenizer
            loaded.checked_tokenizer()
        if (limit := longest_input(loaded.model)) is not None and config.max_length > limit:
            found = f"max_length: the encoder reads at most {limit} subwords; found {config.max_length}"
            raise CheckpointError(f"{path / checkpoint.CONFIG}: {found}")
        if len(config.add_ons) > len(tensors):
            raise CheckpointError(f"{path} is damaged: it has {len(config.add_ons)} add-ons and {len(tensors)} tensors")
        with torch.device("meta"):  # no memory is allocated for what the file has no weights for
            model = cls(loaded.model, replace(config, encoder=loaded.name))
        model.tokenizer, model.folder = loaded.tokenizer, path
        outside = [name for name, _ in model.named_parameters() if not name.startswith("encoder.")]
        model.load_tensors(tensors, [*outside, *(config.trained_inside or ())])
        for file in [add_ons] if isinstance(add_ons, str | Path) else add_ons:
            model.load_add_on(add_on_file.located(_path("add_ons", file), access))
        return model.eval()

    @property
    def expected(self) -> str:
        """What it scored in languages without training data, by the results beside its checkpoint, in words."""
        measures = {name: task.measure for name, task in self.tasks.items()}
        scores: dict[str, list[float]] = {}
        found = {} if self.folder is None else checkpoint.read_scores(self.folder, measures)
        for (task, _), (group, value) in found.items():
            if group == "new_language":
                scores.setdefault(task, []).append(value)
        languages = {task: counted(len(own), "language") for task, own in scores.items()}
        return ", ".join(f"{task} {100 * fmean(own):.0f} ({languages[task]})" for task, own in scores.items())

    def trained_names(self) -> list[str]:
        """Parameters that a checkpoint holds: all outside the encoder, and those inside it that are or were trained; of
        a model that learns a language, those of its add-on."""
        if self.learns is not None:
            return [name for name, _ in self.named_parameters() if name.startswith(f"add_ons.{self.learns}.")]
        before = self.config.trained_inside or ()
        return [
            name
            for name, parameter in self.named_parameters()
            if parameter.requires_grad or not name.startswith("encoder.") or name in before
        ]

    def save_files(
        self, folder: Path, *, bits: int = 32, encoder_bits: int | None = None, stored: packing.Tensors | None = None
    ) -> None:
        """Write the configuration and the trained weights into an existing folder; see ``packing.packed``."""
        own = dict(self.named_parameters())
        state: Mapping[str, Tensor] = {name: own[name] for name in self.trained_names()}
        inside = tuple(name for name in state if name.startswith("encoder."))
        before: dict[str, Tensor] = {}
        if (bits, encoder_bits) != (32, None) and any(own[name].dim() > 1 for name in inside):
            encoder = _same_encoder(self.config.encoder, self.config, "the model").model
            unroll_shared_layers(encoder)
            before = dict(encoder.named_parameters(prefix="encoder"))
        state = packing.packed(state, before, bits=bits, encoder_bits=encoder_bits, stored=stored)
        checkpoint.save_model(folder, replace(self.config, trained_inside=inside), state)

    def save_pretrained(self, folder: str | Path, *, bits: int = 32, encoder_bits: int | None = None) -> None:
        """Save a checkpoint that :meth:`from_pretrained` reads: what was trained, not the encoder.

        Args:
            folder: new or empty, or one that this method wrote; a CheckpointError says what else would be lost.
            bits: 8 stores matrices as whole numbers with a scale for each row; of trained layers of the encoder, what
                changed is stored so.
            encoder_bits: 2, 8 or 32, of the entries of what changed; by default ``bits``.
        """
        path = _path("folder", folder).resolve()
        inside = path.iterdir() if path.is_dir() else [path] if path.exists() else []
        if other := sorted({one.name for one in inside} - {checkpoint.CONFIG, checkpoint.WEIGHTS}):
            raise CheckpointError(f"{path} holds {listing(other, most=3)}, which would be lost; name a new folder")
        checkpoint.write_folder(path, partial(self.save_files, bits=bits, encoder_bits=encoder_bits))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        add_ons: str | Path | Iterable[str | Path] = (),
        commit_message: str | None = None,
        private: bool = False,
        revision: str | None = None,
        token: str | bool | None = None,
        license: str | None = None,
        bits: int = 32,
        encoder_bits: int | None = None,
    ) -> str:
        """Write the model, and a card made from what its checkpoint records, into a repository of the hub.

        The scores of its checkpoint are told if the weights are still the same. ``hyperx push`` writes a checkpoint as
        it is.

        Args:
            repo_id: ``owner/name``; it is made if there is none.
            add_ons: files of add-ons of the weights that are written, named ``*.addon``.
            commit_message, private, revision, token: as of the Hugging Face libraries; ``revision`` is a branch.
            license: that of the model, by the hub's name; by default that of all training data, if it is one and known.
            bits, encoder_bits: see :meth:`save_pretrained`.

        Returns:
            The address of the commit.

        Raises:
            CheckpointError: if an add-on is damaged, or one of another model.
            HyperXError: if the repository cannot be written, with the reason.
        """
        from hyperx import sharing

        with tempfile.TemporaryDirectory() as name:
            staged, before = Path(name), self.folder
            self.save_files(staged, bits=bits, encoder_bits=encoder_bits)
            inside = before is not None and Path(self.config.encoder) == (before / checkpoint.ENCODER).resolve()
            if before is not None:
                same = sha256(before / checkpoint.WEIGHTS) == sha256(staged / checkpoint.WEIGHTS)
                told = (checkpoint.DATA, checkpoint.OPTIONS, checkpoint.RUN, *[checkpoint.RESULTS] * same)
                for path in (before / name for name in told):
                    if path.is_file():
                        shutil.copyfile(path, staged / path.name)
            if before is not None and inside:
                shutil.copytree(before / checkpoint.ENCODER, staged / checkpoint.ENCODER)
            files = [add_ons] if isinstance(add_ons, str | Path) else add_ons
            config = PushConfig(
                folder=staged,
                repo=repo_id,
                add_on=tuple(_path("add_ons", file) for file in files),
                model_name_or_path=checkpoint.INSIDE if inside else None,
                license=license,
                private=private,
                revision=revision,
                message=commit_message,
            )
            return sharing.push(config, token=token)

    def load_tensors(self, tensors: Mapping[str, Tensor], names: Sequence[str] | None = None) -> None:
        """Load weights, which must have exactly these names (by default those of :meth:`trained_names`); raises a
        CheckpointError that names what is missing, unexpected or of another shape or type."""
        own, expected = dict(self.named_parameters()), self.trained_names() if names is None else names
        faults = list[str]()
        tensors = packing.restored(tensors, own, faults)
        faults += [f"missing: {name}" for name in expected if name not in tensors]
        faults += [f"unexpected: {name}" for name in tensors if name not in expected or name not in own]
        weights = {name: [(own[name], tensor)] for name, tensor in tensors.items() if name in own}
        checkpoint.copy_weights(weights, faults, "the weights do not fit the model")
        unplaced = {name: tensors[name] for name, parameter in own.items() if parameter.is_meta}
        self.load_state_dict(unplaced, strict=False, assign=True)

    def checked_tokenizer(self) -> FastTokenizer:
        """The encoder's tokenizer; raises a HyperXError if the model has none."""
        if self.tokenizer is None:
            raise HyperXError("the model has no tokenizer: set model.tokenizer, or load it with HyperX.from_pretrained")
        return self.tokenizer

    @property
    def word_embeddings(self) -> Tensor:
        """The encoder's word embeddings ``[V, E]``."""
        return cast(Tensor, self.encoder.get_input_embeddings().weight)

    def inputs(self, sentences: Iterable[Iterable[str]]) -> dict[str, Tensor]:
        """``input_ids``, ``attention_mask`` and ``words`` of :meth:`forward`, each ``[B, T]``, for sentences as words.

        Raises:
            HyperXError: if a sentence is longer than a window; :meth:`predict` splits such sentences.
            DataError: if there is no sentence, or one is not a sequence of words.
        """
        tokenizer, checked = self.checked_tokenizer(), list[tuple[str, ...]]()
        for number, sentence in enumerate(in_order(sentences) or (), start=1):
            try:
                checked.append(checked_words(sentence))
            except DataError as error:
                raise DataError(f"sentence {number}: {error.message}") from error
        if not all(checked) or not checked:
            raise DataError(f"sentences: expected one or more, each a list of words; found {str(sentences)[:60]!r}")
        with self.turn:
            encoder = SubwordEncoder(tokenizer, max_length=self.config.max_length)
            windows = encoder.windows(checked)
        for number, own in enumerate(windows, start=1):
            if len(own) > 1:
                most = f"expected at most {self.config.max_length} subwords, found more"
                raise HyperXError(f"sentence {number}: {most}; cut it, or use predict, which does")
        tensors = pad_windows([window for (window,) in windows], Subwords.of(tokenizer).pad)
        ids, mask, words = (tensor.to(self.word_embeddings.device) for tensor in tensors)
        return {"input_ids": ids, "attention_mask": mask, "words": words}

    def predict(
        self: PairModel,
        texts: Iterable[str | Iterable[str]],
        *,
        task: str | Iterable[str] | None = (),
        language: str,
        text_pairs: Iterable[str] | None = None,
        like: str | None = None,
        style: str | None = None,
        confidences: bool = False,
        batch_size: int = 32,
    ) -> list[Prediction]:
        """Label texts or their words, for any of the model's tasks and any language, trained or not.

        Threads may share a model that is not trained meanwhile: their calls take turns.

        Args:
            texts: raw texts, which are segmented into words if a task needs them, or sequences of words, in anything
                that has an order.
            task: the task, or several; by default all that were trained and predict anything.
            language: the language of all texts, or ``auto`` to detect that of each (extra ``detect``).
            text_pairs: the second text of each, for tasks that read two, such as a hypothesis to each premise.
            like: the language as which to tag them, such as a related one that the model was trained on.
            style: the corpus whose annotation to follow, one of ``config.corpus_names``; by default that of the pair's
                training data, or what all corpora of the task have in common.
            confidences: also give the probability of each label.
            batch_size: windows in a batch; the labels do not depend on it.

        Raises:
            HyperXError: if an argument is of the wrong kind, the model has no such task, the task predicts nothing, the
                code names no language, the model has no such style, or ``texts`` and ``text_pairs`` differ in number.
            DataError: if a text has no word, is neither a text nor words, or cannot be segmented.
        """
        names = (task,) if isinstance(task, str) else in_order(() if task is None else task)
        if names is None or not all(isinstance(name, str) for name in names):
            raise not_expected("task", f"tasks such as {', '.join(self.tasks)}", task)
        if not isinstance(language, str):
            raise not_expected("language", "one code for all texts, such as 'en', or 'auto'", language)
        if not isinstance(like, str | None):
            raise not_expected("like", "the code of a language, such as 'en'", like)
        if not isinstance(batch_size, SupportsIndex):
            raise not_expected("batch_size", "a whole number", batch_size)
        if int(batch_size) < 1:
            raise HyperXError(f"batch_size: expected 1 or more; found {batch_size}")
        tasks, predictor = predicted_tasks(self.config, names), Predictor(self)
        if like is not None or language != AUTO:
            predictor.tell_language(like or language)
        for problem in style_problems(self.config, style, tasks):
            raise HyperXError(problem)
        reads = {self.tasks[name].reads for name in tasks}
        sentences = read_texts(texts, text_pairs, language=language, reads=reads)
        return list(
            predictor.predict(
                sentences,
                tasks=tasks,
                language=like or (language if language != AUTO else [str(one.language) for one in sentences]),
                style=style,
                confidences=confidences,
                batch_size=batch_size,
            )
        )

    def train_encoder(self, part: EncoderPart) -> None:
        """Train only the encoder's layer norms (Hyper-X, section 2), all but its embeddings, or all of it."""
        if part not in get_args(EncoderPart):
            raise not_expected("part", " or ".join(map(repr, get_args(EncoderPart))), part)
        self.encoder.requires_grad_(part != "norms")
        if part == "layers":
            for module in self.encoder.modules():
                if isinstance(module, nn.Embedding):
                    module.requires_grad_(False)
        for _, norm in norm_modules(self.encoder):
            norm.requires_grad_(True)

    def compress(self, rank: int) -> None:
        """Generate both projections as mixtures of R matrices, with about R / P of the hypernetwork's parameters.

        Args:
            rank: number R of basis matrices, the principal components of the adapters of all pairs of the model.

        Raises:
            HyperXError: if the model has no hypernetwork, it is compressed already, or there are fewer than R
                components.
        """
        if not isinstance(rank, int):
            raise not_expected("rank", "a whole number", rank)
        if problem := self.config.incompressible:
            raise HyperXError(problem)
        assert self.hypernetwork is not None
        self.hypernetwork.compress(rank)
        self.config = replace(self.config, generator_rank=rank)

    # Add-ons ----------------------------------------------------------------------------------------------------------

    def _new_add_on(self, config: AddOnConfig) -> AddOn:
        if self.hypernetwork is None:
            adapters = self.config.architecture.adapters
            raise HyperXError(f"the model's adapters are {adapters}: add-ons are changes of what a hypernetwork writes")
        for task in config.tasks:
            if problem := task_problem(self.config, task):
                raise HyperXError(problem)
            if config.labels.get(task) and not getattr(self.heads[task], "takes_rows", False):
                raise HyperXError(f"{task}: its head takes no labels beside its own: {', '.join(config.labels[task])}")
        layers, hidden_size = len(encoder_layers(self.encoder)), self.encoder.config.hidden_size
        options, languages = self.config.hypernetwork, self.config.languages
        is_new = canonical(config.language) not in self.config.places
        add_on = AddOn(
            tasks=len(config.pairs),
            language_dim=options.language_embedding_dim,
            layers=layers,
            hidden_size=hidden_size,
            adapter_dim=options.adapter_dim,
            rank=config.rank,
            labels=[self._changed_labels(config, task) for task in config.tasks],
            linears=[(one.in_features, one.out_features) for one in layer_linears(encoder_layers(self.encoder))],
            layer_rank=config.layer_rank,
            near=len(languages) if options.relatives and is_new else 0,
        )
        return add_on.to(self.hypernetwork.source.language)

    def _changed_labels(self, config: AddOnConfig, task: str) -> tuple[int, int]:
        """How many labels of a task's linear head an add-on changes, and how many it has that the model lacks."""
        new = len(config.labels.get(task, ()))
        linear = getattr(self.heads[task], "takes_rows", False) and (config.rank or new)
        return len(self.config.labels[task]) if linear else 0, new

    def learn_language(self, config: AddOnConfig, *, anew: bool = True) -> None:
        """Freeze all but a language's add-on, which alone is trained and saved from now on: a new one, which changes
        nothing yet, or that which the model has.

        Raises:
            HyperXError: if the model has no hypernetwork, or no such task.
        """
        self.learns = canonical(config.language)
        if anew:
            add_on = self._new_add_on(config)
            if add_on.near.numel() and (near := self._similarities(config.language)) is not None:
                add_on.near.data.copy_(near)
            self.add_ons[self.learns] = add_on
        self.config = self.config.with_add_on(config)
        self.requires_grad_(False)
        cast(AddOn, self.add_ons[self.learns]).learn()

    def load_add_on(self, file: str | Path) -> None:
        """Read what was learnt of a language beside this model; it takes the place of what the model had learnt so of
        the same language before. All other languages stay as they are. Threads may predict meanwhile: their calls read
        it from their next pool of sentences on.

        Args:
            file: what ``hyperx adapt`` wrote, here or on the hub (``owner/name/gsw.addon``).

        Raises:
            CheckpointError: if the file is damaged, no add-on, or one of another model.
        """
        path = add_on_file.located(_path("file", file))
        header, tensors = add_on_file.read_header(path), add_on_file.read_tensors(path)
        for problem in add_on_file.misfits(path, header, self.config, self._weights()):
            raise CheckpointError(problem)
        ranks = [*tensors.get("down_in", torch.empty(0)).shape[2:3], *tensors.get("layer_in", torch.empty(0)).shape[:1]]
        if ranks != (wanted := [header.add_on.rank, header.add_on.layer_rank]):  # before there is room made for it
            raise CheckpointError(f"{path} is damaged: expected matrices of ranks {wanted}, found {ranks}")
        add_on = self._new_add_on(header.add_on)
        own = dict(add_on.named_parameters())
        faults = [f"missing: {name}" for name in own if name not in tensors]
        faults += [f"unexpected: {name}" for name in tensors if name not in own]
        copied = {name: [(own[name], tensor.to(own[name].dtype))] for name, tensor in tensors.items() if name in own}
        checkpoint.copy_weights(copied, faults, f"{path} does not fit the model")
        with self.turn:
            self.add_ons[canonical(header.add_on.language)] = add_on
            self.config = self.config.with_add_on(header.add_on)

    def save_add_on(self, language: str, file: str | Path) -> None:
        """Write what was learnt of a language beside the model's own weights, in 8 bits.

        Raises:
            HyperXError: if the model has no add-on for it, or comes from no checkpoint, to which it would belong.
        """
        key = canonical(language)
        if key not in self.add_ons:
            raise HyperXError(f"the model has no add-on for {language}; it has {', '.join(self.add_ons) or 'none'}")
        config = self.config.add_on_for(language)
        assert config is not None
        header = add_on_file.AddOnHeader(add_on=config, weights=self._weights(), hyperx=hyperx.__version__)
        add_on_file.write_add_on(_path("file", file), header, dict(self.add_ons[key].named_parameters()))

    def remove_add_on(self, language: str) -> None:
        """Forget what was learnt of a language beside the model's own weights; threads may predict meanwhile."""
        with self.turn:
            self.add_ons.pop(canonical(language))
            left = tuple(one for one in self.config.add_ons if canonical(one.language) in self.add_ons)
            self.config = replace(self.config, add_ons=left)

    def _weights(self) -> str:
        """What identifies the weights of the checkpoint that the model comes from."""
        if self.folder is None:
            raise HyperXError("the model comes from no checkpoint, to which an add-on would belong: save and load it")
        return sha256(self.folder / checkpoint.WEIGHTS)

    def _use(self, pair: TaskLanguagePair) -> Use | None:
        """The add-on that a pair reads, and which of its tasks that is."""
        if (config := self.config.add_on_of(pair)) is None:
            return None
        return cast(AddOn, self.add_ons[pair.key[1]]), config.tasks.index(pair.task)

    def _logits(self, pairs: Sequence[TaskLanguagePair], given: HeadInput) -> Any:
        """The logits of a task's rows. What an add-on changes of the head is its pair's own."""
        task, distinct = pairs[0].task, [*dict.fromkeys(pairs)] if self.config.add_ons else []
        if (added := self.head_rows(task, distinct)) is not None:
            places = torch.tensor([distinct.index(pair) for pair in pairs])
            given = replace(given, rows=added[placed(places, given.hidden.device)])
        return self.heads[task](given)

    def head_rows(self, task: str, pairs: Sequence[TaskLanguagePair]) -> Tensor | None:
        """What add-ons add to the weights and biases of a task's head for K pairs ``[K, labels, h + 1]``; None if they
        add nothing. The bias is -inf at labels that only others of the pairs have."""
        uses = [self._use(pair) if pair.task == task else None for pair in pairs]
        own = [None if use is None else ROW_PACE * use[0].rows[use[1]] for use in uses]
        some = [rows for rows in own if rows is not None and len(rows)]
        if not some:
            return None
        nothing, most = torch.zeros_like(some[0][: len(self.config.labels[task])]), max(map(len, some))
        added = [nothing if rows is None or not len(rows) else rows for rows in own]
        lacking = nn.functional.pad(nothing.new_zeros(most, nothing.shape[1] - 1), (0, 1), value=-torch.inf)
        return torch.stack([torch.cat([rows, lacking[len(rows) :]]) for rows in added])

    def layer_changes(self, pairs: Sequence[TaskLanguagePair]) -> LayerChanges | None:
        """What add-ons change of the encoder's layers for K distinct pairs; None if they change nothing."""
        uses = [self._use(pair) for pair in pairs] if self.config.add_ons else []
        changes = LayerChanges.of([None if use is None else use[0] for use in uses])
        if changes is not None:
            self.injection.reach_layers()
        return changes

    def adapters(self, pairs: Sequence[TaskLanguagePair], style: str | None = None) -> Adapters | None:
        """The adapters of K distinct pairs for all layers, generated or plain; None if the model has none.

        What a pair reads that was not trained, or whose language the model does not have, says
        :class:`~hyperx.method.source.SourceEmbedding` or :class:`~hyperx.method.plain.PlainAdapters`. With a style, the
        pairs of tasks that have learnt that corpus read its embedding.

        Raises:
            HyperXError: if the model has no such task, or a code names no language.
        """
        indices = [*zip(*map(self._indices, pairs), strict=True)]
        if style is not None:
            for problem in style_problems(self.config, style, ()):
                raise HyperXError(problem)
            indices.append((self.config.corpus_names.index(style),) * len(pairs))
        uses = [self._use(pair) for pair in pairs]
        if self.hypernetwork is not None:
            add_ons = uses if any(uses) else ()
            return cast(Adapters, self.hypernetwork(*indices, add_ons=add_ons, similar=self._similar(pairs)))
        return None if self.plain_adapters is None else cast(Adapters, self.plain_adapters(*indices))

    def reads(self, pair: str | TaskLanguagePair) -> dict[str, float]:
        """The languages of whose embeddings that is made which a pair reads, with their shares, the greatest first:
        its own, or those of a mean; none if the model has no hypernetwork.

        Raises:
            HyperXError: if the model has no such task, or the code names no language.
        """
        pair = TaskLanguagePair.parse(pair)
        task, language = self._indices(pair)
        if self.hypernetwork is None:
            return {}
        source, languages = self.hypernetwork.source, self.config.languages
        if language >= 0 and (bool(source.learnt[task, language]) or not source.mean_for_untrained):
            return {languages[language]: 1.0}
        indices = placed(torch.tensor([[task], [language]]), source.task.device)
        with self.turn, torch.inference_mode():
            weights = source.language_weights(indices[0], indices[1], self._similar([pair]))[0]
        shares = (weights / weights.sum()).tolist()
        return {languages[row]: shares[row] for row in weights.argsort(descending=True).tolist() if shares[row] > 0}

    def shares(self, language: str, tasks: Iterable[str]) -> str:
        """The greatest of the shares of what tasks read in a language, in words: ``pos dep: de 31%, nl 15%; ner: de 50%
        ...``; nothing if the model has no hypernetwork."""
        of: dict[str, list[str]] = {}
        for task in tasks:
            shares = [*self.reads(TaskLanguagePair(task, language)).items()][:NEAREST]
            of.setdefault(", ".join(f"{name} {share:.0%}" for name, share in shares), []).append(task)
        return "; ".join(f"{' '.join(own)}: {shares}" for shares, own in of.items() if shares)

    def made_of(self, language: str) -> str:
        """What a language without training data reads, in words."""
        if self.hypernetwork is None or self.hypernetwork.source.similarity is None:
            is_new = canonical(language) not in self.config.places
            return "the mean of the trained languages" if self.hypernetwork and is_new else self.config.stand_in
        absent = canonical(language) not in self.config.places
        if absent and typology.data_folder() is None:
            return f"the mean of the trained languages; {typology.WEIGHS}"
        has = self.config.add_on_of
        tasks = [task for task in default_tasks(self.config) if has(TaskLanguagePair(task, language)) is None]
        return f"a mean, the greatest shares for {self.shares(language, tasks)}"

    @never_compiled
    def _similar(self, pairs: Sequence[TaskLanguagePair]) -> Tensor | None:
        """How similar languages that the model does not have are to those of the model ``[K, G]``, if the package that
        knows is there; None if the model asks for nothing of it."""
        similarity = None if self.hypernetwork is None else self.hypernetwork.source.similarity
        if similarity is None:
            return None
        absent = {pair.key[1] for pair in pairs}.difference(self.config.places)
        if not absent:
            return None
        rows = similarity.new_zeros(len(pairs), len(self.config.languages))
        for row, pair in enumerate(pairs):
            if (language := pair.key[1]) not in absent:
                continue
            if self.config.add_on_of(pair) is not None:
                rows[row] = cast(Tensor, self.add_ons[language].near)
            elif (near := self._similarities(language)) is not None:
                rows[row] = near
        return rows

    def _similarities(self, language: str) -> Tensor | None:
        """How similar a language is to those of the model ``[G]``; None if the package that knows is not there."""
        if typology.data_folder() is None:
            return None
        return torch.from_numpy(typology.similarities([language, *self.config.languages])[0, 1:])

    @never_compiled
    def _indices(self, pair: TaskLanguagePair) -> tuple[int, int]:
        """Indices of a pair's task and language, which may be spelled in any standard form; -1 for another language."""
        problem = task_problem(self.config, pair.task) or language_problem(self.config, pair.language)
        if problem:
            raise HyperXError(problem)
        return list(self.tasks).index(pair.task), self.config.places.get(canonical(pair.language), -1)

    @not_compiled
    def forward(
        self,
        pairs: Pairs,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        labels: Tensor | Mapping[str, Tensor] | None = None,
        words: Tensor | None = None,
        adapters: Adapters | None = None,
    ) -> ModelOutput:
        """Run a batch, each row with the adapter and the head of its pair.

        Args:
            pairs: the pair of every row, or one for all.
            input_ids: subword ids ``[B, T]``.
            attention_mask: 1 for subwords, 0 for padding ``[B, T]``; None if nothing is padded.
            labels: the labels of every row, on any device, in the form of its task: for tags label ids at the first
                subword of each word, -100 elsewhere ``[B, T]``; for ``mlm`` the ids of the subwords to predict, -100
                elsewhere ``[B, T]``; for ``dep`` head and relation of each word ``[B, W, 2]``; for ``cls`` label ids
                ``[B]``. If the forms of several tasks differ, a mapping from each task to the labels of its rows.
            words: for each subword the index of its word, -1 for special ones and padding ``[B, T]``; ``dep`` and
                ``cls`` need it.
            adapters: what :meth:`adapters` returned for the batch's distinct pairs in order of first appearance, to
                avoid generating them again.
        """
        row_pairs = _checked_rows(pairs, input_ids, attention_mask=attention_mask, words=words)
        distinct, rows = list(dict.fromkeys(row_pairs)), None
        if len(distinct) > 1:
            rows = Rows.of([distinct.index(pair) for pair in row_pairs], input_ids.device)
        weights = self.adapters(distinct) if adapters is None else adapters
        if not isinstance(weights, Adapters | None):
            raise not_expected("adapters", "those that model.adapters returns", weights)
        if weights is not None and weights.pairs != len(distinct):
            names = ", ".join(map(str, distinct))
            raise HyperXError(f"expected the adapters of {names}; found those of {weights.pairs} pairs")
        inputs = {"input_ids": input_ids, "attention_mask": prepared_mask(self.encoder, input_ids, attention_mask)}
        try:
            hidden = self.injection.encode(self.encoder, inputs, weights, rows, self.layer_changes(distinct))
        except IndexError as error:  # of its embeddings; only looked into now, as a look waits for the device
            low, high = int(input_ids.min()), int(input_ids.max())
            expected = f"ids from 0 to {len(self.word_embeddings) - 1}, and no more of them than the encoder reads"
            found = f"{low} to {high}, {input_ids.shape[1]} in a row"
            raise HyperXError(f"input_ids: expected {expected}; found {found}") from error
        by_task: dict[str, list[int]] = {}
        for row, pair in enumerate(row_pairs):
            by_task.setdefault(pair.task, []).append(row)
        given, logits, losses, loss = _labels_by_task(labels, by_task), {}, {}, None
        for task, own in by_task.items():
            wanted = given.get(task)
            if wanted is not None and not self.tasks[task].counts_labels:
                wanted = placed(wanted, hidden.device)
            own_words = None if words is None else _part(words, own)
            given_to_head = HeadInput(_part(hidden, own), own_words, self.word_embeddings, wanted)
            logits[task] = self._logits([row_pairs[row] for row in own], given_to_head)
            if wanted is not None:
                try:
                    if wanted.is_floating_point():
                        raise ValueError("they are no whole numbers")
                    losses[task] = self.tasks[task].loss(logits[task], wanted)
                    part = len(own) / len(row_pairs) * losses[task].sum()
                except (ValueError, IndexError) as error:
                    found = f"{list(wanted.shape)}, {wanted.dtype}: {error}"
                    raise HyperXError(f"labels: expected label ids in the form of {task}; found {found}") from error
                loss = part if loss is None else loss + part
        return ModelOutput(hidden, logits if len(logits) > 1 else next(iter(logits.values())), loss, losses)


def load(folder: str | Path | None, options: RunOptions, add_ons: Sequence[Path] = ()) -> HyperX:
    """A checkpoint on the device and with the encoder that options name; errors as :meth:`HyperX.from_pretrained`."""
    model = HyperX.from_pretrained(folder, encoder=options.model_name_or_path, add_ons=add_ons)
    return model.to(pick_device(no_cuda=options.no_cuda))


def _path(name: str, value: str | os.PathLike[str]) -> Path:
    """An argument that is a path, with ``~`` expanded; raises a HyperXError if it is something else."""
    if not isinstance(value, str | os.PathLike) or "\0" in os.fspath(value):
        raise not_expected(name, "a path", value)
    return in_home(os.fspath(value))


def _same_encoder(name: str, config: ModelConfig, trained: object, access: Access = Access()) -> LoadedEncoder:
    """The encoder in a place; raises a CheckpointError if what was trained was trained on a different one."""
    loaded = load_encoder(name, access)
    if loaded.content_hash != config.encoder_hash:
        raise CheckpointError(
            f"{trained} was trained on the encoder {config.encoder!r} with content {config.encoder_hash[:12]}; "
            f"{loaded.name!r} has {loaded.content_hash[:12]}: name the same encoder with --model_name_or_path"
        )
    return loaded


def _checked_rows(pairs: Pairs, input_ids: Tensor, **others: Tensor | None) -> list[TaskLanguagePair]:
    """The pair of each row of a batch, given one for all or one for each; raises a HyperXError if an input of
    :meth:`HyperX.forward` is no tensor ``[B, T]``, or there are more or fewer pairs than rows, or no rows."""
    if not isinstance(input_ids, Tensor) or input_ids.dim() != 2 or input_ids.is_floating_point():
        raise not_expected("input_ids", "a tensor [B, T] of whole numbers", input_ids)
    for name, tensor in others.items():
        if not isinstance(tensor, Tensor | None):
            raise not_expected(name, "a tensor [B, T]", tensor)
        if tensor is not None and tensor.shape != input_ids.shape:
            raise HyperXError(f"{name}: expected {list(input_ids.shape)}, as of input_ids; found {list(tensor.shape)}")
    count = len(input_ids)
    if not count:
        raise HyperXError("input_ids: expected one row or more; found none")
    if isinstance(pairs, str | TaskLanguagePair):
        return [TaskLanguagePair.parse(pairs)] * count
    if not isinstance(pairs, Sequence):
        raise not_expected("pairs", "one pair, such as 'ner#en', or one for each row", pairs)
    if len(pairs) != count:
        raise HyperXError(f"pairs: expected one pair, or one for each of the {count} rows; found {len(pairs)}")
    return [TaskLanguagePair.parse(pair) for pair in pairs]


def _part(tensor: Tensor, rows: Sequence[int]) -> Tensor:
    """Some rows of a tensor, in ascending order."""
    if len(rows) == len(tensor):
        return tensor
    if len(rows) == rows[-1] + 1 - rows[0]:
        return tensor[rows[0] : rows[-1] + 1]
    return tensor[placed(torch.tensor(rows), tensor.device)]


def _labels_by_task(
    labels: Tensor | Mapping[str, Tensor] | None, rows: Mapping[str, Sequence[int]]
) -> Mapping[str, Tensor]:
    """The labels of each task's rows, given those of all rows or by task; raises a HyperXError if they are neither."""
    if labels is None:
        return {}
    if isinstance(labels, Tensor):
        count = sum(map(len, rows.values()))
        if labels.shape[:1] != (count,):
            raise HyperXError(f"labels: expected those of {count} rows; found {list(labels.shape)}")
        return {task: _part(labels, own) for task, own in rows.items()}
    if not isinstance(labels, Mapping):
        raise not_expected("labels", "a tensor, or a mapping from each task to one", labels)
    if set(labels) != set(rows):
        raise HyperXError(f"labels: expected those of {', '.join(rows)}; found those of {', '.join(labels) or 'none'}")
    for task, tensor in labels.items():
        if not isinstance(tensor, Tensor) or tensor.shape[:1] != (len(rows[task]),):
            raise not_expected("labels", f"a tensor with those of the {len(rows[task])} rows of {task}", tensor)
    return labels
