"""Idempotency keys whose day is over are deleted, so that they are new again and cost no space."""

from __future__ import annotations

from typing import Final

from guilder.payments.store import records
from guilder.platform.db import Database

_AT_ONCE: Final = 5_000


async def forget_old_claims(db: Database) -> None:
    """Delete every key that has had its time, a slice in each transaction."""
    while await db.run(lambda tx: records.forget_old_claims(tx, limit=_AT_ONCE)) == _AT_ONCE:
        pass
