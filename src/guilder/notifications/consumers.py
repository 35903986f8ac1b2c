"""What notifications hear: of people, their wallets, sign-ins and payments, in one group.

One group, because a payment can only be told to the owners of its wallets once their creation has
been heard, and whoever is erased is forgotten after all that was told of them before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final
from uuid import UUID

import msgspec

from guilder.identity.events import (
    AccountReclaimed,
    ClientAdded,
    ClientSecretRotated,
    CodeIssued,
    NewDeviceUsed,
    OutsideIdentityLinked,
    OutsideIdentityUnlinked,
    PasswordChanged,
    RecoveryCodesReplaced,
    RecoveryCodeUsed,
    SecondFactorAdded,
    SecondFactorGuessed,
    SecondFactorRemoved,
    SessionsEnded,
    SignInCodesGuessed,
    UserContactChanged,
    UserRegistered,
)
from guilder.identity.events.staff import (
    SecondFactorsReset,
    UserErased,
)
from guilder.kernel.ids import UserId
from guilder.notifications.domain.notices import WebhookDisabled
from guilder.notifications.service.forgetting import Forgetting
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
        NewDeviceUsed.TYPE: NewDeviceUsed,
        SessionsEnded.TYPE: SessionsEnded,
        PasswordChanged.TYPE: PasswordChanged,
        CodeIssued.TYPE: CodeIssued,
        SecondFactorAdded.TYPE: SecondFactorAdded,
        SecondFactorRemoved.TYPE: SecondFactorRemoved,
        SecondFactorsReset.TYPE: SecondFactorsReset,
        SecondFactorGuessed.TYPE: SecondFactorGuessed,
        SignInCodesGuessed.TYPE: SignInCodesGuessed,
        RecoveryCodesReplaced.TYPE: RecoveryCodesReplaced,
        RecoveryCodeUsed.TYPE: RecoveryCodeUsed,
        OutsideIdentityLinked.TYPE: OutsideIdentityLinked,
        OutsideIdentityUnlinked.TYPE: OutsideIdentityUnlinked,
        ClientAdded.TYPE: ClientAdded,
        ClientSecretRotated.TYPE: ClientSecretRotated,
        WalletCreated.TYPE: WalletCreated,
        TransactionCompleted.TYPE: TransactionCompleted,
        TransactionFailed.TYPE: TransactionFailed,
        EndpointDisabled.TYPE: WebhookDisabled,
    }
)


def subscriptions(newsroom: Newsroom, forgetting: Forgetting) -> tuple[Subscription, ...]:
    """Everything that somebody is told of, and who is to be told nothing any more."""

    async def hear(tx: Tx, events: Sequence[Event]) -> None:
        news = [event for event in events if event.type in FACTS]
        await newsroom.hear(tx, [_heard(event) for event in news])
        for event in events:
            if event.type == AccountReclaimed.TYPE:
                claimed = msgspec.convert(event.data, AccountReclaimed)
                await forgetting.forget_devices(tx, claimed.user_id, before=claimed.reclaimed_at)
        erased = [
            UserId(UUID(event.data["user_id"])) for event in events if event.type == UserErased.TYPE
        ]
        if erased:
            await forgetting.forget(tx, erased)

    types = frozenset({*FACTS, UserErased.TYPE, AccountReclaimed.TYPE})
    return (Subscription(group=GROUP, types=types, hear=hear),)


def _heard(event: Event) -> Heard:
    fact = msgspec.convert(event.data, FACTS[event.type])
    return Heard(event_id=event.id, at=event.time, fact=fact)
