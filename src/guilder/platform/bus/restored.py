"""A database that was restored into another server: its events come from transactions to come.

Transaction ids belong to a server. In a new one they begin low again, so restored events would
never fall below the horizon, and new ones would stand before what groups have read. Such events
are written anew, in their order, and positions follow them. It has to happen before anything new
is written, so every process looks when it starts.
"""

from __future__ import annotations

from typing import Final

import structlog

from guilder.platform.db import Database, Tx

_IS_RESTORED: Final = """
    SELECT EXISTS (
        SELECT FROM generate_series(0, 7) AS p, platform.outbox o
        WHERE platform.partition_of(o.key) = p AND o.transaction > pg_current_xact_id()
    ) OR EXISTS (
        SELECT FROM platform.consumer_positions c WHERE c.transaction > pg_current_xact_id()
    )
"""
_LOCK: Final = """
    SET LOCAL statement_timeout = 0;
    LOCK TABLE platform.outbox, platform.consumer_positions IN EXCLUSIVE MODE
"""
_WRITE_ANEW: Final = """
    WITH gone AS (
        DELETE FROM platform.outbox RETURNING *
    ), anew AS (
        INSERT INTO platform.outbox
            (id, type, key, data, actor_id, request_id, trace_id, created_at)
        SELECT id, type, key, data, actor_id, request_id, trace_id, created_at
        FROM gone ORDER BY transaction, position
        RETURNING id, transaction, position
    ), moved AS (
        SELECT c.group_name, c.partition, max(anew.position) AS position,
            max(anew.transaction::text::bigint)::text::xid8 AS transaction
        FROM platform.consumer_positions c
        LEFT JOIN gone ON platform.partition_of(gone.key) = c.partition
            AND (gone.transaction, gone.position) <= (c.transaction, c.position)
        LEFT JOIN anew ON anew.id = gone.id
        GROUP BY c.group_name, c.partition
    )
    UPDATE platform.consumer_positions c
    SET transaction = COALESCE(moved.transaction, '0'::xid8),
        position = COALESCE(moved.position, 0)
    FROM moved WHERE moved.group_name = c.group_name AND moved.partition = c.partition
"""
_LONGEST_S: Final = 3600.0

_log = structlog.get_logger("guilder.bus")


async def settle_restored(db: Database) -> bool:
    """Make the events of a restored database events of this server; answer whether they were not.

    Nothing happens otherwise. Several processes may do this at once.
    """
    if not await db.fetchval(_IS_RESTORED):
        return False
    done = await db.run(_settle)
    if done:
        _log.warning("bus.restored_events_settled")
    return done


async def _settle(tx: Tx) -> bool:
    await tx.execute(_LOCK, timeout=_LONGEST_S)
    if not await tx.fetchval(_IS_RESTORED):
        return False
    await tx.execute(_WRITE_ANEW, timeout=_LONGEST_S)
    return True
