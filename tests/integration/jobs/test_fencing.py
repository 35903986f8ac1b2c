"""Workers that are killed or frozen: their jobs are taken over and done once, by whoever holds."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess

import pytest
from structlog.testing import capture_logs

from guilder.platform.db import Database
from guilder.platform.jobs import Held, LeaseLost, Task, queue
from tests.support.database import OwnDatabase
from tests.support.waiting import until
from tests.support.workshop import noted, put_in, state, working, workshop

POINTS = ["jobs.claimed", "jobs.before_commit", "jobs.after_commit"]


async def finish(process: subprocess.Popen[str]) -> None:
    process.kill()
    await asyncio.to_thread(process.communicate)


async def is_done(db: Database, task: str) -> None:
    async def done() -> bool:
        return await state(db, task) == "done"

    await until(done, "the job is done")


@pytest.mark.parametrize("point", POINTS)
async def test_the_job_of_a_killed_worker_is_taken_over_and_done_once(
    house: OwnDatabase, db: Database, point: str
):
    task = f"killed.{point}"
    await put_in(db, task, 1)

    killed = workshop(house.url(), task, failing=f"{point}=kill")
    status = await asyncio.to_thread(killed.wait, 60)
    await finish(killed)
    successor = workshop(house.url(), task)
    await is_done(db, task)
    await finish(successor)

    assert status == -signal.SIGKILL
    assert await noted(db, task) == [1]


@pytest.mark.parametrize("point", ["jobs.claimed", "jobs.before_commit"])
async def test_a_frozen_worker_cannot_commit_for_a_job_that_was_taken_over(
    house: OwnDatabase, db: Database, point: str
):
    task = f"frozen.{point}"
    await put_in(db, task, 1)
    frozen = workshop(house.url(), task, failing=f"{point}=hit:1:sleep:300")

    async def is_there() -> bool:
        return point in await asyncio.to_thread(frozen.stderr.readline)

    await until(is_there, "the worker is at the point")
    os.kill(frozen.pid, signal.SIGSTOP)
    successor = workshop(house.url(), task)
    await is_done(db, task)
    await finish(successor)
    os.kill(frozen.pid, signal.SIGCONT)
    await put_in(db, task, 2)

    async def both_noted() -> bool:
        return len(await noted(db, task)) >= 2

    await until(both_noted, "the woken worker has done the next job")
    await finish(frozen)

    assert await noted(db, task) == [1, 2]


async def taken_over(db: Database, task: str) -> None:
    """Another worker takes a job that somebody holds."""
    await db.fetch(
        "UPDATE platform.jobs SET token = token + 1 WHERE task = $1 AND state = 'running'", task
    )


async def test_a_lease_that_is_lost_is_told_of_once_and_prolonged_no_more(
    house: OwnDatabase, db: Database
):
    await put_in(db, "lost", 1)
    (job,) = await db.run(lambda tx: queue.claim(tx, {"lost": 60.0}, at_most=1))
    held = Held(db, job, lease_s=0.03)
    await taken_over(db, "lost")

    with capture_logs() as told:
        await held.keep()
        held.tell_lost()

    assert [(one["event"], one["job_id"]) for one in told] == [("jobs.lease_lost", str(job.id))]


async def test_a_job_that_was_taken_over_before_its_end_is_told_of(
    house: OwnDatabase, db: Database
):
    async def perform(held: Held) -> None:
        await taken_over(db, "overtaken")

    await put_in(db, "overtaken", 1)
    with capture_logs() as told:
        worker = working(db, [Task(name="overtaken", perform=perform, lease_s=60.0)])

        async def is_told() -> bool:
            return any(one["event"] == "jobs.lease_lost" for one in told)

        await until(is_told, "the loss is told of")
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)

    assert await state(db, "overtaken") == "running"


async def test_a_holder_whose_token_is_old_commits_nothing(house: OwnDatabase, db: Database):
    await put_in(db, "fenced", 1)
    (old,) = await db.run(lambda tx: queue.claim(tx, {"fenced": 0.0}, at_most=1))
    (new,) = await db.run(lambda tx: queue.claim(tx, {"fenced": 60.0}, at_most=1))
    worked = []

    async def work(tx: object) -> None:
        worked.append(tx)

    with pytest.raises(LeaseLost):
        await Held(db, old, lease_s=1).commit(work)
    with pytest.raises(LeaseLost):
        await Held(db, old, lease_s=1).checkpoint(work)
    for too_late in (queue.finish, queue.give_back):
        await db.run(lambda tx, act=too_late: act(tx, old))
    await db.run(lambda tx: queue.fail(tx, old, pause_s=None, why="late"))
    still_held = await state(db, "fenced")
    await Held(db, new, lease_s=1).commit(work)

    assert (old.token, new.token) == (1, 2)
    assert still_held == "running"
    assert await state(db, "fenced") == "done"
    assert len(worked) == 1
