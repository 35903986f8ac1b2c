"""Several processes under one parent, which starts what crashes again and stops all in order.

The children are forks of a parent that has no thread and no event loop. A child that outlives its
parent by nothing: the kernel kills it when the parent is killed.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Final

import structlog

from guilder.apps.signals import heeded
from guilder.platform.postgres.server import EmbeddedPostgres
from guilder.platform.startup import CannotStart

_log = structlog.get_logger("guilder.workers")
_SET_DEATH_SIGNAL: Final = 1
_LONGEST_STOP_S: Final = 30.0
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 10.0
_SETTLED_AFTER_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What one child does, and the name it has in the log. ``run`` calls what it is given once it
    is ready."""

    name: str
    run: Callable[[Callable[[], None]], None]


@dataclass(slots=True, kw_only=True)
class _Child:
    duty: Duty
    pid: int = 0
    watched: int = -1
    started_at: float = 0.0
    pause_s: float = _FIRST_PAUSE_S
    due_at: float = 0.0


class Workers:
    """Keeps one child for each duty, and the embedded server when there is one, until a signal."""

    def __init__(
        self,
        duties: Sequence[Duty],
        *,
        server: EmbeddedPostgres | None,
        ready: Callable[[], None],
        patience_s: float = _LONGEST_STOP_S,
    ) -> None:
        self._patience_s = patience_s
        self._children = [_Child(duty=duty) for duty in duties]
        self._server = server
        self._ready = ready
        self._readable, self._writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._unready = len(duties)

    def run(self) -> None:
        """Start every duty and return after a signal to stop, once every child has ended.

        ``ready`` is called when each of them has become ready for the first time.

        Raises:
            CannotStart: one of them ended before all were ready.
        """
        with _signals() as signalled:
            try:
                while not self._turn(signalled):
                    continue
            finally:
                self._stop()

    def _turn(self, signalled: int) -> bool:
        """Start what is due, wait for what happens next, and tell whether a signal came."""
        now = monotonic()
        for child in self._children:
            if not child.pid and now >= child.due_at:
                self._start(child)
        happened = self._wait(signalled)
        if self._readable in happened:
            self._count_ready()
        for child in self._children:
            if child.pid and child.watched in happened:
                _bury(child)
                if self._unready > 0:
                    raise CannotStart(f"{child.duty.name} could not start; the log says why")
        if self._server is not None and self._server.wait(timeout_s=0):
            _log.error("database.ended")
            self._server.start()
            _log.warning("database.started_again", pid=self._server.pid)
        return signalled in happened

    def _count_ready(self) -> None:
        before = self._unready
        self._unready -= len(os.read(self._readable, 1024))
        if before > 0 >= self._unready:
            self._ready()

    def _tell_ready(self) -> None:
        os.write(self._writable, b"r")

    def _wait(self, signalled: int) -> list[int]:
        watched = [child.watched for child in self._children if child.pid]
        server = []
        due = [child.due_at for child in self._children if not child.pid]
        timeout_s = max(0.0, min(due) - monotonic()) if due else None
        try:
            server += [] if self._server is None else [os.pidfd_open(self._server.pid)]
        except ProcessLookupError:
            timeout_s = 0.0
        try:
            happened, _, _ = select.select(
                [signalled, self._readable, *watched, *server], [], [], timeout_s
            )
        finally:
            for opened in server:
                os.close(opened)
        return happened

    def _start(self, child: _Child) -> None:
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _live(child.duty, parent=parent, ready=self._tell_ready)
        if child.started_at:
            _log.info("worker.started_again", worker=child.duty.name, pid=pid)
        child.pid, child.watched, child.started_at = pid, os.pidfd_open(pid), monotonic()

    def _stop(self) -> None:
        for number, patience_s in ((signal.SIGTERM, self._patience_s), (signal.SIGKILL, None)):
            until = None if patience_s is None else monotonic() + patience_s
            for child in self._children:
                if child.pid:
                    os.kill(child.pid, number)
            for child in self._children:
                left_s = None if until is None else max(0.0, until - monotonic())
                if child.pid and select.select([child.watched], [], [], left_s)[0]:
                    _reap(child)


def _bury(child: _Child) -> None:
    """Take note of a child that ended by itself, and when to start it again."""
    lived_s = monotonic() - child.started_at
    code = _reap(child)
    child.pause_s = _FIRST_PAUSE_S if lived_s > _SETTLED_AFTER_S else child.pause_s * 2
    child.due_at = monotonic() + min(child.pause_s, _LONGEST_PAUSE_S)
    _log.error("worker.ended", worker=child.duty.name, code=code)


def _reap(child: _Child) -> int:
    _, status = os.waitpid(child.pid, 0)
    os.close(child.watched)
    child.pid, child.watched = 0, -1
    return os.waitstatus_to_exitcode(status)


def _live(duty: Duty, *, parent: int, ready: Callable[[], None]) -> None:
    """A child's whole life. It never returns into what the parent was doing."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        # a Ctrl-C reaches the whole group; the parent alone decides what it means
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() == parent:
            duty.run(ready)
            code = 0
    except BaseException:  # noqa: BLE001 - told here, because nobody above may hear it
        _log.exception("worker.failed", worker=duty.name)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@contextmanager
def _signals() -> Iterator[int]:
    """A descriptor that can be read once a signal to stop has come."""
    readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = {number: signal.signal(number, lambda *_: None) for number in heeded()}
    woken = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    try:
        yield readable
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(readable)
        os.close(writable)
