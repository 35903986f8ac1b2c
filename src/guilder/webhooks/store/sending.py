"""Deliveries that are due: taken with a lease and a fence, and given back with what happened."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from guilder.kernel.ids import UserId
from guilder.platform.db import Row, Tx
from guilder.webhooks.api import DeliveryId, DeliveryState, EndpointId
from guilder.webhooks.domain.records import MOST_ANSWERS

_DUE_ENDPOINTS: Final = """
    SELECT id FROM webhooks.endpoints
    WHERE is_slow = $1 AND next_due_at <= statement_timestamp()
      AND COALESCE(acts_for, owner_id) <> ALL($3::uuid[])
    ORDER BY next_due_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
"""
# One of each endpoint first, then a second one of each, and of no owner more than may be: nobody
# fills all places alone.
_TAKE: Final = """
    WITH due AS (
        SELECT due.id, due.nth, COALESCE(e.acts_for, e.owner_id) AS owner_id
        FROM webhooks.endpoints e CROSS JOIN LATERAL (
            SELECT d.id, row_number() OVER (ORDER BY d.due_at, d.turn) AS nth
            FROM webhooks.deliveries d
            WHERE d.endpoint_id = e.id AND d.state = 'pending'
              AND d.due_at <= statement_timestamp()
            ORDER BY d.due_at, d.turn
            LIMIT greatest(0, $2::integer - (
                SELECT count(*) FROM webhooks.deliveries l
                WHERE l.endpoint_id = e.id AND l.leased_until > statement_timestamp()))
        ) AS due
        WHERE e.id = ANY($1::uuid[])
    ), counted AS (
        SELECT id, nth, owner_id, row_number() OVER (PARTITION BY owner_id ORDER BY nth) AS place
        FROM due
    ), chosen AS (
        SELECT c.id FROM counted c
        LEFT JOIN unnest($6::uuid[], $7::integer[]) AS b(owner_id, under_way) USING (owner_id)
        WHERE c.place <= $5::integer - COALESCE(b.under_way, 0)
        ORDER BY c.nth LIMIT $3
    )
    UPDATE webhooks.deliveries AS d
    SET fence = d.fence + 1, leased_until = statement_timestamp() + make_interval(secs => $4),
        due_at = statement_timestamp() + make_interval(secs => $4)
    FROM chosen, webhooks.endpoints e, webhooks.events v
    WHERE d.id = chosen.id AND e.id = d.endpoint_id AND v.id = d.event_id
    RETURNING d.id, d.endpoint_id, COALESCE(e.acts_for, e.owner_id) AS owner_id, d.fence,
        d.attempts, d.failures, e.url, e.secret,
        CASE WHEN e.previous_until > statement_timestamp() THEN e.previous_secret END
            AS previous_secret,
        v.body, v.occurred_at
"""
_LOCK: Final = "SELECT url FROM webhooks.endpoints WHERE id = $1 FOR NO KEY UPDATE"
_SETTLE: Final = """
    UPDATE webhooks.deliveries
    SET attempts = attempts + 1, state = $4, leased_until = NULL,
        failures = CASE WHEN $4 = 'delivered' THEN failures ELSE $6 END,
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
    """A delivery that one worker may send, as long as its lease lasts.

    ``owner_id`` is the person whose endpoint it is for, or whom the endpoint's client acts for.
    """

    id: DeliveryId
    endpoint_id: EndpointId
    owner_id: UserId
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


class Room(Struct, frozen=True, kw_only=True):
    """For how many requests there is room: in all, to one endpoint, and to one owner's.

    ``under_way`` counts each owner's requests that this process has under way already.
    """

    most: int
    at_once: int
    most_of_one: int
    under_way: Mapping[UserId, int]


async def take(
    tx: Tx, *, slow: bool, room: Room, lease_s: float
) -> tuple[list[Taken], list[EndpointId]]:
    """Take due deliveries as far as there is room, and say for which endpoints; these are locked
    now."""
    full = [owner for owner, count in room.under_way.items() if count >= room.most_of_one]
    endpoints = [row["id"] for row in await tx.fetch(_DUE_ENDPOINTS, slow, room.most, full)]
    if not endpoints:
        return [], []
    rows = await tx.fetch(
        _TAKE,
        endpoints,
        room.at_once,
        room.most,
        lease_s,
        room.most_of_one,
        list(room.under_way),
        list(room.under_way.values()),
    )
    return [_taken(row) for row in rows], endpoints


async def lock_endpoint(tx: Tx, endpoint_id: EndpointId) -> str | None:
    """Take the lock under which an endpoint's deliveries change, and answer its URL."""
    url: str | None = await tx.fetchval(_LOCK, endpoint_id)
    return url


async def settle(
    tx: Tx, taken: Taken, *, state: DeliveryState, wait_ms: int, failures: int, attempt: Attempt
) -> bool:
    """Write down what happened; False when the lease is somebody else's by now.

    ``failures`` counts those of this round, unless it was delivered.
    """
    row = await tx.fetchrow(
        _SETTLE, taken.id, taken.endpoint_id, taken.fence, state.value, wait_ms, failures
    )
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
        owner_id=row["owner_id"],
        fence=row["fence"],
        attempts=row["attempts"],
        failures=row["failures"],
        url=row["url"],
        secret=row["secret"],
        previous_secret=row["previous_secret"],
        body=row["body"],
        occurred_at=row["occurred_at"],
    )
