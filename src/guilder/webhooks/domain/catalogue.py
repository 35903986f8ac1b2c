"""The events that may leave the house: whom each concerns, and which of its fields they see.

An event that is not listed here, and a field that is not, reaches nobody outside: whoever adds one
decides first who may know it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from guilder.identity.events import UserLoggedIn
from guilder.kernel.ids import UserId, WalletId
from guilder.payments.events import TransactionCompleted, TransactionFailed
from guilder.wallets.events import WalletActivated, WalletCreated, WalletEnded, WalletFrozen
from guilder.webhooks.events import EndpointDisabled

PREFIX: Final = "com.guilder."
"""What every type begins with; filters and lists leave it out."""
TEST: Final = f"{PREFIX}webhook.test"
"""The type of what a test sends. No filter is asked for it."""


class Public(Struct, frozen=True, kw_only=True):
    """How an event is told: to the people and the owners of the wallets in these fields."""

    shows: tuple[str, ...]
    people: tuple[str, ...] = ()
    wallets: tuple[str, ...] = ()


_MONEY: Final = (
    "transaction_id",
    "transaction_type",
    "from_wallet_id",
    "to_wallet_id",
    "amount",
    "currency",
    "effective_at",
)
# A payment that failed concerns only who tried it, so the other side does not hear of it.
PUBLIC: Final[Mapping[str, Public]] = MappingProxyType(
    {
        TransactionCompleted.TYPE: Public(
            shows=(*_MONEY, "completed_at"), wallets=("from_wallet_id", "to_wallet_id")
        ),
        TransactionFailed.TYPE: Public(
            shows=(*_MONEY, "reason", "failed_at"), people=("initiated_by",)
        ),
        WalletCreated.TYPE: Public(
            shows=("wallet_id", "owner_id", "currency", "status"), people=("owner_id",)
        ),
        WalletActivated.TYPE: Public(shows=("wallet_id", "owner_id"), people=("owner_id",)),
        WalletFrozen.TYPE: Public(
            shows=("wallet_id", "owner_id", "by_staff"), people=("owner_id",)
        ),
        WalletEnded.TYPE: Public(shows=("wallet_id", "owner_id"), people=("owner_id",)),
        UserLoggedIn.TYPE: Public(
            shows=("user_id", "account_type", "logged_in_at"), people=("user_id",)
        ),
        EndpointDisabled.TYPE: Public(
            shows=("endpoint_id", "owner_id", "host", "reason", "disabled_at"),
            people=("owner_id",),
        ),
    }
)
"""Every public event by its type."""


def people(type_: str, data: Mapping[str, Any]) -> list[UserId]:
    """The people whom the event names itself."""
    return [UserId(found) for found in _ids(data, PUBLIC[type_].people)]


def wallets(type_: str, data: Mapping[str, Any]) -> list[WalletId]:
    """The wallets whose owners the event concerns."""
    return [WalletId(found) for found in _ids(data, PUBLIC[type_].wallets)]


def shown(type_: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """What receivers see of an event's data."""
    return {name: data[name] for name in PUBLIC[type_].shows if name in data}


def _ids(data: Mapping[str, Any], names: Sequence[str]) -> list[UUID]:
    return [UUID(data[name]) for name in names if data.get(name) is not None]
