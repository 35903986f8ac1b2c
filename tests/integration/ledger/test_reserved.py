"""What belongs to other contexts: the ledger's own routes leave it alone."""

from __future__ import annotations

import pytest
from msgspec import structs

from guilder.kernel.currencies import CURRENCIES, INR
from guilder.kernel.ids import AccountId, UserId
from guilder.ledger.api import (
    AccountStatus,
    AccountType,
    KeptByItsContext,
    LinkedRefused,
    NewAccount,
    PlatformAccount,
    Reserved,
    platform_account_id,
)
from guilder.ledger.service.manage_accounts import ManageAccounts
from guilder.ledger.service.post_transactions import PostTransactions
from guilder.ledger.store.checks import CHECKS
from guilder.platform.checks import run_checks
from guilder.platform.db import Database
from guilder.platform.identifiers import new_id
from tests.support.ledger import Teller, transfer

EUR = CURRENCIES["EUR"]
FEES = NewAccount(
    id=platform_account_id(PlatformAccount.FEES, EUR),
    owner_id=None,
    code="fees",
    type=AccountType.INCOME,
    currency=EUR,
)
RESERVED = Reserved(account_codes=frozenset({"wallet"}), kinds=frozenset({"payment"}))


@pytest.fixture
def accounts(db: Database, teller: Teller) -> ManageAccounts:
    return ManageAccounts(db, ledger=teller.ledger, reserved=RESERVED)


async def test_an_account_of_a_reserved_code_is_not_opened(accounts: ManageAccounts):
    account = NewAccount(
        id=AccountId(new_id()),
        owner_id=UserId(new_id()),
        code="wallet",
        type=AccountType.LIABILITY,
        currency=INR,
    )

    with pytest.raises(KeptByItsContext):
        await accounts.open_account(account)

    opened = await accounts.open_account(structs.replace(account, code="escrow"))
    assert opened.account.code == "escrow"


@pytest.mark.parametrize("status", AccountStatus)
async def test_an_account_of_a_reserved_code_keeps_its_status(
    accounts: ManageAccounts, teller: Teller, status: AccountStatus
):
    annas = await teller.open()

    with pytest.raises(KeptByItsContext):
        await accounts.set_status(annas, status)
    with pytest.raises(KeptByItsContext):
        await accounts.set_floor(annas, floor_minor=-1)

    async with teller.db.snapshot() as tx:
        account = (await teller.ledger.accounts(tx, [annas]))[annas]
    assert (account.status, account.floor_minor) == (AccountStatus.OPEN, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": AccountId(new_id())},
        {"id": AccountId(new_id()), "owner_id": UserId(new_id())},
        {"code": "escrow"},
        {"type": AccountType.ASSET},
        {"currency": INR},
        {"floor_minor": 0},
        {"status": AccountStatus.FROZEN},
    ],
)
async def test_nothing_else_takes_the_place_of_an_account_of_the_platform(
    accounts: ManageAccounts, changes: dict[str, object]
):
    with pytest.raises(KeptByItsContext):
        await accounts.open_account(structs.replace(FEES, **changes))

    opened = (await accounts.open_account(FEES)).account
    assert (opened.id, opened.code, opened.currency) == (FEES.id, "fees", EUR)


async def test_an_account_of_the_platform_is_frozen_for_a_while_and_never_closed(
    accounts: ManageAccounts,
):
    await accounts.open_account(FEES)

    with pytest.raises(KeptByItsContext):
        await accounts.set_status(FEES.id, AccountStatus.CLOSED)
    with pytest.raises(KeptByItsContext):
        await accounts.set_floor(FEES.id, floor_minor=0)

    frozen = await accounts.set_status(FEES.id, AccountStatus.FROZEN)
    assert frozen.status is AccountStatus.FROZEN
    again = await accounts.set_status(FEES.id, AccountStatus.OPEN)
    assert again.status is AccountStatus.OPEN


async def test_what_took_the_place_of_an_account_of_the_platform_is_found(
    db: Database, teller: Teller
):
    taken = structs.replace(FEES, id=AccountId(new_id()), currency=CURRENCIES["CHF"])
    disguised = structs.replace(
        FEES, id=platform_account_id(PlatformAccount.FEES, INR), code="escrow"
    )

    # Past the routes, as a version before this one let it happen.
    for account in (taken, disguised):
        await db.run(lambda tx, account=account: teller.ledger.open_account(tx, account))

    found = {
        finding.row
        for checked in await run_checks(db, CHECKS)
        if checked.check.name == "platform accounts"
        for finding in checked.findings
    }
    assert found == {str(taken.id), str(disguised.id)}


async def test_a_transaction_of_a_reserved_kind_is_refused_with_all_that_is_linked_to_it(
    db: Database, teller: Teller
):
    annas, bens = await teller.open(funds_minor=100), await teller.open()
    posting = PostTransactions(db, ledger=teller.ledger, reserved=RESERVED)
    ours = transfer(annas, bens, 1)
    theirs = transfer(annas, bens, 1, kind="payment")

    outcomes = await posting.post_groups([[ours, theirs]])

    assert [type(outcome) for outcome in outcomes[0]] == [LinkedRefused, KeptByItsContext]
    assert (await posting.post([ours]))[0].is_replay is False
