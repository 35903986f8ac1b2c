"""Holds: sealed, balanced, ended in time, and posted for what their entries say."""

from __future__ import annotations

from typing import Final

from guilder.platform.checks import sql_check

_SEALS: Final = """
    SELECT transaction_id::text AS row, 'its seal does not match its columns' AS detail
    FROM ledger.holds
    WHERE seal <> platform.seal(transaction_id::text, lines::text, amount_minor::text,
        posted_minor::text, state, platform.epoch_us(expires_at)::text,
        platform.epoch_us(ended_at)::text)
"""
_AMOUNTS: Final = """
    WITH held AS (
        SELECT h.transaction_id, count(DISTINCT a.currency) AS currencies,
            sum(greatest((line->>1)::bigint, 0)) AS debits,
            sum(greatest(-(line->>1)::bigint, 0)) AS credits, bool_or(a.id IS NULL) AS is_orphan
        FROM ledger.holds h
        CROSS JOIN json_array_elements(h.lines) AS line
        LEFT JOIN ledger.accounts a ON a.id = (line->>0)::uuid
        GROUP BY h.transaction_id
    ), posted AS (
        SELECT e.transaction_id, sum(greatest(e.amount_minor, 0)) AS debits
        FROM ledger.entries e JOIN ledger.holds h USING (transaction_id) GROUP BY e.transaction_id
    )
    SELECT h.transaction_id::text AS row,
        format('holds %s, posted %s; its lines hold %s against %s, its entries posted %s',
            h.amount_minor, h.posted_minor, l.debits, l.credits, COALESCE(p.debits, 0)) AS detail
    FROM ledger.holds h
    LEFT JOIN held l USING (transaction_id)
    LEFT JOIN posted p USING (transaction_id)
    WHERE l.debits IS DISTINCT FROM h.amount_minor OR l.credits IS DISTINCT FROM h.amount_minor
       OR l.currencies <> 1 OR l.is_orphan OR h.posted_minor <> COALESCE(p.debits, 0)
"""
_LINES: Final = """
    WITH posted AS (
        SELECT e.transaction_id, e.account_id, e.amount_minor > 0 AS is_debit,
            sum(abs(e.amount_minor)) AS amount
        FROM ledger.entries e JOIN ledger.holds h USING (transaction_id) GROUP BY 1, 2, 3
    ), held AS (
        SELECT h.transaction_id, (line->>0)::uuid AS account_id,
            (line->>1)::bigint > 0 AS is_debit, sum(abs((line->>1)::bigint)) AS amount
        FROM ledger.holds h CROSS JOIN json_array_elements(h.lines) AS line GROUP BY 1, 2, 3
    )
    SELECT p.transaction_id::text AS row,
        format('account %s: posted %s of %s held', p.account_id, p.amount, COALESCE(l.amount, 0))
            AS detail
    FROM posted p LEFT JOIN held l USING (transaction_id, account_id, is_debit)
    WHERE p.amount > COALESCE(l.amount, 0)
"""
_TIMES: Final = """
    SELECT h.transaction_id::text AS row,
        format('%s at %s, opened at %s, expires at %s', h.state, h.ended_at, t.recorded_at,
            h.expires_at) AS detail
    FROM ledger.holds h JOIN ledger.transactions t ON t.id = h.transaction_id
    WHERE h.ended_at < t.recorded_at OR h.expires_at <= t.recorded_at
       OR (h.state = 'posted' AND h.ended_at >= h.expires_at)
       OR (h.state = 'expired' AND h.ended_at < h.expires_at)
"""

CHECKS: Final = (
    sql_check(
        "hold seals",
        table="ledger.holds",
        invariant="a seal covers every column of a hold",
        query=_SEALS,
    ),
    sql_check(
        "hold amounts",
        table="ledger.holds",
        invariant="a hold's lines balance in one currency, and its entries sum to what it posted",
        query=_AMOUNTS,
    ),
    sql_check(
        "hold lines",
        table="ledger.holds",
        invariant="no more is posted to an account than was held on it",
        query=_LINES,
    ),
    sql_check(
        "hold times",
        table="ledger.holds",
        invariant="a hold is posted before it expires, and expires after",
        query=_TIMES,
    ),
)
