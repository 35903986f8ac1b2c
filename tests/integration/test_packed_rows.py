"""Rows that we pack reach the server as what they say, whatever the values and where they end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import asyncpg
import pytest

from guilder.kernel.currencies import INR
from guilder.kernel.ids import AccountId, ControlId, EventId, TransactionId, UserId, WalletId
from guilder.ledger.api import (
    Account,
    AccountType,
    ControlLimits,
    Direction,
    InsufficientFunds,
    OriginalTransaction,
    TransactionDraft,
)
from guilder.ledger.domain.book import PostedEntry, PostedTransaction
from guilder.ledger.domain.controls import Control
from guilder.ledger.domain.seals import control_seal
from guilder.ledger.store import packed
from guilder.payments.api import Payment, PaymentOrder, PaymentStatus, PaymentType
from guilder.payments.store import records
from guilder.payments.store.seals import details, fingerprint, payment_seal
from guilder.platform import outbox
from guilder.platform.db import Database
from guilder.platform.db_rows import rows
from guilder.platform.identifiers import new_id
from guilder.platform.origin import Origin
from tests.support.database import OwnDatabase

NOW = datetime(2026, 11, 29, 23, 59, 59, 999_999, tzinfo=UTC)
LONG_AGO = datetime(1969, 12, 31, 23, 0, tzinfo=timezone(timedelta(hours=-5)))
DIGEST, LARGEST = bytes(range(32)), 2**63 - 1
TEXTS = ("", "a", "Füße 🦆 'quoted' \\ \" , ( ) NULL", "x" * 70_000)


async def read(db: Database, domain: str, packed_rows: Sequence[bytes]) -> list[tuple[object, ...]]:
    """What the server understands by these rows of a type."""
    found = await db.fetch(f"SELECT * FROM unnest($1::{domain})", rows(packed_rows))
    return [tuple(row) for row in found]


@pytest.mark.parametrize(
    "domain",
    [
        "ledger.new_transactions",
        "ledger.new_entries",
        "ledger.moved_accounts",
        "ledger.used_controls",
        "payments.new_payments",
        "platform.new_events",
    ],
)
async def test_no_rows_are_none(db: Database, domain: str):
    assert await read(db, domain, []) == []


async def test_transactions_with_and_without_what_they_may_lack(db: Database):
    plain = [
        PostedTransaction(
            draft=TransactionDraft(
                id=TransactionId(new_id()), kind="transfer", entries=(), description=text
            ),
            effective_at=moment,
            digest=DIGEST,
        )
        for text in TEXTS
        for moment in (NOW, LONG_AGO)
    ]
    reversing = PostedTransaction(
        draft=TransactionDraft(
            id=TransactionId(new_id()),
            kind="reversal",
            entries=(),
            metadata='{"a": "é"}',
            expires_at=NOW,
            reverses=OriginalTransaction(
                id=TransactionId(new_id()), kind="transfer", recorded_at=NOW
            ),
        ),
        effective_at=NOW,
        digest=DIGEST,
    )
    posted = [*plain, reversing]

    assert await read(db, "ledger.new_transactions", [packed.transaction(t) for t in posted]) == [
        (
            t.draft.id,
            t.draft.kind,
            t.draft.description,
            t.draft.metadata,
            t.effective_at,
            t.draft.expires_at,
            t.draft.reverses.id if t.draft.reverses else None,
            t.digest,
        )
        for t in posted
    ]


async def test_entries_and_accounts_to_the_ends_of_their_numbers(db: Database):
    entries = [
        PostedEntry(
            AccountId(new_id()), number, TransactionId(new_id()), amount, -amount, DIGEST[::-1]
        )
        for number, amount in ((1, 1), (LARGEST, -LARGEST), (7, LARGEST))
    ]
    accounts = [
        Account(
            id=AccountId(new_id()),
            owner_id=None,
            code="cash",
            type=AccountType.ASSET,
            currency=INR,
            posted_debits=LARGEST,
            posted_credits=1,
            pending_debits=2,
            pending_credits=3,
            sequence=4,
            last_hash=DIGEST,
        )
    ]

    assert await read(db, "ledger.new_entries", [packed.entry(e) for e in entries]) == [
        (
            e.account_id,
            e.sequence,
            e.transaction_id,
            e.amount_minor,
            e.balance_after_minor,
            e.hash,
        )
        for e in entries
    ]
    assert await read(db, "ledger.moved_accounts", [packed.account(a) for a in accounts]) == [
        (accounts[0].id, LARGEST, 1, 2, 3, 4, DIGEST)
    ]


async def test_controls_carry_their_seal(db: Database):
    control = Control(
        id=ControlId(new_id()),
        subject_id=UserId(new_id()),
        currency=INR,
        direction=Direction.OUTFLOW,
        limits=ControlLimits(per_day_minor=5),
        time_zone="Asia/Kolkata",
        created_at=LONG_AGO,
        used_at=NOW,
        day_used_minor=-1,
        month_used_minor=LARGEST,
    )

    assert await read(db, "ledger.used_controls", [packed.control(control)]) == [
        (control.id, NOW, -1, LARGEST, control_seal(control))
    ]


async def test_payments_that_went_through_and_that_failed(db: Database):
    orders = [
        PaymentOrder(
            type=PaymentType.TRANSFER,
            caller_id=UserId(new_id()),
            key=text or "key",
            amount_minor=LARGEST,
            currency=INR,
            from_wallet_id=WalletId(new_id()),
            to_wallet_id=None if text else WalletId(new_id()),
            description=text,
            effective_at=None if text else LONG_AGO,
        )
        for text in TEXTS
    ]
    refusal = InsufficientFunds()
    refusal.details = {"transaction_id": "é"}
    payments = [
        Payment(
            id=TransactionId(new_id()),
            order=order,
            status=PaymentStatus.FAILED if failure else PaymentStatus.COMPLETED,
            created_at=NOW,
            failure=failure,
        )
        for order in orders
        for failure in (None, refusal)
    ]

    assert await read(db, "payments.new_payments", [records.packed(p) for p in payments]) == [
        (
            p.id,
            "transfer",
            p.status.value,
            p.order.caller_id,
            p.order.from_wallet_id,
            p.order.to_wallet_id,
            p.order.amount_minor,
            "INR",
            p.order.description,
            p.order.key,
            p.failure.code if p.failure else None,
            p.failure.message if p.failure else None,
            details(p.failure) if p.failure else None,
            p.order.effective_at,
            payment_seal(p, fingerprint=fingerprint(p.order)),
            fingerprint(p.order),
        )
        for p in payments
    ]


async def test_events_with_and_without_an_origin(db: Database):
    origins = (Origin(), Origin(UserId(new_id()), "request-1", "0" * 31 + "1"))
    events = [
        outbox.Outgoing(EventId(new_id()), "something.happened", text, f'["{number}"]', origin)
        for number, text in enumerate(TEXTS)
        for origin in origins
    ]

    assert await read(db, "platform.new_events", [outbox.packed(e) for e in events]) == [
        (
            e.id,
            e.type,
            e.key,
            e.data,
            e.origin.actor_id,
            e.origin.request_id,
            e.origin.trace_id,
        )
        for e in events
    ]


async def test_a_pool_that_opened_before_the_migration_sends_them_after_it(
    database: OwnDatabase, superuser: asyncpg.Connection[asyncpg.Record]
):
    await superuser.execute("DROP DOMAIN platform.new_events")
    pool = await database.connect(max_connections=2)
    events = [outbox.Outgoing(EventId(new_id()), "something.happened", "key", "{}")]
    async with pool.reading(), pool.reading() as session:
        assert await session.fetchval("SELECT 1") == 1  # both are open
    with pytest.raises(asyncpg.UndefinedObjectError):
        await pool.run(lambda tx: outbox.append(tx, events))
    await superuser.execute("CREATE DOMAIN platform.new_events AS platform.new_event[]")

    await asyncio.gather(*(pool.run(lambda tx: outbox.append(tx, events)) for _ in range(8)))

    written = await pool.fetchval(
        "SELECT count(*) FROM platform.outbox WHERE id = $1", events[0].id
    )
    assert written == 8
    await pool.close()
