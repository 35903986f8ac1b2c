"""Holds as rows: their lines are kept as JSON beside the transaction that opened them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from guilder.kernel.ids import TransactionId
from guilder.ledger.domain.holds import Hold, HoldState
from guilder.ledger.domain.seals import hold_lines, hold_seal
from guilder.ledger.store.transactions import lines_of
from guilder.platform.db import Row, Tx
from guilder.platform.db_writes import Write

_OPEN: Final = """
    INSERT INTO ledger.holds (transaction_id, lines, amount_minor, state, expires_at, seal)
    SELECT id, lines::json, amount_minor, 'pending', expires_at, seal
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[], $5::bytea[])
        AS h(id, lines, amount_minor, expires_at, seal)
"""
_END: Final = """
    UPDATE ledger.holds h
    SET state = v.state, posted_minor = v.posted_minor, ended_at = v.ended_at, seal = v.seal
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[], $5::bytea[])
        AS v(id, state, posted_minor, ended_at, seal)
    WHERE h.transaction_id = v.id
"""
_COLUMNS: Final = """
    SELECT h.transaction_id, t.kind, h.lines::text, h.expires_at, t.recorded_at, t.digest,
        h.posted_minor, h.state, h.ended_at
    FROM ledger.holds h JOIN ledger.transactions t ON t.id = h.transaction_id
    WHERE h.transaction_id = ANY($1::uuid[])
"""
_LOCK: Final = f"{_COLUMNS} ORDER BY h.transaction_id FOR NO KEY UPDATE OF h"
_DUE: Final = """
    SELECT transaction_id FROM ledger.holds
    WHERE state = 'pending' AND expires_at <= $1 ORDER BY expires_at, transaction_id LIMIT $2
"""


def write_of_opened(holds: Sequence[Hold]) -> Write:
    """Holds that are new."""
    return Write(
        parts=(("held", _OPEN),),
        args=(
            [hold.transaction_id for hold in holds],
            [hold_lines(hold.lines) for hold in holds],
            [hold.amount_minor for hold in holds],
            [hold.expires_at for hold in holds],
            [hold_seal(hold) for hold in holds],
        ),
    )


def write_of_ended(holds: Sequence[Hold]) -> Write:
    """How holds ended, of which none is new."""
    return Write(
        parts=(("released", _END),),
        args=(
            [hold.transaction_id for hold in holds],
            [hold.state.value for hold in holds],
            [hold.posted_minor for hold in holds],
            [hold.ended_at for hold in holds],
            [hold_seal(hold) for hold in holds],
        ),
    )


async def read_holds(tx: Tx, transaction_ids: Collection[TransactionId]) -> list[Hold]:
    """Read holds without locking them: enough to know which accounts they touch."""
    return [_hold(row) for row in await tx.fetch(_COLUMNS, transaction_ids)]


async def lock_holds(tx: Tx, transaction_ids: Collection[TransactionId]) -> list[Hold]:
    """Lock holds in id order and read them. Their accounts are locked before."""
    return [_hold(row) for row in await tx.fetch(_LOCK, transaction_ids)]


async def due_holds(tx: Tx, *, now: datetime, limit: int) -> list[TransactionId]:
    """Open holds whose time is over, the oldest first."""
    return [row["transaction_id"] for row in await tx.fetch(_DUE, now, limit)]


def _hold(row: Row) -> Hold:
    return Hold(
        transaction_id=row["transaction_id"],
        kind=row["kind"],
        lines=lines_of(row["lines"]),
        expires_at=row["expires_at"],
        recorded_at=row["recorded_at"],
        digest=row["digest"],
        posted_minor=row["posted_minor"],
        state=HoldState(row["state"]),
        ended_at=row["ended_at"],
    )
