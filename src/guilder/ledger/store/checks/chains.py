"""Chains: every entry hashed anew with the one before it, its place, its time, its balance."""

from __future__ import annotations

from typing import Final

from guilder.platform.checks import sql_check

ENTRY_HASH: Final = """sha256(
    {previous} || uuid_send(e.account_id) || int8send(e.sequence) || uuid_send(e.transaction_id)
    || int8send(e.amount_minor) || int8send(e.balance_after_minor)
    || int8send((extract(epoch FROM e.recorded_at) * 1000000)::bigint) || {digest})"""
"""The hash of entry ``e`` of transaction ``t``, as `guilder.ledger.domain.chain` lays it out."""

_EXPECTED: Final = """
    SELECT e.account_id, e.sequence, e.transaction_id, e.amount_minor, e.hash,
        {hash} AS expected,
        e.sequence <> COALESCE(e.previous_sequence, e.first_sequence) + 1 AS is_gap,
        e.recorded_at < COALESCE(e.previous_at, e.first_at) AS is_earlier,
        e.balance_after_minor <> COALESCE(e.previous_balance, e.first_balance)
            + CASE WHEN e.is_debit_normal THEN e.amount_minor ELSE -e.amount_minor END AS is_off
    FROM placed e LEFT JOIN ledger.transactions t ON t.id = e.transaction_id
"""


def linked(*, digest: str) -> str:
    """Each entry of ``placed`` beside what it must be by the entry before it.

    ``digest`` is how the digest of its transaction ``t`` is come by: stored, or computed anew.
    """
    previous = "COALESCE(e.previous_hash, e.first_hash)"
    return _EXPECTED.format(hash=ENTRY_HASH.format(previous=previous, digest=digest))


PREVIOUS: Final = """
    lag(e.hash) OVER w AS previous_hash, lag(e.sequence) OVER w AS previous_sequence,
    lag(e.balance_after_minor) OVER w AS previous_balance, lag(e.recorded_at) OVER w AS previous_at
"""
BROKEN: Final = "(hash IS DISTINCT FROM expected OR is_gap OR is_earlier OR is_off)"

_BROKEN: Final = f"""
    WITH placed AS (
        SELECT e.*, a.type IN ('asset', 'expense') AS is_debit_normal,
            {PREVIOUS}, decode(repeat('00', 32), 'hex') AS first_hash, 0 AS first_sequence,
            0 AS first_balance, NULL::timestamptz AS first_at
        FROM ledger.entries e JOIN ledger.accounts a ON a.id = e.account_id
        WINDOW w AS (PARTITION BY e.account_id ORDER BY e.sequence)
    ), linked AS ({linked(digest="t.digest")})
    SELECT account_id || ':' || sequence AS row,
        concat_ws('; ',
            CASE WHEN expected IS NULL THEN 'its transaction does not exist'
                WHEN hash <> expected THEN 'its hash does not match' END,
            CASE WHEN is_gap THEN 'its sequence does not follow the one before' END,
            CASE WHEN is_earlier THEN 'it was recorded before the one before' END,
            CASE WHEN is_off THEN 'its balance does not follow the one before' END) AS detail
    FROM linked
    WHERE {BROKEN}
"""

CHECKS: Final = (
    sql_check(
        "chains",
        table="ledger.entries",
        invariant="each entry follows the one before: hash, sequence, time, balance",
        query=_BROKEN,
    ),
)
