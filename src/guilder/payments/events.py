"""Facts that payments publish, keyed by the wallet the money leaves, or else enters."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from msgspec import Struct

from guilder.kernel.ids import TransactionId, UserId, WalletId


class TransactionCompleted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Money has moved. ``amount`` is in major units, as text."""

    TYPE: ClassVar[str] = "com.guilder.transaction.completed"

    transaction_id: TransactionId
    transaction_type: str
    initiated_by: UserId
    from_wallet_id: WalletId | None
    to_wallet_id: WalletId | None
    amount: str
    currency: str
    completed_at: datetime
    effective_at: datetime | None = None
    """When it counts, where that is before it was recorded; left out otherwise."""


class TransactionFailed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A payment was refused after its execution began; no money has moved."""

    TYPE: ClassVar[str] = "com.guilder.transaction.failed"

    transaction_id: TransactionId
    transaction_type: str
    initiated_by: UserId
    from_wallet_id: WalletId | None
    to_wallet_id: WalletId | None
    amount: str
    currency: str
    reason: str
    failed_at: datetime
    effective_at: datetime | None = None
    """When it would have counted, where that is before it was recorded; left out otherwise."""
