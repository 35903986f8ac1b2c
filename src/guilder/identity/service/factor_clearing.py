"""Clears away what second factors leave behind, and keeps their secrets under the newest key."""

from __future__ import annotations

from functools import partial
from typing import Final
from uuid import UUID

import structlog

from guilder.identity.service.second_factor_codes import SecondFactorCodes
from guilder.identity.store import factor_moments, second_factors
from guilder.kernel.ids import UserId
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys, Unreadable

_MOST_AT_ONCE: Final = 1_000
_BEFORE_ALL: Final = UserId(UUID(int=0))

_log = structlog.get_logger("guilder.identity")


class FactorClearing:
    """Deletes challenges, ceremonies, proofs and unconfirmed secrets that ended a day ago."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def clear(self) -> None:
        """Delete until there is nothing left to be deleted."""
        while await self._db.run(lambda tx: factor_moments.clear(tx, most=_MOST_AT_ONCE)):
            pass


class FactorResealing:
    """Seals the secrets of authenticator apps anew once there is a newer outer key."""

    def __init__(self, *, db: Database, keys: OuterKeys, at_once: int = _MOST_AT_ONCE) -> None:
        self._db = db
        self._keys = keys
        self._codes = SecondFactorCodes(keys=keys)
        self._most = at_once

    async def reseal(self) -> None:
        """Go through all users whose secret an older key has sealed. It may be killed anywhere."""
        after: UserId | None = _BEFORE_ALL
        while after is not None:
            after = await self._db.run(partial(self._some, after=after))

    async def _some(self, tx: Tx, *, after: UserId) -> UserId | None:
        found = await second_factors.sealed_otherwise(
            tx, key_id=self._keys.newest_id, after=after, most=self._most
        )
        for user_id, sealed in found:
            try:
                anew = self._codes.resealed(sealed, user_id=user_id)
            except Unreadable:
                _log.error("identity.factor_unreadable", user_id=str(user_id))
                continue
            await second_factors.reseal(tx, user_id, before=sealed, sealed=anew)
        return found[-1][0] if len(found) == self._most else None
