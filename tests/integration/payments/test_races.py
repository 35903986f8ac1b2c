"""Races on one database, from several pools and several processes, with `guilder verify` after."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import permutations

import msgspec
import pytest
import pytest_asyncio

from guilder.kernel.currencies import CURRENCIES, INR
from guilder.kernel.ids import WalletId
from guilder.ledger.api import AccountNotEmpty
from guilder.payments.api import PaymentOrder
from guilder.platform.identifiers import new_id
from guilder.wallets.api import WalletStatus
from guilder.wallets.domain import Act
from guilder.wallets.service import BEFORE_ALL
from tests.integration.payments.conftest import NewBank
from tests.support.bank import Bank, deposit, person, refusals, transfer, withdrawal
from tests.support.database import OwnDatabase
from tests.support.payer import in_processes, pay_all
from tests.support.tampering import Connection
from tests.support.waiting import are_waiting, until

OF_PLATFORM = """
    SELECT posted_debits, sequence FROM ledger.accounts
    WHERE owner_id IS NULL AND currency = $1
"""


@pytest_asyncio.fixture(autouse=True)
async def verified(bank: Bank) -> AsyncIterator[None]:
    """Whatever happened, everything adds up."""
    yield
    assert await bank.verify() == []


async def test_money_for_one_is_spent_once_of_fifty_times_at_once(bank: Bank, new_bank: NewBank):
    anna, ben = person(), person()
    annas, bens = await bank.open(anna, funds_minor=1_000), await bank.open(ben)
    banks = [await new_bank(connections=2) for _ in range(5)]

    told = await asyncio.gather(
        *(
            pay_all(each, [transfer(anna, annas, bens, amount_minor=1_000) for _ in range(10)])
            for each in banks
        )
    )

    outcomes = Counter(one.refusal for share in told for one in share)
    assert outcomes == {None: 1, "INSUFFICIENT_FUNDS": 49}
    assert await bank.balances((anna, annas), (ben, bens)) == [0, 1_000]


async def test_money_for_one_is_spent_once_by_four_processes(bank: Bank, database: OwnDatabase):
    anna, ben = person(), person()
    annas, bens = await bank.open(anna, funds_minor=1_000), await bank.open(ben)
    shares = [
        [
            transfer(anna, annas, bens, amount_minor=1_000)
            if number % 2
            else withdrawal(anna, annas, amount_minor=1_000)
            for number in range(13)
        ]
        for _ in range(4)
    ]

    told = await in_processes(database.url(), *shares)

    outcomes = Counter(one.refusal for share in told for one in share)
    assert outcomes == {None: 1, "INSUFFICIENT_FUNDS": 51}


@pytest.mark.parametrize("amount_minor", [1_000, 5_000])
async def test_the_same_key_a_hundred_times_over_four_processes_has_one_effect_and_one_answer(
    bank: Bank, database: OwnDatabase, amount_minor: int
):
    anna, ben = person(), person()
    annas, bens = await bank.open(anna, funds_minor=4_000), await bank.open(ben)
    order = transfer(anna, annas, bens, amount_minor=amount_minor)

    told = await in_processes(database.url(), *[[order] * 25] * 4)

    answers = {(one.payment_id, one.refusal) for share in told for one in share}
    assert len(answers) == 1
    assert sum(not one.is_replay for share in told for one in share) == 1
    moved = amount_minor if amount_minor <= 4_000 else 0
    assert await bank.balances((anna, annas), (ben, bens)) == [4_000 - moved, moved]


async def test_one_key_with_two_payloads_serves_the_first_and_refuses_the_other(
    bank: Bank, database: OwnDatabase
):
    """The currencies differ, so the two meet on nothing but the key."""
    anna, dollars = person(), CURRENCIES["USD"]
    wallets = [
        await bank.open(anna, funds_minor=1_000, currency=unit)
        for unit in (INR, INR, dollars, dollars)
    ]
    first = transfer(anna, wallets[0], wallets[1], amount_minor=10)
    other = transfer(anna, wallets[2], wallets[3], amount_minor=20, currency=dollars, key=first.key)

    told = await in_processes(database.url(), [first] * 10, [other] * 10)

    shares = [{one.refusal for one in share} for share in told]
    assert sorted(shares, key=str) == sorted([{None}, {"IDEMPOTENCY_KEY_REUSED"}], key=str)
    amount_minor = 10 if shares[0] == {None} else 20
    balances = await bank.balances(*((anna, wallet) for wallet in wallets))
    assert sorted(balances) == [1_000 - amount_minor, 1_000, 1_000, 1_000 + amount_minor]


async def test_a_hot_wallet_receives_every_transfer_of_two_processes(
    bank: Bank, database: OwnDatabase
):
    anna, shop = person(), person()
    till = await bank.open(shop)
    wallets = [await bank.open(anna, funds_minor=10_000) for _ in range(10)]
    shares = [
        [
            transfer(anna, wallets[number % 10], till, amount_minor=1 + number)
            for number in range(150)
        ]
        for _ in range(2)
    ]

    told = await in_processes(database.url(), *shares)

    assert [one.refusal for share in told for one in share] == [None] * 300
    total = 2 * sum(range(1, 151))
    assert await bank.balances((shop, till)) == [total]
    left = await bank.balances(*((anna, wallet) for wallet in wallets))
    assert sum(left) == 100_000 - total


async def test_crossing_transfers_never_deadlock(
    bank: Bank, database: OwnDatabase, new_bank: NewBank, superuser: Connection
):
    anna = person()
    wallets = [await bank.open(anna, funds_minor=500) for _ in range(4)]
    banks = [await new_bank(connections=3, max_batch=4, lanes=3) for _ in range(4)]
    before = await _deadlocks(superuser)

    told = await asyncio.gather(
        *(
            pay_all(
                each,
                [
                    transfer(anna, source, to, amount_minor=1 + number)
                    for number in range(8)
                    for source, to in permutations(wallets, 2)
                ],
            )
            for each in banks
        )
    )

    assert {one.refusal for share in told for one in share} <= {None, "INSUFFICIENT_FUNDS"}
    assert sum(await bank.balances(*((anna, wallet) for wallet in wallets))) == 2_000
    for each in banks:
        await each.engine.close()
        await each.db.close()
    assert await _deadlocks(superuser) == before


async def test_nothing_leaves_a_wallet_after_it_was_frozen(bank: Bank, new_bank: NewBank):
    anna, ben = person(), person()
    annas, bens = await bank.open(anna, funds_minor=1_000), await bank.open(ben)
    banks = [await new_bank(max_batch=2) for _ in range(3)]

    paying = [
        asyncio.ensure_future(each.engine.pay(transfer(anna, annas, bens, amount_minor=10)))
        for _ in range(20)
        for each in banks
    ]
    await asyncio.wait(paying, return_when=asyncio.FIRST_COMPLETED)
    await bank.act(anna, annas, Act.FREEZE)
    late = await bank.engine.pay(transfer(anna, annas, bens, amount_minor=10))
    outcomes = await asyncio.gather(*paying)

    assert refusals([late]) == ["ACCOUNT_FROZEN"]
    assert set(refusals(outcomes)) <= {"ACCOUNT_FROZEN"}
    view = await bank.wallets.view(anna, wallet_id=annas)
    assert view.wallet.standing.status is WalletStatus.FROZEN
    for outcome in outcomes:
        assert outcome.payment is not None
        was_before = outcome.payment.created_at <= view.wallet.changed_at
        assert was_before == (outcome.refusal is None)
    done = sum(outcome.refusal is None for outcome in outcomes)
    assert await bank.balances((ben, bens)) == [10 * done]


async def test_a_wallet_closes_empty_or_not_at_all_while_money_comes_in(
    bank: Bank, new_bank: NewBank
):
    anna = person()
    other = await new_bank()

    for number in range(12):
        wallet = await bank.open(anna)
        closing = bank.act(anna, wallet, Act.CLOSE)
        paying = other.engine.pay(deposit(anna, wallet))
        racers = [paying, closing] if number % 2 else [closing, paying]
        results = await asyncio.gather(*racers, return_exceptions=True)
        closed, paid = (results[1], results[0]) if number % 2 else (results[0], results[1])
        assert not isinstance(paid, BaseException)
        was_paid = paid.refusal is None

        view = await bank.wallets.view(anna, wallet_id=wallet)
        assert view.account.balance_minor == (100 if was_paid else 0)
        if was_paid:
            assert isinstance(closed, AccountNotEmpty)
            assert view.wallet.standing.status is WalletStatus.ACTIVE
        else:
            assert refusals([paid]) == ["ACCOUNT_CLOSED"]
            assert closed is None
            assert view.wallet.standing.status is WalletStatus.CLOSED


async def test_keys_that_meet_in_opposite_order_wait_for_each_other_and_never_deadlock(
    bank: Bank, new_bank: NewBank, superuser: Connection
):
    """Two batches hold wallets and limits of other currencies, and share nothing but their keys."""
    anna, dollars = person(), CURRENCIES["USD"]
    wallets = [
        await bank.open(anna, funds_minor=10_000, currency=unit)
        for unit in (INR, INR, dollars, dollars)
    ]
    here, there = await new_bank(lanes=1), await new_bank(lanes=1)
    before = await _deadlocks(superuser)
    orders = [transfer(anna, wallets[0], wallets[1], amount_minor=1) for _ in range(40)]
    others = [
        msgspec.structs.replace(
            order, from_wallet_id=wallets[2], to_wallet_id=wallets[3], currency=dollars
        )
        for order in reversed(orders)
    ]

    async with _somebody_writes(superuser, orders[20]):
        paying = asyncio.gather(pay_all(here, orders), pay_all(there, others))
        # both have looked for the keys and found none
        await until(lambda: are_waiting(bank.db, 2), "both batches wait to write")
        assert not paying.done()
    told = await paying

    by_key = zip(told[0], reversed(told[1]), strict=True)
    pairs = Counter(frozenset({one.refusal, other.refusal}) for one, other in by_key)
    assert pairs == {frozenset({None, "IDEMPOTENCY_KEY_REUSED"}): 40}
    for each in (here, there):
        await each.engine.close()
        await each.db.close()
    assert await _deadlocks(superuser) == before


async def test_a_default_wallet_that_many_open_at_once_is_one(bank: Bank, new_bank: NewBank):
    anna = person()
    banks = [await new_bank() for _ in range(3)]
    unit = (await bank.wallets.view(anna, wallet_id=await bank.open(anna))).wallet.currency

    async def open_default(each: Bank) -> None:
        await each.db.run(lambda tx: each.wallets.open_default_wallet(tx, anna, unit))

    await asyncio.gather(*(open_default(each) for each in banks * 3))

    views = await bank.wallets.list_wallets(anna, after=BEFORE_ALL, limit=100)
    assert [view.wallet.is_default for view in views].count(True) == 1
    assert len(views) == 2


@asynccontextmanager
async def _somebody_writes(superuser: Connection, order: PaymentOrder) -> AsyncIterator[None]:
    """An order's key is being written until the block ends, and then was not.

    Whoever writes the same keys has written those before it by then, and waits in the middle.
    """
    writing = superuser.transaction()
    await writing.start()
    await superuser.execute(
        "INSERT INTO payments.idempotency VALUES ($1, $2, '', $3, 'completed', now())",
        order.caller_id,
        order.key,
        new_id(),
    )
    yield
    await writing.rollback()


async def _deadlocks(superuser: Connection) -> int:
    """How many deadlocks the server has broken, once every other session has told its own."""
    await until(lambda: _is_alone(superuser), "every other session has ended its work")
    await superuser.execute("SELECT pg_stat_clear_snapshot()")
    count: int = await superuser.fetchval(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    return count


async def _is_alone(superuser: Connection) -> bool:
    others = await superuser.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND state = 'active'"
    )
    return others == 0


async def test_an_account_of_the_platform_is_opened_once_by_many_at_once(
    bank: Bank, new_bank: NewBank, superuser: Connection
):
    yen = CURRENCIES["JPY"]
    people = [person() for _ in range(12)]
    wallets = [await bank.open(owner, currency=yen) for owner in people]
    banks = [await new_bank(connections=2) for _ in range(4)]

    told = await asyncio.gather(
        *(
            banks[number % 4].engine.pay(deposit(owner, wallet, currency=yen))
            for number, (owner, wallet) in enumerate(zip(people, wallets, strict=True))
        )
    )

    assert refusals(told) == []
    assert await superuser.fetch(OF_PLATFORM, "JPY") == [(1_200, 12)]


async def test_what_was_refused_opens_no_account_of_the_platform(bank: Bank, superuser: Connection):
    baht = CURRENCIES["THB"]
    anna = person()
    rupees, bahts = await bank.open(anna), await bank.open(anna, currency=baht)

    told = [
        await bank.engine.pay(deposit(anna, rupees, currency=baht)),
        await bank.engine.pay(deposit(anna, WalletId(new_id()), currency=baht)),
        await bank.engine.pay(withdrawal(anna, bahts, currency=baht)),
    ]

    assert refusals(told) == ["VALIDATION_ERROR", "NOT_FOUND", "INSUFFICIENT_FUNDS"]
    assert await superuser.fetch(OF_PLATFORM, "THB") == []
