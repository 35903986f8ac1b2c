"""Jobs whose effect can be counted: each writes a note.

As a program it is a worker: ``python -m tests.support.workshop URL TASK``, with failpoints by
GUILDER_FAILPOINTS.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence

from guilder.platform import failpoints
from guilder.platform.db import Database, Tx
from guilder.platform.jobs import Held, Task, Worker, enqueue
from tests.support.notebook import IMPATIENT, QUICK

NOTE = "INSERT INTO public.notes (group_name, key, number) VALUES ($1, $2, $3)"
LEASE_S = 0.5


def noting(
    name: str,
    *,
    before: Callable[[Held], Awaitable[None]] | None = None,
    lease_s: float = LEASE_S,
) -> Task:
    """A task that writes down the number it was given, in the commit that ends the job."""

    async def perform(held: Held) -> None:
        if before is not None:
            await before(held)

        async def note(tx: Tx) -> None:
            await tx.execute(NOTE, name, "job", held.arguments["number"])

        await held.commit(note)

    return Task(name=name, perform=perform, lease_s=lease_s, patience=IMPATIENT)


async def put_in(db: Database, task: str, *numbers: int) -> None:
    """A job for each number, each in a transaction of its own."""
    for number in numbers:
        await db.run(lambda tx, n=number: enqueue(tx, task, {"number": n}))


async def noted(db: Database, task: str) -> list[int]:
    rows = await db.fetch("SELECT number FROM public.notes WHERE group_name = $1", task)
    return sorted(row[0] for row in rows)


async def state(db: Database, task: str) -> str | None:
    """The state of the one job of a task."""
    found: str | None = await db.fetchval("SELECT state FROM platform.jobs WHERE task = $1", task)
    return found


def workshop(url: str, task: str, *, failing: str = "") -> subprocess.Popen[str]:
    """A process of its own that does jobs of ``task``."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.workshop", url, task],
        env=os.environ | {"GUILDER_FAILPOINTS": failing},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def working(db: Database, tasks: Sequence[Task], **more: object) -> asyncio.Task[None]:
    """A worker in this process, until it is cancelled."""
    return asyncio.create_task(Worker(db, tasks, **more).run())


async def _work(url: str, task: str) -> None:
    db = await Database.connect(url, max_connections=4, limits=QUICK)
    failpoints.arm(os.environ["GUILDER_FAILPOINTS"])
    await Worker(db, [noting(task)]).run()


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1], sys.argv[2]))
