"""Feeds as rows: numbered under the lock of their owner's inbox, so no number is ever skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from guilder.kernel.ids import EventId, UserId
from guilder.notifications.api import NoticeId
from guilder.notifications.domain.records import FeedItem
from guilder.platform.checks import Check, sql_check
from guilder.platform.db import Row, Tx, notify_after_commit

CHANNEL: Final = "guilder_notifications"
"""Notified whenever feeds have grown."""

_NUMBER: Final = """
    INSERT INTO notifications.inboxes AS i (user_id, last_sequence)
    SELECT user_id, more FROM unnest($1::uuid[], $2::bigint[]) AS n(user_id, more)
    ORDER BY user_id
    ON CONFLICT (user_id) DO UPDATE SET last_sequence = i.last_sequence + excluded.last_sequence
    RETURNING user_id, last_sequence
"""
_ADD: Final = (
    "user_id",
    "sequence",
    "id",
    "template",
    "category",
    "data",
    "event_id",
    "created_at",
)
_COLUMNS: Final = """
    user_id, sequence, id, template, category, data, created_at, read_at
"""
_PAGE: Final = f"""
    SELECT {_COLUMNS} FROM notifications.feed
    WHERE user_id = $1 AND sequence < $2 ORDER BY sequence DESC LIMIT $3
"""
_UNREAD: Final = """
    SELECT count(*) FROM notifications.feed WHERE user_id = $1 AND read_at IS NULL
"""
_READ: Final = f"""
    UPDATE notifications.feed SET read_at = COALESCE(read_at, clock_timestamp())
    WHERE id = $1 AND user_id = $2 RETURNING {_COLUMNS}
"""
_IS_THERE: Final = "SELECT EXISTS (SELECT FROM notifications.feed WHERE id = $1)"
_READ_ALL: Final = """
    UPDATE notifications.feed SET read_at = clock_timestamp()
    WHERE user_id = $1 AND read_at IS NULL
"""
_LAST: Final = "SELECT last_sequence FROM notifications.inboxes WHERE user_id = $1"
_SINCE: Final = f"""
    SELECT s.place, f.* FROM unnest($1::uuid[], $2::bigint[], $3::bigint[])
        WITH ORDINALITY AS s(user_id, after, room, place)
    CROSS JOIN LATERAL (
        SELECT {_COLUMNS} FROM notifications.feed
        WHERE user_id = s.user_id AND sequence > s.after
        ORDER BY sequence LIMIT s.room
    ) AS f
    ORDER BY s.place, f.sequence
"""
_GAPS: Final = """
    SELECT COALESCE(i.user_id, f.user_id)::text AS row,
        format('its inbox says %s, the feed has %s up to %s', i.last_sequence, f.rows, f.last)
            AS detail
    FROM notifications.inboxes i
    FULL JOIN (
        SELECT user_id, count(*) AS rows, max(sequence) AS last FROM notifications.feed
        GROUP BY user_id
    ) AS f ON f.user_id = i.user_id
    WHERE i.last_sequence IS DISTINCT FROM f.last OR f.rows IS DISTINCT FROM f.last
"""

CHECKS: Final[tuple[Check, ...]] = (
    sql_check(
        "feed sequences",
        table="notifications.feed",
        invariant="a person's feed is numbered from 1 without gaps, as its inbox says",
        query=_GAPS,
    ),
)


class NewItem(Struct, frozen=True, kw_only=True):
    """A notice about to be put into a feed."""

    user_id: UserId
    id: NoticeId
    template: str
    category: str
    data: Mapping[str, str]
    event_id: EventId | None
    created_at: datetime


async def add(tx: Tx, items: Sequence[NewItem]) -> None:
    """Put notices into their feeds, in the order given, and wake whoever streams them."""
    counts = Counter(item.user_id for item in items)
    user_ids = sorted(counts)
    rows = await tx.fetch(_NUMBER, user_ids, [counts[user_id] for user_id in user_ids])
    following = {row["user_id"]: row["last_sequence"] - counts[row["user_id"]] for row in rows}
    records = []
    for item in items:
        sequence = following[item.user_id] = following[item.user_id] + 1
        data = msgspec.json.encode(item.data).decode()
        records.append(
            (
                item.user_id,
                sequence,
                item.id,
                item.template,
                item.category,
                data,
                item.event_id,
                item.created_at,
            )
        )
    await tx.copy_records_to_table(
        "feed", schema_name="notifications", columns=_ADD, records=records
    )
    notify_after_commit(CHANNEL)


async def page(tx: Tx, user_id: UserId, *, before: int, limit: int) -> list[FeedItem]:
    """A person's notices before a number, newest first."""
    return [_item(row) for row in await tx.fetch(_PAGE, user_id, before, limit)]


async def count_unread(tx: Tx, user_id: UserId) -> int:
    """How many notices a person has not read."""
    count: int = await tx.fetchval(_UNREAD, user_id)
    return count


async def read(tx: Tx, user_id: UserId, *, notice_id: UUID) -> FeedItem | None:
    """Mark one of a person's notices as read; the first time counts."""
    row = await tx.fetchrow(_READ, notice_id, user_id)
    return None if row is None else _item(row)


async def is_there(tx: Tx, notice_id: UUID) -> bool:
    """Whether anybody has this notice."""
    found: bool = await tx.fetchval(_IS_THERE, notice_id)
    return found


async def read_all(tx: Tx, user_id: UserId) -> None:
    """Mark everything in a person's feed as read."""
    await tx.execute(_READ_ALL, user_id)


async def last_sequence(tx: Tx, user_id: UserId) -> int:
    """The number of a person's newest notice; 0 before the first."""
    return await tx.fetchval(_LAST, user_id) or 0


async def since(
    tx: Tx, cursors: Sequence[tuple[UserId, int]], *, rooms: Sequence[int]
) -> list[tuple[int, FeedItem]]:
    """What came after each cursor, oldest first, at most as much as there is room for.

    The number before an item is its cursor's place in ``cursors``.
    """
    user_ids = [user_id for user_id, _ in cursors]
    rows = await tx.fetch(_SINCE, user_ids, [after for _, after in cursors], list(rooms))
    return [(row["place"] - 1, _item(row)) for row in rows]


def _item(row: Row) -> FeedItem:
    return FeedItem(
        user_id=UserId(row["user_id"]),
        sequence=row["sequence"],
        id=NoticeId(row["id"]),
        template=row["template"],
        category=row["category"],
        data=msgspec.json.decode(row["data"]),
        created_at=row["created_at"],
        read_at=row["read_at"],
    )
