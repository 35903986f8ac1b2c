"""How far each group has read the outbox: a position in each partition of the keys, as SQL.

Events are read in the order of (transaction, position) and only below the oldest transaction that
still runs, so that one which commits late is never skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from guilder.kernel.ids import EventId
from guilder.platform.bus.subscription import Event, Start, Subscription
from guilder.platform.db import Database, Row, Tx
from guilder.platform.origin import Origin

PARTITIONS: Final = 8
HERE: Final = "outbox"
KAFKA: Final = "kafka"
_NOBODY: Final = ""
"""A group that there is none of, which has parked and heard nothing."""

_JOIN: Final = """
    INSERT INTO platform.consumer_positions AS c (group_name, partition, transaction, feed)
    SELECT $1, partition,
        CASE WHEN $2 THEN pg_snapshot_xmin(pg_current_snapshot()) ELSE '0'::xid8 END, $3
    FROM generate_series(0, 7) AS partition
    ON CONFLICT (group_name, partition) DO UPDATE SET feed = excluded.feed
    WHERE c.feed <> excluded.feed
"""
# The first event after each position: is there one, and has every transaction before it ended?
_LOOK: Final = """
    SELECT c.group_name,
        bool_or(first.transaction < pg_snapshot_xmin(pg_current_snapshot())) AS is_ready
    FROM platform.consumer_positions c
    CROSS JOIN LATERAL (
        SELECT o.transaction FROM platform.outbox o
        WHERE platform.partition_of(o.key) = c.partition
          AND (o.transaction, o.position) > (c.transaction, c.position)
        ORDER BY o.transaction, o.position LIMIT 1
    ) first
    WHERE c.group_name = ANY($1::text[]) AND c.feed = 'outbox'
    GROUP BY c.group_name
    UNION ALL
    SELECT DISTINCT group_name, true FROM platform.parked_events
    WHERE group_name = ANY($1::text[]) AND state = 'waiting'
      AND next_attempt_at <= statement_timestamp()
"""
_TAKE: Final = """
    SELECT c.partition, c.transaction::text AS transaction, c.position
    FROM platform.consumer_positions c
    WHERE c.group_name = $1 AND (
        EXISTS (
            SELECT FROM platform.outbox o
            WHERE platform.partition_of(o.key) = c.partition
              AND (o.transaction, o.position) > (c.transaction, c.position)
              AND o.transaction < pg_snapshot_xmin(pg_current_snapshot())
        ) OR EXISTS (
            SELECT FROM platform.parked_events p
            WHERE p.group_name = c.group_name AND p.state = 'waiting'
              AND p.next_attempt_at <= statement_timestamp()
              AND platform.partition_of(p.key) = c.partition
        ))
    ORDER BY c.moved_at, c.partition LIMIT $2 FOR UPDATE OF c SKIP LOCKED
"""
_HOLD: Final = """
    SELECT partition FROM platform.consumer_positions
    WHERE group_name = $1 AND partition = ANY($2::int[]) ORDER BY partition FOR UPDATE
"""
# Events of other types are passed over, and the last of each partition says how far that went.
_READ: Final = """
    SELECT taken.partition, next.transaction::text AS transaction, next.position,
        next.is_last, next.seen,
        next.is_wanted AND NOT (
            (SELECT EXISTS (SELECT FROM platform.heard_events WHERE group_name = $6))
            AND EXISTS (
                SELECT FROM platform.heard_events h
                WHERE h.group_name = $6 AND h.event_id = next.id
            )
        ) AS is_wanted,
        (SELECT EXISTS (SELECT FROM platform.parked_events WHERE group_name = $6)) AS has_parked,
        next.id, next.type, next.key, next.created_at, next.actor_id, next.request_id,
        next.trace_id, CASE WHEN next.is_wanted THEN next.data END AS data
    FROM unnest($1::int[], $2::text[], $3::bigint[]) AS taken (partition, transaction, position)
    CROSS JOIN LATERAL (
        SELECT slice.*, $5::text[] IS NULL OR slice.type = ANY($5::text[]) AS is_wanted,
            lead(slice.position) OVER in_order IS NULL AS is_last, count(*) OVER () AS seen
        FROM (
            SELECT * FROM platform.outbox o
            WHERE platform.partition_of(o.key) = taken.partition
              AND (o.transaction, o.position) > (taken.transaction::xid8, taken.position)
              AND o.transaction < pg_snapshot_xmin(pg_current_snapshot())
            ORDER BY o.transaction, o.position LIMIT $4
        ) slice
        WINDOW in_order AS (ORDER BY slice.transaction, slice.position)
    ) next
    WHERE next.is_wanted OR next.is_last
    ORDER BY next.transaction, next.position
"""
_FURTHEST_BACK: Final = """
    SELECT DISTINCT ON (c.partition) c.partition, c.transaction::text AS transaction, c.position
    FROM platform.consumer_positions c
    WHERE c.group_name = ANY($1::text[]) AND c.feed = 'outbox'
    ORDER BY c.partition, c.transaction, c.position
"""
# Not behind any group that hears from the outbox, so that what those have not heard comes by Kafka.
_JOIN_LAST: Final = """
    INSERT INTO platform.consumer_positions (group_name, partition, transaction, position)
    SELECT $1, partition, COALESCE(least.transaction, '0'::xid8), COALESCE(least.position, 0)
    FROM generate_series(0, 7) AS partition
    LEFT JOIN LATERAL (
        SELECT c.transaction, c.position FROM platform.consumer_positions c
        WHERE c.partition = partition.partition AND c.group_name <> $1
        ORDER BY c.transaction, c.position LIMIT 1
    ) least ON true
    ON CONFLICT DO NOTHING
"""
_STAND: Final = """
    SELECT partition, transaction::text AS transaction, position
    FROM platform.consumer_positions WHERE group_name = $1 ORDER BY partition
"""
_TAKE_DUE: Final = """
    SELECT c.partition FROM platform.consumer_positions c
    WHERE c.group_name = $1 AND EXISTS (
        SELECT FROM platform.parked_events p
        WHERE p.group_name = c.group_name AND p.state = 'waiting'
          AND p.next_attempt_at <= statement_timestamp()
          AND platform.partition_of(p.key) = c.partition
    )
    ORDER BY c.partition FOR UPDATE OF c SKIP LOCKED
"""
_HOLD_KEYS: Final = """
    SELECT FROM platform.consumer_positions
    WHERE group_name = $1 AND partition IN (
        SELECT platform.partition_of(key) FROM unnest($2::text[]) AS key
    )
    ORDER BY partition FOR UPDATE
"""
_RECORD_HEARD: Final = """
    INSERT INTO platform.heard_events (group_name, event_id)
    SELECT $1, given.id
    FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[])
        AS given (id, key, transaction, position)
    JOIN platform.consumer_positions c
        ON c.group_name = $1 AND c.partition = platform.partition_of(given.key)
    WHERE (given.transaction::xid8, given.position) > (c.transaction, c.position)
    ORDER BY given.id
    ON CONFLICT DO NOTHING RETURNING event_id
"""
_MOVE: Final = """
    UPDATE platform.consumer_positions c
    SET transaction = n.transaction::xid8, position = n.position, moved_at = clock_timestamp()
    FROM unnest($2::int[], $3::text[], $4::bigint[]) AS n (partition, transaction, position)
    WHERE c.group_name = $1 AND c.partition = n.partition
"""
_MOVE_SINCE: Final = """
    UPDATE platform.consumer_positions c
    SET transaction = n.transaction::xid8, position = n.position, moved_at = clock_timestamp()
    FROM unnest($2::int[], $3::text[], $4::bigint[]) AS n (partition, transaction, position)
    WHERE c.group_name = $1 AND c.partition = n.partition
      AND (c.partition, c.transaction, c.position) IN (
        SELECT partition, transaction::xid8, position
        FROM unnest($5::int[], $6::text[], $7::bigint[]) AS s (partition, transaction, position)
    )
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Partitions of one group that this transaction alone may move, and where they stand."""

    partitions: Sequence[int]
    transactions: Sequence[str]
    positions: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What was read: the events a group wants, how many were looked at, where that has come to."""

    events: Sequence[Event]
    places: Sequence[tuple[str, int]]
    """The transaction and position of each."""
    reached: Taken
    is_full: bool
    has_parked: bool
    """Whether the group has parked events, of whatever key."""


async def join(tx: Tx, *, subscription: Subscription, feed: str = HERE) -> None:
    """Give a group its positions, unless it has them, and say where it is fed from."""
    await tx.execute(_JOIN, subscription.group, subscription.starts is Start.NOW, feed)


async def look(db: Database, groups: Sequence[str]) -> dict[str, bool]:
    """The groups for which something is to be heard: now (true), or once a transaction ends."""
    found: dict[str, bool] = {}
    for row in await db.fetch(_LOOK, groups):
        found[row[0]] = found.get(row[0], False) or row[1]
    return found


async def take(tx: Tx, group: str, *, at_most: int = PARTITIONS) -> Taken | None:
    """Lock partitions with something to hear that nobody else has, the longest unmoved first."""
    rows = await tx.fetch(_TAKE, group, at_most)
    return _taken(rows) if rows else None


async def hold(tx: Tx, group: str, *, partitions: Sequence[int]) -> None:
    """Wait until no other worker has these partitions, and lock them."""
    await tx.fetch(_HOLD, group, sorted(set(partitions)))


def most_of_a_partition(subscription: Subscription, taken: Taken) -> int:
    """How many events of a partition a group looks at next: more where it wants few of them."""
    limit = max(1, subscription.most // len(taken.partitions))
    return limit if subscription.types is None else limit * 8


async def read(
    tx: Tx, subscription: Subscription, taken: Taken, *, most_of_each: int | None = None
) -> Read:
    """The next events of the partitions that were taken, in order, the oldest first.

    ``most_of_each`` is how many events of a partition are looked at; None: as the group hears them.
    """
    types = subscription.types
    limit = most_of_each or most_of_a_partition(subscription, taken)
    rows = await tx.fetch(
        _READ,
        taken.partitions,
        taken.transactions,
        taken.positions,
        limit,
        None if types is None else list(types),
        subscription.group,
    )
    lasts = [row for row in rows if row["is_last"]]
    wanted = [row for row in rows if row["is_wanted"]]
    return Read(
        events=[event(row) for row in wanted],
        places=[(row["transaction"], row["position"]) for row in wanted],
        reached=_taken(lasts),
        is_full=any(row["seen"] == limit for row in lasts),
        has_parked=any(row["has_parked"] for row in lasts),
    )


async def furthest_back(db: Database, groups: Sequence[str]) -> dict[int, tuple[int, int]]:
    """By partition, the place of that of the groups which has heard least of it."""
    rows = await db.fetch(_FURTHEST_BACK, groups)
    return {row["partition"]: (int(row["transaction"]), row["position"]) for row in rows}


async def read_all(
    db: Database, since: Taken, *, limit: int
) -> dict[int, list[tuple[tuple[int, int], Event]]]:
    """By partition, up to ``limit`` events of all types behind these places, and where each is."""
    found: dict[int, list[tuple[tuple[int, int], Event]]] = {}
    rows = await db.fetch(
        _READ, since.partitions, since.transactions, since.positions, limit, None, _NOBODY
    )
    for row in rows:
        place = int(row["transaction"]), row["position"]
        found.setdefault(row["partition"], []).append((place, event(row)))
    return found


async def move(tx: Tx, group: str, reached: Taken, *, since: Taken | None = None) -> None:
    """Record how far a group has come; partitions that are no longer where ``since`` says stay."""
    moved = (reached.partitions, reached.transactions, reached.positions)
    if since is None:
        await tx.execute(_MOVE, group, *moved)
    else:
        await tx.execute(
            _MOVE_SINCE, group, *moved, since.partitions, since.transactions, since.positions
        )


async def join_last(tx: Tx, group: str) -> None:
    """Give a group its positions, unless it has them: those of the group that is furthest back."""
    await tx.execute(_JOIN_LAST, group)


async def stand(tx: Tx, group: str, *, beyond: Taken | None = None) -> Taken:
    """Where a group stands, without a lock; ``beyond`` is where it will in some partitions."""
    stands = _taken(await tx.fetch(_STAND, group))
    if beyond is None:
        return stands
    places = {**_by_partition(stands), **_by_partition(beyond)}
    return Taken(
        partitions=list(places),
        transactions=[transaction for transaction, _ in places.values()],
        positions=[position for _, position in places.values()],
    )


async def take_due(tx: Tx, group: str) -> list[int]:
    """Lock partitions in which a parked event is to be tried, and that nobody else has."""
    return [row[0] for row in await tx.fetch(_TAKE_DUE, group)]


async def record_heard(tx: Tx, group: str, given: Sequence[tuple[Event, str, int]]) -> set[EventId]:
    """Record that a group hears these now, and answer those that it has not heard before.

    Each comes with its transaction and position in the outbox. The partitions of their keys are
    held until this transaction ends.
    """
    await tx.fetch(_HOLD_KEYS, group, [event.key for event, _, _ in given])
    rows = await tx.fetch(
        _RECORD_HEARD,
        group,
        [event.id for event, _, _ in given],
        [event.key for event, _, _ in given],
        [transaction for _, transaction, _ in given],
        [position for _, _, position in given],
    )
    return {EventId(row[0]) for row in rows}


def event(row: Row) -> Event:
    """An event from its row, of the outbox or parked."""
    return Event(
        id=row["id"],
        type=row["type"],
        key=row["key"],
        time=row["created_at"],
        data=msgspec.json.decode(row["data"]),
        origin=Origin(row["actor_id"], row["request_id"], row["trace_id"]),
    )


def _by_partition(taken: Taken) -> dict[int, tuple[str, int]]:
    places = zip(taken.transactions, taken.positions, strict=True)
    return dict(zip(taken.partitions, places, strict=True))


def _taken(rows: Sequence[Row]) -> Taken:
    return Taken(
        partitions=[row["partition"] for row in rows],
        transactions=[row["transaction"] for row in rows],
        positions=[row["position"] for row in rows],
    )
