"""Books in memory: the pure core without a database."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from guilder.kernel.currencies import INR
from guilder.kernel.ids import AccountId, ControlId, TransactionId, UserId
from guilder.ledger.api import (
    Account,
    AccountType,
    ControlLimits,
    Direction,
    EntryDraft,
    TransactionDraft,
)
from guilder.ledger.domain.book import LockedBook
from guilder.ledger.domain.controls import Control
from guilder.ledger.domain.holds import Hold
from guilder.ledger.domain.reversals import Original

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ANNA, BEN, CARLA, BANK, EUROS = (AccountId(UUID(int=n)) for n in range(1, 6))
ANNA_ID, BEN_ID = (UserId(UUID(int=n)) for n in range(11, 13))


def account(account_id: AccountId = ANNA, **fields: Any) -> Account:
    """A customer's account that may not be overdrawn."""
    usual = {
        "owner_id": None,
        "code": "wallet",
        "type": AccountType.LIABILITY,
        "currency": INR,
        "floor_minor": 0,
    }
    return Account(**{"id": account_id, **usual, **fields})


def bank(account_id: AccountId = BANK, **fields: Any) -> Account:
    """An account without a floor, on the other side."""
    return account(account_id, **{"type": AccountType.ASSET, "floor_minor": None, **fields})


def people(**anna: Any) -> list[Account]:
    """Anna with 1,000 minor units, Ben and Carla with nothing, and the bank."""
    return [
        account(ANNA, **{"owner_id": ANNA_ID, "posted_credits": 1_000, **anna}),
        account(BEN, owner_id=BEN_ID),
        account(CARLA),
        bank(posted_debits=1_000),
    ]


def draft(*entries: tuple[AccountId, int], **fields: Any) -> TransactionDraft:
    """A transaction of ``(account, amount)`` pairs, debits positive."""
    return TransactionDraft(
        **{"id": TransactionId(uuid4()), "kind": "transfer", **fields},
        entries=tuple(EntryDraft(*entry) for entry in entries),
    )


def transfer(amount: int, source: AccountId = ANNA, target: AccountId = BEN, **fields: Any):
    """Money from one customer to another; both accounts are liabilities."""
    return draft((source, amount), (target, -amount), **fields)


def control(**fields: Any) -> Control:
    """A limit on what leaves Anna's accounts, made long ago."""
    usual = {
        "id": ControlId(uuid4()),
        "subject_id": ANNA_ID,
        "currency": INR,
        "direction": Direction.OUTFLOW,
        "limits": ControlLimits(),
        "time_zone": "UTC",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "used_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return Control(**{**usual, **fields})


def next_book(
    book: LockedBook,
    *,
    now: datetime,
    controls: Iterable[Control] = (),
    holds: Iterable[Hold] = (),
    originals: Iterable[Original] = (),
    accounts: Iterable[AccountId] = (ANNA, BEN, CARLA, BANK),
) -> LockedBook:
    """What would be read from the database after ``book`` was written to it."""
    found = [book.account(account_id) for account_id in accounts]
    return LockedBook(
        accounts=[each for each in found if each is not None],
        controls=controls,
        holds=holds,
        originals=originals,
        now=now,
    )
