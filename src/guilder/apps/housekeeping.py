"""What the platform itself has to do in the background, as a module beside the contexts'."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from guilder.platform.bus.checks import CHECKS
from guilder.platform.bus.retention import forget_old_events
from guilder.platform.db import Database
from guilder.platform.module import Job, Module
from guilder.platform.settings import Settings

_EVERY_S: Final = 60.0


def build(settings: Settings, *, db: Database) -> Module:
    """Old events are deleted; what the bus has recorded is checked."""
    keep = timedelta(days=settings.event_retention_days)

    async def forget() -> None:
        await forget_old_events(db, keep=keep)

    return Module(
        name="platform",
        service_names=(),
        routes=(),
        jobs=(Job(name="platform.forget_old_events", every_s=_EVERY_S, run=forget),),
        checks=CHECKS,
    )
