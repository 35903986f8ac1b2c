"""SQL that encrypts users who are in clear, and goes through everybody when keys change.

Each query gives some rows after an id, so that whoever was interrupted begins where work is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct

from guilder.identity.store.person_keys import opened, sealed
from guilder.kernel.ids import UserId
from guilder.platform.db import Row, Tx
from guilder.platform.envelopes import SealingKey
from guilder.platform.identifiers import new_id

_IN_CLEAR: Final = """
    SELECT id, email, email_key, phone, full_name FROM identity.users
    WHERE email IS NOT NULL AND id > $1 ORDER BY id LIMIT $2 FOR NO KEY UPDATE
"""
_MAY_SEAL: Final = """
    SELECT EXISTS (SELECT FROM identity.index_keys
        WHERE used_since < statement_timestamp() - $1::float8 * interval '1 second')
"""
_LOCK_SEALED: Final = """
    SELECT id, email_sealed, phone_sealed, full_name_sealed FROM identity.users
    WHERE id = $1 AND email_sealed IS NOT NULL FOR NO KEY UPDATE
"""
_WRITE: Final = """
    UPDATE identity.users SET email = NULL, email_key = NULL, phone = NULL, full_name = NULL,
        email_sealed = $2, phone_sealed = $3, full_name_sealed = $4
    WHERE id = $1
"""
_NOT_INDEXED: Final = """
    SELECT u.id FROM identity.users u
    WHERE u.email_sealed IS NOT NULL AND u.id > $2 AND NOT EXISTS (
        SELECT FROM identity.contact_digests d
        WHERE d.user_id = u.id AND d.key_id = $1 AND d.kind = 'email')
    ORDER BY u.id LIMIT $3
"""
_WRAPPED_OTHERWISE: Final = """
    SELECT user_id AS id FROM identity.person_keys
    WHERE wrapped IS NOT NULL AND substring(wrapped FROM 2 FOR 16) <> $1::bytea AND user_id > $2
    ORDER BY user_id LIMIT $3
"""
_MADE_BEFORE: Final = """
    SELECT user_id AS id FROM identity.person_keys
    WHERE wrapped IS NOT NULL AND made_at < $1 AND user_id > $2
    ORDER BY user_id LIMIT $3
"""
_UNFINISHED: Final = """
    SELECT id, new_keys, started_at FROM identity.personal_rotations WHERE finished_at IS NULL
"""
_BEGIN: Final = """
    INSERT INTO identity.personal_rotations (id, new_keys) VALUES ($1, $2)
    RETURNING id, new_keys, started_at
"""
_FINISH: Final = """
    UPDATE identity.personal_rotations SET finished_at = clock_timestamp() WHERE id = $1
"""


class PlainUser(Struct, frozen=True, kw_only=True):
    """A user whose data is not encrypted yet."""

    id: UserId
    email: str
    email_key: str
    phone: str | None
    full_name: str


class Fields(Struct, frozen=True, kw_only=True):
    """What is personal of a user."""

    email: str | None
    phone: str | None
    full_name: str | None


class Rotation(Struct, frozen=True, kw_only=True):
    """A change of keys that goes on. Its id is the new keys' as well."""

    id: UUID
    new_keys: bool
    started_at: datetime


async def in_clear(tx: Tx, *, after: UserId, most: int) -> Sequence[PlainUser]:
    """Users who are not encrypted, locked."""
    rows = await tx.fetch(_IN_CLEAR, after, most)
    return [PlainUser(**dict(row)) for row in rows]


async def is_migrated_for(tx: Tx, seconds: float) -> bool:
    """Whether the encrypted columns have been there for that long."""
    return bool(await tx.fetchval(_MAY_SEAL, seconds))


async def lock_sealed(tx: Tx, user_id: UserId) -> Row | None:
    """An encrypted user's row, locked. Whoever wants the key's lock, too, has this one before."""
    return await tx.fetchrow(_LOCK_SEALED, user_id)


def read_sealed(row: Row, user_id: UserId, *, key: SealingKey) -> Fields:
    """What is personal in a user's row.

    Raises:
        Unreadable: it was changed, or has another key.
    """
    email, phone, full_name = (
        opened(row[f"{column}_sealed"], key=key, user_id=user_id, column=column)
        for column in ("email", "phone", "full_name")
    )
    return Fields(email=email, phone=phone, full_name=full_name)


async def write_sealed(
    tx: Tx, user_id: UserId, fields: Fields | PlainUser, *, key: SealingKey
) -> None:
    """Store what is personal of a user, encrypted, and nothing of it in clear."""
    await tx.execute(
        _WRITE,
        user_id,
        sealed(fields.email, key=key, user_id=user_id, column="email"),
        sealed(fields.phone, key=key, user_id=user_id, column="phone"),
        sealed(fields.full_name, key=key, user_id=user_id, column="full_name"),
    )


async def not_indexed(tx: Tx, index_key: UUID, *, after: UserId, most: int) -> Sequence[UserId]:
    """Users who cannot be found under a key of the index yet."""
    return _ids(await tx.fetch(_NOT_INDEXED, index_key, after, most))


async def wrapped_otherwise(
    tx: Tx, outer_key: UUID, *, after: UserId, most: int
) -> Sequence[UserId]:
    """Users whose key another outer key has wrapped."""
    return _ids(await tx.fetch(_WRAPPED_OTHERWISE, outer_key.bytes, after, most))


async def with_key_made_before(
    tx: Tx, moment: datetime, *, after: UserId, most: int
) -> Sequence[UserId]:
    """Users whose key is older than this."""
    return _ids(await tx.fetch(_MADE_BEFORE, moment, after, most))


async def begin_rotation(tx: Tx, *, new_keys: bool) -> Rotation:
    """The change of keys that goes on, or else a new one."""
    row = await tx.fetchrow(_UNFINISHED)
    if row is None:
        row = await tx.fetchrow(_BEGIN, new_id(), new_keys)
    if row is None:
        raise AssertionError  # pragma: no cover - an insert returns its row
    return Rotation(id=row["id"], new_keys=row["new_keys"], started_at=row["started_at"])


async def finish_rotation(tx: Tx, rotation_id: UUID) -> None:
    """The change of keys is done."""
    await tx.execute(_FINISH, rotation_id)


def _ids(rows: Sequence[Row]) -> Sequence[UserId]:
    return [UserId(row["id"]) for row in rows]
