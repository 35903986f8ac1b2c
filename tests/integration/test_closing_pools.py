"""Work goes on when its caller goes away; what becomes of it then is nobody's surprise."""

from __future__ import annotations

import asyncio
import gc

import pytest
import structlog

from guilder.kernel.errors import Overloaded
from guilder.platform.db import Database, Tx
from tests.support.database import OwnDatabase


async def test_work_that_comes_when_its_pool_has_closed_is_refused(database: OwnDatabase):
    pool = await Database.connect(database.url(), max_connections=1)
    await pool.close()

    with pytest.raises(Overloaded):
        await pool.run(lambda tx: tx.fetchval("SELECT 1"))
    with pytest.raises(Overloaded):
        async with pool.reading():
            pass


@pytest.mark.parametrize(
    ("failure", "events"), [(LookupError("a bug"), ["database.failed_alone"]), (Overloaded(), [])]
)
async def test_a_bug_in_work_whose_caller_has_gone_is_told_and_a_refusal_is_not(
    failure: Exception,
    events: list[str],
    database: OwnDatabase,
    caplog: pytest.LogCaptureFixture,
):
    pool = await Database.connect(database.url(), max_connections=1)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def fail(_: Tx) -> None:
        begun.set()
        await go_on.wait()
        raise failure

    with structlog.testing.capture_logs() as told:
        caller = asyncio.create_task(pool.run(fail))
        await begun.wait()
        caller.cancel()
        await asyncio.wait([caller])
        go_on.set()
        await pool.close()
        await asyncio.sleep(0)
        gc.collect()

    assert caller.cancelled()
    assert [line["event"] for line in told] == events
    assert [line for line in caplog.messages if "never retrieved" in line] == []
