"""One delivery to one group, inside the transaction that also records it.

What fails is undone and taken apart: the same events one by one, each in its own savepoint, and
the one at fault is parked. Failures of the database itself fail the whole delivery, to be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from guilder.platform import failpoints
from guilder.platform.bus import parking, positions
from guilder.platform.bus.parking import Parked, Patience
from guilder.platform.bus.subscription import Event, Subscription
from guilder.platform.db import TRANSIENT, Tx, savepoint

BEFORE_COMMIT: Final = failpoints.declare(
    "bus.before_commit", "a group's effect and its position are written, not committed"
)
PARKED: Final = failpoints.declare("bus.parked", "an event is parked, not committed")
_MOST_DUE: Final = 16
_MOST_OF_A_KEY: Final = 256

_log = structlog.get_logger("guilder.bus")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What a delivery came to: events that were looked at or tried again, and is there more?"""

    count: int
    is_full: bool


NOTHING: Final = Delivered(count=0, is_full=False)


async def deliver(
    tx: Tx, subscription: Subscription, *, patience: Patience, at_most: int
) -> Delivered:
    """Deliver what is due and what is new in partitions that nobody else feeds just now."""
    taken = await positions.take(tx, subscription.group, at_most=at_most)
    if taken is None:
        return NOTHING
    retried = await retry_due(tx, subscription, taken.partitions, patience=patience)
    read = await positions.read(tx, subscription, taken)
    if read.events:
        await hear(tx, subscription, read.events, patience=patience)
    if read.reached.partitions:
        await positions.move(tx, subscription.group, read.reached)
    if read.reached.partitions or retried:
        await failpoints.reach(BEFORE_COMMIT)
    return Delivered(count=len(read.reached.partitions) + retried, is_full=read.is_full)


async def hear(
    tx: Tx, subscription: Subscription, events: Sequence[Event], *, patience: Patience
) -> None:
    """Let a group hear events in their order; park those that fail and those behind them.

    The partitions of their keys have to be held by this transaction.
    """
    group = subscription.group
    blocked = await parking.blocked_keys(tx, group, among=[event.key for event in events])
    free = [event for event in events if event.key not in blocked]
    if free and not await _heard(tx, subscription, free):
        await _hear_one_by_one(tx, subscription, free, patience=patience)
    for event in events:
        if event.key in blocked:
            await parking.park(tx, group, event, failure=None, patience=patience)


async def _heard(tx: Tx, subscription: Subscription, events: Sequence[Event]) -> bool:
    return await _failure(tx, subscription, events) is None


async def _failure(tx: Tx, subscription: Subscription, events: Sequence[Event]) -> Exception | None:
    """Let the group hear these; what it raised, once all it did is undone."""
    try:
        async with savepoint(tx):
            await subscription.hear(tx, events)
    except TRANSIENT:
        raise
    except Exception as failure:  # noqa: BLE001 - a subscriber's bug must not end the bus
        _log.warning(
            "bus.delivery_failed",
            group=subscription.group,
            events=len(events),
            event_id=str(events[0].id),
            failure=parking.told(failure),
        )
        return failure
    return None


async def _hear_one_by_one(
    tx: Tx, subscription: Subscription, events: Sequence[Event], *, patience: Patience
) -> None:
    blocked: set[str] = set()
    for event in events:
        failure = None
        if event.key not in blocked:
            failure = await _failure(tx, subscription, [event])
            if failure is None:
                continue
        blocked.add(event.key)
        await parking.park(tx, subscription.group, event, failure=failure, patience=patience)
        await failpoints.reach(PARKED)


async def retry_due(
    tx: Tx, subscription: Subscription, partitions: Sequence[int], *, patience: Patience
) -> int:
    """Try parked events of these partitions whose pause is over; answer how many there were.

    This transaction has to hold the partitions.
    """
    due = await parking.due(tx, subscription.group, partitions=partitions, at_most=_MOST_DUE)
    for parked in due:
        await _retry_key(tx, subscription, parked, patience=patience)
    return len(due)


async def _retry_key(
    tx: Tx, subscription: Subscription, first: Parked, *, patience: Patience
) -> None:
    """Try the first of a key, and as long as that goes well what waits behind it."""
    group, parked = subscription.group, first
    for _ in range(_MOST_OF_A_KEY):
        failure = await _failure(tx, subscription, [parked.event])
        if failure is not None:
            await parking.failed(tx, group, parked, failure=failure, patience=patience)
            return
        await parking.take_away(tx, group, parked.event.id)
        following = await parking.next_of(tx, group, key=first.event.key)
        if following is None:
            return
        parked = following
    await parking.wait_again(tx, group, key=first.event.key)
