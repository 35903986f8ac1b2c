"""An event that cannot be heard is parked: its key waits, others go on, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from guilder.kernel.errors import Overloaded
from guilder.platform import failpoints, outbox
from guilder.platform.bus import Bus, Event, Start
from guilder.platform.bus.delivery import GroupBroken
from guilder.platform.bus.lag import forget_group
from guilder.platform.bus.parking import Patience, dead_letters, discard, replay
from guilder.platform.db import Database, Tx
from tests.support.database import OwnDatabase
from tests.support.notebook import (
    IMPATIENT,
    QUICK,
    drained,
    notes,
    numbered,
    publish,
    taking_notes,
)
from tests.support.waiting import until

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('contended'))"
BEFORE = "SELECT count(*) FROM platform.parked_events WHERE group_name = $1 AND state = $2"


class Poison:
    """A listener that fails on one event, as long as it is not cured."""

    def __init__(self, key: str, number: int) -> None:
        self.poisoned = (key, number)
        self.is_cured = False
        self.tried = 0

    async def __call__(self, tx: Tx, events: Sequence[Event]) -> None:
        hurts = any((event.key, event.data["number"]) == self.poisoned for event in events)
        if hurts and not self.is_cured:
            self.tried += 1
            await tx.execute("SELECT 1 / 0 AS anna_at_example_com")


async def poisoned(db: Database, group: str) -> tuple[Bus, Poison]:
    """A group whose second event of Anna's fails until nobody tries any more."""
    poison = Poison("anna", 2)
    subscription = taking_notes(group, before=poison, starts=Start.NOW)
    bus = Bus(db, [subscription], patience=IMPATIENT)
    await bus.join()
    await publish(db, "anna", 1, 2, 3)
    await publish(db, "ben", 1, 2)

    async def is_dead() -> bool:
        await drained(bus, subscription)
        return await db.fetchval(BEFORE, group, "dead") == 1

    await until(is_dead, "the event is a dead letter")
    return bus, poison


async def test_a_failing_event_holds_back_its_own_key_only(house: OwnDatabase, db: Database):
    await poisoned(db, "poisoned")

    assert await notes(db, "poisoned") == {"anna": [1], "ben": [1, 2]}
    assert await db.fetchval(BEFORE, "poisoned", "behind") == 1


async def test_it_is_tried_as_often_as_patience_lasts_and_then_listed(
    house: OwnDatabase, db: Database
):
    _, poison = await poisoned(db, "listed")

    async with db.transaction() as tx:
        (letter,) = await dead_letters(tx, group="listed")

    assert poison.tried == 1 + IMPATIENT.attempts
    assert (letter.key, letter.attempts, letter.behind) == ("anna", IMPATIENT.attempts, 1)
    assert letter.last_error.startswith("DivisionByZeroError in ")
    assert "example" not in letter.last_error


async def test_what_comes_later_for_its_key_queues_behind_it(house: OwnDatabase, db: Database):
    bus, _ = await poisoned(db, "queueing")

    await publish(db, "anna", 4)
    await drained(bus, taking_notes("queueing"))

    assert await notes(db, "queueing") == {"anna": [1], "ben": [1, 2]}
    assert await db.fetchval(BEFORE, "queueing", "behind") == 2


async def test_a_replayed_event_and_those_behind_it_are_heard_in_order(
    house: OwnDatabase, db: Database
):
    bus, poison = await poisoned(db, "replayed")
    poison.is_cured = True

    replayed = await db.run(lambda tx: replay(tx, group="replayed"))
    await drained(bus, taking_notes("replayed"))

    assert replayed == 1
    assert await notes(db, "replayed") == {"anna": [1, 2, 3], "ben": [1, 2]}
    assert await db.fetchval(BEFORE, "replayed", "behind") == 0


async def test_a_replayed_event_that_fails_again_is_given_up_again(
    house: OwnDatabase, db: Database
):
    bus, _ = await poisoned(db, "hopeless")
    await db.run(lambda tx: replay(tx, group="hopeless"))

    async def is_dead_again() -> bool:
        await drained(bus, taking_notes("hopeless", before=Poison("anna", 2)))
        return await db.fetchval(BEFORE, "hopeless", "dead") == 1

    await until(is_dead_again, "it is a dead letter again")

    assert await notes(db, "hopeless") == {"anna": [1], "ben": [1, 2]}


async def test_a_discarded_event_lets_those_behind_it_go_on(house: OwnDatabase, db: Database):
    bus, _ = await poisoned(db, "discarded")

    discarded = await db.run(lambda tx: discard(tx, group="discarded"))
    await drained(bus, taking_notes("discarded"))

    assert discarded == 1
    assert await notes(db, "discarded") == {"anna": [1, 3], "ben": [1, 2]}


async def test_a_group_that_is_forgotten_leaves_nothing_and_begins_anew(
    house: OwnDatabase, db: Database
):
    await poisoned(db, "forgotten")
    await db.fetch(
        "INSERT INTO platform.heard_events (group_name, event_id) "
        "SELECT group_name, id FROM platform.parked_events WHERE group_name = 'forgotten'"
    )

    assert await forget_group(db, "forgotten")

    for table in ("parked_events", "heard_events", "consumer_positions"):
        left = f"SELECT count(*) FROM platform.{table} WHERE group_name = 'forgotten'"
        assert await db.fetchval(left) == 0
    again = taking_notes("forgotten")
    await drained(Bus(db, [again]), again)
    assert (await notes(db, "forgotten"))["anna"][-3:] == [1, 2, 3]


async def test_what_a_group_had_parked_before_it_began_anew_keeps_its_place(
    house: OwnDatabase, db: Database
):
    _, poison = await poisoned(db, "left")
    await db.fetch("DELETE FROM platform.consumer_positions WHERE group_name = 'left'")

    again = taking_notes("left", before=poison)
    await drained(Bus(db, [again]), again)

    assert await db.fetchval(BEFORE, "left", "dead") == 1


async def test_a_failure_that_passes_costs_a_retry_and_no_order(house: OwnDatabase, db: Database):
    poison = Poison("anna", 1)
    subscription = taking_notes("passing", before=poison, starts=Start.NOW)
    bus = Bus(db, [subscription], patience=IMPATIENT)
    await bus.join()
    await publish(db, "anna", 1, 2, 3)
    await bus.deliver(subscription)
    poison.is_cured = True

    async def heard_all() -> bool:
        await drained(bus, subscription)
        return await notes(db, "passing") == {"anna": [1, 2, 3]}

    await until(heard_all, "everything is heard")

    assert (
        await db.fetchval(
            "SELECT count(*) FROM platform.parked_events WHERE group_name = 'passing'"
        )
        == 0
    )


async def test_other_groups_hear_what_one_group_cannot(
    house: OwnDatabase, db: Database, superuser: asyncpg.Connection[asyncpg.Record]
):
    healthy = taking_notes("healthy", starts=Start.NOW)
    bus = Bus(db, [healthy])
    await bus.join()

    await poisoned(db, "sick")
    await drained(bus, healthy)

    assert await notes(db, "healthy") == {"anna": [1, 2, 3], "ben": [1, 2]}


async def test_whoever_dies_with_an_event_parked_and_not_committed_has_parked_none(
    house: OwnDatabase, db: Database
):
    poison = Poison("anna", 1)
    subscription = taking_notes("dying", before=poison, starts=Start.NOW)
    bus = Bus(db, [subscription], patience=IMPATIENT)
    await bus.join()
    await publish(db, "anna", 1, 2)
    await publish(db, "ben", 1)
    failpoints.arm("bus.parked=hit:1:raise")
    try:
        with pytest.raises(failpoints.FailpointReached):
            await drained(bus, subscription)
    finally:
        failpoints.arm("")
    parked = "SELECT count(*) FROM platform.parked_events WHERE group_name = $1"
    before = await db.fetchval(parked, "dying")
    poison.is_cured = True

    await drained(bus, subscription)

    assert before == 0
    assert await notes(db, "dying") == {"anna": [1, 2], "ben": [1]}


class Outage:
    """A listener that fails on everything, as long as it lasts."""

    def __init__(self) -> None:
        self.is_over = False
        self.tried = 0

    async def __call__(self, tx: Tx, events: Sequence[Event]) -> None:
        if not self.is_over:
            self.tried += 1
            await tx.execute("SELECT 1 / 0")


async def test_a_group_that_fails_on_every_key_is_paused_and_parks_nothing(
    house: OwnDatabase, db: Database
):
    outage, registry = Outage(), CollectorRegistry()
    subscription = taking_notes("broken", before=outage, starts=Start.NOW)
    bus = Bus(db, [subscription], patience=IMPATIENT, registry=registry)
    await bus.join()
    keys = [f"key-{number}" for number in range(20)]
    for key in keys:
        await publish(db, key, 1, 2)

    def paused() -> float | None:
        return registry.get_sample_value("guilder_bus_paused", {"group": "broken"})

    running = asyncio.create_task(bus.run())
    try:
        await until(lambda: holds(paused() == 1 and outage.tried > 20), "it is tried, and paused")
        parked = await db.fetchval(
            "SELECT count(*) FROM platform.parked_events WHERE group_name = 'broken'"
        )
        outage.is_over = True
        await until(lambda: holds(paused() == 0), "it goes on")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await drained(bus, subscription)

    assert parked == 0
    assert await notes(db, "broken") == {key: [1, 2] for key in keys}


async def holds(condition: bool) -> bool:
    return condition


async def test_one_good_key_among_the_bad_shows_that_the_fault_is_theirs(
    house: OwnDatabase, db: Database
):
    class Picky:
        async def __call__(self, tx: Tx, events: Sequence[Event]) -> None:
            if any(event.key != "good" for event in events):
                await tx.execute("SELECT 1 / 0")

    subscription = taking_notes("picky", before=Picky(), starts=Start.NOW)
    bus = Bus(db, [subscription], patience=Patience(first_s=3600.0, longest_s=3600.0))
    await bus.join()
    await publish(db, "good", 1)
    for number in range(12):
        await publish(db, f"bad-{number}", 1)

    await drained(bus, subscription)

    assert await notes(db, "picky") == {"good": [1]}
    assert await db.fetchval(BEFORE, "picky", "waiting") == 12


class Allergic:
    """A listener that fails on bad keys, and on those alone."""

    async def __call__(self, tx: Tx, events: Sequence[Event]) -> None:
        if any(event.key.startswith("bad") for event in events):
            await tx.execute("SELECT 1 / 0")


@pytest.mark.parametrize("most", [500, 8, 1])
async def test_bad_keys_in_front_of_good_ones_are_parked_however_many_come_at_once(
    house: OwnDatabase, db: Database, most: int
):
    group = f"allergic-{most}"
    patience = Patience(first_s=3600.0, longest_s=3600.0)
    subscription = taking_notes(group, before=Allergic(), starts=Start.NOW, most=most)
    bus = Bus(db, [subscription], patience=patience)
    await bus.join()
    for number in range(24):
        await publish(db, f"bad-{number}", 1)
    for number in range(20):
        await publish(db, f"good-{number}", 1, 2)

    await drained(bus, subscription)

    assert await notes(db, group) == {f"good-{number}": [1, 2] for number in range(20)}
    assert await db.fetchval(BEFORE, group, "waiting") == 24


@pytest.mark.parametrize(("between", "is_found"), [(500, True), (600, False)])
async def test_a_good_key_is_looked_for_among_the_next_four_thousand_events_of_whatever_type(
    house: OwnDatabase, db: Database, between: int, is_found: bool
):
    group = f"far-{between}"
    subscription = taking_notes(group, before=Allergic(), starts=Start.NOW, most=8)
    bus = Bus(db, [subscription], patience=Patience(first_s=3600.0, longest_s=3600.0))
    await bus.join()
    for number in range(8):
        await publish(db, f"bad-{number}", 1)
    others = [numbered("good", number, type_="com.guilder.test.other") for number in range(between)]
    await db.run(lambda tx: outbox.append(tx, others))
    await publish(db, "good", 1)

    if is_found:
        await bus.deliver(subscription)
    else:
        with pytest.raises(GroupBroken):
            await bus.deliver(subscription)

    assert await db.fetchval(BEFORE, group, "waiting") == (8 if is_found else 0)


class Contended(Allergic):
    """One that fails on bad keys, and waits on busy ones for what somebody else has locked."""

    async def __call__(self, tx: Tx, events: Sequence[Event]) -> None:
        await super().__call__(tx, events)
        if any(event.key == "busy" for event in events):
            await tx.execute(_LOCK)


@pytest.mark.parametrize("bad", [0, 1, 8], ids=["together", "one by one", "rehearsed"])
@pytest.mark.parametrize("limit", ["lock_ms", "statement_ms"])
async def test_an_event_that_meets_a_time_limit_of_the_database_is_heard_later_and_not_parked(
    house: OwnDatabase, db: Database, bad: int, limit: str
):
    group = f"contended-{limit}-{bad}"
    limits = replace(QUICK, **{"lock_ms": 0, "statement_ms": 0, limit: 250})
    subscription = taking_notes(group, before=Contended(), starts=Start.NOW)
    patience = Patience(first_s=3600.0, longest_s=3600.0)
    hurried = await house.connect(limits=limits)
    bus = Bus(hurried, [subscription], patience=patience)
    await bus.join()
    for number in range(bad):
        await publish(db, f"bad-{number}", 1)
    await publish(db, "busy", 1)
    parked = "SELECT count(*) FROM platform.parked_events WHERE group_name = $1"

    async with db.transaction() as holding:
        await holding.execute(_LOCK)
        with pytest.raises(Overloaded):
            await bus.deliver(subscription)
        parked_meanwhile = await db.fetchval(parked, group)
    await drained(bus, subscription)
    await hurried.close()

    assert parked_meanwhile == 0
    assert await notes(db, group) == {"busy": [1]}
    assert await db.fetchval(parked, group) == bad


async def test_bad_keys_alone_wait_until_a_good_one_shows_whose_fault_it_is(
    house: OwnDatabase, db: Database
):
    patience = Patience(first_s=3600.0, longest_s=3600.0)
    subscription = taking_notes("doubtful", before=Allergic(), starts=Start.NOW)
    bus = Bus(db, [subscription], patience=patience)
    await bus.join()
    for number in range(8):
        await publish(db, f"bad-{number}", 1)

    with pytest.raises(GroupBroken):
        await bus.deliver(subscription)
    in_doubt = await db.fetchval(BEFORE, "doubtful", "waiting")
    await publish(db, "good", 1)
    await drained(bus, subscription)

    assert in_doubt == 0
    assert await notes(db, "doubtful") == {"good": [1]}
    assert await db.fetchval(BEFORE, "doubtful", "waiting") == 8
