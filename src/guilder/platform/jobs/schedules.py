"""Schedules as rows: when each is due next. Whoever finds one due makes its job, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from guilder.platform.db import Tx
from guilder.platform.jobs.queue import enqueue
from guilder.platform.jobs.task import Schedule

_NOW: Final = "SELECT clock_timestamp()"
# A schedule that was changed begins anew.
_DECLARE: Final = """
    INSERT INTO platform.schedules AS s (name, cron, time_zone, next_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (name) DO UPDATE
        SET cron = excluded.cron, time_zone = excluded.time_zone, next_at = excluded.next_at
        WHERE (s.cron, s.time_zone) <> (excluded.cron, excluded.time_zone)
"""
_DUE: Final = """
    SELECT name, next_at, clock_timestamp() AS now FROM platform.schedules
    WHERE name = ANY($1::text[]) AND next_at <= statement_timestamp()
    ORDER BY name FOR UPDATE SKIP LOCKED
"""
_MOVE: Final = "UPDATE platform.schedules SET next_at = $2 WHERE name = $1"


async def declare(tx: Tx, schedules: Sequence[Schedule]) -> None:
    """Make schedules known. One that is known already keeps the time it is due."""
    now = await tx.fetchval(_NOW)
    for schedule in sorted(schedules, key=lambda schedule: schedule.name):
        cron = schedule.cron
        await tx.execute(_DECLARE, schedule.name, cron.rule, cron.time_zone, cron.next_after(now))


async def make_due_jobs(tx: Tx, schedules: Sequence[Schedule]) -> int:
    """Make a job for each schedule that is due, and answer how many."""
    by_name = {schedule.name: schedule for schedule in schedules}
    rows = await tx.fetch(_DUE, list(by_name))
    for row in rows:
        schedule = by_name[row["name"]]
        scheduled_for = row["next_at"].isoformat()
        await enqueue(
            tx,
            schedule.task,
            {**schedule.arguments, "scheduled_for": scheduled_for},
            key=f"{schedule.name} {scheduled_for}",
        )
        await tx.execute(_MOVE, schedule.name, schedule.cron.next_after(row["now"]))
    return len(rows)
