"""Controls: sealed, and used for exactly what entries and open holds say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from guilder.ledger.store.controls import read_controls, used
from guilder.platform.checks import MOST_FINDINGS, Check, Finding, sql_check
from guilder.platform.db import Tx

_SEALS: Final = """
    SELECT id::text AS row, 'its seal does not match its columns' AS detail
    FROM ledger.controls
    WHERE seal <> platform.seal(id::text, subject_id::text, currency, direction,
        array_to_string(kinds, ','), per_transaction_minor::text, per_day_minor::text,
        per_month_minor::text, time_zone, platform.epoch_us(created_at)::text,
        platform.epoch_us(used_at)::text, day_used_minor::text, month_used_minor::text)
"""
_USED: Final = "what is used of a control follows from entries, open holds and reversals"


async def _find_misused(tx: Tx) -> Sequence[Finding]:
    controls = await read_controls(tx)
    counted = await used(tx, controls)
    found = []
    for control in controls:
        stored = control.day_used_minor, control.month_used_minor
        expected = counted.get(control.id, (0, 0))
        if stored != expected:
            detail = f"stored: day {stored[0]}, month {stored[1]}; counted again: {expected}"
            found.append(
                Finding(
                    table="ledger.controls", row=str(control.id), invariant=_USED, detail=detail
                )
            )
    return found[:MOST_FINDINGS]


CHECKS: Final = (
    sql_check(
        "control seals",
        table="ledger.controls",
        invariant="a seal covers every column of a control",
        query=_SEALS,
    ),
    Check(name="control use", table="ledger.controls", invariant=_USED, find=_find_misused),
)
