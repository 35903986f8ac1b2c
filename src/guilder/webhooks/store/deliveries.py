"""Deliveries as their owners see them: lists with every attempt, replays, and clearing away."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from guilder.kernel.ids import UserId
from guilder.platform.db import Row, Tx, rows_done
from guilder.webhooks.api import DeliveryId, DeliveryState, EndpointId
from guilder.webhooks.domain.records import MOST_ANSWERS, AttemptRecord, Delivery

EXCERPT: Final = 1_024
"""How much of each answer's body a list shows, in characters."""
WHOLE: Final = 64 * 1_024
MOST_SHOWN: Final = 100
"""How many attempts are shown of one delivery, the last ones. A list shows those with answers."""

_PAGE: Final = """
    SELECT d.id, d.endpoint_id, d.event_id, v.type, d.key, d.position, d.state, d.attempts,
        CASE WHEN d.leased_until IS NULL THEN d.due_at END AS due_at, d.created_at, d.ended_at
    FROM webhooks.deliveries d JOIN webhooks.events v ON v.id = d.event_id
    WHERE d.endpoint_id = $1 AND ($2::bigint IS NULL OR d.position < $2)
      AND ($3::text IS NULL OR d.state = $3)
    ORDER BY d.position DESC LIMIT $4
"""
# Answers that code of a release before kept are not read: there may be any number of them.
_ATTEMPTS: Final = """
    SELECT a.delivery_id, a.number, a.started_at, a.duration_ms, a.status, a.failure,
        CASE WHEN a.number > d.attempts - $4 THEN a.headers ELSE '[]' END AS headers,
        CASE WHEN a.number > d.attempts - $4 THEN left(a.body, $2) ELSE '' END AS body,
        CASE WHEN a.number > d.attempts - $4 THEN a.is_cut OR length(a.body) > $2
            ELSE a.is_cut OR a.body <> '' END AS is_cut
    FROM webhooks.deliveries d JOIN webhooks.attempts a ON a.delivery_id = d.id
    WHERE d.id = ANY($1::uuid[]) AND a.number > d.attempts - $3
    ORDER BY a.delivery_id, a.number
"""
_ONE: Final = """
    SELECT d.id, d.endpoint_id, d.event_id, v.type, d.key, d.position, d.state, d.attempts,
        CASE WHEN d.leased_until IS NULL THEN d.due_at END AS due_at, d.created_at, d.ended_at
    FROM webhooks.deliveries d JOIN webhooks.events v ON v.id = d.event_id WHERE d.id = $1
"""
_OWNER: Final = """
    SELECT e.id AS endpoint_id, e.owner_id FROM webhooks.deliveries d
    JOIN webhooks.endpoints e ON e.id = d.endpoint_id
    WHERE d.id = $1 AND e.status <> 'deleted'
"""
# A replay goes to the end of its line, as what is waiting there was to come next.
_REPLAY: Final = """
    WITH again AS (
        SELECT id, key, row_number() OVER (PARTITION BY key ORDER BY position) AS nth,
            nextval('webhooks.turns') AS turn
        FROM (SELECT id, key, position FROM webhooks.deliveries
              WHERE endpoint_id = $1 AND state <> 'pending' AND {which} ORDER BY position) AS asked
    )
    UPDATE webhooks.deliveries AS d
    SET state = 'pending', failures = 0, turn = again.turn, ended_at = NULL, leased_until = NULL,
        due_at = CASE WHEN again.nth = 1 AND NOT EXISTS (
            SELECT FROM webhooks.deliveries p
            WHERE p.endpoint_id = $1 AND p.key = again.key AND p.state = 'pending'
        ) THEN statement_timestamp() END
    FROM again WHERE d.id = again.id
"""
# What waits for a worker, or behind others of its line, goes its way; what waits for time need not.
_HASTEN: Final = """
    UPDATE webhooks.deliveries SET failures = 0, due_at = statement_timestamp()
    WHERE endpoint_id = $1 AND ($2::uuid IS NULL OR id = $2) AND state = 'pending'
      AND due_at > statement_timestamp() AND leased_until IS NULL
"""
_REPLAY_ONE: Final = _REPLAY.format(which="id = $2")
_REPLAY_RANGE: Final = _REPLAY.format(which="created_at >= $2 AND created_at < $3")
_IN_RANGE: Final = """
    SELECT count(*) FROM (
        SELECT FROM webhooks.deliveries
        WHERE endpoint_id = $1 AND state <> 'pending' AND created_at >= $2 AND created_at < $3
        LIMIT $4) AS asked
"""
# What is old and has ended, and everything of deleted endpoints. What is pending stays: others of
# its line wait for it. The state is looked at again, as a replay may have come in between.
_CLEAR: Final = """
    WITH old AS (
        SELECT d.id FROM webhooks.deliveries d
        WHERE d.created_at < statement_timestamp() - $1::interval AND d.state <> 'pending'
        ORDER BY d.created_at LIMIT $2
    ), deleted AS (
        SELECT d.id FROM webhooks.endpoints e JOIN webhooks.deliveries d ON d.endpoint_id = e.id
        WHERE e.status = 'deleted' LIMIT $2
    ), gone AS (
        DELETE FROM webhooks.deliveries
        WHERE id IN (SELECT id FROM old) AND state <> 'pending' OR id IN (SELECT id FROM deleted)
        RETURNING id
    ), attempts AS (
        DELETE FROM webhooks.attempts WHERE delivery_id IN (SELECT id FROM gone)
    )
    SELECT count(*) FROM gone
"""
_CLEAR_EVENTS: Final = """
    DELETE FROM webhooks.events WHERE id IN (
        SELECT v.id FROM webhooks.events v
        WHERE v.occurred_at < statement_timestamp() - $1::interval
          AND NOT EXISTS (SELECT FROM webhooks.deliveries d WHERE d.event_id = v.id)
        ORDER BY v.occurred_at LIMIT $2)
"""
_CLEAR_ENDPOINTS: Final = """
    DELETE FROM webhooks.endpoints e WHERE e.status = 'deleted'
      AND NOT EXISTS (SELECT FROM webhooks.deliveries d WHERE d.endpoint_id = e.id)
"""
_SPEND: Final = """
    INSERT INTO webhooks.replays AS r (owner_id, day, deliveries)
    VALUES ($1, statement_timestamp()::date, $2)
    ON CONFLICT (owner_id, day) DO UPDATE SET deliveries = r.deliveries + excluded.deliveries
    RETURNING deliveries
"""
_CLEAR_REPLAYS: Final = """
    DELETE FROM webhooks.replays WHERE day < statement_timestamp()::date
"""
_CLEAR_UNROUTED: Final = """
    DELETE FROM webhooks.unrouted WHERE occurred_at < statement_timestamp() - $1::interval
"""


async def page(
    tx: Tx,
    endpoint_id: EndpointId,
    *,
    before: int | None,
    state: DeliveryState | None,
    limit: int,
) -> list[Delivery]:
    """An endpoint's deliveries, newest first, each with its last attempts."""
    rows = await tx.fetch(_PAGE, endpoint_id, before, None if state is None else state.value, limit)
    return await _with_attempts(tx, rows, most=MOST_ANSWERS, body_characters=EXCERPT)


async def one(tx: Tx, delivery_id: DeliveryId) -> Delivery:
    """A delivery with what is kept of its last attempts."""
    rows = await tx.fetch(_ONE, delivery_id)
    (found,) = await _with_attempts(tx, rows, most=MOST_SHOWN, body_characters=WHOLE)
    return found


async def _with_attempts(
    tx: Tx, rows: Sequence[Row], *, most: int, body_characters: int
) -> list[Delivery]:
    attempts: dict[UUID, list[AttemptRecord]] = {row["id"]: [] for row in rows}
    found = await tx.fetch(_ATTEMPTS, list(attempts), body_characters, most, MOST_ANSWERS)
    for row in found:
        attempts[row["delivery_id"]].append(_attempt(row))
    return [_delivery(row, attempts[row["id"]]) for row in rows]


async def owner_of(tx: Tx, delivery_id: DeliveryId) -> tuple[EndpointId, UserId] | None:
    """To which endpoint a delivery goes, and whose that is."""
    row = await tx.fetchrow(_OWNER, delivery_id)
    return None if row is None else (row["endpoint_id"], row["owner_id"])


async def replay_one(tx: Tx, endpoint_id: EndpointId, *, delivery_id: DeliveryId) -> int:
    """Send one again, under its old id; 0 when it is still pending."""
    return rows_done(await tx.execute(_REPLAY_ONE, endpoint_id, delivery_id))


async def hasten(tx: Tx, endpoint_id: EndpointId, *, only: DeliveryId | None = None) -> int:
    """Try now what would be tried again later, with a whole schedule before it; answer how many."""
    return rows_done(await tx.execute(_HASTEN, endpoint_id, only))


async def replay_range(tx: Tx, endpoint_id: EndpointId, *, since: datetime, until: datetime) -> int:
    """Send again what was made from ``since`` to before ``until``, and answer how many."""
    return rows_done(await tx.execute(_REPLAY_RANGE, endpoint_id, since, until))


async def count_range(
    tx: Tx, endpoint_id: EndpointId, *, since: datetime, until: datetime, most: int
) -> int:
    """How many a replay would send; counting stops at ``most``."""
    found: int = await tx.fetchval(_IN_RANGE, endpoint_id, since, until, most)
    return found


async def count_replayed(tx: Tx, owner_id: UserId, *, more: int) -> int:
    """How many deliveries somebody has sent again today (UTC), with these ``more``."""
    found: int = await tx.fetchval(_SPEND, owner_id, more)
    return found


async def clear(tx: Tx, *, older_than: timedelta, most: int) -> int:
    """Delete deliveries that nobody needs any more, with their attempts and events."""
    cleared: int = await tx.fetchval(_CLEAR, older_than, most)
    cleared += rows_done(await tx.execute(_CLEAR_EVENTS, older_than, most))
    await tx.execute(_CLEAR_ENDPOINTS)
    await tx.execute(_CLEAR_UNROUTED, older_than)
    await tx.execute(_CLEAR_REPLAYS)
    return cleared


def _attempt(row: Row) -> AttemptRecord:
    fields: dict[str, Any] = {name: row[name] for name in AttemptRecord.__struct_fields__}
    headers = msgspec.json.decode(row["headers"], type=list[tuple[str, str]])
    return AttemptRecord(**{**fields, "headers": headers})


def _delivery(row: Row, log: Sequence[AttemptRecord]) -> Delivery:
    return Delivery(
        id=row["id"],
        endpoint_id=row["endpoint_id"],
        event_id=row["event_id"],
        type=row["type"],
        key=row["key"],
        position=row["position"],
        state=DeliveryState(row["state"]),
        attempts=row["attempts"],
        due_at=row["due_at"],
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        log=tuple(log),
    )
