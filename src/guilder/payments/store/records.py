"""Payments as rows: written with their claims in one statement, sealed, and read back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from guilder.kernel.currencies import CURRENCIES
from guilder.kernel.errors import Refusal
from guilder.payments.api import (
    FailedBefore,
    Payment,
    PaymentOrder,
    PaymentStatus,
    PaymentType,
)
from guilder.payments.domain import KEPT_REFUSALS, KEY_LIFETIME, Claim
from guilder.payments.store.seals import details, fingerprint, payment_seal
from guilder.platform.db import Row, Tx, rows_done

COLUMNS: Final = """
    t.id, t.type, t.status, t.owner_id, t.from_wallet_id, t.to_wallet_id, t.amount_minor,
    t.currency, t.description, t.idempotency_key, t.failure_code, t.failure_message,
    t.failure_details::text, t.created_at, t.effective_at
"""
_FIND_CLAIMS: Final = f"""
    SELECT {COLUMNS}
    FROM unnest($1::uuid[], $2::text[]) AS wanted(owner_id, key)
    JOIN payments.idempotency i ON i.owner_id = wanted.owner_id AND i.key = wanted.key
    JOIN payments.transactions t ON t.id = i.transaction_id
    WHERE i.created_at > $3
"""
# A key whose day is over is taken again in its place. One that another transaction has taken since
# we looked is left alone, and the count tells: our batch then looks again.
_WRITE: Final = """
    WITH new AS MATERIALIZED (
        SELECT * FROM unnest($1::payments.new_payment[])
    ), claimed AS (
        INSERT INTO payments.idempotency AS i
            (owner_id, key, fingerprint, transaction_id, outcome, created_at)
        SELECT owner_id, key, fingerprint, id, COALESCE(failure_code, status), $2 FROM new
        ON CONFLICT (owner_id, key) DO UPDATE
            SET fingerprint = excluded.fingerprint, transaction_id = excluded.transaction_id,
                outcome = excluded.outcome, created_at = excluded.created_at
            WHERE i.created_at <= $3
        RETURNING 1
    ), kept AS (
        INSERT INTO payments.transactions (id, type, status, owner_id, from_wallet_id,
            to_wallet_id, amount_minor, currency, description, idempotency_key, failure_code,
            failure_message, failure_details, created_at, effective_at, seal)
        SELECT id, type, status, owner_id, from_wallet_id, to_wallet_id, amount_minor, currency,
            description, key, failure_code, failure_message, failure_details::json, $2,
            effective_at, seal
        FROM new
    )
    SELECT count(*) FROM claimed
"""
_FORGET: Final = """
    DELETE FROM payments.idempotency
    WHERE (owner_id, key) IN (
        SELECT owner_id, key FROM payments.idempotency
        WHERE created_at <= clock_timestamp() - $1::interval
        ORDER BY owner_id, key LIMIT $2 FOR UPDATE SKIP LOCKED
    )
"""


async def find_claims(tx: Tx, claims: Sequence[Claim], *, now: datetime) -> dict[Claim, Payment]:
    """The payments that these keys belong to, as far as their day is not over."""
    rows = await tx.fetch(
        _FIND_CLAIMS,
        [owner_id for owner_id, _ in claims],
        [key for _, key in claims],
        now - KEY_LIFETIME,
    )
    payments = [payment(row) for row in rows]
    return {(kept.order.caller_id, kept.order.key): kept for kept in payments}


async def write(tx: Tx, payments: Sequence[Payment], *, now: datetime) -> bool:
    """Write payments and claim their keys; false when a key was taken in the meantime."""
    # In the order of their keys, so that two batches that share some wait and never deadlock.
    ordered = sorted(payments, key=lambda kept: (kept.order.caller_id.bytes, kept.order.key))
    rows = [_row(kept) for kept in ordered]
    claimed = await tx.fetchval(_WRITE, rows, now, now - KEY_LIFETIME)
    return bool(claimed == len(ordered))


def _row(kept: Payment) -> tuple[object, ...]:
    order, failure = kept.order, kept.failure
    mark = fingerprint(order)
    return (
        kept.id,
        order.type.value,
        kept.status.value,
        order.caller_id,
        order.from_wallet_id,
        order.to_wallet_id,
        order.amount_minor,
        order.currency.code,
        order.description,
        order.key,
        failure.code if failure else None,
        failure.message if failure else None,
        details(failure) if failure else None,
        order.effective_at,
        payment_seal(kept, fingerprint=mark),
        mark,
    )


async def forget_old_claims(tx: Tx, *, limit: int) -> int:
    """Delete claims whose day is over; nobody can tell, for their keys are new again anyway."""
    done = await tx.execute(_FORGET, KEY_LIFETIME, limit)
    return rows_done(done)


def payment(row: Row) -> Payment:
    """A payment from its row (`COLUMNS`)."""
    return Payment(
        id=row["id"],
        order=PaymentOrder(
            type=PaymentType(row["type"]),
            caller_id=row["owner_id"],
            key=row["idempotency_key"],
            amount_minor=row["amount_minor"],
            currency=CURRENCIES[row["currency"]],
            from_wallet_id=row["from_wallet_id"],
            to_wallet_id=row["to_wallet_id"],
            description=row["description"],
            effective_at=row["effective_at"],
        ),
        status=PaymentStatus(row["status"]),
        created_at=row["created_at"],
        failure=_failure(row),
    )


def _failure(row: Row) -> Refusal | None:
    if row["failure_code"] is None:
        return None
    # A row of another version must not take its neighbours on a page down with it.
    kept = KEPT_REFUSALS.get(row["failure_code"], FailedBefore)(row["failure_message"])
    kept.details = msgspec.json.decode(row["failure_details"])
    return kept
