"""Records how messages ended, and publishes it, in one commit for several of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from guilder.notifications.domain.records import Ended
from guilder.notifications.events import NotificationFailed, NotificationSent
from guilder.notifications.store import deliveries
from guilder.platform import outbox
from guilder.platform.db import Tx

SENT = "sent"
FAILED = "failed"


async def record(tx: Tx, ended: Sequence[Ended], *, held: bool) -> None:
    """Write down how these ended; of what somebody else has claimed since, nothing."""
    done = await deliveries.end(tx, ended, held=held)
    facts = [
        outbox.outgoing(
            _fact(one, at=done[one.delivery.id][0]),
            key=str(one.delivery.user_id),
            origin=done[one.delivery.id][1],
        )
        for one in ended
        if one.delivery.id in done
    ]
    await outbox.append(tx, facts)


def _fact(ended: Ended, *, at: datetime) -> NotificationSent | NotificationFailed:
    delivery = ended.delivery
    if ended.status == SENT:
        return NotificationSent(
            message_id=delivery.id,
            user_id=delivery.user_id,
            channel=delivery.channel.value,
            template=delivery.template,
            sent_at=at,
        )
    return NotificationFailed(
        message_id=delivery.id,
        user_id=delivery.user_id,
        channel=delivery.channel.value,
        template=delivery.template,
        reason=ended.reason or "",
        failed_at=at,
    )
