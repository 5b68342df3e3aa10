"""The kinds of tasks, as far as the options of a run can be checked with them; no model library is imported here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hyperx.errors import did_you_mean

JSON_KEYS = frozenset({"sent_id", "text", "text_pair", "words", "space_after", "entities", "confidence", "error"})
"""The keys of predicted JSON lines other than the tasks' names, which have the labels."""
RAW_TEXT = "mlm"
"""The kind that reads raw text."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a kind of task before its class is loaded: the values of the same names in its class.

    Args:
        column: the column by which its data is found.
        auxiliary: whether it only serves other tasks.
    """

    column: str
    auxiliary: bool = False


KINDS: dict[str, Kind] = {
    "ner": Kind("ner"),
    "pos": Kind("upos"),
    "dep": Kind("head"),
    RAW_TEXT: Kind("text", auxiliary=True),
    "cls": Kind("label"),
}
"""Every kind of task by its name; :data:`hyperx.tasks.registry.TASKS` has their classes."""

# The attributes of torch.nn.ModuleDict (the transformers library adds one), in which a model keeps its heads by the
# names of their tasks.
RESERVED = frozenset(
    """
    T_destination add_module apply bfloat16 buffers call_super_init children clear compile cpu cuda double
    dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu
    items keys load_state_dict modules mtia named_buffers named_children named_modules named_parameters parameters
    pop register_backward_hook register_buffer register_forward_hook register_forward_pre_hook
    register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter register_state_dict_post_hook
    register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule share_memory smart_apply state_dict to
    to_empty train training type update values xpu zero_grad
    """.split()  # noqa: SIM905  (a table reads better)
)


def is_reserved(name: str) -> bool:
    """Whether PyTorch keeps a name for itself: it does so with all that begin with ``_``."""
    return name in RESERVED or name.startswith("_")


def kinds_of(names: Mapping[str, str]) -> dict[str, Kind]:
    """What is known of tasks by name, from the name of each one's kind; unknown kinds are left out."""
    return {name: KINDS[kind] for name, kind in names.items() if kind in KINDS}


def read_kinds(entries: Sequence[str], used: Iterable[str], problems: list[str]) -> dict[str, str]:
    """The kind of every task by its name, in order.

    Args:
        entries: the user's list: ``kind``, or ``name=kind``.
        used: names in use, which are the tasks if nothing is listed.
        problems: the list to which problems are added.
    """
    kinds: dict[str, str] = {}
    for entry in entries or tuple(dict.fromkeys(used)):
        name, separator, kind = entry.partition("=")
        kind = kind if separator else name
        if name in kinds:
            problems.append(f"--tasks: {name!r} is named twice; give each task a name of its own")
        elif kind not in KINDS:
            place, known = "--tasks" if entries else "pairs", ", ".join(KINDS)
            problems.append(f"{place}: there is no task {kind!r}; there are {known}.{_kind_hint(kind, entries)}")
        elif is_reserved(name):
            problems.append(f"--tasks: {name!r} is a word that PyTorch keeps for itself; choose another name")
        elif name in JSON_KEYS:
            problems.append(f"--tasks: {name!r} has another meaning in predict's JSON lines; choose another name")
        elif not name.isidentifier():
            problems.append(f"--tasks: expected a name of letters, digits and _; found {name!r}")
        else:
            kinds[name] = kind
    return kinds


def _kind_hint(kind: str, entries: Sequence[str]) -> str:
    close = did_you_mean(kind, KINDS)
    if close or entries:
        return close
    return f" A task with a name of its own needs its kind: --tasks {kind}=KIND, with all other tasks"
