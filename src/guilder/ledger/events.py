"""Facts that the ledger's own routes publish, keyed by the transaction, account or subject.

The subject is what a control limits: an account, or the owner of some. What other contexts do
through the ledger, they tell themselves. Amounts are in major units, as text.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from msgspec import Struct

from guilder.kernel.ids import AccountId, ControlId, TransactionId, UserId


class TransactionPosted(Struct, frozen=True, kw_only=True):
    """A transaction was posted. ``totals``: what it debits, and so credits, by currency."""

    TYPE: ClassVar[str] = "com.guilder.ledger.transaction_posted"

    transaction_id: TransactionId
    kind: str
    entries: int
    totals: dict[str, str]
    recorded_at: datetime


class TransactionsPosted(Struct, frozen=True, kw_only=True):
    """Transactions were posted in bulk, ``pending`` of them as holds; keyed by the first of them.

    ``first_id`` and ``last_id`` are in the order of the request; all have this time of record.
    """

    TYPE: ClassVar[str] = "com.guilder.ledger.transactions_posted"

    count: int
    pending: int
    first_id: TransactionId
    last_id: TransactionId
    recorded_at: datetime


class TransactionReversed(Struct, frozen=True, kw_only=True):
    """A transaction was undone in full or in part; ``totals`` is how much of it."""

    TYPE: ClassVar[str] = "com.guilder.ledger.transaction_reversed"

    transaction_id: TransactionId
    reversal_id: TransactionId
    totals: dict[str, str]
    recorded_at: datetime


class HoldOpened(Struct, frozen=True, kw_only=True):
    """Money was reserved, to be posted or voided later."""

    TYPE: ClassVar[str] = "com.guilder.ledger.hold_opened"

    transaction_id: TransactionId
    kind: str
    totals: dict[str, str]
    expires_at: datetime
    recorded_at: datetime


class HoldPosted(Struct, frozen=True, kw_only=True):
    """A hold was posted: ``amount`` of the ``held`` amount, and the rest was let go."""

    TYPE: ClassVar[str] = "com.guilder.ledger.hold_posted"

    transaction_id: TransactionId
    amount: str
    held: str
    currency: str


class HoldVoided(Struct, frozen=True, kw_only=True):
    """A hold ended without being posted."""

    TYPE: ClassVar[str] = "com.guilder.ledger.hold_voided"

    transaction_id: TransactionId
    held: str
    currency: str


class HoldExpired(Struct, frozen=True, kw_only=True):
    """A hold's time was over."""

    TYPE: ClassVar[str] = "com.guilder.ledger.hold_expired"

    transaction_id: TransactionId
    held: str
    currency: str


class AccountOpened(Struct, frozen=True, kw_only=True):
    """An account was opened; without an owner it is the platform's."""

    TYPE: ClassVar[str] = "com.guilder.ledger.account_opened"

    account_id: AccountId
    owner_id: UserId | None
    code: str
    account_type: str
    currency: str
    floor: str | None


class AccountState(Struct, frozen=True, kw_only=True):
    """What a change of status changes."""

    status: str


class AccountStatusChanged(Struct, frozen=True, kw_only=True):
    """An account was frozen, unfrozen or closed."""

    TYPE: ClassVar[str] = "com.guilder.ledger.account_status_changed"

    account_id: AccountId
    before: AccountState
    after: AccountState


class AccountFloor(Struct, frozen=True, kw_only=True):
    """What a change of the floor changes; None: the account has none."""

    floor: str | None


class AccountFloorChanged(Struct, frozen=True, kw_only=True):
    """The lowest balance that an account may have is another one."""

    TYPE: ClassVar[str] = "com.guilder.ledger.account_floor_changed"

    account_id: AccountId
    currency: str
    before: AccountFloor
    after: AccountFloor


class ControlTerms(Struct, frozen=True, kw_only=True):
    """What a control says. A limit that is None is none; no kinds: all of them."""

    per_transaction: str | None
    per_day: str | None
    per_month: str | None
    time_zone: str
    kinds: list[str] | None


class ControlSet(Struct, frozen=True, kw_only=True):
    """A control was made, or says something else than before."""

    TYPE: ClassVar[str] = "com.guilder.ledger.control_set"

    control_id: ControlId
    subject_id: UserId | AccountId
    currency: str
    direction: str
    before: ControlTerms | None
    after: ControlTerms
