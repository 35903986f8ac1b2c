"""Messages on their way: claimed by moving when they are due, ended by whoever still has the claim.

A claim is a lease. Whoever dies leaves a row that is due again; whoever was only slow finds that
its attempt is not the last one any more, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from guilder.kernel.ids import EventId, UserId
from guilder.notifications.api import Category, Channel, DeliveryId, DeviceId
from guilder.notifications.domain.records import Delivery, Ended
from guilder.platform.db import Row, Tx, rows_done
from guilder.platform.origin import Origin

_ADD: Final = """
    INSERT INTO notifications.deliveries
        (id, user_id, channel, device_id, template, category, data, event_id, status, due_at,
         reason, ended_at, actor_id, request_id, trace_id)
    SELECT id, user_id, channel, device_id, template, category, data, event_id, status, due_at,
        reason, CASE WHEN status <> 'queued' THEN clock_timestamp() END, $12, $13, $14
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[],
        $7::jsonb[], $8::uuid[], $9::text[], $10::timestamptz[], $11::text[])
        AS d(id, user_id, channel, device_id, template, category, data, event_id, status, due_at,
            reason)
    ON CONFLICT (id) DO NOTHING
"""
_PUT: Final = (
    "id",
    "user_id",
    "channel",
    "device_id",
    "template",
    "category",
    "data",
    "event_id",
    "status",
    "due_at",
)
_COLUMNS: Final = """
    d.id, d.user_id, d.channel, d.device_id, d.template, d.category, d.data, d.status, d.attempts,
    d.due_at, d.reason, d.created_at, d.ended_at
"""
# Two looks, each along an index of its own: how much else waits does not matter to security.
_CLAIM: Final = f"""
    WITH urgent AS (
        SELECT id FROM notifications.deliveries
        WHERE status = 'queued' AND category = 'security'
          AND channel = $3 AND due_at <= statement_timestamp()
        ORDER BY due_at, id LIMIT $1 FOR UPDATE SKIP LOCKED
    ), others AS (
        SELECT id FROM notifications.deliveries
        WHERE status = 'queued' AND category <> 'security'
          AND channel = $3 AND due_at <= statement_timestamp()
        ORDER BY due_at, id LIMIT $1 - (SELECT count(*) FROM urgent) FOR UPDATE SKIP LOCKED
    ), due AS (
        SELECT id FROM urgent UNION ALL SELECT id FROM others
    )
    UPDATE notifications.deliveries d
    SET attempts = d.attempts + 1, due_at = clock_timestamp() + $2::interval
    FROM due WHERE d.id = due.id
    RETURNING {_COLUMNS}
"""
# The time of the statement, as an index is not searched up to a time that goes on meanwhile.
_HOLD: Final = """
    SELECT d.id, d.user_id, d.channel, d.device_id, d.template, d.category, d.data, d.status,
        d.attempts + 1 AS attempts, d.due_at, d.reason, d.created_at, d.ended_at
    FROM notifications.deliveries d
    WHERE status = 'queued' AND due_at <= statement_timestamp() AND channel = ANY($2::text[])
    ORDER BY due_at, id LIMIT $1 FOR UPDATE SKIP LOCKED
"""
# What is queued has no end. Asked for by its status, rows would be looked for in the index of what
# is due, which a long queue makes long.
_END: Final = """
    UPDATE notifications.deliveries d
    SET status = e.status, attempts = e.attempts, ended_at = clock_timestamp(),
        reason = e.reason, provider_reference = e.reference
    FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::text[])
        AS e(id, attempts, status, reason, reference)
    WHERE d.id = e.id AND d.attempts = e.attempts - $6::integer AND d.ended_at IS NULL
    RETURNING d.id, d.ended_at, d.actor_id, d.request_id, d.trace_id
"""
_POSTPONE: Final = """
    UPDATE notifications.deliveries SET due_at = clock_timestamp() + $3::interval, reason = $4
    WHERE id = $1 AND attempts = $2 AND ended_at IS NULL
"""
_DEFER: Final = """
    UPDATE notifications.deliveries SET due_at = $3, attempts = attempts - 1
    WHERE id = $1 AND attempts = $2 AND ended_at IS NULL
"""
_ONE: Final = f"SELECT {_COLUMNS} FROM notifications.deliveries d WHERE d.id = $1"
_SEVERAL: Final = f"""
    SELECT {_COLUMNS} FROM notifications.deliveries d WHERE d.id = ANY($1::uuid[]) ORDER BY d.id
"""
_NOW: Final = "SELECT clock_timestamp()"
_CLEAR: Final = """
    DELETE FROM notifications.deliveries WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM notifications.deliveries
        WHERE created_at < statement_timestamp() - $1::interval AND ended_at IS NOT NULL
        ORDER BY created_at LIMIT $2
    )) AND ended_at IS NOT NULL
"""
_WAITING: Final = """
    SELECT (
        SELECT count(*) FROM (
            SELECT FROM notifications.deliveries WHERE status = 'queued' LIMIT 10000
        ) queued
    ) AS queued, (
        SELECT extract(epoch FROM clock_timestamp() - min(due_at))::float8
        FROM notifications.deliveries WHERE status = 'queued'
    ) AS overdue_s
"""


class NewDelivery(Struct, frozen=True, kw_only=True):
    """A message to be sent, or, with a reason, the record of one that is not."""

    id: DeliveryId
    user_id: UserId
    channel: Channel
    device_id: DeviceId | None
    template: str
    category: str
    data: Mapping[str, str]
    event_id: EventId | None
    due_at: datetime
    suppressed: str | None = None
    """Why it is not sent; None: it is."""


async def database_time(tx: Tx) -> datetime:
    """The server's time at this moment."""
    moment: datetime = await tx.fetchval(_NOW)
    return moment


async def add(tx: Tx, deliveries: Sequence[NewDelivery], *, origin: Origin) -> None:
    """Write messages that somebody asks for; one whose id is there already stays as it is."""
    await tx.execute(
        _ADD,
        [new.id for new in deliveries],
        [new.user_id for new in deliveries],
        [new.channel.value for new in deliveries],
        [new.device_id for new in deliveries],
        [new.template for new in deliveries],
        [new.category for new in deliveries],
        [msgspec.json.encode(new.data).decode() for new in deliveries],
        [new.event_id for new in deliveries],
        ["queued" if new.suppressed is None else "suppressed" for new in deliveries],
        [new.due_at for new in deliveries],
        [new.suppressed for new in deliveries],
        origin.actor_id,
        origin.request_id,
        origin.trace_id,
    )


async def put(tx: Tx, deliveries: Sequence[NewDelivery]) -> None:
    """Write messages to be sent, whose ids are new."""
    await tx.copy_records_to_table(
        "deliveries",
        schema_name="notifications",
        columns=_PUT,
        records=[
            (
                new.id,
                new.user_id,
                new.channel,
                new.device_id,
                new.template,
                new.category,
                msgspec.json.encode(new.data).decode(),
                new.event_id,
                "queued",
                new.due_at,
            )
            for new in deliveries
        ],
    )


async def claim(tx: Tx, channel: Channel, *, limit: int, lease_s: float) -> list[Delivery]:
    """Take messages of a channel that are due, security first, and in that order.

    Unless they end, they are due again when the lease is over.
    """
    rows = await tx.fetch(_CLAIM, limit, timedelta(seconds=lease_s), channel.value)
    # an UPDATE answers in whatever order it came upon them
    claimed = sorted((_delivery(row) for row in rows), key=lambda one: one.id)
    return sorted(claimed, key=lambda one: Category(one.category) is not Category.SECURITY)


async def hold(tx: Tx, *, limit: int, channels: Collection[Channel]) -> list[Delivery]:
    """Take messages of these channels that are due, for as long as this transaction lasts."""
    rows = await tx.fetch(_HOLD, limit, [channel.value for channel in channels])
    return [_delivery(row) for row in rows]


async def end(
    tx: Tx, ended: Sequence[Ended], *, held: bool
) -> dict[DeliveryId, tuple[datetime, Origin]]:
    """End these messages; when that was and who had asked for them, without those that somebody
    else has claimed or ended.

    They were claimed before, or are ``held`` by this transaction.
    """
    rows = await tx.fetch(
        _END,
        [one.delivery.id for one in ended],
        [one.delivery.attempts for one in ended],
        [one.status for one in ended],
        [one.reason for one in ended],
        [one.reference for one in ended],
        1 if held else 0,
    )
    return {
        DeliveryId(row["id"]): (
            row["ended_at"],
            Origin(row["actor_id"], row["request_id"], row["trace_id"]),
        )
        for row in rows
    }


async def postpone(tx: Tx, claimed: Delivery, *, pause: timedelta, reason: str) -> None:
    """Let a message be tried again after a pause."""
    await tx.execute(_POSTPONE, claimed.id, claimed.attempts, pause, reason)


async def defer(tx: Tx, claimed: Delivery, *, until: datetime) -> None:
    """Let a message wait until a time, as if it had not been claimed."""
    await tx.execute(_DEFER, claimed.id, claimed.attempts, until)


async def clear(tx: Tx, *, older_than: timedelta, most: int) -> int:
    """Delete old messages that have ended; how many there were."""
    return rows_done(await tx.execute(_CLEAR, older_than, most))


async def waiting(tx: Tx) -> tuple[int, float]:
    """How many messages wait, and for how many seconds the first of them has been due."""
    row = await tx.fetchrow(_WAITING)
    if row is None:
        raise AssertionError  # pragma: no cover - it has no FROM
    return row["queued"], max(0.0, row["overdue_s"] or 0.0)


async def one(tx: Tx, delivery_id: UUID) -> Delivery | None:
    """The message with this id."""
    row = await tx.fetchrow(_ONE, delivery_id)
    return None if row is None else _delivery(row)


async def several(tx: Tx, delivery_ids: Sequence[UUID]) -> list[Delivery]:
    """The messages with these ids."""
    return [_delivery(row) for row in await tx.fetch(_SEVERAL, list(delivery_ids))]


def _delivery(row: Row) -> Delivery:
    return Delivery(
        id=DeliveryId(row["id"]),
        user_id=UserId(row["user_id"]),
        channel=Channel(row["channel"]),
        device_id=None if row["device_id"] is None else DeviceId(row["device_id"]),
        template=row["template"],
        category=row["category"],
        data=msgspec.json.decode(row["data"]),
        status=row["status"],
        attempts=row["attempts"],
        due_at=row["due_at"],
        reason=row["reason"],
        created_at=row["created_at"],
        ended_at=row["ended_at"],
    )
