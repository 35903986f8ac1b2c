"""SQL of legal holds, and of erasures: what is left of somebody is an id, and that it was done."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from guilder.identity.api.personal_data import Hold
from guilder.kernel.ids import UserId
from guilder.platform.db import Row, Tx, rows_done
from guilder.platform.erasures import Listed

_LOCK: Final = "SELECT status FROM identity.users WHERE id = $1 FOR NO KEY UPDATE"
_HOLD: Final = """
    SELECT id, user_id, reason, placed_by, placed_at FROM identity.legal_holds
    WHERE user_id = $1 AND lifted_at IS NULL
"""
_PLACE: Final = """
    INSERT INTO identity.legal_holds (id, user_id, reason, placed_by) VALUES ($1, $2, $3, $4)
"""
_LIFT: Final = """
    UPDATE identity.legal_holds SET lifted_by = $2, lifted_at = clock_timestamp()
    WHERE user_id = $1 AND lifted_at IS NULL
    RETURNING id, lifted_at
"""
_ERASE: Final = """
    UPDATE identity.users SET status = 'erased', password_hash = '$argon2id$',
        email = NULL, email_key = NULL, phone = NULL, full_name = NULL, email_sealed = NULL,
        phone_sealed = NULL, full_name_sealed = NULL, email_verified_at = NULL,
        phone_verified_at = NULL
    WHERE id = $1
"""
_ADD: Final = """
    INSERT INTO identity.erasures (user_id, reason, erased_by) VALUES ($1, $2, $3)
    RETURNING erased_at
"""
# What was written about somebody in words, and what they proved who they are with.
_FORGET: Final = (
    "DELETE FROM identity.totp WHERE user_id = $1",
    "DELETE FROM identity.recovery_codes WHERE user_id = $1",
    "DELETE FROM identity.passkeys WHERE user_id = $1",
    """
    DELETE FROM identity.sign_in_challenges
    WHERE account_id IN (SELECT id FROM identity.accounts WHERE user_id = $1)
    """,
    "DELETE FROM identity.outside_identities WHERE user_id = $1",
    "DELETE FROM identity.outside_flows WHERE link_user_id = $1",
    "DELETE FROM identity.verifications WHERE user_id = $1",
    "DELETE FROM identity.password_resets WHERE user_id = $1",
    """
    UPDATE identity.freezes SET reason = 'erased',
        unfreeze_reason = CASE WHEN unfreeze_reason IS NOT NULL THEN 'erased' END
    WHERE user_id = $1
    """,
    "UPDATE identity.legal_holds SET reason = 'erased' WHERE user_id = $1",
    """
    DELETE FROM identity.role_assignments
    WHERE account_id IN (SELECT id FROM identity.accounts WHERE user_id = $1)
    """,
)
_ERASED_AT: Final = "SELECT erased_at FROM identity.erasures WHERE user_id = $1"
_ERASED_BESIDES: Final = """
    SELECT user_id, reason FROM identity.erasures WHERE NOT user_id = ANY($1::uuid[])
    ORDER BY user_id
"""
_NOT_ERASED: Final = """
    SELECT id FROM identity.users WHERE id = ANY($1::uuid[]) AND status <> 'erased' ORDER BY id
"""


async def lock_user(tx: Tx, user_id: UserId) -> str | None:
    """A user's status, under the lock on the user; None when nobody ever had this id."""
    status: str | None = await tx.fetchval(_LOCK, user_id)
    return status


async def hold_on(tx: Tx, user_id: UserId) -> Hold | None:
    """The hold that is on a user."""
    row = await tx.fetchrow(_HOLD, user_id)
    return None if row is None else _hold(row)


async def place_hold(tx: Tx, hold_id: UUID, user_id: UserId, *, reason: str, by: UserId) -> None:
    """Put a hold on a user who has none."""
    await tx.execute(_PLACE, hold_id, user_id, reason, by)


async def lift_hold(tx: Tx, user_id: UserId, *, by: UserId) -> tuple[UUID, datetime] | None:
    """Lift the hold that is on a user: which, and when; None when there is none."""
    row = await tx.fetchrow(_LIFT, user_id, by)
    return None if row is None else (row["id"], row["lifted_at"])


async def erase(tx: Tx, user_id: UserId, *, reason: str, by: UserId | None) -> datetime:
    """Leave nothing of a locked user but the id, and when it was done and why."""
    for statement in _FORGET:
        await tx.execute(statement, user_id)
    if rows_done(await tx.execute(_ERASE, user_id)) != 1:
        raise AssertionError  # pragma: no cover - the row is locked
    moment: datetime = await tx.fetchval(_ADD, user_id, reason, by)
    return moment


async def erased_at(tx: Tx, user_id: UserId) -> datetime | None:
    """When a user was erased."""
    moment: datetime | None = await tx.fetchval(_ERASED_AT, user_id)
    return moment


async def erased_besides(tx: Tx, user_ids: Sequence[UserId]) -> Sequence[Listed]:
    """Who was erased beside these users, and why."""
    return [
        Listed(person_id=row["user_id"], reason=row["reason"])
        for row in await tx.fetch(_ERASED_BESIDES, user_ids)
    ]


async def not_erased(tx: Tx, user_ids: Sequence[UserId]) -> Sequence[UserId]:
    """Those of these users who are there and not erased."""
    return [UserId(row["id"]) for row in await tx.fetch(_NOT_ERASED, user_ids)]


def _hold(row: Row) -> Hold:
    return Hold(
        id=row["id"],
        user_id=UserId(row["user_id"]),
        reason=row["reason"],
        placed_by=UserId(row["placed_by"]),
        placed_at=row["placed_at"],
    )
