"""The migrations of every context, on a real server."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from guilder.platform.db import Database
from guilder.platform.postgres.access import create_database, drop_database, embedded_access
from guilder.platform.postgres.migrator import downgrade, histories, is_current, migrate
from guilder.platform.postgres.server import EmbeddedPostgres
from tests.support.database import OwnDatabase


async def test_a_migrated_database_is_current_for_the_application(database: OwnDatabase):
    assert await is_current(database.url("guilder_app"))


async def test_the_application_acts_as_its_own_role(db: Database):
    assert await db.fetchval("SELECT current_user") == "guilder_app"


async def test_migrating_twice_does_nothing_the_second_time(database: OwnDatabase):
    assert await migrate(database.access.target, report=print) == 0


async def test_several_migrations_at_once_run_each_revision_once(postgres: EmbeddedPostgres):
    await create_database(postgres, database="race")
    target = embedded_access(postgres, database="race").target

    counts = await asyncio.gather(*(migrate(target, report=print) for _ in range(4)))

    assert sorted(counts) == [0, 0, 0, sum(len(h.revisions) for h in histories())]
    await drop_database(postgres, database="race")


async def test_every_history_goes_down_and_up_again(postgres: EmbeddedPostgres):
    await create_database(postgres, database="down")
    access = embedded_access(postgres, database="down")
    done = await migrate(access.target, report=print)

    undone = 0
    for history in reversed(histories()):
        undone += await downgrade(access.target.migrator_url, context=history.context, report=print)

    assert undone == done
    assert await migrate(access.target, report=print) == done
    await drop_database(postgres, database="down")


async def test_the_auditor_reads_the_check_views_and_nothing_else(database: OwnDatabase):
    auditor = await asyncpg.connect(database.url("guilder_auditor"))
    try:
        assert await auditor.fetchval("SELECT count(*) FROM check_v1.outbox") == 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await auditor.fetchval("SELECT count(*) FROM platform.outbox")
    finally:
        await auditor.close()


async def test_the_application_owns_nothing(superuser: asyncpg.Connection[asyncpg.Record]):
    owners = await superuser.fetch(
        "SELECT DISTINCT tableowner FROM pg_tables "
        "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )

    assert [row["tableowner"] for row in owners] == ["guilder_owner"]
