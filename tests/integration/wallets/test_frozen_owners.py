"""Wallets follow their owners: a freeze reaches them by event, and its end undoes only that."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from guilder.identity.events import UserRegistered
from guilder.identity.events.staff import (
    UserFrozen,
    UserUnfrozen,
)
from guilder.kernel.currencies import INR
from guilder.kernel.ids import EventId, UserId, WalletId
from guilder.platform.bus import Event
from guilder.platform.identifiers import new_id
from guilder.wallets.api import Act, WalletStatus
from guilder.wallets.consumers import subscriptions
from guilder.wallets.domain import StandingWallet
from tests.support.bank import Bank, deposit, person, refusals, transfer

FROZEN = StandingWallet(status=WalletStatus.FROZEN, frozen_by_staff=True)
ACTIVE = StandingWallet(status=WalletStatus.ACTIVE)


def told(type_: str, user_id: UserId, **data: Any) -> Event:
    return Event(
        id=EventId(new_id()),
        type=type_,
        key=str(user_id),
        time=datetime.now(UTC),
        data={"user_id": str(user_id), **data},
    )


async def hear(bank: Bank, events: Sequence[Event]) -> None:
    (subscription,) = subscriptions(bank.wallets, default_currency=INR)
    assert {event.type for event in events} <= (subscription.types or set())
    await bank.db.run(lambda tx: subscription.hear(tx, events))


async def freeze(bank: Bank, owner_id: UserId) -> str:
    freeze_id = str(new_id())
    await hear(bank, [told(UserFrozen.TYPE, owner_id, freeze_id=freeze_id)])
    return freeze_id


async def unfreeze(bank: Bank, owner_id: UserId, freeze_id: str) -> None:
    await hear(bank, [told(UserUnfrozen.TYPE, owner_id, freeze_id=freeze_id)])


async def standing(bank: Bank, owner_id: UserId, wallet_id: WalletId) -> StandingWallet:
    return (await bank.wallets.view(owner_id, wallet_id=wallet_id)).wallet.standing


async def test_a_frozen_user_pays_and_receives_nothing_until_unfrozen(bank: Bank) -> None:
    anna, ben = person(), person()
    annas = await bank.open(anna, funds_minor=1000)
    bens = await bank.open(ben, funds_minor=1000)

    freeze_id = await freeze(bank, anna)
    out = await bank.engine.pay(transfer(anna, annas, bens))
    into = await bank.engine.pay(transfer(ben, bens, annas))
    await unfreeze(bank, anna, freeze_id)
    after = await bank.engine.pay(transfer(anna, annas, bens))

    assert refusals([out, into]) == ["ACCOUNT_FROZEN", "ACCOUNT_FROZEN"]
    assert after.refusal is None


async def test_the_end_of_a_freeze_thaws_only_what_it_froze(bank: Bank) -> None:
    anna = person()
    open_one, her_own_choice, by_staff, waiting = [
        await bank.open(anna, is_active=is_active) for is_active in (True, True, True, False)
    ]
    await bank.act(anna, her_own_choice, Act.FREEZE)
    freeze_id = await freeze(bank, anna)
    meanwhile = [
        await standing(bank, anna, one) for one in (open_one, her_own_choice, by_staff, waiting)
    ]

    await unfreeze(bank, anna, freeze_id)

    after = [await standing(bank, anna, one) for one in (open_one, her_own_choice, waiting)]
    assert meanwhile == [
        FROZEN,
        StandingWallet(status=WalletStatus.FROZEN),
        FROZEN,
        StandingWallet(status=WalletStatus.PENDING),
    ]
    assert after == [
        ACTIVE,
        StandingWallet(status=WalletStatus.FROZEN),
        StandingWallet(status=WalletStatus.PENDING),
    ]


async def test_a_wallet_that_staff_froze_as_well_stays_frozen(bank: Bank) -> None:
    anna = person()
    wallet_id = await bank.open(anna)
    freeze_id = await freeze(bank, anna)
    await bank.wallets.change_all_of(anna, act=Act.FREEZE)

    await unfreeze(bank, anna, freeze_id)

    assert await standing(bank, anna, wallet_id) == FROZEN


async def test_a_wallet_that_staff_opened_meanwhile_can_be_frozen_anew(bank: Bank) -> None:
    anna = person()
    wallet_id = await bank.open(anna)
    first = await freeze(bank, anna)
    await bank.wallets.change_all_of(anna, act=Act.UNFREEZE)

    second = await freeze(bank, anna)
    await unfreeze(bank, anna, first)
    between = await standing(bank, anna, wallet_id)
    await unfreeze(bank, anna, second)

    assert between == FROZEN
    assert await standing(bank, anna, wallet_id) == ACTIVE


async def test_whoever_is_frozen_right_after_signing_up_has_a_frozen_wallet(bank: Bank) -> None:
    anna = person()
    freeze_id = str(new_id())

    await hear(
        bank,
        [
            told(UserRegistered.TYPE, anna),
            told(UserFrozen.TYPE, anna, freeze_id=freeze_id),
        ],
    )

    wallet = (await bank.wallets.default_wallet(anna, currency=INR)).wallet
    assert wallet.standing == FROZEN


async def test_hearing_of_a_freeze_twice_changes_nothing_more(bank: Bank) -> None:
    anna = person()
    wallet_id = await bank.open(anna)
    freeze_id = str(new_id())
    event = told(UserFrozen.TYPE, anna, freeze_id=freeze_id)

    await hear(bank, [event, event])
    await unfreeze(bank, anna, freeze_id)
    await unfreeze(bank, anna, freeze_id)

    assert await standing(bank, anna, wallet_id) == ACTIVE


async def test_money_that_waits_in_a_frozen_wallet_is_there_afterwards(bank: Bank) -> None:
    anna = person()
    wallet_id = await bank.open(anna, funds_minor=700)

    freeze_id = await freeze(bank, anna)
    refused = await bank.engine.pay(deposit(anna, wallet_id))
    await unfreeze(bank, anna, freeze_id)

    assert refusals([refused]) == ["ACCOUNT_FROZEN"]
    assert await bank.balances((anna, wallet_id)) == [700]
