"""The queue on a real database: bad rows among good ones, a queue that is full, locks that last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from guilder.kernel.errors import Overloaded
from guilder.kernel.ids import UserId, WalletId
from guilder.platform.db import Database, Limits
from tests.integration.payments.conftest import NewBank
from tests.support.bank import Bank, opened, person, refusals, transfer
from tests.support.branch import served
from tests.support.database import OwnDatabase
from tests.support.tampering import Connection
from tests.support.waiting import until


@pytest.mark.parametrize(
    "bad",
    [
        {"description": "a\x00b"},
        {"description": "\ud800"},
        {"amount_minor": -10},
        {"effective_at": datetime(2999, 1, 1, tzinfo=UTC)},
        {"key": "a\x00b"},
    ],
    ids=lambda bad: next(iter(bad)),
)
async def test_an_order_that_cannot_be_stored_hurts_none_of_its_batch(
    bank: Bank, new_bank: NewBank, bad: dict[str, Any]
):
    """HTTP refuses such orders; whatever else comes into a batch must not stop it either."""
    anna = person()
    annas, bens = await bank.open(anna, funds_minor=1_000), await bank.open(person())
    one_lane = await new_bank(lanes=1)
    orders = [
        transfer(anna, annas, bens, **{"amount_minor": 10, **(bad if number == 13 else {})})
        for number in range(30)
    ]

    outcomes = await asyncio.gather(
        *(one_lane.engine.pay(order) for order in orders), return_exceptions=True
    )

    failed = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, BaseException)]
    assert failed == [13]
    assert refusals(outcome for n, outcome in enumerate(outcomes) if n != 13) == []
    assert await bank.balances((anna, annas)) == [1_000 - 290]
    assert await bank.verify() == []


async def test_a_full_queue_refuses_at_once_and_does_what_it_accepted(
    bank: Bank, new_bank: NewBank, superuser: Connection
):
    anna = person()
    annas, bens = await bank.open(anna, funds_minor=1_000), await bank.open(person())
    small = await new_bank(max_batch=4, max_waiting=8, lanes=1)

    async with _locked(superuser, annas):
        accepted = [asyncio.ensure_future(_pay(small, anna, annas, bens)) for _ in range(4)]
        await asyncio.sleep(0)
        await _waits(bank, superuser)
        accepted += [asyncio.ensure_future(_pay(small, anna, annas, bens)) for _ in range(8)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await _pay(small, anna, annas, bens)
    outcomes = await asyncio.gather(*accepted)

    assert outcomes == [None] * 12
    assert await bank.balances((anna, annas)) == [1_000 - 120]


async def test_over_http_a_full_queue_is_503_and_says_when_to_come_back(
    bank: Bank, new_bank: NewBank, superuser: Connection
):
    anna = person()
    annas, bens = await bank.open(anna, funds_minor=1_000), await bank.open(person())
    small = await new_bank(max_batch=1, max_waiting=1, lanes=1)
    body = {
        "from_wallet_id": str(annas),
        "to_wallet_id": str(bens),
        "amount": "0.10",
        "currency": "INR",
    }

    async with served(small, anna) as http:
        async with _locked(superuser, annas):
            first = asyncio.ensure_future(_pay(small, anna, annas, bens))
            await asyncio.sleep(0)
            await _waits(bank, superuser)
            second = asyncio.ensure_future(_pay(small, anna, annas, bens))
            await asyncio.sleep(0)
            refused = await http.post("/api/v1/transactions/transfer", json=body)
        done = [await first, await second]
        accepted = await http.post("/api/v1/transactions/transfer", json=body)

    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "OVERLOADED"
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["idempotency-key"]
    assert done == [None, None]
    assert accepted.status_code == 201


async def test_an_account_that_stays_locked_is_given_up_and_nothing_is_kept(
    bank: Bank, database: OwnDatabase, superuser: Connection
):
    anna = person()
    annas, bens = await bank.open(anna, funds_minor=1_000), await bank.open(person())
    pool = await Database.connect(database.url(), limits=Limits(lock_ms=100))
    order = transfer(anna, annas, bens, amount_minor=10)

    async with opened(pool) as hasty:
        async with _locked(superuser, annas):
            with pytest.raises(Overloaded):
                await hasty.engine.pay(order)
        outcome = await hasty.engine.pay(order)
    await pool.close()

    assert outcome.refusal is None
    assert not outcome.is_replay


async def test_who_needs_no_locked_account_is_paid_in_the_batch_of_one_that_does(
    bank: Bank, database: OwnDatabase, superuser: Connection
):
    anna, carla = person(), person()
    annas, carlas = await bank.open(anna, funds_minor=100), await bank.open(carla, funds_minor=100)
    bens = await bank.open(person())
    pool = await Database.connect(database.url(), limits=Limits(lock_ms=100))

    async with opened(pool, lanes=1) as hasty, _locked(superuser, annas):
        stuck, *paid = await asyncio.gather(
            hasty.engine.pay(transfer(anna, annas, bens, amount_minor=1)),
            *(hasty.engine.pay(transfer(carla, carlas, bens, amount_minor=1)) for _ in range(3)),
        )
    await pool.close()

    assert isinstance(stuck.refusal, Overloaded)
    assert refusals(paid) == []
    assert await bank.balances((anna, annas), (carla, carlas)) == [100, 97]
    assert await bank.verify() == []


async def test_who_needs_no_locked_control_is_paid_in_the_batch_of_one_that_does(
    bank: Bank, database: OwnDatabase, superuser: Connection
):
    """A control is its owner's: another wallet of theirs may keep it, with its account free."""
    anna, carla = person(), person()
    annas, carlas = await bank.open(anna, funds_minor=100), await bank.open(carla, funds_minor=100)
    bens = await bank.open(person())
    pool = await Database.connect(database.url(), limits=Limits(lock_ms=100))

    async with opened(pool, lanes=1) as hasty, superuser.transaction():
        await superuser.execute(
            "SELECT FROM ledger.controls "
            "WHERE subject_id = $1 AND direction = 'outflow' FOR UPDATE",
            anna,
        )
        stuck, *paid = await asyncio.gather(
            hasty.engine.pay(transfer(anna, annas, bens, amount_minor=1)),
            hasty.engine.pay(transfer(carla, carlas, annas, amount_minor=1)),
            *(hasty.engine.pay(transfer(carla, carlas, bens, amount_minor=1)) for _ in range(3)),
        )
    await pool.close()

    assert isinstance(stuck.refusal, Overloaded)
    assert refusals(paid) == []
    assert await bank.balances((anna, annas), (carla, carlas)) == [101, 96]
    assert await bank.verify() == []


@pytest.mark.parametrize(
    "state", ["disk_full", "out_of_memory", "too_many_connections", "read_only_sql_transaction"]
)
async def test_a_server_that_cannot_write_now_is_503_for_everybody_at_the_first_try(
    bank: Bank, new_bank: NewBank, superuser: Connection, state: str
):
    anna = person()
    annas, bens = await bank.open(anna, funds_minor=1_000), await bank.open(person())
    other = await new_bank(lanes=1)
    body = {
        "from_wallet_id": str(annas),
        "to_wallet_id": str(bens),
        "amount": "0.10",
        "currency": "INR",
    }

    async with served(other, anna) as http:
        async with _failing(superuser, state):
            refused = await asyncio.gather(
                *(http.post("/api/v1/transactions/transfer", json=body) for _ in range(8))
            )
            tries = await superuser.fetchval("SELECT last_value FROM failing_tries")
        key = {"Idempotency-Key": refused[0].headers["idempotency-key"]}
        accepted = await http.post("/api/v1/transactions/transfer", json=body, headers=key)

    assert {(answer.status_code, answer.headers["retry-after"]) for answer in refused} == {
        (503, "1")
    }
    # the first order, and those that came while it was in the database: none is tried in halves
    assert tries <= 2
    assert accepted.status_code == 201
    assert await bank.balances((anna, annas)) == [990]


async def test_a_server_that_takes_no_writes_any_more_is_503(
    bank: Bank, database: OwnDatabase, new_bank: NewBank, superuser: Connection
):
    anna = person()
    annas, bens = await bank.open(anna, funds_minor=1_000), await bank.open(person())
    order = transfer(anna, annas, bens, amount_minor=10)

    await superuser.execute(
        f"ALTER DATABASE {database.name} SET default_transaction_read_only = on"
    )
    with pytest.raises(Overloaded):
        await (await new_bank()).engine.pay(order)
    await superuser.execute(f"ALTER DATABASE {database.name} RESET default_transaction_read_only")
    outcome = await (await new_bank()).engine.pay(order)

    assert (outcome.refusal, outcome.is_replay) == (None, False)


async def test_a_caller_who_leaves_finds_the_payment_made(
    bank: Bank, new_bank: NewBank, superuser: Connection
):
    anna = person()
    annas, bens = await bank.open(anna, funds_minor=1_000), await bank.open(person())
    other = await new_bank()
    order = transfer(anna, annas, bens, amount_minor=10)

    async with _locked(superuser, annas):
        leaving = asyncio.ensure_future(other.engine.pay(order))
        await asyncio.sleep(0)
        await _waits(bank, superuser)
        leaving.cancel()
    await other.engine.close()

    outcome = await bank.engine.pay(order)
    assert outcome.is_replay
    assert await bank.balances((anna, annas)) == [990]


async def _pay(bank: Bank, anna: UserId, annas: WalletId, bens: WalletId) -> object:
    outcome = await bank.engine.pay(transfer(anna, annas, bens, amount_minor=10))
    return outcome.refusal


@asynccontextmanager
async def _locked(superuser: Connection, wallet_id: WalletId) -> AsyncIterator[None]:
    """Somebody holds the wallet's account until the block ends."""
    async with superuser.transaction():
        await superuser.execute("SELECT FROM ledger.accounts WHERE id = $1 FOR UPDATE", wallet_id)
        yield


@asynccontextmanager
async def _failing(superuser: Connection, state: str) -> AsyncIterator[None]:
    """Whatever payment is written fails as it would if the server were in such a state.

    A sequence counts, because it is not rolled back.
    """
    await superuser.execute(
        f"""
        CREATE SEQUENCE failing_tries;
        CREATE FUNCTION failing() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
            PERFORM nextval('failing_tries');
            RAISE EXCEPTION '{state}' USING ERRCODE = '{state}';
        END $$;
        CREATE TRIGGER failing BEFORE INSERT ON payments.transactions EXECUTE FUNCTION failing();
        """
    )
    try:
        yield
    finally:
        await superuser.execute(
            "DROP TRIGGER failing ON payments.transactions; DROP FUNCTION failing;"
            "DROP SEQUENCE failing_tries"
        )


async def _waits(bank: Bank, superuser: Connection) -> None:
    """Return once a session waits for a lock that the superuser holds."""
    pid = superuser.get_server_pid()
    await until(lambda: _is_waited_for(bank, pid), "a payment waits for the account")


async def _is_waited_for(bank: Bank, pid: int) -> bool:
    waiting = await bank.db.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))", pid
    )
    return bool(waiting)
