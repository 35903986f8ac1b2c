"""PostgreSQL that dies under load: pools recover by themselves, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import asyncpg
import pytest
import pytest_asyncio

from guilder.platform.db import Database
from guilder.platform.postgres.access import create_database, embedded_access
from guilder.platform.postgres.migrator import migrate
from guilder.platform.postgres.server import EmbeddedPostgres
from tests.support.bank import Bank, opened
from tests.support.database import OwnDatabase
from tests.support.traffic import Traffic, ring_of

CUSTOMERS = 8
UNDERWAY = 60
"""So many transfers are acknowledged before the fault, and so many more after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragile:
    """A server that may be killed, and a bank on it."""

    server: EmbeddedPostgres
    database: OwnDatabase
    bank: Bank

    async def sessions(self) -> list[int]:
        """The processes of the bank's own sessions."""
        rows = await self.bank.db.fetch(
            "SELECT pid FROM pg_stat_activity WHERE usename = 'guilder_app' "
            "AND pid <> pg_backend_pid()"
        )
        return [row[0] for row in rows]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fragile(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fragile]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("fragile"), report=print)
    server.start()
    try:
        await create_database(server, database="guilder")
        await migrate(embedded_access(server).target, report=print)
        database = OwnDatabase(server=server, name="guilder")
        pool = await Database.connect(database.url(), max_connections=6)
        async with opened(pool, lanes=4, max_batch=4) as bank:
            yield Fragile(server=server, database=database, bank=bank)
        await pool.close()
    finally:
        server.stop()


async def kill_a_session(fragile: Fragile) -> None:
    """The server restarts every session when one is killed like this."""
    os.kill((await fragile.sessions())[0], signal.SIGKILL)


async def end_every_session(fragile: Fragile) -> None:
    connection = await asyncpg.connect(fragile.database.url("postgres"))
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'guilder_app'"
    )
    await connection.close()


async def restart(fragile: Fragile, number: signal.Signals) -> None:
    os.kill(fragile.server.pid, number)
    await asyncio.to_thread(fragile.server.wait, timeout_s=60)
    await asyncio.to_thread(fragile.server.start)


async def kill_the_server(fragile: Fragile) -> None:
    await restart(fragile, signal.SIGKILL)


async def stop_at_once(fragile: Fragile) -> None:
    """What ``pg_ctl stop -m immediate`` does: no checkpoint, recovery at the next start."""
    await restart(fragile, signal.SIGQUIT)


async def stop_in_order(fragile: Fragile) -> None:
    await restart(fragile, signal.SIGINT)


@pytest.mark.parametrize(
    "fault",
    [kill_a_session, end_every_session, kill_the_server, stop_at_once, stop_in_order],
    ids=lambda fault: fault.__name__,
)
async def test_what_was_acknowledged_is_there_once_after(
    fragile: Fragile, fault: Callable[[Fragile], Awaitable[None]]
):
    traffic: Traffic = await ring_of(fragile.bank, customers=CUSTOMERS)

    async with asyncio.TaskGroup() as group:
        group.create_task(traffic.flow(fragile.bank))
        await traffic.hear(UNDERWAY)
        await fault(fragile)
        await traffic.hear(UNDERWAY)
        traffic.stop()

    assert await traffic.lost_or_doubled(fragile.bank) == []
    assert sum(await fragile.bank.balances(*traffic.ring)) == 100_000 * CUSTOMERS
    assert await fragile.bank.verify() == []
