"""An account or a control that somebody keeps locked holds up nobody who needs another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from guilder.kernel.currencies import INR
from guilder.kernel.errors import Overloaded
from guilder.kernel.ids import ControlId, UserId
from guilder.ledger.api import ControlLimits, Direction, NewControl
from guilder.ledger.service.post_transactions import Posted, PostTransactions
from guilder.platform.db import Limits
from guilder.platform.identifiers import new_id
from tests.support.database import OwnDatabase
from tests.support.ledger import Teller, transfer

LOCKS = {
    "account": "SELECT FROM ledger.accounts WHERE owner_id = $1 FOR UPDATE",
    "control": "SELECT FROM ledger.controls WHERE subject_id = $1 FOR UPDATE",
}


@asynccontextmanager
async def hasty(database: OwnDatabase, teller: Teller) -> AsyncIterator[PostTransactions]:
    """Whoever waits for no lock for long."""
    pool = await database.connect(limits=Limits(lock_ms=100))
    yield PostTransactions(pool, ledger=teller.ledger)
    await pool.close()


@pytest.mark.parametrize("kept", LOCKS)
async def test_who_needs_nothing_locked_is_posted_in_the_batch_of_one_that_does(
    teller: Teller,
    database: OwnDatabase,
    superuser: asyncpg.Connection[asyncpg.Record],
    kept: str,
):
    anna_id = UserId(new_id())
    anna, ben = await teller.open(anna_id, funds_minor=100), await teller.open()
    pairs = [(await teller.open(funds_minor=100), await teller.open()) for _ in range(4)]
    limit = NewControl(
        id=ControlId(new_id()),
        subject_id=anna_id,
        currency=INR,
        direction=Direction.OUTFLOW,
        limits=ControlLimits(per_day_minor=1_000),
        time_zone="UTC",
    )
    await teller.db.run(lambda tx: teller.ledger.set_control(tx, limit))

    async with hasty(database, teller) as posting:
        async with superuser.transaction():
            await superuser.execute(LOCKS[kept], anna_id)
            groups = [[transfer(*pair, 1)] for pair in ((anna, ben), *pairs)]
            stuck, *posted = await asyncio.gather(
                *(posting.post(group) for group in groups), return_exceptions=True
            )
        later = await posting.post(groups[0])

    assert isinstance(stuck, Overloaded)
    assert [type(one) for each in posted for one in each] == [Posted] * 4
    assert not later[0].is_replay
    assert await teller.balances([anna, *(target for _, target in pairs)]) == [99, 1, 1, 1, 1]


async def test_a_long_request_that_needs_something_locked_is_refused_whole(
    teller: Teller, database: OwnDatabase, superuser: asyncpg.Connection[asyncpg.Record]
):
    anna_id = UserId(new_id())
    anna, ben = await teller.open(anna_id, funds_minor=100), await teller.open()
    carla, dan = await teller.open(funds_minor=100), await teller.open()

    async with hasty(database, teller) as posting, superuser.transaction():
        await superuser.execute(LOCKS["account"], anna_id)
        stuck, posted = await asyncio.gather(
            posting.post_groups([[transfer(carla, ben, 1)], [transfer(anna, ben, 1)]]),
            posting.post_groups([[transfer(carla, dan, 1)]]),
            return_exceptions=True,
        )

    assert isinstance(stuck, Overloaded)
    assert isinstance(posted, list)
    assert await teller.balances([carla, ben, dan]) == [99, 0, 1]
