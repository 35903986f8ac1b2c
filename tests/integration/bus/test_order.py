"""Nothing is lost or doubled, and each key keeps its order, whoever writes and reads how slowly."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from contextlib import AsyncExitStack, suppress

import asyncpg
import pytest

from guilder.platform import outbox
from guilder.platform.bus import Bus, Start
from guilder.platform.db import Database
from guilder.platform.db_rows import Learning
from tests.support.database import OwnDatabase
from tests.support.notebook import drained, notes, numbered, publish, taking_notes
from tests.support.waiting import until

KEYS = [f"wallet-{n}" for n in range(12)]
WRITERS = 6
EACH = 40
LOCK = "SELECT pg_advisory_xact_lock(hashtext($1))"
BEGIN_EARLY = "SELECT pg_current_xact_id()"
DAWDLE = "SELECT pg_sleep($1)"


class ChangedMind(Exception):
    """A writer rolls back."""


async def write(db: Database, numbers: dict[str, int], dice: random.Random) -> None:
    """Transactions that begin early or late, take their time, and often come to nothing."""
    for _ in range(EACH):
        key = dice.choice(KEYS)
        with suppress(ChangedMind):
            async with db.transaction() as tx:
                if dice.random() < 0.5:
                    await tx.execute(BEGIN_EARLY)
                    await tx.execute(DAWDLE, dice.random() * 0.01)
                await tx.execute(LOCK, key)
                number = numbers[key] + 1
                await outbox.append(tx, [numbered(key, number)])
                if dice.random() < 0.3:
                    await tx.execute(DAWDLE, dice.random() * 0.01)
                if dice.random() < 0.2:
                    raise ChangedMind
                numbers[key] = number


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_slow_writers_and_several_workers_lose_double_and_swap_nothing(
    house: OwnDatabase, db: Database, seed: int
):
    group = f"order-{seed}"
    dice = random.Random(seed)
    numbers: dict[str, int] = defaultdict(int)
    async with AsyncExitStack() as stack:
        pools = [await house.connect(max_connections=8) for _ in range(4)]
        for pool in pools:
            stack.push_async_callback(pool.close)
        subscription = taking_notes(group, starts=Start.NOW, most=dice.choice([1, 7, 500]))
        buses = [Bus(pool, [subscription]) for pool in pools[:3]]
        await buses[0].join()
        feeding = [asyncio.create_task(bus.run()) for bus in buses]
        writers = [random.Random(dice.random()) for _ in range(WRITERS)]
        await asyncio.gather(*(write(pools[3], numbers, own) for own in writers))

        async def all_heard() -> bool:
            heard = await notes(db, group)
            return sum(map(len, heard.values())) >= sum(numbers.values())

        await until(all_heard, "everything is heard")
        for task in feeding:
            task.cancel()
        await asyncio.gather(*feeding, return_exceptions=True)

    assert await notes(db, group) == {
        key: list(range(1, number + 1)) for key, number in numbers.items() if number
    }


async def test_a_key_is_heard_in_the_order_of_its_changes_not_of_their_transactions(
    house: OwnDatabase, db: Database
):
    """Anna's transaction began first and had to wait for Ben's; an idle one began in between."""
    subscription = taking_notes("waited", starts=Start.NOW)
    bus = Bus(db, [subscription])
    await bus.join()
    anna, idle, ben = [await _session(house) for _ in range(3)]
    for connection in (anna, idle, ben):
        await connection.execute("BEGIN")
        await connection.execute(BEGIN_EARLY)
    for connection, number in ((ben, 1), (anna, 2)):
        await outbox.append(connection, [numbered("shared", number)])
        await connection.execute("COMMIT")

    await drained(bus, subscription)
    heard_meanwhile = await notes(db, "waited")
    await idle.execute("ROLLBACK")
    await drained(bus, subscription)
    for connection in (anna, idle, ben):
        await connection.close()

    assert heard_meanwhile == {}
    assert await notes(db, "waited") == {"shared": [1, 2]}


async def test_an_event_that_commits_late_is_not_skipped(house: OwnDatabase, db: Database):
    subscription = taking_notes("late", starts=Start.NOW)
    bus = Bus(db, [subscription])
    await bus.join()
    slow = await _session(house)
    await slow.execute("BEGIN")
    await outbox.append(slow, [numbered("slow", 1)])
    await publish(db, "fast", 1, 2)

    await drained(bus, subscription)
    await slow.execute("COMMIT")
    await slow.close()
    await drained(bus, subscription)

    assert await notes(db, "late") == {"slow": [1], "fast": [1, 2]}


async def test_a_group_that_starts_now_does_not_hear_the_past(house: OwnDatabase, db: Database):
    subscription = taking_notes("newcomer", starts=Start.NOW)
    bus = Bus(db, [subscription])
    await publish(db, "past", 1)

    await bus.join()
    await publish(db, "present", 1)
    await drained(bus, subscription)

    assert await notes(db, "newcomer") == {"present": [1]}


async def test_a_group_hears_only_the_types_it_asked_for_and_passes_over_the_rest(
    house: OwnDatabase, db: Database
):
    wanted = "com.guilder.test.wanted"
    subscription = taking_notes("picky", types=frozenset({wanted}), starts=Start.NOW, most=8)
    bus = Bus(db, [subscription])
    await bus.join()

    await publish(db, "noise", *range(100))
    await db.run(lambda tx: outbox.append(tx, [numbered("noise", 100, type_=wanted)]))
    await drained(bus, subscription)

    assert await notes(db, "picky") == {"noise": [100]}


async def test_a_running_bus_hears_what_another_process_commits(house: OwnDatabase, db: Database):
    subscription = taking_notes("prompt", starts=Start.NOW)
    bus = Bus(db, [subscription])
    await bus.join()
    feeding = asyncio.create_task(bus.run())
    elsewhere = await house.connect(max_connections=2)

    await publish(elsewhere, "prompt", 1)

    async def heard() -> bool:
        return await notes(db, "prompt") == {"prompt": [1]}

    await until(heard, "the event is heard")
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)
    await elsewhere.close()

    assert await notes(db, "prompt") == {"prompt": [1]}


async def _session(house: OwnDatabase) -> asyncpg.Connection[asyncpg.Record]:
    """A session that begins and ends its transactions as the test says."""
    session = await asyncpg.connect(house.url())
    await Learning().teach(session)
    return session
