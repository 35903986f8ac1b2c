"""What webhooks hear: every event that may leave the house, and who was erased."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from guilder.identity.events import UserErased
from guilder.kernel.ids import UserId
from guilder.platform.bus import Event, Subscription
from guilder.platform.db import Tx
from guilder.webhooks.domain.catalogue import PUBLIC
from guilder.webhooks.service.fan_out import FanOut
from guilder.webhooks.service.registration import Registration

_GROUP = "webhooks.fan_out"
_ERASURES = "webhooks.erasures"


def subscriptions(fan_out: FanOut, registration: Registration) -> tuple[Subscription, ...]:
    """Public events become deliveries in the transaction in which they are heard.

    Whoever is erased has no endpoints any more.
    """

    async def forget(tx: Tx, events: Sequence[Event]) -> None:
        for event in events:
            await registration.forget_owner(tx, UserId(UUID(event.data["user_id"])))

    return (
        Subscription(group=_GROUP, types=frozenset(PUBLIC), hear=fan_out.hear),
        Subscription(group=_ERASURES, types=frozenset({UserErased.TYPE}), hear=forget),
    )
