"""A database that was restored into another server: its events come from transactions to come.

Transaction ids belong to a server. In a new one they begin low again, so restored events would
never fall below the horizon, and new ones would stand before what groups have read. Such events
are written anew, in their order, and positions follow them. Each new connection of the application
looks before anything is done with it, and a database is never restored under one that is open. What
was written all the same before anybody looked comes last and is unheard.
"""

from __future__ import annotations

from typing import Final

import structlog

from guilder.platform.db import First, Tx

_IS_MIGRATED: Final = "SELECT to_regclass('platform.consumer_positions') IS NOT NULL"
# Nothing that is stored here can come from behind this snapshot, and asking takes no transaction.
_IS_RESTORED: Final = """
    SELECT EXISTS (
        SELECT FROM generate_series(0, 7) AS p, platform.outbox o
        WHERE platform.partition_of(o.key) = p
          AND o.transaction > pg_snapshot_xmax(pg_current_snapshot())
    ) OR EXISTS (
        SELECT FROM platform.consumer_positions c
        WHERE c.transaction > pg_snapshot_xmax(pg_current_snapshot())
    )
"""
# All events are read whole and joined with themselves, which sessions of ours do not do else.
_LOCK: Final = """
    SET LOCAL statement_timeout = 0;
    SET LOCAL lock_timeout = 0;
    SET LOCAL enable_seqscan = on;
    SET LOCAL enable_hashjoin = on;
    LOCK TABLE platform.outbox, platform.consumer_positions IN EXCLUSIVE MODE
"""
# A dump brings along where numbering goes on, so whatever this server wrote has a higher position
# than all that came with it, though its transaction is lower.
_WRITE_ANEW: Final = """
    WITH brought AS (
        SELECT COALESCE(max(position), 0) AS last_position FROM (
            SELECT position, transaction FROM platform.outbox
            UNION ALL
            SELECT position, transaction FROM platform.consumer_positions
        ) known
        WHERE transaction > pg_snapshot_xmax(pg_current_snapshot())
    ), gone AS (
        DELETE FROM platform.outbox RETURNING *
    ), placed AS (
        SELECT gone.*, gone.position > brought.last_position AS is_ours FROM gone, brought
    ), anew AS (
        INSERT INTO platform.outbox
            (id, type, key, data, actor_id, request_id, trace_id, created_at)
        SELECT id, type, key, data, actor_id, request_id, trace_id, created_at
        FROM placed ORDER BY is_ours, transaction, position
        RETURNING id, transaction, position
    ), moved AS (
        SELECT c.group_name, c.partition, max(anew.position) AS position,
            max(anew.transaction::text::bigint)::text::xid8 AS transaction
        FROM platform.consumer_positions c
        LEFT JOIN placed ON platform.partition_of(placed.key) = c.partition AND NOT placed.is_ours
            AND (placed.transaction, placed.position) <= (c.transaction, c.position)
        LEFT JOIN anew ON anew.id = placed.id
        GROUP BY c.group_name, c.partition
    )
    UPDATE platform.consumer_positions c
    SET transaction = COALESCE(moved.transaction, '0'::xid8),
        position = COALESCE(moved.position, 0)
    FROM moved WHERE moved.group_name = c.group_name AND moved.partition = c.partition
"""
_LONGEST_S: Final = 3600.0

_log = structlog.get_logger("guilder.bus")


async def is_restored(tx: Tx) -> bool:
    """Whether events come from transactions to come: two looks into indexes."""
    return bool(await tx.fetchval(_IS_MIGRATED) and await tx.fetchval(_IS_RESTORED))


async def settle_restored(tx: Tx) -> bool:
    """Make the events of a restored database events of this server; answer whether they were not.

    Nothing happens otherwise. Several processes may do this at once.
    """
    if not await is_restored(tx):
        return False
    await tx.execute(_LOCK, timeout=_LONGEST_S)
    if not await tx.fetchval(_IS_RESTORED):
        return False
    await tx.execute(_WRITE_ANEW, timeout=_LONGEST_S)
    _log.warning("bus.restored_events_settled")
    return True


SETTLED: Final = First(is_due=is_restored, work=settle_restored)
"""How a pool of the application begins."""
