"""Holds on a real database: opened, posted, voided, raced."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from guilder.ledger.api import HoldEnded, InsufficientFunds
from tests.support.ledger import Teller, transfer


async def test_a_hold_reserves_money_until_it_is_posted_in_part(teller: Teller):
    anna, ben = await teller.open(funds_minor=10_000), await teller.open()
    hold = transfer(anna, ben, 6_000, expires_at=await teller.now() + timedelta(hours=1))

    assert await teller.post(hold) is None
    assert (await teller.read(anna)).available_minor == 4_000
    assert isinstance(await teller.post(transfer(anna, ben, 4_001)), InsufficientFunds)
    assert await teller.settle(hold.id, amount_minor=2_500) is None

    assert await teller.balances([anna, ben]) == [7_500, 2_500]
    assert (await teller.read(anna)).available_minor == 7_500


async def test_a_hold_that_many_try_to_end_ends_once(teller: Teller):
    anna, ben = await teller.open(funds_minor=10_000), await teller.open()
    hold = transfer(anna, ben, 6_000, expires_at=await teller.now() + timedelta(hours=1))
    await teller.post(hold)

    outcomes = await asyncio.gather(
        *(teller.settle(hold.id) for _ in range(5)), *(teller.void(hold.id) for _ in range(5))
    )

    assert outcomes.count(None) == 1
    assert sum(isinstance(outcome, HoldEnded) for outcome in outcomes) == 9
    assert (await teller.read(anna)).pending_debits == 0
