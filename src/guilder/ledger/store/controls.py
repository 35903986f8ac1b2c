"""Controls as rows, and how much of them the entries say is used."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from guilder.kernel.currencies import CURRENCIES
from guilder.kernel.ids import AccountId, ControlId, UserId
from guilder.ledger.api import ControlLimits, Direction
from guilder.ledger.domain.controls import Control, window_starts
from guilder.ledger.domain.seals import control_seal
from guilder.platform.db import Row, Tx

_COLUMNS: Final = """
    id, subject_id, currency, direction, kinds, per_transaction_minor, per_day_minor,
    per_month_minor, time_zone, day_used_minor, month_used_minor, created_at, used_at
"""
# The last row is the time, read when every lock before it has been had.
_AND_TIME: Final = f"""
    SELECT {_COLUMNS}, NULL::timestamptz AS now FROM locked
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        clock_timestamp()
"""
_LOCK_ON: Final = f"""
    WITH locked AS MATERIALIZED (
        SELECT {_COLUMNS} FROM ledger.controls
        WHERE subject_id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
    ) {_AND_TIME}
"""
_MOVED: Final = """
    FROM ledger.controls
    WHERE (subject_id = ANY($1::uuid[]) AND direction = 'outflow'
            OR subject_id = ANY($2::uuid[]) AND direction = 'inflow')
      AND (kinds IS NULL OR kinds && $3::text[]) AND currency = ANY($4::text[])
"""
_LOCK_MOVED: Final = f"""
    WITH locked AS MATERIALIZED (
        SELECT {_COLUMNS} {_MOVED} ORDER BY id FOR NO KEY UPDATE
    ) {_AND_TIME}
"""
_LOCK_FREE: Final = f"""
    WITH free AS MATERIALIZED (
        SELECT id {_MOVED} ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    )
    SELECT subject_id, direction {_MOVED} AND id NOT IN (SELECT id FROM free)
"""
_LOCK: Final = f"SELECT {_COLUMNS} FROM ledger.controls WHERE id = $1 FOR NO KEY UPDATE"
_READ: Final = f"SELECT {_COLUMNS} FROM ledger.controls"
_EXISTS: Final = "SELECT EXISTS (SELECT FROM ledger.controls WHERE id = $1)"
_INSERT: Final = """
    INSERT INTO ledger.controls (id, subject_id, currency, direction, kinds,
        per_transaction_minor, per_day_minor, per_month_minor, time_zone, day_used_minor,
        month_used_minor, created_at, used_at, seal)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
    ON CONFLICT (id) DO NOTHING RETURNING id
"""
_CHANGE: Final = """
    UPDATE ledger.controls SET kinds = $2, per_transaction_minor = $3, per_day_minor = $4,
        per_month_minor = $5, time_zone = $6, day_used_minor = $7, month_used_minor = $8,
        used_at = $9, seal = $10
    WHERE id = $1
"""
# An amount counts from when its transaction was recorded: what is posted or held, less what a
# reversal gave back. What a hold let go never counts.
_USED: Final = """
    WITH wanted AS MATERIALIZED (
        SELECT c.id, c.subject_id, c.currency, c.direction, c.kinds,
            greatest(w.day_from, c.created_at) AS day_from,
            greatest(w.month_from, c.created_at) AS month_from
        FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS w(id, day_from, month_from)
        JOIN ledger.controls c ON c.id = w.id
    ), covered AS MATERIALIZED (
        SELECT w.*, a.id AS account_id, a.type IN ('asset', 'expense') AS is_debit_normal
        FROM wanted w JOIN ledger.accounts a ON a.id = w.subject_id AND a.currency = w.currency
      UNION ALL
        SELECT w.*, a.id, a.type IN ('asset', 'expense')
        FROM wanted w
        JOIN ledger.accounts a ON a.owner_id = w.subject_id AND a.currency = w.currency
    ), counted AS (
        SELECT e.account_id, e.amount_minor, 1 AS weight, t.kind, t.recorded_at
        FROM ledger.entries e JOIN ledger.transactions t ON t.id = e.transaction_id
        WHERE e.account_id IN (SELECT account_id FROM covered)
          AND e.recorded_at >= $4 AND t.recorded_at >= $4 AND t.reverses_id IS NULL
      UNION ALL
        SELECT (line->>0)::uuid, (line->>1)::bigint, 1, t.kind, t.recorded_at
        FROM ledger.holds h
        JOIN ledger.transactions t ON t.id = h.transaction_id
        CROSS JOIN json_array_elements(h.lines) AS line
        WHERE h.state = 'pending' AND t.recorded_at >= $4
      UNION ALL
        SELECT e.account_id, -e.amount_minor, -1, o.kind, o.recorded_at
        FROM ledger.transactions r
        JOIN ledger.transactions o ON o.id = r.reverses_id
        JOIN ledger.entries e ON e.transaction_id = r.id
        WHERE o.recorded_at >= $4
    )
    SELECT c.id,
        sum(x.weight * abs(x.amount_minor)) FILTER (WHERE x.recorded_at >= c.day_from) AS day_used,
        sum(x.weight * abs(x.amount_minor)) AS month_used
    FROM covered c JOIN counted x ON x.account_id = c.account_id
    WHERE x.recorded_at >= c.month_from
      AND (c.kinds IS NULL OR x.kind = ANY(c.kinds))
      AND ((x.amount_minor > 0) <> c.is_debit_normal) = (c.direction = 'outflow')
    GROUP BY c.id
"""

_DIRECTIONS: Final = {direction.value: direction for direction in Direction}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limiting:
    """Which controls: those on what leaves or enters these subjects, by these kinds."""

    leaves: Collection[UUID]
    enters: Collection[UUID]
    kinds: Collection[str]
    currencies: Collection[str]

    def parameters(self) -> tuple[object, ...]:
        """In the order in which the statements have them."""
        return self.leaves, self.enters, self.kinds, self.currencies


async def lock_controls(
    tx: Tx, subject_ids: Collection[UserId | AccountId]
) -> tuple[list[Control], datetime]:
    """Lock the controls on accounts or owners in id order; answers them, and the time then."""
    return _controls_and_time(await tx.fetch(_LOCK_ON, subject_ids))


async def lock_controls_on(tx: Tx, limiting: Limiting) -> tuple[list[Control], datetime]:
    """Lock these controls in id order; answers them, and the time then."""
    return _controls_and_time(await tx.fetch(_LOCK_MOVED, *limiting.parameters()))


async def lock_free_on(tx: Tx, limiting: Limiting) -> set[tuple[UUID, Direction]]:
    """Lock those of these controls that nobody else has locked; answers what the others are on."""
    rows = await tx.fetch(_LOCK_FREE, *limiting.parameters())
    return {(row[0], _DIRECTIONS[row[1]]) for row in rows}


async def lock_control(tx: Tx, control_id: ControlId) -> Control | None:
    """Lock one control and read it."""
    row = await tx.fetchrow(_LOCK, control_id)
    return None if row is None else _control(row)


async def read_controls(tx: Tx) -> list[Control]:
    """Read all controls without locking them."""
    return [_control(row) for row in await tx.fetch(_READ)]


async def control_exists(tx: Tx, control_id: ControlId) -> bool:
    """Whether a control has this id."""
    return bool(await tx.fetchval(_EXISTS, control_id))


async def insert_control(tx: Tx, control: Control) -> bool:
    """Insert a control, whose subject is locked, unless one has its id. Was it inserted?"""
    inserted = await tx.fetchval(
        _INSERT,
        control.id,
        control.subject_id,
        control.currency.code,
        control.direction.value,
        *_allowed(control),
        control.day_used_minor,
        control.month_used_minor,
        control.created_at,
        control.used_at,
        control_seal(control),
    )
    return inserted is not None


async def change_control(tx: Tx, control: Control) -> None:
    """Store what a locked control allows and how much of it is used."""
    await tx.execute(
        _CHANGE,
        control.id,
        *_allowed(control),
        control.day_used_minor,
        control.month_used_minor,
        control.used_at,
        control_seal(control),
    )


async def used(tx: Tx, controls: Collection[Control]) -> Mapping[UUID, tuple[int, int]]:
    """What of each control is used in its day and month, counted again from the entries.

    Kinds are those that are stored; the windows are those of each ``used_at`` and ``time_zone``
    as given. A control of which nothing is used is left out.
    """
    if not controls:
        return {}
    starts: dict[tuple[datetime, str], tuple[datetime, datetime]] = {}
    for control in controls:
        key = control.used_at, control.time_zone
        if key not in starts:
            starts[key] = window_starts(*key)
    windows = [starts[control.used_at, control.time_zone] for control in controls]
    rows = await tx.fetch(
        _USED,
        [control.id for control in controls],
        [day for day, _ in windows],
        [month for _, month in windows],
        min(month for _, month in windows),
    )
    return {row[0]: (int(row[1] or 0), int(row[2])) for row in rows}


def _allowed(control: Control) -> tuple[object, ...]:
    return (
        None if control.kinds is None else sorted(control.kinds),
        control.limits.per_transaction_minor,
        control.limits.per_day_minor,
        control.limits.per_month_minor,
        control.time_zone,
    )


def _controls_and_time(rows: Sequence[Row]) -> tuple[list[Control], datetime]:
    return [_control(row) for row in rows[:-1]], rows[-1]["now"]


def _control(row: Row) -> Control:
    return Control(
        id=ControlId(row[0]),
        subject_id=row[1],
        currency=CURRENCIES[row[2]],
        direction=_DIRECTIONS[row[3]],
        kinds=None if row[4] is None else frozenset(row[4]),
        limits=ControlLimits(
            per_transaction_minor=row[5], per_day_minor=row[6], per_month_minor=row[7]
        ),
        time_zone=row[8],
        day_used_minor=row[9],
        month_used_minor=row[10],
        created_at=row[11],
        used_at=row[12],
    )
