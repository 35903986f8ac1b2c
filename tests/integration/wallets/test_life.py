"""Wallets on a real database: their accounts, events and owners stay together through races."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from guilder.kernel.currencies import CURRENCIES, INR
from guilder.kernel.errors import Refusal
from guilder.kernel.ids import AccountId, UserId, WalletId
from guilder.ledger.api import AccountNotEmpty, AccountStatus, AccountType, NewAccount
from guilder.ledger.service.posting import PostgresLedger
from guilder.platform.identifiers import new_id
from guilder.wallets.api import (
    Act,
    TooManyWallets,
    WalletClosed,
    WalletFrozenByStaff,
    WalletNotActive,
    WalletNotFound,
    WalletStatus,
)
from guilder.wallets.service import BEFORE_ALL
from tests.support.bank import Bank, deposit, opened, person, refusals, transfer
from tests.support.database import OwnDatabase
from tests.support.tampering import Connection


async def status_of(bank: Bank, owner_id: UserId, wallet_id: WalletId) -> WalletStatus:
    return (await bank.wallets.view(owner_id, wallet_id=wallet_id)).wallet.standing.status


async def events_of(superuser: Connection, wallet_id: WalletId) -> list[str]:
    """What the outbox tells of a wallet, in order."""
    rows = await superuser.fetch(
        "SELECT type FROM platform.outbox WHERE key = $1 ORDER BY transaction, position",
        str(wallet_id),
    )
    return [row[0].removeprefix("com.guilder.account.") for row in rows]


async def test_a_wallet_is_told_of_from_its_opening_to_its_end(bank: Bank, superuser: Connection):
    anna = person()
    wallet_id = await bank.open(anna, is_active=False)

    acts = (Act.ACTIVATE, Act.FREEZE, Act.FREEZE, Act.UNFREEZE, Act.CLOSE, Act.CLOSE)
    for act in acts:
        await bank.act(anna, wallet_id, act)

    # what is repeated is not told again
    assert await events_of(superuser, wallet_id) == [
        "created",
        "activated",
        "frozen",
        "activated",
        "closed",
    ]


@pytest.mark.parametrize(
    ("acts", "last", "refusal"),
    [
        ((), Act.FREEZE, WalletNotActive),
        ((Act.ACTIVATE, Act.CLOSE), Act.ACTIVATE, WalletClosed),
        ((Act.ACTIVATE, Act.CLOSE), Act.UNFREEZE, WalletClosed),
    ],
)
async def test_an_act_that_is_refused_changes_nothing(
    bank: Bank, superuser: Connection, acts: tuple[Act, ...], last: Act, refusal: type[Refusal]
):
    anna = person()
    wallet_id = await bank.open(anna, is_active=False)
    for act in acts:
        await bank.act(anna, wallet_id, act)
    before = await events_of(superuser, wallet_id)
    status = await status_of(bank, anna, wallet_id)

    with pytest.raises(refusal):
        await bank.act(anna, wallet_id, last)

    assert await events_of(superuser, wallet_id) == before
    assert await status_of(bank, anna, wallet_id) == status


async def test_nobody_opens_more_wallets_than_they_may_however_many_at_once(bank: Bank):
    anna, ben = person(), person()
    closed = await bank.open(anna)
    await bank.act(anna, closed, Act.CLOSE)
    async with opened(bank.db, most_wallets=3) as small:
        outcomes = await asyncio.gather(
            *(small.open(anna, is_active=False) for _ in range(6)), return_exceptions=True
        )
        bens = await small.open(ben)

    refused = [outcome for outcome in outcomes if isinstance(outcome, TooManyWallets)]
    assert len(refused) == 4
    assert refused[0].details == {"limit": 3}
    held = await bank.wallets.list_wallets(anna, after=BEFORE_ALL, limit=10)
    assert len(held) == 3
    assert await status_of(bank, ben, bens) is WalletStatus.ACTIVE


async def test_a_wallet_with_money_in_it_does_not_close(bank: Bank):
    anna = person()
    wallet_id = await bank.open(anna, funds_minor=1)

    with pytest.raises(AccountNotEmpty):
        await bank.act(anna, wallet_id, Act.CLOSE)

    assert await status_of(bank, anna, wallet_id) is WalletStatus.ACTIVE


async def test_what_is_somebody_elses_is_not_there(bank: Bank):
    anna, ben = person(), person()
    wallet_id = await bank.open(anna)

    for act in Act:
        with pytest.raises(WalletNotFound):
            await bank.act(ben, wallet_id, act)
    with pytest.raises(WalletNotFound):
        await bank.wallets.balance(ben, wallet_id=wallet_id)
    with pytest.raises(WalletNotFound):
        await bank.wallets.history(ben, wallet_id=wallet_id, before=None, limit=1)


async def test_a_pending_wallet_has_an_account_that_takes_no_entries(bank: Bank):
    anna = person()
    wallet_id = await bank.open(anna, is_active=False)

    outcome = await bank.engine.pay(deposit(anna, wallet_id))

    view = await bank.wallets.view(anna, wallet_id=wallet_id)
    assert view.account.status is AccountStatus.FROZEN
    assert view.account.id == AccountId(wallet_id)
    assert refusals([outcome]) == ["WALLET_NOT_ACTIVE"]


async def test_an_account_that_is_no_wallet_pays_and_receives_nothing(bank: Bank):
    anna = person()
    wallet_id = await bank.open(anna, funds_minor=1_000)
    shelf = NewAccount(
        id=AccountId(new_id()),
        owner_id=anna,
        code="customer.shelf",
        type=AccountType.LIABILITY,
        currency=INR,
    )
    await bank.db.run(lambda tx: PostgresLedger().open_account(tx, shelf))

    outcomes = [
        await bank.engine.pay(transfer(anna, wallet_id, WalletId(shelf.id))),
        await bank.engine.pay(transfer(anna, WalletId(shelf.id), wallet_id)),
        await bank.engine.pay(deposit(anna, WalletId(shelf.id))),
    ]

    assert refusals(outcomes) == ["NOT_FOUND"] * 3
    with pytest.raises(WalletNotFound):
        await bank.wallets.balance(anna, wallet_id=WalletId(shelf.id))
    assert await bank.balances((anna, wallet_id)) == [1_000]


async def test_staff_freezes_everything_somebody_holds_and_their_payments_stop(bank: Bank):
    anna, ben = person(), person()
    wallets = [await bank.open(anna, funds_minor=1_000) for _ in range(3)]
    closed = await bank.open(anna)
    await bank.act(anna, closed, Act.CLOSE)
    bens = await bank.open(ben)
    paying = [
        asyncio.ensure_future(bank.engine.pay(transfer(anna, wallet, bens, amount_minor=10)))
        for wallet in wallets * 10
    ]

    views = await bank.wallets.change_all_of(anna, act=Act.FREEZE)
    late = [await bank.engine.pay(transfer(anna, wallet, bens)) for wallet in wallets]
    await asyncio.gather(*paying)

    assert Counter(view.wallet.standing.status for view in views) == {
        WalletStatus.FROZEN: 3,
        WalletStatus.CLOSED: 1,
    }
    assert refusals(late) == ["ACCOUNT_FROZEN"] * 3
    for act in (Act.UNFREEZE, Act.CLOSE):
        with pytest.raises(WalletFrozenByStaff):
            await bank.act(anna, wallets[0], act)


async def test_acts_that_race_leave_one_of_their_orders(bank: Bank, database: OwnDatabase):
    anna = person()
    pools = [await database.connect(max_connections=2) for _ in range(3)]
    others = [Bank(pool) for pool in pools]

    for _ in range(5):
        wallet_id = await bank.open(anna)
        results = await asyncio.gather(
            *(
                other.act(anna, wallet_id, act)
                for other in others
                for act in (Act.FREEZE, Act.UNFREEZE, Act.CLOSE)
            ),
            return_exceptions=True,
        )
        assert {type(result) for result in results} <= {type(None), WalletClosed}
        assert await status_of(bank, anna, wallet_id) is WalletStatus.CLOSED
    for pool in pools:
        await pool.close()


async def test_wallets_are_listed_in_order_of_opening(bank: Bank):
    anna = person()
    opened_ = [await bank.open(anna, currency=CURRENCIES[code]) for code in ("INR", "USD", "JPY")]

    first = await bank.wallets.list_wallets(anna, after=BEFORE_ALL, limit=2)
    rest = await bank.wallets.list_wallets(anna, after=first[-1].wallet.id, limit=2)

    assert [view.wallet.id for view in (*first, *rest)] == opened_


async def test_a_default_wallet_is_opened_once_however_often_its_event_comes(bank: Bank):
    anna = person()

    for _ in range(3):
        await bank.db.run(lambda tx: bank.wallets.open_default_wallet(tx, anna, INR))

    (only,) = await bank.wallets.list_wallets(anna, after=BEFORE_ALL, limit=10)
    assert only.wallet.is_default
    assert (await bank.wallets.default_wallet(anna, currency=INR)).wallet.id == only.wallet.id
