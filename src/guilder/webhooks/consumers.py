"""What webhooks hear: every event that may leave the house, and who is gone from it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec

from guilder.identity.events import (
    AccountReclaimed,
    ClientRemoved,
)
from guilder.identity.events.staff import UserErased
from guilder.kernel.ids import UserId
from guilder.platform.bus import Event, Subscription
from guilder.platform.db import Tx
from guilder.webhooks.domain.catalogue import PUBLIC
from guilder.webhooks.service.fan_out import FanOut
from guilder.webhooks.service.registration import Registration

_GROUP = "webhooks.fan_out"
_ERASURES = "webhooks.erasures"
_GONE = frozenset({UserErased.TYPE, ClientRemoved.TYPE, AccountReclaimed.TYPE})


def subscriptions(fan_out: FanOut, registration: Registration) -> tuple[Subscription, ...]:
    """Public events become deliveries in the transaction in which they are heard.

    Whoever is erased has no endpoints any more, nor has a machine client that was deleted; and
    what a stranger attached to an account ends when its owner claims it.
    """

    async def forget(tx: Tx, events: Sequence[Event]) -> None:
        for event in events:
            if event.type == AccountReclaimed.TYPE:
                reclaimed = msgspec.convert(event.data, AccountReclaimed)
                await registration.end_those_before(
                    tx, reclaimed.user_id, before=reclaimed.reclaimed_at
                )
                continue
            gone = "client_id" if event.type == ClientRemoved.TYPE else "user_id"
            await registration.forget_owner(tx, UserId(UUID(event.data[gone])))

    return (
        Subscription(group=_GROUP, types=frozenset(PUBLIC), hear=fan_out.hear),
        Subscription(group=_ERASURES, types=_GONE, hear=forget),
    )
