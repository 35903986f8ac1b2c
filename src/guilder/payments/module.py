"""Wires payments: the only file that sees every layer of the context."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from guilder.kernel.currencies import Currency
from guilder.kernel.ids import AccountId
from guilder.ledger.api import Ledger, PlatformAccount, platform_account_id
from guilder.payments.api import PaymentType
from guilder.payments.http import routes
from guilder.payments.jobs import forget_old_claims
from guilder.payments.service.engine import PaymentEngine
from guilder.payments.service.reading import PaymentReading
from guilder.payments.store.checks import CHECKS
from guilder.platform.db import Database
from guilder.platform.module import Module
from guilder.wallets.api import Wallets

RESERVED_KINDS: Final = tuple(type_.value for type_ in PaymentType)
"""Ledger transactions that only payments post, each beside a payment of its own."""

Funding = Callable[[Currency], AccountId | None]


@cache
def simulated_funding(unit: Currency) -> AccountId | None:
    """Outside money comes from a simulated settlement account of the ledger."""
    return platform_account_id(PlatformAccount.SETTLEMENT_SIMULATED, unit)


def no_funding(unit: Currency) -> AccountId | None:  # noqa: ARG001 - it is none for every currency
    """There is no outside money: deposits and withdrawals are refused."""
    return None


def build_engine(
    *, db: Database, ledger: Ledger, wallets: Wallets, funding: Funding
) -> PaymentEngine:
    """The engine alone. Whoever builds it closes it."""
    return PaymentEngine(db, ledger=ledger, wallets=wallets, funding=funding)


def build(*, db: Database, ledger: Ledger, wallets: Wallets, funding: Funding) -> Module:
    """The wired context."""
    engine = build_engine(db=db, ledger=ledger, wallets=wallets, funding=funding)
    reading = PaymentReading(db, wallets=wallets)
    return Module(
        name="payments",
        service_names=("transaction",),
        routes=routes(engine, reading),
        jobs=(forget_old_claims(db),),
        checks=CHECKS,
        on_stop=(engine.close,),
    )
