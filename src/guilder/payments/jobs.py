"""Background work of payments."""

from __future__ import annotations

from functools import partial
from typing import Final

from guilder.payments.service import forget_claims
from guilder.platform.db import Database
from guilder.platform.module import Job

_EVERY_S: Final = 60.0


def forget_old_claims(db: Database) -> Job:
    """Deletes idempotency keys that are new again."""
    return Job(
        name="payments.forget_old_claims",
        every_s=_EVERY_S,
        run=partial(forget_claims.forget_old_claims, db),
    )
