"""Payments as rows: written with their claims in one statement, sealed, and read back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from guilder.kernel.currencies import CURRENCIES
from guilder.kernel.errors import Refusal
from guilder.kernel.ids import UserId
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
from guilder.platform.db_rows import (
    digest_column,
    id_column,
    integer_column,
    moment_column,
    row,
    row_array,
    rows,
    text_column,
    word_column,
)
from guilder.platform.db_writes import Write

COLUMNS: Final = """
    t.id, t.type, t.status, t.owner_id, t.from_wallet_id, t.to_wallet_id, t.amount_minor,
    t.currency, t.description, t.idempotency_key, t.failure_code, t.failure_message,
    t.failure_details::text, t.created_at, t.effective_at
"""
_FIND_CLAIMS: Final = f"""
    SELECT {COLUMNS}, i.owner_id AS claimed_by, i.key AS claimed_key,
        i.created_at > clock_timestamp() - $3::interval AS is_claimed
    FROM unnest($1::uuid[], $2::text[]) AS wanted(owner_id, key)
    CROSS JOIN LATERAL (
        SELECT * FROM payments.idempotency i
        WHERE i.owner_id = wanted.owner_id AND i.key = wanted.key
        OFFSET 0  -- key by key: however few there seem to be, they are not read from end to end
    ) AS i
    LEFT JOIN payments.transactions t ON t.id = i.transaction_id
"""
# A key that another transaction has taken since we looked is an error, after which the batch looks
# again. To leave it alone (ON CONFLICT) would cost each of the others a second look at the index,
# a lock and a second mark on its row.
_PAYMENTS: Final = (
    ("made", f"SELECT * FROM unnest($1::{row_array('payments.new_payments')})"),
    (
        "claimed",
        """
        INSERT INTO payments.idempotency
            (owner_id, key, fingerprint, transaction_id, outcome, created_at)
        SELECT owner_id, key, fingerprint, id, COALESCE(failure_code, status), $2 FROM made
        """,
    ),
    (
        "kept",
        """
        INSERT INTO payments.transactions (id, type, status, owner_id, from_wallet_id,
            to_wallet_id, amount_minor, currency, description, idempotency_key, failure_code,
            failure_message, failure_details, created_at, effective_at, seal)
        SELECT id, type, status, owner_id, from_wallet_id, to_wallet_id, amount_minor, currency,
            description, key, failure_code, failure_message, failure_details::json, $2,
            effective_at, seal
        FROM made
        """,
    ),
)
_KEYS: Final = frozenset({"payments.idempotency_pkey"})
_FREE: Final = """
    DELETE FROM payments.idempotency
    WHERE (owner_id, key) IN (
        SELECT i.owner_id, i.key
        FROM unnest($1::uuid[], $2::text[]) AS over(owner_id, key)
        JOIN payments.idempotency i ON i.owner_id = over.owner_id AND i.key = over.key
        WHERE i.created_at <= statement_timestamp() - $3::interval
        ORDER BY i.owner_id, i.key FOR UPDATE OF i
    )
"""
_NO_FAILURE: Final = (text_column(None),) * 3
# In order of age, not of keys: whoever waits for no lock needs no order of locks.
_FORGET: Final = """
    DELETE FROM payments.idempotency WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM payments.idempotency
        WHERE created_at <= statement_timestamp() - $1::interval
        ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ))
"""


class Claims(NamedTuple):
    """What is known of some keys: the payments that they belong to, and those new again."""

    payments: dict[Claim, Payment]
    over: frozenset[Claim]
    """Their day is over, but their rows are there."""


async def find_claims(tx: Tx, claims: Sequence[Claim]) -> Claims:
    """The payments that these keys belong to.

    How old a key is, the server's clock says, not the time of a book, which is ahead for as long
    as one of its accounts is: a key that is taken for over pays again.
    """
    found = await tx.fetch(
        _FIND_CLAIMS,
        [owner_id for owner_id, _ in claims],
        [key for _, key in claims],
        KEY_LIFETIME,
    )
    # Of a key that is over nothing else is read: whatever became of its payment, it is new.
    live = [payment(each) for each in found if each["is_claimed"] and each["id"] is not None]
    over = [each for each in found if not each["is_claimed"]]
    return Claims(
        {_claim(kept): kept for kept in live},
        frozenset((UserId(each["claimed_by"]), each["claimed_key"]) for each in over),
    )


async def free_keys(tx: Tx, *, over: frozenset[Claim], payments: Sequence[Payment]) -> None:
    """Let go of the keys of these payments that are ``over``, so that they can be claimed anew."""
    if again := over and over.intersection(map(_claim, payments)):
        ids, keys = zip(*again, strict=True)
        await tx.execute(_FREE, ids, keys, KEY_LIFETIME)


def write_of(payments: Sequence[Payment], *, now: datetime) -> Write:
    """Payments to be kept, and their keys to be claimed.

    It is a race where another process has taken one of the keys in the meantime.
    """
    # In the order of their keys, so that two batches that share some wait and never deadlock.
    ordered = sorted(payments, key=lambda each: (each.order.caller_id.bytes, each.order.key))
    packed_rows = rows([packed(each) for each in ordered])
    return Write(parts=_PAYMENTS, args=(packed_rows, now), races=_KEYS)


def _claim(kept: Payment) -> Claim:
    return kept.order.caller_id, kept.order.key


def packed(kept: Payment) -> bytes:
    """A row of ``payments.new_payment``."""
    order, failure = kept.order, kept.failure
    mark = fingerprint(order)
    return row(
        id_column(kept.id),
        word_column(order.type),
        word_column(kept.status),
        id_column(order.caller_id),
        id_column(order.from_wallet_id),
        id_column(order.to_wallet_id),
        integer_column(order.amount_minor),
        word_column(order.currency.code),
        text_column(order.description),
        text_column(order.key),
        *(_NO_FAILURE if failure is None else _reason(failure)),
        moment_column(order.effective_at),
        digest_column(payment_seal(kept, fingerprint=mark)),
        digest_column(mark),
    )


def _reason(failure: Refusal) -> tuple[bytes, ...]:
    return text_column(failure.code), text_column(failure.message), text_column(details(failure))


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
