"""What belongs to other contexts: the ledger's own routes leave it alone."""

from __future__ import annotations

from pathlib import Path

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
from tests.support.tampering import Connection

EUR = CURRENCIES["EUR"]
FEES = NewAccount(
    id=platform_account_id(PlatformAccount.FEES, EUR),
    owner_id=None,
    code="fees",
    type=AccountType.INCOME,
    currency=EUR,
)
_GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "audit.md"
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

    assert await _found(db, "platform accounts") == {str(taken.id), str(disguised.id)}


async def test_an_account_of_the_platform_that_is_not_as_it_should_be_is_mended(
    db: Database, accounts: ManageAccounts, teller: Teller, superuser: Connection
):
    await accounts.open_account(FEES)
    # Past the routes, as a version before this one let it happen.
    await db.run(lambda tx: teller.ledger.set_floor(tx, FEES.id, floor_minor=-100))
    await db.run(lambda tx: teller.ledger.set_status(tx, FEES.id, AccountStatus.CLOSED))
    assert str(FEES.id) in await _found(db, "platform accounts")

    await superuser.execute(_statement_of_the_guide(FEES.id))
    with pytest.raises(KeptByItsContext):
        await accounts.set_floor(FEES.id, floor_minor=-50)
    mended = await accounts.set_floor(FEES.id, floor_minor=None)

    assert (mended.floor_minor, mended.status) == (None, AccountStatus.OPEN)
    assert str(FEES.id) not in await _found(db, *(check.name for check in CHECKS))


def _statement_of_the_guide(account_id: AccountId) -> str:
    guide = _GUIDE.read_text()
    statement = guide.partition("```sql\n")[2].partition("```")[0]
    return statement.replace("…", str(account_id)) + "RESET ROLE"


async def _found(db: Database, *checks: str) -> set[str]:
    done = await run_checks(db, [check for check in CHECKS if check.name in checks])
    return {finding.row for checked in done for finding in checked.findings}


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
