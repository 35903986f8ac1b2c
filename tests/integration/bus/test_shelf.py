"""What one look brings serves every group of a process, and nobody is given what does not stand."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import asyncpg

from guilder.platform import outbox
from guilder.platform.bus import Bus, Event, Start, Subscription
from guilder.platform.bus.delivery import deliver
from guilder.platform.bus.parking import Patience
from guilder.platform.bus.positions import furthest_back
from guilder.platform.bus.shelf import Shelf
from guilder.platform.db import Database, Tx
from tests.support.database import OwnDatabase
from tests.support.notebook import TYPE, drained, notes, numbered, publish, taking_notes
from tests.support.waiting import until

Superuser = asyncpg.Connection
OTHER = "com.guilder.test.something_else"
ALL_BUT_LAST = "DELETE FROM platform.outbox WHERE key = $1 AND data->>'number' <> '3'"
ALL = "DELETE FROM platform.outbox WHERE key = $1"
LONG = Patience(first_s=3600.0, longest_s=3600.0)


async def joined(db: Database, *subscriptions: Subscription) -> list[str]:
    await Bus(db, subscriptions).join()
    return [subscription.group for subscription in subscriptions]


async def hear(db: Database, subscription: Subscription, *, shelf: Shelf) -> int:
    """One delivery to a group; how many events it heard."""
    run = partial(deliver, subscription=subscription, shelf=shelf, patience=LONG, at_most=8)
    return (await db.run(partial(run, one_by_one=False))).heard


async def test_what_was_read_once_is_heard_by_every_group(
    house: OwnDatabase, db: Database, superuser: Superuser
):
    subscriptions = [taking_notes(f"once-{n}", starts=Start.NOW) for n in range(2)]
    groups = await joined(db, *subscriptions)
    await publish(db, "once", 1, 2, 3)
    shelf = Shelf()
    await shelf.fill(db, groups)
    await superuser.execute(ALL_BUT_LAST, "once")

    for subscription in subscriptions:
        await hear(db, subscription, shelf=shelf)

    assert [await notes(db, group) for group in groups] == [{"once": [1, 2, 3]}] * 2


async def test_nothing_is_heard_that_does_not_stand_in_the_outbox(
    house: OwnDatabase, db: Database, superuser: Superuser
):
    """As when the server is succeeded by another one that lacks the last transactions."""
    subscription = taking_notes("succeeded", starts=Start.NOW)
    await joined(db, subscription)
    await publish(db, "succeeded", 1, 2, 3)
    shelf = Shelf()
    await shelf.fill(db, ["succeeded"])
    await superuser.execute(ALL, "succeeded")
    await publish(db, "succeeded", 10)

    while await hear(db, subscription, shelf=shelf):
        pass

    assert await notes(db, "succeeded") == {"succeeded": [10]}


async def test_who_has_heard_least_is_told_by_numbers_and_not_by_their_first_digits(
    house: OwnDatabase, db: Database, superuser: Superuser
):
    groups = await joined(db, taking_notes("behind"), taking_notes("ahead"))
    for group, transaction in zip(groups, ("9999", "10000"), strict=True):
        await superuser.execute(
            "UPDATE platform.consumer_positions SET transaction = $2::text::xid8 "
            "WHERE group_name = $1",
            group,
            transaction,
        )

    found = await furthest_back(db, groups)

    assert found == dict.fromkeys(range(8), (9999, 0))


async def test_a_group_hears_the_types_it_wants_and_stands_behind_the_others(
    house: OwnDatabase, db: Database
):
    picky, greedy = [
        taking_notes(group, starts=Start.NOW, types=types)
        for group, types in (("picky", frozenset({TYPE})), ("greedy", None))
    ]
    groups = await joined(db, picky, greedy)
    for number, type_ in enumerate((OTHER, TYPE, OTHER), start=1):
        event = numbered("mixed", number, type_=type_)
        await db.run(lambda tx, event=event: outbox.append(tx, [event]))
    shelf = Shelf()
    await shelf.fill(db, groups)

    counts = [await hear(db, group, shelf=shelf) for group in (picky, greedy, picky, greedy)]

    assert counts == [1, 3, 0, 0]
    assert await notes(db, "picky") == {"mixed": [2]}


async def test_whoever_is_in_front_hears_on_though_the_last_one_fills_the_shelf(
    house: OwnDatabase, db: Database
):
    slow, fast = taking_notes("slow", starts=Start.NOW), taking_notes("fast", starts=Start.NOW)
    groups = await joined(db, slow, fast)
    shelf = Shelf(room=4)
    for first in (1, 4, 7):
        await publish(db, "full", *range(first, first + 3))
        await shelf.fill(db, groups)
        while await hear(db, fast, shelf=shelf):
            pass

    while await hear(db, slow, shelf=shelf):
        await shelf.fill(db, groups)

    assert await notes(db, "fast") == {"full": list(range(1, 10))}
    assert await notes(db, "slow") == {"full": list(range(1, 10))}


async def test_what_follows_a_parked_event_on_its_key_is_not_heard_from_the_shelf(
    house: OwnDatabase, db: Database
):
    async def stumble(_: Tx, events: Sequence[Event]) -> None:
        if any(event.data["number"] == 1 for event in events):
            raise ValueError("stumbled")

    subscription = taking_notes("stumbles", before=stumble, starts=Start.NOW)
    await joined(db, subscription)
    await publish(db, "poisoned", 1)
    await drained(Bus(db, [subscription], patience=LONG), subscription)
    await publish(db, "poisoned", 2)
    await publish(db, "healthy", 3)
    shelf = Shelf()
    await shelf.fill(db, ["stumbles"])

    await hear(db, subscription, shelf=shelf)

    assert await notes(db, "stumbles") == {"healthy": [3]}


async def test_several_groups_and_workers_lose_double_and_swap_nothing(
    house: OwnDatabase, db: Database
):
    """Three workers feed three groups of different haste while six keys are written to."""
    subscriptions = [
        taking_notes(f"hasty-{most}", starts=Start.NOW, most=most) for most in (1, 7, 500)
    ]
    pools = [await house.connect(max_connections=8) for _ in range(3)]
    buses = [Bus(pool, subscriptions) for pool in pools]
    await buses[0].join()
    feeding = [asyncio.create_task(bus.run()) for bus in buses]
    written: dict[str, list[int]] = defaultdict(list)

    async def write(key: str) -> None:
        for number in range(60):
            await publish(db, key, number)
            written[key].append(number)

    await asyncio.gather(*(write(f"hasty {n}") for n in range(6)))

    async def all_heard() -> bool:
        heard = [await notes(db, subscription.group) for subscription in subscriptions]
        return all(sum(map(len, each.values())) >= 360 for each in heard)

    await until(all_heard, "everything is heard")
    for task in feeding:
        task.cancel()
    await asyncio.gather(*feeding, return_exceptions=True)
    for pool in pools:
        await pool.close()

    for subscription in subscriptions:
        assert await notes(db, subscription.group) == written
