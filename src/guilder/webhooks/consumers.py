"""What webhooks hear: every event that may leave the house."""

from __future__ import annotations

from guilder.platform.bus import Subscription
from guilder.webhooks.domain.catalogue import PUBLIC
from guilder.webhooks.service.fan_out import FanOut

_GROUP = "webhooks.fan_out"


def subscriptions(fan_out: FanOut) -> tuple[Subscription, ...]:
    """Public events become deliveries in the transaction in which they are heard."""
    return (Subscription(group=_GROUP, types=frozenset(PUBLIC), hear=fan_out.hear),)
