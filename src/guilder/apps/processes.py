"""What one process does: answer requests, do background work, or both, until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
import uvloop

from guilder.apps.background import in_background
from guilder.apps.compose import build_house, http_app, running
from guilder.apps.database import pool
from guilder.apps.garbage import collect_rarely
from guilder.apps.server import serve_http
from guilder.apps.signals import heeded
from guilder.platform.bus.lag import LagMetrics
from guilder.platform.bus.restored import settle_restored
from guilder.platform.db import Database
from guilder.platform.postgres.access import Access
from guilder.platform.postgres.server import EmbeddedPostgres
from guilder.platform.settings import Settings

_log = structlog.get_logger("guilder.process")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a process has to do. ``on`` is where it answers requests; None: nowhere."""

    settings: Settings
    access: Access
    on: socket.socket | None
    background: bool
    only: Sequence[str] = ()
    ready: Callable[[], None] = field(default=lambda: None)
    server: EmbeddedPostgres | None = None
    """An embedded PostgreSQL to start again should it end while this runs."""


def run(work: Work) -> None:
    """Do ``work`` until a signal says stop, then finish what was begun and return."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(work))


async def _run(work: Work) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in heeded():
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        if work.server is not None:
            await stack.enter_async_context(_beside(_keep_running(work.server, stop=stop)))
        name = "serve" if work.on else "work"
        db = await stack.enter_async_context(pool(work.access, settings=work.settings, name=name))
        await settled_after_restore(db)
        house = build_house(work.settings, db=db, only=work.only)
        await stack.enter_async_context(running(house.here))
        collect_rarely()
        if work.background:
            await stack.enter_async_context(
                in_background(house.here, db=db, settings=work.settings)
            )
        if work.on is None:
            work.ready()
            await stop.wait()
        else:
            app, lags = http_app(house), LagMetrics(house.registry)
            await stack.enter_async_context(_beside(lags.watch(db)))
            drains = [drain for module in house.here for drain in module.on_drain]
            await serve_http(app, on=work.on, until=stop, ready=work.ready, drains=drains)


async def settled_after_restore(db: Database) -> None:
    """Look whether this database was restored from another server, as far as it can be asked now.

    One that is away is served once it is back, as ever; it was restored by nobody meanwhile.
    """
    try:
        await settle_restored(db)
    except Exception:  # noqa: BLE001 - readiness says what is wrong with the database
        _log.warning("process.database_unasked", exc_info=True)


async def _keep_running(server: EmbeddedPostgres, *, stop: asyncio.Event) -> None:
    """Start the embedded server again whenever it ends; when that fails, stop this process."""
    while True:
        await _ended(server.pid)
        _log.error("database.ended")
        try:
            await asyncio.to_thread(server.start)
        except Exception:
            stop.set()
            raise
        _log.warning("database.started_again", pid=server.pid)


async def _ended(pid: int) -> None:
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(watched, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(watched)
        os.close(watched)


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """``work`` as long as the block lasts; its failure is raised when the block ends."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(outcome, Exception):
        raise outcome
