"""What wallets hear: whoever registers gets a default wallet, whose owner is frozen is frozen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from guilder.identity.events import UserRegistered
from guilder.identity.events.staff import (
    UserErased,
    UserFrozen,
    UserUnfrozen,
)
from guilder.kernel.currencies import Currency
from guilder.kernel.ids import UserId
from guilder.platform.bus import Event, Subscription
from guilder.platform.db import Tx
from guilder.wallets.service import WalletService

_GROUP: Final = "wallets.sign_up"


def subscriptions(
    service: WalletService, *, default_currency: Currency
) -> tuple[Subscription, ...]:
    """A new user's default wallet is opened in ``default_currency``, once; freezes follow.

    One group hears it all, so that nobody is frozen before they have what is to be frozen.
    """

    async def follow_owners(tx: Tx, events: Sequence[Event]) -> None:
        for event in events:
            owner_id = UserId(UUID(event.data["user_id"]))
            match event.type:
                case UserRegistered.TYPE:
                    await service.open_default_wallet(tx, owner_id, default_currency)
                case UserFrozen.TYPE:
                    freeze_id = UUID(event.data["freeze_id"])
                    await service.freeze_with_owner(tx, owner_id, freeze_id=freeze_id)
                case UserUnfrozen.TYPE:
                    freeze_id = UUID(event.data["freeze_id"])
                    await service.thaw_with_owner(tx, owner_id, freeze_id=freeze_id)
                case UserErased.TYPE:
                    await service.close_late(tx, owner_id)

    types = frozenset({UserRegistered.TYPE, UserFrozen.TYPE, UserUnfrozen.TYPE, UserErased.TYPE})
    return (Subscription(group=_GROUP, types=types, hear=follow_owners),)
