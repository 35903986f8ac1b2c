"""A bank on a real database: wallets of people with money in them, and the engine that pays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from guilder.kernel.currencies import INR, Currency
from guilder.kernel.ids import UserId, WalletId
from guilder.ledger.api import ControlLimits
from guilder.ledger.service.posting import PostgresLedger
from guilder.ledger.store.checks import CHECKS as LEDGER_CHECKS
from guilder.payments.api import Outcome, PaymentOrder, PaymentType
from guilder.payments.module import simulated_funding
from guilder.payments.service.engine import PaymentEngine
from guilder.payments.store.checks import CHECKS as PAYMENT_CHECKS
from guilder.platform.checks import Finding, run_checks
from guilder.platform.db import Database
from guilder.platform.identifiers import new_id
from guilder.wallets.domain import MOST_WALLETS, Act
from guilder.wallets.service import InMoneyCore, WalletService
from guilder.wallets.store import CHECKS as WALLET_CHECKS

CHECKS = (*LEDGER_CHECKS, *WALLET_CHECKS, *PAYMENT_CHECKS)
"""Everything that `guilder verify` looks at in the money core."""

UNLIMITED = ControlLimits()


class Bank:
    """The money core on one pool, as one server process has it."""

    def __init__(
        self,
        db: Database,
        *,
        limits: ControlLimits = UNLIMITED,
        most_wallets: int = MOST_WALLETS,
        **engine: Any,
    ) -> None:
        self.db = db
        ledger = PostgresLedger()
        self.wallets = WalletService(
            db,
            ledger=ledger,
            limits_of=lambda currency: limits,
            time_zone="Asia/Kolkata",
            most_wallets=most_wallets,
        )
        self.engine = PaymentEngine(
            db, ledger=ledger, wallets=InMoneyCore(), funding=simulated_funding, **engine
        )

    async def open(
        self,
        owner_id: UserId,
        *,
        funds_minor: int = 0,
        currency: Currency = INR,
        is_active: bool = True,
    ) -> WalletId:
        """A wallet, activated, with a deposit in it."""
        view = await self.wallets.open_wallet(owner_id, currency=currency)
        if is_active:
            await self.act(owner_id, view.wallet.id, Act.ACTIVATE)
        if funds_minor:
            done = await self.engine.pay(
                deposit(owner_id, view.wallet.id, amount_minor=funds_minor, currency=currency)
            )
            assert done.refusal is None
        return view.wallet.id

    async def act(self, owner_id: UserId, wallet_id: WalletId, act: Act) -> None:
        await self.wallets.change(owner_id, wallet_id=wallet_id, act=act)

    async def balances(self, *wallets: tuple[UserId, WalletId]) -> list[int]:
        return [
            (await self.wallets.balance(owner_id, wallet_id=wallet_id)).balance_minor
            for owner_id, wallet_id in wallets
        ]

    async def verify(self) -> Sequence[Finding]:
        """What `guilder verify` finds."""
        return [
            finding for checked in await run_checks(self.db, CHECKS) for finding in checked.findings
        ]


@asynccontextmanager
async def opened(db: Database, **settings: Any) -> AsyncIterator[Bank]:
    """A bank whose engine is closed when the block ends."""
    bank = Bank(db, **settings)
    try:
        yield bank
    finally:
        await bank.engine.close()


def person() -> UserId:
    """Somebody new."""
    return UserId(new_id())


def deposit(owner_id: UserId, to: WalletId, **fields: Any) -> PaymentOrder:
    return _order(PaymentType.DEPOSIT, owner_id, to_wallet_id=to, **fields)


def topup(owner_id: UserId, to: WalletId, **fields: Any) -> PaymentOrder:
    return _order(PaymentType.TOPUP, owner_id, to_wallet_id=to, **fields)


def withdrawal(owner_id: UserId, source: WalletId, **fields: Any) -> PaymentOrder:
    return _order(PaymentType.WITHDRAWAL, owner_id, from_wallet_id=source, **fields)


def transfer(owner_id: UserId, source: WalletId, to: WalletId, **fields: Any) -> PaymentOrder:
    return _order(PaymentType.TRANSFER, owner_id, from_wallet_id=source, to_wallet_id=to, **fields)


def _order(type_: PaymentType, caller_id: UserId, **fields: Any) -> PaymentOrder:
    usual: dict[str, Any] = {"key": str(new_id()), "amount_minor": 100, "currency": INR}
    return PaymentOrder(type=type_, caller_id=caller_id, **{**usual, **fields})


def refusals(outcomes: Iterable[Outcome]) -> list[str]:
    """The codes of those that were refused."""
    return [outcome.refusal.code for outcome in outcomes if outcome.refusal is not None]
