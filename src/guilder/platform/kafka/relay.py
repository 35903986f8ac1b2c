"""Sends every event of the outbox to Kafka, in order, and records how far it has come.

One relay sends at a time, by a lock of the database that is not held in a transaction. One that
lost the lock without knowing may send events again, and never one that was not sent in order; the
position it tries to record is refused.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from guilder.platform import failpoints, outbox
from guilder.platform.bus import positions
from guilder.platform.bus.positions import Taken
from guilder.platform.bus.subscription import Event, Subscription
from guilder.platform.db import Database, Tx
from guilder.platform.kafka.client import Options, Sender
from guilder.platform.kafka.cloud_events import CONTENT_TYPE, Sent, encoded, topic_of

GROUP: Final = "kafka.relay"
_LOCK: Final = "guilder kafka relay"
_MOST: Final = 4_000
_LOOK_EVERY_S: Final = 0.25
_PAUSE_S: Final = 1.0

_log = structlog.get_logger("guilder.relay")


async def _nobody(_tx: Tx, _events: object) -> None:
    """The relay's group has a position and hears nothing by itself."""


_EVERYTHING: Final = Subscription(group=GROUP, types=None, hear=_nobody, most=_MOST)


class Relay:
    """Sends until cancelled, whenever this process is the one that does."""

    def __init__(self, db: Database, *, bootstrap: str, options: Options) -> None:
        self._db = db
        self._bootstrap = bootstrap
        self._options = options

    async def run(self) -> None:
        """Send while this process has the lock; wait for it otherwise."""
        while True:
            try:
                async with self._db.exclusively(_LOCK) as lost:
                    await self._send_until(lost)
            except Exception as failure:  # noqa: BLE001 - Kafka or the database: in a while, again
                _log.warning("relay.failed", failure=type(failure).__name__)
            await asyncio.sleep(_PAUSE_S)

    async def _send_until(self, lost: asyncio.Event) -> None:
        await self._db.run(lambda tx: positions.join_last(tx, GROUP))
        sender = Sender(self._bootstrap, options=self._options)
        try:
            async with self._db.listen(outbox.CHANNEL) as woken:
                while not lost.is_set():
                    woken.clear()
                    if not await self.send_next(sender):
                        await _either(woken, lost)
        finally:
            await sender.close()

    async def send_next(self, sender: Sender) -> int:
        """Send what comes next, and answer how many events that were."""
        since, read = await self._db.run(_read)
        if not read.events:
            return 0
        await failpoints.reach(outbox.BEFORE_SEND)
        await sender.send(
            [
                (topic_of(event.type), event.key, encoded(_sent(event, place)))
                for event, place in zip(read.events, read.places, strict=True)
            ],
            kind=CONTENT_TYPE,
        )
        await failpoints.reach(outbox.AFTER_SEND)
        await self._db.run(lambda tx: positions.move(tx, GROUP, read.reached, since=since))
        return len(read.events)


async def _read(tx: Tx) -> tuple[Taken, positions.Read]:
    since = await positions.stand(tx, GROUP)
    return since, await positions.read(tx, _EVERYTHING, since)


def _sent(event: Event, place: tuple[str, int]) -> Sent:
    transaction, position = place
    return Sent(event=event, transaction=transaction, position=position)


async def _either(woken: asyncio.Event, lost: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in (woken, lost)]
    await asyncio.wait(waiting, timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
