"""SQL of failed sign-ins. What they are counted by is a keyed digest: nobody reads names here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final
from uuid import UUID

from guilder.identity.domain.lockout import Failures
from guilder.platform.db import Row, Tx, rows_done

# In id order, like every lock: whoever counts the same things waits here.
_TOUCH: Final = """
    INSERT INTO identity.sign_in_failures (id, failures, last_at)
    SELECT id, 0, clock_timestamp() FROM unnest($1::uuid[]) AS id ORDER BY id
    ON CONFLICT DO NOTHING
"""
_LOCK: Final = """
    SELECT id, failures, last_at, blocked_until FROM identity.sign_in_failures
    WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""
_READ: Final = """
    SELECT id, failures, last_at, blocked_until FROM identity.sign_in_failures WHERE id = $1
"""
_PUT: Final = """
    UPDATE identity.sign_in_failures SET failures = $2, last_at = $3, blocked_until = $4
    WHERE id = $1
"""
_PURGE: Final = """
    DELETE FROM identity.sign_in_failures WHERE id IN (
        SELECT id FROM identity.sign_in_failures
        WHERE last_at < statement_timestamp() - make_interval(secs => $1)
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
"""


async def lock(tx: Tx, ids: Collection[UUID]) -> dict[UUID, Failures]:
    """What failed so far for each of these; nobody else counts there until the transaction ends.

    One that a purge has just taken away is missing, and has no failures.
    """
    await tx.execute(_TOUCH, list(ids))
    return {row["id"]: _failures(row) for row in await tx.fetch(_LOCK, list(ids))}


async def read(tx: Tx, key: UUID) -> Failures | None:
    """What failed so far, as it stands at this moment."""
    row = await tx.fetchrow(_READ, key)
    return None if row is None else _failures(row)


async def put(tx: Tx, counted: Mapping[UUID, Failures]) -> None:
    """Keep what failed, in the rows that `lock` has locked."""
    for key, failures in counted.items():
        await tx.execute(_PUT, key, failures.count, failures.last_at, failures.blocked_until)


async def purge(tx: Tx, *, kept_s: float, limit: int) -> int:
    """Delete some that nobody has counted at for ``kept_s``; how many."""
    return rows_done(await tx.execute(_PURGE, kept_s, limit))


def _failures(row: Row) -> Failures:
    return Failures(
        count=row["failures"], last_at=row["last_at"], blocked_until=row["blocked_until"]
    )
