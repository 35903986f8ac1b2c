"""Background work of payments."""

from __future__ import annotations

from typing import Final

from guilder.payments.store import records
from guilder.platform.db import Database
from guilder.platform.module import Job

_EVERY_S: Final = 60.0
_AT_ONCE: Final = 5_000


def forget_old_claims(db: Database) -> Job:
    """Deletes idempotency keys that are new again, a slice at a time."""

    async def run() -> None:
        while await db.run(lambda tx: records.forget_old_claims(tx, limit=_AT_ONCE)) == _AT_ONCE:
            pass

    return Job(name="payments.forget_old_claims", every_s=_EVERY_S, run=run)
