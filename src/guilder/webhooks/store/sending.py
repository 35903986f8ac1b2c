"""Deliveries that are due: taken with a lease and a fence, and given back with what happened."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from guilder.platform.db import Row, Tx
from guilder.webhooks.api import DeliveryId, DeliveryState, EndpointId
from guilder.webhooks.domain.records import MOST_ANSWERS

_DUE_ENDPOINTS: Final = """
    SELECT id FROM webhooks.endpoints
    WHERE is_slow = $1 AND next_due_at <= statement_timestamp()
    ORDER BY next_due_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
"""
# One of each endpoint first, then a second one of each: nobody fills all places alone.
_TAKE: Final = """
    WITH chosen AS (
        SELECT due.id FROM unnest($1::uuid[]) AS e(id) CROSS JOIN LATERAL (
            SELECT d.id, row_number() OVER (ORDER BY d.due_at, d.turn) AS nth
            FROM webhooks.deliveries d
            WHERE d.endpoint_id = e.id AND d.state = 'pending'
              AND d.due_at <= statement_timestamp()
            ORDER BY d.due_at, d.turn
            LIMIT greatest(0, $2::integer - (
                SELECT count(*) FROM webhooks.deliveries l
                WHERE l.endpoint_id = e.id AND l.leased_until > statement_timestamp()))
        ) AS due
        ORDER BY due.nth LIMIT $3
    )
    UPDATE webhooks.deliveries AS d
    SET fence = d.fence + 1, leased_until = statement_timestamp() + make_interval(secs => $4),
        due_at = statement_timestamp() + make_interval(secs => $4)
    FROM chosen, webhooks.endpoints e, webhooks.events v
    WHERE d.id = chosen.id AND e.id = d.endpoint_id AND v.id = d.event_id
    RETURNING d.id, d.endpoint_id, d.fence, d.attempts, d.failures, e.url, e.secret,
        CASE WHEN e.previous_until > statement_timestamp() THEN e.previous_secret END
            AS previous_secret,
        v.body, v.occurred_at
"""
_LOCK: Final = "SELECT id FROM webhooks.endpoints WHERE id = $1 FOR NO KEY UPDATE"
_SETTLE: Final = """
    UPDATE webhooks.deliveries
    SET attempts = attempts + 1, state = $4, leased_until = NULL,
        failures = CASE WHEN $4 = 'delivered' THEN failures ELSE failures + 1 END,
        due_at = CASE WHEN $4 = 'pending'
            THEN clock_timestamp() + make_interval(secs => $5::float8 / 1000) END,
        ended_at = CASE WHEN $4 = 'pending' THEN NULL ELSE clock_timestamp() END
    WHERE id = $1 AND endpoint_id = $2 AND fence = $3 AND leased_until IS NOT NULL
    RETURNING attempts, key
"""
# However often a delivery is replayed, its log holds a bounded number of answers.
_NOTE: Final = """
    WITH long_ago AS (
        UPDATE webhooks.attempts
        SET headers = '[]', body = '', is_cut = is_cut OR body <> ''
        WHERE delivery_id = $1 AND number = $2 - $10::integer
    )
    INSERT INTO webhooks.attempts (delivery_id, number, started_at, duration_ms, status, failure,
        headers, body, is_cut)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
_NEXT_IN_LINE: Final = """
    UPDATE webhooks.deliveries SET due_at = statement_timestamp()
    WHERE due_at IS NULL AND id = (
        SELECT id FROM webhooks.deliveries
        WHERE endpoint_id = $1 AND key = $2 AND state = 'pending' ORDER BY turn LIMIT 1)
"""


class Taken(Struct, frozen=True, kw_only=True):
    """A delivery that one worker may send, as long as its lease lasts."""

    id: DeliveryId
    endpoint_id: EndpointId
    fence: int
    attempts: int
    failures: int
    url: str
    secret: bytes
    previous_secret: bytes | None
    body: str
    occurred_at: datetime


class Attempt(Struct, frozen=True, kw_only=True):
    """One request and what came back: a status, or else the failure in a word."""

    started_at: datetime
    duration_ms: int
    status: int | None
    failure: str | None
    headers: tuple[tuple[str, str], ...]
    body: str
    is_cut: bool


async def take(
    tx: Tx, *, slow: bool, most: int, at_once: int, lease_s: float
) -> tuple[list[Taken], list[EndpointId]]:
    """Take up to ``most`` due deliveries, and say for which endpoints; these are locked now."""
    endpoints = [row["id"] for row in await tx.fetch(_DUE_ENDPOINTS, slow, most)]
    if not endpoints:
        return [], []
    rows = await tx.fetch(_TAKE, endpoints, at_once, most, lease_s)
    return [_taken(row) for row in rows], endpoints


async def lock_endpoint(tx: Tx, endpoint_id: EndpointId) -> None:
    """Take the lock under which an endpoint's deliveries change."""
    await tx.execute(_LOCK, endpoint_id)


async def settle(
    tx: Tx, taken: Taken, *, state: DeliveryState, wait_ms: int, attempt: Attempt
) -> bool:
    """Write down what happened; False when the lease is somebody else's by now."""
    row = await tx.fetchrow(_SETTLE, taken.id, taken.endpoint_id, taken.fence, state.value, wait_ms)
    if row is None:
        return False
    await tx.execute(
        _NOTE,
        taken.id,
        row["attempts"],
        attempt.started_at,
        attempt.duration_ms,
        attempt.status,
        attempt.failure,
        msgspec.json.encode(attempt.headers).decode(),
        attempt.body,
        attempt.is_cut,
        MOST_ANSWERS,
    )
    if state is not DeliveryState.PENDING:
        await tx.execute(_NEXT_IN_LINE, taken.endpoint_id, row["key"])
    return True


def _taken(row: Row) -> Taken:
    return Taken(
        id=row["id"],
        endpoint_id=row["endpoint_id"],
        fence=row["fence"],
        attempts=row["attempts"],
        failures=row["failures"],
        url=row["url"],
        secret=row["secret"],
        previous_secret=row["previous_secret"],
        body=row["body"],
        occurred_at=row["occurred_at"],
    )
