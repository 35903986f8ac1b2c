"""How to reach the database: the embedded one by its data folder, another one by its URL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import asyncpg

from guilder.platform.postgres.folder import SUPERUSER
from guilder.platform.postgres.migrator import Target
from guilder.platform.postgres.roles import APP, AUDITOR, MIGRATOR
from guilder.platform.postgres.server import EmbeddedPostgres

DATABASE: Final = "guilder"
"""The database that Guilder makes in its embedded server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a process needs to use one database: to serve from it, and to migrate it."""

    url: str = field(repr=False)
    role: str | None
    """What a session acts as after it logged in; None: as the URL's user."""
    target: Target


def embedded_access(server: EmbeddedPostgres, *, database: str = DATABASE) -> Access:
    """Access to ``database`` of the embedded server, with a role and password for each purpose."""
    passwords = server.passwords()
    return Access(
        url=server.url(APP, database=database),
        role=None,
        target=Target(
            admin_url=server.url(SUPERUSER, database=database),
            migrator_url=server.url(MIGRATOR, database=database),
            passwords={role: passwords[role] for role in (APP, MIGRATOR, AUDITOR)},
        ),
    )


def external_access(url: str, *, migration_url: str | None) -> Access:
    """Access to the database at ``url``, whose sessions act as the application's role."""
    by = migration_url or url
    return Access(url=url, role=APP, target=Target(admin_url=by, migrator_url=by))


async def create_database(
    server: EmbeddedPostgres, *, database: str = DATABASE, template: str = "template0"
) -> None:
    """Make ``database`` as a copy of ``template``, unless it is there."""
    connection = await asyncpg.connect(server.url(SUPERUSER, database="postgres"))
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
            await connection.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
    finally:
        await connection.close()


async def drop_database(server: EmbeddedPostgres, *, database: str) -> None:
    """Remove ``database`` and end whatever is connected to it."""
    connection = await asyncpg.connect(server.url(SUPERUSER, database="postgres"))
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
    finally:
        await connection.close()
