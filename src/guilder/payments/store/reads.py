"""Reads of payments: by id, and pages of what an owner's wallets took part in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from guilder.kernel.ids import TransactionId, WalletId
from guilder.payments.api import Payment, Search
from guilder.payments.store.records import COLUMNS, payment
from guilder.platform.db import Tx

_ONE: Final = f"SELECT {COLUMNS} FROM payments.transactions t WHERE t.id = $1"

# Both sides of every wallet are walked down their index from the cursor; each side stops at the
# page's size, so a page costs the same wherever it lies. Who receives sees no failed attempts.
_FILTERS: Final = """
    t.id < $2
    AND ($4::text[] IS NULL OR t.type = ANY($4))
    AND ($5::text IS NULL OR t.status = $5)
    AND ($6::bigint IS NULL OR t.amount_minor >= $6)
    AND ($7::bigint IS NULL OR t.amount_minor <= $7)
    AND ($8::timestamptz IS NULL OR COALESCE(t.effective_at, t.created_at) >= $8)
    AND ($9::timestamptz IS NULL OR COALESCE(t.effective_at, t.created_at) < $9)
    AND ($10::text IS NULL OR t.currency = $10)
    AND ($11::text IS NULL OR strpos(lower(t.description), lower($11)) > 0)
    AND ($12::uuid IS NULL OR $12 IN (t.from_wallet_id, t.to_wallet_id))
"""
_PAGE: Final = f"""
    SELECT DISTINCT ON (t.id) t.* FROM (
        SELECT sent.* FROM unnest($1::uuid[]) AS wallet(id) CROSS JOIN LATERAL (
            SELECT {COLUMNS} FROM payments.transactions t
            WHERE t.from_wallet_id = wallet.id AND {_FILTERS}
            ORDER BY t.id DESC LIMIT $3
        ) sent
      UNION ALL
        SELECT received.* FROM unnest($1::uuid[]) AS wallet(id) CROSS JOIN LATERAL (
            SELECT {COLUMNS} FROM payments.transactions t
            WHERE t.to_wallet_id = wallet.id
              AND (t.status <> 'failed' OR t.from_wallet_id IS NULL) AND {_FILTERS}
            ORDER BY t.id DESC LIMIT $3
        ) received
    ) t
    ORDER BY t.id DESC LIMIT $3
"""


async def one(tx: Tx, payment_id: TransactionId) -> Payment | None:
    """The payment with this id."""
    row = await tx.fetchrow(_ONE, payment_id)
    return None if row is None else payment(row)


async def page(
    tx: Tx, wallets: Sequence[WalletId], *, search: Search, before: TransactionId, limit: int
) -> list[Payment]:
    """Payments of these wallets, newest first, from below an id."""
    rows = await tx.fetch(
        _PAGE,
        wallets,
        before,
        limit,
        None if search.types is None else [type_.value for type_ in search.types],
        None if search.status is None else search.status.value,
        search.least_minor,
        search.most_minor,
        search.since,
        search.until,
        search.currency,
        search.text,
        search.counterparty,
    )
    return [payment(row) for row in rows]
