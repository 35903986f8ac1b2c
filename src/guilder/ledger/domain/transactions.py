"""Stored transactions: what a repeated request is held against."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from guilder.kernel.ids import AccountId, TransactionId
from guilder.ledger.api import EntryDraft, ReversalDraft, TransactionDraft


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

    def differing(self, draft: TransactionDraft) -> list[str]:
        """What a draft with this id asks for otherwise; nothing: it asks for this one again.

        The order of the entries does not matter, and a draft without an effective time is the
        same as one that took effect when it was recorded.
        """
        reverses_id = None if draft.reverses is None else draft.reverses.id
        effective_at = draft.effective_at or self.recorded_at
        return [
            name
            for name, stored_as, asked in (
                ("kind", self.kind, draft.kind),
                ("description", self.description, draft.description),
                ("metadata", self.metadata, draft.metadata),
                ("effective_at", self.effective_at, effective_at),
                ("expires_at", self.expires_at, draft.expires_at),
                ("reverses_id", self.reverses_id, reverses_id),
                ("entries", _sorted(self.lines), _sorted(draft.entries)),
            )
            if stored_as != asked
        ]

    def differing_reversal(self, draft: ReversalDraft) -> list[str]:
        """`differing` for a reversal; "all that is left" stands for what it was then."""
        reversed_minor = sum(max(0, line.amount_minor) for line in self.lines)
        amount_minor = reversed_minor if draft.amount_minor is None else draft.amount_minor
        return [
            name
            for name, stored_as, asked in (
                ("transaction_id", self.reverses_id, draft.original_id),
                ("kind", self.kind, draft.kind),
                ("description", self.description, draft.description),
                ("metadata", self.metadata, draft.metadata),
                ("amount", reversed_minor, amount_minor),
            )
            if stored_as != asked
        ]


def named(differing: Iterable[str]) -> dict[str, str]:
    """What differs from what has an id, as the details of a refusal name it."""
    return dict.fromkeys(differing, "differs from the first request")


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
