"""What listening costs the payment engine, and whether listeners keep up with it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from guilder.apps.bench.engine import transfers
from guilder.apps.bench.figure import Figure
from guilder.apps.bench.ground import Ground
from guilder.apps.bench.listening import GROUPS
from guilder.apps.bench.pgbench import CannotMeasure
from guilder.apps.bench.town import Town
from guilder.payments.api import Payments
from guilder.platform.bus.lag import forget_group, lags
from guilder.platform.db import Database

_LISTENING: Final = "guilder.apps.bench.listening"
_LOOK_EVERY_S: Final = 0.5
_LOOK_AGAIN_S: Final = 0.02
_PATIENCE_S: Final = 60.0


async def measure(ground: Ground, payments: Payments, *, town: Town, seconds: float) -> Figure:
    """Transfers a second while three groups hear of each, against those while nobody does."""
    alone = await _rate(ground, payments, town=town, seconds=seconds)
    async with ground.pool(connections=2) as db:
        async with _listeners(ground):
            most: list[int] = [0]
            looking = asyncio.create_task(_watch(db, most))
            heard = await _rate(ground, payments, town=town, seconds=seconds)
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            began = time.monotonic()
            behind = await _behind(db)
            while await _behind(db):
                if time.monotonic() - began > _PATIENCE_S:
                    raise CannotMeasure("listeners do not come to an end with what they hear")
                await asyncio.sleep(_LOOK_AGAIN_S)
            took_s = time.monotonic() - began
        for group in GROUPS:
            await forget_group(db, group)
    return Figure(
        name="bus",
        title="engine while three groups hear every event",
        unit="/s",
        value=heard,
        against="nobody listening",
        ratio=heard / alone,
        target=0.85,
        detail={
            "alone /s": round(alone),
            "most events behind": max(*most, behind),
            "behind at the end": behind,
            "level after, s": round(took_s, 3),
        },
    )


async def _rate(ground: Ground, payments: Payments, *, town: Town, seconds: float) -> float:
    await ground.settle()
    began = time.monotonic()
    done = await transfers(payments, town=town, seconds=seconds)
    return done / (time.monotonic() - began)


async def _watch(db: Database, most: list[int]) -> None:
    while True:
        most.append(await _behind(db))
        await asyncio.sleep(_LOOK_EVERY_S)


async def _behind(db: Database) -> int:
    """How many events the group that is furthest behind has not heard."""
    return max(lag.events for lag in await lags(db) if lag.group in GROUPS)


@asynccontextmanager
async def _listeners(ground: Ground) -> AsyncIterator[None]:
    """The three groups, fed by a process of their own."""
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", _LISTENING, ground.access.url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        if worker.stdout is None or not await worker.stdout.readline():
            raise CannotMeasure("the listeners did not start")
        yield
    finally:
        if worker.stdin is not None:
            worker.stdin.close()
        await worker.wait()
