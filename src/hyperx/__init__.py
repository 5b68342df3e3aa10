"""Hyper-X: one hypernetwork that writes the adapters of a frozen multilingual encoder for every task and language."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperx.api import adapt as adapt
    from hyperx.api import evaluate as evaluate
    from hyperx.api import export as export
    from hyperx.api import predict as predict
    from hyperx.api import train as train
    from hyperx.config import AddOnConfig as AddOnConfig
    from hyperx.config import ArchitectureOptions as ArchitectureOptions
    from hyperx.config import DataOptions as DataOptions
    from hyperx.config import EvaluateConfig as EvaluateConfig
    from hyperx.config import HypernetworkOptions as HypernetworkOptions
    from hyperx.config import ModelConfig as ModelConfig
    from hyperx.config import ModelOptions as ModelOptions
    from hyperx.config import SamplingOptions as SamplingOptions
    from hyperx.config import TrainConfig as TrainConfig
    from hyperx.config import TrainingOptions as TrainingOptions
    from hyperx.data.batch.windows import Window as Window
    from hyperx.data.read.segmentation import sentences as sentences
    from hyperx.data.read.sentence import Entity as Entity
    from hyperx.data.read.sentence import Prediction as Prediction
    from hyperx.data.read.sentence import Sentence as Sentence
    from hyperx.errors import CheckpointError as CheckpointError
    from hyperx.errors import ConfigError as ConfigError
    from hyperx.errors import DataError as DataError
    from hyperx.errors import EncoderError as EncoderError
    from hyperx.errors import HyperXError as HyperXError
    from hyperx.evaluation.scores import Evaluation as Evaluation
    from hyperx.evaluation.scores import PairScores as PairScores
    from hyperx.model import HyperX as HyperX
    from hyperx.model import ModelOutput as ModelOutput
    from hyperx.pairs import TaskLanguagePair as TaskLanguagePair
    from hyperx.pipelines import pipeline as pipeline
    from hyperx.tasks.base import HeadFacts as HeadFacts
    from hyperx.tasks.base import HeadInput as HeadInput
    from hyperx.tasks.base import Result as Result
    from hyperx.tasks.base import Scores as Scores
    from hyperx.tasks.base import Task as Task
    from hyperx.tasks.registry import register_task as register_task
    from hyperx.tasks.tagging import TaggingTask as TaggingTask

__version__ = "0.2.0"

# Importing a model imports torch and transformers, which `import hyperx` and `hyperx --help` should not wait for.
_NAMES = {
    "hyperx.api": "adapt evaluate export predict train",
    "hyperx.config": "AddOnConfig ArchitectureOptions DataOptions EvaluateConfig HypernetworkOptions ModelConfig "
    "ModelOptions SamplingOptions TrainConfig TrainingOptions",
    "hyperx.data.batch.windows": "Window",
    "hyperx.data.read.segmentation": "sentences",
    "hyperx.data.read.sentence": "Entity Prediction Sentence",
    "hyperx.errors": "CheckpointError ConfigError DataError EncoderError HyperXError",
    "hyperx.evaluation.scores": "Evaluation PairScores",
    "hyperx.model": "HyperX ModelOutput",
    "hyperx.pairs": "TaskLanguagePair",
    "hyperx.pipelines": "pipeline",
    "hyperx.tasks.base": "HeadFacts HeadInput Result Scores Task",
    "hyperx.tasks.registry": "register_task",
    "hyperx.tasks.tagging": "TaggingTask",
}
_PLACES = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = ["__version__", *_PLACES]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'hyperx' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
