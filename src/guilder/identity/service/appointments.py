"""Who is appointed to which role, and what that lets them do to the appointments of others.

Every change is made under one lock and judged by what the database says at that moment: neither
two administrators who remove each other nor somebody who was dismissed a moment ago get through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from guilder.identity.api.roles import (
    BeyondOwnPermissions,
    CannotJoinStaff,
    LastAdministrator,
    RolesView,
    UserNotFound,
)
from guilder.identity.domain import roles as rules
from guilder.identity.events import Reasoned
from guilder.identity.events.staff import (
    AccountRoles,
    RolesChanged,
)
from guilder.identity.service.joining_staff import hindrance
from guilder.identity.store import revocations
from guilder.identity.store import roles as store
from guilder.identity.store.freezes import database_time, lock_user
from guilder.identity.store.roles import Appointed
from guilder.identity.store.users import UserStore
from guilder.kernel.errors import ValidationFailed
from guilder.kernel.ids import UserId
from guilder.platform.auth import Caller
from guilder.platform.db import Database, Tx
from guilder.platform.outbox import append, outgoing
from guilder.platform.permissions import ADMIN, ROLES, Definitions, powers

Account = TypeVar("Account")

_FROZEN: Final = "frozen"


class Appointments:
    """Appoints accounts to roles and dismisses them."""

    def __init__(self, *, db: Database, users: UserStore) -> None:
        self._db = db
        self._users = users

    async def of(self, account_id: UserId) -> RolesView:
        """What an account is appointed to.

        Raises:
            UserNotFound: there is no such account.
        """

        async def read(tx: Tx) -> RolesView:
            account = _found(await store.appointed(tx, account_id))
            return _appointment(account, account.roles, await revocations.definitions(tx))

        return await self._db.run(read)

    async def appoint(
        self, account_id: UserId, *, roles: frozenset[str], reason: str, by: Caller
    ) -> RolesView:
        """Appoint an account to these roles and no others; what comes with the account stays.

        Whoever had no power over others and gets one joins staff. Repeating it changes nothing.

        Raises:
            UserNotFound: there is no such account.
            ValidationFailed: a role is unknown.
            CannotJoinStaff: they would join staff, and are frozen or have not proved their email.
            RolesAreFixed: a role comes with another kind of account, or this is a user-admin's.
            BeyondOwnPermissions: a role that is given or taken grants what the caller lacks.
            LastAdministrator: nobody would be left to appoint administrators.
        """

        def all_of(_: frozenset[str]) -> frozenset[str]:
            return roles

        return await self._reappoint(account_id, wanted=all_of, reason=reason, by=by)

    async def dismiss(
        self, account_id: UserId, *, role: str | None, reason: str, by: Caller
    ) -> RolesView:
        """Take a role from an account, or every one that it was appointed to.

        Raises:
            UserNotFound, RolesAreFixed, BeyondOwnPermissions, LastAdministrator: as for `appoint`.
        """

        def without(current: frozenset[str]) -> frozenset[str]:
            return frozenset() if role is None else current - {role}

        return await self._reappoint(account_id, wanted=without, reason=reason, by=by)

    async def _reappoint(
        self,
        account_id: UserId,
        *,
        wanted: Callable[[frozenset[str]], frozenset[str]],
        reason: str,
        by: Caller,
    ) -> RolesView:
        async def work(tx: Tx) -> RolesView:
            await store.lock(tx)
            account = _found(await store.appointed(tx, account_id))
            defined = await revocations.definitions(tx)
            chosen = wanted(account.roles)
            strange = sorted(chosen - ROLES.keys() - defined.roles.keys())
            if strange:
                raise ValidationFailed(fields={"roles": f"there is no role {', '.join(strange)}"})
            after = rules.next_roles(account.roles, chosen, of=account.account_type)
            if not isinstance(after, frozenset):
                raise after
            # each role that is given and each that is taken grants no power that the caller lacks
            moved = powers(defined.granted(account.roles ^ after))
            if moved - await held_by(tx, by, defined=defined):
                raise BeyondOwnPermissions
            if powers(defined.granted(after)) and not powers(defined.granted(account.roles)):
                await self._refuse_strangers(tx, account)
            if ADMIN in account.roles - after:
                await keep_an_administrator(tx, account.user_id)
            await _write(tx, account, after=after, reason=reason, by=by)
            return _appointment(account, after, defined)

        return await self._db.run(work)

    async def _refuse_strangers(self, tx: Tx, appointed: Appointed) -> None:
        await lock_user(tx, appointed.user_id)
        account = _found(await self._users.account(tx, appointed.account_id))
        hindered = hindrance(account)
        if hindered is not None:
            raise CannotJoinStaff(f"The email {hindered}.")


async def held_by(tx: Tx, caller: Caller, *, defined: Definitions) -> frozenset[str]:
    """What a caller has by their token and, unless it is a machine's, by the database as well."""
    account = await store.appointed(tx, caller.user_id)
    if account is None:
        return caller.permissions
    if account.status == _FROZEN:
        return frozenset()
    return caller.permissions & defined.granted(account.roles)


async def keep_an_administrator(tx: Tx, user_id: UserId) -> None:
    """See that somebody administrates once this user no longer does. `store.lock` is held.

    Raises:
        LastAdministrator: nobody would.
    """
    if not await store.others_administrate(tx, user_id):
        raise LastAdministrator


async def _write(
    tx: Tx, account: Appointed, *, after: frozenset[str], reason: str, by: Caller
) -> None:
    if after == account.roles:
        return
    await store.withdraw(tx, account.account_id, roles=account.roles - after)
    await store.assign(tx, account.account_id, roles=after - account.roles)
    await revocations.roles_changed(tx, account.account_id)
    fact = RolesChanged(
        user_id=account.user_id,
        account_id=account.account_id,
        by=by.actor_id,
        before=AccountRoles(roles=tuple(sorted(account.roles))),
        after=AccountRoles(roles=tuple(sorted(after))),
        personal=Reasoned(reason=reason),
        changed_at=await database_time(tx),
    )
    await append(tx, [outgoing(fact, key=str(account.user_id))])


def _found(account: Account | None) -> Account:
    if account is None:
        raise UserNotFound
    return account


def _appointment(account: Appointed, roles: frozenset[str], defined: Definitions) -> RolesView:
    granted = frozenset[str]() if account.status == _FROZEN else defined.granted(roles)
    return RolesView(
        user_id=account.user_id,
        account_id=account.account_id,
        account_type=account.account_type,
        roles=tuple(sorted(roles)),
        permissions=tuple(sorted(granted)),
    )
