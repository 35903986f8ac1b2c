"""Messages on their way: claimed by moving when they are due, ended by whoever still has the claim.

A claim is a lease. Whoever dies leaves a row that is due again; whoever was only slow finds that
its attempt is not the last one any more, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from guilder.kernel.ids import EventId, UserId
from guilder.notifications.api import Channel, DeliveryId, DeviceId, Message
from guilder.notifications.domain.records import Delivery, LaidOut
from guilder.platform.db import Row, Tx

_ADD: Final = """
    INSERT INTO notifications.deliveries
        (id, user_id, channel, device_id, template, category, data, event_id, status, due_at,
         reason, ended_at)
    SELECT id, user_id, channel, device_id, template, category, data, event_id, status, due_at,
        reason, CASE WHEN status <> 'queued' THEN clock_timestamp() END
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[],
        $7::jsonb[], $8::uuid[], $9::text[], $10::timestamptz[], $11::text[])
        AS d(id, user_id, channel, device_id, template, category, data, event_id, status, due_at,
            reason)
    ON CONFLICT (id) DO NOTHING
"""
_COLUMNS: Final = """
    d.id, d.user_id, d.channel, d.device_id, d.template, d.category, d.data, d.status, d.attempts,
    d.due_at, d.reason, d.created_at, d.ended_at
"""
_CLAIM: Final = f"""
    WITH due AS (
        SELECT id FROM notifications.deliveries
        WHERE status = 'queued' AND due_at <= clock_timestamp()
        ORDER BY due_at, id LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    UPDATE notifications.deliveries d
    SET attempts = d.attempts + 1, due_at = clock_timestamp() + $2::interval
    FROM due WHERE d.id = due.id
    RETURNING {_COLUMNS}
"""
_END: Final = """
    UPDATE notifications.deliveries
    SET status = $3, ended_at = clock_timestamp(), reason = $4, provider_reference = $5
    WHERE id = $1 AND attempts = $2 AND status = 'queued'
    RETURNING ended_at
"""
_POSTPONE: Final = """
    UPDATE notifications.deliveries SET due_at = clock_timestamp() + $3::interval, reason = $4
    WHERE id = $1 AND attempts = $2 AND status = 'queued'
"""
_ONE: Final = f"SELECT {_COLUMNS} FROM notifications.deliveries d WHERE d.id = $1"
_SEVERAL: Final = f"""
    SELECT {_COLUMNS} FROM notifications.deliveries d WHERE d.id = ANY($1::uuid[]) ORDER BY d.id
"""
_NOW: Final = "SELECT clock_timestamp()"
_LAY_OUT: Final = """
    INSERT INTO notifications.sandbox_outbox
        (id, user_id, channel, recipient, title, short, text, html)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING
"""
_LAID_OUT: Final = """
    SELECT id, user_id, channel, recipient, title, short, text, html, sent_at
    FROM notifications.sandbox_outbox WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3
"""
_CLEAR: Final = """
    DELETE FROM notifications.sandbox_outbox WHERE sent_at < clock_timestamp() - $1::interval
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


async def add(tx: Tx, deliveries: Sequence[NewDelivery]) -> None:
    """Write messages; one whose id is there already stays as it is."""
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
    )


async def claim(tx: Tx, *, limit: int, lease_s: float) -> list[Delivery]:
    """Take messages that are due. Unless they end, they are due again when the lease is over."""
    rows = await tx.fetch(_CLAIM, limit, timedelta(seconds=lease_s))
    return [_delivery(row) for row in rows]


async def end(
    tx: Tx, claimed: Delivery, *, status: str, reason: str | None = None, reference: str = ""
) -> datetime | None:
    """When the message ended, now; None when somebody else has the claim or has ended it."""
    ended_at: datetime | None = await tx.fetchval(
        _END, claimed.id, claimed.attempts, status, reason, reference or None
    )
    return ended_at


async def postpone(tx: Tx, claimed: Delivery, *, pause: timedelta, reason: str) -> None:
    """Let a message be tried again after a pause."""
    await tx.execute(_POSTPONE, claimed.id, claimed.attempts, pause, reason)


async def one(tx: Tx, delivery_id: UUID) -> Delivery | None:
    """The message with this id."""
    row = await tx.fetchrow(_ONE, delivery_id)
    return None if row is None else _delivery(row)


async def several(tx: Tx, delivery_ids: Sequence[UUID]) -> list[Delivery]:
    """The messages with these ids."""
    return [_delivery(row) for row in await tx.fetch(_SEVERAL, list(delivery_ids))]


async def lay_out(tx: Tx, message: Message) -> None:
    """Put a message into the sandbox outbox, once."""
    await tx.execute(
        _LAY_OUT,
        message.id,
        message.user_id,
        message.channel.value,
        message.to,
        message.title,
        message.short,
        message.text,
        message.html,
    )


async def laid_out(tx: Tx, user_id: UserId, *, before: UUID, limit: int) -> list[LaidOut]:
    """A person's messages in the sandbox outbox, newest first."""
    return [LaidOut(**row) for row in await tx.fetch(_LAID_OUT, user_id, before, limit)]


async def clear_outbox(tx: Tx, *, older_than: timedelta) -> None:
    """Empty the sandbox outbox of what nobody will look at any more."""
    await tx.execute(_CLEAR, older_than)


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
