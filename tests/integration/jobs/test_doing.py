"""Jobs are done once each: when they are due, again when they fail, and only if they were meant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from guilder.platform.db import Database, Tx
from guilder.platform.jobs import Cron, Held, Schedule, Task, enqueue
from guilder.platform.jobs.metrics import JobMetrics
from guilder.platform.jobs.queue import (
    Revived,
    claim,
    dead_jobs,
    discard,
    fail,
    forget_done,
    revive,
)
from tests.support.database import OwnDatabase
from tests.support.notebook import IMPATIENT
from tests.support.reading import rows_read
from tests.support.waiting import until
from tests.support.workshop import noted, noting, put_in, state, working

LONG_LEASE_S = 6.0
"""Long enough for a machine that stands still for a second or two."""
EARLIER = "UPDATE platform.schedules SET next_at = clock_timestamp() - interval '3 days'"

Employ = Callable[..., asyncio.Task[None]]


@pytest_asyncio.fixture
async def employ(house: OwnDatabase, db: Database) -> AsyncIterator[Employ]:
    """Starts workers that end with the test."""
    employed: list[asyncio.Task[None]] = []

    def start(*tasks: Task, scheduled: Sequence[Schedule] = ()) -> asyncio.Task[None]:
        employed.append(working(db, tasks, scheduled=scheduled))
        return employed[-1]

    yield start
    for worker in employed:
        worker.cancel()
    await asyncio.gather(*employed, return_exceptions=True)


async def all_noted(db: Database, task: str, *numbers: int) -> None:
    async def are_noted() -> bool:
        return await noted(db, task) == list(numbers)

    await until(are_noted, f"jobs of {task} are done")


async def test_jobs_that_are_not_due_are_not_looked_through_for_those_that_are(
    house: OwnDatabase, db: Database, superuser: asyncpg.Connection[asyncpg.Record]
):
    await superuser.execute(
        "INSERT INTO platform.jobs (id, task, arguments, due_at, ready_at) "
        "SELECT gen_random_uuid(), 'later', '{}', later.at, later.at FROM generate_series(1, 2000),"
        " LATERAL (SELECT clock_timestamp() + interval '1 hour' AS at) AS later"
    )
    await put_in(db, "later", 1)
    await superuser.execute("ANALYZE platform.jobs")

    async with db.transaction() as tx:
        claimed = await claim(tx, {"later": 60.0}, at_most=8)
        read = await rows_read(tx, "platform.jobs")

    assert [job.arguments for job in claimed] == [{"number": 1}]
    assert read < 100


async def test_several_workers_do_each_job_once(db: Database, employ: Employ):
    for _ in range(3):
        employ(noting("shared", lease_s=60))

    await put_in(db, "shared", *range(100))
    await all_noted(db, "shared", *range(100))

    assert (
        await db.fetchval(
            "SELECT count(*) FROM platform.jobs WHERE task = 'shared' AND attempts > 1"
        )
        == 0
    )


async def test_a_job_of_a_transaction_that_rolls_back_never_was(db: Database, employ: Employ):
    employ(noting("rolled"))

    async def change_mind(tx: Tx) -> None:
        await enqueue(tx, "rolled", {"number": 1})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await db.run(change_mind)
    await put_in(db, "rolled", 2)

    await all_noted(db, "rolled", 2)
    assert await db.fetchval("SELECT count(*) FROM platform.jobs WHERE task = 'rolled'") == 1


async def test_a_job_waits_until_it_is_due(db: Database, employ: Employ):
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    employ(noting("delayed"))

    await db.run(lambda tx: enqueue(tx, "delayed", {"number": 2}, at=tomorrow))
    await db.run(lambda tx: enqueue(tx, "delayed", {"number": 3}, after=timedelta(hours=1)))
    await db.run(lambda tx: enqueue(tx, "delayed", {"number": 1}, after=timedelta(milliseconds=50)))
    await all_noted(db, "delayed", 1)

    assert (
        await db.fetchval(
            "SELECT count(*) FROM platform.jobs WHERE task = 'delayed' AND state = 'waiting'"
        )
        == 2
    )


async def test_of_jobs_with_one_key_only_one_waits(db: Database, employ: Employ):
    first = await db.run(lambda tx: enqueue(tx, "keyed", {"number": 1}, key="report"))
    second = await db.run(lambda tx: enqueue(tx, "keyed", {"number": 2}, key="report"))
    employ(noting("keyed"))
    await all_noted(db, "keyed", 1)
    third = await db.run(lambda tx: enqueue(tx, "keyed", {"number": 3}, key="report"))

    await all_noted(db, "keyed", 1, 3)

    assert (first, second, third) == (True, False, True)


async def test_a_failing_job_is_tried_again_then_dead_then_revived(db: Database, employ: Employ):
    tried = 0

    async def fail(held: Held) -> None:
        nonlocal tried
        tried += 1
        assert held.attempt == (tried - 1) % IMPATIENT.attempts + 1
        if tried <= IMPATIENT.attempts:
            raise ValueError("anna@example.com")

    employ(noting("failing", before=fail))
    await put_in(db, "failing", 1)

    async def is_dead() -> bool:
        return await state(db, "failing") == "dead"

    await until(is_dead, "the job is dead")
    (dead,) = await dead_jobs(db)
    await db.run(lambda tx: revive(tx, ids=[dead.id]))
    await all_noted(db, "failing", 1)

    assert dead.attempts == IMPATIENT.attempts
    assert dead.last_error.startswith("ValueError in ")
    assert "example" not in dead.last_error


async def killed(db: Database, task: str, *, key: str | None) -> UUID:
    """A dead job."""
    await db.run(lambda tx: enqueue(tx, task, {"number": 1}, key=key))
    (job,) = await db.run(lambda tx: claim(tx, {task: 60.0}, at_most=1))
    await db.run(lambda tx: fail(tx, job, pause_s=None, why="ValueError in test"))
    return job.id


async def test_of_dead_jobs_with_one_key_one_is_revived_and_none_while_another_waits(
    house: OwnDatabase, db: Database
):
    first, second = await killed(db, "same", key="k"), await killed(db, "same", key="k")
    taken = await killed(db, "taken", key="k")
    await db.run(lambda tx: enqueue(tx, "taken", {"number": 2}, key="k"))
    alone = await killed(db, "alone", key=None)

    done = await db.run(lambda tx: revive(tx, ids=[first, second, taken, alone]))

    assert done == Revived(count=2, still_dead=2)
    assert {dead.id for dead in await dead_jobs(db)} >= {second, taken}
    assert {await state(db, "alone"), await state(db, "same")} >= {"waiting"}
    await db.run(lambda tx: discard(tx, ids=[second, taken]))


async def test_jobs_that_are_due_and_dead_are_counted_by_task(house: OwnDatabase, db: Database):
    await killed(db, "counted", key=None)
    await put_in(db, "counted", 1, 2)
    await db.run(lambda tx: enqueue(tx, "counted", {"number": 3}, after=timedelta(hours=1)))
    registry = CollectorRegistry()
    watching = asyncio.create_task(JobMetrics(registry).watch(db))

    async def figures() -> list[float | None]:
        names = ("ready", "dead", "age_seconds")
        labels = {"task": "counted"}
        return [registry.get_sample_value(f"guilder_jobs_{name}", labels) for name in names]

    async def is_told() -> bool:
        return (await figures())[0] is not None

    await until(is_told, "the metrics are there")
    watching.cancel()
    ready, dead, age_s = await figures()

    assert (ready, dead) == (2, 1)
    assert age_s is not None
    assert age_s > 0


async def test_a_job_longer_than_its_lease_is_not_taken_over_while_its_worker_lives(
    db: Database, employ: Employ
):
    begun = 0

    async def outlast(held: Held) -> None:
        nonlocal begun
        begun += 1
        ends = set()

        async def prolonged_twice() -> bool:
            ends.add(await db.fetchval("SELECT ready_at FROM platform.jobs WHERE task = 'long'"))
            return len(ends) == 3

        await until(prolonged_twice, "the lease was prolonged")

    employ(noting("long", before=outlast, lease_s=LONG_LEASE_S))
    employ(noting("long", before=outlast, lease_s=LONG_LEASE_S))

    await put_in(db, "long", 1)
    await all_noted(db, "long", 1)

    assert begun == 1


async def test_a_job_is_given_back_when_its_worker_stops(db: Database, employ: Employ):
    begun = asyncio.Event()

    async def wait(held: Held) -> None:
        begun.set()
        await asyncio.Event().wait()

    stopped = employ(noting("given_back", before=wait, lease_s=3600))
    await put_in(db, "given_back", 1)
    await begun.wait()

    stopped.cancel()
    await asyncio.gather(stopped, return_exceptions=True)
    employ(noting("given_back"))

    await all_noted(db, "given_back", 1)
    assert await state(db, "given_back") == "done"


async def test_times_that_passed_are_made_up_for_by_one_job_of_a_schedule(
    db: Database, employ: Employ
):
    daily = Schedule(
        name="test.daily",
        cron=Cron(rule="30 3 * * *", time_zone="Asia/Kolkata"),
        task="scheduled",
        arguments={"number": 1},
    )
    first = employ(noting("scheduled"), scheduled=[daily])

    async def is_known() -> bool:
        return bool(await db.fetchval("SELECT count(*) FROM platform.schedules"))

    await until(is_known, "the schedule is known")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await db.fetch(EARLIER)
    for _ in range(3):
        employ(noting("scheduled"), scheduled=[daily])
    await all_noted(db, "scheduled", 1)

    next_at = await db.fetchval("SELECT next_at FROM platform.schedules")
    assert next_at > datetime.now(UTC)
    assert (next_at.hour, next_at.minute) == (22, 0)


async def test_done_jobs_are_forgotten_and_waiting_ones_are_not(db: Database, employ: Employ):
    await db.run(lambda tx: enqueue(tx, "kept", {"number": 1}, after=timedelta(days=1)))
    employ(noting("forgotten"))
    await put_in(db, "forgotten", 1)
    await all_noted(db, "forgotten", 1)

    await forget_done(db, keep=timedelta(0))

    assert await state(db, "forgotten") is None
    assert await state(db, "kept") == "waiting"
