"""What the schema itself promises, whoever wrote the migration: roles, guards, documented views."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import asyncpg
import pytest

from tests.support.database import OwnDatabase

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "check-views.md"
HOT_SCHEMAS = ["ledger", "payments"]
APPEND_ONLY = {
    "audit.records": "action",
    "ledger.entries": "amount_minor",
    "ledger.floor_changes": "changed_at",
    "ledger.transactions": "effective_at",
    "payments.transactions": "amount_minor",
}

Superuser = asyncpg.Connection


def documented_columns() -> dict[str, list[str]]:
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {
        section.split("\n", 1)[0]: re.findall(r"^\| `(\w+)`", section, re.MULTILINE)
        for section in sections
    }


async def test_the_page_for_auditors_has_every_view_and_column(superuser: Superuser) -> None:
    columns = defaultdict(list)
    for row in await superuser.fetch(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = 'check_v1' ORDER BY table_name, ordinal_position"
    ):
        columns[row["table_name"]].append(row["column_name"])

    assert columns == documented_columns()


async def test_hot_tables_have_no_foreign_keys(superuser: Superuser) -> None:
    keys = await superuser.fetch(
        "SELECT conrelid::regclass::text FROM pg_constraint "
        "WHERE contype = 'f' AND connamespace::regnamespace::text = ANY($1)",
        HOT_SCHEMAS,
    )

    assert keys == []


async def test_the_role_that_owns_the_tables_cannot_log_in(superuser: Superuser) -> None:
    assert not await superuser.fetchval(
        "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'guilder_owner'"
    )


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("right", ["UPDATE", "DELETE", "TRUNCATE"])
async def test_no_application_role_may_change_what_is_recorded(
    superuser: Superuser, table: str, right: str
) -> None:
    may = await superuser.fetch(
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'guilder\\_%' "
        "AND rolname NOT IN ('guilder_owner', 'guilder_migrator') "
        "AND has_table_privilege(rolname, $1, $2)",
        table,
        right,
    )

    assert may == []


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("change", ["UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "TRUNCATE {0}"])
async def test_even_the_owner_is_refused_by_a_trigger(
    superuser: Superuser, table: str, change: str
) -> None:
    async with superuser.transaction():
        await superuser.execute("SET LOCAL ROLE guilder_owner")
        with pytest.raises(asyncpg.RestrictViolationError):
            await superuser.execute(change.format(table, APPEND_ONLY[table]))


async def test_the_auditor_reads_every_check_view_and_no_table(database: OwnDatabase) -> None:
    auditor = await asyncpg.connect(database.url("guilder_auditor"))
    try:
        readable = await auditor.fetch(
            "SELECT DISTINCT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE relkind IN ('r', 'p', 'v') AND has_table_privilege(c.oid, 'SELECT') "
            "AND has_schema_privilege(n.oid, 'USAGE') "
            "AND nspname NOT IN ('pg_catalog', 'information_schema')"
        )
        unreadable = await auditor.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'check_v1'::regnamespace "
            "AND NOT has_table_privilege(oid, 'SELECT')"
        )
    finally:
        await auditor.close()

    assert [row["nspname"] for row in readable] == ["check_v1"]
    assert unreadable == []
