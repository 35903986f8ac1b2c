"""Wallets of people who are erased: closed in the same transaction, or the reason why not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from guilder.identity.api.personal_data import MoneyRemains
from guilder.identity.events import UserRegistered
from guilder.identity.events.staff import UserErased
from guilder.kernel.currencies import INR
from guilder.kernel.ids import EventId, UserId
from guilder.platform.bus import Event
from guilder.platform.identifiers import new_id
from guilder.wallets.api import Act, WalletStatus
from guilder.wallets.consumers import subscriptions
from guilder.wallets.domain import StandingWallet
from guilder.wallets.service import BEFORE_ALL
from tests.support.bank import Bank, person, refusals, transfer, withdrawal

CLOSED = StandingWallet(status=WalletStatus.CLOSED)


async def wind_up(bank: Bank, owner_id: UserId) -> datetime | None:
    return await bank.db.run(lambda tx: bank.wallets.wind_up(tx, owner_id))


async def hear(bank: Bank, type_: str, owner_id: UserId, **data: Any) -> None:
    event = Event(
        id=EventId(new_id()),
        type=type_,
        key=str(owner_id),
        time=datetime.now(UTC),
        data={"user_id": str(owner_id), **data},
    )
    (subscription,) = subscriptions(bank.wallets, default_currency=INR)
    assert type_ in (subscription.types or set())
    await bank.db.run(lambda tx: subscription.hear(tx, [event]))


async def standings(bank: Bank, owner_id: UserId) -> list[StandingWallet]:
    views = await bank.wallets.list_wallets(owner_id, after=BEFORE_ALL, limit=10)
    return [view.wallet.standing for view in views]


async def test_everything_is_closed_whatever_its_state(bank: Bank) -> None:
    anna = person()
    await bank.open(anna, is_active=False)
    await bank.open(anna)
    frozen, closed = [await bank.open(anna) for _ in range(2)]
    await bank.act(anna, frozen, Act.FREEZE)
    await bank.act(anna, closed, Act.CLOSE)

    moved_at = await wind_up(bank, anna)

    assert moved_at is None
    assert await standings(bank, anna) == [CLOSED] * 4


async def test_what_they_called_their_wallets_is_forgotten(bank: Bank) -> None:
    anna = person()
    for label in ("Anna's savings", ""):
        await bank.wallets.open_wallet(anna, currency=INR, label=label)

    await wind_up(bank, anna)

    views = await bank.wallets.list_wallets(anna, after=BEFORE_ALL, limit=10)
    assert [view.wallet.label for view in views] == ["", ""]
    assert await bank.verify() == []


async def test_it_says_when_money_moved_last(bank: Bank) -> None:
    anna = person()
    early, late = [await bank.open(anna, funds_minor=100) for _ in range(2)]
    for wallet in (early, late):
        await bank.engine.pay(withdrawal(anna, wallet, amount_minor=100))
    last = (await bank.wallets.view(anna, wallet_id=late)).account.moved_at

    assert await wind_up(bank, anna) == last


async def test_money_in_one_wallet_keeps_all_of_them(bank: Bank) -> None:
    anna = person()
    await bank.open(anna)
    await bank.open(anna, funds_minor=1)

    with pytest.raises(MoneyRemains):
        await wind_up(bank, anna)

    assert {one.status for one in await standings(bank, anna)} == {WalletStatus.ACTIVE}


async def test_who_holds_nothing_has_nothing_closed(bank: Bank) -> None:
    assert await wind_up(bank, person()) is None


async def test_a_wallet_that_is_opened_after_the_erasure_is_closed(bank: Bank) -> None:
    anna = person()

    await hear(bank, UserRegistered.TYPE, anna)
    await hear(bank, UserErased.TYPE, anna)
    await hear(bank, UserErased.TYPE, anna)

    assert await standings(bank, anna) == [CLOSED]


async def test_a_late_wallet_with_money_in_it_is_frozen_for_staff_to_see_to(bank: Bank) -> None:
    anna, ben = person(), person()
    annas, bens = await bank.open(anna, funds_minor=100), await bank.open(ben)

    await hear(bank, UserErased.TYPE, anna)
    paid = await bank.engine.pay(transfer(anna, annas, bens))

    assert refusals([paid]) == ["ACCOUNT_FROZEN"]
    assert await standings(bank, anna) == [
        StandingWallet(status=WalletStatus.FROZEN, frozen_by_staff=True)
    ]
