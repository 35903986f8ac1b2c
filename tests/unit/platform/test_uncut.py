"""What goes on when whoever waits for it is cancelled, and is nobody's when it fails then."""

from __future__ import annotations

import asyncio
import gc

import pytest

from guilder.platform.uncut import uncut


async def test_its_result_and_its_failure_are_those_of_what_runs():
    async def work(failure: Exception | None) -> str:
        await asyncio.sleep(0)
        if failure is not None:
            raise failure
        return "done"

    assert await uncut(asyncio.ensure_future(work(None))) == "done"
    with pytest.raises(LookupError, match="lost"):
        await uncut(asyncio.ensure_future(work(LookupError("lost"))))


@pytest.mark.parametrize("failure", [None, LookupError("lost")])
async def test_it_goes_on_without_its_caller_and_nobody_is_told(failure: Exception | None):
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    may_end = asyncio.Event()

    async def work() -> str:
        await may_end.wait()
        if failure is not None:
            raise failure
        return "done"

    running = asyncio.ensure_future(work())
    waiting = asyncio.create_task(uncut(running))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not running.done()

    may_end.set()
    await asyncio.wait({running})
    del running
    gc.collect()
    asyncio.get_running_loop().set_exception_handler(None)
    assert told == []
