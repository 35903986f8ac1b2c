"""Clears away deliveries that nobody will ask for any more, a bounded number at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from guilder.platform.db import Database
from guilder.webhooks.store import deliveries, endpoints

KEPT_FOR: Final = timedelta(days=30)
_GONE_FOR: Final = timedelta(days=1)
"""Far longer than a token lives."""
_MOST_AT_ONCE: Final = 1_000


class Clearing:
    """Deletes what is older than ``kept_for``, and everything of deleted endpoints and owners."""

    def __init__(self, db: Database, *, kept_for: timedelta = KEPT_FOR) -> None:
        self._db = db
        self._kept_for = kept_for

    async def clear(self) -> None:
        """Delete until there is nothing left to be deleted."""
        while await self._db.run(
            lambda tx: deliveries.clear(tx, older_than=self._kept_for, most=_MOST_AT_ONCE)
        ):
            pass
        await self._db.run(lambda tx: endpoints.forget_gone(tx, older_than=_GONE_FOR))
