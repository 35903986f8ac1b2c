"""SQL of the devices somebody signs in on: where programs were seen, devices that are remembered.

A place is a digest of a program and its network. Rows of before have that of the program alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from guilder.kernel.ids import UserId
from guilder.platform.db import Tx, rows_done

# Before the insert of the same statement: what was known until now.
# Whoever was seen before there were networks is known in the network that they are in now.
_USE_PLACE: Final = """
    WITH used AS (
        INSERT INTO identity.devices (user_id, program, first_used_at, last_used_at)
        VALUES ($1, $2, $3, $3)
        ON CONFLICT (user_id, program) DO UPDATE SET last_used_at = excluded.last_used_at
    ), settled AS (
        DELETE FROM identity.devices WHERE user_id = $1 AND program = $4
    )
    SELECT EXISTS (SELECT FROM identity.devices WHERE user_id = $1)
        AND NOT EXISTS (SELECT FROM identity.devices WHERE user_id = $1 AND program IN ($2, $4))
"""
_REMEMBER: Final = """
    INSERT INTO identity.remembered_devices (id, digest, user_id, made_at, last_used_at)
    VALUES ($1, $2, $3, $4, $4)
    ON CONFLICT DO NOTHING
"""
_REMEMBERED: Final = """
    SELECT id, user_id FROM identity.remembered_devices WHERE digest = $1
"""
_USE_REMEMBERED: Final = """
    UPDATE identity.remembered_devices SET last_used_at = $3
    WHERE digest = $1 AND user_id = $2
    RETURNING id
"""
_FORGET_REMEMBERED: Final = "DELETE FROM identity.remembered_devices WHERE user_id = $1"
_FORGET_PROGRAMS: Final = "DELETE FROM identity.devices WHERE user_id = $1"
_PURGE: Final = """
    DELETE FROM identity.{table} WHERE ctid IN (
        SELECT ctid FROM identity.{table}
        WHERE last_used_at < statement_timestamp() - make_interval(secs => $1)
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
"""
_PURGES: Final = tuple(_PURGE.format(table=name) for name in ("devices", "remembered_devices"))


async def use_place(
    tx: Tx, *, user_id: UserId, place: str, program: str | None, at: datetime
) -> bool:
    """Whether this place is new to a user who has used another before; it is known now."""
    is_new: bool = await tx.fetchval(_USE_PLACE, user_id, place, at, program or "")
    return is_new


async def remember(
    tx: Tx, *, device_id: UUID, digest: bytes, user_id: UserId, at: datetime
) -> None:
    """Know a device again by the secret with this digest."""
    await tx.execute(_REMEMBER, device_id, digest, user_id, at)


async def remembered(tx: Tx, digest: bytes) -> tuple[UUID, UserId] | None:
    """The remembered device with this digest, and whose it is."""
    row = await tx.fetchrow(_REMEMBERED, digest)
    return None if row is None else (row["id"], UserId(row["user_id"]))


async def use_remembered(tx: Tx, *, digest: bytes, user_id: UserId, at: datetime) -> bool:
    """Whether the user has a remembered device with this digest; it was used now."""
    return await tx.fetchval(_USE_REMEMBERED, digest, user_id, at) is not None


async def forget_remembered(tx: Tx, user_id: UserId) -> None:
    """No device of this user is known again."""
    await tx.execute(_FORGET_REMEMBERED, user_id)


async def forget(tx: Tx, user_id: UserId) -> None:
    """Delete every trace of the user's devices."""
    await tx.execute(_FORGET_REMEMBERED, user_id)
    await tx.execute(_FORGET_PROGRAMS, user_id)


async def purge(tx: Tx, *, kept_s: float, limit: int) -> int:
    """Delete some devices that nobody has used for ``kept_s``; how many."""
    return sum([rows_done(await tx.execute(purging, kept_s, limit)) for purging in _PURGES])
