"""Payments as rows: written with their claims in one statement, sealed, and read back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from guilder.kernel.currencies import CURRENCIES
from guilder.kernel.errors import Refusal
from guilder.ledger.api import (
    AccountClosed,
    AccountFrozen,
    BalanceTooLarge,
    InsufficientFunds,
    LimitExceeded,
)
from guilder.payments.api import Payment, PaymentOrder, PaymentStatus, PaymentType
from guilder.payments.domain import KEY_LIFETIME, Claim
from guilder.payments.store.seals import details, fingerprint, payment_seal
from guilder.platform.db import Row, Tx, rows_done
from guilder.wallets.api import WalletNotActive

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
_PAYMENT_COLUMNS: Final = (
    "id",
    "type",
    "status",
    "owner_id",
    "from_wallet_id",
    "to_wallet_id",
    "amount_minor",
    "currency",
    "description",
    "idempotency_key",
    "failure_code",
    "failure_message",
    "failure_details",
    "created_at",
    "effective_at",
    "seal",
)
# A key whose day is over is taken again in its place. One that another transaction has taken since
# we looked is left alone, and the count tells: our batch then looks again.
_CLAIM: Final = """
    INSERT INTO payments.idempotency AS i
        (owner_id, key, fingerprint, transaction_id, outcome, created_at)
    SELECT owner_id, key, fingerprint, transaction_id, outcome, $6
    FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::uuid[], $5::text[])
        AS c(owner_id, key, fingerprint, transaction_id, outcome)
    ON CONFLICT (owner_id, key) DO UPDATE
        SET fingerprint = excluded.fingerprint, transaction_id = excluded.transaction_id,
            outcome = excluded.outcome, created_at = excluded.created_at
        WHERE i.created_at <= $7
"""
_FORGET: Final = """
    DELETE FROM payments.idempotency
    WHERE (owner_id, key) IN (
        SELECT owner_id, key FROM payments.idempotency
        WHERE created_at <= clock_timestamp() - $1::interval
        ORDER BY owner_id, key LIMIT $2 FOR UPDATE SKIP LOCKED
    )
"""
_KEPT_REFUSALS: Final[dict[str, type[Refusal]]] = {
    refusal.code: refusal
    for refusal in (
        AccountClosed,
        AccountFrozen,
        BalanceTooLarge,
        InsufficientFunds,
        LimitExceeded,
        WalletNotActive,
    )
}


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
    fingerprints = [fingerprint(kept.order) for kept in ordered]
    done = await tx.execute(
        _CLAIM,
        [kept.order.caller_id for kept in ordered],
        [kept.order.key for kept in ordered],
        fingerprints,
        [kept.id for kept in ordered],
        [kept.failure.code if kept.failure else kept.status.value for kept in ordered],
        now,
        now - KEY_LIFETIME,
    )
    if rows_done(done) != len(ordered):
        return False
    await tx.copy_records_to_table(
        "transactions",
        schema_name="payments",
        columns=_PAYMENT_COLUMNS,
        records=[_record(kept, mark) for kept, mark in zip(ordered, fingerprints, strict=True)],
    )
    return True


def _record(kept: Payment, mark: bytes) -> tuple[object, ...]:
    order, failure = kept.order, kept.failure
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
        kept.created_at,
        order.effective_at,
        payment_seal(kept, fingerprint=mark),
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
    kept = _KEPT_REFUSALS[row["failure_code"]](row["failure_message"])
    kept.details = msgspec.json.decode(row["failure_details"])
    return kept
