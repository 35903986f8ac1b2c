"""What must be true of webhooks: nothing is stuck, nothing is told twice, the log is complete."""

from __future__ import annotations

from typing import Final

from guilder.platform.checks import Check, sql_check

_ORPHANS: Final = """
    SELECT d.id::text AS row, CASE WHEN e.id IS NULL THEN 'its endpoint does not exist'
        ELSE 'its event does not exist' END AS detail
    FROM webhooks.deliveries d
    LEFT JOIN webhooks.endpoints e ON e.id = d.endpoint_id
    LEFT JOIN webhooks.events v ON v.id = d.event_id
    WHERE e.id IS NULL OR v.id IS NULL OR v.key <> d.key
"""
_TWICE: Final = """
    SELECT min(id::text) AS row, 'one event became several deliveries to one endpoint' AS detail
    FROM webhooks.deliveries GROUP BY endpoint_id, event_id HAVING count(*) > 1
"""
_LINES: Final = """
    SELECT min(d.endpoint_id::text) || '/' || min(d.key) AS row,
        format('%s of %s waiting deliveries are due', count(d.due_at), count(*)) AS detail
    FROM webhooks.deliveries d JOIN webhooks.endpoints e ON e.id = d.endpoint_id
    WHERE d.state = 'pending' AND e.status <> 'deleted'
    GROUP BY d.endpoint_id, d.key
    HAVING count(d.due_at) <> 1
        OR min(d.turn) FILTER (WHERE d.due_at IS NOT NULL) <> min(d.turn)
"""
_LOG: Final = """
    SELECT d.id::text AS row, format('it counts %s attempts and has %s, the last answered %s',
        d.attempts, count(a.number), (array_agg(a.status ORDER BY a.number DESC))[1]) AS detail
    FROM webhooks.deliveries d LEFT JOIN webhooks.attempts a ON a.delivery_id = d.id
    GROUP BY d.id, d.attempts, d.state
    HAVING count(a.number) <> d.attempts
        OR (count(*) FILTER (WHERE a.number IS NOT NULL) > 0
            AND (min(a.number) <> 1 OR max(a.number) <> d.attempts))
        OR (d.state = 'delivered'
            AND (array_agg(a.status ORDER BY a.number DESC))[1] NOT BETWEEN 200 AND 299)
"""
_FORGOTTEN: Final = """
    SELECT e.id::text AS row, format('a delivery is due at %s, it is looked at %s', min(d.due_at),
        COALESCE(e.next_due_at::text, 'never')) AS detail
    FROM webhooks.endpoints e JOIN webhooks.deliveries d ON d.endpoint_id = e.id
    WHERE e.status = 'enabled' AND d.state = 'pending' AND d.due_at IS NOT NULL
    GROUP BY e.id, e.next_due_at
    HAVING e.next_due_at IS NULL
"""

CHECKS: Final[tuple[Check, ...]] = (
    sql_check(
        "a delivery has its endpoint and its event",
        table="webhooks.deliveries",
        invariant="deliveries point at what exists",
        query=_ORPHANS,
    ),
    sql_check(
        "an event is told once",
        table="webhooks.deliveries",
        invariant="an event becomes at most one delivery to an endpoint",
        query=_TWICE,
    ),
    sql_check(
        "the first of a line is due",
        table="webhooks.deliveries",
        invariant="of what waits for one key of an endpoint exactly the first is due",
        query=_LINES,
    ),
    sql_check(
        "every attempt is in the log",
        table="webhooks.attempts",
        invariant="attempts are numbered without gaps, and the last of a delivered one succeeded",
        query=_LOG,
    ),
    sql_check(
        "no endpoint is forgotten",
        table="webhooks.endpoints",
        invariant="an enabled endpoint with a delivery that is due will be looked at",
        query=_FORGOTTEN,
    ),
)
"""All of it."""
