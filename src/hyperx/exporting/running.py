"""Exported pairs as a model that predicts: those for ONNX Runtime.

A program of PyTorch may hold pickles, which run code when they are loaded: whoever trusts one loads it with PyTorch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import inf
from mmap import ACCESS_READ, mmap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from hyperx import checkpoint
from hyperx.config import RunOptions
from hyperx.data.batch.windows import FastTokenizer
from hyperx.encoders.loading import load_tokenizer
from hyperx.errors import CheckpointError, HyperXError, listing
from hyperx.exporting.facts import FORMAT, ONNX, PROGRAM, ExportFacts, runtime
from hyperx.exporting.fixed import ARCS, RELATIONS
from hyperx.files import in_home, opened
from hyperx.model import HyperX, ModelOutput, load
from hyperx.pairs import TaskLanguagePair
from hyperx.prediction.predictor import Turn
from hyperx.tasks.base import Task
from hyperx.tasks.registry import make_tasks
from hyperx.tasks.tagging import TaggingTask

LOOP = re.compile(rb"[\x00\x04]Loop")
"""The operation that may never end, with the end of its name's length: no exported model has it."""


class ExportedModel:
    """What ``hyperx export`` wrote for ONNX Runtime, for prediction. Runs on the CPU.

    Args:
        folder: the exported folder.

    Raises:
        CheckpointError: if it is damaged, or holds something else.
        HyperXError: if ONNX Runtime is not installed.
    """

    training = False
    expected = ""

    def __init__(self, folder: Path) -> None:
        facts = checkpoint.read_json(folder / checkpoint.EXPORTED, ExportFacts)
        if facts.format != FORMAT:
            found = f"{FORMAT}, found {facts.format}; export it again"
            raise CheckpointError(f"{folder}: expected an export of format {found}")
        self.config = checkpoint.read_config(folder, exported=True)
        self.tasks: Mapping[str, Task] = make_tasks(self.config.kinds)
        self.turn, self.told = Turn(), set[str]()
        self.tokenizer = load_tokenizer(folder)
        self.indices = {TaskLanguagePair.parse(name).key: index for index, name in enumerate(facts.pairs)}
        self.widths = {task: len(labels) for task, labels in self.config.labels.items()}
        for pair, labels in facts.pairs.items():  # of an add-on there may be more
            self.widths[pair.partition("#")[0]] = max(self.widths.get(pair.partition("#")[0], 0), len(labels))
        self.word_embeddings = torch.empty(0)  # for their device
        self.path = path = folder / ONNX
        if (folder / PROGRAM).exists():
            what = "a program of PyTorch, which may run code when it is loaded: load it with torch.export.load yourself"
            raise CheckpointError(f"{folder} holds {what}, or export with --format onnx")
        library = runtime()
        try:
            with opened(path) as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
                if LOOP.search(content):
                    raise ValueError("it has a loop, as no exported model has")
            options = library.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            options.log_severity_level = 4  # it prints names of the file as they are
            self.session = library.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library raises many kinds for a damaged or missing file
            raise CheckpointError(f"{path} cannot be read: {str(error).splitlines()[0]}. Export it again") from None

    def run(self, **inputs: Tensor) -> dict[str, Tensor]:
        """The outputs of the file for its inputs, see docs/export.md."""
        taken = [one.name for one in self.session.get_inputs()]  # without trees some are not needed
        names = [one.name for one in self.session.get_outputs()]
        try:
            values = self.session.run(None, {name: inputs[name].numpy() for name in taken})
            for name, value in zip(names, values, strict=True):
                if value.shape[-1] > self.widths.get(name, inf):  # a label that has no name
                    raise ValueError(f"{name} has {value.shape[-1]:,} columns, for {self.widths[name]} labels")
            return {name: torch.from_numpy(value) for name, value in zip(names, values, strict=True)}
        except Exception as error:  # as above
            raise CheckpointError(f"{self.path} cannot be run: {str(error).splitlines()[0]}. Export it again") from None

    def __call__(
        self,
        pairs: Sequence[TaskLanguagePair],
        input_ids: Tensor,
        attention_mask: Tensor,
        _labels: Tensor | None = None,
        words: Tensor | None = None,
        **_: object,
    ) -> ModelOutput:
        """Run a batch of one task, see :meth:`hyperx.HyperX.forward`."""
        name = pairs[0].task
        if words is None or isinstance(self.tasks[name], TaggingTask):
            words = torch.full_like(input_ids, -1)
        index = torch.tensor([self.indices[pair.key] for pair in pairs])
        outputs = self.run(input_ids=input_ids, attention_mask=attention_mask, words=words, pair=index)
        logits: Any = outputs.get(name)
        if logits is None:  # a parser's, as its task decodes them
            if not {name + ARCS, name + RELATIONS} <= {*outputs} or "root" not in self.config.labels[name]:
                raise CheckpointError(f"{self.path} has no output for {name}. Export it again")
            root, relations = self.config.labels[name].index("root"), outputs[name + RELATIONS]
            logits = SimpleNamespace(possible=outputs[name + ARCS], relations=lambda: relations, root=root)
        return ModelOutput(torch.empty(0), logits)

    def adapters(self, pairs: Sequence[TaskLanguagePair], _style: str | None = None) -> None:
        """Nothing: adapters are in the file. Raises a HyperXError if those of a pair are not."""
        if missing := [str(pair) for pair in pairs if pair.key not in self.indices]:
            has = listing(["#".join(key) for key in self.indices], most=20)
            raise HyperXError(f"the exported model has no {missing[0]}; it has {has}. Name tasks, or export it too")

    predict = HyperX.predict

    def made_of(self, _language: str) -> str:
        """What a language without training data reads, in words."""
        return "what the model read for it when it was exported"

    def checked_tokenizer(self) -> FastTokenizer:
        """The tokenizer."""
        return self.tokenizer

    def train(self, mode: bool = True) -> None:
        """Nothing: such a model only predicts."""


def load_model(
    folder: str | Path | None, options: RunOptions | None = None, add_ons: Sequence[Path] = ()
) -> HyperX | ExportedModel:
    """A checkpoint (see :func:`hyperx.model.load`), by default on the CPU, or exported pairs."""
    if isinstance(folder, str | Path):  # else it is the ready-made model, or refused
        folder = checkpoint.resolve(in_home(folder))
        if (folder / checkpoint.EXPORTED).is_file():
            return ExportedModel(folder)
    return load(folder, options or RunOptions(no_cuda=True), add_ons)
