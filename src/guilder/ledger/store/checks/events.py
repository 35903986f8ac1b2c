"""Events of the ledger that are still kept: what they tell of is there, as they tell it.

So a row that was taken out with everything that leans on it (a voided hold and its transaction, all
changes of a floor) is missed for as long as its event is kept.
"""

from __future__ import annotations

from typing import Final

from guilder.ledger.domain.holds import HoldState
from guilder.ledger.events import (
    AccountFloorChanged,
    AccountOpened,
    AccountStatusChanged,
    ControlSet,
    HoldExpired,
    HoldOpened,
    HoldPosted,
    HoldVoided,
    TransactionPosted,
    TransactionReversed,
    TransactionsPosted,
)
from guilder.platform.checks import sql_check

_ENDS: Final = ", ".join(
    f"('{fact.TYPE}', '{state.value}')"
    for fact, state in (
        (HoldPosted, HoldState.POSTED),
        (HoldVoided, HoldState.VOIDED),
        (HoldExpired, HoldState.EXPIRED),
    )
)
_TRANSACTIONS: Final = f"""
    WITH told AS (
        SELECT id, type, (data->>'transaction_id')::uuid AS transaction_id, data
        FROM platform.outbox
        WHERE type IN ('{TransactionPosted.TYPE}', '{TransactionReversed.TYPE}',
            '{HoldOpened.TYPE}', '{HoldPosted.TYPE}', '{HoldVoided.TYPE}', '{HoldExpired.TYPE}')
      UNION ALL
        SELECT id, type, (data->>unnest(array['first_id', 'last_id']))::uuid, data
        FROM platform.outbox WHERE type = '{TransactionsPosted.TYPE}'
    )
    SELECT COALESCE(told.transaction_id::text, told.id::text) AS row,
        format('event %s tells of it otherwise, or it does not exist', told.id) AS detail
    FROM told
    LEFT JOIN ledger.transactions t ON t.id = told.transaction_id
    LEFT JOIN ledger.holds h ON h.transaction_id = told.transaction_id
    LEFT JOIN (VALUES {_ENDS}) AS ends(type, state) ON ends.type = told.type
    LEFT JOIN ledger.transactions r ON r.id = (told.data->>'reversal_id')::uuid
    WHERE t.id IS NULL OR h.state IS DISTINCT FROM COALESCE(ends.state, h.state)
       OR (told.type = '{HoldOpened.TYPE}' AND h.transaction_id IS NULL)
       OR t.kind <> told.data->>'kind'
       OR (told.type = '{TransactionReversed.TYPE}'
            AND r.reverses_id IS DISTINCT FROM told.transaction_id)
"""
_ACCOUNTS: Final = f"""
    SELECT COALESCE(e.data->>'account_id', e.id::text) AS row,
        format('event %s tells of it otherwise, or it does not exist', e.id) AS detail
    FROM platform.outbox e LEFT JOIN ledger.accounts a ON a.id = (e.data->>'account_id')::uuid
    WHERE e.type IN ('{AccountOpened.TYPE}', '{AccountStatusChanged.TYPE}',
            '{AccountFloorChanged.TYPE}')
      AND (a.id IS NULL OR a.currency <> e.data->>'currency' OR a.code <> e.data->>'code')
  UNION ALL
    SELECT COALESCE(e.data->>'control_id', e.id::text),
        format('event %s tells of it otherwise, or it does not exist', e.id)
    FROM platform.outbox e LEFT JOIN ledger.controls c ON c.id = (e.data->>'control_id')::uuid
    WHERE e.type = '{ControlSet.TYPE}' AND c.subject_id::text IS DISTINCT FROM e.key
"""
_FLOORS: Final = f"""
    WITH told AS (
        SELECT data->>'account_id' AS account_id, count(*) AS times
        FROM platform.outbox WHERE type = '{AccountFloorChanged.TYPE}' GROUP BY 1
    ), kept AS (
        SELECT account_id::text, count(*) AS times FROM ledger.floor_changes GROUP BY 1
    )
    SELECT told.account_id AS row,
        format('%s changes of its floor were told of, and there are %s', told.times,
            COALESCE(kept.times, 0)) AS detail
    FROM told LEFT JOIN kept USING (account_id)
    WHERE told.times > COALESCE(kept.times, 0)
"""

CHECKS: Final = (
    sql_check(
        "transactions told of",
        table="ledger.transactions",
        invariant="a transaction or hold that an event tells of is there, as it tells",
        query=_TRANSACTIONS,
    ),
    sql_check(
        "accounts told of",
        table="ledger.accounts",
        invariant="an account or control that an event tells of is there, as it tells",
        query=_ACCOUNTS,
    ),
    sql_check(
        "floors told of",
        table="ledger.floor_changes",
        invariant="every change of a floor that an event tells of is there",
        query=_FLOORS,
    ),
)
