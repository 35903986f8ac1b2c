"""Three groups that hear every event and do next to nothing, as a worker of its own, which gives
way to everything else as background work does.

``python -m guilder.apps.bench.listening URL`` says ``ready`` and goes on until its input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Final

import uvloop

from guilder.apps.processes import NICER
from guilder.platform.bus import Bus, Event, Start, Subscription
from guilder.platform.db import Database, Tx

GROUPS: Final = ("bench.first", "bench.second", "bench.third")


async def _hear(_tx: Tx, events: Sequence[Event]) -> None:
    for event in events:
        event.data["transaction_id"]


async def _listen(url: str) -> None:
    db = await Database.connect(url, max_connections=8, finds_by_index=True)
    bus = Bus(
        db,
        [
            Subscription(group=group, types=None, hear=_hear, starts=Start.NOW, most=2000)
            for group in GROUPS
        ],
    )
    await bus.join()
    running = asyncio.create_task(bus.run())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await db.close()


if __name__ == "__main__":
    os.nice(NICER)
    uvloop.run(_listen(sys.argv[1]))
