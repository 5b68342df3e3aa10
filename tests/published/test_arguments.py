"""Pickled arguments: plain values are read, nothing is run."""

from __future__ import annotations

import argparse
import contextlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.trainer_utils import IntervalStrategy, SchedulerType

from hyperx.errors import CheckpointError
from hyperx.published.arguments import LIMIT, read_arguments

VALUES = {
    "tasks": ["ner", "pos"],
    "languages": [],
    "max_length": 256,
    "seed": 2**70,
    "warmup_steps": -3,
    "learning_rate": 1e-4,
    "fp16": True,
    "no_cuda": False,
    "output_dir": None,
    "name": "Über " * 100,
    "name again": "Über " * 100,
}


@pytest.fixture
def reading(tmp_path: Path) -> Callable[[bytes], dict[str, Any]]:
    """Read a pickle from its file."""

    def read(data: bytes) -> dict[str, Any]:
        (tmp_path / "hyperx_args.bin").write_bytes(data)
        return read_arguments(tmp_path / "hyperx_args.bin")

    return read


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values(reading: Callable[[bytes], dict[str, Any]], protocol: int) -> None:
    written = argparse.Namespace(**VALUES, lr_scheduler_type=SchedulerType.POLYNOMIAL, nested={"a": [{"b": 1}]})
    # What is neither a plain value nor a list of them says nothing about a model.
    assert reading(pickle.dumps(written, protocol)) == VALUES | {"lr_scheduler_type": "polynomial"}


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(values=st.dictionaries(st.text(), PLAIN | st.lists(PLAIN)), protocol=st.integers(2, 5))
@settings(deadline=None, max_examples=50)
def test_any_plain_values(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any], protocol: int) -> None:
    place = tmp_path_factory.mktemp("arguments") / "a.bin"
    written = argparse.Namespace()
    vars(written).update(values)
    place.write_bytes(pickle.dumps(written, protocol))
    assert read_arguments(place) == values


class Hostile:
    """Its pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class Named(argparse.Namespace):
    """Not the plain namespace."""


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


RUN = "touch ran"
NAMESPACE = b"cargparse\nNamespace\n"
SCHEDULER = b"ctransformers.trainer_utils\nSchedulerType\n"
HOSTILE = {
    **{f"system-{i}": (pickle.dumps(Hostile(os.system, RUN), i), f"the name {os.name}.system") for i in range(6)},
    "eval": (pickle.dumps(Hostile(eval, "open('ran', 'w')")), "the name builtins.eval"),
    "exec, in a list": (
        pickle.dumps(argparse.Namespace(tasks=["ner", [Hostile(exec, "open('ran', 'w')")]])),
        "the name builtins.exec",
    ),
    "a subclass": (pickle.dumps(Named(tasks=["ner"])), ".Named"),
    "another enumeration": (
        pickle.dumps(argparse.Namespace(evaluation_strategy=IntervalStrategy.NO)),
        "the name transformers.trainer_utils.IntervalStrategy",
    ),
    "a path": (pickle.dumps(argparse.Namespace(output_dir=Path("x"))), "the name pathlib."),
    "an attribute of a class": (
        b"\x80\x04" + short("argparse") + short("Namespace.__init__") + b"\x93.",
        "the name argparse.Namespace.__init__",
    ),
    "a name from the stack": (
        b"\x80\x04" + short("os") + short("system") + b"\x93" + short(RUN) + b"\x85R.",
        "the name os.system",
    ),
    "INST": (b"(" + short(RUN) + b"ios\nsystem\n.", "the instruction INST"),
    "OBJ": (b"(" + NAMESPACE + short(RUN) + b"o.", "the instruction OBJ"),
    "NEWOBJ_EX": (b"\x80\x04" + NAMESPACE + b")}\x92.", "the instruction NEWOBJ_EX"),
    "a call of the namespace": (NAMESPACE + b"}\x85R.", "found a call"),
    "a scheduler of two": (SCHEDULER + short("a") + short("b") + b"\x86R.", "the instruction TUPLE2"),
    "a scheduler of a number": (SCHEDULER + b"K\x01\x85R.", "found a call"),
    "a new scheduler": (SCHEDULER + b")\x81.", "an object of another class"),
    "a namespace with arguments": (NAMESPACE + b"K\x01\x85\x81.", "an object of another class"),
    "a call of a text": (short("x") + b")R.", "found a call"),
    "a state of a class": (NAMESPACE + b"}" + short("a") + b"K\x01sb.", "a state of another object"),
    "a state of a list": (b"]}b.", "a state of another object"),
    "a state in two parts": (NAMESPACE + b")\x81N}\x86b.", "the instruction TUPLE2"),
    "a namespace as a state": (NAMESPACE + b")\x81" + NAMESPACE + b")\x81b.", "a state of another object"),
    "names that are numbers": (NAMESPACE + b")\x81}K\x01K\x02sb.", "keys are no texts"),
    "an extension": (b"\x82\x01.", "the instruction EXT1"),
    "a persistent id": (b"Pab\n.", "the instruction PERSID"),
    "a persistent object": (b"K\x01Q.", "the instruction BINPERSID"),
    "a set": (pickle.dumps(argparse.Namespace(a={1})), "the instruction EMPTY_SET"),
    "bytes": (pickle.dumps(argparse.Namespace(a=b"x")), "the instruction SHORT_BINBYTES"),
    "a tuple as a key": (pickle.dumps(argparse.Namespace(a={(1,): 2})), "keys are no texts"),
    "a mapping": (pickle.dumps({"tasks": ["ner"]}), "found a dict"),
    "a class": (NAMESPACE + b".", "found a name"),
    "nothing": (b"", "damaged or no pickle"),
    "a text file": (b"tasks: ner\n", "the instruction TUPLE"),
    "an empty stack": (b"\x80\x02.", "damaged or no pickle"),
    "an open mark": (b"]((.", "found a list"),
    "half of a pair": (b"}(" + short("a") + b"u.", "damaged or no pickle"),
    "an unknown memory": (b"h\x07.", "damaged or no pickle"),
    "great depth": (b"]" * 200_000 + b"a" * 199_999 + b".", "found a list"),
    "great depth as a key": (b"})" + b"\x85" * 200_000 + b"Ns.", "keys are no texts"),
    "great depth called": (b")" + b"\x85" * 200_000 + b")R.", "found a call"),
    "a memory far out": (b"]r\xff\xff\xff\xff.", "found a list"),
    "a large file": (b"\x80\x02" + b"]0" * LIMIT, "at most"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_all_else_is_refused(
    reading: Callable[[bytes], Any], case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data, reason = HOSTILE[case]
    with pytest.raises(CheckpointError) as caught:
        reading(data)
    assert reason.replace("posix", os.system.__module__) in str(caught.value)
    assert str(tmp_path / "hyperx_args.bin") in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["hyperx_args.bin"]


def test_the_hostile_files_are_hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own reader runs them: the test before this one would see it."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(HOSTILE["system-4"][0])
    assert (tmp_path / "ran").exists()


def test_no_file_and_every_beginning_of_one_is_damaged(reading: Callable[[bytes], Any], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot read .*No such file"):
        read_arguments(tmp_path / "none")
    data = pickle.dumps(argparse.Namespace(**VALUES), 4)
    for length in range(len(data) - 1):
        with pytest.raises(CheckpointError):
            reading(data[:length])


@given(
    data=st.binary(max_size=40) | st.lists(st.sampled_from(b"(.0KN]a}su)\x85\x81Rbh\x94\x93c\n\x8c\x01x")).map(bytes)
)
@settings(deadline=None, max_examples=300)
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    place = tmp_path_factory.mktemp("bytes") / "a.bin"
    place.write_bytes(NAMESPACE + b")\x81" + data)
    with contextlib.suppress(CheckpointError):
        assert isinstance(read_arguments(place), dict)
