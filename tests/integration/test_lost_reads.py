"""Reads whose connection is lost: done once more where that is safe, else 503, and never 500."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import httpx2
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from guilder.kernel.errors import Overloaded
from guilder.platform.db import Database, Limits, LostRead, Tx
from guilder.platform.http.asgi import HttpApp
from guilder.platform.http.dispatcher import Dispatcher
from guilder.platform.http.forwarded import TrustedProxies
from guilder.platform.http.metrics import RequestMetrics
from guilder.platform.http.route import Access, Answer, Request, Route
from guilder.platform.postgres.access import create_database
from guilder.platform.postgres.folder import SUPERUSER
from guilder.platform.postgres.server import EmbeddedPostgres
from tests.support.database import OwnDatabase
from tests.support.shop import Tokens
from tests.support.waiting import until

Ending = Callable[[OwnDatabase, int], Awaitable[None]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fragile(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OwnDatabase]:
    """A server of its own: one that loses a session to SIGKILL ends all of them."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("reads"), report=print)
    server.start()
    try:
        await create_database(server, database="guilder")
        yield OwnDatabase(server=server, name="guilder")
    finally:
        server.stop()


@pytest_asyncio.fixture
async def pool(fragile: OwnDatabase) -> AsyncIterator[Database]:
    db = await Database.connect(fragile.url(SUPERUSER), max_connections=4)
    yield db
    await db.close()


async def terminate(database: OwnDatabase, pid: int) -> None:
    connection = await asyncpg.connect(database.url(SUPERUSER))
    await connection.execute("SELECT pg_terminate_backend($1, 5000)", pid)
    await connection.close()


async def kill(database: OwnDatabase, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("end", [terminate, kill])
@pytest.mark.parametrize("kind", ["reading", "snapshot"])
async def test_a_read_that_loses_its_connection_is_refused_as_one_that_may_be_repeated(
    fragile: OwnDatabase, pool: Database, kind: str, end: Ending
):
    async def read() -> None:
        async with getattr(pool, kind)() as tx:
            await end(fragile, await tx.fetchval("SELECT pg_backend_pid()"))
            await tx.fetchval("SELECT count(*) FROM pg_class")

    with pytest.raises(Overloaded) as refused:
        await read()

    assert isinstance(refused.value.__cause__, LostRead)
    await until(lambda: is_up(pool), "the pool has recovered by itself")


async def is_up(pool: Database) -> bool:
    try:
        async with pool.reading() as tx:
            return await tx.fetchval("SELECT 1") == 1
    except Overloaded:
        return False


async def test_work_that_gets_no_connection_in_time_is_refused(fragile: OwnDatabase):
    limits = Limits(acquire_s=1.0)
    small = await Database.connect(fragile.url(SUPERUSER), max_connections=1, limits=limits)

    async def one(tx: Tx) -> int:
        return int(await tx.fetchval("SELECT 1"))

    async def read() -> int:
        async with small.snapshot() as tx:
            return await one(tx)

    async with small.reading():
        refused = await asyncio.gather(small.run(one), read(), return_exceptions=True)
    done = [await small.run(one), await read()]
    await small.close()

    assert [type(refusal) for refusal in refused] == [Overloaded, Overloaded]
    assert done == [1, 1]


async def test_a_bug_in_a_read_stays_a_bug(pool: Database):
    with pytest.raises(asyncpg.InterfaceError):
        async with pool.reading() as tx:
            await tx.fetchval("SELECT $1::int", 1, 2)


class Library:
    """Routes that read on ``pool``. What is to happen during a read is told by ``during``."""

    def __init__(self, pool: Database) -> None:
        self.pool = pool
        self.during: list[Callable[[Tx], Awaitable[None]]] = []
        self.times = 0

    async def read(self, request: Request) -> Answer:
        async with self.pool.snapshot() as tx:
            self.times += 1
            if self.during:
                await self.during.pop()(tx)
            return Answer(data=await tx.fetchval("SELECT count(*) FROM pg_class") > 0)

    def http(self) -> httpx2.AsyncClient:
        routes = [
            Route(
                method=method,
                path="/books",
                handler=self.read,
                access=Access.PUBLIC,
                summary="Read",
                tag="Books",
            )
            for method in ("GET", "POST")
        ]
        dispatcher = Dispatcher(
            {"library": routes}, verifier=Tokens(), metrics=RequestMetrics(CollectorRegistry())
        )
        app = HttpApp(dispatcher.respond, proxies=TrustedProxies())
        transport = httpx2.ASGITransport(app)
        return httpx2.AsyncClient(transport=transport, base_url="http://guilder.test/api/v1")


@pytest.fixture
def library(pool: Database) -> Library:
    return Library(pool)


async def test_a_get_is_done_once_more(fragile: OwnDatabase, library: Library):
    library.during.append(ended_by(terminate, fragile))
    async with library.http() as http:
        answer = await http.get("/books")

    assert (answer.status_code, library.times) == (200, 2)


async def test_a_get_that_fails_again_and_a_post_answer_503(fragile: OwnDatabase, library: Library):
    async with library.http() as http:
        library.during += [ended_by(terminate, fragile)] * 2
        got = await http.get("/books")
        library.during.append(ended_by(terminate, fragile))
        posted = await http.post("/books")

    assert [(a.status_code, a.json()["error"]["code"]) for a in (got, posted)] == [
        (503, "OVERLOADED"),
        (503, "OVERLOADED"),
    ]
    assert (got.headers["retry-after"], library.times) == ("1", 3)


def ended_by(end: Ending, database: OwnDatabase) -> Callable[[Tx], Awaitable[None]]:
    async def ending(tx: Tx) -> None:
        await end(database, await tx.fetchval("SELECT pg_backend_pid()"))

    return ending


@pytest.mark.parametrize("end", [terminate, kill])
async def test_readers_never_see_a_500_while_sessions_are_killed_under_them(
    fragile: OwnDatabase, library: Library, end: Ending
):
    statuses: set[int] = set()
    library.during += [ended_by(end, fragile)] * 2

    async with library.http() as http:

        async def reads_again() -> bool:
            status = (await http.get("/books")).status_code
            statuses.add(status)
            return status == 200 and not library.during

        await asyncio.gather(*(until(reads_again, "it can be read again") for _ in range(4)))

    assert 200 in statuses
    assert statuses <= {200, 503}


async def test_a_server_that_there_is_no_way_to_is_503_whatever_the_system_calls_it(
    tmp_path: Path,
):
    """A host whose name is not known, or that nothing leads to, fails with errors of many kinds."""
    (tmp_path / "no_folder").touch()
    lost = await Database.connect(f"postgresql://guilder@/guilder?host={tmp_path}/no_folder")

    async def one(tx: Tx) -> int:
        return int(await tx.fetchval("SELECT 1"))

    async def read() -> int:
        async with lost.snapshot() as tx:
            return await one(tx)

    refused = await asyncio.gather(lost.run(one), read(), return_exceptions=True)
    await lost.close()

    assert [type(refusal) for refusal in refused] == [Overloaded, Overloaded]
