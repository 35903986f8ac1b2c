"""Signals outside of an event loop: what a Ctrl-C or a TERM means while something must be whole."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heeded() -> list[signal.Signals]:
    """The signals that mean stop to this process: not those that whoever started it switched off.

    ``nohup`` ignores the closing of a terminal, and a parent that decides for its children lets
    them ignore Ctrl-C.
    """
    return [number for number in _STOPPING if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no signal cut what stops in order; only SIGKILL does."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_on_term() -> None:
    """Make TERM and HUP end this process as Ctrl-C does, so that what was opened is closed."""
    for number in heeded():
        if number != signal.SIGINT:
            signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
