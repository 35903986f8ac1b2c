"""Wires the ledger: the only file that sees every layer of the context."""

from __future__ import annotations

from guilder.ledger.api import Ledger
from guilder.ledger.service.posting import PostgresLedger
from guilder.ledger.store.checks import CHECKS
from guilder.platform.db import Database
from guilder.platform.module import Module


def build_ledger() -> Ledger:
    """The port that other contexts are built with."""
    return PostgresLedger()


def build(*, db: Database, ledger: Ledger) -> Module:
    """The wired context."""
    return Module(name="ledger", service_names=("ledger",), routes=(), checks=CHECKS)
