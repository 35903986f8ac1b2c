"""Verified heads: what the worker has verified before is still there, unchanged."""

from __future__ import annotations

from typing import Final

from guilder.platform.checks import sql_check

_HEADS: Final = """
    SELECT v.account_id::text AS row,
        format('it was verified up to %s with debits %s and credits %s; now: %s, %s', v.sequence,
            v.posted_debits, v.posted_credits, s.debits, s.credits) AS detail
    FROM ledger.verified_heads v
    LEFT JOIN ledger.entries e ON e.account_id = v.account_id AND e.sequence = v.sequence
    LEFT JOIN (
        SELECT v.account_id,
            COALESCE(sum(e.amount_minor) FILTER (WHERE e.amount_minor > 0), 0) AS debits,
            COALESCE(-sum(e.amount_minor) FILTER (WHERE e.amount_minor < 0), 0) AS credits
        FROM ledger.verified_heads v
        JOIN ledger.entries e ON e.account_id = v.account_id AND e.sequence <= v.sequence
        GROUP BY v.account_id
    ) AS s ON s.account_id = v.account_id
    WHERE e.hash IS DISTINCT FROM v.hash
       OR s.debits IS DISTINCT FROM v.posted_debits OR s.credits IS DISTINCT FROM v.posted_credits
"""

CHECKS: Final = (
    sql_check(
        "verified heads",
        table="ledger.verified_heads",
        invariant="what was verified once is still a prefix of the chain",
        query=_HEADS,
    ),
)
