"""Forgets sessions, devices and failed sign-ins that matter no more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from guilder.identity.service.lockout import Lockout
from guilder.identity.store import devices, sessions
from guilder.platform.db import Database, Tx

SESSIONS_KEPT: Final = timedelta(days=30)
"""How long a session that is over stays, for whoever asks where somebody was signed in."""
DEVICES_KEPT: Final = timedelta(days=180)
_AT_ONCE: Final = 1000


class SessionClearing:
    """Deletes little by little, in transactions that hold nobody up."""

    def __init__(self, *, db: Database, lockout: Lockout) -> None:
        self._db = db
        self._lockout = lockout

    async def clear(self) -> None:
        """Forget all that is due."""
        kept = SESSIONS_KEPT.total_seconds()
        await self._all(lambda tx: sessions.purge(tx, kept_s=kept, limit=_AT_ONCE))
        unused = DEVICES_KEPT.total_seconds()
        await self._all(lambda tx: devices.purge(tx, kept_s=unused, limit=_AT_ONCE))
        await self._lockout.purge()

    async def _all(self, purge: Callable[[Tx], Awaitable[int]]) -> None:
        while await self._db.run(purge):
            pass
