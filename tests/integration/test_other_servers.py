"""A PostgreSQL that is not ours: users without superuser rights, and what they are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import run

import asyncpg
import pytest
import pytest_asyncio

from guilder.platform.db import Database
from guilder.platform.postgres.access import Access, bring_up_to_date, external_access
from guilder.platform.postgres.binaries import bundled_programs
from guilder.platform.postgres.folder import SUPERUSER
from guilder.platform.postgres.migrator import histories, pending
from guilder.platform.postgres.roles import RolesMissing
from guilder.platform.postgres.server import EmbeddedPostgres
from tests.support.guilder import Running, environment, guilder, readiness

MAKERS = "anna"
PLAIN = "ben"


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherServer:
    """A server without any of our roles, with Anna, who may make roles, and Ben, who may not."""

    server: EmbeddedPostgres

    def url(self, user: str) -> str:
        ours = self.server.url(SUPERUSER, database="bank")
        password = self.server.passwords()[SUPERUSER]
        return ours.replace(f"{SUPERUSER}:{password}", f"{user}:open-sesame", 1)

    def access(self, user: str) -> Access:
        return external_access(self.url(user), migration_url=None)

    def restart_without_checksums(self, data: Path) -> None:
        self.server.stop()
        run([bundled_programs() / "pg_checksums", "--disable", "--pgdata", data], check=True)
        self.server.start()

    async def run(self, statements: str) -> None:
        connection = await asyncpg.connect(self.server.url(SUPERUSER, database="bank"))
        try:
            await connection.execute(statements)
        finally:
            await connection.close()


@pytest_asyncio.fixture(loop_scope="session")
async def other(tmp_path: Path) -> AsyncIterator[OtherServer]:
    server = EmbeddedPostgres(tmp_path / "other", report=print)
    server.start()
    connection = await asyncpg.connect(server.url(SUPERUSER, database="postgres"))
    await connection.execute("CREATE ROLE anna LOGIN CREATEROLE PASSWORD 'open-sesame'")
    await connection.execute("CREATE ROLE ben LOGIN PASSWORD 'open-sesame'")
    await connection.execute("CREATE DATABASE bank OWNER anna")
    await connection.close()
    yield OtherServer(server=server)
    server.stop()


async def test_the_owner_of_a_database_migrates_it_without_being_a_superuser(other: OtherServer):
    done = await bring_up_to_date(other.access(MAKERS), server=None, report=print)
    again = await bring_up_to_date(other.access(MAKERS), server=None, report=print)

    assert done == sum(len(history.revisions) for history in histories())
    assert again == 0


async def test_its_sessions_act_as_the_application(other: OtherServer):
    access = other.access(MAKERS)
    await bring_up_to_date(access, server=None, report=print)

    db = await Database.connect(access.url, role=access.role)

    assert await db.fetchval("SELECT current_user") == "guilder_app"
    assert await pending(db) == ()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await db.fetchval("CREATE TABLE ledger.mine (id int)")
    await db.close()


async def test_a_user_who_may_not_make_roles_is_told_what_to_run(other: OtherServer):
    await other.run("ALTER DATABASE bank OWNER TO ben")

    with pytest.raises(RolesMissing) as refused:
        await bring_up_to_date(other.access(PLAIN), server=None, report=print)

    told = str(refused.value)
    assert "GUILDER_MIGRATION_DATABASE_URL" in told
    statements = [line.strip() for line in told.splitlines() if line.strip().endswith(";")]
    await other.run("\n".join(statements))
    done = await bring_up_to_date(other.access(PLAIN), server=None, report=print)
    assert done == sum(len(history.revisions) for history in histories())


async def test_several_servers_and_a_worker_share_one_database(other: OtherServer, tmp_path: Path):
    env = environment(tmp_path / "data", DATABASE_URL=other.url(MAKERS))

    migrated = guilder("migrate", env=env, folder=tmp_path)
    with (
        Running("serve", env=env, folder=tmp_path) as first,
        Running("up", env=env, folder=tmp_path) as second,
    ):
        answers = [
            readiness(process.wait_for(r"(http://[\w.:]+)")[1]).status_code
            for process in (first, second)
        ]
        assert [first.interrupt(), second.interrupt()] == [0, 0]

    assert migrated.returncode == 0
    assert answers == [200, 200]
    assert not (tmp_path / "data" / "postgres-18").exists()


async def test_a_server_that_is_not_migrated_is_not_ready(other: OtherServer, tmp_path: Path):
    await bring_up_to_date(other.access(MAKERS), server=None, report=print)
    await other.run("UPDATE ledger.alembic_version SET version_num = 'v0000'")
    env = environment(tmp_path / "data", DATABASE_URL=other.url(MAKERS))

    with Running("serve", env=env, folder=tmp_path) as serve:
        answer = readiness(serve.wait_for(r"(http://[\w.:]+)")[1])
        assert serve.interrupt() == 0

    assert answer.status_code == 503
    checks = answer.json()["error"]["details"]["checks"]
    assert checks == {"database": True, "migrations": False, "durability": True, "keys": True}


async def test_a_server_that_may_lose_commits_is_not_ready(other: OtherServer, tmp_path: Path):
    await bring_up_to_date(other.access(MAKERS), server=None, report=print)
    local = tmp_path / "other" / "postgres-18" / "data" / "local.conf"
    local.write_text("fsync = off\n")
    await other.run("SELECT pg_reload_conf()")
    env = environment(tmp_path / "data", DATABASE_URL=other.url(MAKERS))

    with Running("serve", env=env, folder=tmp_path) as serve:
        answer = readiness(serve.wait_for(r"(http://[\w.:]+)")[1])
        assert serve.interrupt() == 0

    assert answer.status_code == 503
    assert answer.json()["error"]["details"]["checks"]["durability"] is False


async def test_a_server_whose_pages_have_no_checksums_is_not_ready_unless_that_is_accepted(
    other: OtherServer, tmp_path: Path
):
    await bring_up_to_date(other.access(MAKERS), server=None, report=print)
    other.restart_without_checksums(tmp_path / "other" / "postgres-18" / "data")
    env = environment(tmp_path / "data", DATABASE_URL=other.url(MAKERS))

    with Running("serve", env=env, folder=tmp_path) as serve:
        refused = readiness(serve.wait_for(r"(http://[\w.:]+)")[1])
        serve.wait_for("GUILDER_ACCEPT_NO_CHECKSUMS")
        assert serve.interrupt() == 0
    env = environment(tmp_path / "data", DATABASE_URL=other.url(MAKERS), ACCEPT_NO_CHECKSUMS="true")
    with Running("serve", env=env, folder=tmp_path) as serve:
        accepted = readiness(serve.wait_for(r"(http://[\w.:]+)")[1])
        assert serve.interrupt() == 0

    assert refused.status_code == 503
    assert refused.json()["error"]["details"]["checks"]["durability"] is False
    assert accepted.status_code == 200


async def test_a_server_starts_before_its_database_and_becomes_ready_with_it(
    other: OtherServer, tmp_path: Path
):
    await bring_up_to_date(other.access(MAKERS), server=None, report=print)
    env = environment(tmp_path / "data", DATABASE_URL=other.url(MAKERS))
    other.server.stop()

    with Running("serve", env=env, folder=tmp_path) as serve:
        address = serve.wait_for(r"(http://[\w.:]+)")[1]
        before = readiness(address)
        other.server.start()
        after = readiness(address)
        assert serve.interrupt() == 0

    assert (before.status_code, after.status_code) == (503, 200)
