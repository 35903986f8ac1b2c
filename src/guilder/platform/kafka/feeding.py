"""Feeds subscriptions from Kafka. The position in Kafka is only a hint of where to go on: what a
group has heard is recorded in the transaction of the effect, so an event given twice is heard once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from guilder.platform import failpoints
from guilder.platform.bus import positions
from guilder.platform.bus.delivery import GroupBroken, hear, retry_due
from guilder.platform.bus.feeding import AFTER_COMMIT, pauses_in
from guilder.platform.bus.parking import Patience
from guilder.platform.bus.positions import PARTITIONS, Taken
from guilder.platform.bus.subscription import Subscription
from guilder.platform.db import Database, Tx
from guilder.platform.kafka.client import Receiver
from guilder.platform.kafka.cloud_events import Sent, decoded, topics_of
from guilder.platform.kafka.relay import Relay

_WAIT_S: Final = 0.2
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0

_log = structlog.get_logger("guilder.bus")


class KafkaBus:
    """Relays the outbox to Kafka and feeds subscriptions from there."""

    def __init__(
        self,
        db: Database,
        subscriptions: Sequence[Subscription],
        *,
        bootstrap: str,
        options: Mapping[str, str] | None = None,
        patience: Patience | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._db = db
        self._paused = pauses_in(registry)
        self._subscriptions = subscriptions
        self._bootstrap = bootstrap
        self._options = options or {}
        self._patience = patience or Patience()

    async def run(self) -> None:
        """Relay and feed until cancelled."""
        async with asyncio.TaskGroup() as group:
            relay = Relay(self._db, bootstrap=self._bootstrap, options=self._options)
            group.create_task(relay.run())
            for subscription in self._subscriptions:
                group.create_task(self.feed(subscription))

    async def feed(self, subscription: Subscription) -> None:
        """Feed one group until cancelled."""
        await self._db.run(partial(positions.join, subscription=subscription, feed=positions.KAFKA))
        receiver = Receiver(
            self._bootstrap,
            group=subscription.group,
            topics=topics_of(subscription.types),
            options=self._options,
        )
        try:
            while True:
                given = await receiver.next(at_most=subscription.most, wait_s=_WAIT_S)
                await self._hear(subscription, [_read(value) for value in given])
                if given:
                    await failpoints.reach(AFTER_COMMIT)
                    await receiver.acknowledge()
        finally:
            await receiver.close()

    async def _hear(self, subscription: Subscription, given: Sequence[Sent | None]) -> None:
        """Let the group hear these, however long the database is away."""
        types = subscription.types
        wanted = [sent for sent in given if sent and (types is None or sent.event.type in types)]
        pause_s = _FIRST_PAUSE_S
        while True:
            with contextlib.suppress(ConnectionError):
                try:
                    await self._db.run(partial(self._deliver, subscription=subscription, of=wanted))
                except Exception as failure:  # noqa: BLE001 - in a while, again
                    _log.warning(
                        "bus.delivery_failed",
                        group=subscription.group,
                        failure=type(failure).__name__,
                    )
                    if isinstance(failure, GroupBroken):
                        self._paused.labels(subscription.group).set(1)
                else:
                    self._paused.labels(subscription.group).set(0)
                    return
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _deliver(self, tx: Tx, *, subscription: Subscription, of: Sequence[Sent]) -> None:
        group, patience = subscription.group, self._patience
        due = await positions.take_due(tx, group)
        if due:
            await retry_due(tx, subscription, due, patience=patience)
        if not of:
            return
        fresh = await positions.record_heard(
            tx, group, [(sent.event, sent.transaction, sent.position) for sent in of]
        )
        events = []
        for sent in of:
            if sent.event.id in fresh:
                # the same event can have been sent, and so be given, twice
                fresh.discard(sent.event.id)
                events.append(sent.event)
        if events:
            await hear(tx, subscription, events, patience=patience, until=_end_of(of))


def _end_of(given: Sequence[Sent]) -> Taken:
    """Behind the last of these in every partition: what stands there was given to nobody yet."""
    transaction, position = max((int(sent.transaction), sent.position) for sent in given)
    return Taken(
        partitions=range(PARTITIONS),
        transactions=[str(transaction)] * PARTITIONS,
        positions=[position] * PARTITIONS,
    )


def _read(value: bytes) -> Sent | None:
    """A message, or None where it is none of Guilder's."""
    try:
        return decoded(value)
    except ValueError:
        _log.warning("bus.foreign_message")
        return None
