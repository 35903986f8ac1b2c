"""How many jobs of each task are due and how many are dead, for Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from guilder.platform.db import Database

_LOOK_EVERY_S: Final = 5.0
# What runs is due again once its lease is over.
_QUEUES: Final = """
    SELECT task, count(*) FILTER (WHERE state <> 'dead') AS ready,
        count(*) FILTER (WHERE state = 'dead') AS dead,
        COALESCE(extract(epoch FROM clock_timestamp() - min(ready_at)), 0)::float8 AS age_s
    FROM platform.jobs WHERE ready_at <= statement_timestamp() OR state = 'dead' GROUP BY task
"""

_log = structlog.get_logger("guilder.jobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The jobs of one task. ``age_s`` is for how long the first of those ready has been so."""

    ready: int = 0
    dead: int = 0
    age_s: float = 0.0


async def queues(db: Database) -> dict[str, Queue]:
    """By task, wherever a job is due or dead."""
    return {
        row["task"]: Queue(ready=row["ready"], dead=row["dead"], age_s=max(0.0, row["age_s"]))
        for row in await db.fetch(_QUEUES)
    }


class JobMetrics(Collector):
    """Jobs of each task as this process saw them last."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seen: Mapping[str, Queue] = {}
        registry.register(self)

    async def watch(self, db: Database) -> None:
        """Look from time to time until cancelled."""
        while True:
            try:
                # a task that has nothing left goes on being told of
                self._seen = dict.fromkeys(self._seen, Queue()) | await queues(db)
            except Exception:  # noqa: BLE001 - the database is away: the last values stand
                _log.warning("jobs.queues_unknown")
            await asyncio.sleep(_LOOK_EVERY_S)

    def collect(self) -> Iterable[Metric]:
        yield self._gauge("ready", "Jobs that are due.", lambda queue: queue.ready)
        yield self._gauge("dead", "Jobs given up.", lambda queue: queue.dead)
        yield self._gauge(
            "age_seconds", "For how long the first job has been due.", lambda queue: queue.age_s
        )

    def _gauge(self, name: str, meaning: str, value: Callable[[Queue], float]) -> Metric:
        family = GaugeMetricFamily(f"guilder_jobs_{name}", meaning, labels=("task",))
        for task, queue in self._seen.items():
            family.add_metric((task,), value(queue))
        return family
