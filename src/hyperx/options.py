"""Options by name: values of a command line, of a file or of Python, checked and made a configuration."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, is_dataclass
from itertools import chain
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml
from pydantic import ConfigDict, ValidationError, create_model

from hyperx.config import PUBLISHED
from hyperx.errors import ConfigError, UsageError, faults_of, listed
from hyperx.files import in_home, is_utf8, read_text

Config = TypeVar("Config")

MOST_VALUES, MOST_BYTES = 200_000, 8 << 20
"""The most values in a file of options, and its largest size: YAML is read slowly."""
SYNONYMS = {
    "adapter_non_linearity": "activation", "adapters": "no_hypernet", "batch_size": "bs bsz",
    "checkpoint": "model model_path model_dir load run load_from_ckpt", "confidence": "probabilities scores",
    "config": "yaml", "data_folder": "data_path dataset datasets corpus",
    "disable_progress_bar": "quiet silent progress no_progress",
    "eval_ckpt": "model model_path model_dir load run checkpoint_path",
    "eval_task_language_pairs": "dev_pairs eval_pairs", "fp16": "amp half mixed_precision precision",
    "input": "file text stdin", "learning_rate": "lr rate",
    "load_from_ckpt": "checkpoint ckpt eval_ckpt run checkpoint_path",
    "max_grad_norm": "clip clipping grad_clip gradient_clipping", "max_length": "seq_len",
    "max_train_samples": "limit max_samples", "max_train_steps": "step steps num_steps iterations",
    "model_name_or_path": "model model_dir load encoder base_model pretrained",
    "no_cuda": "device cpu gpu use_cpu no_gpu", "num_train_epochs": "epoch", "output_dir": "out save_dir",
    "output_format": "format", "overwrite_output_dir": "force",
    "pairs": "pair task_language_pairs train_task_language_pairs",
    "per_device_train_batch_size": "batch batch_size bs bsz",
    "per_device_eval_batch_size": "batch bs bsz test_batch_size", "resume": "resume_from_checkpoint continue",
    "train_task_language_pairs": "pair pairs task_language_pairs train",
    "test_task_language_pairs": "pair pairs test dev_pairs eval_pairs", "weight_decay": "wd l2",
}  # fmt: skip
"""What options are called elsewhere, where the spelling is not close; the first that a command has is meant."""


def option_types(kind: type[Any], *, ranges: bool = False) -> dict[str, Any]:
    """The type of every option of a dataclass and of its sections, with the range of numbers if asked for."""
    types: dict[str, Any] = {}
    for name, hint in get_type_hints(kind, include_extras=ranges).items():
        types |= option_types(hint, ranges=ranges) if is_dataclass(hint) else {name: hint}  # type: ignore[arg-type]
    return types


def flat(config: Any) -> dict[str, Any]:
    """The value of every option of a configuration and of its sections."""
    values: dict[str, Any] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        values |= flat(value) if is_dataclass(value) else {field.name: value}
    return values


def made(kind: type[Config], values: Mapping[str, Any], *, place: str = "", faults: Iterable[str] = ()) -> Config:
    """A configuration with these options (see :func:`read_values`), over those of the file that ``config`` names, over
    those of a preset.

    Args:
        place: what stands before an option's name in messages.
        faults: problems that were found before, to be reported with the others.

    Raises:
        UsageError: all names and values that do not fit.
        ConfigError: if it is only the file that cannot be read.
    """
    faults, unreadable = list(faults), list[str]()
    read = read_values(kind, values, faults, place=place)
    named = values.get("config")
    if named and isinstance(named, str | Path):
        path = in_home(named)
        try:
            file = read_yaml(path)
        except ConfigError as error:
            unreadable, file = [*error.problems], {}
        if "config" in file:
            faults.append(f"--config: {path}: a file of options cannot name another one")
        read = read_values(kind, file, faults, place=f"--config: {path}: ") | read
    if faults or unreadable:
        raise (UsageError if faults else ConfigError)([*unreadable, *faults])
    return _built(kind, (PUBLISHED if read.get("preset") == "published" else {}) | read)


def _built(kind: type[Config], values: Mapping[str, Any]) -> Config:
    return kind(
        **{
            name: _built(hint, values) if is_dataclass(hint) else values[name]  # type: ignore[arg-type]
            for name, hint in get_type_hints(kind).items()
            if is_dataclass(hint) or name in values
        }
    )


def read_values(kind: type[Any], values: Mapping[str, Any], problems: list[str], *, place: str = "") -> dict[str, Any]:
    """Values as the types of their options; what does not fit is added to ``problems``. Text is read as numbers, paths
    and truth values. A list of names may be one name, or a mapping (``tr: tr_boun`` stands for ``tr=tr_boun``)."""
    types, texts, others = option_types(kind), dict[str, Any](), dict[str, Any]()
    for name, value in values.items():
        if name not in types:
            near = meant(str(name), types) if len(problems) < 100 else None  # what is close is searched for slowly
            problems.append(f"{place}there is no option {str(name)!r}." + (f" Did you mean {near!r}?" if near else ""))
            continue
        if isinstance(value, str) and value == "None" and NoneType in get_args(types[name]):
            value = None
        if get_args(types[name])[:1] == (Path,) and get_origin(types[name]) is tuple:
            given = value if isinstance(value, list | tuple) else [value]
            value = tuple(in_home(one) if isinstance(one, str | Path) else one for one in given)
        elif get_origin(types[name]) is tuple:
            if isinstance(value, Mapping):
                pairs = {key: _joined(one) if name == "treebanks" else one for key, one in value.items()}
                value = [f"{key}={one}" if isinstance(one, str | int | float) else one for key, one in pairs.items()]
            value = value if isinstance(value, list | tuple) else [value]
            value = tuple(str(one) if isinstance(one, int | float) else one for one in value)
            # The text of a label may have a comma.
            if name != "label_map" and any("," in one for one in value if isinstance(one, str)):
                spaced = " ".join(" ".join(map(str, value)).replace(",", " ").split())
                fault = f"{name}: expected values with spaces between them; found commas. Write: {spaced}"
                problems.append(place + fault)
                continue
        (texts if isinstance(value, str) else others)[name] = value
    # Of what is no text nothing is converted: a truth value is no number.
    read = _fitting(types, texts, problems, place, strict=False) | _fitting(types, others, problems, place, strict=True)
    for name, value in read.items():
        if isinstance(value, Path):
            read[name] = in_home(value)
        elif name == "model_name_or_path" and str(value).startswith("~"):
            read[name] = str(in_home(value))
    return read


def value_problems(config: Any) -> list[str]:
    """What is wrong with the values of a configuration: numbers out of range and, if made in Python, types."""
    problems: list[str] = []
    _fitting(option_types(type(config), ranges=True), flat(config), problems, "--", strict=True)
    return problems


def meant(name: str, known: Collection[str]) -> str | None:
    """The option that a user most likely meant by a name; None if none is close."""
    plain = name.lower().lstrip("-").replace("-", "_")
    if plain in known:
        return plain
    named = [option for option, others in SYNONYMS.items() if plain in others.split() and option in known]
    return next(iter(named or difflib.get_close_matches(plain, known, n=1, cutoff=0.5)), None)


def _fitting(
    types: Mapping[str, Any], values: Mapping[str, Any], problems: list[str], place: str, *, strict: bool
) -> dict[str, Any]:
    """The values as their types; what does not fit is added to ``problems``."""
    settings = ConfigDict(strict=strict, protected_namespaces=())
    fields_of = {name: (types[name], ...) for name in values}
    try:
        return dict(create_model("Options", __config__=settings, **fields_of).model_validate(dict(values)))  # type: ignore[call-overload]
    except ValidationError as error:
        problems += faults_of(listed(error), lambda path: f"{place}{path[0]}")
        return {}


def _joined(value: Any) -> Any:
    return "+".join(map(str, value)) if isinstance(value, list) and None not in value else value


class OptionLoader(yaml.SafeLoader):
    """Loads YAML with the truth values of YAML 1.2 (in 1.1 the language code ``no`` is one too) and without dates (a
    revision may look like one), and refuses repeated keys and what few lines make huge by repeating it (``*name``)."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.sizes: dict[int, int] = {}  # of nodes with all that is in them

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        """Read a node; raises a YAMLError if it holds itself, or there are too many values."""
        again, node = self.check_event(yaml.AliasEvent), super().compose_node(parent, index)
        if node is not None and not again:
            inside = [] if isinstance(node.value, str) else node.value
            parts = chain.from_iterable(inside) if isinstance(node, yaml.MappingNode) else inside
            self.sizes[id(node)] = 1 + sum(self.sizes[id(part)] for part in parts)
        if max(len(self.sizes), self.sizes.get(id(node), MOST_VALUES)) >= MOST_VALUES:
            raise yaml.YAMLError(f"expected at most {MOST_VALUES:,} values, and none that holds itself; write them out")
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Read a mapping; raises a YAMLError that names a repeated key. Merged keys (``<<``) may be repeated."""
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                line = key.start_mark.line + 1
                if key.value in lines:
                    before = f"is already set in line {lines[key.value]}"
                    raise yaml.YAMLError(f"{key.value!r} in line {line} {before}; keep one of them")
                lines[key.value] = line
        return node


OptionLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
OptionLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(true|True|false|False)$"), list("tTfF"))


def read_yaml(path: Path) -> dict[str, Any]:
    """The lines ``option: value`` of a file; names and values are not checked. Anything else is a ConfigError."""
    try:
        value = yaml.load(read_text(path, MOST_BYTES), Loader=OptionLoader)  # a SafeLoader
        if not is_utf8(value):
            raise ValueError("it has half a character (a lone surrogate), which is no Unicode")
    except OSError as error:
        raise ConfigError([f"--config: cannot read {path}: {error.strerror}"]) from None
    except (
        yaml.YAMLError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        # Scalars that are no value of their tag, such as 0x_, make errors of any kind.
        told = "too many levels" if isinstance(error, RecursionError) else " ".join(str(error).split())[:300]
        raise ConfigError([f"--config: {path} is not YAML: {told}"]) from None
    if not isinstance(value, dict | None):
        found = type(value).__name__
        raise ConfigError([f"--config: {path}: expected lines of 'option: value'; found a {found}"])
    return value or {}
