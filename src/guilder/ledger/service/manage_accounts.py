"""Opens, freezes, unfreezes and closes accounts; sets their floors and the controls on them."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from guilder.kernel.ids import AccountId
from guilder.ledger.api import (
    Account,
    AccountExists,
    AccountStatus,
    KeptByItsContext,
    Ledger,
    NewAccount,
    NewControl,
    Reserved,
)
from guilder.ledger.domain.chart import PLATFORM_ACCOUNTS, takes_a_place
from guilder.ledger.domain.transactions import named
from guilder.ledger.service import telling
from guilder.ledger.service.acts import perform
from guilder.ledger.store import books
from guilder.platform.db import Database, Tx
from guilder.platform.outbox import Outgoing


class Opened(Struct, frozen=True, kw_only=True):
    """An account as it stands; ``is_replay`` when it had been opened like this before."""

    account: Account
    is_replay: bool


class ManageAccounts:
    """Each act is a transaction of its own under the account's lock, and safe to repeat."""

    def __init__(self, db: Database, *, ledger: Ledger, reserved: Reserved | None = None) -> None:
        self._db = db
        self._ledger = ledger
        self._reserved = reserved or Reserved()

    async def open_account(self, account: NewAccount) -> Opened:
        """Open an account under an id that the caller chose; the same account again is no error.

        It is the same with the floor that it was opened with, whatever its floor is now.

        Raises:
            AccountExists: the id belongs to another account, or the platform has one of this
                code and currency.
            ValidationFailed: its floor is above zero.
            KeptByItsContext: its code belongs to another context, or it would take the place of
                one of the platform's own accounts.
        """
        if account.code in self._reserved.account_codes or takes_a_place(account):
            raise KeptByItsContext
        return await perform(self._db, lambda tx: self._open(tx, account))

    async def set_status(self, account_id: AccountId, status: AccountStatus) -> Account:
        """Freeze (for debits or altogether), unfreeze or close an account.

        Raises:
            AccountNotFound: it does not exist.
            AccountClosed: it was closed before and would be opened or frozen; closing is final.
            AccountNotEmpty: it is to be closed and holds money, or money is held in it.
            KeptByItsContext: its code belongs to another context, or it is to be closed and is
                one of the platform's own, which come into being once.
        """

        async def act(tx: Tx) -> tuple[Account, Sequence[Outgoing]]:
            account = await self._ledger.lock_account(tx, account_id)
            self._require_free(account, is_for_good=status is AccountStatus.CLOSED)
            changed = await self._ledger.set_status(tx, account_id, status)
            return changed, telling.status_changed(changed, before=account.status)

        return await perform(self._db, act)

    async def set_floor(self, account_id: AccountId, *, floor_minor: int | None) -> Account:
        """Set the lowest balance an account may have; None means no limit.

        Raises:
            AccountNotFound: it does not exist.
            AccountClosed: it is closed.
            InsufficientFunds: less than that is available now.
            KeptByItsContext: its code belongs to another context, or it is one of the platform's
                own, which have none: whatever else one has can only be taken from it.
        """

        async def act(tx: Tx) -> tuple[Account, Sequence[Outgoing]]:
            account = await self._ledger.lock_account(tx, account_id)
            charted = PLATFORM_ACCOUNTS.get(account.id)
            is_mended = charted is not None and charted.floor_minor == floor_minor
            self._require_free(account, is_for_good=not is_mended)
            changed = await self._ledger.set_floor(tx, account_id, floor_minor=floor_minor)
            return changed, telling.floor_changed(changed, before_minor=account.floor_minor)

        return await perform(self._db, act)

    async def set_control(self, control: NewControl) -> None:
        """Create a control, or let the one with this id allow what this one says.

        Raises:
            Conflict: the one with this id limits something else.
        """

        async def act(tx: Tx) -> tuple[None, Sequence[Outgoing]]:
            before = await self._ledger.set_control(tx, control)
            return None, telling.control_set(control, before=before)

        await perform(self._db, act)

    def _require_free(self, account: Account, *, is_for_good: bool) -> None:
        # To freeze one of the platform's own accounts is an emergency brake, and can be undone.
        is_platforms = is_for_good and account.id in PLATFORM_ACCOUNTS
        if is_platforms or account.code in self._reserved.account_codes:
            raise KeptByItsContext

    async def _open(self, tx: Tx, account: NewAccount) -> tuple[Opened, Sequence[Outgoing]]:
        found = await self._found(tx, account.id)
        if found is None:
            try:
                await self._ledger.open_account(tx, account)
            except AccountExists:
                # Nobody waits before looking, so somebody may have opened it since.
                found = await self._found(tx, account.id)
                if found is None:
                    raise
            else:
                made = (await self._ledger.accounts(tx, [account.id]))[account.id]
                return Opened(account=made, is_replay=False), telling.opened(made)
        first_floor_minor = await books.first_floor(tx, account.id)
        differing = _differing(found, account, first_floor_minor=first_floor_minor)
        if differing:
            raise AccountExists(account_id=str(account.id), fields=named(differing))
        return Opened(account=found, is_replay=True), ()

    async def _found(self, tx: Tx, account_id: AccountId) -> Account | None:
        return (await self._ledger.accounts(tx, [account_id])).get(account_id)


def _differing(found: Account, account: NewAccount, *, first_floor_minor: int | None) -> list[str]:
    return [
        name
        for name, there, asked in (
            ("owner_id", found.owner_id, account.owner_id),
            ("code", found.code, account.code),
            ("type", found.type, account.type),
            ("currency", found.currency, account.currency),
            ("floor", first_floor_minor, account.floor_minor),
        )
        if there != asked
    ]
