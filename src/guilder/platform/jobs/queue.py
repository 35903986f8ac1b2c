"""The queue of jobs as SQL: what is put in, taken under a lease, finished, failed, found dead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from guilder.platform import origin, outbox
from guilder.platform.db import (
    AlreadyThere,
    Database,
    Row,
    TryAgain,
    Tx,
    notify_after_commit,
    rows_done,
)
from guilder.platform.identifiers import new_id
from guilder.platform.jobs.events import JobDiscarded, JobRetried
from guilder.platform.origin import Origin

CHANNEL: Final = "guilder_jobs"

_SLICE: Final = 2_000
_ENQUEUE: Final = """
    INSERT INTO platform.jobs
        (id, task, key, arguments, due_at, ready_at, actor_id, request_id, trace_id)
    SELECT $1, $2, $3, $4, due.at, due.at, $7, $8, $9
    FROM (SELECT COALESCE($5, clock_timestamp() + COALESCE($6::interval, '0')) AS at) AS due
    ON CONFLICT (task, key) WHERE key IS NOT NULL AND state IN ('waiting', 'running') DO NOTHING
"""
# The time of the statement, as an index is not searched up to a time that goes on meanwhile.
_CLAIM: Final = """
    UPDATE platform.jobs j
    SET state = 'running', token = j.token + 1, attempts = j.attempts + 1,
        ready_at = clock_timestamp() + make_interval(secs => leases.lease_s)
    FROM (
        SELECT id FROM platform.jobs
        WHERE ready_at <= statement_timestamp() AND task = ANY($1::text[])
        ORDER BY ready_at LIMIT $3 FOR UPDATE SKIP LOCKED
    ) next, unnest($1::text[], $2::float8[]) AS leases (task, lease_s)
    WHERE j.id = next.id AND leases.task = j.task
    RETURNING j.id, j.task, j.arguments, j.token, j.attempts, j.due_at, j.actor_id, j.request_id,
        j.trace_id
"""
_NEXT_READY: Final = """
    SELECT extract(epoch FROM min(ready_at) - clock_timestamp())::float8 FROM platform.jobs
    WHERE ready_at IS NOT NULL AND task = ANY($1::text[])
"""
_FENCE: Final = """
    SELECT FROM platform.jobs WHERE id = $1 AND token = $2 AND state = 'running' FOR UPDATE
"""
_EXTEND: Final = """
    UPDATE platform.jobs SET ready_at = clock_timestamp() + make_interval(secs => $3)
    WHERE id = $1 AND token = $2 AND state = 'running'
"""
_FINISH: Final = """
    UPDATE platform.jobs
    SET state = 'done', ready_at = NULL, finished_at = clock_timestamp(), arguments = '{}'
    WHERE id = $1 AND token = $2 AND state = 'running'
"""
_FAIL: Final = """
    UPDATE platform.jobs
    SET state = CASE WHEN $3::float8 IS NULL THEN 'dead' ELSE 'waiting' END,
        ready_at = clock_timestamp() + make_interval(secs => $3::float8), last_error = $4
    WHERE id = $1 AND token = $2 AND state = 'running'
"""
_GIVE_BACK: Final = """
    UPDATE platform.jobs
    SET state = 'waiting', ready_at = clock_timestamp(), attempts = attempts - 1
    WHERE id = $1 AND token = $2 AND state = 'running'
"""
_DEAD: Final = """
    SELECT id, task, key, due_at, attempts, COALESCE(last_error, '') AS last_error
    FROM platform.jobs WHERE state = 'dead' ORDER BY created_at
"""
# Of jobs with one key one alone may wait: the oldest, unless one waits or runs already.
_REVIVE: Final = """
    WITH meant AS (
        SELECT id, task, key,
            key IS NULL OR row_number() OVER (PARTITION BY task, key ORDER BY created_at, id) = 1
                AND NOT EXISTS (
                    SELECT FROM platform.jobs alive
                    WHERE alive.task = dead.task AND alive.key = dead.key
                      AND alive.state IN ('waiting', 'running')
                ) AS is_free
        FROM platform.jobs dead
        WHERE state = 'dead' AND ($1::uuid[] IS NULL OR id = ANY($1::uuid[]))
    ), revived AS (
        UPDATE platform.jobs j
        SET state = 'waiting', attempts = 0, ready_at = clock_timestamp()
        FROM meant WHERE meant.id = j.id AND meant.is_free AND j.state = 'dead' RETURNING j.id
    )
    SELECT meant.id, meant.task, revived.id IS NOT NULL AS is_revived
    FROM meant LEFT JOIN revived ON revived.id = meant.id ORDER BY meant.id
"""
_DISCARD: Final = """
    DELETE FROM platform.jobs
    WHERE state = 'dead' AND ($1::uuid[] IS NULL OR id = ANY($1::uuid[])) RETURNING id, task
"""
_FORGET_DEAD: Final = """
    DELETE FROM platform.jobs
    WHERE state = 'dead' AND task = $1 AND created_at < statement_timestamp() - $2::interval
"""
# By task and key, along the index of those that wait and that of the dead.
_FORGET_KEYS: Final = """
    DELETE FROM platform.jobs WHERE id IN (
        SELECT id FROM platform.jobs
        WHERE task = ANY($1::text[]) AND key = ANY($2::text[]) AND state IN ('waiting', 'running')
        UNION ALL
        SELECT id FROM platform.jobs
        WHERE task = ANY($1::text[]) AND key = ANY($2::text[]) AND state = 'dead'
    )
    RETURNING arguments
"""
_FORGET: Final = """
    DELETE FROM platform.jobs WHERE id = ANY (ARRAY(
        SELECT id FROM platform.jobs
        WHERE state = 'done' AND finished_at < statement_timestamp() - $1::interval
        ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A job that this worker holds until its lease ends. ``token`` tells it from other holders."""

    id: UUID
    task: str
    arguments: Mapping[str, Any]
    token: int
    attempts: int
    due_at: datetime
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadJob:
    """A job that failed as often as it is tried."""

    id: UUID
    task: str
    key: str | None
    due_at: datetime
    attempts: int
    last_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Revived:
    """How many dead jobs are tried again.

    ``still_dead`` are those whose key another job has, which waits, runs or is older.
    """

    count: int
    still_dead: int


async def enqueue(
    tx: Tx,
    task: str,
    arguments: Mapping[str, Any],
    *,
    at: datetime | None = None,
    after: timedelta | None = None,
    key: str | None = None,
) -> bool:
    """Put a job into the queue if and only if this transaction commits.

    It is due at once, ``at`` a time, or ``after`` a while. Of jobs of a task with the same ``key``
    only one waits or runs at a time; answers whether this one was put in.
    """
    begun_by = origin.current()
    done = await tx.execute(
        _ENQUEUE,
        new_id(),
        task,
        key,
        msgspec.json.encode(arguments).decode(),
        at,
        after,
        begun_by.actor_id,
        begun_by.request_id,
        begun_by.trace_id,
    )
    notify_after_commit(CHANNEL)
    return rows_done(done) == 1


async def claim(tx: Tx, leases: Mapping[str, float], *, at_most: int) -> list[Claimed]:
    """Take jobs of these tasks that are due, or whose worker was not heard of for its lease."""
    rows = await tx.fetch(_CLAIM, list(leases), list(leases.values()), at_most)
    return [_claimed(row) for row in rows]


async def next_ready_s(db: Database, tasks: Sequence[str]) -> float | None:
    """In how many seconds a job of these tasks may be taken, if there is any."""
    seconds: float | None = await db.fetchval(_NEXT_READY, tasks)
    return seconds


async def holds(tx: Tx, job: Claimed) -> bool:
    """Whether this job is still its holder's; nobody can take it before this transaction ends."""
    return await tx.fetchrow(_FENCE, job.id, job.token) is not None


async def extend(tx: Tx, job: Claimed, *, lease_s: float) -> bool:
    """Hold a job for longer; false when it is no longer held."""
    return rows_done(await tx.execute(_EXTEND, job.id, job.token, lease_s)) == 1


async def finish(tx: Tx, job: Claimed) -> bool:
    """The job is done, and what it was given forgotten; false when it is no longer held."""
    return rows_done(await tx.execute(_FINISH, job.id, job.token)) == 1


async def fail(tx: Tx, job: Claimed, *, pause_s: float | None, why: str) -> None:
    """The job failed: it is due again after a pause, or dead when there is none."""
    await tx.execute(_FAIL, job.id, job.token, pause_s, why)


async def give_back(tx: Tx, job: Claimed) -> None:
    """The job was not finished through no fault of its own: others may take it at once."""
    await tx.execute(_GIVE_BACK, job.id, job.token)
    notify_after_commit(CHANNEL)


async def dead_jobs(db: Database) -> list[DeadJob]:
    """Every dead job, the oldest first."""
    return [DeadJob(**row) for row in await db.fetch(_DEAD)]


async def revive(tx: Tx, *, ids: Sequence[UUID] | None) -> Revived:
    """Let dead jobs be tried again as if for the first time; those that have to wait stay dead.

    Raises:
        TryAgain: a job with the key of one of them was put in just now.
    """
    try:
        rows = await tx.fetch(_REVIVE, ids)
    except AlreadyThere as clash:
        raise TryAgain from clash
    revived = [row for row in rows if row["is_revived"]]
    facts = [JobRetried(job_id=row["id"], task=row["task"]) for row in revived]
    await outbox.append(tx, [outbox.outgoing(fact, key=str(fact.job_id)) for fact in facts])
    notify_after_commit(CHANNEL)
    return Revived(count=len(revived), still_dead=len(rows) - len(revived))


async def discard(tx: Tx, *, ids: Sequence[UUID] | None) -> int:
    """Give dead jobs up: they are never done. Answers how many there were."""
    facts = [
        JobDiscarded(job_id=row["id"], task=row["task"]) for row in await tx.fetch(_DISCARD, ids)
    ]
    await outbox.append(tx, [outbox.outgoing(fact, key=str(fact.job_id)) for fact in facts])
    return len(facts)


async def forget_dead(db: Database, task: str, *, keep: timedelta) -> int:
    """Delete dead jobs of a task that were put in longer ago than ``keep``; answer how many.

    For tasks that are of no use to anybody so much later.
    """
    return rows_done(await db.run(lambda tx: tx.execute(_FORGET_DEAD, task, keep)))


async def forget_keys(tx: Tx, tasks: Sequence[str], keys: Sequence[str]) -> list[Mapping[str, Any]]:
    """Delete jobs of these tasks with one of these keys that are not done: nobody does them.

    Answers what they were given.
    """
    rows = await tx.fetch(_FORGET_KEYS, tasks, keys)
    return [msgspec.json.decode(row["arguments"]) for row in rows]


async def forget_done(db: Database, *, keep: timedelta) -> int:
    """Delete jobs that were done longer ago than ``keep``; answer how many."""
    total = 0
    while True:
        done = await db.run(lambda tx: tx.execute(_FORGET, keep, _SLICE))
        total += rows_done(done)
        if rows_done(done) < _SLICE:
            return total


def _claimed(row: Row) -> Claimed:
    return Claimed(
        id=row["id"],
        task=row["task"],
        arguments=msgspec.json.decode(row["arguments"]),
        token=row["token"],
        attempts=row["attempts"],
        due_at=row["due_at"],
        origin=Origin(row["actor_id"], row["request_id"], row["trace_id"]),
    )
