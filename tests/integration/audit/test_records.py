"""Every event becomes exactly one record, whatever happens to whoever keeps them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import asyncpg
import pytest
from msgspec import Struct

from guilder.audit.api import PersonalState
from guilder.platform import outbox
from guilder.platform.bus import Bus
from guilder.platform.db import Database
from guilder.platform.identifiers import new_id
from guilder.wallets.domain import Act
from tests.support.archive import Archive, event
from tests.support.bank import deposit, opened, person, transfer
from tests.support.database import OwnDatabase


class Counted(Struct, frozen=True):
    TYPE: ClassVar[str] = "com.guilder.account.counted"

    number: int


async def test_a_record_says_who_did_what_to_what_when_in_which_request(archive: Archive):
    anna, transaction = new_id(), str(new_id())
    heard = event(
        "com.guilder.transaction.completed",
        actor_id=anna,
        request_id="journey-7",
        trace_id="ab" * 16,
        transaction_id=transaction,
        amount="12.50",
    )

    await archive.hear(heard)

    record = await archive.find_of(heard)
    assert (record.actor_id, record.action) == (anna, "transaction.completed")
    assert (record.subject, record.key) == (transaction, heard.key)
    assert (record.request_id, record.trace_id) == ("journey-7", "ab" * 16)
    assert record.created_at == heard.time
    assert record.details == {"transaction_id": transaction, "amount": "12.50"}
    assert (record.before, record.after) == (None, None)
    assert record.personal_state is PersonalState.NONE


async def test_what_changed_stands_in_before_and_after(archive: Archive):
    heard = event(before={"status": "active"}, after={"status": "frozen"}, by_staff=True)

    await archive.hear(heard)

    record = await archive.find_of(heard)
    assert record.before == {"status": "active"}
    assert record.after == {"status": "frozen"}
    assert record.details == {"by_staff": True}


async def test_a_wallet_that_is_frozen_leaves_a_record_of_its_states(archive: Archive):
    anna = person()
    async with opened(archive.db) as bank:
        wallet = await bank.open(anna)
        await bank.act(anna, wallet, Act.FREEZE)

    await archive.catch_up()

    (frozen,) = await archive.find(subject=str(wallet), action="account.frozen")
    assert frozen.before == {"status": "active", "frozen_by_staff": False}
    assert frozen.after == {"status": "frozen", "frozen_by_staff": False}


async def test_every_event_of_the_outbox_has_one_record_that_says_the_same(archive: Archive):
    anna, ben = person(), person()
    async with opened(archive.db) as bank:
        annas, bens = await bank.open(anna), await bank.open(ben)
        await bank.engine.pay(deposit(anna, annas, amount_minor=500))
        await asyncio.gather(
            *(bank.engine.pay(transfer(anna, annas, bens, amount_minor=1)) for _ in range(300))
        )

    await archive.catch_up()

    unrecorded = await archive.db.fetchval(
        "SELECT count(*) FROM platform.outbox o WHERE 1 <> "
        "(SELECT count(*) FROM audit.records r WHERE r.event_id = o.id)"
    )
    assert unrecorded == 0
    assert await archive.findings() == []


async def test_an_event_that_comes_again_is_not_recorded_again(archive: Archive):
    events = [event() for _ in range(5)]
    await archive.hear(*events[:3])
    before = await archive.count()

    await archive.hear(*events, *events[2:])

    assert await archive.count() == before + 2
    assert await archive.findings() == []


async def test_readers_that_hear_the_same_at_once_record_it_once(archive: Archive):
    events = [event() for _ in range(200)]
    before = await archive.count()

    await asyncio.gather(*(archive.hear(*events[i:], *events[:i]) for i in range(0, 200, 25)))

    assert await archive.count() == before + 200
    assert await archive.findings() == []


async def test_readers_of_several_partitions_do_not_wait_for_each_other(archive: Archive):
    async with archive.db.transaction() as slow:
        await archive.keep.hear(slow, [event()])
        await asyncio.wait_for(archive.hear(event()), 30)

    chains = await archive.db.fetchval("SELECT count(DISTINCT chain) FROM audit.records")
    assert chains >= 2
    assert await archive.findings() == []


async def test_whoever_finds_every_chain_taken_waits_for_one(
    archive: Archive, database: OwnDatabase
):
    before = await archive.count()
    pool = await database.connect(max_connections=24)
    crowd = Archive(db=pool, home=archive.home)
    try:
        await asyncio.gather(*(crowd.hear(event(), event()) for _ in range(24)))
    finally:
        await pool.close()

    assert await archive.count() == before + 48
    assert await archive.findings() == []


async def test_a_reader_whose_session_is_killed_leaves_no_half_of_a_batch(
    archive: Archive, superuser: asyncpg.Connection
):
    events = [event() for _ in range(20)]
    before = await archive.count()

    async def hear_and_die() -> None:
        async with archive.db.transaction() as tx:
            await archive.keep.hear(tx, events)
            session = await tx.fetchval("SELECT pg_backend_pid()")
            await superuser.execute("SELECT pg_terminate_backend($1)", session)
            await tx.fetchval("SELECT 1")

    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await hear_and_die()
    assert await archive.count() == before

    await archive.hear(*events)

    assert await archive.count() == before + 20
    assert await archive.findings() == []


async def test_a_group_that_begins_anew_records_nothing_twice(archive: Archive):
    events = [outbox.outgoing(Counted(n), key=str(n)) for n in range(40)]
    await archive.db.run(lambda tx: outbox.append(tx, events))
    await archive.catch_up()
    before = await archive.count()
    subscription = archive.module.subscriptions[0]
    bus = Bus(archive.db, archive.module.subscriptions)
    await archive.db.run(
        lambda tx: tx.execute(
            "DELETE FROM platform.consumer_positions WHERE group_name = $1", subscription.group
        )
    )
    await bus.join()

    while await bus.deliver(subscription):
        pass

    assert await archive.count() == before


async def test_a_restarted_archive_goes_on_where_the_chains_are(db: Database, tmp_path: Path):
    first, second = Archive(db=db, home=tmp_path), Archive(db=db, home=tmp_path)
    await first.hear(event(), event())
    await second.hear(event())

    assert await second.findings() == []


async def test_records_keep_the_time_of_the_event_and_their_own(archive: Archive):
    long_ago = datetime(2020, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)
    heard = event(time=long_ago)

    await archive.hear(heard)

    record = await archive.find_of(heard)
    assert record.created_at == long_ago
    assert record.recorded_at - long_ago > timedelta(days=365)
    assert await archive.findings() == []
