"""`guilder verify` finds every edit of audit that was made past Guilder, and a deleted end too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from guilder.audit.domain import GENESIS
from guilder.audit.store.checks import CHECKS
from guilder.platform.db import Database
from guilder.platform.identifiers import new_id
from tests.support.archive import Archive, event
from tests.support.bank import Bank, deposit, opened, person, transfer
from tests.support.tampering import Connection, edited, edits_of, findings_of, rows_of

TABLES = ("audit.records", "audit.chains", "audit.data_keys")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def history(archive: Archive) -> None:
    """Records of every shape in several chains, and keys of people, one of them erased."""
    anna, ben = new_id(), new_id()
    await archive.hear(
        event(actor_id=anna, request_id="r-1", trace_id="ab" * 16, note="Rént ₹"),
        event(before={"status": "active"}, after={"status": "frozen"}),
        event("com.guilder.transaction.completed", transaction_id=str(new_id())),
        event(user_id=str(anna), personal={"email": "anna@example.com"}),
        event(user_id=str(ben), personal={"email": "ben@example.com"}),
    )
    async with archive.db.transaction() as slow:
        await archive.keep.hear(slow, [event(), event()])
        await archive.hear(event(), event())
    await archive.erasing.erase_person(ben, reason="asked for it")
    await archive.catch_up()


@pytest.mark.usefixtures("history")
async def test_what_was_recorded_has_no_findings(archive: Archive):
    assert await archive.findings() == []


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("table", TABLES)
async def test_every_edit_of_every_column_is_found(superuser: Connection, table: str):
    missed, made = [], set()
    for row in await rows_of(superuser, table):
        for column, edit in await edits_of(superuser, table):
            async with edited(superuser, table, column=column, edit=edit, row=row) as was_edited:
                if was_edited:
                    made.add(column)
                    if not await findings_of(superuser, CHECKS):
                        missed.append(f"{column} = {edit} at {row}")

    columns = await superuser.fetch(
        "SELECT column_name FROM information_schema.columns "
        "WHERE table_schema || '.' || table_name = $1",
        table,
    )
    assert not missed
    assert {row[0] for row in columns} == made


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("column", ["actor_id", "request_id", "before", "person_id", "personal"])
async def test_a_value_that_is_emptied_is_found(superuser: Connection, column: str):
    rows = await superuser.fetch(f"SELECT ctid::text FROM audit.records WHERE {column} IS NOT NULL")
    for (row,) in rows:
        async with edited(superuser, "audit.records", column=column, edit="NULL", row=row):
            assert await findings_of(superuser, CHECKS)
    assert rows


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("table", TABLES)
async def test_a_deleted_row_is_found(superuser: Connection, table: str):
    missed = []
    for row in await rows_of(superuser, table):
        transaction = superuser.transaction()
        await transaction.start()
        await superuser.execute("SET LOCAL session_replication_role = replica")
        empty = await superuser.fetchval(
            f"DELETE FROM {table} t WHERE ctid = '{row}' RETURNING "
            + {"audit.chains": "sequence = 0", "audit.data_keys": "wrapped IS NULL"}.get(
                table, "false"
            )
        )
        if not empty and not await findings_of(superuser, CHECKS):
            missed.append(row)
        await transaction.rollback()

    assert not missed


@pytest.mark.usefixtures("history")
async def test_ciphertext_that_moves_to_another_record_is_found(superuser: Connection):
    taken = "(SELECT personal FROM audit.records WHERE personal IS NOT NULL LIMIT 1)"
    (row, *_) = await rows_of(superuser, "audit.records")

    async with edited(superuser, "audit.records", column="personal", edit=taken, row=row) as done:
        assert done
        assert await findings_of(superuser, CHECKS)


@asynccontextmanager
async def taken_back(superuser: Connection) -> AsyncIterator[None]:
    """The guards are off and everything done in the block is undone at its end."""
    transaction = superuser.transaction()
    await transaction.start()
    try:
        await superuser.execute("SET LOCAL session_replication_role = replica")
        yield
    finally:
        await transaction.rollback()


async def cut(superuser: Connection, *, count: int = 1) -> None:
    """Delete the end of the longest audit chain as its owner could: nothing is left over."""
    chain = await superuser.fetchval(
        "SELECT chain FROM audit.chains ORDER BY sequence DESC LIMIT 1"
    )
    await superuser.execute(
        "DELETE FROM audit.records WHERE chain = $1 AND sequence > "
        "(SELECT sequence - $2 FROM audit.chains WHERE chain = $1)",
        chain,
        count,
    )
    await follow(superuser, chain)


async def follow(superuser: Connection, chain: int) -> None:
    await superuser.execute(
        "UPDATE audit.chains c SET sequence = e.sequence, hash = e.hash FROM "
        "(SELECT COALESCE(max(sequence), 0) AS sequence, COALESCE((array_agg(hash ORDER BY "
        "sequence DESC))[1], $2) AS hash FROM audit.records WHERE chain = $1) AS e "
        "WHERE c.chain = $1",
        chain,
        GENESIS,
    )


async def compute_anew(superuser: Connection, chain: int) -> None:
    """Hash a whole chain again, as somebody would who has edited a record and owns the tables."""
    previous = GENESIS
    for (sequence,) in await superuser.fetch(
        "SELECT sequence FROM audit.records WHERE chain = $1 ORDER BY sequence", chain
    ):
        previous = await superuser.fetchval(
            "UPDATE audit.records r SET hash = sha256($3 || int8send(r.chain::bigint)"
            "|| int8send(r.sequence) || uuid_send(r.event_id)"
            "|| int8send(platform.epoch_us(r.created_at))"
            "|| int8send(platform.epoch_us(r.recorded_at))"
            + "".join(
                f"|| COALESCE(int4send(octet_length({v})) || {v}, int4send(-1))"
                for v in (
                    "uuid_send(r.actor_id)",
                    *(
                        f"convert_to(r.{c}::text, 'UTF8')"
                        for c in (
                            "action",
                            "subject",
                            "key",
                            "request_id",
                            "trace_id",
                            "before",
                            "after",
                            "details",
                        )
                    ),
                    "uuid_send(r.person_id)",
                    "r.personal",
                )
            )
            + ") WHERE chain = $1 AND sequence = $2 RETURNING hash",
            chain,
            sequence,
            previous,
        )
    await follow(superuser, chain)


async def told(superuser: Connection, archive: Archive) -> set[str]:
    """The tables in which something is found, the edit of the open transaction included."""
    return {finding.table for finding in await findings_of(superuser, archive.checks)}


@pytest.mark.usefixtures("history")
async def test_a_deleted_end_is_found_by_a_published_head_alone(
    superuser: Connection, archive: Archive
):
    await archive.hear(event(), event(), event())
    unpublished = superuser.transaction()
    await unpublished.start()
    await superuser.execute("SET LOCAL session_replication_role = replica")
    await cut(superuser)
    before = await findings_of(superuser, CHECKS)
    await unpublished.rollback()

    await archive.publish()
    async with taken_back(superuser):
        await cut(superuser)
        found = await findings_of(superuser, archive.checks)

    assert before == []
    assert {finding.table for finding in found} == {"audit.records"}
    assert "it is gone" in found[0].detail


@pytest.mark.usefixtures("history")
async def test_a_chain_that_was_computed_anew_is_found_by_a_published_head_alone(
    superuser: Connection, archive: Archive
):
    await archive.hear(event(amount="1.00"))
    await archive.publish()
    async with taken_back(superuser):
        chain = await superuser.fetchval(
            'UPDATE audit.records SET details = \'{"amount":"9.00"}\' '
            'WHERE details::text = \'{"amount":"1.00"}\' RETURNING chain'
        )
        await compute_anew(superuser, chain)

        assert await findings_of(superuser, CHECKS) == []
        assert await told(superuser, archive) == {"audit.records"}


@pytest.mark.usefixtures("history")
async def test_records_that_were_all_taken_back_are_missed_by_their_events(superuser: Connection):
    async with taken_back(superuser):
        await superuser.execute("DELETE FROM audit.records")
        await superuser.execute("UPDATE audit.chains SET sequence = 0, hash = $1", GENESIS)
        found = await findings_of(superuser, CHECKS)

    events = await superuser.fetchval("SELECT count(*) FROM platform.outbox")
    assert len(found) == events > 0


@pytest.mark.usefixtures("history")
async def test_records_that_were_taken_back_are_missed_where_kafka_carried_their_events(
    superuser: Connection,
):
    async with taken_back(superuser):
        await superuser.execute(
            "UPDATE platform.consumer_positions SET feed = 'kafka', transaction = '0', position = 0"
            " WHERE group_name = 'audit.records'"
        )
        await superuser.execute(
            "INSERT INTO platform.heard_events (group_name, event_id) "
            "SELECT 'audit.records', id FROM platform.outbox"
        )
        await superuser.execute("DELETE FROM audit.records")
        await superuser.execute("UPDATE audit.chains SET sequence = 0, hash = $1", GENESIS)
        found = await findings_of(superuser, CHECKS)

    events = await superuser.fetchval("SELECT count(*) FROM platform.outbox")
    assert len(found) == events > 0


@pytest.mark.usefixtures("history")
async def test_what_is_recorded_later_leaves_published_heads_true(archive: Archive):
    await archive.publish()
    await archive.hear(event())
    await archive.publish()
    await archive.hear(event())

    assert await archive.findings() == []


async def pay_back_and_forth(bank: Bank, times: int) -> None:
    anna, ben = person(), person()
    annas, bens = await bank.open(anna), await bank.open(ben)
    await bank.engine.pay(deposit(anna, annas, amount_minor=times))
    await asyncio.gather(
        *(bank.engine.pay(transfer(anna, annas, bens, amount_minor=1)) for _ in range(times))
    )


async def test_the_ledger_is_as_it_was_published_while_money_moves(db: Database, tmp_path: Path):
    archive = Archive(db=db, home=tmp_path)
    numbers = []
    async with opened(db) as bank:
        for _ in range(4):
            paying = asyncio.ensure_future(pay_back_and_forth(bank, 60))
            numbers.append((await archive.publish()).number)
            await paying
            numbers.append((await archive.publish()).number)

    assert numbers == sorted(numbers)
    assert numbers[-1] >= 4
    assert await archive.findings() == []


@pytest.mark.parametrize("last", [True, False], ids=["the last", "an older"])
async def test_an_entry_that_its_owner_took_back_is_found_by_published_heads_alone(
    superuser: Connection, db: Database, tmp_path: Path, last: bool
):
    archive = Archive(db=db, home=tmp_path)
    async with opened(db) as bank:
        anna = person()
        wallet = await bank.open(anna)
        await bank.engine.pay(deposit(anna, wallet, amount_minor=100))
        await archive.publish()
        if not last:
            await bank.engine.pay(deposit(anna, wallet, amount_minor=50))
            await archive.publish()

    async with taken_back(superuser):
        await superuser.execute(
            "UPDATE ledger.entries SET hash = sha256(hash) WHERE account_id = $1 AND sequence = 1",
            wallet,
        )
        if last:
            await superuser.execute("DELETE FROM ledger.entries WHERE account_id = $1", wallet)
        found = await ledger_findings(superuser, archive)

    assert len(found) == 1


async def ledger_findings(superuser: Connection, archive: Archive) -> Sequence[str]:
    (check,) = [check for check in archive.checks if check.name == "ledger heads"]
    return [finding.detail for finding in await check.find(superuser)]
