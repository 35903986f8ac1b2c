"""Staff freeze a user and unfreeze them: at once for tokens, by event for wallets."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from guilder.identity.api.roles import BeyondOwnPermissions, UserNotFound
from guilder.identity.api.sessions import EndReason
from guilder.identity.events import Reasoned
from guilder.identity.events.staff import (
    UserFrozen,
    UserStatus,
    UserUnfrozen,
)
from guilder.identity.service.appointments import held_by, keep_an_administrator
from guilder.identity.service.clients import end_client_tokens
from guilder.identity.service.sessions import Sessions
from guilder.identity.store import freezes, revocations
from guilder.identity.store import roles as role_store
from guilder.kernel.errors import NotPermitted
from guilder.kernel.ids import UserId
from guilder.platform.auth import Caller
from guilder.platform.db import Database, Tx
from guilder.platform.identifiers import new_id
from guilder.platform.outbox import append, outgoing
from guilder.platform.permissions import ADMIN, powers

_FROZEN: Final = "frozen"


class Freezes:
    """Freezes users. Repeating either act changes nothing."""

    def __init__(self, *, db: Database, sessions: Sessions) -> None:
        self._db = db
        self._sessions = sessions

    async def freeze(self, user_id: UserId, *, reason: str, by: Caller) -> None:
        """Let nobody be this user: sessions end, tokens are refused, wallets freeze by event.

        Raises:
            NotPermitted: staff do not do this to themselves.
            UserNotFound: there is no such user.
            BeyondOwnPermissions: they have a power that the caller does not have.
            LastAdministrator: nobody would be left to appoint administrators.
        """
        if user_id in {by.user_id, by.customer_id}:
            raise NotPermitted("Nobody freezes themselves.")
        freeze_id = new_id()
        await self._db.run(lambda tx: self._freeze(tx, user_id, freeze_id, reason, by))

    async def unfreeze(self, user_id: UserId, *, reason: str, by: Caller) -> None:
        """Let a frozen user sign in again; wallets that the freeze froze thaw by event.

        Raises:
            UserNotFound: there is no such user.
            BeyondOwnPermissions: they have a power that the caller does not have.
        """
        await self._db.run(lambda tx: _unfreeze(tx, user_id, reason, by))

    async def _freeze(
        self, tx: Tx, user_id: UserId, freeze_id: UUID, reason: str, by: Caller
    ) -> None:
        status = await lock_user_for(tx, user_id, by=by)
        if status == _FROZEN:
            return
        account = await role_store.appointed(tx, user_id)
        if account is not None and ADMIN in account.roles:
            await keep_an_administrator(tx, user_id)
        await freezes.begin(
            tx, user_id, freeze_id=freeze_id, status_before=status, reason=reason, by=by.actor_id
        )
        await revocations.freeze(tx, user_id)
        await self._sessions.end(tx, user_id=user_id, reason=EndReason.FROZEN)
        # as for sessions: who had a token before has to ask for another after the freeze
        await end_client_tokens(tx, user_id=user_id)
        fact = UserFrozen(
            user_id=user_id,
            freeze_id=freeze_id,
            by=by.actor_id,
            before=UserStatus(status=status),
            after=UserStatus(status=_FROZEN),
            personal=Reasoned(reason=reason),
            frozen_at=await freezes.database_time(tx),
        )
        await append(tx, [outgoing(fact, key=str(user_id))])


async def _unfreeze(tx: Tx, user_id: UserId, reason: str, by: Caller) -> None:
    if await lock_user_for(tx, user_id, by=by) != _FROZEN:
        return
    freeze_id, status = await freezes.end(tx, user_id, reason=reason, by=by.actor_id)
    await revocations.unfreeze(tx, user_id)
    fact = UserUnfrozen(
        user_id=user_id,
        freeze_id=freeze_id,
        by=by.actor_id,
        before=UserStatus(status=_FROZEN),
        after=UserStatus(status=status),
        personal=Reasoned(reason=reason),
        unfrozen_at=await freezes.database_time(tx),
    )
    await append(tx, [outgoing(fact, key=str(user_id))])


async def lock_user_for(tx: Tx, user_id: UserId, *, by: Caller) -> str:
    """The user's status, under the lock, once the caller is known to be no less than they are.

    Raises:
        UserNotFound: there is no such user.
        BeyondOwnPermissions: they have a power that the caller does not have.
    """
    await role_store.lock(tx)
    status = await freezes.lock_user(tx, user_id)
    if status is None:
        raise UserNotFound
    account = await role_store.appointed(tx, user_id)
    if account is not None:
        defined = await revocations.definitions(tx)
        theirs = powers(defined.granted(account.roles))
        if theirs - await held_by(tx, by, defined=defined):
            raise BeyondOwnPermissions
    return status
