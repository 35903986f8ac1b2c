"""What ``guilder verify`` finds out about positions and parked events."""

from __future__ import annotations

from typing import Final

from guilder.platform.checks import Check, sql_check

_AHEAD: Final = """
    SELECT format('%s/%s', group_name, partition),
        format('it has read up to transaction %s, which has not begun', transaction)
    FROM platform.consumer_positions
    WHERE transaction > pg_snapshot_xmax(pg_current_snapshot())
"""
_PARTITIONS: Final = """
    SELECT group_name, format('it has %s of 8 partitions', count(*))
    FROM platform.consumer_positions GROUP BY group_name HAVING count(*) <> 8
"""
_TO_COME: Final = """
    SELECT o.id::text, format('it was written by transaction %s, which has not begun',
        o.transaction)
    FROM generate_series(0, 7) AS p, platform.outbox o
    WHERE platform.partition_of(o.key) = p
      AND o.transaction > pg_snapshot_xmax(pg_current_snapshot())
"""
_FIRST: Final = """
    SELECT format('%s/%s', group_name, id),
        CASE WHEN is_first THEN 'it waits behind nothing' ELSE 'it passes one before it' END
    FROM (
        SELECT group_name, id, state,
            row_number() OVER (PARTITION BY group_name, key ORDER BY place) = 1 AS is_first
        FROM platform.parked_events
    ) parked
    WHERE is_first = (state = 'behind')
"""

CHECKS: Final[tuple[Check, ...]] = (
    sql_check(
        "positions behind the horizon",
        table="platform.consumer_positions",
        invariant="no group has read what no transaction can have written yet",
        query=_AHEAD,
    ),
    sql_check(
        "partitions of groups",
        table="platform.consumer_positions",
        invariant="a group has a position in every partition",
        query=_PARTITIONS,
    ),
    sql_check(
        "events of this server",
        table="platform.outbox",
        invariant="an event was written by a transaction of this server",
        query=_TO_COME,
    ),
    sql_check(
        "parked in order",
        table="platform.parked_events",
        invariant="the first parked event of a key is tried, all others wait behind it",
        query=_FIRST,
    ),
)
