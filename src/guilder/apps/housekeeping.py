"""What the platform itself has to do in the background, as a module beside the contexts'."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from guilder.platform import ephemeral, once
from guilder.platform.bus.checks import CHECKS as BUS_CHECKS
from guilder.platform.bus.retention import forget_old_events
from guilder.platform.db import Database
from guilder.platform.jobs.checks import CHECKS as JOB_CHECKS
from guilder.platform.jobs.queue import forget_done
from guilder.platform.module import Job, Module
from guilder.platform.settings import Settings

_EVERY_S: Final = 60.0


def build(settings: Settings, *, db: Database) -> Module:
    """What is old, done or over is deleted; what was recorded of events and jobs is checked."""
    keep = timedelta(days=settings.event_retention_days)

    async def forget_events() -> None:
        await forget_old_events(db, keep=keep)

    async def forget_jobs() -> None:
        await forget_done(db, keep=keep)

    async def clear_keys() -> None:
        await db.run(ephemeral.clear)

    async def clear_marks() -> None:
        await once.clear_marks(db)

    return Module(
        name="platform",
        service_names=(),
        routes=(),
        jobs=(
            Job(name="platform.forget_old_events", every_s=_EVERY_S, run=forget_events),
            Job(name="platform.forget_done_jobs", every_s=_EVERY_S, run=forget_jobs),
            Job(name="platform.clear_ephemeral_keys", every_s=_EVERY_S, run=clear_keys),
            Job(name="platform.clear_attempts", every_s=_EVERY_S, run=clear_marks),
        ),
        checks=(*BUS_CHECKS, *JOB_CHECKS),
    )
