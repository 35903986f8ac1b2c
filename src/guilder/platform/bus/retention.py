"""Old events are deleted once every group has read them, in small slices.

``platform.outbox_retention`` says from when on events are complete, so that whoever compares the
outbox with what it speaks of knows where to begin.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Final

from guilder.platform.bus.positions import PARTITIONS
from guilder.platform.db import Database, Tx, rows_done

_SLICE: Final = 2_000
_MOST_SLICES: Final = 100
_KEEP: Final = """
    UPDATE platform.outbox_retention SET kept_since = clock_timestamp() - $1::interval
    WHERE kept_since < statement_timestamp() - $1::interval
"""
# Groups that hear by Kafka do not hold events here: the one that sends them there does.
_FORGET: Final = """
    DELETE FROM platform.outbox WHERE ctid = ANY (ARRAY(
        SELECT slice.ctid FROM (
            SELECT o.ctid, o.created_at FROM platform.outbox o, (
                SELECT transaction, position FROM platform.consumer_positions
                WHERE partition = $1 AND feed = 'outbox'
                ORDER BY transaction, position LIMIT 1
            ) least
            WHERE platform.partition_of(o.key) = $1
              AND (o.transaction, o.position) <= (least.transaction, least.position)
            ORDER BY o.transaction, o.position LIMIT $2
        ) slice
        WHERE slice.created_at < (SELECT kept_since FROM platform.outbox_retention)
    ))
"""
_LAST: Final = "SELECT COALESCE(max(position), 0) FROM platform.outbox"
_FORGET_SINCE: Final = """
    WITH gone AS (DELETE FROM platform.outbox WHERE position > $1)
    UPDATE platform.outbox_retention SET kept_since = clock_timestamp()
"""
_FORGET_HEARD: Final = """
    DELETE FROM platform.heard_events WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM platform.heard_events
        WHERE heard_at < statement_timestamp() - 2 * $1::interval ORDER BY heard_at LIMIT $2
    ))
"""


async def last_position(db: Database) -> int:
    """The position of the newest event; 0 where there is none."""
    position: int = await db.fetchval(_LAST)
    return position


async def forget_since(db: Database, position: int) -> None:
    """Delete every event behind ``position``, heard or not: for a ledger filled to be measured."""
    await db.fetch(_FORGET_SINCE, position)


async def forget_old_events(db: Database, *, keep: timedelta) -> int:
    """Delete what is older than ``keep`` and read by all; answer how many events that were."""
    done = 0
    for partition in range(PARTITIONS):
        for _ in range(_MOST_SLICES):
            count = await db.run(partial(_forget, partition=partition, keep=keep))
            done += count
            if count < _SLICE:
                break
    for _ in range(_MOST_SLICES):
        if await db.run(partial(_forget_heard, keep=keep)) < _SLICE:
            break
    return done


async def _forget(tx: Tx, *, partition: int, keep: timedelta) -> int:
    await tx.execute(_KEEP, keep)
    return rows_done(await tx.execute(_FORGET, partition, _SLICE))


async def _forget_heard(tx: Tx, *, keep: timedelta) -> int:
    return rows_done(await tx.execute(_FORGET_HEARD, keep, _SLICE))
