"""What notifications hear: of people, their wallets, sign-ins and payments, in one group.

One group, because a payment can only be told to the owners of its wallets once their creation has
been heard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from guilder.identity.events import UserContactChanged, UserLoggedIn, UserRegistered
from guilder.notifications.domain.notices import WebhookDisabled
from guilder.notifications.service.newsroom import Fact, Heard, Newsroom
from guilder.payments.events import TransactionCompleted, TransactionFailed
from guilder.platform.bus import Event, Subscription
from guilder.platform.db import Tx
from guilder.wallets.events import WalletCreated
from guilder.webhooks.events import EndpointDisabled

GROUP: Final = "notifications.news"
FACTS: Final[Mapping[str, type[Fact]]] = MappingProxyType(
    {
        UserRegistered.TYPE: UserRegistered,
        UserContactChanged.TYPE: UserContactChanged,
        UserLoggedIn.TYPE: UserLoggedIn,
        WalletCreated.TYPE: WalletCreated,
        TransactionCompleted.TYPE: TransactionCompleted,
        TransactionFailed.TYPE: TransactionFailed,
        EndpointDisabled.TYPE: WebhookDisabled,
    }
)


def subscriptions(newsroom: Newsroom) -> tuple[Subscription, ...]:
    """Everything that somebody is told of."""

    async def hear(tx: Tx, events: Sequence[Event]) -> None:
        await newsroom.hear(tx, [_heard(event) for event in events])

    return (Subscription(group=GROUP, types=frozenset(FACTS), hear=hear),)


def _heard(event: Event) -> Heard:
    fact = msgspec.convert(event.data, FACTS[event.type])
    return Heard(event_id=event.id, at=event.time, fact=fact)
