"""Delivers events from the outbox to subscribers, each effect once, in order of commit per group.

A subscriber's effect and the record of how far its group has read are one commit. Rows are read
only below the oldest running transaction, so one that commits late is never skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog

from guilder.kernel.ids import EventId
from guilder.platform import outbox
from guilder.platform.db import Database, Row, Tx
from guilder.platform.origin import NOWHERE, Origin

_BATCH: Final = 256
_LOOK_EVERY_S: Final = 0.2
_PAUSE_AFTER_FAILURE_S: Final = 1.0

_JOIN: Final = """
    INSERT INTO platform.consumer_offsets (group_name) VALUES ($1) ON CONFLICT DO NOTHING
"""
_LOCK: Final = """
    SELECT transaction::text AS transaction, position FROM platform.consumer_offsets
    WHERE group_name = $1 FOR UPDATE SKIP LOCKED
"""
_MOVE: Final = """
    UPDATE platform.consumer_offsets
    SET transaction = $2::text::xid8, position = $3, moved_at = clock_timestamp()
    WHERE group_name = $1
"""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact as a subscriber hears it. ``key`` is the aggregate whose order is kept.

    ``origin`` says who caused it, in which request.
    """

    id: EventId
    type: str
    key: str
    time: datetime
    data: Mapping[str, Any]
    origin: Origin = NOWHERE


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """``group`` hears events of ``types`` (None: all), several at a time, in the order of each key.

    Its effect happens in the transaction it is given.
    """

    group: str
    types: frozenset[str] | None
    hear: Callable[[Tx, Sequence[Event]], Awaitable[None]]


class Bus:
    """Keeps every subscription fed, in as many processes as run one: a group has one reader."""

    def __init__(self, db: Database, subscriptions: Sequence[Subscription]) -> None:
        self._db = db
        self._subscriptions = subscriptions

    async def run(self) -> None:
        """Deliver until cancelled. A failing event is tried again after a pause, in its place."""
        async with asyncio.TaskGroup() as group:
            for subscription in self._subscriptions:
                group.create_task(self._feed(subscription))

    async def deliver(self, subscription: Subscription) -> int:
        """Deliver the next events to one group in one transaction, and answer how many were read.

        It answers 0 when there is nothing new, or when another process feeds the group just now.
        """
        return await self._db.run(lambda tx: _deliver(tx, subscription))

    async def _feed(self, subscription: Subscription) -> None:
        await self._db.run(lambda tx: tx.execute(_JOIN, subscription.group))
        async with self._db.listen(outbox.CHANNEL) as woken:
            while True:
                woken.clear()
                try:
                    was_full = await self.deliver(subscription) == _BATCH
                except Exception:  # noqa: BLE001 - a subscriber's bug must not end the bus
                    _log.exception("bus.delivery_failed", group=subscription.group)
                    await asyncio.sleep(_PAUSE_AFTER_FAILURE_S)
                    continue
                if not was_full:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(woken.wait(), _LOOK_EVERY_S)


async def _deliver(tx: Tx, subscription: Subscription) -> int:
    offset = await tx.fetchrow(_LOCK, subscription.group)
    if offset is None:
        return 0
    after = outbox.Position(offset["transaction"], offset["position"])
    rows = await outbox.read(tx, after, limit=_BATCH)
    types = subscription.types
    events = [_event(row) for row in rows if types is None or row["type"] in types]
    if events:
        await subscription.hear(tx, events)
    if rows:
        last = rows[-1]
        await tx.execute(_MOVE, subscription.group, last["transaction"], last["position"])
    return len(rows)


def _event(row: Row) -> Event:
    return Event(
        id=row["id"],
        type=row["type"],
        key=row["key"],
        time=row["created_at"],
        data=msgspec.json.decode(row["data"]),
        origin=Origin(row["actor_id"], row["request_id"], row["trace_id"]),
    )
