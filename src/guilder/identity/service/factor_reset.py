"""Somebody who has lost every second factor and every recovery code is helped by staff.

The last administrator who has is helped by the operator, at the command line.
"""

from __future__ import annotations

from guilder.identity.api.second_factors import Factor, FactorsView
from guilder.identity.api.sessions import EndReason
from guilder.identity.events import Reasoned
from guilder.identity.events.staff import SecondFactorsReset
from guilder.identity.service.freezes import lock_user_for
from guilder.identity.service.register import readable_email
from guilder.identity.service.sessions import Sessions
from guilder.identity.service.totp_enrollment import publish_removal
from guilder.identity.store import passkeys, second_factors
from guilder.identity.store.users import UserStore, database_time
from guilder.kernel.errors import NotFound, NotPermitted
from guilder.kernel.ids import UserId
from guilder.platform.auth import Caller
from guilder.platform.db import Database, Tx
from guilder.platform.outbox import append, outgoing


class FactorReset:
    """Takes second factors away. Repeating it changes nothing."""

    def __init__(self, *, db: Database, sessions: Sessions) -> None:
        self._db = db
        self._sessions = sessions

    async def reset(self, user_id: UserId, *, reason: str, by: Caller) -> FactorsView:
        """Leave a user the password alone, and end all of their sessions.

        Raises:
            NotPermitted: staff do not do this to themselves; a step-up by a factor does.
            UserNotFound: there is no such user.
            BeyondOwnPermissions: they have a power that the caller does not have.
        """
        if user_id in {by.user_id, by.customer_id}:
            raise NotPermitted("Nobody resets their own second factors.")

        async def work(tx: Tx) -> FactorsView:
            await second_factors.lock(tx, user_id)
            await lock_user_for(tx, user_id, by=by)
            return await _reset(tx, user_id, sessions=self._sessions, reason=reason, by=by.actor_id)

        return await self._db.run(work)


class FactorResetByOperator:
    """The `guilder.identity.api.second_factors.FactorResets` of the one database."""

    def __init__(self, *, db: Database, users: UserStore, sessions: Sessions) -> None:
        self._db = db
        self._users = users
        self._sessions = sessions

    async def reset_for(self, email: str, *, reason: str) -> UserId:
        """Leave the user with this email the password alone, and end all of their sessions.

        Raises:
            ValidationFailed: it is no email address.
            NotFound: nobody has this email.
        """
        key = readable_email(email).key

        async def work(tx: Tx) -> UserId:
            holders = await self._users.who_has(tx, email_key=key, phone=None)
            if not holders:
                raise NotFound("Nobody has this email.")
            user_id = next(iter(holders))
            await second_factors.lock(tx, user_id)
            await _reset(tx, user_id, sessions=self._sessions, reason=reason, by=None)
            return user_id

        return await self._db.run(work)


async def end_factors(tx: Tx, *, user_id: UserId) -> None:
    """Take every second factor of a user away, and tell so. It is called under their lock."""
    had = await second_factors.factors(tx, user_id)
    if not had.is_enrolled:
        return
    await _remove_all(tx, user_id)
    if had.totp_since is not None:
        await publish_removal(tx, user_id, factor=Factor.TOTP)
    for _ in range(had.passkeys):
        await publish_removal(tx, user_id, factor=Factor.PASSKEY)


async def _remove_all(tx: Tx, user_id: UserId) -> None:
    await second_factors.remove_totp(tx, user_id)
    await passkeys.remove_all(tx, user_id)
    await second_factors.replace_recovery_codes(tx, user_id, digests=())


async def _reset(
    tx: Tx, user_id: UserId, *, sessions: Sessions, reason: str, by: UserId | None
) -> FactorsView:
    factors = await second_factors.factors(tx, user_id)
    if not factors.is_enrolled:
        return factors
    await _remove_all(tx, user_id)
    await sessions.end(tx, user_id=user_id, reason=EndReason.FACTORS_CHANGED)
    event = SecondFactorsReset(
        user_id=user_id,
        by=by,
        personal=Reasoned(reason=reason),
        reset_at=await database_time(tx),
    )
    await append(tx, [outgoing(event, key=str(user_id))])
    return await second_factors.factors(tx, user_id)
