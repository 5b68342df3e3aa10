"""What a run must still have when it is resumed: its options, data and encoder, and the checkpoint it started from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from hyperx import checkpoint
from hyperx.config import ModelConfig, TrainConfig
from hyperx.data.locate.table import recorded_entry
from hyperx.errors import ConfigError
from hyperx.files import sha256
from hyperx.options import flat
from hyperx.plan.data import RunData

CHANGEABLE = {
    "config", "disable_progress_bar", "gradient_checkpointing", "no_cuda", "output_dir", "overwrite_output_dir",
    "preset", "report_to", "resume", "save_steps", "save_total_limit",
}  # fmt: skip
UNREAD_SETTINGS = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}
"""Settings of an encoder's configuration on which its outputs do not depend."""


def lasting_options(config: TrainConfig) -> dict[str, str]:
    """The options that must stay the same, as text; of rows in memory the hash of their content."""
    values = flat(config) | {"data": {name: recorded_entry(entry) for name, entry in config.data.data.items()}}
    return {name: str(value) for name, value in values.items() if name not in CHANGEABLE}


def lasting_settings(config: ModelConfig) -> dict[str, Any]:
    """What of a model's configuration must stay the same: not where its encoder is, which its content identifies, nor
    how its confidences are calibrated."""
    left_out = ("encoder", "temperatures", "trained_inside")
    return {name: value for name, value in config.to_json().items() if name not in left_out}


def fingerprint(data: RunData, processes: int) -> dict[str, int | str]:
    """What else must stay the same, by a name for messages: numbers or hashes."""
    config, start = data.encoder.model.config.to_diff_dict(), data.plan.start
    settings = json.dumps({name: config[name] for name in sorted({*config} - UNREAD_SETTINGS)}, default=str)
    return {
        "number of processes": processes,
        "settings of the encoder": hashlib.sha256(settings.encode()).hexdigest(),
        **({} if start is None else {"weights of --load_from_ckpt": sha256(start.folder / checkpoint.WEIGHTS)}),
        **{
            f"training data of {pair}": split.content_hash()
            for pair, split in zip(data.plan.trained_pairs, data.train_splits, strict=True)
        },
        **{f"dev data of {pair}": split.content_hash() for pair, split in data.eval_splits.items()},
    }


def check_same(then: Mapping[str, Any], now: Mapping[str, Any], kind: Literal["option", "setting", "data"]) -> None:
    """Refuse to resume a run in which something has changed; raises a ConfigError that tells each, by what it is."""
    told = {
        "option": "--{name}: the run began with {then!r}; found {now!r}. Resume with the same options, or start a new "
        "run from its weights with --load_from_ckpt",
        "setting": "--resume: {name}: the run began with {then}; found {now}. {restore}",
        "data": "--resume: the run began with other {name}. {restore}",
    }[kind]
    restore = "Put back what it began with, or start a new run"
    values = [(name, then.get(name), now.get(name)) for name in sorted({**then, **now})]
    changed = [told.format(name=name, then=a, now=b, restore=restore) for name, a, b in values if a != b]
    if changed:
        raise ConfigError(changed)
