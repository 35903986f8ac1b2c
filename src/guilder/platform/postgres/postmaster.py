"""What runs on a data folder right now, read from PostgreSQL's pid file and from /proc."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_STATUS_LINE: Final = 7
READY: Final = "ready"
STOPPING: Final = "stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Postmaster:
    """The server's main process, with what it says of itself: starting, ready or stopping."""

    pid: int
    status: str


def postmaster_of(cluster: Path) -> Postmaster | None:
    """The living server of ``cluster``; None when none runs, whatever a stale pid file says."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    if not lines or not lines[0].strip().isdecimal():
        return None
    pid = int(lines[0])
    if pid not in processes_on(cluster):
        return None
    status = lines[_STATUS_LINE].strip() if len(lines) > _STATUS_LINE else "starting"
    return Postmaster(pid=pid, status=status)


def processes_on(cluster: Path) -> frozenset[int]:
    """Every PostgreSQL process that works in ``cluster``: the server and its children."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            # a process may end while we look, and those of others are not ours to see
            with suppress(OSError):
                works_here = (entry / "cwd").samefile(cluster)
                if works_here and (entry / "comm").read_text().strip() == "postgres":
                    found.add(int(entry.name))
    return frozenset(found)


def forget_dead_server(cluster: Path, *, sockets: Path) -> None:
    """Clear what a killed server left: its orphaned children, its pid file, its socket.

    PostgreSQL clears these itself unless the dead server's number has been given to another
    process, which happens after a reboot and in containers. Call only while no server lives and
    the folder is held.
    """
    # without its server such a child ends by itself, soon; nothing it holds was acknowledged
    orphans = processes_on(cluster)
    for pid in orphans:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in orphans:
        wait_for_end(pid, timeout_s=None)
    (cluster / "postmaster.pid").unlink(missing_ok=True)
    for left in sockets.glob(".s.PGSQL.*"):
        left.unlink(missing_ok=True)


def wait_for_end(pid: int, *, timeout_s: float | None) -> bool:
    """Wait until the process ``pid`` has ended; False when it still runs after ``timeout_s``."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ended, _, _ = select.select([watched], [], [], timeout_s)
    finally:
        os.close(watched)
    return bool(ended)
