"""Floors: no account was ever below the floor of that time, what was held included."""

from __future__ import annotations

from typing import Final

from guilder.platform.checks import sql_check

_FLOORS: Final = """
    SELECT account_id, floor_minor, after_sequence,
        lead(after_sequence, 1, 9223372036854775807) OVER w AS until_sequence,
        changed_at AS from_at, lead(changed_at, 1, 'infinity') OVER w AS until_at
    FROM ledger.floor_changes WINDOW w AS (PARTITION BY account_id ORDER BY number)
  UNION ALL
    SELECT account_id, previous_floor_minor, -1, after_sequence, '-infinity', changed_at
    FROM ledger.floor_changes WHERE number = 1
  UNION ALL
    SELECT a.id, a.floor_minor, -1, 9223372036854775807, '-infinity', 'infinity'
    FROM ledger.accounts a
    WHERE NOT EXISTS (SELECT FROM ledger.floor_changes c WHERE c.account_id = a.id)
"""
_ENTRIES: Final = f"""
    WITH floors AS ({_FLOORS})
    SELECT e.account_id || ':' || e.sequence AS row,
        format('a balance of %s is below the floor of %s', e.balance_after_minor, f.floor_minor)
            AS detail
    FROM ledger.entries e
    JOIN floors f ON f.account_id = e.account_id
        AND e.sequence > f.after_sequence AND e.sequence <= f.until_sequence
    WHERE e.balance_after_minor < f.floor_minor
"""
# What one batch did has one time, and nothing tells its order: an end counts before, an opening
# after the entries of its time. So the last event of a time sees exactly what was true then.
_HELD: Final = f"""
    WITH floors AS ({_FLOORS}), lines AS MATERIALIZED (
        SELECT a.id AS account_id, abs((line->>1)::bigint) AS amount, t.recorded_at, h.ended_at
        FROM ledger.holds h
        JOIN ledger.transactions t ON t.id = h.transaction_id
        CROSS JOIN json_array_elements(h.lines) AS line
        JOIN ledger.accounts a ON a.id = (line->>0)::uuid
        WHERE ((line->>1)::bigint > 0) <> (a.type IN ('asset', 'expense'))
    ), events AS (
        SELECT e.account_id, e.recorded_at AS at, 1 AS place, e.sequence, 0::bigint AS held,
            CASE WHEN a.type IN ('asset', 'expense') THEN e.amount_minor ELSE -e.amount_minor END
                AS moved
        FROM ledger.entries e JOIN ledger.accounts a ON a.id = e.account_id
        WHERE e.account_id IN (SELECT account_id FROM lines)
      UNION ALL
        SELECT account_id, recorded_at, 2, NULL, amount, 0 FROM lines
      UNION ALL
        SELECT account_id, ended_at, 0, NULL, -amount, 0 FROM lines WHERE ended_at IS NOT NULL
    ), states AS (
        SELECT account_id, at, place, sequence, sum(moved) OVER w - sum(held) OVER w AS available
        FROM events
        WINDOW w AS (PARTITION BY account_id ORDER BY at, place, sequence
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    )
    SELECT s.account_id::text || COALESCE(':' || s.sequence, '') AS row,
        format('%s were available at %s, below the floor of %s', s.available, s.at, f.floor_minor)
            AS detail
    FROM states s
    JOIN floors f ON f.account_id = s.account_id
    WHERE s.available < f.floor_minor AND s.place > 0
      AND CASE WHEN s.sequence IS NULL THEN s.at >= f.from_at AND s.at < f.until_at
            ELSE s.sequence > f.after_sequence AND s.sequence <= f.until_sequence END
"""
_CHANGES: Final = """
    WITH changes AS (
        SELECT c.*, row_number() OVER w AS expected_number,
            lag(c.floor_minor) OVER w AS floor_before, lag(c.after_sequence) OVER w AS after_before,
            lag(c.changed_at) OVER w AS changed_before,
            lead(c.number) OVER w IS NULL AS is_last
        FROM ledger.floor_changes c WINDOW w AS (PARTITION BY c.account_id ORDER BY c.number)
    )
    SELECT c.account_id || ':' || c.number AS row,
        'it does not match its seal, the change before it or its account' AS detail
    FROM changes c LEFT JOIN ledger.accounts a ON a.id = c.account_id
    WHERE a.id IS NULL OR c.number <> c.expected_number OR c.after_sequence > a.sequence
       OR (c.number > 1 AND c.previous_floor_minor IS DISTINCT FROM c.floor_before)
       OR c.after_sequence < c.after_before OR c.changed_at < c.changed_before
       OR (c.is_last AND c.floor_minor IS DISTINCT FROM a.floor_minor)
       OR c.seal <> platform.seal(c.account_id::text, c.number::text, c.after_sequence::text,
            c.previous_floor_minor::text, c.floor_minor::text,
            platform.epoch_us(c.changed_at)::text)
"""

CHECKS: Final = (
    sql_check(
        "floors",
        table="ledger.entries",
        invariant="no balance is below the floor of its time",
        query=_ENTRIES,
    ),
    sql_check(
        "floors with holds",
        table="ledger.accounts",
        invariant="no available balance was ever below the floor of its time",
        query=_HELD,
    ),
    sql_check(
        "changes of floors",
        table="ledger.floor_changes",
        invariant="changes of a floor follow each other and are sealed",
        query=_CHANGES,
    ),
)
