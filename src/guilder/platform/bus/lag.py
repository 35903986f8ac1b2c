"""How far each group is behind, for people and for Prometheus.

Events are counted up to ten thousand a partition: more is far behind, whatever the number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from guilder.platform import outbox
from guilder.platform.bus.events import GroupForgotten
from guilder.platform.bus.positions import PARTITIONS, hold
from guilder.platform.db import Database, Tx

_LOOK_EVERY_S: Final = 5.0
_LAGS: Final = """
    WITH unread AS (
        SELECT c.group_name, c.feed, next.count,
            extract(epoch FROM clock_timestamp() - first.created_at)::float8 AS age_s
        FROM platform.consumer_positions c
        CROSS JOIN LATERAL (
            SELECT count(*) FROM (
                SELECT FROM platform.outbox o
                WHERE c.feed = 'outbox' AND platform.partition_of(o.key) = c.partition
                  AND (o.transaction, o.position) > (c.transaction, c.position)
                LIMIT 10000
            ) unheard
        ) next
        LEFT JOIN LATERAL (
            SELECT o.created_at FROM platform.outbox o
            WHERE c.feed = 'outbox' AND platform.partition_of(o.key) = c.partition
              AND (o.transaction, o.position) > (c.transaction, c.position)
            ORDER BY o.transaction, o.position LIMIT 1
        ) first ON true
    ), parked AS (
        SELECT group_name, count(*) FILTER (WHERE state = 'dead') AS dead,
            count(*) FILTER (WHERE state <> 'dead') AS waiting
        FROM platform.parked_events GROUP BY group_name
    )
    SELECT group_name, min(unread.feed) AS feed, sum(unread.count)::bigint AS events,
        COALESCE(max(unread.age_s), 0) AS age_s,
        COALESCE(min(parked.waiting), 0) AS waiting, COALESCE(min(parked.dead), 0) AS dead
    FROM unread LEFT JOIN parked USING (group_name)
    GROUP BY group_name ORDER BY group_name
"""
_FORGET: Final = """
    WITH parked AS (
        DELETE FROM platform.parked_events WHERE group_name = $1
    ), heard AS (
        DELETE FROM platform.heard_events WHERE group_name = $1
    )
    DELETE FROM platform.consumer_positions WHERE group_name = $1 RETURNING partition
"""

_log = structlog.get_logger("guilder.bus")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """What a group has not heard yet. ``age_s`` is how old the oldest of that is.

    ``waiting`` are parked and will be tried again, ``dead`` are not.
    """

    group: str
    feed: str
    events: int
    age_s: float
    waiting: int
    dead: int


async def lags(db: Database) -> list[Lag]:
    """Every group, by name."""
    return [
        Lag(
            group=row["group_name"],
            feed=row["feed"],
            events=row["events"],
            age_s=max(0.0, row["age_s"]),
            waiting=row["waiting"],
            dead=row["dead"],
        )
        for row in await db.fetch(_LAGS)
    ]


async def forget_group(db: Database, group: str) -> bool:
    """Forget how far a group has come that is no longer fed, and what it could not hear; events
    are then not kept for it.

    Answers whether there was such a group.
    """

    async def forget(tx: Tx) -> bool:
        # whoever parks something for it has done so by then
        await hold(tx, group, partitions=range(PARTITIONS))
        if not await tx.fetch(_FORGET, group):
            return False
        await outbox.append(tx, [outbox.outgoing(GroupForgotten(group=group), key=group)])
        return True

    return await db.run(forget)


class LagMetrics(Collector):
    """Lag, age and dead letters of each group as this process saw them last."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seen: Sequence[Lag] = ()
        registry.register(self)

    async def watch(self, db: Database) -> None:
        """Look from time to time until cancelled."""
        while True:
            try:
                self._seen = await lags(db)
            except Exception:  # noqa: BLE001 - the database is away: the last values stand
                _log.warning("bus.lag_unknown")
            await asyncio.sleep(_LOOK_EVERY_S)

    def collect(self) -> Iterable[Metric]:
        yield self._gauge("events", "Events that a group has not heard.", lambda lag: lag.events)
        yield self._gauge(
            "age_seconds", "Age of the oldest event not heard.", lambda lag: lag.age_s
        )
        yield self._gauge("parked", "Events that will be tried again.", lambda lag: lag.waiting)
        yield self._gauge("dead_letters", "Events given up.", lambda lag: lag.dead)

    def _gauge(self, name: str, meaning: str, value: Callable[[Lag], float]) -> Metric:
        family = GaugeMetricFamily(f"guilder_bus_{name}", meaning, labels=("group",))
        for lag in self._seen:
            family.add_metric((lag.group,), value(lag))
        return family
