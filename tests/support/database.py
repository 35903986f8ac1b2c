"""A real PostgreSQL for tests: one server a run, one migrated database a module.

Fixtures: `postgres` (the server), `database` (this module's own database, migrated, with URLs for
every role), `db` (a pool on it as the application) and `superuser` (one connection that may do
anything, for tampering).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import count

import asyncpg
import pytest
import pytest_asyncio

from guilder.platform.db import Database, Limits
from guilder.platform.postgres.access import (
    Access,
    create_database,
    drop_database,
    embedded_access,
)
from guilder.platform.postgres.folder import SUPERUSER
from guilder.platform.postgres.migrator import migrate
from guilder.platform.postgres.server import EmbeddedPostgres

TEMPLATE = "template_guilder"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDatabase:
    """A migrated database that belongs to one test module."""

    server: EmbeddedPostgres
    name: str

    @property
    def access(self) -> Access:
        return embedded_access(self.server, database=self.name)

    def url(self, role: str = "guilder_app") -> str:
        """Where ``role`` reaches it (guilder_app, guilder_migrator, guilder_auditor, postgres)."""
        return self.server.url(role, database=self.name)

    async def connect(
        self, *, max_connections: int = 10, limits: Limits | None = None, plans_once: bool = False
    ) -> Database:
        """A pool of its own as the application has it. The caller closes it."""
        return await Database.connect(
            self.url(),
            max_connections=max_connections,
            limits=limits,
            finds_by_index=True,
            plans_once=plans_once,
        )


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("guilder"), report=print)
    server.start()
    yield server
    server.stop()


@pytest_asyncio.fixture(scope="session")
async def template(postgres: EmbeddedPostgres) -> str:
    """Name of a migrated database that others are copied from; nobody connects to it."""
    # What tidies a table holds back for a moment what listeners hear: they look at a horizon.
    superuser = await asyncpg.connect(postgres.url(SUPERUSER, database="postgres"))
    await superuser.execute("ALTER SYSTEM SET autovacuum = off")
    await superuser.execute("SELECT pg_reload_conf()")
    await superuser.close()
    await create_database(postgres, database=TEMPLATE)
    await migrate(embedded_access(postgres, database=TEMPLATE).target, report=print)
    return TEMPLATE


@pytest.fixture(scope="session")
def database_numbers() -> Iterator[int]:
    return count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def database(
    postgres: EmbeddedPostgres, template: str, database_numbers: Iterator[int]
) -> AsyncIterator[OwnDatabase]:
    name = f"test_{next(database_numbers)}"
    await create_database(postgres, database=name, template=template)
    yield OwnDatabase(server=postgres, name=name)
    await drop_database(postgres, database=name)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(database: OwnDatabase) -> AsyncIterator[Database]:
    pool = await database.connect()
    yield pool
    await pool.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def superuser(database: OwnDatabase) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(database.url(SUPERUSER))
    yield connection
    await connection.close()
