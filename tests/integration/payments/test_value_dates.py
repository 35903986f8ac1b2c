"""A payment that counts before it was recorded says so everywhere, and verify holds it to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from guilder.kernel.ids import UserId, WalletId
from guilder.payments.api import Payment, PaymentOrder, Search
from guilder.payments.service.reading import PaymentReading
from guilder.wallets.service import InMoneyCore
from tests.support.bank import CHECKS, Bank, person, transfer
from tests.support.tampering import Connection, edited, findings_of

IN_MARCH = datetime(2026, 3, 31, 18, 30, tzinfo=UTC)


@pytest.fixture
async def order(bank: Bank) -> PaymentOrder:
    anna = person()
    annas, bens = await bank.open(anna, funds_minor=1_000), await bank.open(person())
    return transfer(anna, annas, bens, amount_minor=300, effective_at=IN_MARCH)


async def found(bank: Bank, order: PaymentOrder, search: Search) -> list[Payment]:
    reading = PaymentReading(bank.db, wallets=InMoneyCore())
    return await reading.page(order.caller_id, search=search, limit=10)


async def entries(bank: Bank, owner_id: UserId, wallet_id: WalletId | None) -> list[datetime]:
    assert wallet_id is not None
    _, lines = await bank.wallets.history(owner_id, wallet_id=wallet_id, before=None, limit=1)
    return [line.effective_at for line in lines]


async def test_a_backdated_payment_is_told_found_and_posted_at_its_date(
    bank: Bank, order: PaymentOrder
):
    outcome = await bank.engine.pay(order)

    month = Search(since=IN_MARCH, until=IN_MARCH + timedelta(seconds=1))
    assert outcome.payment is not None
    assert outcome.payment.created_at > IN_MARCH
    assert await found(bank, order, month) == [outcome.payment]
    assert await entries(bank, order.caller_id, order.from_wallet_id) == [IN_MARCH]
    assert await bank.verify() == []


async def test_a_key_stands_for_its_date_too(bank: Bank, order: PaymentOrder):
    await bank.engine.pay(order)

    again = await bank.engine.pay(
        transfer(
            order.caller_id,
            order.from_wallet_id or WalletId(order.caller_id),
            order.to_wallet_id or WalletId(order.caller_id),
            amount_minor=300,
            key=order.key,
        )
    )

    assert again.refusal is not None
    assert again.refusal.details["fields"] == {
        "effective_at": "differs from the first request with this key"
    }


@pytest.mark.parametrize("date", ["NULL", "effective_at - interval '1 day'"])
async def test_another_date_of_a_payment_is_found(
    bank: Bank, superuser: Connection, order: PaymentOrder, date: str
):
    outcome = await bank.engine.pay(order)
    assert outcome.payment is not None
    row = await superuser.fetchval(
        "SELECT ctid::text FROM payments.transactions WHERE id = $1", outcome.payment.id
    )

    async with edited(
        superuser, "payments.transactions", column="effective_at", edit=date, row=row
    ) as changed:
        found = await findings_of(superuser, CHECKS)

    assert changed
    assert {finding.row for finding in found} == {str(outcome.payment.id)}
