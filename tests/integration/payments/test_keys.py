"""Idempotency keys over time: a day long they replay, then they are new, and are cleared away."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest

from guilder.kernel.currencies import CURRENCIES, INR
from guilder.kernel.ids import UserId
from guilder.payments.api import PaymentOrder
from guilder.payments.service.forget_claims import forget_old_claims
from guilder.platform.db import AlreadyThere
from guilder.platform.identifiers import new_id
from tests.integration.payments.conftest import NewBank
from tests.support.bank import Bank, person, refusals, transfer
from tests.support.branch import served
from tests.support.tampering import Connection
from tests.support.waiting import are_waiting, until


@pytest.fixture
async def order(bank: Bank) -> PaymentOrder:
    anna = person()
    annas, bens = await bank.open(anna, funds_minor=1_000), await bank.open(person())
    return transfer(anna, annas, bens, amount_minor=300)


async def test_a_key_is_replayed_until_its_day_is_over_and_then_it_is_new(
    bank: Bank, superuser: Connection, order: PaymentOrder
):
    first = await bank.engine.pay(order)
    await _age(superuser, order, by=timedelta(hours=23, minutes=59))
    still = await bank.engine.pay(order)
    await _age(superuser, order, by=timedelta(minutes=1))
    new = await bank.engine.pay(order)
    again = await bank.engine.pay(order)

    assert [outcome.is_replay for outcome in (first, still, new, again)] == [
        False,
        True,
        False,
        True,
    ]
    ids = [outcome.payment.id for outcome in (first, still, new, again) if outcome.payment]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert order.from_wallet_id is not None
    assert await bank.balances((order.caller_id, order.from_wallet_id)) == [400]


async def test_over_http_a_key_is_new_after_a_day(
    bank: Bank, superuser: Connection, order: PaymentOrder
):
    body = {
        "from_wallet_id": str(order.from_wallet_id),
        "to_wallet_id": str(order.to_wallet_id),
        "amount": "3.00",
        "currency": "INR",
    }

    async with served(bank, order.caller_id) as http:
        answers = []
        for hours in (0, 23, 1):
            await _age(superuser, order, by=timedelta(hours=hours))
            answers.append(
                await http.post(
                    "/api/v1/transactions/transfer",
                    json=body,
                    headers={"Idempotency-Key": order.key},
                )
            )

    assert [answer.status_code for answer in answers] == [201] * 3
    replayed = [answer.headers.get("idempotency-replayed") for answer in answers]
    assert replayed == [None, "true", None]
    assert len({answer.json()["data"]["id"] for answer in answers}) == 2


async def test_another_payload_is_accepted_once_the_day_is_over(
    bank: Bank, superuser: Connection, order: PaymentOrder
):
    await bank.engine.pay(order)
    assert order.from_wallet_id is not None
    assert order.to_wallet_id is not None
    other = transfer(
        order.caller_id, order.from_wallet_id, order.to_wallet_id, key=order.key, amount_minor=1
    )

    early = await bank.engine.pay(other)
    await _age(superuser, order, by=timedelta(hours=24))
    late = await bank.engine.pay(other)

    assert refusals([early, late]) == ["IDEMPOTENCY_KEY_REUSED"]


async def test_a_key_whose_day_is_over_is_taken_by_one_of_two_who_find_it_at_once(
    bank: Bank, new_bank: NewBank, superuser: Connection
):
    """They hold wallets and limits of other currencies, and share nothing but the key."""
    anna, dollars = person(), CURRENCIES["USD"]
    wallets = [
        await bank.open(anna, funds_minor=10_000, currency=unit)
        for unit in (INR, INR, dollars, dollars)
    ]
    order = transfer(anna, wallets[0], wallets[1], amount_minor=1)
    other = msgspec.structs.replace(
        order, from_wallet_id=wallets[2], to_wallet_id=wallets[3], currency=dollars
    )
    assert refusals([await bank.engine.pay(order)]) == []
    await _age(superuser, order, by=timedelta(hours=24))
    here, there = await new_bank(), await new_bank()

    async with superuser.transaction():
        await superuser.execute("LOCK TABLE payments.idempotency IN SHARE MODE")
        paying = asyncio.gather(here.engine.pay(order), there.engine.pay(other))
        # both have found the key, and that its day is over
        await until(lambda: are_waiting(bank.db, 2), "both batches wait to give it up")
        assert not paying.done()
    told = await paying

    assert sorted(refusals(told)) == ["IDEMPOTENCY_KEY_REUSED"]
    assert not any(outcome.is_replay for outcome in told)


async def test_only_keys_whose_day_is_over_are_cleared_away(
    bank: Bank, superuser: Connection, order: PaymentOrder
):
    other = transfer(
        order.caller_id,
        order.from_wallet_id,
        order.to_wallet_id,
    )
    await bank.engine.pay(order)
    await bank.engine.pay(other)
    await _age(superuser, order, by=timedelta(hours=24))

    await forget_old_claims(bank.db)

    assert await _keys(superuser, order.caller_id) >= {other.key}
    assert order.key not in await _keys(superuser, order.caller_id)


async def test_a_failure_that_is_not_known_any_more_is_replayed_and_listed(
    bank: Bank, superuser: Connection, order: PaymentOrder
):
    assert order.from_wallet_id is not None
    assert order.to_wallet_id is not None
    poor = transfer(order.caller_id, order.from_wallet_id, order.to_wallet_id, amount_minor=1_001)
    assert refusals([await bank.engine.pay(poor)]) == ["INSUFFICIENT_FUNDS"]
    edit = "UPDATE payments.transactions SET failure_code = $2 WHERE idempotency_key = $1"
    await superuser.execute("SET session_replication_role = replica")
    await superuser.execute(edit, poor.key, "OUT_OF_STARS")

    replayed = await bank.engine.pay(poor)
    async with served(bank, order.caller_id) as http:
        listed = await http.get("/api/v1/transactions")
    found = {finding.row for finding in await bank.verify() if "reason" in finding.invariant}
    await superuser.execute(edit, poor.key, "INSUFFICIENT_FUNDS")
    await superuser.execute("RESET session_replication_role")

    assert refusals([replayed]) == ["PAYMENT_FAILED"]
    assert replayed.payment is not None
    assert replayed.payment.failure is not None
    assert replayed.payment.failure.message == "The available balance is not sufficient."
    assert listed.status_code == 200
    assert str(replayed.payment.id) in {each["id"] for each in listed.json()["data"]}
    assert found == {str(replayed.payment.id)}


async def _age(superuser: Connection, order: PaymentOrder, *, by: timedelta) -> None:
    await superuser.execute(
        "UPDATE payments.idempotency SET created_at = created_at - $3::interval "
        "WHERE owner_id = $1 AND key = $2",
        order.caller_id,
        order.key,
        by,
    )


async def _keys(superuser: Connection, owner_id: UserId) -> set[str]:
    rows = await superuser.fetch(
        "SELECT key FROM payments.idempotency WHERE owner_id = $1", owner_id
    )
    return {row[0] for row in rows}


async def test_a_key_whose_day_is_over_is_new_whatever_became_of_its_payment(
    bank: Bank, superuser: Connection, order: PaymentOrder
):
    assert refusals([await bank.engine.pay(order)]) == []
    await _age(superuser, order, by=timedelta(hours=24))
    lose = "UPDATE payments.idempotency SET transaction_id = $2 WHERE key = $1"
    await superuser.execute(lose, order.key, new_id())

    new = await bank.engine.pay(order)

    assert (new.refusal, new.is_replay) == (None, False)


async def test_an_account_that_was_edited_back_takes_nothing_more_and_is_told_as_a_bug(
    bank: Bank, superuser: Connection, order: PaymentOrder
):
    """Its next entry is there already: looking again would find the same, for ever."""
    rewind = "UPDATE ledger.accounts SET sequence = sequence + $2 WHERE id = $1"
    await superuser.execute(rewind, order.from_wallet_id, -1)
    try:
        with pytest.raises(AlreadyThere):
            await bank.engine.pay(order)
    finally:
        await superuser.execute(rewind, order.from_wallet_id, 1)

    assert refusals([await bank.engine.pay(order)]) == []
