"""A job in the hands of the task that does it, and what it may commit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import structlog

from guilder.platform import failpoints
from guilder.platform.db import Database, Tx
from guilder.platform.jobs import queue
from guilder.platform.jobs.queue import Claimed

Result = TypeVar("Result")

_log = structlog.get_logger("guilder.jobs")

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
        self._is_done = False
        self._is_ending = False
        self._is_lost = False

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
        self._is_ending = True
        result = await self._db.run(lambda tx: self._fenced(tx, work, ends=True))
        self._is_done = True
        await failpoints.reach(AFTER_COMMIT)
        return result

    async def finish(self) -> None:
        """Finish the job, unless its task has committed it.

        Raises:
            LeaseLost: another worker has taken over, and does it, too.
        """
        if self._is_done:
            return
        self._is_ending = True
        if not await self._db.run(lambda tx: queue.finish(tx, self._job)):
            raise LeaseLost

    async def checkpoint(self, work: Callable[[Tx], Awaitable[Result]]) -> Result:
        """Do a part of the job's work in a transaction; the job goes on.

        Raises:
            LeaseLost: another worker has taken over; the work was not done.
        """
        return await self._db.run(lambda tx: self._fenced(tx, work, ends=False))

    async def keep(self) -> None:
        """Prolong the lease again and again until cancelled, or until the job is no longer held."""
        is_held = True
        while is_held:
            await asyncio.sleep(self._lease_s / 3)
            with contextlib.suppress(Exception):
                is_held = await self._db.run(
                    lambda tx: queue.extend(tx, self._job, lease_s=self._lease_s)
                )
        if not self._is_ending:  # whoever ends it finds out for themselves
            self.tell_lost()

    def tell_lost(self) -> None:
        """Say, once, that another worker has taken the job over while it was being done here."""
        if not self._is_lost:
            self._is_lost = True
            _log.warning("jobs.lease_lost", task=self._job.task, job_id=str(self._job.id))

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
