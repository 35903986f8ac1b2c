"""`guilder verify` finds nothing on a clean ledger and every edit made past it."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest
import pytest_asyncio

from guilder.kernel.currencies import INR
from guilder.kernel.ids import ControlId, UserId
from guilder.ledger.api import (
    ControlLimits,
    Direction,
    NewControl,
    ReversalDraft,
    TransactionId,
)
from guilder.ledger.store.checks import CHECKS
from guilder.platform.checks import run_checks
from guilder.platform.db import Database, Tx
from guilder.platform.identifiers import new_id
from tests.support.ledger import Teller, transfer
from tests.support.tampering import Connection, edited, edits_of, findings_of, rows_of

TABLES = (
    "ledger.accounts",
    "ledger.transactions",
    "ledger.entries",
    "ledger.holds",
    "ledger.controls",
    "ledger.floor_changes",
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def history(db: Database) -> None:
    """A little of everything that can happen in a ledger."""
    teller = Teller(db)
    anna_id, ben_id = UserId(new_id()), UserId(new_id())
    anna = await teller.open(anna_id, funds_minor=100_000)
    ben = await teller.open(ben_id, funds_minor=50_000)
    await teller.open(ben_id)
    for subject, kinds in ((anna_id, None), (ben, frozenset({"transfer", "gift"}))):
        control = NewControl(
            id=ControlId(new_id()),
            subject_id=subject,
            currency=INR,
            direction=Direction.OUTFLOW,
            limits=ControlLimits(per_transaction_minor=60_000, per_day_minor=80_000),
            time_zone="Asia/Kolkata",
            kinds=kinds,
        )
        await db.run(lambda tx, control=control: teller.ledger.set_control(tx, control))
    for amount_minor in (5_000, 3_000, 1_250):
        assert await teller.post(transfer(anna, ben, amount_minor)) is None
    now = await teller.now()
    backdated = transfer(ben, anna, 99, effective_at=now - timedelta(days=40), description="late")
    assert await teller.post(backdated) is None
    holds = [transfer(anna, ben, 700 + n, expires_at=now + timedelta(hours=1)) for n in range(3)]
    assert await teller.post(*holds) is None
    assert await teller.settle(holds[0].id, amount_minor=300) is None
    assert await teller.void(holds[1].id) is None
    original = transfer(anna, ben, 4_000)
    assert await teller.post(original) is None

    async def reverse(tx: Tx) -> None:
        book = await teller.ledger.open_book(tx, [], originals=[original.id])
        draft = ReversalDraft(
            id=TransactionId(new_id()), original_id=original.id, amount_minor=1_500
        )
        assert book.reverse(draft) is None
        await teller.ledger.write(tx, book)

    await db.run(reverse)
    await db.run(lambda tx: teller.ledger.set_floor(tx, anna, floor_minor=-500))
    await db.run(lambda tx: teller.ledger.set_floor(tx, anna, floor_minor=10))
    await db.run(lambda tx: teller.ledger.set_floor(tx, ben, floor_minor=None))


@pytest.mark.usefixtures("history")
async def test_a_clean_ledger_has_no_findings(db: Database):
    done = await run_checks(db, CHECKS)

    assert [finding for checked in done for finding in checked.findings] == []


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("table", TABLES)
async def test_every_edit_of_every_column_is_found(
    superuser: asyncpg.Connection[asyncpg.Record], table: str
):
    missed, made = await _missed_edits(superuser, table)

    assert not missed
    assert made > 0


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("table", ["ledger.transactions", "ledger.entries", "ledger.holds"])
async def test_a_deleted_row_is_found(superuser: asyncpg.Connection[asyncpg.Record], table: str):
    missed = []
    for row in await rows_of(superuser, table):
        transaction = superuser.transaction()
        await transaction.start()
        await superuser.execute("SET LOCAL session_replication_role = replica")
        await superuser.execute(f"DELETE FROM {table} WHERE ctid = '{row}'")
        if not await findings_of(superuser, CHECKS):
            missed.append(row)
        await transaction.rollback()

    assert not missed


async def _missed_edits(superuser: Connection, table: str) -> tuple[list[str], int]:
    missed, made = [], 0
    for column, edit in await edits_of(superuser, table):
        for row in await rows_of(superuser, table):
            async with edited(superuser, table, column=column, edit=edit, row=row) as was_edited:
                if not was_edited:
                    continue
                made += 1
                if not await findings_of(superuser, CHECKS):
                    missed.append(f"{column} = {edit} at {row}")
    return missed, made
