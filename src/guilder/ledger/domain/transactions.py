"""Stored transactions: what a repeated request is held against."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from guilder.kernel.ids import AccountId, TransactionId
from guilder.ledger.api import EntryDraft, TransactionDraft


class StoredTransaction(Struct, frozen=True, kw_only=True):
    """A transaction as it was asked for. ``lines`` of a hold are what it held, posted or not."""

    id: TransactionId
    kind: str
    description: str
    metadata: str
    effective_at: datetime
    recorded_at: datetime
    expires_at: datetime | None
    reverses_id: TransactionId | None
    lines: tuple[EntryDraft, ...]

    def is_same_as(self, draft: TransactionDraft) -> bool:
        """Whether a draft with this id asks for this transaction again, and for nothing else.

        The order of the entries does not matter, and a draft without an effective time is the
        same as one that took effect when it was recorded.
        """
        reverses_id = None if draft.reverses is None else draft.reverses.id
        return (
            self.kind == draft.kind
            and self.description == draft.description
            and self.metadata == draft.metadata
            and self.effective_at == (draft.effective_at or self.recorded_at)
            and self.expires_at == draft.expires_at
            and self.reverses_id == reverses_id
            and _sorted(self.lines) == _sorted(draft.entries)
        )


def stored(draft: TransactionDraft, *, recorded_at: datetime) -> StoredTransaction:
    """What a draft will be once it is stored."""
    return StoredTransaction(
        id=draft.id,
        kind=draft.kind,
        description=draft.description,
        metadata=draft.metadata,
        effective_at=draft.effective_at or recorded_at,
        recorded_at=recorded_at,
        expires_at=draft.expires_at,
        reverses_id=None if draft.reverses is None else draft.reverses.id,
        lines=draft.entries,
    )


def _sorted(lines: tuple[EntryDraft, ...]) -> list[tuple[AccountId, int]]:
    return sorted((line.account_id, line.amount_minor) for line in lines)
