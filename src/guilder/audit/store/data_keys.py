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
_NOW: Final = "SELECT clock_timestamp()"


class StoredKey(Struct, frozen=True, kw_only=True):
    """A person's key as it is stored; ``wrapped`` None: erased."""

    id: UUID
    wrapped: bytes | None


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
