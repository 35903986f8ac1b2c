"""The `Ledger` port on PostgreSQL: what other contexts call inside their own transaction."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from guilder.kernel.currencies import CURRENCIES
from guilder.kernel.errors import Conflict
from guilder.kernel.ids import AccountId
from guilder.kernel.invariant import InvariantViolation
from guilder.ledger.api import (
    Account,
    AccountClosed,
    AccountNotEmpty,
    AccountNotFound,
    AccountStatus,
    Book,
    Entry,
    NewAccount,
    NewControl,
    PlatformAccount,
    platform_account_id,
)
from guilder.ledger.domain.book import LockedBook
from guilder.ledger.store import books, reads
from guilder.platform.db import Tx

_PLATFORM_ACCOUNTS = {
    platform_account_id(account, currency): NewAccount(
        id=platform_account_id(account, currency),
        owner_id=None,
        code=account.value,
        type=account.type,
        currency=currency,
    )
    for account in PlatformAccount
    for currency in CURRENCIES.values()
}


class PostgresLedger:
    """Implements `guilder.ledger.api.Ledger`; it keeps nothing between calls."""

    async def open_account(self, tx: Tx, account: NewAccount) -> None:
        """Open an account.

        Raises:
            Conflict: the id is taken.
        """
        now = await books.database_time(tx)
        if await books.insert_accounts(tx, [account], created_at=now) == 0:
            raise Conflict("The account exists.")

    async def open_book(self, tx: Tx, account_ids: Collection[AccountId]) -> LockedBook:
        """Lock the accounts, then the controls on them and their owners, each in id order.

        Platform accounts named by `platform_account_id` come into being on first use.
        """
        wanted = set(account_ids)
        accounts = await books.lock_accounts(tx, wanted)
        if len(accounts) < len(wanted):
            missing = wanted.difference(account.id for account in accounts)
            new = [_PLATFORM_ACCOUNTS[key] for key in missing if key in _PLATFORM_ACCOUNTS]
            if new:
                now = await books.database_time(tx)
                await books.insert_accounts(tx, new, created_at=now)
                accounts = await books.lock_accounts(tx, wanted)
        subjects = {account.owner_id for account in accounts if account.owner_id is not None}
        controls = await books.lock_controls(tx, [*wanted, *subjects])
        # Judged after the locks: time spent waiting for them counts.
        now = await books.database_time(tx)
        return LockedBook(accounts=accounts, controls=controls, now=now)

    async def write(self, tx: Tx, book: Book) -> None:
        """Store everything that was posted in ``book``, in a few set-based statements."""
        if not isinstance(book, LockedBook):
            raise InvariantViolation("a book is written by the ledger that opened it")
        await books.write_book(tx, book)

    async def accounts(
        self, tx: Tx, account_ids: Collection[AccountId]
    ) -> dict[AccountId, Account]:
        """Read accounts without locking them."""
        return {account.id: account for account in await books.read_accounts(tx, account_ids)}

    async def lock_account(self, tx: Tx, account_id: AccountId) -> Account:
        """Lock one account until the transaction ends.

        Raises:
            AccountNotFound: it does not exist.
        """
        found = await books.lock_accounts(tx, [account_id])
        if not found:
            raise AccountNotFound(account_id=str(account_id))
        return found[0]

    async def set_status(self, tx: Tx, account_id: AccountId, status: AccountStatus) -> Account:
        """Freeze, unfreeze or close an account under its lock.

        Raises:
            AccountNotFound: it does not exist.
            AccountClosed: it was closed before; closing is final.
            AccountNotEmpty: it is to be closed and holds money, or money is held in it.
        """
        account = await self.lock_account(tx, account_id)
        if account.status is AccountStatus.CLOSED:
            raise AccountClosed(account_id=str(account_id))
        is_empty = not (account.balance_minor or account.pending_debits or account.pending_credits)
        if status is AccountStatus.CLOSED and not is_empty:
            raise AccountNotEmpty(account_id=str(account_id))
        account.status = status
        await books.write_status(tx, account)
        return account

    async def set_control(self, tx: Tx, control: NewControl) -> None:
        """Create a control, or give the one with this id new limits; what is used stays used."""
        await books.upsert_control(tx, control, now=await books.database_time(tx))

    async def create_control(self, tx: Tx, control: NewControl) -> None:
        """Create a control unless there is one with this id, which stays as it is."""
        await books.insert_control(tx, control, now=await books.database_time(tx))

    async def balance_at(self, tx: Tx, account_id: AccountId, at: datetime) -> int:
        """The account's balance on its normal side after all entries recorded up to ``at``."""
        return await reads.balance_at(tx, account_id, at)

    async def entries(
        self, tx: Tx, account_id: AccountId, *, before_sequence: int | None, limit: int
    ) -> list[Entry]:
        """An account's entries, newest first, from below ``before_sequence``."""
        return await reads.entries(tx, account_id, before_sequence=before_sequence, limit=limit)
