"""Parked events: what a group could not hear, and what waits behind it on the same key.

The first of a key is tried again with growing pauses; after the last attempt it is a dead letter,
and its key waits until somebody replays or discards it. Whoever parks, retries or takes away holds
the partition of the key, so no two do so at once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from guilder.kernel.ids import EventId
from guilder.platform import outbox
from guilder.platform.bus.events import DeadLetterDiscarded, DeadLetterReplayed
from guilder.platform.bus.positions import event, hold
from guilder.platform.bus.subscription import Event
from guilder.platform.db import Row, Tx

_COLUMNS: Final = "id, type, key, data, created_at, actor_id, request_id, trace_id"
_BLOCKED: Final = """
    SELECT DISTINCT key FROM platform.parked_events WHERE group_name = $1 AND key = ANY($2::text[])
"""
_PARKS: Final = "SELECT EXISTS (SELECT FROM platform.parked_events WHERE group_name = $1)"
# What a group left behind that was forgotten by a release before keeps its place.
_PARK: Final = f"""
    INSERT INTO platform.parked_events
        (group_name, state, attempts, next_attempt_at, last_error, {_COLUMNS})
    VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4), $5,
        $6, $7, $8, $9, $10, $11, $12, $13)
    ON CONFLICT (group_name, id) DO NOTHING
"""  # noqa: S608 - a constant list of columns
_DUE: Final = f"""
    SELECT {_COLUMNS}, attempts FROM platform.parked_events
    WHERE group_name = $1 AND state = 'waiting' AND next_attempt_at <= statement_timestamp()
      AND platform.partition_of(key) = ANY($2::int[])
    ORDER BY next_attempt_at LIMIT $3
"""  # noqa: S608 - a constant list of columns
_NEXT: Final = f"""
    SELECT {_COLUMNS}, attempts FROM platform.parked_events
    WHERE group_name = $1 AND key = $2 ORDER BY place LIMIT 1
"""  # noqa: S608 - a constant list of columns
_FAILED: Final = """
    UPDATE platform.parked_events
    SET state = $3, attempts = $4, last_error = $6,
        next_attempt_at = clock_timestamp() + make_interval(secs => $5)
    WHERE group_name = $1 AND id = $2
"""
_TAKE_AWAY: Final = "DELETE FROM platform.parked_events WHERE group_name = $1 AND id = $2"
_DEAD: Final = """
    SELECT p.group_name, p.id, p.type, p.key, p.created_at, p.attempts, p.last_error,
        (SELECT count(*) FROM platform.parked_events b
         WHERE b.group_name = p.group_name AND b.key = p.key AND b.state = 'behind') AS behind
    FROM platform.parked_events p
    WHERE p.state = 'dead' AND ($1::text IS NULL OR p.group_name = $1)
    ORDER BY p.group_name, p.place
"""
_FIND_DEAD: Final = """
    SELECT group_name, id, type, key, platform.partition_of(key) AS partition
    FROM platform.parked_events
    WHERE state = 'dead' AND ($1::text IS NULL OR group_name = $1)
      AND ($2::uuid[] IS NULL OR id = ANY($2::uuid[]))
    ORDER BY group_name, place
"""
_REVIVE: Final = """
    UPDATE platform.parked_events
    SET state = 'waiting', attempts = 0, next_attempt_at = clock_timestamp()
    WHERE group_name = $1 AND id = $2
"""
_REVIVE_NEXT: Final = """
    UPDATE platform.parked_events SET state = 'waiting', next_attempt_at = clock_timestamp()
    WHERE group_name = $1 AND id = (
        SELECT id FROM platform.parked_events WHERE group_name = $1 AND key = $2
        ORDER BY place LIMIT 1
    ) AND state = 'behind'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often an event is tried again: pauses double from the first to the longest, jittered."""

    first_s: float = 1.0
    longest_s: float = 600.0
    attempts: int = 12

    def pause_s(self, attempts: int) -> float | None:
        """How long to wait after so many attempts; None: it is a dead letter."""
        if attempts >= self.attempts:
            return None
        longest = min(self.first_s * 2 ** (attempts - 1), self.longest_s)
        return random.uniform(longest / 2, longest)  # noqa: S311 - jitter, not a secret


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An event that a group gave up. ``behind`` events of its key wait for a decision."""

    group: str
    id: EventId
    type: str
    key: str
    time: datetime
    attempts: int
    last_error: str
    behind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """A parked event and how often it was tried."""

    event: Event
    attempts: int


async def blocked_keys(tx: Tx, group: str, *, among: Sequence[str]) -> set[str]:
    """Those keys of which something is parked, so that what follows has to wait."""
    if not await tx.fetchval(_PARKS, group):
        return set()
    return {row[0] for row in await tx.fetch(_BLOCKED, group, sorted(set(among)))}


async def park(
    tx: Tx, group: str, heard: Event, *, failure: Exception | None, patience: Patience
) -> None:
    """Park an event that failed once, or that waits behind another when ``failure`` is None."""
    pause_s = None if failure is None else patience.pause_s(1)
    origin = heard.origin
    await tx.execute(
        _PARK,
        group,
        "behind" if failure is None else _state(pause_s),
        0 if failure is None else 1,
        pause_s,
        None if failure is None else told(failure),
        heard.id,
        heard.type,
        heard.key,
        msgspec.json.encode(heard.data).decode(),
        heard.time,
        origin.actor_id,
        origin.request_id,
        origin.trace_id,
    )


async def due(tx: Tx, group: str, *, partitions: Sequence[int], at_most: int) -> list[Parked]:
    """Parked events of these partitions whose pause is over, each the first of its key."""
    return [_parked(row) for row in await tx.fetch(_DUE, group, partitions, at_most)]


async def next_of(tx: Tx, group: str, *, key: str) -> Parked | None:
    """What is parked first on this key now."""
    row = await tx.fetchrow(_NEXT, group, key)
    return None if row is None else _parked(row)


async def failed(
    tx: Tx, group: str, parked: Parked, *, failure: Exception, patience: Patience
) -> None:
    """Record one more attempt of a parked event, and when the next one is, if ever."""
    attempts = parked.attempts + 1
    pause_s = patience.pause_s(attempts)
    await tx.execute(
        _FAILED, group, parked.event.id, _state(pause_s), attempts, pause_s, told(failure)
    )


async def take_away(tx: Tx, group: str, event_id: EventId) -> None:
    """Remove an event that was heard at last."""
    await tx.execute(_TAKE_AWAY, group, event_id)


async def wait_again(tx: Tx, group: str, *, key: str) -> None:
    """Let the first of this key be tried as soon as somebody can."""
    await tx.execute(_REVIVE_NEXT, group, key)


async def dead_letters(tx: Tx, *, group: str | None = None) -> list[DeadLetter]:
    """Every dead letter, or those of one group, in the order of each group."""
    return [
        DeadLetter(
            group=row["group_name"],
            id=row["id"],
            type=row["type"],
            key=row["key"],
            time=row["created_at"],
            attempts=row["attempts"],
            last_error=row["last_error"],
            behind=row["behind"],
        )
        for row in await tx.fetch(_DEAD, group)
    ]


async def replay(tx: Tx, *, group: str | None = None, ids: Sequence[EventId] | None = None) -> int:
    """Let dead letters be tried again as if for the first time; answer how many there were."""
    found = await _hold_dead(tx, group=group, ids=ids)
    for row in found:
        await tx.execute(_REVIVE, row["group_name"], row["id"])
    await _tell(tx, DeadLetterReplayed, found)
    return len(found)


async def discard(tx: Tx, *, group: str | None = None, ids: Sequence[EventId] | None = None) -> int:
    """Give dead letters up: they never have their effect, and what waits behind them goes on."""
    found = await _hold_dead(tx, group=group, ids=ids)
    for row in found:
        await take_away(tx, row["group_name"], row["id"])
        await wait_again(tx, row["group_name"], key=row["key"])
    await _tell(tx, DeadLetterDiscarded, found)
    return len(found)


async def _tell(
    tx: Tx, decided: type[DeadLetterReplayed | DeadLetterDiscarded], found: Sequence[Row]
) -> None:
    facts = [
        decided(
            event_id=row["id"],
            event_type=row["type"],
            event_key=row["key"],
            group=row["group_name"],
        )
        for row in found
    ]
    await outbox.append(tx, [outbox.outgoing(fact, key=fact.group) for fact in facts])


async def _hold_dead(tx: Tx, *, group: str | None, ids: Sequence[EventId] | None) -> Sequence[Row]:
    """The dead letters that are meant, as they are once no worker holds their partitions."""
    by_group: dict[str, list[int]] = {}
    for row in await tx.fetch(_FIND_DEAD, group, ids):
        by_group.setdefault(row["group_name"], []).append(row["partition"])
    for name in sorted(by_group):
        await hold(tx, name, partitions=by_group[name])
    return await tx.fetch(_FIND_DEAD, group, ids)


def told(failure: Exception) -> str:
    """What may be kept of a failure: its kind and place, never its text, which may name people."""
    place = failure.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None:
        return type(failure).__name__
    code = place.tb_frame.f_code
    module = place.tb_frame.f_globals.get("__name__", "")
    return f"{type(failure).__name__} in {module}.{code.co_name}, line {place.tb_lineno}"


def _state(pause_s: float | None) -> str:
    return "dead" if pause_s is None else "waiting"


def _parked(row: Row) -> Parked:
    return Parked(event=event(row), attempts=row["attempts"])
