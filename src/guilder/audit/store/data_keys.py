"""SQL of the keys of persons, each wrapped. An erased person has a row and no key."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct

from guilder.audit.domain import data_key_seal
from guilder.platform.db import Tx

TABLE: Final = "audit.data_keys"
COLUMN: Final = "wrapped"

_FIND: Final = """
    SELECT person_id, id, wrapped FROM audit.data_keys WHERE person_id = ANY($1::uuid[])
"""
_ADD: Final = """
    INSERT INTO audit.data_keys (person_id, id, wrapped, created_at, erased_at, seal)
    SELECT k.person_id, k.id, k.wrapped, $4, NULL, k.seal
    FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $5::bytea[])
        AS k(person_id, id, wrapped, seal)
    ON CONFLICT (person_id) DO NOTHING
"""
_LOCK: Final = """
    SELECT person_id, id, created_at, erased_at FROM audit.data_keys WHERE person_id = $1
    FOR NO KEY UPDATE
"""
_ERASE: Final = """
    UPDATE audit.data_keys SET wrapped = NULL, erased_at = $2, seal = $3 WHERE person_id = $1
"""
_ADD_ERASED: Final = """
    INSERT INTO audit.data_keys (person_id, id, wrapped, created_at, erased_at, seal)
    VALUES ($1, $2, NULL, $3, $3, $4)
    ON CONFLICT (person_id) DO NOTHING
"""
_ERASED: Final = """
    SELECT person_id FROM audit.data_keys
    WHERE person_id = ANY($1::uuid[]) AND erased_at IS NOT NULL
"""
# What is wrapped begins with a version of one byte and the id of its key: see platform/envelopes.
_OTHERWISE: Final = "wrapped IS NOT NULL AND substring(wrapped FROM 2 FOR 16) <> uuid_send($1)"
_ANY_OTHERWISE: Final = f"SELECT EXISTS (SELECT FROM audit.data_keys WHERE {_OTHERWISE})"
_LOCK_OTHERWISE: Final = f"""
    SELECT person_id, id, wrapped, created_at FROM audit.data_keys
    WHERE {_OTHERWISE} AND person_id > $2
    ORDER BY person_id LIMIT $3
    FOR NO KEY UPDATE
"""
_REWRAP: Final = """
    UPDATE audit.data_keys d SET wrapped = k.wrapped, seal = k.seal
    FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS k(person_id, wrapped, seal)
    WHERE d.person_id = k.person_id
"""
_NOW: Final = "SELECT clock_timestamp()"


class StoredKey(Struct, frozen=True, kw_only=True):
    """A person's key as it is stored; ``wrapped`` None: erased."""

    id: UUID
    wrapped: bytes | None


class WrappedKey(Struct, frozen=True, kw_only=True):
    """A person's key, with what its seal covers besides."""

    person_id: UUID
    id: UUID
    wrapped: bytes
    created_at: datetime


async def find(tx: Tx, persons: Collection[UUID]) -> Mapping[UUID, StoredKey]:
    """The keys of those of ``persons`` who have or had one."""
    return {
        row["person_id"]: StoredKey(id=row["id"], wrapped=row["wrapped"])
        for row in await tx.fetch(_FIND, list(persons))
    }


async def add(tx: Tx, keys: Sequence[tuple[UUID, UUID, bytes]]) -> None:
    """Store new keys (person, id, wrapped), except where somebody else was faster.

    Give them in order of persons, so that two who add the same ones do not block each other.
    """
    now = await tx.fetchval(_NOW)
    await tx.execute(
        _ADD,
        [person_id for person_id, _, _ in keys],
        [key_id for _, key_id, _ in keys],
        [wrapped for _, _, wrapped in keys],
        now,
        [
            data_key_seal(
                person_id=person_id, key_id=key_id, wrapped=wrapped, created_at=now, erased_at=None
            )
            for person_id, key_id, wrapped in keys
        ],
    )


async def erase(tx: Tx, person_id: UUID, *, spare_id: UUID) -> datetime | None:
    """Destroy a person's key, or see to it that there never is one; when, or None: it was before.

    ``spare_id`` names the key of somebody who had none.
    """
    now: datetime = await tx.fetchval(_NOW)
    seal = data_key_seal(
        person_id=person_id, key_id=spare_id, wrapped=None, created_at=now, erased_at=now
    )
    if (await tx.execute(_ADD_ERASED, person_id, spare_id, now, seal)).endswith(" 1"):
        return now
    row = await tx.fetchrow(_LOCK, person_id)
    if row is None or row["erased_at"] is not None:
        return None
    seal = data_key_seal(
        person_id=person_id,
        key_id=row["id"],
        wrapped=None,
        created_at=row["created_at"],
        erased_at=now,
    )
    await tx.execute(_ERASE, person_id, now, seal)
    return now


async def erased(tx: Tx, persons: Collection[UUID]) -> frozenset[UUID]:
    """Those of ``persons`` who are erased."""
    return frozenset(row[0] for row in await tx.fetch(_ERASED, list(persons)))


async def wrapped_otherwise(tx: Tx, outer_id: UUID) -> bool:
    """Whether some key is wrapped by another outer key than this one."""
    found: bool = await tx.fetchval(_ANY_OTHERWISE, outer_id)
    return found


async def lock_wrapped_otherwise(
    tx: Tx, outer_id: UUID, *, after: UUID, limit: int
) -> Sequence[WrappedKey]:
    """Lock the next keys, in order of persons, that another outer key than this one wraps."""
    return [
        WrappedKey(
            person_id=row["person_id"],
            id=row["id"],
            wrapped=row["wrapped"],
            created_at=row["created_at"],
        )
        for row in await tx.fetch(_LOCK_OTHERWISE, outer_id, after, limit)
    ]


async def rewrap(tx: Tx, keys: Sequence[WrappedKey]) -> None:
    """Store keys as they are wrapped now. Their rows are locked."""
    seals = [
        data_key_seal(
            person_id=key.person_id,
            key_id=key.id,
            wrapped=key.wrapped,
            created_at=key.created_at,
            erased_at=None,
        )
        for key in keys
    ]
    await tx.execute(_REWRAP, [key.person_id for key in keys], [key.wrapped for key in keys], seals)
