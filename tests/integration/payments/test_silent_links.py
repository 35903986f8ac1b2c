"""Links to the database that fall silent: nobody is told, and yet everybody is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from guilder.platform.db import Database, Limits
from tests.support.bank import Bank, opened, person, transfer
from tests.support.database import OwnDatabase
from tests.support.payer import pay_all
from tests.support.proxy import COMMIT, Link, linked
from tests.support.waiting import PATIENCE_S

IMPATIENT = Limits(
    statement_ms=2_000, lock_ms=1_000, idle_in_transaction_ms=1_000, command_s=1.0, connect_s=1.0
)


@pytest_asyncio.fixture
async def link(database: OwnDatabase) -> AsyncIterator[Link]:
    async with linked(database.url()) as made:
        yield made


@pytest_asyncio.fixture
async def far(link: Link, bank: Bank) -> AsyncIterator[Bank]:
    """A bank whose only way to the database is the link, with a session that is open."""
    pool = await Database.connect(link.url, max_connections=2, limits=IMPATIENT)
    async with opened(pool) as made:
        await pool.fetchval("SELECT 1")
        yield made
    await pool.close()
    assert await bank.verify() == []


def from_now_on(link: Link) -> None:
    link.is_silent = True


def from_the_commit_on(link: Link) -> None:
    link.silent_from = COMMIT


def after_the_commit(link: Link) -> None:
    link.silent_after = COMMIT


@pytest.mark.parametrize(
    ("falls_silent", "was_done"),
    [(from_now_on, False), (from_the_commit_on, False), (after_the_commit, True)],
    ids=lambda case: getattr(case, "__name__", ""),
)
async def test_a_payment_into_the_silence_is_given_up_and_its_key_tells_what_became_of_it(
    bank: Bank, far: Bank, link: Link, falls_silent: Callable[[Link], None], was_done: bool
):
    anna, ben = person(), person()
    annas, bens = await bank.open(anna, funds_minor=1_000), await bank.open(ben)
    order = transfer(anna, annas, bens, amount_minor=700)

    falls_silent(link)
    async with asyncio.timeout(PATIENCE_S):
        (given_up,) = await pay_all(far, [order])
    # the server has not heard that the client is gone: its locks last until it gives up as well
    (elsewhere,) = await pay_all(bank, [order])
    link.speak_again()
    (again,) = await pay_all(far, [order])

    assert given_up.refusal == "OVERLOADED"
    assert (elsewhere.refusal, elsewhere.is_replay) == (None, was_done)
    assert (again.payment_id, again.is_replay) == (elsewhere.payment_id, True)
    assert await bank.balances((anna, annas), (ben, bens)) == [300, 700]
