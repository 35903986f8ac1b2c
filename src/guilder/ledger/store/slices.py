"""Verifies slices of chains: the entries of some accounts from where they were last known good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from guilder.kernel.ids import AccountId
from guilder.ledger.store.checks.chains import BROKEN, PREVIOUS, linked
from guilder.ledger.store.checks.transactions import DIGEST
from guilder.platform.db import Row, Tx

_VERIFY: Final = f"""
    WITH slices AS MATERIALIZED (
        SELECT s.*, a.type IN ('asset', 'expense') AS is_debit_normal, p.recorded_at AS first_at
        FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bigint[])
            AS s(account_id, after_sequence, up_to_sequence, first_hash, first_balance)
        JOIN ledger.accounts a ON a.id = s.account_id
        LEFT JOIN ledger.entries p
            ON p.account_id = s.account_id AND p.sequence = s.after_sequence
    ), placed AS (
        SELECT e.*, s.is_debit_normal, {PREVIOUS},
            s.first_hash, s.after_sequence AS first_sequence, s.first_balance, s.first_at
        FROM slices s
        JOIN ledger.entries e ON e.account_id = s.account_id
            AND e.sequence > s.after_sequence AND e.sequence <= s.up_to_sequence
        WINDOW w AS (PARTITION BY e.account_id ORDER BY e.sequence)
    ), linked AS ({linked(digest=DIGEST)})
    SELECT account_id, max(sequence) AS last_sequence, count(*) AS entries,
        COALESCE(sum(amount_minor) FILTER (WHERE amount_minor > 0), 0)::bigint AS debits,
        COALESCE(-sum(amount_minor) FILTER (WHERE amount_minor < 0), 0)::bigint AS credits,
        min(sequence) FILTER (WHERE {BROKEN}) AS broken_sequence,
        (array_agg(hash ORDER BY sequence DESC))[1] AS last_hash
    FROM linked GROUP BY account_id
"""
_UNBALANCED: Final = """
    WITH slices AS (
        SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[])
            AS s(account_id, after_sequence, up_to_sequence)
    ), touched AS MATERIALIZED (
        SELECT DISTINCT e.transaction_id
        FROM slices s JOIN ledger.entries e ON e.account_id = s.account_id
            AND e.sequence > s.after_sequence AND e.sequence <= s.up_to_sequence
    )
    SELECT e.transaction_id, a.currency, sum(e.amount_minor)::bigint AS sum_minor
    FROM touched JOIN ledger.entries e USING (transaction_id)
    LEFT JOIN ledger.accounts a ON a.id = e.account_id
    GROUP BY e.transaction_id, a.currency
    HAVING sum(e.amount_minor) <> 0
"""
_UNVERIFIED: Final = """
    SELECT a.id AS account_id, a.type IN ('asset', 'expense') AS is_debit_normal, a.sequence,
        a.last_hash, a.posted_debits, a.posted_credits, COALESCE(v.sequence, 0) AS verified,
        COALESCE(v.hash, decode(repeat('00', 32), 'hex')) AS verified_hash,
        COALESCE(v.posted_debits, 0) AS verified_debits,
        COALESCE(v.posted_credits, 0) AS verified_credits
    FROM ledger.accounts a LEFT JOIN ledger.verified_heads v ON v.account_id = a.id
    WHERE a.id > $1
      AND (COALESCE(v.sequence, 0), COALESCE(v.posted_debits, 0), COALESCE(v.posted_credits, 0),
            COALESCE(v.hash, decode(repeat('00', 32), 'hex')))
        <> (a.sequence, a.posted_debits, a.posted_credits, a.last_hash)
    ORDER BY a.id LIMIT $2
"""
_MOVE: Final = """
    INSERT INTO ledger.verified_heads AS v
        (account_id, sequence, hash, posted_debits, posted_credits)
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bytea[], $4::bigint[], $5::bigint[])
    ON CONFLICT (account_id) DO UPDATE
    SET sequence = excluded.sequence, hash = excluded.hash,
        posted_debits = excluded.posted_debits, posted_credits = excluded.posted_credits
"""
_ALONE: Final = "SELECT pg_try_advisory_xact_lock(hashtextextended('ledger.verify', 0))"


class Slice(Struct, frozen=True, kw_only=True):
    """The entries of an account behind ``after_sequence``, and what was true up to there."""

    account_id: AccountId
    after_sequence: int
    up_to_sequence: int
    hash: bytes
    balance_minor: int


class Head(Struct, frozen=True, kw_only=True):
    """Up to where an account's chain is known good, and what was posted up to there."""

    account_id: AccountId
    sequence: int
    hash: bytes
    posted_debits: int
    posted_credits: int


async def verify_slices(tx: Tx, slices: Sequence[Slice]) -> dict[AccountId, Row]:
    """For each account with entries in its slice: how they sum, and the first broken one."""
    rows = await tx.fetch(
        _VERIFY,
        *_bounds(slices),
        [piece.hash for piece in slices],
        [piece.balance_minor for piece in slices],
    )
    return {row["account_id"]: row for row in rows}


async def unbalanced(tx: Tx, slices: Sequence[Slice]) -> Sequence[Row]:
    """Transactions with entries in these slices that do not sum to zero in a currency."""
    return await tx.fetch(_UNBALANCED, *_bounds(slices))


async def unverified(tx: Tx, *, after: AccountId, limit: int) -> Sequence[Row]:
    """Accounts that have moved since they were verified, with their verified heads."""
    return await tx.fetch(_UNVERIFIED, after, limit)


async def move_heads(tx: Tx, heads: Sequence[Head]) -> None:
    """Remember up to where chains are good."""
    await tx.execute(
        _MOVE,
        [head.account_id for head in heads],
        [head.sequence for head in heads],
        [head.hash for head in heads],
        [head.posted_debits for head in heads],
        [head.posted_credits for head in heads],
    )


async def is_alone(tx: Tx) -> bool:
    """Whether no other process verifies; if so, none does until this transaction ends."""
    return bool(await tx.fetchval(_ALONE))


def _bounds(slices: Sequence[Slice]) -> tuple[list[AccountId], list[int], list[int]]:
    return (
        [piece.account_id for piece in slices],
        [piece.after_sequence for piece in slices],
        [piece.up_to_sequence for piece in slices],
    )
