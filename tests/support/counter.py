"""A bank counter in memory: wallets of Anna and Ben, and orders judged without a database."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from guilder.kernel.currencies import INR, Currency
from guilder.kernel.errors import Refusal
from guilder.kernel.ids import AccountId, TransactionId, UserId, WalletId
from guilder.ledger.api import (
    Account,
    AccountStatus,
    AccountType,
    PlatformAccount,
    platform_account_id,
)
from guilder.ledger.domain.book import LockedBook
from guilder.ledger.domain.controls import Control
from guilder.payments.api import Outcome, Payment, PaymentOrder, PaymentType
from guilder.payments.domain import Claim, Decision, Numbered, State, decide
from guilder.platform.identifiers import new_id
from guilder.wallets.api import Wallet, WalletStatus

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
ANNA = UserId(UUID(int=0xA))
BEN = UserId(UUID(int=0xB))
STATUSES = {
    WalletStatus.PENDING: AccountStatus.FROZEN,
    WalletStatus.ACTIVE: AccountStatus.OPEN,
    WalletStatus.FROZEN: AccountStatus.FROZEN,
    WalletStatus.CLOSED: AccountStatus.CLOSED,
}


def funding(currency: Currency) -> AccountId | None:
    """Where money from outside comes from at this counter."""
    return platform_account_id(PlatformAccount.SETTLEMENT_SIMULATED, currency)


@dataclass(slots=True)
class Counter:
    """What is known between batches: accounts, wallets, claims. Times are ``NOON`` and later."""

    has_funding: bool = True
    accounts: dict[AccountId, Account] = field(default_factory=dict)
    wallets: dict[WalletId, Wallet] = field(default_factory=dict)
    controls: list[Control] = field(default_factory=list)
    claims: dict[Claim, Payment] = field(default_factory=dict)
    high_value: dict[str, int] = field(default_factory=dict)
    verdicts: dict[UUID, Refusal | None] = field(default_factory=dict)
    now: datetime = NOON

    def open(
        self,
        owner_id: UserId,
        *,
        funds_minor: int = 0,
        currency: Currency = INR,
        status: WalletStatus = WalletStatus.ACTIVE,
    ) -> WalletId:
        """A wallet with its account, and money in it that nobody paid."""
        wallet_id = WalletId(new_id())
        self.wallets[wallet_id] = Wallet(
            id=wallet_id, owner_id=owner_id, currency=currency, status=status
        )
        self.accounts[AccountId(wallet_id)] = Account(
            id=AccountId(wallet_id),
            owner_id=owner_id,
            code="customer.wallet",
            type=AccountType.LIABILITY,
            currency=currency,
            posted_credits=funds_minor,
            floor_minor=0,
            status=STATUSES[status],
        )
        outside = funding(currency)
        if outside is not None and outside not in self.accounts:
            self.accounts[outside] = Account(
                id=outside,
                owner_id=None,
                code=PlatformAccount.SETTLEMENT_SIMULATED.value,
                type=AccountType.ASSET,
                currency=currency,
            )
        return wallet_id

    def balance(self, wallet_id: WalletId) -> int:
        return self.accounts[AccountId(wallet_id)].balance_minor

    def judge(self, *orders: PaymentOrder) -> list[Outcome]:
        """Judge a batch, and remember what it came to for the next one."""
        return self.decide([Numbered(TransactionId(new_id()), order) for order in orders]).outcomes

    def decide(self, batch: list[Numbered]) -> Decision:
        self.now += timedelta(seconds=1)
        book = LockedBook(accounts=self.accounts.values(), now=self.now, controls=self.controls)
        state = State(
            book=book,
            wallets=self.wallets,
            claims=self.claims,
            funding=funding if self.has_funding else _no_funding,
            high_value=self.high_value,
            verdicts=self.verdicts,
        )
        return decide(batch, state=state)


def _no_funding(currency: Currency) -> AccountId | None:
    return None


def order(type_: PaymentType, caller_id: UserId = ANNA, **fields: Any) -> PaymentOrder:
    """An order of 1.00 INR under a key of its own, changed by ``fields``."""
    usual: dict[str, Any] = {"key": str(new_id()), "amount_minor": 100, "currency": INR}
    return PaymentOrder(type=type_, caller_id=caller_id, **{**usual, **fields})


def deposit(to: WalletId, caller_id: UserId = ANNA, **fields: Any) -> PaymentOrder:
    return order(PaymentType.DEPOSIT, caller_id, to_wallet_id=to, **fields)


def withdrawal(source: WalletId, caller_id: UserId = ANNA, **fields: Any) -> PaymentOrder:
    return order(PaymentType.WITHDRAWAL, caller_id, from_wallet_id=source, **fields)


def transfer(
    source: WalletId, to: WalletId, caller_id: UserId = ANNA, **fields: Any
) -> PaymentOrder:
    return order(PaymentType.TRANSFER, caller_id, from_wallet_id=source, to_wallet_id=to, **fields)
