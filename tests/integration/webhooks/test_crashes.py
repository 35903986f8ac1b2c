"""PostgreSQL that dies while deliveries are under way: each event still arrives, under one id."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest_asyncio

from guilder.kernel.ids import UserId
from guilder.platform.db import Database
from guilder.platform.postgres.access import create_database, embedded_access
from guilder.platform.postgres.migrator import migrate
from guilder.platform.postgres.server import EmbeddedPostgres
from guilder.webhooks.service.sending import Sending
from tests.support.post_office import BRIEF, PostOffice, paid, wallet_of
from tests.support.receivers import Receiver
from tests.support.waiting import until


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A server of this test's own, which may die."""
    server = EmbeddedPostgres(tmp_path, report=print)
    server.start()
    try:
        await create_database(server, database="guilder")
        await migrate(embedded_access(server).target, report=print)
        yield server
    finally:
        server.stop()


async def keep_working(worker: Sending) -> None:
    """Begin again whenever it fails, as background work does."""
    while True:
        with suppress(Exception):
            await worker.run()
        await asyncio.sleep(0)


async def test_every_event_arrives_though_the_database_is_killed_while_sending(
    server: EmbeddedPostgres, tmp_path: Path, receiver: Receiver, anna: UserId
):
    db = await Database.connect(embedded_access(server).url, max_connections=6)
    office = PostOffice(db, keys=tmp_path / "keys", limits=BRIEF, waits_s=(0.1,) * 9)
    endpoint, _ = await office.register(anna, receiver, "transaction.*")
    wallets = [wallet_of(anna) for _ in range(40)]
    happened = [paid(wallet_id, None) for wallet_id, _ in wallets for _ in range(3)]
    await office.hear(*(event for _, event in wallets), *happened)

    working = asyncio.create_task(keep_working(office.worker))
    await receiver.received(20)
    os.kill(server.pid, signal.SIGKILL)
    await asyncio.to_thread(server.wait, timeout_s=60)
    await asyncio.to_thread(server.start)
    # the pool that lived through it may still hold a connection that did not
    watching = await Database.connect(embedded_access(server).url, max_connections=2)
    await until(lambda: nothing_waits(watching), "nothing waits")
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)

    ids = {request.event["id"]: request.id for request in receiver.requests}
    assert set(ids) == {str(event.id) for event in happened}
    assert len(set(receiver.ids)) == len(happened)
    assert set(await office.states(endpoint)) == {"delivered"}
    assert await office.findings() == []
    await watching.close()
    await db.close()


async def nothing_waits(db: Database) -> bool:
    return not await db.fetchval(
        "SELECT EXISTS (SELECT FROM webhooks.deliveries WHERE state = 'pending')"
    )
