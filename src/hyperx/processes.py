"""The processes that a launcher such as torchrun has started: which one this is, and what all of them agree on."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

# PyTorch is imported where it is needed: messages do not wait for it.
if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState
    from torch import Tensor

T = TypeVar("T")
_TOLD = "hyperx is told to end by the signal"


def several() -> bool:
    """Whether a launcher has started this process and others."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def is_main() -> bool:
    """Whether this process shows and writes what all do."""
    return not several() or os.environ.get("RANK") == "0"


@contextmanager
def together() -> Iterator[None]:
    """Let the main process show what all do; and if they have to end, the first that knows say why."""
    if not several():
        yield
        return
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else each advises what no batch of several tasks can do
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if not is_main():
        logging.disable()
        os.dup2(nowhere, 1)
    try:
        yield
    except BaseException as error:
        if not _tells_why(error):
            os.dup2(nowhere, 2)
        raise


def _tells_why(error: BaseException) -> bool:
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_initialized():
        try:
            return bool(_store().compare_set("hyperx ends", "", os.environ["RANK"]).decode() == os.environ["RANK"])
        except RuntimeError:  # the process that keeps the store has ended, and said why
            return False
    first = os.environ.get("LOCAL_RANK") == "0"
    if not first and not isinstance(error, KeyboardInterrupt):
        time.sleep(10)  # usually the first of the machine finds the same, and the launcher ends this one meanwhile
        return True
    return first


def _store() -> Any:
    from torch.distributed.distributed_c10d import _get_default_store

    return _get_default_store()


class Processes:
    """All processes of a command, or this one alone. They agree over the network of CPUs: no GPU is waited for."""

    def __init__(self, state: Accelerator | PartialState | None = None) -> None:
        self.number: int = 0 if state is None else state.process_index
        self.count: int = 1 if state is None else state.num_processes
        self._group = None
        if self.count > 1:
            from torch.distributed import new_group

            self._group = new_group(backend="gloo", timeout=timedelta(hours=12))  # one may read data for long

    def gathered(self, value: T) -> list[T]:
        """What each process gives; all wait for it."""
        if self._group is None:
            return [value]
        import torch

        own, sizes = pickle.dumps(value), torch.zeros(self.count, dtype=torch.int64)
        sizes[self.number] = len(own)
        every = torch.zeros(self.count, int(self._summed(sizes).max()), dtype=torch.uint8)
        every[self.number, : len(own)] = torch.frombuffer(bytearray(own), dtype=torch.uint8)
        return [pickle.loads(row.numpy()) for row in self._summed(every)]

    def _summed(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over all processes, in place.

        For a moment longer a thread of the process group holds the tensor, and needs the interpreter lock to let go of
        it. The end of a run waits for that thread without releasing the lock, so here it is waited for until it has.
        """
        from torch.distributed import all_reduce

        all_reduce(tensor, group=self._group)
        while tensor._use_count() > 1:  # type: ignore[attr-defined]
            time.sleep(1e-4)
        return tensor

    @contextmanager
    def one_first(self) -> Iterator[None]:
        """Let the first process of each machine do something before the others, which find what it has cached."""
        first = os.environ.get("LOCAL_RANK", "0") == "0"
        if not first:
            self.gathered(None)
        yield
        if first:
            self.gathered(None)

    def told(self, number: int) -> int:
        """The signal that this process was told to end by, or any other: none is waited for."""
        if self.count > 1 and number:
            _store().set(_TOLD, str(number))
        elif self.count > 1 and _store().check([_TOLD]):
            return int(_store().get(_TOLD))
        return number


ALONE = Processes()
