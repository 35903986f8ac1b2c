"""What is kept and for how long, what is known about it, and what a restored database needs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from guilder.kernel.errors import Overloaded
from guilder.platform.bus import Bus, Start
from guilder.platform.bus.checks import CHECKS
from guilder.platform.bus.lag import forget_group, lags
from guilder.platform.bus.restored import SETTLED, is_restored, settle_restored
from guilder.platform.bus.retention import forget_old_events
from guilder.platform.checks import run_checks
from guilder.platform.db import Database, First, Limits, Tx
from tests.support.database import OwnDatabase
from tests.support.guilder import environment, guilder
from tests.support.notebook import drained, notes, publish, taking_notes

AGE = "UPDATE platform.outbox SET created_at = created_at - interval '8 days' WHERE key = $1"
COUNT = "SELECT count(*) FROM platform.outbox WHERE key = $1"
WEEK = timedelta(days=7)
FROM_ELSEWHERE = """
    UPDATE platform.outbox
    SET transaction = (transaction::text::bigint + 100000000)::text::xid8;
    UPDATE platform.consumer_positions
    SET transaction = (transaction::text::bigint + 100000000)::text::xid8
    WHERE transaction > '0'
"""

END_RUNNING = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE application_name = 'running' AND datname = current_database()
"""

Superuser = asyncpg.Connection


async def findings(db: Database) -> list[str]:
    return [finding.invariant for done in await run_checks(db, CHECKS) for finding in done.findings]


async def test_events_are_deleted_when_old_and_read_by_every_group(
    house: OwnDatabase, db: Database, superuser: Superuser
):
    reader, sluggard = taking_notes("reader"), taking_notes("sluggard")
    bus = Bus(db, [reader, sluggard])
    await bus.join()
    await publish(db, "aging", 1, 2)
    await superuser.execute(AGE, "aging")
    await publish(db, "young", 1)
    await drained(bus, reader)

    while_one_has_not_read = await forget_old_events(db, keep=WEEK)
    await drained(bus, sluggard)
    once_all_have = await forget_old_events(db, keep=WEEK)

    assert (while_one_has_not_read, once_all_have) == (0, 2)
    assert await db.fetchval(COUNT, "aging") == 0
    assert await db.fetchval(COUNT, "young") == 1
    assert await notes(db, "sluggard") == {"aging": [1, 2], "young": [1]}


async def test_a_forgotten_group_holds_no_events_back(
    house: OwnDatabase, db: Database, superuser: Superuser
):
    await Bus(db, [taking_notes("gone")]).join()
    await publish(db, "held", 1)
    await superuser.execute(AGE, "held")
    for group in ("reader", "sluggard"):
        await forget_group(db, group)

    held = await forget_old_events(db, keep=WEEK)
    was_there = await forget_group(db, "gone")
    await Bus(db, [taking_notes("come", starts=Start.NOW)]).join()
    freed = await forget_old_events(db, keep=WEEK)

    assert (held, was_there) == (0, True)
    assert freed > 0
    assert not await forget_group(db, "gone")


async def test_lag_counts_what_a_group_has_not_heard(house: OwnDatabase, db: Database):
    subscription = taking_notes("lagging", starts=Start.NOW)
    bus = Bus(db, [subscription])
    await bus.join()
    await publish(db, "lag", 1, 2, 3)

    (behind,) = [lag for lag in await lags(db) if lag.group == "lagging"]
    await drained(bus, subscription)
    (level,) = [lag for lag in await lags(db) if lag.group == "lagging"]

    assert (behind.events, level.events) == (3, 0)
    assert behind.age_s > 0
    assert level.age_s == 0


async def test_a_restored_database_is_settled_before_it_is_used(
    house: OwnDatabase, db: Database, superuser: Superuser
):
    """Its transaction ids are those of another server, far ahead of this one's."""
    half, new = taking_notes("half", starts=Start.NOW), taking_notes("new", starts=Start.NOW)
    bus = Bus(db, [half, new])
    await bus.join()
    await publish(db, "anna", 1, 2)
    await publish(db, "ben", 1)
    await drained(bus, half)
    await publish(db, "anna", 3)
    await superuser.execute(FROM_ELSEWHERE)
    found = await findings(db)

    settled = await db.run(settle_restored)
    again = await db.run(settle_restored)
    await publish(db, "anna", 4)
    await drained(bus, half)
    await drained(bus, new)

    assert (settled, again) == (True, False)
    assert len(found) > 0
    assert await findings(db) == []
    assert await notes(db, "half") == {"anna": [1, 2, 3, 4], "ben": [1]}
    assert (await notes(db, "new"))["anna"][-4:] == [1, 2, 3, 4]


async def test_what_was_written_before_a_restored_database_was_settled_is_heard_after_the_rest(
    house: OwnDatabase, db: Database, superuser: Superuser
):
    """By a program that does not look, or by one that could not."""
    subscription = taking_notes("early", starts=Start.NOW)
    bus = Bus(db, [subscription])
    await bus.join()
    await publish(db, "early", 1, 2)
    await drained(bus, subscription)
    await publish(db, "early", 3)
    await superuser.execute(FROM_ELSEWHERE)
    await publish(db, "early", 4)

    await db.run(settle_restored)
    await publish(db, "early", 5)
    await drained(bus, subscription)

    assert await notes(db, "early") == {"early": [1, 2, 3, 4, 5]}


async def test_nobody_gets_a_connection_before_a_restored_database_is_settled(
    house: OwnDatabase, db: Database, superuser: Superuser
):
    subscription = taking_notes("awaited", starts=Start.NOW)
    bus = Bus(db, [subscription])
    await bus.join()
    await publish(db, "awaited", 1)
    await drained(bus, subscription)
    await superuser.execute(FROM_ELSEWHERE)
    at_first = iter([LookupError()])

    async def settle(tx: Tx) -> None:
        for failure in at_first:
            raise failure
        await settle_restored(tx)

    fresh = await Database.connect(
        house.url(), max_connections=2, first=First(is_due=is_restored, work=settle)
    )
    with pytest.raises(LookupError):
        await fresh.fetchval("SELECT 1")
    await publish(fresh, "awaited", 2)
    await fresh.close()
    await drained(bus, subscription)

    assert await notes(db, "awaited") == {"awaited": [1, 2]}


async def test_what_is_restored_while_a_server_runs_is_settled_before_it_goes_on(
    house: OwnDatabase, db: Database, superuser: Superuser
):
    """Its connections end with the server that they were made to."""
    subscription = taking_notes("replaced", starts=Start.NOW)
    bus = Bus(db, [subscription])
    await bus.join()
    await publish(db, "replaced", 1)
    await drained(bus, subscription)
    running = await Database.connect(
        house.url(), application_name="running", max_connections=2, first=SETTLED
    )
    await publish(running, "replaced", 2)
    await superuser.execute(END_RUNNING)
    await superuser.execute(FROM_ELSEWHERE)

    await publish(running, "replaced", 3)
    await running.close()
    await drained(bus, subscription)

    assert not await db.run(settle_restored)
    assert await notes(db, "replaced") == {"replaced": [1, 2, 3]}


async def test_a_restored_database_is_settled_though_whoever_waits_for_it_gives_up(
    house: OwnDatabase, db: Database, superuser: Superuser
):
    subscription = taking_notes("lasting", starts=Start.NOW)
    bus = Bus(db, [subscription])
    await bus.join()
    await publish(db, "lasting", 1)
    await drained(bus, subscription)
    await superuser.execute(FROM_ELSEWHERE)
    may_end = asyncio.Event()
    settled = []

    async def settle(tx: Tx) -> None:
        await may_end.wait()
        settled.append(await settle_restored(tx))

    hasty = await Database.connect(
        house.url(),
        max_connections=2,
        limits=Limits(acquire_s=0.2),
        first=First(is_due=is_restored, work=settle),
    )
    for _ in range(2):
        with pytest.raises(Overloaded):
            await publish(hasty, "lasting", 2)
    may_end.set()
    await hasty.fetchval("SELECT 1")
    await publish(hasty, "lasting", 2)
    await hasty.close()
    await drained(bus, subscription)

    assert settled == [True]
    assert await notes(db, "lasting") == {"lasting": [1, 2]}


async def test_a_command_settles_a_restored_database_before_it_writes(
    house: OwnDatabase, db: Database, superuser: Superuser, tmp_path: Path
):
    await publish(db, "commanded", 1)
    await superuser.execute(FROM_ELSEWHERE)

    env = environment(tmp_path, DATABASE_URL=house.url())
    done = guilder("events", "dead", env=env, folder=tmp_path)

    assert done.returncode == 0
    assert not await db.run(settle_restored)


async def test_verify_finds_a_group_that_has_read_the_future(
    house: OwnDatabase, db: Database, superuser: Superuser
):
    await Bus(db, [taking_notes("seer")]).join()
    await superuser.execute(
        "UPDATE platform.consumer_positions SET transaction = '9000000000' "
        "WHERE group_name = 'seer' AND partition = 3"
    )

    found = await findings(db)
    await forget_group(db, "seer")

    assert found == ["no group has read what no transaction can have written yet"]
    assert await findings(db) == []


async def test_verify_finds_a_group_without_a_partition_and_a_parked_event_out_of_order(
    house: OwnDatabase, db: Database, superuser: Superuser
):
    await Bus(db, [taking_notes("torn")]).join()
    await superuser.execute(
        "DELETE FROM platform.consumer_positions WHERE group_name = 'torn' AND partition = 0"
    )
    await superuser.execute(
        "INSERT INTO platform.parked_events (group_name, id, state, type, key, data, created_at) "
        "VALUES ('torn', gen_random_uuid(), 'behind', 't', 'k', '{}', now())"
    )

    found = await findings(db)
    await superuser.execute("DELETE FROM platform.parked_events")
    await forget_group(db, "torn")

    assert found == [
        "a group has a position in every partition",
        "the first parked event of a key is tried, all others wait behind it",
    ]
