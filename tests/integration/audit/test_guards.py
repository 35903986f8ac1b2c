"""What the database itself refuses of audit, to the application and to the owner of the tables."""

from __future__ import annotations

import asyncpg
import pytest

from tests.support.archive import Archive, event
from tests.support.database import OwnDatabase
from tests.support.tampering import Connection


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit.records SET action = action",
        "DELETE FROM audit.records",
        "TRUNCATE audit.records",
        "DELETE FROM audit.chains",
        "TRUNCATE audit.chains",
        "DELETE FROM audit.data_keys",
        "TRUNCATE audit.data_keys",
    ],
)
async def test_neither_the_application_nor_the_owner_takes_anything_back(
    archive: Archive, superuser: Connection, statement: str
):
    await archive.hear(event())
    refused = {}
    for role in ("guilder_app", "guilder_owner"):
        async with superuser.transaction():
            await superuser.execute(f"SET LOCAL ROLE {role}")
            with pytest.raises(asyncpg.PostgresError) as caught:
                await superuser.execute(statement)
            refused[role] = caught.value.sqlstate

    assert refused == {"guilder_app": "42501", "guilder_owner": "23001"}


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO audit.chains SELECT 9, 0, hash FROM audit.chains LIMIT 1",
        "UPDATE audit.chains SET chain = 9",
        "UPDATE audit.data_keys SET person_id = gen_random_uuid()",
        "UPDATE audit.data_keys SET id = gen_random_uuid()",
        "ALTER TABLE audit.records DISABLE TRIGGER ALL",
        "DROP TABLE audit.records",
        "SET session_replication_role = replica",
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


async def test_an_auditor_sees_records_and_neither_details_nor_keys(
    archive: Archive, database: OwnDatabase
):
    heard = event("com.guilder.account.closed")
    await archive.hear(heard)
    auditor = await asyncpg.connect(database.url("guilder_auditor"))
    try:
        action = await auditor.fetchval("SELECT action FROM check_v1.audit WHERE id = $1", heard.id)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await auditor.fetch("SELECT wrapped FROM audit.data_keys")
    finally:
        await auditor.close()

    assert action == "account.closed"
