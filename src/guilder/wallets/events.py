"""Facts that wallets publish, keyed by the wallet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from guilder.kernel.ids import UserId, WalletId


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletState:
    """What a change may change of a wallet."""

    status: str
    frozen_by_staff: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletCreated:
    """Somebody has a new wallet."""

    TYPE: ClassVar[str] = "com.guilder.account.created"

    wallet_id: WalletId
    owner_id: UserId
    currency: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletActivated:
    """A wallet was activated or unfrozen."""

    TYPE: ClassVar[str] = "com.guilder.account.activated"

    wallet_id: WalletId
    owner_id: UserId
    before: WalletState | None = None
    after: WalletState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletFrozen:
    """A wallet takes no payments any more, until it is unfrozen."""

    TYPE: ClassVar[str] = "com.guilder.account.frozen"

    wallet_id: WalletId
    owner_id: UserId
    by_staff: bool
    before: WalletState | None = None
    after: WalletState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletEnded:
    """A wallet was closed."""

    TYPE: ClassVar[str] = "com.guilder.account.closed"

    wallet_id: WalletId
    owner_id: UserId
    before: WalletState | None = None
    after: WalletState | None = None
