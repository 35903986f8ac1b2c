"""Puts identity's events into the outbox of the transaction they speak of."""

from __future__ import annotations

import msgspec

from guilder.identity.events import IdentityEvent
from guilder.kernel.ids import EventId
from guilder.platform import outbox
from guilder.platform.db import Tx
from guilder.platform.identifiers import new_id


async def publish(tx: Tx, event: IdentityEvent) -> None:
    """Publish ``event`` if and only if ``tx`` commits, in order among its user's events."""
    data = msgspec.json.encode(event).decode()
    outgoing = outbox.Outgoing(EventId(new_id()), event.TYPE, str(event.user_id), data)
    await outbox.append(tx, [outgoing])
