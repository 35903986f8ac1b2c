"""What other contexts may know of wallets."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, Protocol

from msgspec import Struct

from guilder.kernel.currencies import Currency
from guilder.kernel.errors import Family, NotFound, Refusal
from guilder.kernel.ids import AccountId, UserId, WalletId
from guilder.ledger.api import Account
from guilder.platform.db import Tx

WALLET_ACCOUNT_CODE: Final = "customer.wallet"
"""The code of every wallet's ledger account."""


class WalletStatus(StrEnum):
    """Where a wallet is in its life."""

    PENDING = "pending"
    ACTIVE = "active"
    FROZEN = "frozen"
    CLOSED = "closed"


class Act(StrEnum):
    """What can be done to a wallet."""

    ACTIVATE = "activate"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    CLOSE = "close"


class Wallet(Struct, frozen=True, kw_only=True):
    """A wallet as other contexts see it. What is in it only the ledger knows."""

    id: WalletId
    owner_id: UserId
    currency: Currency
    status: WalletStatus

    @property
    def account_id(self) -> AccountId:
        """The wallet's ledger account: it has the same id."""
        return AccountId(self.id)


class WalletNotFound(NotFound):
    """There is no such wallet, or it is somebody else's."""

    message = "There is no such wallet."


class WalletNotActive(Refusal):
    """The wallet was opened and has not been activated yet."""

    code = "WALLET_NOT_ACTIVE"
    family = Family.PRECONDITION
    message = "The wallet is not active yet."


class WalletClosed(Refusal):
    """The wallet is closed for good."""

    code = "WALLET_CLOSED"
    family = Family.CONFLICT
    message = "The wallet is closed."


class TooManyWallets(Refusal):
    """The owner has as many wallets as anybody may, closed ones included.

    ``details["limit"]`` says how many.
    """

    code = "TOO_MANY_WALLETS"
    family = Family.CONFLICT
    message = "You have as many wallets as you may have."


class WalletFrozenByStaff(Refusal):
    """Staff froze the wallet, so only staff may unfreeze or close it."""

    code = "WALLET_FROZEN_BY_STAFF"
    family = Family.FORBIDDEN
    message = "The wallet was frozen by the operator; its owner can neither unfreeze nor close it."


class Wallets(Protocol):
    """What the rest of the money core asks of wallets, inside its own transaction."""

    async def of_accounts(self, tx: Tx, accounts: Iterable[Account]) -> dict[WalletId, Wallet]:
        """The wallets of these ledger accounts; an account that is no wallet's is passed over.

        Their status is exact when the accounts are locked.
        """
        ...

    async def of_owner(self, tx: Tx, owner_id: UserId) -> list[WalletId]:
        """The ids of everything this owner has ever held, closed wallets included."""
        ...

    async def exists(self, tx: Tx, wallet_id: WalletId) -> bool:
        """Whether there is or was a wallet of this id, whoever holds it."""
        ...
