"""The values of options from the words of a command line or the values of a file, and every problem with them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from hyperx.errors import did_you_mean

SYNONYMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("lr", "learn_rate", "rate"), ("learning_rate",)),
    **dict.fromkeys(
        ("batch", "batch_size", "bs", "bsz", "train_batch_size"),
        ("per_device_train_batch_size", "per_device_eval_batch_size", "batch_size"),
    ),
    **dict.fromkeys(
        ("eval_batch_size", "test_batch_size", "dev_batch_size"), ("per_device_eval_batch_size", "batch_size")
    ),
    **dict.fromkeys(("epoch", "epochs", "num_epochs", "n_epochs", "max_epochs"), ("num_train_epochs",)),
    **dict.fromkeys(("step", "steps", "max_steps", "num_steps", "train_steps", "iterations"), ("max_train_steps",)),
    **dict.fromkeys(("accumulation_steps", "grad_accum", "accumulate"), ("gradient_accumulation_steps",)),
    **dict.fromkeys(("clip", "clipping", "grad_clip", "gradient_clipping"), ("max_grad_norm",)),
    **dict.fromkeys(("decay", "wd", "l2"), ("weight_decay",)),
    **dict.fromkeys(("warmup", "num_warmup_steps"), ("warmup_steps",)),
    **dict.fromkeys(("scheduler", "lr_scheduler", "schedule"), ("lr_scheduler_type",)),
    **dict.fromkeys(("patience", "early_stopping"), ("early_stopping_patience",)),
    **dict.fromkeys(
        ("out", "output", "output_dir", "output_folder", "out_dir", "output_path", "save_dir"),
        ("output", "output_dir"),
    ),
    **dict.fromkeys(("in", "file", "text", "input_file", "input_path", "stdin"), ("input",)),
    **dict.fromkeys(
        ("model", "model_path", "model_dir", "model_name", "model_name_or_path", "load"),
        ("checkpoint", "eval_ckpt", "model_name_or_path"),
    ),
    **dict.fromkeys(
        ("checkpoint", "ckpt", "eval_ckpt", "run", "load_from_ckpt", "checkpoint_path", "checkpoint_dir"),
        ("checkpoint", "eval_ckpt", "load_from_ckpt"),
    ),
    **dict.fromkeys(("encoder", "base_model", "pretrained"), ("model_name_or_path",)),
    **dict.fromkeys(("data", "data_dir", "data_path", "dataset", "datasets", "corpus"), ("data_folder",)),
    **dict.fromkeys(("task",), ("tasks",)),
    **dict.fromkeys(("lang", "langs", "language", "languages", "lng"), ("language", "languages")),
    **dict.fromkeys(
        ("pair", "pairs", "task_language_pairs", "train_pairs", "train"),
        ("train_task_language_pairs", "test_task_language_pairs"),
    ),
    **dict.fromkeys(("dev_pairs", "eval_pairs"), ("eval_task_language_pairs", "test_task_language_pairs")),
    **dict.fromkeys(("test_pairs", "test"), ("test_task_language_pairs",)),
    **dict.fromkeys(("device", "cpu", "gpu", "cuda", "use_cpu", "use_cuda", "no_gpu"), ("no_cuda",)),
    **dict.fromkeys(("random_seed", "random_state"), ("seed",)),
    **dict.fromkeys(("quiet", "silent", "progress", "no_progress", "progress_bar"), ("disable_progress_bar",)),
    **dict.fromkeys(("verbose", "debug", "log_level", "v"), ()),
    **dict.fromkeys(("max_len", "max_seq_length", "max_seq_len", "seq_len"), ("max_length",)),
    **dict.fromkeys(("amp", "half", "bf16", "mixed_precision", "precision"), ("fp16",)),
    **dict.fromkeys(("workers", "num_workers"), ("preprocessing_num_workers",)),
    **dict.fromkeys(("cfg", "config_file", "yaml"), ("config",)),
    **dict.fromkeys(("format",), ("output_format",)),
    **dict.fromkeys(("confidences", "probabilities", "scores"), ("confidence",)),
    **dict.fromkeys(("limit", "max_samples"), ("max_train_samples", "max_eval_samples")),
    **dict.fromkeys(("resume_from_checkpoint", "continue"), ("resume",)),
    **dict.fromkeys(("overwrite", "force"), ("overwrite_output_dir",)),
    **dict.fromkeys(("activation",), ("adapter_non_linearity",)),
    **dict.fromkeys(("no_hypernet", "adapter_sharing", "adapter"), ("adapters",)),
}
"""What options are called elsewhere -> their names here, of which a command has the first that it knows; nothing if
there is no such option."""

_NO_NUMBER = re.compile(r"-(?![\d.])")


def meant(name: str, known: Collection[str]) -> str | None:
    """The option that a user most likely meant by a name; None if none is close."""
    plain = name.lower().lstrip("-").replace("-", "_")
    if plain in known:
        return plain
    if plain in SYNONYMS:
        return next((option for option in SYNONYMS[plain] if option in known), None)
    return next(iter(difflib.get_close_matches(plain, known, n=1, cutoff=0.5)), None)


def read_words(
    words: Sequence[str], hints: Mapping[str, Any], problems: list[str], *, positional: str | None = None
) -> dict[str, Any]:
    """The values that a command line gives; the last one counts if an option is given twice.

    Args:
        words: the command line without the command.
        hints: the type of every option by its name.
        problems: the list to which problems are added.
        positional: the option whose values stand without its name, if there is one.
    """
    names = [name for name in hints if name != positional]
    flags = {f"no_{name}": name for name in names if hints[name] is bool}
    values: dict[str, Any] = {}
    alone: list[str] = []
    for option, given in grouped(words):
        plain = option.removeprefix("--").replace("-", "_")
        if not option:
            alone += given
        elif not option.startswith("--") or plain not in (*names, *flags):
            hint = f" Did you mean --{near}?" if (near := meant(option, [*names, *flags])) else ""
            problems.append(f"there is no option {option}.{hint}")
        elif plain in flags or hints[plain] is bool:
            if given and positional is None:
                name = flags.get(plain, plain)
                found = " ".join(given)
                problems.append(f"--{plain} takes no value; found {found!r}. Write --{name} or --no_{name}")
            values[flags.get(plain, plain)] = plain not in flags
            alone += given
        else:
            most = None if _is_list(hints[plain]) or positional is None else 1
            alone += given[1:] if most else []
            values |= _checked(plain, f"--{plain}", given[:most], hints[plain], problems)
    if alone and positional is not None:
        values |= _checked(positional, positional.upper(), alone, hints[positional], problems)
    elif alone and not any("takes no value" in problem for problem in problems):
        problems.append(f"{' '.join(alone)!r} belongs to no option; options begin with --")
    return values


def grouped(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each option with the words up to the next one; words before the first option come with an empty name."""
    option, given = "", list[str]()
    for word in words:
        if len(word) > 1 and _NO_NUMBER.match(word):
            if option or given:
                yield option, given
            option, separator, value = word.partition("=")
            given = [value] if separator else []
        else:
            given.append(word)
    if option or given:
        yield option, given


def read_value(place: str, name: str, value: Any, hint: Any, problems: list[str]) -> dict[str, Any]:
    """The value of an option in a file, by its name; nothing if there is a problem.

    Args:
        place: the file and the option, for messages.
        name: the option.
        value: what the file has.
        hint: the option's type.
        problems: the list to which problems are added.
    """
    if value is None:
        return {name: None}
    if isinstance(value, bool) or hint is bool:
        if isinstance(value, bool) and hint is bool:
            return {name: value}
        shown = str(value).lower() if isinstance(value, bool) else repr(value)
        problems.append(f"{place}: expected {_expected(hint)}; found {shown}")
        return {}
    if isinstance(value, dict):
        # As `label_map`, `tasks` and `treebanks` are written on the command line.
        listed = [f"{key}={'+'.join(map(str, as_list(found)))}" for key, found in value.items()]
    else:
        listed = [str(one) for one in as_list(value)]
    if not listed and _is_list(hint):
        return {name: ()}
    return _checked(name, place, listed, hint, problems)


def as_list(value: Any) -> Sequence[Any]:
    """A value as a list, unless it is one."""
    return value if isinstance(value, list | tuple) else [value]


def _checked(name: str, place: str, words: Sequence[str], hint: Any, problems: list[str]) -> dict[str, Any]:
    """The value of an option in words, by its name; nothing if there is a problem."""
    if not words:
        problems.append(f"{place}: expected {_expected(hint)}; found nothing. Write it, or leave the option out")
        return {}
    if _is_list(hint):
        # No name has a comma; the text of a label may.
        if name != "label_map" and any("," in word for word in words):
            spaced = " ".join(" ".join(words).replace(",", " ").split())
            problems.append(f"{place}: expected values with spaces between them; found commas. Write: {spaced}")
            return {}
        return {name: tuple(words)}
    if len(words) > 1:
        problems.append(f"{place}: expected one value; found {' '.join(words)!r}")
        return {}
    try:
        return {name: _value(hint, words[0])}
    except ValueError:
        near = did_you_mean(words[0], _choices(hint)) if _choices(hint) else ""
        problems.append(f"{place}: expected {_expected(hint)}; found {words[0]!r}.{near}".removesuffix("."))
        return {}


def _value(hint: Any, word: str) -> Any:
    """A word as a value of a type; raises a ValueError if it is none."""
    if get_origin(hint) is Literal:
        by_name = {str(choice): choice for choice in get_args(hint)}
        if word not in by_name:
            raise ValueError(word)
        return by_name[word]
    if get_origin(hint) in (Union, UnionType):
        # None first: any word is a path.
        for part in sorted(get_args(hint), key=lambda part: part is not NoneType):
            try:
                return _value(part, word)
            except ValueError:
                continue
        raise ValueError(word)
    if hint is NoneType:
        if word != "None":
            raise ValueError(word)
        return None
    return hint(word)


def _expected(hint: Any) -> str:
    """The values of a type, in words."""
    if get_origin(hint) is Literal:
        return ", ".join(map(str, get_args(hint)))
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_expected(part) for part in get_args(hint) if part is not NoneType)
    if _is_list(hint):
        return "one name or more"
    return {int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}.get(hint, "a text")


def _choices(hint: Any) -> list[str]:
    """The words that a type allows, if it lists any."""
    if get_origin(hint) in (Union, UnionType):
        return [choice for part in get_args(hint) for choice in _choices(part)]
    return list(map(str, get_args(hint))) if get_origin(hint) is Literal else []


def _is_list(hint: Any) -> bool:
    return get_origin(hint) is tuple
