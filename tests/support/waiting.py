"""Waiting for something to become true, with a deadline, where nothing can tell that it did."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from guilder.platform.db import Database

PATIENCE_S = 60.0
_PAUSE_S = 0.01


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Ask again and again until ``condition`` holds; fail when it does not in a minute."""
    deadline = time.monotonic() + PATIENCE_S
    while not await condition():
        assert time.monotonic() < deadline, f"it never came true: {what}"
        await asyncio.sleep(_PAUSE_S)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """The same for who asks by blocking, as over HTTP."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"it never came true: {what}"


async def are_waiting(db: Database, count: int) -> bool:
    """Whether so many sessions of this server wait for a lock that another has."""
    waiting = await db.fetchval(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND cardinality(pg_blocking_pids(pid)) > 0"
    )
    return bool(waiting == count)
