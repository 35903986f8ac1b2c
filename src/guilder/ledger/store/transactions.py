"""Stored transactions: read again to recognise a repetition, or to be reversed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final
from uuid import UUID

import msgspec

from guilder.kernel.ids import AccountId, TransactionId
from guilder.ledger.api import EntryDraft
from guilder.ledger.domain.reversals import Original
from guilder.ledger.domain.transactions import StoredTransaction
from guilder.platform.db import Row, Tx

_TAKEN: Final = "SELECT id FROM ledger.transactions WHERE id = ANY($1::uuid[])"
_READ: Final = """
    SELECT t.id, t.kind, t.description, t.metadata::text AS metadata, t.effective_at,
        t.recorded_at, t.expires_at, t.reverses_id, h.lines::text AS held
    FROM ledger.transactions t LEFT JOIN ledger.holds h ON h.transaction_id = t.id
    WHERE t.id = ANY($1::uuid[])
"""
_ENTRIES: Final = """
    SELECT transaction_id, account_id, amount_minor FROM ledger.entries
    WHERE transaction_id = ANY($1::uuid[]) ORDER BY transaction_id, account_id, sequence
"""
_REVERSING: Final = """
    SELECT r.reverses_id AS transaction_id, e.account_id, e.amount_minor
    FROM ledger.transactions r JOIN ledger.entries e ON e.transaction_id = r.id
    WHERE r.reverses_id = ANY($1::uuid[])
"""
_ACCOUNTS: Final = """
    SELECT DISTINCT account_id FROM ledger.entries WHERE transaction_id = ANY($1::uuid[])
"""
_Lines = Mapping[UUID, tuple[EntryDraft, ...]]


async def taken(tx: Tx, ids: Collection[TransactionId]) -> set[TransactionId]:
    """Which of these ids belong to a stored transaction."""
    return {row[0] for row in await tx.fetch(_TAKEN, ids)}


async def read_stored(
    tx: Tx, ids: Collection[TransactionId]
) -> dict[TransactionId, StoredTransaction]:
    """The transactions that have these ids, as they were asked for."""
    rows = await tx.fetch(_READ, ids)
    lines = _by_transaction(await tx.fetch(_ENTRIES, ids)) if rows else {}
    return {row["id"]: _stored(row, lines) for row in rows}


async def accounts_of(tx: Tx, ids: Collection[TransactionId]) -> set[AccountId]:
    """The accounts that the entries of these transactions touch."""
    return {row[0] for row in await tx.fetch(_ACCOUNTS, ids)}


async def read_originals(tx: Tx, ids: Collection[TransactionId]) -> list[Original]:
    """Transactions with what has been reversed of them. Their accounts are locked before."""
    entries = _by_transaction(await tx.fetch(_ENTRIES, ids))
    reversing = _by_transaction(await tx.fetch(_REVERSING, ids))
    return [
        Original(
            id=row["id"],
            kind=row["kind"],
            recorded_at=row["recorded_at"],
            entries=entries.get(row["id"], ()),
            is_reversal=row["reverses_id"] is not None,
            reversing=reversing.get(row["id"], ()),
        )
        for row in await tx.fetch(_READ, ids)
    ]


def lines_of(text: str) -> tuple[EntryDraft, ...]:
    """A hold's lines from the JSON that is stored."""
    pairs = msgspec.json.decode(text, type=list[tuple[UUID, int]])
    return tuple(EntryDraft(AccountId(account_id), amount) for account_id, amount in pairs)


def _by_transaction(rows: Iterable[Row]) -> _Lines:
    found: dict[UUID, list[EntryDraft]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(EntryDraft(row[1], row[2]))
    return {transaction_id: tuple(entries) for transaction_id, entries in found.items()}


def _stored(row: Row, lines: _Lines) -> StoredTransaction:
    held = row["held"]
    return StoredTransaction(
        id=row["id"],
        kind=row["kind"],
        description=row["description"],
        metadata=row["metadata"],
        effective_at=row["effective_at"],
        recorded_at=row["recorded_at"],
        expires_at=row["expires_at"],
        reverses_id=row["reverses_id"],
        lines=lines.get(row["id"], ()) if held is None else lines_of(held),
    )
