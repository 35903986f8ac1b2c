"""Keeps every subscription fed from the outbox, in as many processes as run a `Bus`.

One look at the database tells which groups have news. It is taken when somebody notifies, shortly
after when an older transaction still keeps events back, and from time to time by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Gauge

from guilder.platform import failpoints, outbox
from guilder.platform.bus import positions
from guilder.platform.bus.delivery import Delivered, GroupBroken, TakeApart, deliver
from guilder.platform.bus.parking import Patience
from guilder.platform.bus.positions import PARTITIONS
from guilder.platform.bus.shelf import Shelf
from guilder.platform.bus.subscription import Subscription
from guilder.platform.db import Database

AFTER_COMMIT: Final = failpoints.declare(
    "bus.after_commit", "a group's effect and its position are committed"
)
_AT_ONCE: Final = 4
_LOOK_EVERY_S: Final = 0.25
_LOOK_AGAIN_S: Final = 0.01
_GATHER_S: Final = 0.05
_GATHER_MUCH_S: Final = 0.25
_MUCH: Final = 64
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0

_log = structlog.get_logger("guilder.bus")


def pauses_in(registry: CollectorRegistry | None) -> Gauge:
    """The metric of groups that hear nothing because they fail on everything."""
    return Gauge(
        "guilder_bus_paused",
        "Whether this process pauses a group because it fails on every key.",
        labelnames=("group",),
        registry=registry,
    )


class Bus:
    """Feeds subscriptions. At most four deliveries of a process are under way at once."""

    def __init__(
        self,
        db: Database,
        subscriptions: Sequence[Subscription],
        *,
        patience: Patience | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._db = db
        self._paused = pauses_in(registry)
        self._subscriptions = {heard.group: heard for heard in subscriptions}
        self._patience = patience or Patience()
        self._news = {group: asyncio.Event() for group in self._subscriptions}
        self._at_most = dict.fromkeys(self._subscriptions, PARTITIONS)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._shelf = Shelf()
        self._most = 0

    async def run(self) -> None:
        """Deliver until cancelled."""
        await self.join()
        async with asyncio.TaskGroup() as group:
            for subscription in self._subscriptions.values():
                group.create_task(self._feed(subscription))
            group.create_task(self._watch())

    async def join(self) -> None:
        """Give every group its positions, where it begins."""
        for subscription in self._subscriptions.values():
            await self._db.run(partial(positions.join, subscription=subscription))

    async def deliver(self, subscription: Subscription) -> int:
        """Deliver the next events to one group in one transaction.

        It answers 0 when there is nothing new, or when others feed all that is; else more.
        """
        return (await self._deliver(subscription)).count

    async def _deliver(self, subscription: Subscription) -> Delivered:
        group = subscription.group
        at_most = self._at_most[group]
        run = partial(
            deliver,
            subscription=subscription,
            shelf=self._shelf,
            patience=self._patience,
            at_most=at_most,
        )
        try:
            done = await self._db.run(partial(run, one_by_one=False))
        except TakeApart:
            done = await self._db.run(partial(run, one_by_one=True))
        # a group that is far behind leaves partitions to other workers; else one commit takes all
        self._at_most[group] = 1 if done.is_full else PARTITIONS
        if done.is_full or (done.count and at_most < PARTITIONS):
            self._news[group].set()
        if done.count:
            self._most = max(self._most, done.heard)
            await failpoints.reach(AFTER_COMMIT)
        return done

    async def _feed(self, subscription: Subscription) -> None:
        news, pause_s = self._news[subscription.group], _FIRST_PAUSE_S
        while True:
            await news.wait()
            news.clear()
            try:
                async with self._turns:
                    await self._deliver(subscription)
            except Exception as failure:  # noqa: BLE001 - the database, or a subscriber
                self._tell(subscription.group, failure)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                news.set()
                continue
            self._paused.labels(subscription.group).set(0)
            pause_s = _FIRST_PAUSE_S

    def _tell(self, group: str, failure: Exception) -> None:
        """Say that a group has to wait: because of itself, or of the database."""
        if isinstance(failure, GroupBroken):
            self._paused.labels(group).set(1)
            _log.error("bus.group_broken", group=group, failure=str(failure))
        else:
            _log.error("bus.delivery_failed", group=group, exc_info=failure)

    async def _watch(self) -> None:
        again_s = _LOOK_AGAIN_S
        # what comes within a moment is heard together: one commit for a group, not one for each
        async with self._db.listen(outbox.CHANNEL) as woken:
            while True:
                woken.clear()
                is_kept_back = await self._look()
                # an event that is kept back is announced by nobody once it no longer is
                again_s = min(again_s * 2, _LOOK_EVERY_S) if is_kept_back else _LOOK_AGAIN_S
                # not wait_for, which forgets that it was cancelled when it is woken just then
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(again_s if is_kept_back else _LOOK_EVERY_S):
                        await woken.wait()
                # while much happens, much is heard at a time, and whoever makes it happen pays less
                is_much, self._most = self._most >= _MUCH, 0
                await asyncio.sleep(_GATHER_MUCH_S if is_much else _GATHER_S)

    async def _look(self) -> bool:
        """Read what is new, tell groups of it, and answer whether anything waits to be ready."""
        groups = list(self._subscriptions)
        try:
            found = await positions.look(self._db, groups)
            if len(groups) > 1 and any(found.values()):
                await self._shelf.fill(self._db, groups)
        except Exception as failure:  # noqa: BLE001 - the database is away: in a while, again
            self._shelf.clear()
            _log.warning("bus.database_away", failure=type(failure).__name__)
            await asyncio.sleep(_FIRST_PAUSE_S)
            return False
        for group, is_ready in found.items():
            if is_ready:
                self._news[group].set()
        return bool(found)
