"""Wires wallets: the only file that sees every layer of the context."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from guilder.kernel.currencies import INR, Currency
from guilder.ledger.api import ControlLimits, Ledger
from guilder.platform.db import Database
from guilder.platform.module import Module
from guilder.wallets.api import WALLET_ACCOUNT_CODE
from guilder.wallets.consumers import subscriptions
from guilder.wallets.domain import MOST_WALLETS, starting_limits
from guilder.wallets.http import routes
from guilder.wallets.service import InMoneyCore, WalletService
from guilder.wallets.store import CHECKS

RESERVED_CODES: Final = (WALLET_ACCOUNT_CODE,)
"""Accounts that only wallets open, freeze and close."""


def in_money_core() -> InMoneyCore:
    """What other contexts of the money core call of wallets."""
    return InMoneyCore()


def build_service(
    *,
    db: Database,
    ledger: Ledger,
    time_zone: str,
    limits_of: Callable[[Currency], ControlLimits] = starting_limits,
    most_wallets: int = MOST_WALLETS,
) -> WalletService:
    """The use cases alone, for whoever sets people up."""
    return WalletService(
        db,
        ledger=ledger,
        limits_of=limits_of,
        time_zone=time_zone,
        most_wallets=most_wallets,
    )


def build(
    *,
    db: Database,
    ledger: Ledger,
    time_zone: str,
    default_currency: Currency = INR,
    limits_of: Callable[[Currency], ControlLimits] = starting_limits,
    most_wallets: int = MOST_WALLETS,
) -> Module:
    """The wired context."""
    service = build_service(
        db=db,
        ledger=ledger,
        time_zone=time_zone,
        limits_of=limits_of,
        most_wallets=most_wallets,
    )
    return Module(
        name="wallets",
        service_names=("wallet", "account"),
        routes=routes(service, default_currency=default_currency),
        subscriptions=subscriptions(service, default_currency=default_currency),
        checks=CHECKS,
    )
