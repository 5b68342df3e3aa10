"""Ctrl-C and signals that ask to end: a command ends at once, a training run after its batch, with a checkpoint."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import FrameType
from typing import Any

SIGNALS = [number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
"""Ctrl-C, what schedulers of jobs send, and what the end of a terminal sends."""
SAME = 0.5
"""Seconds in which signals count as one: of a Ctrl-C, wrappers such as `torchrun` send their processes another."""


class Interrupted(KeyboardInterrupt):
    """The process was asked to end, by the signal of this number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _State:
    """What this process was told, and who listens."""

    command: str | None = None
    deferred = False
    number = 0
    heard_at = 0.0


def told() -> int:
    """The signal that asked this process to end, 0 if none did."""
    return _State.number


def ending_at_once(command: str) -> AbstractContextManager[None]:
    """While a command runs, a signal raises :class:`Interrupted`. A second one ends the process, and so does a signal
    during an import, in which an exception may be swallowed or leave a module half made."""
    return _listening("command", command)


def deferred() -> AbstractContextManager[None]:
    """While a run looks at :func:`told` after every batch, a signal is only noted; a second one is not deferred."""
    if _State.number:  # it came before, and its exception was swallowed
        raise Interrupted(_State.number)
    return _listening("deferred", True)


@contextmanager
def _listening(state: str, value: str | bool) -> Iterator[None]:
    """Handle signals in this block; those that the process ignores (``nohup``) remain ignored."""
    before, handlers = getattr(_State, state), dict[int, Any]()
    if threading.current_thread() is threading.main_thread():  # only the main thread may have handlers
        known = {number: signal.getsignal(number) for number in SIGNALS}
        handlers = {number: handler for number, handler in known.items() if handler not in (signal.SIG_IGN, None)}
    setattr(_State, state, value)
    try:
        for number in handlers:
            signal.signal(number, _hear)
        yield
    finally:
        setattr(_State, state, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if handlers and _hear not in handlers.values():  # the outermost block
            _State.number = 0


def _hear(number: int, frame: FrameType | None) -> None:
    again, now = bool(_State.number), time.monotonic()
    if again and now - _State.heard_at < SAME:
        return
    _State.number, _State.heard_at = number, now
    if _State.command is not None and (again or (not _State.deferred and _importing(frame))):
        with suppress(OSError):  # the terminal may be gone
            os.write(2, f"\nhyperx {_State.command}: interrupted\n".encode())
        os._exit(128 + number)
    if again or not _State.deferred:
        raise Interrupted(number)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None
