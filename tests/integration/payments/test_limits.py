"""Limits at their edge: exact, though payments race, and over again when their window is."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from guilder.kernel.errors import Refusal
from guilder.kernel.ids import UserId
from guilder.ledger.api import ControlLimits
from tests.integration.payments.conftest import NewBank
from tests.support.bank import Bank, deposit, person, refusals, topup, transfer, withdrawal
from tests.support.payer import pay_all
from tests.support.tampering import Connection

HOME = ZoneInfo("Asia/Kolkata")
A_DAY = ControlLimits(per_day_minor=1_000)
A_MONTH = ControlLimits(per_month_minor=1_000)


@pytest.mark.parametrize("limits", [A_DAY, A_MONTH], ids=["day", "month"])
async def test_racing_payments_never_slip_under_one_limit_together(
    bank: Bank, new_bank: NewBank, limits: ControlLimits
):
    """The limit is the owner's: the wallets differ at both ends, so nothing else is shared."""
    anna, ben = person(), person()
    banks = [await new_bank(limits=limits, max_batch=1) for _ in range(3)]
    wallets = [await banks[0].open(anna, funds_minor=500) for _ in range(2)]
    for wallet in wallets:
        # what others send is not limited
        await bank.engine.pay(
            transfer(ben, await bank.open(ben, funds_minor=5_000), wallet, amount_minor=5_000)
        )
    bens = [await bank.open(ben) for _ in wallets]

    told = await asyncio.gather(
        *(
            pay_all(
                each,
                [transfer(anna, wallets[n % 2], bens[n % 2], amount_minor=100) for n in range(16)],
            )
            for each in banks
        )
    )

    outcomes = Counter(one.refusal for share in told for one in share)
    assert outcomes == {None: 10, "LIMIT_EXCEEDED": 38}
    assert sum(await bank.balances(*((ben, wallet) for wallet in bens))) == 1_000
    assert await bank.verify() == []


async def test_a_transaction_may_reach_its_limit_and_not_pass_it(new_bank: NewBank):
    bank = await new_bank(limits=ControlLimits(per_transaction_minor=1_000))
    anna = person()
    annas = await bank.open(anna, funds_minor=1_000)

    outcomes = [
        await bank.engine.pay(order)
        for order in (
            deposit(anna, annas, amount_minor=1_001),
            deposit(anna, annas, amount_minor=1_000),
            withdrawal(anna, annas, amount_minor=1_001),
            withdrawal(anna, annas, amount_minor=1_000),
        )
    ]

    assert [outcome.refusal is None for outcome in outcomes] == [False, True, False, True]
    assert [_window(outcome.refusal) for outcome in outcomes if outcome.refusal] == [
        "transaction",
        "transaction",
    ]


async def test_the_last_unit_of_a_day_passes_and_the_one_after_does_not(new_bank: NewBank):
    bank = await new_bank(limits=A_DAY)
    anna = person()
    annas = await bank.open(anna, funds_minor=990)

    outcomes = [
        await bank.engine.pay(order)
        for order in (
            topup(anna, annas, amount_minor=11),
            topup(anna, annas, amount_minor=10),
            deposit(anna, annas, amount_minor=1),
            withdrawal(anna, annas, amount_minor=1_000),
            withdrawal(anna, annas, amount_minor=1),
        )
    ]

    assert refusals(outcomes) == ["LIMIT_EXCEEDED"] * 3
    assert [outcome.refusal is None for outcome in outcomes] == [False, True, False, True, False]


async def test_a_failed_payment_uses_nothing_of_a_limit(new_bank: NewBank):
    bank = await new_bank(limits=A_DAY)
    anna, ben = person(), person()
    annas, bens = await bank.open(anna, funds_minor=600), await bank.open(ben)

    too_much = await bank.engine.pay(transfer(anna, annas, bens, amount_minor=900))
    rest = [await bank.engine.pay(transfer(anna, annas, bens, amount_minor=300)) for _ in range(2)]

    assert refusals([too_much, *rest]) == ["INSUFFICIENT_FUNDS"]


async def test_a_new_day_begins_at_home_and_a_month_keeps_what_was_used(
    new_bank: NewBank, superuser: Connection
):
    limits = ControlLimits(per_day_minor=400, per_month_minor=1_000)
    bank = await new_bank(limits=limits)
    anna, ben = person(), person()
    annas = await bank.open(anna, funds_minor=400)
    bens = await bank.open(ben)
    await _age(superuser, anna, by=timedelta(days=80))
    await bank.engine.pay(deposit(anna, annas, amount_minor=400))

    first = await bank.engine.pay(transfer(anna, annas, bens, amount_minor=400))
    second = await bank.engine.pay(transfer(anna, annas, bens, amount_minor=1))
    aged = await _age(superuser, anna, by=timedelta(days=1))
    third = await bank.engine.pay(transfer(anna, annas, bens, amount_minor=400))

    assert refusals([first, second, third]) == ["LIMIT_EXCEEDED"]
    assert _window(second.refusal) == "day"
    day_used, month_used = await superuser.fetchrow(
        "SELECT day_used_minor, month_used_minor FROM ledger.controls "
        "WHERE subject_id = $1 AND direction = 'outflow'",
        anna,
    )
    today = datetime.now(UTC).astimezone(HOME)
    same_month = (today.year, today.month) == (aged.year, aged.month)
    assert (day_used, month_used) == (400, 800 if same_month else 400)


async def test_a_new_month_begins_with_nothing_used(new_bank: NewBank, superuser: Connection):
    bank = await new_bank(limits=A_MONTH)
    anna, ben = person(), person()
    annas, bens = await bank.open(anna, funds_minor=1_000), await bank.open(ben)

    first = await bank.engine.pay(transfer(anna, annas, bens, amount_minor=1_000))
    await _age(superuser, anna, by=timedelta(days=32))
    refill = await bank.engine.pay(deposit(anna, annas, amount_minor=1_000))
    second = await bank.engine.pay(transfer(anna, annas, bens, amount_minor=1_000))

    assert refusals([first, refill, second]) == []
    assert await bank.balances((ben, bens)) == [2_000]


async def _age(superuser: Connection, owner_id: UserId, *, by: timedelta) -> datetime:
    """Set back when the owner's limits were last used, and answer that time at home."""
    await superuser.execute(
        "UPDATE ledger.controls SET used_at = used_at - $2::interval WHERE subject_id = $1",
        owner_id,
        by,
    )
    used_at: datetime = await superuser.fetchval(
        "SELECT max(used_at) FROM ledger.controls WHERE subject_id = $1", owner_id
    )
    return used_at.astimezone(HOME)


def _window(refusal: Refusal | None) -> object:
    return None if refusal is None else refusal.details["window"]
