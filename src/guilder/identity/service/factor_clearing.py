"""Clears away what second factors leave behind, a bounded number at a time."""

from __future__ import annotations

from typing import Final

from guilder.identity.store import factor_moments
from guilder.platform.db import Database

_MOST_AT_ONCE: Final = 1_000


class FactorClearing:
    """Deletes challenges, ceremonies, proofs and unconfirmed secrets that ended a day ago."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def clear(self) -> None:
        """Delete until there is nothing left to be deleted."""
        while await self._db.run(lambda tx: factor_moments.clear(tx, most=_MOST_AT_ONCE)):
            pass
