"""What of a limit is used when it is changed on a later day, or while its subject changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest_asyncio

from guilder.kernel.currencies import INR
from guilder.kernel.ids import ControlId, UserId
from guilder.ledger.api import ControlLimits, Direction, LimitExceeded, NewControl
from guilder.ledger.service.end_holds import EndHolds
from guilder.ledger.store.checks import CHECKS
from guilder.platform.checks import run_checks
from guilder.platform.db import Database
from guilder.platform.identifiers import new_id
from tests.support import waiting
from tests.support.clock import put_forward, set_clock
from tests.support.database import OwnDatabase
from tests.support.ledger import Teller, transfer

WAITS = """
    SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock')
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clocked(
    database: OwnDatabase, superuser: asyncpg.Connection[asyncpg.Record]
) -> AsyncIterator[Database]:
    await set_clock(superuser)
    pool = await database.connect()
    yield pool
    await pool.close()


@pytest_asyncio.fixture
async def teller(clocked: Database) -> AsyncIterator[Teller]:
    """Whoever is used by it leaves everything adding up."""
    yield Teller(clocked)
    done = await run_checks(clocked, CHECKS)
    assert [finding for checked in done for finding in checked.findings] == []


def limit_on(anna_id: UserId, *kinds: str, id_: ControlId | None = None) -> NewControl:
    return NewControl(
        id=id_ or ControlId(new_id()),
        subject_id=anna_id,
        currency=INR,
        direction=Direction.OUTFLOW,
        limits=ControlLimits(per_day_minor=1_000),
        time_zone="UTC",
        kinds=frozenset(kinds),
    )


async def test_what_was_paid_today_counts_though_the_limit_was_last_used_yesterday(
    teller: Teller, superuser: asyncpg.Connection[asyncpg.Record]
):
    anna_id = UserId(new_id())
    anna, ben = await teller.open(anna_id, funds_minor=100_000), await teller.open()
    limit = limit_on(anna_id, "payout")
    await teller.db.run(lambda tx: teller.ledger.set_control(tx, limit))
    assert await teller.post(transfer(anna, ben, 100, kind="payout")) is None
    await put_forward(superuser, timedelta(days=1))
    assert await teller.post(transfer(anna, ben, 900)) is None
    wider = limit_on(anna_id, "payout", "transfer", id_=limit.id)

    await teller.db.run(lambda tx: teller.ledger.set_control(tx, wider))

    assert isinstance(await teller.post(transfer(anna, ben, 101)), LimitExceeded)
    assert await teller.post(transfer(anna, ben, 100)) is None


async def test_what_a_hold_of_today_gives_back_was_counted_today(
    teller: Teller, superuser: asyncpg.Connection[asyncpg.Record]
):
    anna_id = UserId(new_id())
    anna, ben = await teller.open(anna_id, funds_minor=100_000), await teller.open()
    limit = limit_on(anna_id, "payout")
    await teller.db.run(lambda tx: teller.ledger.set_control(tx, limit))
    await put_forward(superuser, timedelta(days=1))
    until = await teller.now() + timedelta(hours=1)
    hold = transfer(anna, ben, 900, kind="booking", expires_at=until)
    assert await teller.post(hold) is None
    wider = limit_on(anna_id, "payout", "booking", id_=limit.id)

    await teller.db.run(lambda tx: teller.ledger.set_control(tx, wider))
    await EndHolds(teller.db, ledger=teller.ledger).void(hold.id)

    assert isinstance(await teller.post(transfer(anna, ben, 1_001, kind="payout")), LimitExceeded)
    assert await teller.post(transfer(anna, ben, 1_000, kind="payout")) is None
    assert isinstance(await teller.post(transfer(anna, ben, 1, kind="payout")), LimitExceeded)


async def test_an_account_opened_while_a_limit_is_changed_waits_for_it(
    teller: Teller, superuser: asyncpg.Connection[asyncpg.Record]
):
    anna_id = UserId(new_id())
    anna, ben = await teller.open(anna_id, funds_minor=1_000), await teller.open(funds_minor=1_000)
    limit = limit_on(anna_id, "payout")
    await teller.db.run(lambda tx: teller.ledger.set_control(tx, limit))
    wider = limit_on(anna_id, "payout", "transfer", id_=limit.id)

    async with teller.db.transaction() as tx:
        await teller.ledger.set_control(tx, wider)
        opening = asyncio.create_task(teller.open(anna_id))
        await waiting.until(lambda: superuser.fetchval(WAITS), "the account waits for the limit")
        assert not opening.done()
    other = await opening
    assert await teller.post(transfer(ben, other, 1_000)) is None

    assert await teller.post(transfer(other, ben, 900)) is None
    assert isinstance(await teller.post(transfer(anna, ben, 101)), LimitExceeded)
