"""One delivery to one group, inside the transaction that also records it.

What fails is undone and taken apart: the same events one by one, each in its own savepoint, and
the one at fault is parked. Where nothing but failures comes, what stands behind tells whether the
events are at fault or the group. Failures of the database itself, a time limit included, fail the
whole delivery, to be repeated.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import structlog

from guilder.platform import failpoints
from guilder.platform.bus import parking, positions
from guilder.platform.bus.parking import Parked, Patience
from guilder.platform.bus.positions import Taken
from guilder.platform.bus.shelf import Shelf
from guilder.platform.bus.subscription import Event, Subscription
from guilder.platform.db import NOT_OF_THE_WORK, Tx, rehearsal, savepoint

BEFORE_COMMIT: Final = failpoints.declare(
    "bus.before_commit", "a group's effect and its position are written, not committed"
)
PARKED: Final = failpoints.declare("bus.parked", "an event is parked, not committed")
_MOST_DUE: Final = 16
_MOST_OF_A_KEY: Final = 256
_MOST_IN_A_ROW: Final = 8
_MOST_BEHIND: Final = 4_000
"""How many events, of whatever type, are looked through for some that a failing group might hear.

In all partitions together, of each the same part.
"""
_MOST_TRIED: Final = 16
"""How many of these it is tried with."""

_log = structlog.get_logger("guilder.bus")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What a delivery came to: partitions that moved and events tried again, and is there more?"""

    count: int
    is_full: bool
    heard: int = 0
    """How many events the group heard."""


NOTHING: Final = Delivered(count=0, is_full=False)


class TakeApart(Exception):
    """A group failed on several events at once: they are to be delivered one by one."""


class GroupBroken(Exception):
    """A group failed on one key after another, and on others behind them: the fault is its own.

    Nothing is parked. Whoever feeds it waits and tries again.
    """


async def deliver(
    tx: Tx,
    subscription: Subscription,
    *,
    shelf: Shelf,
    patience: Patience,
    at_most: int,
    one_by_one: bool,
) -> Delivered:
    """Deliver what is due and what is new in partitions that nobody else feeds just now.

    What is new comes from ``shelf``, as far as it stands there.

    Raises:
        TakeApart: the group failed, and ``one_by_one`` was not asked for.
        GroupBroken: it fails on every key.
    """
    taken = await positions.take(tx, subscription.group, at_most=at_most)
    if taken is None:
        return NOTHING
    read = await shelf.read(tx, subscription, taken)
    retried = 0
    if read.has_parked or not read.reached.partitions:
        retried = await retry_due(tx, subscription, taken.partitions, patience=patience)
    if one_by_one or read.has_parked:
        together = not one_by_one
        until = read.reached
        await hear(tx, subscription, read.events, patience=patience, until=until, together=together)
    elif read.events:
        await _hear_all(tx, subscription, read.events)
    if read.reached.partitions:
        await positions.move(tx, subscription.group, read.reached)
    if read.reached.partitions or retried:
        await failpoints.reach(BEFORE_COMMIT)
    return Delivered(
        count=len(read.reached.partitions) + retried,
        is_full=read.is_full,
        heard=len(read.events),
    )


async def _hear_all(tx: Tx, subscription: Subscription, events: Sequence[Event]) -> None:
    """As nearly always: nothing fails, and a savepoint would only cost."""
    try:
        await subscription.hear(tx, events)
    except NOT_OF_THE_WORK:
        raise
    except Exception as failure:
        raise TakeApart from failure


async def hear(
    tx: Tx,
    subscription: Subscription,
    events: Sequence[Event],
    *,
    patience: Patience,
    until: Taken,
    together: bool = True,
) -> None:
    """Let a group hear events in their order; park those that fail and those behind them.

    They are heard all at once first, unless that is known to fail (``together`` false). ``until``
    is where they end in the outbox.

    The partitions of their keys have to be held by this transaction.

    Raises:
        GroupBroken: it fails on every key.
    """
    if not events:
        return
    group = subscription.group
    blocked = await parking.blocked_keys(tx, group, among=[event.key for event in events])
    free = [event for event in events if event.key not in blocked]
    if free and not (together and await _failure(tx, subscription, free) is None):
        await _hear_one_by_one(tx, subscription, free, patience=patience, until=until)
    for event in events:
        if event.key in blocked:
            await parking.park(tx, group, event, failure=None, patience=patience)


async def _failure(tx: Tx, subscription: Subscription, events: Sequence[Event]) -> Exception | None:
    """Let the group hear these; what it raised, once all it did is undone."""
    try:
        async with savepoint(tx):
            await subscription.hear(tx, events)
    except NOT_OF_THE_WORK:
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
    tx: Tx,
    subscription: Subscription,
    events: Sequence[Event],
    *,
    patience: Patience,
    until: Taken,
) -> None:
    blocked: set[str] = set()
    can_hear = False
    for number, event in enumerate(events):
        failure = None
        if event.key not in blocked:
            failure = await _failure(tx, subscription, [event])
            if failure is None:
                can_hear = True
                continue
        blocked.add(event.key)
        if len(blocked) >= _MOST_IN_A_ROW and not can_hear:
            rest = events[number + 1 :]
            can_hear = await _can_hear(tx, subscription, rest, until=until, but=blocked)
            if not can_hear:
                raise GroupBroken(parking.told(failure) if failure else "") from failure
        await parking.park(tx, subscription.group, event, failure=failure, patience=patience)
        await failpoints.reach(PARKED)


async def _can_hear(
    tx: Tx,
    subscription: Subscription,
    rest: Sequence[Event],
    *,
    until: Taken,
    but: AbstractSet[str],
) -> bool:
    """Whether a group that fails hears anything of other keys: of the rest, or of what is behind.

    What it does of these is undone, for its turn has not come.
    """
    stand = await positions.stand(tx, subscription.group, beyond=until)
    most_of_each = _MOST_BEHIND // len(stand.partitions)
    ahead = await positions.read(tx, subscription, stand, most_of_each=most_of_each)
    later = [*rest, *ahead.events]
    parked = await parking.blocked_keys(tx, subscription.group, among=[e.key for e in later])
    firsts: dict[str, Event] = {}
    for event in later:
        if event.key not in but and event.key not in parked:
            firsts.setdefault(event.key, event)
    # others each time, as many keys as can be may have gone bad together
    for event in random.sample(list(firsts.values()), min(len(firsts), _MOST_TRIED)):
        if await _would_hear(tx, subscription, event):
            return True
    return False


async def _would_hear(tx: Tx, subscription: Subscription, event: Event) -> bool:
    try:
        async with rehearsal(tx):
            await subscription.hear(tx, [event])
    except NOT_OF_THE_WORK:
        raise
    except Exception:  # noqa: BLE001 - it fails on this one, too
        return False
    return True


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
