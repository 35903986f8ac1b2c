"""How to reach the database: the embedded one by its data folder, another one by its URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from guilder.platform.postgres.folder import SUPERUSER
from guilder.platform.postgres.migrator import Report, Target, is_current, migrate
from guilder.platform.postgres.roles import APP, AUDITOR, MIGRATOR
from guilder.platform.postgres.server import EmbeddedPostgres
from guilder.platform.startup import CannotStart

DATABASE: Final = "guilder"
"""The database that Guilder makes in its embedded server."""


_NOT_MADE_YET: Final = (
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InsufficientPrivilegeError,
)


class DatabaseUnreachable(CannotStart):
    """No connection could be made; the message says why, without any password."""


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


async def bring_up_to_date(
    access: Access, *, server: EmbeddedPostgres | None, report: Report
) -> int:
    """Make what is missing, from the embedded ``server``'s database to the newest revision.

    Returns how many revisions were run; when there is nothing to do it costs one connection.

    Raises:
        DatabaseUnreachable: there is no connection to it.
        RolesMissing: roles are missing and the user may not make them.
        WrongHistory: the database is newer than this code.
    """
    with told_plainly():
        if await _is_current(access):
            return 0
        if server is not None:
            await create_database(server)
        return await migrate(access.target, report=report)


@contextmanager
def told_plainly() -> Iterator[None]:
    """Turn a failed connection into a line for people.

    Raises:
        DatabaseUnreachable: no connection could be made.
    """
    try:
        yield
    except (OSError, asyncpg.CannotConnectNowError, *_NOT_MADE_YET) as error:
        raise DatabaseUnreachable(f"the database cannot be used: {error}") from error


async def _is_current(access: Access) -> bool:
    try:
        return await is_current(access.url)
    except _NOT_MADE_YET:
        return False


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
