"""What one process does: answer requests, do background work, or both, until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import uvloop
from prometheus_client import CollectorRegistry

from guilder.apps.background import in_background
from guilder.apps.compose import build_house, http_app, running
from guilder.apps.database import payments_pool, pool
from guilder.apps.figures import Board, SharedRegistry
from guilder.apps.garbage import collect_rarely
from guilder.apps.server import serve_http
from guilder.apps.session import say
from guilder.apps.signals import heeded
from guilder.apps.workers import Duty
from guilder.platform.bus.lag import LagMetrics
from guilder.platform.jobs.metrics import JobMetrics
from guilder.platform.postgres.access import Access
from guilder.platform.settings import Settings

_FIRST: Final = "http-1"
"""The process that looks how far everybody is behind, and what is queued, for all of them."""
NICER: Final = 10
"""How much later than requests background work gets the processor when both want it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a process has to do. ``on`` is where it answers requests; None: nowhere."""

    settings: Settings
    access: Access
    on: socket.socket | None = None
    background: bool = False
    only: Sequence[str] = ()
    ready: Callable[[], None] = field(default=lambda: None)
    name: str = ""
    """What this process is called among others of one parent."""
    board: Board | None = None
    """Where they share their metrics."""


def duties(work: Work, *, sockets: Sequence[socket.socket], background: bool) -> list[Duty]:
    """``work`` in several processes: one for each socket, and one for background work if asked.

    Background work gives way to requests where both want the processor.
    """
    names = [f"http-{number}" for number in range(1, len(sockets) + 1)]
    places: list[tuple[str, socket.socket | None]] = list(zip(names, sockets, strict=True))
    if background:
        places.append(("background", None))
    board = Board([name for name, _ in places]) if work.settings.metrics_token else None

    def live(name: str, on: socket.socket | None, ready: Callable[[], None]) -> None:
        if on is None:
            os.nice(NICER)
        run(replace(work, name=name, on=on, background=on is None, board=board, ready=ready))

    return [Duty(name=name, run=partial(live, name, on)) for name, on in places]


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
        name = "serve" if work.on else "work"
        db = await stack.enter_async_context(pool(work.access, settings=work.settings, name=name))
        registry = await stack.enter_async_context(_registry(work))
        paying = await stack.enter_async_context(payments_pool(work.access))
        house = build_house(
            work.settings, db=db, payments_db=paying, registry=registry, only=work.only
        )
        await stack.enter_async_context(running(house.here))
        collect_rarely()
        if work.background:
            await stack.enter_async_context(
                in_background(house.here, db=db, settings=work.settings, registry=house.registry)
            )
        if work.on is None:
            work.ready()
            await stop.wait()
        else:
            app = http_app(house)
            if work.settings.metrics_token and work.name in {"", _FIRST}:
                for metrics in (LagMetrics(house.registry), JobMetrics(house.registry)):
                    await stack.enter_async_context(_beside(metrics.watch(db)))
            drains = [drain for module in house.here for drain in module.on_drain]
            await serve_http(app, on=work.on, until=stop, ready=work.ready, drains=drains)


def warn_of_separate_counts(settings: Settings) -> None:
    """Say so where several processes let users send more than the rate limit."""
    if settings.workers > 1 and settings.rate_limit != "off" and settings.redis_url is None:
        say(
            f"Note: each of {settings.workers} processes counts requests on its own, so users may "
            f"send up to {settings.workers} times the rate limit; GUILDER_REDIS_URL counts together"
        )


def warn_of_one_address_for_all(settings: Settings) -> None:
    """Say so where a context behind a gateway takes everybody's requests for the gateway's own."""
    if not settings.trusted_proxies:
        say(
            "Warning: whoever comes through the gateway has the gateway's address here, so failed "
            "sign-ins of one slow down all; GUILDER_TRUSTED_PROXIES names the gateway's addresses"
        )


@asynccontextmanager
async def _registry(work: Work) -> AsyncIterator[CollectorRegistry]:
    """What this process counts in, shared with the others where there are any."""
    if work.board is None:
        yield CollectorRegistry()
        return
    registry = SharedRegistry(work.board, name=work.name)
    async with _beside(registry.keep_sharing()):
        yield registry


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
