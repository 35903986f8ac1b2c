"""Does jobs: takes what is due, holds it by a lease that it prolongs, and finishes or fails it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import structlog

from guilder.platform import failpoints, origin
from guilder.platform.bus.parking import told
from guilder.platform.db import Database
from guilder.platform.jobs import queue, schedules
from guilder.platform.jobs.held import Held, LeaseLost
from guilder.platform.jobs.queue import Claimed
from guilder.platform.jobs.task import Schedule, Task

CLAIMED: Final = failpoints.declare("jobs.claimed", "a job is held, nothing of it is done")
_LOOK_EVERY_S: Final = 1.0
_PAUSE_S: Final = 1.0
_LOST: Final = "its worker was not heard of any more"

_log = structlog.get_logger("guilder.jobs")


class Worker:
    """Does jobs of ``tasks``, a few at once, and makes those that schedules ask for."""

    def __init__(
        self,
        db: Database,
        tasks: Sequence[Task],
        *,
        scheduled: Sequence[Schedule] = (),
        at_once: int = 8,
    ) -> None:
        self._db = db
        self._tasks = {task.name: task for task in tasks}
        self._schedules = scheduled
        self._at_once = at_once
        self._running: set[asyncio.Task[None]] = set()
        self._is_declared = False

    async def run(self) -> None:
        """Work until cancelled; jobs under way are then given back."""
        try:
            async with self._db.listen(queue.CHANNEL) as woken:
                while True:
                    woken.clear()
                    wait_s = await self._turn(woken)
                    # not wait_for, which forgets that it was cancelled when it is woken just then
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(wait_s):
                            await woken.wait()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _turn(self, woken: asyncio.Event) -> float:
        """Start what can be started, and answer how long there is nothing more to start."""
        try:
            if self._schedules:
                await self._declare()
                await self._db.run(lambda tx: schedules.make_due_jobs(tx, self._schedules))
            free = self._at_once - len(self._running)
            if free:
                leases = {name: task.lease_s for name, task in self._tasks.items()}
                for job in await self._db.run(lambda tx: queue.claim(tx, leases, at_most=free)):
                    self._start(job, woken)
            ready_s = await queue.next_ready_s(self._db, list(self._tasks))
        except Exception as failure:  # noqa: BLE001 - the database is away: in a while, again
            _log.warning("jobs.database_away", failure=type(failure).__name__)
            return _PAUSE_S
        if ready_s is None or len(self._running) == self._at_once:
            return _LOOK_EVERY_S
        return min(max(ready_s, 0.0), _LOOK_EVERY_S)

    async def _declare(self) -> None:
        if not self._is_declared:
            await self._db.run(lambda tx: schedules.declare(tx, self._schedules))
            self._is_declared = True

    def _start(self, job: Claimed, woken: asyncio.Event) -> None:
        running = asyncio.create_task(self._perform(job))
        self._running.add(running)

        def ended(done: asyncio.Task[None]) -> None:
            self._running.discard(done)
            woken.set()

        running.add_done_callback(ended)

    async def _perform(self, job: Claimed) -> None:
        task = self._tasks[job.task]
        if job.attempts > task.patience.attempts:
            await self._db.run(lambda tx: queue.fail(tx, job, pause_s=None, why=_LOST))
            return
        origin.begin(job.origin)
        held = Held(self._db, job, lease_s=task.lease_s)
        keeping = asyncio.create_task(held.keep())
        try:
            try:
                await failpoints.reach(CLAIMED)
                await task.perform(held)
                await held.finish()
            finally:
                keeping.cancel()
        except LeaseLost:
            held.tell_lost()
        except asyncio.CancelledError:
            await self._db.run(lambda tx: queue.give_back(tx, job))
            raise
        except Exception as failure:  # noqa: BLE001 - a job's bug must not end the others
            await self._fail(task, job, failure=failure)

    async def _fail(self, task: Task, job: Claimed, *, failure: Exception) -> None:
        pause_s, why = task.patience.pause_s(job.attempts), told(failure)
        _log.warning("jobs.failed", task=job.task, job_id=str(job.id), failure=why)
        with contextlib.suppress(Exception):  # a lease that is not prolonged ends by itself
            await self._db.run(lambda tx: queue.fail(tx, job, pause_s=pause_s, why=why))
