"""SQL of passwords, reset tokens, and of addresses that were proved."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from guilder.identity.api.codes import ContactStanding
from guilder.kernel.ids import UserId
from guilder.platform.db import Tx

_HASH: Final = "SELECT password_hash FROM identity.users WHERE id = $1"
_SET_HASH: Final = "UPDATE identity.users SET password_hash = $2 WHERE id = $1"
_ADD_RESET: Final = """
    INSERT INTO identity.password_resets (token_digest, user_id, expires_at)
    VALUES ($1, $2, clock_timestamp() + $3::interval)
    ON CONFLICT (token_digest) DO UPDATE SET used_by = password_resets.used_by
    RETURNING created_at, expires_at
"""
_RESET: Final = """
    SELECT user_id FROM identity.password_resets
    WHERE token_digest = $1 AND used_by IS NULL AND expires_at > clock_timestamp()
"""
# In RETURNING the time is read once the row is locked.
_USE_RESET: Final = """
    UPDATE identity.password_resets SET used_by = $2
    WHERE token_digest = $1 AND (used_by IS NULL OR used_by = $2)
    RETURNING expires_at > clock_timestamp()
"""
_VOID_RESETS: Final = """
    DELETE FROM identity.password_resets
    WHERE user_id = $1 AND ($2::bytea IS NULL OR token_digest <> $2)
"""
_FORGET_RESETS: Final = """
    DELETE FROM identity.password_resets WHERE expires_at < statement_timestamp() - $1::interval
"""
# Whoever has proved an address is not pending any more.
_EMAIL_VERIFIED: Final = """
    UPDATE identity.users SET email_verified_at = clock_timestamp(),
        status = CASE WHEN status = 'pending' THEN 'active' ELSE status END
    WHERE id = $1 AND email_verified_at IS NULL
        AND ($2::bigint IS NULL OR sign_in_epoch = $2)
    RETURNING email_verified_at
"""
_PHONE_VERIFIED: Final = """
    UPDATE identity.users SET phone_verified_at = clock_timestamp(),
        status = CASE WHEN status = 'pending' THEN 'active' ELSE status END
    WHERE id = $1 AND phone_verified_at IS NULL
        AND ($2::bigint IS NULL OR sign_in_epoch = $2)
    RETURNING phone_verified_at
"""
_DOUBT_PHONE: Final = "UPDATE identity.users SET phone_verified_at = NULL WHERE id = $1"
_STANDING: Final = """
    SELECT email_verified_at, phone_verified_at FROM identity.users WHERE id = $1
"""


async def password(tx: Tx, user_id: UserId) -> str | None:
    """The hash of a user's password."""
    stored: str | None = await tx.fetchval(_HASH, user_id)
    return stored


async def set_password(tx: Tx, user_id: UserId, *, password_hash: str) -> None:
    """Give a user another password."""
    await tx.execute(_SET_HASH, user_id, password_hash)


async def add_reset(
    tx: Tx, user_id: UserId, *, token: bytes, life: timedelta
) -> tuple[datetime, datetime]:
    """Keep a reset token by its digest; when it was made, and when it ends."""
    row = await tx.fetchrow(_ADD_RESET, token, user_id, life)
    if row is None:
        raise AssertionError  # pragma: no cover - an upsert returns its row
    return row["created_at"], row["expires_at"]


async def reset_of(tx: Tx, token: bytes) -> UserId | None:
    """The user whose password the token may still reset."""
    user_id: UserId | None = await tx.fetchval(_RESET, token)
    return user_id


async def use_reset(tx: Tx, token: bytes, *, used_by: UUID) -> bool:
    """Whether this attempt has the token to itself, in time."""
    return await tx.fetchval(_USE_RESET, token, used_by) is True


async def void_resets(tx: Tx, user_id: UserId, *, but: bytes | None = None) -> None:
    """Let no other token of a user work any more."""
    await tx.execute(_VOID_RESETS, user_id, but)


async def forget_resets(tx: Tx, *, after: timedelta) -> None:
    """Forget tokens that ended longer ago."""
    await tx.execute(_FORGET_RESETS, after)


async def verify_contact(
    tx: Tx, user_id: UserId, *, contact: str, epoch: int | None
) -> datetime | None:
    """When a user's email or phone was proved, just now.

    None when it had been before, or the user's sessions were ended since ``epoch``.
    """
    query = _EMAIL_VERIFIED if contact == "email" else _PHONE_VERIFIED
    moment: datetime | None = await tx.fetchval(query, user_id, epoch)
    return moment


async def doubt_phone(tx: Tx, user_id: UserId) -> None:
    """A user's phone counts as proved no more."""
    await tx.execute(_DOUBT_PHONE, user_id)


async def contact_standing(tx: Tx, user_id: UserId) -> ContactStanding:
    """Which addresses of a user are proved."""
    row = await tx.fetchrow(_STANDING, user_id)
    if row is None:
        return ContactStanding(email_verified_at=None, phone_verified_at=None)
    return ContactStanding(**row)
