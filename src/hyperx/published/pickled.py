"""A pickled ``argparse.Namespace``, read without running anything: the file's instructions are interpreted here.

Python's own unpickler calls whatever a file names. This one knows the instructions that plain values need, calls
nothing, and accepts two names: ``argparse.Namespace`` and the scheduler type of the transformers library, which are
read as a mapping and as a string.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hyperx.errors import CheckpointError

LIMIT = 1 << 20
"""Largest size in bytes of a file of arguments; real ones have a few thousand."""


@dataclass(frozen=True)
class _Name:
    """A name that the file refers to; it is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class _Namespace:
    """What the file builds for ``argparse.Namespace``."""

    values: dict[str, Any] = field(default_factory=dict)


NAMESPACE = _Name("argparse", "Namespace")
SCHEDULER = _Name("transformers.trainer_utils", "SchedulerType")


class _Refused(Exception):
    """The file contains something that is not a plain value."""


def read_arguments(path: Path) -> dict[str, Any]:
    """The arguments in a file, by name: strings, numbers, booleans, None, and lists and mappings of them.

    Raises:
        CheckpointError: if the file is missing, too large or damaged, or names anything but the two classes.
    """
    data = _content(path)
    try:
        value = _Reader().read(data)
    except _Refused as error:
        raise CheckpointError(
            f"{path}: expected a plain {NAMESPACE} of texts, numbers and lists; found {error}. "
            "Nothing of the file was run"
        ) from None
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"{path} is damaged or no pickle: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(value, _Namespace):
        raise CheckpointError(f"{path}: expected an {NAMESPACE}; found {_what(value)}")
    return value.values


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > LIMIT:
        raise CheckpointError(f"{path}: expected arguments of at most {LIMIT:,} bytes; it holds more")
    return data


class _Reader:
    """A stack machine for one pickle. Instructions that are not in the tables below are refused."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def read(self, data: bytes) -> Any:
        """The value of a pickle."""
        for instruction, argument, _ in pickletools.genops(data):
            if instruction.name == "STOP":
                return self.pop()
            self.step(instruction.name, argument)
        raise ValueError("it has no end")

    def step(self, instruction: str, argument: Any) -> None:
        """Execute one instruction."""
        if instruction in _CONSTANTS:
            self.stack.append(_CONSTANTS[instruction]())
        elif instruction in _LITERALS:
            self.stack.append(argument)
        elif instruction in _INSTRUCTIONS:
            _INSTRUCTIONS[instruction](self, argument)
        else:
            raise _Refused(f"the instruction {instruction}" + (f" {argument}" if isinstance(argument, str) else ""))

    # The stack --------------------------------------------------------------------------------------------------------

    def pop(self) -> Any:
        """The topmost value above the last mark."""
        if self.marks and len(self.stack) <= self.marks[-1]:
            raise ValueError("a value is missing")
        return self.stack.pop()

    def plain(self) -> Any:
        """The topmost value, which must be a plain one."""
        value = self.pop()
        if isinstance(value, _Name | _Namespace):
            raise _Refused(f"{_what(value)} as a value")
        return value

    def plains(self) -> list[Any]:
        """The values above the last mark, which is removed."""
        found = [self.plain() for _ in range(len(self.stack) - self.marks[-1])]
        self.marks.pop()
        return found[::-1]

    def top(self, kind: type[Any]) -> Any:
        """The topmost value, which must be of a kind and stays on the stack."""
        value = self.stack[-1]
        if not isinstance(value, kind):
            raise ValueError(f"expected a {kind.__name__}, found a {type(value).__name__}")
        return value

    # Instructions -----------------------------------------------------------------------------------------------------

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def append(self, _: Any) -> None:
        value = self.plain()
        self.top(list).append(value)

    def appends(self, _: Any) -> None:
        values = self.plains()
        self.top(list).extend(values)

    def set_item(self, _: Any) -> None:
        value, key = self.plain(), self.plain()
        self.update([key, value])

    def set_items(self, _: Any) -> None:
        self.update(self.plains())

    def update(self, values: list[Any]) -> None:
        """Add alternating keys and values to the topmost mapping."""
        if not all(key is None or isinstance(key, str | int | float) for key in values[::2]):
            raise _Refused("a mapping whose keys are no texts or numbers")
        self.top(dict).update(zip(values[::2], values[1::2], strict=True))

    def make_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self.plains()))

    def make_tuple_of(self, count: int) -> None:
        values = [self.plain() for _ in range(count)]
        self.stack.append(tuple(values[::-1]))

    def put(self, index: Any) -> None:
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]

    def get(self, index: Any) -> None:
        self.stack.append(self.memo[index])

    def name(self, argument: Any) -> None:
        """A name from the instruction itself, or from the stack; only the two that are known."""
        if argument is None:
            name, module = self.plain(), self.plain()
        else:
            module, _, name = argument.partition(" ")
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is no text")
        found = _Name(module, name)
        if found not in (NAMESPACE, SCHEDULER):
            raise _Refused(f"the name {found}")
        self.stack.append(found)

    def call(self, _: Any) -> None:
        """Only ``SchedulerType(text)``, which is read as the text."""
        arguments, called = self.plain(), self.pop()
        if called != SCHEDULER or not (
            isinstance(arguments, tuple) and len(arguments) == 1 and isinstance(arguments[0], str)
        ):
            raise _Refused(f"a call of {_what(called)}")
        self.stack.append(arguments[0])

    def new(self, _: Any) -> None:
        """Only ``Namespace()``."""
        arguments, made = self.plain(), self.pop()
        if made != NAMESPACE or arguments != ():
            raise _Refused(f"an object of {_what(made)}")
        self.stack.append(_Namespace())

    def build(self, _: Any) -> None:
        """The values of a namespace."""
        values = self.plain()
        target = self.stack[-1]
        if not isinstance(target, _Namespace) or not isinstance(values, dict):
            raise _Refused(f"a state of {_what(target)}")
        if not all(isinstance(key, str) for key in values):
            raise _Refused("arguments whose names are no texts")
        target.values.update(values)


def _what(value: Any) -> str:
    """A value in an error: only its type, as a hostile value may be too deep to print."""
    if isinstance(value, _Name):
        return f"the class {value}"
    return f"an {NAMESPACE}" if isinstance(value, _Namespace) else f"a {type(value).__name__}"


def _nothing(_reader: _Reader, _argument: Any) -> None:
    """For instructions without an effect on the value."""


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
}

_LITERALS = frozenset(
    ["LONG1", "LONG4", "BININT", "BININT1", "BININT2", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"]
)

_INSTRUCTIONS: dict[str, Callable[[_Reader, Any], None]] = {
    "PROTO": _nothing,
    "FRAME": _nothing,
    "MARK": _Reader.mark,
    "APPEND": _Reader.append,
    "APPENDS": _Reader.appends,
    "SETITEM": _Reader.set_item,
    "SETITEMS": _Reader.set_items,
    "TUPLE": _Reader.make_tuple,
    "TUPLE1": lambda reader, _: reader.make_tuple_of(1),
    "TUPLE2": lambda reader, _: reader.make_tuple_of(2),
    "TUPLE3": lambda reader, _: reader.make_tuple_of(3),
    "BINPUT": _Reader.put,
    "LONG_BINPUT": _Reader.put,
    "MEMOIZE": _Reader.put,
    "BINGET": _Reader.get,
    "LONG_BINGET": _Reader.get,
    "GLOBAL": _Reader.name,
    "STACK_GLOBAL": _Reader.name,
    "REDUCE": _Reader.call,
    "NEWOBJ": _Reader.new,
    "BUILD": _Reader.build,
}
