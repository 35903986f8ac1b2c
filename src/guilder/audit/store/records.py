"""SQL of records: appending them to a chain, and reading them by what they are looked for by."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from guilder.audit.api import Filters, Place
from guilder.audit.domain import Placed
from guilder.platform.db import Row, Tx

_KNOWN: Final = "SELECT event_id FROM audit.records WHERE event_id = ANY($1::uuid[])"
_FREE_CHAIN: Final = """
    SELECT chain, sequence, hash, clock_timestamp() AS now FROM audit.chains
    ORDER BY chain LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
"""
_ANY_CHAIN: Final = """
    SELECT chain, sequence, hash, clock_timestamp() AS now FROM audit.chains
    WHERE chain = 1 + pg_backend_pid() % (SELECT count(*) FROM audit.chains)
    FOR NO KEY UPDATE
"""
_APPEND: Final = """
    WITH added AS (
        INSERT INTO audit.records (chain, sequence, event_id, actor_id, action, subject, key,
            request_id, trace_id, created_at, recorded_at, before, after, details, person_id,
            personal, hash)
        SELECT $1, r.sequence, r.event_id, r.actor_id, r.action, r.subject, r.key, r.request_id,
            r.trace_id, r.created_at, $2, r.before::json, r.after::json, r.details::json,
            r.person_id, r.personal, r.hash
        FROM unnest($3::bigint[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::timestamptz[], $12::text[], $13::text[], $14::text[],
            $15::uuid[], $16::bytea[], $17::bytea[]) AS r(sequence, event_id, actor_id, action,
            subject, key, request_id, trace_id, created_at, before, after, details, person_id,
            personal, hash)
        ON CONFLICT (event_id) DO NOTHING
        RETURNING 1
    ), moved AS (
        UPDATE audit.chains SET sequence = $18, hash = $19 WHERE chain = $1
    )
    SELECT count(*) FROM added
"""
_COLUMNS: Final = """
    SELECT chain, sequence, event_id, actor_id, action, subject, key, request_id, trace_id,
        created_at, recorded_at, before::text AS before, after::text AS after,
        details::text AS details, person_id, personal, hash
    FROM audit.records
"""
_HEADS: Final = "SELECT chain, sequence, hash FROM audit.chains WHERE sequence > 0 ORDER BY chain"


class Head(Struct, frozen=True, kw_only=True):
    """Where a chain ends, under its lock, and the database's time."""

    chain: int
    sequence: int
    hash: bytes
    now: datetime


async def known(tx: Tx, event_ids: Collection[UUID]) -> frozenset[UUID]:
    """Those of the events that have a record already."""
    return frozenset(row[0] for row in await tx.fetch(_KNOWN, list(event_ids)))


async def lock_chain(tx: Tx) -> Head:
    """The end of a chain that nobody else appends to, or else of one that is waited for."""
    row = await tx.fetchrow(_FREE_CHAIN) or await tx.fetchrow(_ANY_CHAIN)
    if row is None:
        raise LookupError("audit.chains has no rows")
    return Head(chain=row["chain"], sequence=row["sequence"], hash=row["hash"], now=row["now"])


async def append(tx: Tx, records: Sequence[Placed], *, head: Head) -> int:
    """Write records after a locked head; how many were new. Fewer than given: roll back."""
    drafts = [record.draft for record in records]
    last = records[-1]
    added: int = await tx.fetchval(
        _APPEND,
        head.chain,
        head.now,
        [record.sequence for record in records],
        [draft.event_id for draft in drafts],
        [draft.actor_id for draft in drafts],
        [draft.action for draft in drafts],
        [draft.subject for draft in drafts],
        [draft.key for draft in drafts],
        [draft.request_id for draft in drafts],
        [draft.trace_id for draft in drafts],
        [draft.created_at for draft in drafts],
        [draft.before for draft in drafts],
        [draft.after for draft in drafts],
        [draft.details for draft in drafts],
        [draft.person_id for draft in drafts],
        [draft.personal for draft in drafts],
        [record.hash for record in records],
        last.sequence,
        last.hash,
    )
    return added


async def heads(tx: Tx) -> Sequence[Row]:
    """Chain, sequence and hash of each chain's last record."""
    return await tx.fetch(_HEADS)


async def page(tx: Tx, filters: Filters, *, after: Place | None, limit: int) -> Sequence[Row]:
    """Records that match, newest first, from after a place."""
    query, values = page_query(filters, after=after, limit=limit)
    return await tx.fetch(query, *values)


def page_query(filters: Filters, *, after: Place | None, limit: int) -> tuple[str, list[Any]]:
    """The query of a page. A subject is looked for as such and as key, each by its index."""
    values: list[Any] = [limit]
    conditions = [*_conditions(filters, values)]
    if after is not None:
        values += [after.created_at, after.id]
        conditions.append(f"(created_at, event_id) < (${len(values) - 1}, ${len(values)})")
    if filters.subject is None:
        return _ordered(conditions), values
    values.append(filters.subject)
    as_subject = _ordered([*conditions, f"subject = ${len(values)}"])
    as_key = _ordered([*conditions, f"key = ${len(values)}", "key <> subject"])
    either = f"SELECT * FROM (({as_subject}) UNION ALL ({as_key})) AS found"
    return f"{either} ORDER BY created_at DESC, event_id DESC LIMIT $1", values


def _ordered(conditions: Sequence[str]) -> str:
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"{_COLUMNS} {where} ORDER BY created_at DESC, event_id DESC LIMIT $1"


def _conditions(filters: Filters, values: list[Any]) -> Iterator[str]:
    for column, operator, value in (
        ("actor_id", "=", filters.actor_id),
        ("action", "=", filters.action),
        ("request_id", "=", filters.request_id),
        ("trace_id", "=", filters.trace_id),
        ("created_at", ">=", filters.since),
        ("created_at", "<", filters.until),
    ):
        if value is not None:
            values.append(value)
            yield f"{column} {operator} ${len(values)}"
