"""What the database itself refuses, to whomever: rewriting money, and rights nobody needs."""

from __future__ import annotations

import asyncpg
import pytest

from guilder.platform.db import Database
from tests.support.database import OwnDatabase
from tests.support.ledger import Teller, transfer

APPEND_ONLY = ("transactions", "entries", "floor_changes")
NEVER_DELETED = (*APPEND_ONLY, "accounts", "holds", "controls")


async def refused(database: OwnDatabase, role: str, statement: str) -> str:
    """The state of the refusal of ``statement`` to ``role``."""
    connection = await asyncpg.connect(database.url("postgres"))
    try:
        await connection.execute(f"SET ROLE {role}")
        with pytest.raises(asyncpg.PostgresError) as caught:
            await connection.execute(statement)
        return str(caught.value.sqlstate)
    finally:
        await connection.close()


@pytest.mark.parametrize("table", APPEND_ONLY)
async def test_neither_the_application_nor_the_owner_rewrites_a_record(
    database: OwnDatabase, table: str
):
    column = {"transactions": "kind", "entries": "hash", "floor_changes": "seal"}[table]
    statement = f"UPDATE ledger.{table} SET {column} = {column}"

    assert await refused(database, "guilder_app", statement) == "42501"
    assert await refused(database, "guilder_owner", statement) == "23001"


@pytest.mark.parametrize("table", NEVER_DELETED)
@pytest.mark.parametrize("statement", ["DELETE FROM ledger.{}", "TRUNCATE ledger.{}"])
async def test_neither_the_application_nor_the_owner_removes_a_record(
    database: OwnDatabase, table: str, statement: str
):
    statement = statement.format(table)

    assert await refused(database, "guilder_app", statement) == "42501"
    assert await refused(database, "guilder_owner", statement) == "23001"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger.accounts SET owner_id = gen_random_uuid()",
        "UPDATE ledger.accounts SET currency = 'EUR'",
        "UPDATE ledger.accounts SET type = 'asset'",
        "UPDATE ledger.holds SET amount_minor = 1",
        "UPDATE ledger.controls SET subject_id = gen_random_uuid()",
        "ALTER TABLE ledger.entries DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "DROP TABLE ledger.entries",
    ],
)
async def test_the_application_may_not_do_what_it_has_no_need_of(
    database: OwnDatabase, statement: str
):
    connection = await asyncpg.connect(database.url("guilder_app"))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_an_ended_hold_is_not_opened_again(database: OwnDatabase, teller: Teller):
    anna, ben = await teller.open(funds_minor=100), await teller.open()
    until = await teller.db.fetchval("SELECT clock_timestamp() + interval '1 hour'")
    hold = transfer(anna, ben, 5, expires_at=until)
    await teller.post(hold)
    await teller.void(hold.id)
    statement = "UPDATE ledger.holds SET state = 'pending', ended_at = NULL"

    assert await refused(database, "guilder_app", statement) == "23001"


async def test_a_balance_below_its_floor_cannot_be_stored(db: Database, teller: Teller):
    anna = await teller.open(funds_minor=100)

    with pytest.raises(asyncpg.CheckViolationError):
        await db.fetch("UPDATE ledger.accounts SET pending_debits = 101 WHERE id = $1", anna)


async def test_the_auditor_sees_balances_and_entries_and_no_table(
    database: OwnDatabase, teller: Teller
):
    anna, ben = await teller.open(funds_minor=100), await teller.open()
    await teller.post(transfer(anna, ben, 30))
    auditor = await asyncpg.connect(database.url("guilder_auditor"))
    try:
        balance = "SELECT balance_minor FROM check_v1.accounts WHERE id = $1"
        after = "SELECT balance_after_minor FROM check_v1.entries WHERE account_id = $1"
        assert await auditor.fetchval(balance, anna) == 70
        assert await auditor.fetchval(after, ben) == 30
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await auditor.fetch("SELECT * FROM ledger.accounts")
    finally:
        await auditor.close()
