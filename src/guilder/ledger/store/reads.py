"""Reads of stored entries: never recalculated, found by an account's sequence."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from guilder.kernel.ids import AccountId
from guilder.ledger.api import Entry
from guilder.platform.db import Tx

# Time and sequence rise together in an account, so a binary search over the primary key finds the
# last entry before a moment in about twenty look-ups, and the write path pays for no extra index.
_SEQUENCE_AT: Final = """
    WITH RECURSIVE search (low, high) AS (
        SELECT 0::bigint, sequence FROM ledger.accounts WHERE id = $1
      UNION ALL
        SELECT CASE WHEN e.recorded_at <= $2 THEN middle ELSE low END,
            CASE WHEN e.recorded_at <= $2 THEN high ELSE middle - 1 END
        FROM (SELECT low, high, (low + high + 1) / 2 AS middle FROM search WHERE low < high) s
        JOIN ledger.entries e ON e.account_id = $1 AND e.sequence = s.middle
    )
    SELECT low FROM search WHERE low = high LIMIT 1
"""
_BALANCE_AT: Final = f"""
    SELECT COALESCE((
        SELECT balance_after_minor FROM ledger.entries
        WHERE account_id = $1 AND sequence = ({_SEQUENCE_AT})
    ), 0)
"""
_BALANCE_AFTER: Final = """
    SELECT balance_after_minor FROM ledger.entries WHERE account_id = $1 AND sequence = $2
"""
_ENTRY_COLUMNS: Final = """
    e.account_id, e.sequence, e.transaction_id, e.amount_minor, e.balance_after_minor,
    e.recorded_at, t.effective_at, t.kind, t.description
"""
_ENTRIES: Final = f"""
    SELECT {_ENTRY_COLUMNS}
    FROM ledger.entries e JOIN ledger.transactions t ON t.id = e.transaction_id
    WHERE e.account_id = $1 AND e.sequence < $2
    ORDER BY e.sequence DESC LIMIT $3
"""
_NO_UPPER_BOUND: Final = 2**63 - 1


async def balance_at(tx: Tx, account_id: AccountId, at: datetime) -> int:
    """The balance after the last entry recorded at or before ``at``; 0 when there is none."""
    balance: int = await tx.fetchval(_BALANCE_AT, account_id, at)
    return balance


async def sequence_at(tx: Tx, account_id: AccountId, at: datetime) -> int:
    """The sequence of the last entry recorded at or before ``at``; 0 when there is none."""
    sequence: int | None = await tx.fetchval(_SEQUENCE_AT, account_id, at)
    return sequence or 0


async def balance_after(tx: Tx, account_id: AccountId, *, sequence: int) -> int:
    """The balance after the entry of this sequence; 0 before the first."""
    balance: int | None = await tx.fetchval(_BALANCE_AFTER, account_id, sequence)
    return balance or 0


async def entries(
    tx: Tx, account_id: AccountId, *, before_sequence: int | None, limit: int
) -> list[Entry]:
    """A page of an account's entries, newest first."""
    before = _NO_UPPER_BOUND if before_sequence is None else before_sequence
    return [Entry(**dict(row)) for row in await tx.fetch(_ENTRIES, account_id, before, limit)]
