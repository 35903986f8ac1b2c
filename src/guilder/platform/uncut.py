"""Waiting for what goes on when whoever waits for it is cancelled."""

from __future__ import annotations

import asyncio
from typing import TypeVar

Result = TypeVar("Result")


async def uncut(running: asyncio.Future[Result]) -> Result:
    """The result of ``running``, which the caller's cancellation does not cut off.

    As `asyncio.shield`, but a failure that comes when nobody waits any more is nobody's: since
    Python 3.14 that one logs it with its trace, a refusal and the end of a closing pool as well.
    """
    await asyncio.wait((running,))
    return running.result()
