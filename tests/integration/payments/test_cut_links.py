"""Links to the database that are cut: what was committed is answered, and only once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
import pytest_asyncio

from guilder.kernel.currencies import INR
from guilder.kernel.ids import UserId, WalletId
from guilder.platform.db import Database
from tests.integration.payments.conftest import NewBank
from tests.support.bank import Bank, opened, person, refusals, transfer
from tests.support.branch import served
from tests.support.database import OwnDatabase
from tests.support.payer import pay_all
from tests.support.proxy import Link, linked


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Anna's and Ben's wallets, and a bank whose only way to the database is a link."""

    far: Bank
    link: Link
    anna: UserId
    ben: UserId
    annas: WalletId
    bens: WalletId


@pytest_asyncio.fixture
async def scene(bank: Bank, database: OwnDatabase) -> AsyncIterator[Scene]:
    anna, ben = person(), person()
    annas, bens = await bank.open(anna, funds_minor=10_000), await bank.open(ben)
    async with linked(database.url()) as link:
        pool = await Database.connect(link.url, max_connections=4)
        async with opened(pool, lanes=1) as far:
            yield Scene(far=far, link=link, anna=anna, ben=ben, annas=annas, bens=bens)
        await pool.close()
    assert await bank.verify() == []


@pytest.mark.parametrize("cuts", [1, 2, 3])
async def test_a_commit_whose_answer_was_lost_is_answered_by_its_key(
    scene: Scene, bank: Bank, cuts: int
):
    scene.link.cuts_left = cuts
    order = transfer(scene.anna, scene.annas, scene.bens, amount_minor=700)

    outcome = await scene.far.engine.pay(order)

    assert scene.link.cuts == cuts
    assert outcome.refusal is None
    # the caller's first attempt and its own commit: to them nothing was replayed
    assert not outcome.is_replay
    assert await bank.balances((scene.ben, scene.bens)) == [700]


async def test_a_refusal_whose_commit_was_not_answered_is_told_as_it_was_kept(
    scene: Scene, bank: Bank
):
    scene.link.cuts_left = 1
    order = transfer(scene.anna, scene.annas, scene.bens, amount_minor=10**6)

    outcome = await scene.far.engine.pay(order)
    again = await bank.engine.pay(order)

    assert scene.link.cuts == 1
    assert refusals([outcome, again]) == ["INSUFFICIENT_FUNDS"] * 2
    assert (outcome.is_replay, again.is_replay) == (False, True)
    assert again.payment is not None
    assert outcome.payment is not None
    assert again.payment.id == outcome.payment.id


async def test_a_link_that_is_cut_after_every_commit_is_given_up_and_the_key_tells_what_happened(
    scene: Scene, bank: Bank
):
    scene.link.cuts_left = 1_000
    order = transfer(scene.anna, scene.annas, scene.bens, amount_minor=700)

    (given_up,) = await pay_all(scene.far, [order])
    scene.link.cuts_left = 0
    (told,) = await pay_all(scene.far, [order])

    assert given_up.refusal == "OVERLOADED"
    assert (told.refusal, told.is_replay) == (None, True)
    assert await bank.balances((scene.ben, scene.bens)) == [700]


async def test_over_http_whoever_sent_no_key_is_told_one_to_ask_again_with(
    scene: Scene, bank: Bank
):
    body = {
        "from_wallet_id": str(scene.annas),
        "to_wallet_id": str(scene.bens),
        "amount": "7.00",
        "currency": "INR",
    }
    scene.link.cuts_left = 1_000

    async with served(scene.far, scene.anna) as http:
        given_up = await http.post("/api/v1/transactions/transfer", json=body)
        scene.link.cuts_left = 0
        key = {"Idempotency-Key": given_up.headers["idempotency-key"]}
        told = await http.post("/api/v1/transactions/transfer", json=body, headers=key)

    assert (given_up.status_code, told.status_code) == (503, 201)
    assert told.headers["idempotency-replayed"] == "true"
    assert await bank.balances((scene.ben, scene.bens)) == [700]


async def test_batches_whose_links_are_cut_at_any_moment_pay_each_order_once(
    scene: Scene, bank: Bank, new_bank: NewBank
):
    orders = [
        transfer(scene.anna, scene.annas, scene.bens, amount_minor=1 + number)
        for number in range(60)
    ]
    other = await new_bank()

    async def cut() -> None:
        for _ in range(10):
            scene.link.cut_all()
            # something else passes: the cuts fall at moments that nobody chose
            await other.db.fetchval("SELECT count(*) FROM payments.transactions")

    first = asyncio.gather(*(pay_all(scene.far, orders[n::3]) for n in range(3)))
    await asyncio.gather(first, cut())
    told = await pay_all(scene.far, orders)

    assert {one.refusal for one in told} == {None}
    assert len({one.payment_id for one in told}) == 60
    assert await bank.balances((scene.ben, scene.bens)) == [sum(range(1, 61))]


async def test_a_wallet_whose_opening_was_not_answered_is_opened_once(scene: Scene, bank: Bank):
    scene.link.cuts_left = 1

    view = await scene.far.wallets.open_wallet(scene.anna, currency=INR)

    assert scene.link.cuts == 1
    after = WalletId(UUID(int=0))
    held = await bank.wallets.list_wallets(scene.anna, after=after, limit=10)
    assert [each.wallet.id for each in held] == [scene.annas, view.wallet.id]
