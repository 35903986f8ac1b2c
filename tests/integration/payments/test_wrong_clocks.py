"""A database's clock that was wrong for a while makes nobody pay twice."""

from __future__ import annotations

from datetime import timedelta

import asyncpg

from tests.support.bank import deposit, opened, person, transfer
from tests.support.clock import put_forward, set_clock
from tests.support.database import OwnDatabase


async def test_a_key_lives_a_day_though_the_other_wallet_was_used_while_the_clock_was_ahead(
    database: OwnDatabase, superuser: asyncpg.Connection[asyncpg.Record]
):
    await set_clock(superuser)
    db = await database.connect()
    async with opened(db) as bank:
        anna, ben = person(), person()
        annas, bens = [await bank.open(owner, funds_minor=10_000) for owner in (anna, ben)]
        order = transfer(anna, annas, bens, amount_minor=700)
        first = await bank.engine.pay(order)
        await put_forward(superuser, timedelta(days=2))
        # Time never runs backwards in an account: from now on it is two days ahead in Ben's.
        assert (await bank.engine.pay(deposit(ben, bens))).refusal is None
        await put_forward(superuser, timedelta(days=-2))

        again = await bank.engine.pay(order)

        assert first.payment is not None
        assert again.payment == first.payment
        assert again.is_replay
        assert await bank.balances((anna, annas)) == [9_300]
        assert await bank.verify() == []

        await put_forward(superuser, timedelta(hours=24))
        anew = await bank.engine.pay(order)

        assert anew.refusal is None
        assert not anew.is_replay
        assert await bank.balances((anna, annas)) == [8_600]
    await db.close()
