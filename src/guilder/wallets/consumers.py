"""What wallets hear: whoever registers gets a default wallet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from guilder.identity.events import UserRegistered
from guilder.kernel.currencies import Currency
from guilder.kernel.ids import UserId
from guilder.platform.bus import Event, Subscription
from guilder.platform.db import Tx
from guilder.wallets.service import WalletService

_GROUP: Final = "wallets.sign_up"


def subscriptions(
    service: WalletService, *, default_currency: Currency
) -> tuple[Subscription, ...]:
    """A new user's default wallet is opened in ``default_currency``, once."""

    async def open_default_wallets(tx: Tx, events: Sequence[Event]) -> None:
        for event in events:
            owner_id = UserId(UUID(event.data["user_id"]))
            await service.open_default_wallet(tx, owner_id, default_currency)

    return (
        Subscription(
            group=_GROUP, types=frozenset({UserRegistered.TYPE}), hear=open_default_wallets
        ),
    )
