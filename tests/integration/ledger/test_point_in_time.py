"""A balance at a time, found by searching, is the one that a scan finds."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import asyncpg

from guilder.ledger.store import reads
from guilder.platform.db import Database
from tests.support.ledger import Teller, transfer

_SCAN = """
    SELECT COALESCE((SELECT balance_after_minor FROM ledger.entries
        WHERE account_id = $1 AND recorded_at <= $2 ORDER BY sequence DESC LIMIT 1), 0)
"""


async def test_the_search_agrees_with_a_scan_at_every_moment(db: Database, teller: Teller):
    anna, ben = await teller.open(funds_minor=100_000), await teller.open()
    choose = random.Random(7)
    for _ in range(40):
        at_once = choose.choice([1, 1, 2, 5])
        backdated = datetime.fromisoformat("2020-01-01T00:00:00+00:00")
        drafts = [
            transfer(
                anna, ben, choose.randint(1, 90), effective_at=choose.choice([None, backdated])
            )
            for _ in range(at_once)
        ]
        assert await teller.post(*drafts) is None
    times = [row[0] for row in await db.fetch("SELECT DISTINCT recorded_at FROM ledger.entries")]
    step = timedelta(microseconds=1)
    moments = [moment + shift for moment in times for shift in (-step, 0 * step, step)]
    moments += [min(times) - timedelta(days=900), max(times) + timedelta(days=900)]

    for account in (anna, ben):
        for moment in moments:
            found = await db.run(lambda tx, a=account, m=moment: reads.balance_at(tx, a, m))
            assert found == await db.fetchval(_SCAN, account, moment)


async def test_an_account_without_entries_had_nothing_at_any_time(db: Database, teller: Teller):
    anna = await teller.open()
    now = await teller.now()

    assert await db.run(lambda tx: reads.balance_at(tx, anna, now)) == 0
    assert await db.run(lambda tx: reads.sequence_at(tx, anna, now)) == 0


async def test_a_balance_in_the_past_never_changes_afterwards(db: Database, teller: Teller):
    anna, ben = await teller.open(funds_minor=500), await teller.open()
    then = await teller.now()

    late = transfer(anna, ben, 100, effective_at=then - timedelta(days=3))
    assert await teller.post(late) is None

    assert await db.run(lambda tx: reads.balance_at(tx, anna, then)) == 500


async def test_time_stands_still_in_an_account_while_the_clock_is_behind(
    db: Database, teller: Teller, superuser: asyncpg.Connection[asyncpg.Record]
):
    anna, ben = await teller.open(funds_minor=500), await teller.open()
    ahead = await teller.now() + timedelta(hours=1)
    await superuser.execute("UPDATE ledger.accounts SET moved_at = $2 WHERE id = $1", anna, ahead)

    assert await teller.post(transfer(anna, ben, 1)) is None

    recorded = "SELECT max(recorded_at) FROM ledger.entries WHERE account_id = ANY($1::uuid[])"
    assert await db.fetchval(recorded, [anna, ben]) == ahead
