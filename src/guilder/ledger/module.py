"""Wires the ledger: the only file that sees every layer of the context."""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client import CollectorRegistry

from guilder.ledger.api import Ledger, Reserved
from guilder.ledger.http import routes
from guilder.ledger.jobs import expire_holds, reporter, verify_recent
from guilder.ledger.service.end_holds import EndHolds
from guilder.ledger.service.manage_accounts import ManageAccounts
from guilder.ledger.service.post_transactions import PostTransactions
from guilder.ledger.service.posting import PostgresLedger
from guilder.ledger.service.read_ledger import ReadLedger
from guilder.ledger.service.reverse_transaction import ReverseTransaction
from guilder.ledger.service.verify_recent import VerifyRecent
from guilder.ledger.store.checks import CHECKS
from guilder.ledger.store.proofs import AccountHeads
from guilder.platform.db import Database
from guilder.platform.module import Module


def build_heads() -> AccountHeads:
    """What is published of the accounts, and verified."""
    return AccountHeads()


def build_ledger() -> Ledger:
    """The port that other contexts are built with."""
    return PostgresLedger()


async def verify_new(db: Database) -> list[str]:
    """Verify what is new without a rest, while nobody else uses the ledger; what is wrong."""
    wrong: list[str] = []
    verification = VerifyRecent(
        db, report=lambda each: wrong.append(f"{each.invariant} of {each.row}"), rests=0
    )
    await verification.run()
    return wrong


def build(
    *,
    db: Database,
    ledger: Ledger,
    registry: CollectorRegistry,
    reserved_codes: Collection[str] = (),
    reserved_kinds: Collection[str] = (),
) -> Module:
    """The wired context. ``registry`` takes ``ledger_invariant_violations_total``.

    The ledger's own routes leave accounts of ``reserved_codes`` and transactions of
    ``reserved_kinds`` to the contexts that these belong to.
    """
    reserved = Reserved(account_codes=frozenset(reserved_codes), kinds=frozenset(reserved_kinds))
    holds = EndHolds(db, ledger=ledger)
    verification = VerifyRecent(db, report=reporter(registry))
    return Module(
        name="ledger",
        service_names=("ledger",),
        routes=routes(
            accounts=ManageAccounts(db, ledger=ledger, reserved=reserved),
            posting=PostTransactions(db, ledger=ledger, reserved=reserved),
            holds=holds,
            reversing=ReverseTransaction(db, ledger=ledger),
            reading=ReadLedger(db, ledger=ledger),
        ),
        jobs=(expire_holds(holds), verify_recent(verification)),
        checks=CHECKS,
    )
