"""Starting from the weights of another checkpoint, matched by the names of tasks and languages."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperx import checkpoint
from hyperx.config import ArchitectureOptions, HypernetworkOptions, ModelConfig, TrainConfig
from hyperx.errors import CheckpointError, itemised
from hyperx.languages import canonical
from hyperx.pairs import TaskLanguagePair
from hyperx.tasks.registry import KINDS

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)

TASK_ROWS, LANGUAGE_ROWS = "hypernetwork.source.task", "hypernetwork.source.language"
HEADS, PLAIN = "heads.", "plain_adapters."
OPTION = "--load_from_ckpt"


@dataclass(frozen=True, slots=True)
class WarmStart:
    """A checkpoint to start from.

    Args:
        folder: where it is.
        config: the configuration of its model.
    """

    folder: Path
    config: ModelConfig

    @classmethod
    def read(cls, folder: Path) -> WarmStart:
        """Find a checkpoint: the folder itself, or the best one of an output folder.

        Raises:
            CheckpointError: if there is none, or it is damaged.
        """
        path = checkpoint.resolve(folder)
        return cls(path, checkpoint.read_config(path))

    def check(self, config: TrainConfig, problems: list[str]) -> None:
        """Note options that must be as they were in the checkpoint's training, and are not."""
        then = _shape(self.config.hypernetwork, self.config.architecture)
        now = _shape(config.hypernetwork, config.architecture)
        now["head_layer"] = now["head_layer"] or then["head_layer"]
        # An option that only one of them uses depends on another option, which differs and is told.
        problems += [
            f"--{name}: the checkpoint {self.folder} has {_shown(then[name])}; found {_shown(now[name])}. Use the same"
            for name in then
            if name in now and then[name] != now[name]
        ]

    def continued(self, config: ModelConfig) -> ModelConfig:
        """The configuration of a new model that starts from here: what was trained then counts as trained now.

        Raises:
            CheckpointError: if the encoder, the layer of the heads, or the kind, head or labels of a task differ.
        """
        then = self.config
        same = [task for task in config.kinds if task in then.kinds]
        # Options on which the heads of both depend.
        options = {name for task in same for name in KINDS[config.kinds[task]].options}
        names = ("head_layer", *sorted(options & set(ArchitectureOptions.__slots__)))
        compared = {
            **{name: (getattr(then.architecture, name), getattr(config.architecture, name)) for name in names},
            **{f"kind of {task}": (then.kinds[task], config.kinds[task]) for task in same},
            **{f"labels of {task}": (" ".join(then.labels[task]), " ".join(config.labels[task])) for task in same},
        }
        if then.encoder_hash != config.encoder_hash:
            ours, theirs = (f"{one.encoder!r} with content {one.encoder_hash[:12]}" for one in (then, config))
            compared["encoder"] = (ours, theirs)
        faults = [
            f"{name}: the checkpoint has {before}; this run has {now}"
            for name, (before, now) in compared.items()
            if before != now
        ]
        if faults:
            raise CheckpointError(itemised(f"{OPTION}: {self.folder} does not fit", faults))
        earlier = [pair for pair in then.trained_pairs if self._is_kept(TaskLanguagePair.parse(pair), config)]
        trained = tuple(dict.fromkeys((*config.trained_pairs, *earlier)))
        labelled = {str(pair) for pair in (*config.labelled_pairs, *then.labelled_pairs)}
        return replace(
            config,
            trained_pairs=trained,
            self_trained_pairs=tuple(pair for pair in trained if pair not in labelled),
            trained_inside=then.trained_inside,
        )

    def _is_kept(self, pair: TaskLanguagePair, config: ModelConfig) -> bool:
        """Whether what a pair trained is still there: an earlier warm start may have left out its task or language,
        which is initialised anew if it returns."""
        languages = set(map(canonical, self.config.languages))
        fresh_task = pair.task in config.kinds and pair.task not in self.config.kinds
        fresh_language = canonical(pair.language) in set(map(canonical, config.languages)) - languages
        return not fresh_task and (not fresh_language or config.architecture.adapters in ("shared", "task", "none"))

    def load_into(self, model: nn.Module, config: ModelConfig) -> None:
        """Copy the weights into a model that :meth:`continued` describes, and log what was copied and what is new.

        Raises:
            CheckpointError: if a weight is missing, unexpected or has another shape or type, or no adapter fits.
        """
        import torch

        own = dict(model.named_parameters())
        tensors = checkpoint.read_tensors(self.folder)
        copied: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for name, tensor in tensors.items():
            if name in own:
                copied[name] = list(self._rows(name, own[name], tensor, config))
        faults = [
            f"{name}: expected shape {tuple(target.shape)}, found {tuple(source.shape)}"
            for name, rows in copied.items()
            for target, source in rows
            if target.shape != source.shape
        ]
        faults += checkpoint.type_problems(own, tensors)
        faults += [f"missing: {name}" for name in own if name not in copied and self._is_due(name)]
        faults += [f"unexpected: {name}" for name in tensors if name not in own and self._is_due(name, config.labels)]
        if config.architecture.adapters != "none" and not any(name.startswith((PLAIN, TASK_ROWS)) for name in copied):
            faults.append(f"none of its adapters is among those of this run: {', '.join(_plain_names(own))}")
        if faults:
            raise CheckpointError(itemised(f"{OPTION}: the weights of {self.folder} do not fit the model", faults))
        with torch.no_grad():
            for rows in copied.values():
                for target, source in rows:
                    target.copy_(source)
        self._report(config, own, copied)

    def _rows(self, name: str, own: Tensor, tensor: Tensor, config: ModelConfig) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of target and source: a whole tensor, or the embeddings of tasks and languages row by row."""
        if name == TASK_ROWS:
            before = list(self.config.kinds)
            for row, task in enumerate(config.kinds):
                if task in before:
                    yield own.data[row], tensor[before.index(task)]
        elif name == LANGUAGE_ROWS:
            places = {canonical(language): row for row, language in enumerate(self.config.languages)}
            trained = self.config.trained_languages
            if not trained or not self.config.hypernetwork.mean_for_untrained:
                trained = set(places)
            for row, language in enumerate(map(canonical, config.languages)):
                if language in trained and language in places:
                    yield own.data[row], tensor[places[language]]
        else:
            yield own.data, tensor

    def _is_due(self, name: str, tasks: Collection[str] | None = None) -> bool:
        """Whether the checkpoint must have this parameter of the model or, if the model's tasks are given, the model
        this parameter of the checkpoint.

        Heads of other tasks, and other plain adapters, are initialised anew or left out.
        """
        if name.startswith("encoder."):
            return name in (self.config.trained_inside or ())
        if name.startswith(HEADS):
            return name.split(".")[1] in (self.config.labels if tasks is None else tasks)
        return not name.startswith(PLAIN)

    def _report(self, config: ModelConfig, own: Mapping[str, Any], copied: Mapping[str, Any]) -> None:
        then = self.config
        trained_now, trained_then = config.trained_languages, then.trained_languages
        trained = [language for language in config.languages if canonical(language) in trained_now]
        new = [language for language in trained if canonical(language) not in trained_then]
        known = [language for language in trained if language not in new]
        adapters = [name for name in _plain_names(own) if any(path.startswith(f"{PLAIN}{name}.") for path in copied)]
        fresh_adapters = [name for name in _plain_names(own) if name not in adapters]
        taken = {
            "": ["the hypernetwork"] if config.architecture.adapters == "hypernetwork" else [],
            "adapters": adapters,
            "tasks": [task for task in config.kinds if task in then.kinds],
            "languages": [] if adapters else known,
            "tensors of the encoder": [str(n)] if (n := sum(name.startswith("encoder.") for name in copied)) else [],
        }
        fresh = {
            "adapters": fresh_adapters,
            "tasks": [task for task in config.kinds if task not in then.kinds],
            "languages": [] if adapters else new,
        }
        left = {
            "tasks": [task for task in then.kinds if task not in config.kinds],
            "languages": [x for x in then.languages if canonical(x) not in map(canonical, config.languages)],
        }
        log.info("%s %s: taken: %s", OPTION, self.folder, _listed(taken))
        for what, parts in (("new, so starting fresh", fresh), ("not of this run, so left out", left)):
            if any(parts.values()):
                log.info("%s: %s: %s", OPTION, what, _listed(parts))


def _plain_names(own: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(name.split(".")[1] for name in own if name.startswith(PLAIN)))


def _listed(parts: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{what} {', '.join(names)}".strip() for what, names in parts.items() if names)


def _shown(value: Any) -> str:
    """A value as the help shows it."""
    return str({True: "on", False: "off"}[value] if isinstance(value, bool) else value)


def _shape(shape: HypernetworkOptions, architecture: ArchitectureOptions) -> dict[str, Any]:
    """The options on which the meaning or the shape of the weights depends, without those that have no effect."""
    plain = architecture.adapters not in ("hypernetwork", "none")
    unread = {"mean_for_untrained", "language_dropout"}  # which weights are used, not what they are
    if architecture.adapters == "none":
        return {"adapters": "none", "head_layer": architecture.head_layer}
    if plain:
        unread |= {name for name in HypernetworkOptions.__slots__ if not name.startswith(("adapter", "add"))}
    if not shape.condition_to_layer_id:
        unread.add("layer_id_embedding_dim")
    if not shape.project_source_embeddings:
        unread |= {"source_hidden_dim", "projected_source_embedding_dim"}
    if not shape.has_norms:
        unread.add("conditional_layer_norm")
    return {
        "adapters": "plain ones" if plain else "hypernetwork",  # a run may stack a task's on those of languages
        **{name: getattr(shape, name) for name in HypernetworkOptions.__slots__ if name not in unread},
        "adapter_non_linearity": architecture.adapter_non_linearity,
        "after_layer_output": architecture.after_layer_output,
        "head_layer": architecture.head_layer,
    }
