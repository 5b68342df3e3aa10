"""Starting from the weights of another checkpoint, matched by the names of tasks and languages."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperx import checkpoint
from hyperx.config import ArchitectureOptions, HypernetworkOptions, ModelConfig, TrainConfig
from hyperx.errors import CheckpointError, itemised
from hyperx.languages import canonical
from hyperx.packing import restored
from hyperx.pairs import TaskLanguagePair
from hyperx.tasks.registry import KINDS

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)

TASK_ROWS, LANGUAGE_ROWS, CORPUS_ROWS = (f"hypernetwork.source.{part}" for part in ("task", "language", "corpus"))
SIMILARITY = "hypernetwork.source.similarity"
"""Facts on languages, which every run looks up for its own."""
HEADS, PLAIN, ADD_ONS = "heads.", "plain_adapters.", "add_ons."
OPTION = "--load_from_ckpt"


@dataclass(frozen=True, slots=True)
class WarmStart:
    """A checkpoint to start from: its folder, and the configuration of its model."""

    folder: Path
    config: ModelConfig

    @classmethod
    def read(cls, folder: Path) -> WarmStart:
        """The checkpoint of a folder, or the best one of an output folder; a CheckpointError says why there is none."""
        path = checkpoint.resolve(folder)
        return cls(path, checkpoint.read_config(path))

    def problems(self, config: TrainConfig) -> Iterator[str]:
        """Options that must be as they were in the checkpoint's training, and are not."""
        then, now = (_shape(one.hypernetwork, one.architecture) for one in (self.config, config))
        now["head_layer"] = now["head_layer"] or then["head_layer"]
        for name in then:
            # An option that only one of them uses depends on another option, which differs and is told.
            if name in now and then[name] != now[name]:
                has, found = (("off", "on")[one] if isinstance(one, bool) else one for one in (then[name], now[name]))
                yield f"--{name}: the checkpoint {self.folder} has {has}; found {found}. Use the same"

    def continued(self, config: ModelConfig) -> ModelConfig:
        """The configuration of a new model that starts from here: what was trained then counts as trained now. A
        CheckpointError if the encoder, the layer of the heads, or the kind, head or labels of a task differ."""
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
        # An earlier warm start may have left out a task or a language, which is initialised anew if it returns.
        by_task = config.architecture.adapters in ("shared", "task", "none")
        fresh = set() if by_task else _codes(config) - _codes(then)
        earlier = [
            str(pair)
            for pair in map(TaskLanguagePair.parse, then.trained_pairs)
            if (pair.task in then.kinds or pair.task not in config.kinds) and pair.key[1] not in fresh
        ]
        trained = tuple(dict.fromkeys((*config.trained_pairs, *earlier)))
        corpora = self.corpora(config.corpora, config.trained_keys, config.kinds, config.languages)
        labelled = {str(pair) for pair in (*config.labelled_pairs, *replace(then, add_ons=()).labelled_pairs)}
        return replace(
            config,
            trained_pairs=trained,
            self_trained_pairs=tuple(pair for pair in trained if pair not in labelled),
            corpora=corpora,
            trained_inside=then.trained_inside,
        )

    def corpora(
        self,
        named: Mapping[str, str],
        trained: Collection[tuple[str, str]],
        tasks: Collection[str],
        languages: Iterable[str],
    ) -> dict[str, str]:
        """The corpora of a run that starts from here: those that it names for its training pairs, whose keys are
        ``trained``, and the earlier ones of other pairs of its tasks and languages."""
        known, corpora = set(map(canonical, languages)), dict(named)
        for name, corpus in self.config.corpora.items():
            pair = TaskLanguagePair.parse(name)
            if pair.key not in trained and pair.task in tasks and pair.key[1] in known:
                corpora[name] = corpus
        return corpora

    def corpora_problems(self, corpora: Mapping[str, str]) -> Iterator[str]:
        """That only one of the checkpoint and the run has corpora, which are a part of what the hypernetwork reads."""
        if bool(self.config.corpora) != bool(corpora):
            before, now = (", ".join(dict.fromkeys(one.values())) or "none" for one in (self.config.corpora, corpora))
            do = "leave them out, or train anew" if corpora else "name one of them for a training pair"
            yield f"--load_from_ckpt: corpora in the data table: the checkpoint has {before}; found {now}. Here {do}"

    def load_into(self, model: nn.Module, config: ModelConfig) -> None:
        """Copy the weights into a model that :meth:`continued` describes, and log what was copied and what is new. A
        CheckpointError if a weight is missing, unexpected or has another shape or type, or no adapter fits."""
        from hyperx.method.hypernetwork import expanded  # imports torch, which a plan does not need

        own = {name: one for name, one in model.named_parameters() if name != SIMILARITY}
        faults: list[str] = []
        tensors = expanded(restored(checkpoint.read_tensors(self.folder), own, faults))
        tensors = {name: one for name, one in tensors.items() if not name.startswith((SIMILARITY, ADD_ONS))}
        copied = {name: list(self._rows(name, own[name], one, config)) for name, one in tensors.items() if name in own}
        faults += [f"missing: {name}" for name in own if name not in copied and self._is_due(name, self.config.labels)]
        faults += [f"unexpected: {name}" for name in tensors if name not in own and self._is_due(name, config.labels)]
        if config.architecture.adapters != "none" and not any(name.startswith((PLAIN, TASK_ROWS)) for name in copied):
            faults.append(f"none of its adapters is among those of this run: {', '.join(_adapters(own))}")
        checkpoint.copy_weights(copied, faults, f"{OPTION}: the weights of {self.folder} do not fit the model")
        self._report(config, _adapters(own), list(copied))

    def _rows(self, name: str, own: Tensor, saved: Tensor, config: ModelConfig) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of target and weight: a whole tensor, or the embeddings of tasks and languages row by row."""
        then = self.config
        if name == TASK_ROWS:
            names, before = list(config.kinds), {task: row for row, task in enumerate(then.kinds)}
        elif name == LANGUAGE_ROWS:
            names = list(map(canonical, config.languages))
            before = {canonical(language): row for row, language in enumerate(then.languages)}
            if then.trained_pairs and then.hypernetwork.mean_for_untrained:  # the others were never trained
                before = {code: row for code, row in before.items() if code in then.trained_languages}
        elif name == CORPUS_ROWS:
            names, before = list(config.corpus_names), {one: row for row, one in enumerate(then.corpus_names)}
        else:
            yield own.data, saved
            return
        yield from ((own.data[row], saved[before[one]]) for row, one in enumerate(names) if one in before)

    def _is_due(self, name: str, tasks: Collection[str]) -> bool:
        """Whether a parameter must be both in the checkpoint and in the model: heads of other tasks than these, and
        other plain adapters, are initialised anew or left out."""
        if name.startswith("encoder."):
            return name in (self.config.trained_inside or ())
        return name.split(".")[1] in tasks if name.startswith(HEADS) else not name.startswith(PLAIN)

    def _report(self, config: ModelConfig, adapters: Sequence[str], copied: Sequence[str]) -> None:
        then, before = self.config, self.config.trained_languages
        known = [name for name in adapters if any(path.startswith(f"{PLAIN}{name}.") for path in copied)]
        trained = [one for one in config.languages if not known and canonical(one) in config.trained_languages]
        inside = sum(name.startswith("encoder.") for name in copied)
        groups: dict[str, dict[str, Sequence[str]]] = {
            f"{self.folder}: taken": {
                "": ["the hypernetwork"] if config.architecture.adapters == "hypernetwork" else [],
                "adapters": known,
                "tasks": [task for task in config.kinds if task in then.kinds],
                "languages": [one for one in trained if canonical(one) in before],
                "tensors of the encoder": [str(inside)] if inside else [],
            },
            "new, so starting fresh": {
                "adapters": [name for name in adapters if name not in known],
                "tasks": [task for task in config.kinds if task not in then.kinds],
                "languages": [one for one in trained if canonical(one) not in before],
            },
            "not of this run, so left out": {
                "add-ons of": [one.language for one in then.add_ons],
                "tasks": [task for task in then.kinds if task not in config.kinds],
                "languages": [one for one in then.languages if canonical(one) not in _codes(config)],
            },
        }
        for heading, parts in groups.items():
            if told := "; ".join(f"{what} {', '.join(names)}".strip() for what, names in parts.items() if names):
                log.info("%s: %s: %s", OPTION, heading, told)


def _codes(config: ModelConfig) -> set[str]:
    return set(map(canonical, config.languages))


def _adapters(parameters: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(name.split(".")[1] for name in parameters if name.startswith(PLAIN)))


def _shape(shape: HypernetworkOptions, architecture: ArchitectureOptions) -> dict[str, Any]:
    """The options on which the meaning or the shape of the weights depends."""
    if architecture.adapters == "none":
        return {"adapters": "none", "head_layer": architecture.head_layer}
    plain = architecture.adapters != "hypernetwork"
    # Which weights are used, not what they are.
    unread = {"mean_for_untrained", "language_dropout", "relatives", "corpus_dropout"}
    if plain:
        unread |= {name for name in HypernetworkOptions.__slots__ if not name.startswith(("adapter", "add"))}
    return {
        "adapters": "plain ones" if plain else "hypernetwork",  # a run may stack a task's on those of languages
        **{name: getattr(shape, name) for name in HypernetworkOptions.__slots__ if name not in unread},
        **{name: getattr(architecture, name) for name in ("adapter_non_linearity", "after_layer_output", "head_layer")},
    }
