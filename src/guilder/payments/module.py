"""Wires payments: the only file that sees every layer of the context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

from guilder.identity.api.verifications import Verifications, VerificationTokens
from guilder.kernel.currencies import Currency
from guilder.kernel.ids import AccountId
from guilder.kernel.money import BadAmount
from guilder.ledger.api import Ledger, PlatformAccount, platform_account_id
from guilder.payments.api import PaymentType
from guilder.payments.domain import high_value
from guilder.payments.http import routes
from guilder.payments.jobs import forget_old_claims
from guilder.payments.service.engine import HighValue, PaymentEngine
from guilder.payments.service.reading import PaymentReading
from guilder.payments.store.checks import CHECKS
from guilder.platform.db import Database
from guilder.platform.module import Module
from guilder.platform.startup import CannotStart
from guilder.wallets.api import Wallets

RESERVED_KINDS: Final = tuple(type_.value for type_ in PaymentType)
"""Ledger transactions that only payments post, each beside a payment of its own."""


class HighValueUnusable(CannotStart):
    """The amounts above which transfers are verified cannot be read."""


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
    """The engine alone, for payments that nobody verifies. Whoever builds it closes it."""
    return PaymentEngine(db, ledger=ledger, wallets=wallets, funding=funding)


def build(
    *,
    db: Database,
    engine_db: Database,
    ledger: Ledger,
    wallets: Wallets,
    funding: Funding,
    verifications: Verifications,
    tokens: VerificationTokens,
    high_value_transfers: Sequence[str] = (),
) -> Module:
    """The wired context. The engine makes payments on ``engine_db``, everything else reads ``db``.

    ``high_value_transfers`` change the table of what is transferred without a verification at
    most, as ``"INR 100000"``.

    Raises:
        HighValueUnusable: one of them cannot be read.
    """
    try:
        most_minor = high_value(high_value_transfers)
    except (ValueError, BadAmount) as error:
        raise HighValueUnusable(f"GUILDER_HIGH_VALUE_TRANSFERS: {error}") from error
    engine = PaymentEngine(
        engine_db,
        ledger=ledger,
        wallets=wallets,
        funding=funding,
        high_value=HighValue(most_minor=most_minor, tokens=tokens),
    )
    reading = PaymentReading(db, wallets=wallets)
    return Module(
        name="payments",
        service_names=("transaction",),
        routes=routes(engine, reading, verifications),
        jobs=(forget_old_claims(db),),
        checks=CHECKS,
        on_stop=(engine.close,),
    )
