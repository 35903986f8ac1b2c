"""What people see and change of themselves."""

from __future__ import annotations

from guilder.identity.api import AccountView
from guilder.identity.domain.applicants import Malformed, read_full_name
from guilder.identity.service.contacts import details_of, publish, sealed
from guilder.identity.store.users import UserStore
from guilder.kernel.errors import Unauthenticated, ValidationFailed
from guilder.kernel.ids import UserId
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys


class Profile:
    """The caller's own account."""

    def __init__(self, *, db: Database, users: UserStore, contacts: OuterKeys) -> None:
        self._db = db
        self._users = users
        self._contacts = contacts

    async def whoami(self, account_id: UserId) -> AccountView:
        """The account that a verified token names.

        Raises:
            Unauthenticated: there is no such account any more.
        """
        account = await self._db.run(lambda tx: self._users.account(tx, account_id))
        if account is None:
            raise Unauthenticated
        return account

    async def rename(self, account_id: UserId, *, full_name: str) -> AccountView:
        """Give the user behind an account another name, and tell who writes to them.

        Raises:
            ValidationFailed: it is no name.
            Unauthenticated: there is no such account any more.
        """
        try:
            name = read_full_name(full_name)
        except Malformed as problem:
            raise ValidationFailed(fields={"full_name": str(problem)}) from None
        return await self._db.run(lambda tx: self._rename(tx, account_id, name))

    async def _rename(self, tx: Tx, account_id: UserId, name: str) -> AccountView:
        before = await self._users.account(tx, account_id)
        if before is None:
            raise Unauthenticated
        await self._users.set_full_name(tx, before.user_id, name)
        # Read again under the user's lock: what is told is how it stands now.
        account = await self._users.account(tx, account_id)
        if account is None:
            raise Unauthenticated
        if account.full_name != before.full_name:
            details = details_of(account)
            contact = sealed(account.user_id, details, keys=self._contacts)
            await publish(tx, account.user_id, details, contact=contact)
        return account
