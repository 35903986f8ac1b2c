"""What a process has read of the outbox last, so that its groups need not each read it again.

Below the horizon nothing changes any more: what was found between two places of a partition is
all that will ever be there. So the events that one look has brought can be given to every group
that stands among them. A group that stands elsewhere, because it is far behind or another worker
has moved it, reads for itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from guilder.platform.bus import positions
from guilder.platform.bus.positions import Read, Taken
from guilder.platform.bus.subscription import Event, Subscription
from guilder.platform.db import Database, Tx

_ROOM: Final = 1_024
"""How many events of a partition are kept at most."""

# A group's own state is asked for under its locks. That the last event of each slice still stands
# where it was read shows that this is the server it was read from.
_PROVE: Final = """
    SELECT
        (SELECT EXISTS (SELECT FROM platform.parked_events WHERE group_name = $1)) AS has_parked,
        (SELECT EXISTS (SELECT FROM platform.heard_events WHERE group_name = $1)) AS has_heard,
        (
            SELECT count(*)
            FROM unnest($2::int[], $3::text[], $4::bigint[], $5::uuid[])
                AS last (partition, transaction, position, id)
            JOIN platform.outbox o
                ON platform.partition_of(o.key) = last.partition
                AND (o.transaction, o.position) = (last.transaction::xid8, last.position)
                AND o.id = last.id
        ) = cardinality($2::int[]) AS is_proven
"""

Place: TypeAlias = tuple[int, int]
"""A transaction and a position in the outbox."""


@dataclass(slots=True)
class _Stretch:
    """All events of a partition behind ``since``, up to the last one here."""

    since: Place
    places: list[Place] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    is_level: bool = False
    """Whether the last look brought all that could be read."""

    @property
    def until(self) -> Place:
        return self.places[-1] if self.places else self.since

    def covers(self, place: Place) -> bool:
        """Whether everything is here that a group at this place can hear next."""
        if self.since <= place < self.until:
            return True
        return self.is_level and place == self.until

    def begin_at(self, place: Place) -> None:
        """Drop what every group has heard; begin anew where there is a gap."""
        if not self.since <= place <= self.until:
            self.since, self.is_level = place, False
            self.places.clear()
            self.events.clear()
            return
        heard = bisect_right(self.places, place)
        self.since = max(self.since, place)
        del self.places[:heard], self.events[:heard]


@dataclass(frozen=True, slots=True)
class _Slice:
    """What a group hears next of one partition: places and events, and is there more behind?"""

    partition: int
    places: Sequence[Place]
    events: Sequence[Event]
    is_full: bool


class Shelf:
    """The newest events of each partition, as far as some group of this process waits for them."""

    def __init__(self, *, room: int = _ROOM) -> None:
        self._room = room
        self._stretches: dict[int, _Stretch] = {}

    def clear(self) -> None:
        """Forget everything: the database was away, and may come back as another."""
        self._stretches.clear()

    async def fill(self, db: Database, groups: Sequence[str]) -> None:
        """Read what these groups have not heard, as far as there is room, once for all of them."""
        furthest_back = await positions.furthest_back(db, groups)
        for partition, place in furthest_back.items():
            stretch = self._stretches.setdefault(partition, _Stretch(place))
            stretch.begin_at(place)
            # Until it is read on: where there is no room, whoever is in front reads for itself.
            stretch.is_level = False
        half = self._room // 2
        wanted = {
            partition: stretch
            for partition, stretch in sorted(self._stretches.items())
            if len(stretch.places) <= half
        }
        if wanted:
            await self._read_on(db, wanted, limit=half)

    async def _read_on(self, db: Database, wanted: Mapping[int, _Stretch], *, limit: int) -> None:
        ends = _taken([(partition, stretch.until) for partition, stretch in wanted.items()])
        found = await positions.read_all(db, ends, limit=limit)
        # A stretch that was cleared meanwhile is nobody's any more.
        for partition, stretch in wanted.items():
            new = found.get(partition, ())
            stretch.places += [place for place, _ in new]
            stretch.events += [event for _, event in new]
            stretch.is_level = len(new) < limit

    async def read(self, tx: Tx, subscription: Subscription, taken: Taken) -> Read:
        """The next events of the partitions a group has taken: from here, or from the outbox."""
        slices = self._slices(subscription, taken)
        if slices is None:
            return await positions.read(tx, subscription, taken)
        lasts = [(cut.partition, cut.places[-1]) for cut in slices]
        reached = _taken(lasts)
        group = await tx.fetchrow(
            _PROVE,
            subscription.group,
            reached.partitions,
            reached.transactions,
            reached.positions,
            [cut.events[-1].id for cut in slices],
        )
        if group is None or not group["is_proven"]:
            self.clear()
        if group is None or not group["is_proven"] or group["has_heard"]:
            return await positions.read(tx, subscription, taken)
        wanted = sorted(
            (
                (place, event)
                for cut in slices
                for place, event in zip(cut.places, cut.events, strict=True)
                if subscription.types is None or event.type in subscription.types
            ),
            key=lambda placed: placed[0],
        )
        return Read(
            events=[event for _, event in wanted],
            places=[(str(transaction), position) for (transaction, position), _ in wanted],
            reached=reached,
            is_full=any(cut.is_full for cut in slices),
            has_parked=group["has_parked"],
        )

    def _slices(self, subscription: Subscription, taken: Taken) -> list[_Slice] | None:
        """What stands here for a group, unless some of what it waits for does not."""
        limit = positions.most_of_a_partition(subscription, taken)
        slices = []
        for partition, place in _places(taken).items():
            stretch = self._stretches.get(partition)
            if stretch is None or not stretch.covers(place):
                return None
            first = bisect_right(stretch.places, place)
            places = stretch.places[first : first + limit]
            if places:
                is_full = first + limit < len(stretch.places) or not stretch.is_level
                events = stretch.events[first : first + limit]
                slices.append(_Slice(partition, places, events, is_full))
        return slices


def _places(taken: Taken) -> Mapping[int, Place]:
    return {
        partition: (int(transaction), position)
        for partition, transaction, position in zip(
            taken.partitions, taken.transactions, taken.positions, strict=True
        )
    }


def _taken(places: Sequence[tuple[int, Place]]) -> Taken:
    return Taken(
        partitions=[partition for partition, _ in places],
        transactions=[str(transaction) for _, (transaction, _) in places],
        positions=[position for _, (_, position) in places],
    )
