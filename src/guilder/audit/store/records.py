"""SQL of records: appending them to a chain, and reading them by what they are looked for by."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from guilder.audit.api import Filters, Place
from guilder.audit.domain import Placed
from guilder.platform.db import AlreadyThere, Row, TryAgain, Tx

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
_APPEND: Final = (
    "chain",
    "sequence",
    "event_id",
    "actor_id",
    "action",
    "subject",
    "key",
    "request_id",
    "trace_id",
    "created_at",
    "recorded_at",
    "before",
    "after",
    "details",
    "person_id",
    "personal",
    "hash",
)
_MOVE: Final = "UPDATE audit.chains SET sequence = $2, hash = $3 WHERE chain = $1"
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


async def append(tx: Tx, records: Sequence[Placed], *, head: Head) -> None:
    """Write records after a locked head.

    Raises:
        TryAgain: one of them has been written meanwhile.
    """
    rows = [_row(record, head=head) for record in records]
    try:
        await tx.copy_records_to_table(
            "records", schema_name="audit", columns=_APPEND, records=rows
        )
    except AlreadyThere as error:
        raise TryAgain from error
    await tx.execute(_MOVE, head.chain, records[-1].sequence, records[-1].hash)


def _row(record: Placed, *, head: Head) -> tuple[object, ...]:
    draft = record.draft
    return (
        head.chain,
        record.sequence,
        draft.event_id,
        draft.actor_id,
        draft.action,
        draft.subject,
        draft.key,
        draft.request_id,
        draft.trace_id,
        draft.created_at,
        head.now,
        draft.before,
        draft.after,
        draft.details,
        draft.person_id,
        draft.personal,
        record.hash,
    )


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
