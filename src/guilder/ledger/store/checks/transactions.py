"""Transactions: balanced, digested, complete; reversals within their originals."""

from __future__ import annotations

from typing import Final

from guilder.platform.checks import sql_check

_SIZED: Final = "int4send(octet_length({0})) || convert_to({0}, 'UTF8')"
_TIME: Final = "int8send((extract(epoch FROM {0}) * 1000000)::bigint)"
DIGEST: Final = f"""sha256(
    uuid_send(t.id) || COALESCE(uuid_send(t.reverses_id), decode(repeat('00', 16), 'hex'))
    || {_TIME.format("t.effective_at")} || {_TIME.format("t.recorded_at")}
    || COALESCE({_TIME.format("t.expires_at")}, int8send(0))
    || {_SIZED.format("t.kind")} || {_SIZED.format("t.description")}
    || {_SIZED.format("t.metadata::text")})"""
"""The digest of transaction ``t``, as `guilder.ledger.domain.chain` lays it out."""

_DIGESTS: Final = f"""
    SELECT t.id::text AS row, 'its digest does not match its columns' AS detail
    FROM ledger.transactions t WHERE t.digest <> {DIGEST}
"""
_UNBALANCED: Final = """
    SELECT e.transaction_id::text AS row,
        format('its entries in %s sum to %s', a.currency, sum(e.amount_minor)) AS detail
    FROM ledger.entries e JOIN ledger.accounts a ON a.id = e.account_id
    GROUP BY e.transaction_id, a.currency
    HAVING sum(e.amount_minor) <> 0
"""
_INCOMPLETE: Final = """
    SELECT COALESCE(t.id, e.transaction_id)::text AS row,
        CASE WHEN t.id IS NULL THEN 'it does not exist, but has entries'
            WHEN e.transaction_id IS NULL THEN 'it has no entries'
            WHEN h.state <> 'posted' THEN 'its hold was not posted, but it has entries'
            ELSE 'its entries were recorded at another time'
        END AS detail
    FROM ledger.transactions t
    LEFT JOIN ledger.holds h ON h.transaction_id = t.id
    FULL JOIN (
        SELECT transaction_id, min(recorded_at) AS first_at, max(recorded_at) AS last_at
        FROM ledger.entries GROUP BY transaction_id
    ) AS e ON e.transaction_id = t.id
    WHERE t.id IS NULL
       OR (e.transaction_id IS NULL) <> (h.state IS NOT NULL AND h.state <> 'posted')
       OR e.first_at <> e.last_at
       OR e.first_at <> COALESCE(h.ended_at, t.recorded_at)
"""
_HELD: Final = """
    SELECT COALESCE(t.id, h.transaction_id)::text AS row,
        CASE WHEN h.transaction_id IS NULL THEN 'it expires, but there is no hold'
            WHEN t.id IS NULL THEN 'there is a hold, but no transaction'
            ELSE 'it and its hold expire at different times' END AS detail
    FROM (SELECT id, expires_at FROM ledger.transactions WHERE expires_at IS NOT NULL) AS t
    FULL JOIN ledger.holds h ON h.transaction_id = t.id
    WHERE h.expires_at IS DISTINCT FROM t.expires_at
"""
_REVERSALS: Final = """
    SELECT r.id::text AS row,
        CASE WHEN o.id IS NULL THEN 'what it reverses does not exist'
            ELSE 'what it reverses is a reversal' END AS detail
    FROM ledger.transactions r LEFT JOIN ledger.transactions o ON o.id = r.reverses_id
    WHERE r.reverses_id IS NOT NULL AND (o.id IS NULL OR o.reverses_id IS NOT NULL)
"""
_REVERSED: Final = """
    WITH reversed AS (
        SELECT r.reverses_id AS id, e.account_id, e.amount_minor < 0 AS is_debit,
            sum(abs(e.amount_minor)) AS amount
        FROM ledger.transactions r JOIN ledger.entries e ON e.transaction_id = r.id
        WHERE r.reverses_id IS NOT NULL GROUP BY 1, 2, 3
    ), original AS (
        SELECT e.transaction_id AS id, e.account_id, e.amount_minor > 0 AS is_debit,
            sum(abs(e.amount_minor)) AS amount
        FROM ledger.entries e WHERE e.transaction_id IN (SELECT id FROM reversed) GROUP BY 1, 2, 3
    )
    SELECT r.id::text AS row,
        format('account %s: %s of %s are reversed', r.account_id, r.amount, COALESCE(o.amount, 0))
            AS detail
    FROM reversed r LEFT JOIN original o USING (id, account_id, is_debit)
    WHERE r.amount > COALESCE(o.amount, 0)
"""

CHECKS: Final = (
    sql_check(
        "transaction digests",
        table="ledger.transactions",
        invariant="a digest covers every column of a transaction",
        query=_DIGESTS,
    ),
    sql_check(
        "transaction sums",
        table="ledger.entries",
        invariant="a transaction sums to zero in each currency",
        query=_UNBALANCED,
    ),
    sql_check(
        "transactions complete",
        table="ledger.transactions",
        invariant="a transaction has its entries if and only if it is posted, all of one time",
        query=_INCOMPLETE,
    ),
    sql_check(
        "pending transactions",
        table="ledger.transactions",
        invariant="a transaction that expires has a hold that expires with it",
        query=_HELD,
    ),
    sql_check(
        "reversals",
        table="ledger.transactions",
        invariant="a reversal names a transaction that is none itself",
        query=_REVERSALS,
    ),
    sql_check(
        "reversed amounts",
        table="ledger.transactions",
        invariant="reversals never exceed their original",
        query=_REVERSED,
    ),
)
