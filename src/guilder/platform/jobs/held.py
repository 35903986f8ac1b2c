"""A job in the hands of the task that does it, and what it may commit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from guilder.platform import failpoints
from guilder.platform.db import Database, Tx
from guilder.platform.jobs import queue
from guilder.platform.jobs.queue import Claimed

Result = TypeVar("Result")

BEFORE_COMMIT: Final = failpoints.declare(
    "jobs.before_commit", "a job's effect is written, not committed"
)
AFTER_COMMIT: Final = failpoints.declare("jobs.after_commit", "a job's effect is committed")


class LeaseLost(Exception):
    """Another worker has taken the job over: nothing more is committed for it here."""


class Held:
    """A job in the hands of its task."""

    def __init__(self, db: Database, job: Claimed, *, lease_s: float) -> None:
        self._db = db
        self._job = job
        self._lease_s = lease_s
        self.is_done = False

    @property
    def arguments(self) -> Any:
        """What it was enqueued with."""
        return self._job.arguments

    @property
    def attempt(self) -> int:
        """The how-manyth time it is tried."""
        return self._job.attempts

    async def commit(self, work: Callable[[Tx], Awaitable[Result]]) -> Result:
        """Do the job's work and finish the job, in one transaction.

        Raises:
            LeaseLost: another worker has taken over; the work was not done.
        """
        result = await self._db.run(lambda tx: self._fenced(tx, work, ends=True))
        self.is_done = True
        await failpoints.reach(AFTER_COMMIT)
        return result

    async def checkpoint(self, work: Callable[[Tx], Awaitable[Result]]) -> Result:
        """Do a part of the job's work in a transaction; the job goes on.

        Raises:
            LeaseLost: another worker has taken over; the work was not done.
        """
        return await self._db.run(lambda tx: self._fenced(tx, work, ends=False))

    async def keep(self) -> None:
        """Prolong the lease again and again until cancelled."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            with contextlib.suppress(Exception):
                await self._db.run(lambda tx: queue.extend(tx, self._job, lease_s=self._lease_s))

    async def _fenced(
        self, tx: Tx, work: Callable[[Tx], Awaitable[Result]], *, ends: bool
    ) -> Result:
        if not await queue.holds(tx, self._job):
            raise LeaseLost
        result = await work(tx)
        if ends:
            await queue.finish(tx, self._job)
            await failpoints.reach(BEFORE_COMMIT)
        return result
