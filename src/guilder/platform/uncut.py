"""Waiting for what goes on when whoever waits for it is cancelled."""

from __future__ import annotations

import asyncio
from typing import TypeVar

Result = TypeVar("Result")


async def uncut(running: asyncio.Future[Result]) -> Result:
    """The result of ``running``, which the caller's cancellation does not cut off.

    As `asyncio.shield`, but a failure that comes when nobody waits any more is nobody's: that one
    logs it with its trace, at the latest when it is forgotten and since Python 3.14 at once, a
    refusal and the end of a closing pool as well.
    """
    try:
        await asyncio.wait((running,))
    except asyncio.CancelledError:
        running.add_done_callback(_heed)
        raise
    return running.result()


def _heed(ended: asyncio.Future[Result]) -> None:
    if not ended.cancelled():
        ended.exception()
