"""Processes that are stopped (SIGSTOP) in the middle of a payment, with their locks, and woken."""

from __future__ import annotations

import pytest

from guilder.platform.db import Limits
from tests.integration.payments.conftest import NewBank
from tests.support.bank import Bank, person, transfer, withdrawal
from tests.support.database import OwnDatabase
from tests.support.payer import frozen_at, pay_all
from tests.support.waiting import until

SHORT = Limits(lock_ms=300)


@pytest.mark.parametrize("point", ["batch.locked", "batch.before_commit"])
async def test_others_are_answered_meanwhile_and_the_woken_one_pays_nothing_twice(
    bank: Bank, database: OwnDatabase, new_bank: NewBank, point: str
):
    anna, ben = person(), person()
    annas, bens = await bank.open(anna, funds_minor=1_000), await bank.open(ben, funds_minor=500)
    carla = person()
    carlas = await bank.open(carla)
    order = transfer(anna, annas, carlas, amount_minor=700)
    other = await new_bank(time_limits=SHORT)

    async with frozen_at(point, url=database.url(), order=order) as frozen:
        (refused,) = await pay_all(other, [order])
        (paid,) = await pay_all(other, [transfer(ben, bens, await bank.open(ben))])
        await until(lambda: _nobody_idles(bank), "the server has ended the frozen session")
        (elsewhere,) = await pay_all(other, [order])
        woken = await frozen.wake()

    assert (refused.refusal, paid.refusal) == ("OVERLOADED", None)
    assert (elsewhere.refusal, elsewhere.is_replay) == (None, False)
    assert (woken.payment_id, woken.is_replay) == (elsewhere.payment_id, True)
    assert await bank.balances((anna, annas), (carla, carlas)) == [300, 700]
    assert await bank.verify() == []


async def test_what_was_ready_to_commit_is_judged_anew_when_its_process_wakes(
    bank: Bank, database: OwnDatabase
):
    anna, ben = person(), person()
    annas, bens = await bank.open(anna, funds_minor=1_000), await bank.open(ben)
    order = transfer(anna, annas, bens, amount_minor=700)

    async with frozen_at("batch.before_commit", url=database.url(), order=order) as frozen:
        await until(lambda: _nobody_idles(bank), "the server has ended the frozen session")
        (spent,) = await pay_all(bank, [withdrawal(anna, annas, amount_minor=400)])
        woken = await frozen.wake()

    assert (spent.refusal, woken.refusal) == (None, "INSUFFICIENT_FUNDS")
    assert await bank.balances((anna, annas), (ben, bens)) == [600, 0]
    assert await bank.verify() == []


async def _nobody_idles(bank: Bank) -> bool:
    idle = await bank.db.fetchval(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND state = 'idle in transaction'"
    )
    return bool(idle == 0)
