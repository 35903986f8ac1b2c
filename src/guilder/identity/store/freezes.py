"""SQL of freezes: which users staff have frozen, why, and when that ended."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from guilder.identity.api.roles import FreezeView
from guilder.kernel.ids import UserId
from guilder.platform.db import Tx

_LOCK: Final = """
    SELECT status FROM identity.users WHERE id = $1 AND status <> 'erased' FOR NO KEY UPDATE
"""
_SET_STATUS: Final = "UPDATE identity.users SET status = $2 WHERE id = $1"
_ADD: Final = """
    INSERT INTO identity.freezes (id, user_id, status_before, reason, frozen_by)
    VALUES ($1, $2, $3, $4, $5)
"""
_END: Final = """
    UPDATE identity.freezes
    SET unfrozen_by = $2, unfrozen_at = clock_timestamp(), unfreeze_reason = $3
    WHERE user_id = $1 AND unfrozen_at IS NULL
    RETURNING id, status_before
"""
_OF: Final = """
    SELECT reason, frozen_by, frozen_at, unfrozen_by, unfrozen_at, unfreeze_reason
    FROM identity.freezes WHERE user_id = $1 ORDER BY frozen_at DESC, id DESC
"""


async def database_time(tx: Tx) -> datetime:
    """The server's time at this moment."""
    moment: datetime = await tx.fetchval("SELECT clock_timestamp()")
    return moment


async def lock_user(tx: Tx, user_id: UserId) -> str | None:
    """The status of a user under the lock on them; None when there is none, or they are erased."""
    status: str | None = await tx.fetchval(_LOCK, user_id)
    return status


async def begin(
    tx: Tx, user_id: UserId, *, freeze_id: UUID, status_before: str, reason: str, by: UserId
) -> None:
    """Write that a locked user is frozen from now on."""
    await tx.execute(_ADD, freeze_id, user_id, status_before, reason, by)
    await tx.execute(_SET_STATUS, user_id, "frozen")


async def end(tx: Tx, user_id: UserId, *, reason: str, by: UserId) -> tuple[UUID, str]:
    """End the freeze of a locked, frozen user: which it was, and their status, which is restored.

    Raises:
        LookupError: nothing says what they were before.
    """
    row = await tx.fetchrow(_END, user_id, by, reason)
    if row is None:
        raise LookupError("a frozen user has an open freeze")
    status: str = row["status_before"]
    await tx.execute(_SET_STATUS, user_id, status)
    return UUID(str(row["id"])), status


async def of_user(tx: Tx, user_id: UserId) -> tuple[FreezeView, ...]:
    """Every freeze of a user, the newest first."""
    return tuple(FreezeView(**dict(row)) for row in await tx.fetch(_OF, user_id))
