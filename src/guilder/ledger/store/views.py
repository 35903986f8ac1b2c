"""Reads for people: accounts by filter, transactions whole, pages of entries, trial balances."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from guilder.kernel.currencies import CURRENCIES, Currency
from guilder.kernel.ids import AccountId, TransactionId
from guilder.ledger.api import Account
from guilder.ledger.domain.listings import AccountFilter, TrialLine
from guilder.ledger.store.books import ACCOUNT_COLUMNS, account_from
from guilder.platform.db import Row, Tx

_LIST: Final = f"""
    SELECT {ACCOUNT_COLUMNS} FROM ledger.accounts
    WHERE id > $1
      AND ($2::uuid IS NULL OR owner_id = $2)
      AND ($3::text IS NULL OR currency = $3)
      AND ($4::text IS NULL OR type = $4)
      AND ($5::text IS NULL OR code = $5)
      AND ($6::text IS NULL OR status = $6)
    ORDER BY id LIMIT $7
"""
_CURRENCIES: Final = "SELECT id, currency FROM ledger.accounts WHERE id = ANY($1::uuid[])"
_TRANSACTION: Final = """
    SELECT t.id, t.kind, COALESCE(h.state, 'posted') AS state, t.description,
        t.metadata::text AS metadata, t.effective_at, t.recorded_at, t.expires_at, t.reverses_id,
        h.amount_minor AS held_minor, h.lines::text AS held_lines, t.digest
    FROM ledger.transactions t LEFT JOIN ledger.holds h ON h.transaction_id = t.id
    WHERE t.id = $1
"""
_ENTRY: Final = """
    SELECT e.account_id, e.sequence, e.transaction_id, e.amount_minor, e.balance_after_minor,
        e.recorded_at, e.hash, a.currency, t.kind, t.description, t.effective_at
    FROM ledger.entries e
    JOIN ledger.accounts a ON a.id = e.account_id
    JOIN ledger.transactions t ON t.id = e.transaction_id
"""
_OF_TRANSACTION: Final = f"""
    {_ENTRY} WHERE e.transaction_id = $1 ORDER BY e.amount_minor DESC, e.account_id, e.sequence
"""
_NEWEST_FIRST: Final = f"""
    {_ENTRY} WHERE e.account_id = $1 AND e.sequence > $2 AND e.sequence <= $3
    ORDER BY e.sequence DESC LIMIT $4
"""
_OLDEST_FIRST: Final = f"""
    {_ENTRY} WHERE e.account_id = $1 AND e.sequence > $2 AND e.sequence <= $3
    ORDER BY e.sequence LIMIT $4
"""
_TRIAL: Final = """
    SELECT currency, type, code, count(*) AS accounts, sum(posted_debits) AS debits_minor,
        sum(posted_credits) AS credits_minor
    FROM ledger.accounts GROUP BY currency, type, code ORDER BY currency, type, code
"""
_TRIAL_AT: Final = """
    SELECT a.currency, a.type, a.code, count(DISTINCT a.id) AS accounts,
        COALESCE(sum(s.debits), 0) AS debits_minor,
        COALESCE(sum(s.credits), 0) AS credits_minor
    FROM ledger.accounts a
    JOIN (
        SELECT account_id, sum(amount_minor) FILTER (WHERE amount_minor > 0) AS debits,
            -sum(amount_minor) FILTER (WHERE amount_minor < 0) AS credits
        FROM ledger.entries WHERE recorded_at <= $1 GROUP BY account_id
    ) AS s ON s.account_id = a.id
    GROUP BY a.currency, a.type, a.code ORDER BY a.currency, a.type, a.code
"""
_SUMS: Final = """
    SELECT a.currency, count(*) AS entries, sum(e.amount_minor)::bigint AS sum_minor
    FROM ledger.entries e LEFT JOIN ledger.accounts a ON a.id = e.account_id
    WHERE e.transaction_id = $1 GROUP BY a.currency
"""
_NEWEST: Final = {True: _NEWEST_FIRST, False: _OLDEST_FIRST}


async def list_accounts(
    tx: Tx, wanted: AccountFilter, *, after: AccountId, limit: int
) -> list[Account]:
    """Accounts in order of their ids, from behind ``after``."""
    rows = await tx.fetch(
        _LIST,
        after,
        wanted.owner_id,
        wanted.currency,
        None if wanted.type is None else wanted.type.value,
        wanted.code,
        None if wanted.status is None else wanted.status.value,
        limit,
    )
    return [account_from(row) for row in rows]


async def currencies(tx: Tx, ids: Collection[AccountId]) -> dict[AccountId, Currency]:
    """In which currency each of these accounts is; those that do not exist are left out."""
    return {row[0]: CURRENCIES[row[1]] for row in await tx.fetch(_CURRENCIES, ids)}


async def transaction(tx: Tx, transaction_id: TransactionId) -> Row | None:
    """One transaction with the state of its hold."""
    return await tx.fetchrow(_TRANSACTION, transaction_id)


async def entries_of_transaction(tx: Tx, transaction_id: TransactionId) -> Sequence[Row]:
    """Its entries with their currency, debits first."""
    return await tx.fetch(_OF_TRANSACTION, transaction_id)


async def entries_between(
    tx: Tx,
    account_id: AccountId,
    *,
    after_sequence: int,
    up_to_sequence: int,
    newest_first: bool,
    limit: int,
) -> Sequence[Row]:
    """An account's entries in a range of sequences."""
    query = _NEWEST[newest_first]
    return await tx.fetch(query, account_id, after_sequence, up_to_sequence, limit)


async def trial_balance(tx: Tx, *, at: datetime | None) -> list[TrialLine]:
    """Debits and credits by currency, type and code; those recorded up to ``at``, or all."""
    rows = await (tx.fetch(_TRIAL) if at is None else tx.fetch(_TRIAL_AT, at))
    return [
        TrialLine(
            currency=row["currency"],
            type=row["type"],
            code=row["code"],
            accounts=row["accounts"],
            # A sum of many accounts may leave the range of a bigint, so it comes as a numeric.
            debits_minor=int(row["debits_minor"]),
            credits_minor=int(row["credits_minor"]),
        )
        for row in rows
    ]


async def sums_by_currency(tx: Tx, transaction_id: TransactionId) -> Sequence[Row]:
    """``(currency, entries, sum_minor)`` of a transaction's entries."""
    return await tx.fetch(_SUMS, transaction_id)
