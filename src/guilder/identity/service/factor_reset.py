"""Staff help somebody who has lost every second factor and every recovery code."""

from __future__ import annotations

from guilder.identity.api.second_factors import FactorsView
from guilder.identity.api.sessions import EndReason
from guilder.identity.events import Reasoned, SecondFactorsReset
from guilder.identity.service.freezes import lock_user_for
from guilder.identity.service.sessions import Sessions
from guilder.identity.store import passkeys, second_factors
from guilder.identity.store.users import database_time
from guilder.kernel.errors import NotPermitted
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
        return await self._db.run(lambda tx: self._reset(tx, user_id, reason=reason, by=by))

    async def _reset(self, tx: Tx, user_id: UserId, *, reason: str, by: Caller) -> FactorsView:
        await second_factors.lock(tx, user_id)
        await lock_user_for(tx, user_id, by=by)
        factors = await second_factors.factors(tx, user_id)
        if not factors.is_enrolled:
            return factors
        await second_factors.remove_totp(tx, user_id)
        await passkeys.remove_all(tx, user_id)
        await second_factors.replace_recovery_codes(tx, user_id, digests=())
        await self._sessions.end(tx, user_id=user_id, reason=EndReason.FACTORS_CHANGED)
        event = SecondFactorsReset(
            user_id=user_id,
            by=by.actor_id,
            personal=Reasoned(reason=reason),
            reset_at=await database_time(tx),
        )
        await append(tx, [outgoing(event, key=str(user_id))])
        return await second_factors.factors(tx, user_id)
