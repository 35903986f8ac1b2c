"""Background work: subscriptions that are fed from the bus, and jobs that run again and again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from guilder.apps.buses import Running, bus_of
from guilder.platform.db import Database
from guilder.platform.jobs import Worker
from guilder.platform.module import Job, Module
from guilder.platform.settings import Settings

_log = structlog.get_logger("guilder.background")
_PAUSE_AFTER_FAILURE_S: Final = 1.0


async def run_background(modules: Iterable[Module], *, db: Database, bus: Running) -> None:
    """Keep ``bus`` running and do every job of ``modules`` until cancelled."""
    listed = tuple(modules)
    tasks = [task for module in listed for task in module.tasks]
    async with asyncio.TaskGroup() as group:
        group.create_task(_keep_feeding(bus))
        if tasks:
            scheduled = [schedule for module in listed for schedule in module.schedules]
            group.create_task(Worker(db, tasks, scheduled=scheduled).run())
        for module in listed:
            for job in module.jobs:
                group.create_task(_repeat(job))


@asynccontextmanager
async def in_background(
    modules: Iterable[Module],
    *,
    db: Database,
    settings: Settings,
    registry: CollectorRegistry | None = None,
) -> AsyncIterator[None]:
    """Feed every subscription and do every job of ``modules`` beside whatever the block does."""
    listed = tuple(modules)
    subscriptions = [heard for module in listed for heard in module.subscriptions]
    bus = bus_of(settings, subscriptions, db=db, registry=registry)
    task = asyncio.create_task(run_background(listed, db=db, bus=bus))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _keep_feeding(bus: Running) -> None:
    while True:
        try:
            await bus.run()
        except Exception:  # noqa: BLE001 - the database went away: try again, for as long as needed
            _log.exception("background.bus_failed")
        await asyncio.sleep(_PAUSE_AFTER_FAILURE_S)


async def _repeat(job: Job) -> None:
    while True:
        try:
            await job.run()
        except Exception:  # noqa: BLE001 - a job's bug must not end the others
            _log.exception("background.job_failed", job=job.name)
        # spread, so that several processes do not all ask at the same moment
        await asyncio.sleep(job.every_s * random.uniform(0.9, 1.1))  # noqa: S311 - no secret
