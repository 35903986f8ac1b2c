"""Accounts: sums, sequence and last hash follow from entries and holds; the rest is sealed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from guilder.ledger.api import AccountStatus
from guilder.ledger.domain.chart import PLATFORM_ACCOUNTS, PLATFORM_CODES
from guilder.platform.checks import MOST_FINDINGS, Check, Finding, sql_check
from guilder.platform.db import Tx

_SUMS: Final = """
    WITH summed AS (
        SELECT account_id, count(*) AS entries, max(sequence) AS sequence,
            COALESCE(sum(amount_minor) FILTER (WHERE amount_minor > 0), 0) AS debits,
            COALESCE(-sum(amount_minor) FILTER (WHERE amount_minor < 0), 0) AS credits
        FROM ledger.entries GROUP BY account_id
    )
    SELECT COALESCE(a.id, s.account_id)::text AS row,
        CASE WHEN a.id IS NULL THEN 'there is no such account, but it has entries'
            ELSE format('stored: debits %s, credits %s, sequence %s; by its %s entries: %s, %s, %s',
                a.posted_debits, a.posted_credits, a.sequence, COALESCE(s.entries, 0),
                COALESCE(s.debits, 0), COALESCE(s.credits, 0), COALESCE(s.sequence, 0))
        END AS detail
    FROM ledger.accounts a FULL JOIN summed s ON s.account_id = a.id
    WHERE a.id IS NULL
       OR a.posted_debits <> COALESCE(s.debits, 0)
       OR a.posted_credits <> COALESCE(s.credits, 0)
       OR a.sequence <> COALESCE(s.sequence, 0)
       OR a.sequence <> COALESCE(s.entries, 0)
"""
_PENDING: Final = """
    WITH held AS (
        SELECT (line->>0)::uuid AS account_id, (line->>1)::bigint AS amount_minor
        FROM ledger.holds h CROSS JOIN json_array_elements(h.lines) AS line
        WHERE h.state = 'pending'
    ), summed AS (
        SELECT account_id,
            COALESCE(sum(amount_minor) FILTER (WHERE amount_minor > 0), 0) AS debits,
            COALESCE(-sum(amount_minor) FILTER (WHERE amount_minor < 0), 0) AS credits
        FROM held GROUP BY account_id
    )
    SELECT COALESCE(a.id, s.account_id)::text AS row,
        format('stored: pending debits %s, pending credits %s; by open holds: %s, %s',
            a.pending_debits, a.pending_credits, COALESCE(s.debits, 0), COALESCE(s.credits, 0))
            AS detail
    FROM ledger.accounts a FULL JOIN summed s ON s.account_id = a.id
    WHERE a.id IS NULL
       OR a.pending_debits <> COALESCE(s.debits, 0)
       OR a.pending_credits <> COALESCE(s.credits, 0)
"""
_HEADS: Final = """
    WITH moved AS (
        SELECT account_id, max(at) AS at FROM (
            SELECT e.account_id, e.recorded_at AS at
            FROM ledger.accounts a
            JOIN ledger.entries e ON e.account_id = a.id AND e.sequence = a.sequence
          UNION ALL
            SELECT (line->>0)::uuid, COALESCE(h.ended_at, t.recorded_at)
            FROM ledger.holds h
            JOIN ledger.transactions t ON t.id = h.transaction_id
            CROSS JOIN json_array_elements(h.lines) AS line
        ) AS touched GROUP BY account_id
    )
    SELECT a.id::text AS row,
        format('stored: last hash %s, moved at %s; by its entries and holds: %s, %s',
            left(encode(a.last_hash, 'hex'), 16), a.moved_at,
            left(encode(e.hash, 'hex'), 16), m.at) AS detail
    FROM ledger.accounts a
    LEFT JOIN ledger.entries e ON e.account_id = a.id AND e.sequence = a.sequence
    LEFT JOIN moved m ON m.account_id = a.id
    WHERE a.last_hash <> COALESCE(e.hash, decode(repeat('00', 32), 'hex'))
       OR a.moved_at IS DISTINCT FROM m.at
"""
_SEALS: Final = """
    SELECT id::text AS row, 'its seal does not match its columns' AS detail
    FROM ledger.accounts
    WHERE seal <> platform.seal(id::text, owner_id::text, code, type, currency, floor_minor::text,
        status, platform.epoch_us(created_at)::text)
"""
_CLOSED: Final = """
    SELECT id::text AS row, 'it is closed and holds money' AS detail
    FROM ledger.accounts
    WHERE status = 'closed'
      AND (posted_debits <> posted_credits OR pending_debits > 0 OR pending_credits > 0)
"""
_ZERO: Final = """
    SELECT currency AS row,
        format('posted debits less credits: %s; pending: %s',
            sum(posted_debits) - sum(posted_credits), sum(pending_debits) - sum(pending_credits))
            AS detail
    FROM ledger.accounts GROUP BY currency
    HAVING sum(posted_debits) <> sum(posted_credits)
        OR sum(pending_debits) <> sum(pending_credits)
"""
_IN_THE_CHART: Final = """
    SELECT id, owner_id, code, type, currency, floor_minor, status FROM ledger.accounts
    WHERE id = ANY($1::uuid[]) OR owner_id IS NULL AND code = ANY($2::text[])
    ORDER BY id
"""
_CHART: Final = "the platform's own accounts are those of its chart, and stay"


async def _find_strangers(tx: Tx) -> Sequence[Finding]:
    """Accounts that have the id, or the code and currency, of one that they are not."""
    found = []
    for row in await tx.fetch(_IN_THE_CHART, [*PLATFORM_ACCOUNTS], [*PLATFORM_CODES]):
        ours = PLATFORM_ACCOUNTS.get(row["id"])
        stored = row["owner_id"], row["code"], row["type"], row["currency"], row["floor_minor"]
        if (
            ours is None
            or stored != (None, ours.code, ours.type.value, ours.currency.code, ours.floor_minor)
            or row["status"] == AccountStatus.CLOSED.value
        ):
            detail = f"{row['status']} {row['type']} {row['code']} in {row['currency']}"
            found.append(
                Finding(
                    table="ledger.accounts", row=str(row["id"]), invariant=_CHART, detail=detail
                )
            )
    return found[:MOST_FINDINGS]


CHECKS: Final = (
    sql_check(
        "account sums",
        table="ledger.accounts",
        invariant="posted sums and sequence equal the account's entries",
        query=_SUMS,
    ),
    sql_check(
        "pending sums",
        table="ledger.accounts",
        invariant="pending sums equal the lines of open holds",
        query=_PENDING,
    ),
    sql_check(
        "account heads",
        table="ledger.accounts",
        invariant="the last hash and the last time are those of the last entry or hold",
        query=_HEADS,
    ),
    sql_check(
        "account seals",
        table="ledger.accounts",
        invariant="a seal covers what an account is and may do",
        query=_SEALS,
    ),
    sql_check(
        "closed accounts",
        table="ledger.accounts",
        invariant="a closed account is empty",
        query=_CLOSED,
    ),
    sql_check(
        "zero in each currency",
        table="ledger.accounts",
        invariant="all accounts of a currency sum to zero",
        query=_ZERO,
    ),
    Check(
        name="platform accounts", table="ledger.accounts", invariant=_CHART, find=_find_strangers
    ),
)
