"""Reaches the database that the settings name, and starts the embedded one where it has to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from guilder.apps.signals import undisturbed
from guilder.platform.bus.restored import SETTLED
from guilder.platform.db import Database, Limits
from guilder.platform.postgres.access import (
    Access,
    bring_up_to_date,
    create_database,
    embedded_access,
    external_access,
    told_plainly,
)
from guilder.platform.postgres.errors import DataFolderInUse, PostgresUnavailable
from guilder.platform.postgres.migrator import migrate
from guilder.platform.postgres.server import EmbeddedPostgres, is_running
from guilder.platform.settings import Settings

Report = Callable[[str], None]

_log = structlog.get_logger("guilder.database")
_FOR_PAYMENTS: Final = 3
"""One for each batch that is under way at once, and one to wake whoever hears of them."""
_LONGEST_WAIT_MS: Final = 1_000
_BESIDE_SERVING: Final = 2
"""Processes beside those that serve: one for background work, and one for a command."""
_FOR_OTHERS: Final = 20
"""For migrations, auditors and whoever looks with ``psql``."""
_FEWEST: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A database, and the embedded server behind it when this process runs that."""

    access: Access
    server: EmbeddedPostgres | None


def connections_for_all(settings: Settings) -> int:
    """How many connections an embedded server takes, so that no process is refused one."""
    processes = settings.workers + _BESIDE_SERVING
    of_each = settings.database_connections + _FOR_PAYMENTS
    return max(_FEWEST, processes * of_each + _FOR_OTHERS)


@contextmanager
def own_database(settings: Settings, *, report: Report) -> Iterator[Reached]:
    """The database, up to date, with its embedded server running as long as the block lasts.

    Raises:
        DataFolderInUse: another process runs the embedded server already.
        PostgresUnavailable: it cannot run here.
        DatabaseUnreachable: the database that the settings name does not answer.
    """
    with _started(settings, report=report) as reached:
        asyncio.run(bring_up_to_date(reached.access, server=reached.server, report=report))
        yield reached


@contextmanager
def any_database(settings: Settings, *, report: Report) -> Iterator[Reached]:
    """`own_database`, or the one that a running ``guilder up`` has started.

    Raises:
        PostgresUnavailable: the embedded server cannot run here.
        DatabaseUnreachable: the database that the settings name does not answer.
    """
    with _started_or_running(settings, report=report) as reached:
        asyncio.run(bring_up_to_date(reached.access, server=reached.server, report=report))
        yield reached


def migrated(settings: Settings, *, report: Report) -> int:
    """Migrate, whether or not anything seems pending, and return how many revisions were run.

    Unlike a start it always looks at roles and schemas too.

    Raises:
        PostgresUnavailable: the embedded server cannot run here.
        DatabaseUnreachable: the database does not answer.
        RolesMissing: roles are missing and the user may not make them.
    """
    with _started_or_running(settings, report=report) as reached, told_plainly():
        return asyncio.run(_migrate(reached, report=report))


async def _migrate(reached: Reached, *, report: Report) -> int:
    if reached.server is not None:
        await create_database(reached.server)
    return await migrate(reached.access.target, report=report)


def running_access(settings: Settings) -> Access:
    """Access to a database that runs already, by the settings or by a ``guilder up``.

    Raises:
        PostgresUnavailable: there is none.
    """
    if settings.database_url is not None:
        return _external(settings)
    if not is_running(settings.data_dir):
        raise PostgresUnavailable(
            f"no database runs in {settings.data_dir}; start `guilder up`, or set "
            "GUILDER_DATABASE_URL"
        )
    return embedded_access(EmbeddedPostgres(settings.data_dir, report=_log.info))


@asynccontextmanager
async def pool(access: Access, *, settings: Settings, name: str) -> AsyncIterator[Database]:
    """A pool of connections as the application.

    Nothing is written through it before this database was found to be of this server, or settled.
    """
    database = await Database.connect(
        access.url,
        role=access.role,
        application_name=f"guilder {name}",
        max_connections=settings.database_connections,
        finds_by_index=True,
        first=SETTLED,
    )
    try:
        await _look_into(database)
        yield database
    finally:
        await database.close()


async def _look_into(database: Database) -> None:
    """Have a restored database settled now, with all the time that takes, if it can be reached.

    One that is away is served once it is back, as ever: the first to reach it then looks.
    """
    try:
        await database.fetchval("SELECT 1")
    except Exception:  # noqa: BLE001 - readiness says what is wrong with the database
        _log.warning("database.unasked", exc_info=True)


@asynccontextmanager
async def payments_pool(access: Access) -> AsyncIterator[Database]:
    """A few connections for payments alone: however much is read, money does not wait for one.

    They do not wait long for locks either, so that whoever needs other accounts is not kept.
    """
    database = await Database.connect(
        access.url,
        role=access.role,
        application_name="guilder pay",
        max_connections=_FOR_PAYMENTS,
        limits=Limits(lock_ms=_LONGEST_WAIT_MS),
        finds_by_index=True,
        plans_once=True,  # of few payments, the server would plan each batch anew
        first=SETTLED,
    )
    try:
        yield database
    finally:
        await database.close()


@contextmanager
def _started(settings: Settings, *, report: Report) -> Iterator[Reached]:
    if settings.database_url is not None:
        yield Reached(access=_external(settings), server=None)
        return
    server = EmbeddedPostgres(
        settings.data_dir, report=report, max_connections=connections_for_all(settings)
    )
    server.start()
    try:
        yield Reached(access=embedded_access(server), server=server)
    finally:
        with undisturbed():
            server.stop()


@contextmanager
def _started_or_running(settings: Settings, *, report: Report) -> Iterator[Reached]:
    with ExitStack() as stack:
        try:
            reached = stack.enter_context(_started(settings, report=report))
        except DataFolderInUse:
            reached = Reached(access=running_access(settings), server=None)
        yield reached


def _external(settings: Settings) -> Access:
    by = settings.migration_database_url
    url = settings.database_url
    return external_access(
        url.get_secret_value() if url else "",
        migration_url=by.get_secret_value() if by else None,
    )
