"""Work goes on when its caller goes away; what becomes of it then is nobody's surprise."""

from __future__ import annotations

import asyncio
import gc

import pytest
import structlog

from guilder.platform.db import Database, Tx
from tests.support.database import OwnDatabase


async def one(tx: Tx) -> int:
    return int(await tx.fetchval("SELECT 1"))


async def test_work_that_waits_while_its_caller_goes_and_its_pool_closes_says_nothing(
    database: OwnDatabase, caplog: pytest.LogCaptureFixture
):
    pool = await Database.connect(database.url(), max_connections=1)
    with structlog.testing.capture_logs() as told:
        async with pool.reading():
            caller = asyncio.create_task(pool.run(one))
            await asyncio.sleep(0)
            caller.cancel()
            closing = asyncio.create_task(pool.close())
            await asyncio.wait([caller])
        await closing
        gc.collect()

    assert caller.cancelled()
    assert told == []
    assert [record for record in caplog.records if "never retrieved" in record.message] == []


async def test_a_bug_in_work_whose_caller_has_gone_is_told(database: OwnDatabase):
    pool = await Database.connect(database.url(), max_connections=1)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def fail(_: Tx) -> None:
        begun.set()
        await go_on.wait()
        raise LookupError("a bug")

    with structlog.testing.capture_logs() as told:
        caller = asyncio.create_task(pool.run(fail))
        await begun.wait()
        caller.cancel()
        await asyncio.wait([caller])
        go_on.set()
        await pool.close()
        await asyncio.sleep(0)

    assert caller.cancelled()
    assert [(line["event"], line["log_level"]) for line in told] == [
        ("database.failed_alone", "error")
    ]
