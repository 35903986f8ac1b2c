"""Waiting for what goes on when whoever waits for it is cancelled."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, TypeVar

import structlog

from guilder.kernel.errors import Refusal

Result = TypeVar("Result")

_log = structlog.get_logger("guilder.uncut")


async def uncut(running: asyncio.Future[Result], *, told_as: str | None = None) -> Result:
    """The result of ``running``, which the caller's cancellation does not cut off.

    As `asyncio.shield`, but a failure that comes when nobody waits any more is logged as
    ``told_as`` if it is a bug, and nobody's otherwise: that one logs each with its trace, at the
    latest when it is forgotten and since Python 3.14 at once, a refusal and the end of a closing
    pool as well. None: what fails is tried again by whoever comes next.
    """
    try:
        await asyncio.wait((running,))
    except asyncio.CancelledError:
        running.add_done_callback(partial(_heed, told_as=told_as))
        raise
    return running.result()


def _heed(ended: asyncio.Future[Any], *, told_as: str | None) -> None:
    failure = None if ended.cancelled() else ended.exception()
    if failure is not None and told_as is not None and not isinstance(failure, Refusal):
        _log.error(told_as, exc_info=failure)
