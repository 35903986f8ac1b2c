"""A listener whose effect can be counted: it writes down each event that it hears.

As a program it is a worker that feeds one such listener: ``python -m tests.support.notebook URL
GROUP``, with failpoints by GUILDER_FAILPOINTS.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

import asyncpg

from guilder.kernel.ids import EventId
from guilder.platform import failpoints, outbox
from guilder.platform.bus import Bus, Event, Start, Subscription
from guilder.platform.bus.parking import Patience
from guilder.platform.db import Database, Limits, Tx
from guilder.platform.identifiers import new_id

TYPE = "com.guilder.test.happened"
IMPATIENT = Patience(first_s=0.01, longest_s=0.02, attempts=3)
QUICK = Limits(statement_ms=5_000, lock_ms=3_000, idle_in_transaction_ms=1_000)

_TABLE = """
    CREATE TABLE public.notes (
        line bigint GENERATED ALWAYS AS IDENTITY, group_name text, id uuid, key text, number bigint
    );
    GRANT SELECT, INSERT ON public.notes TO guilder_app
"""


async def lay_out(superuser: asyncpg.Connection[asyncpg.Record]) -> None:
    """The table that notes are written into."""
    await superuser.execute(_TABLE)


def taking_notes(
    group: str,
    *,
    before: Callable[[Tx, Sequence[Event]], Awaitable[None]] | None = None,
    types: frozenset[str] | None = frozenset({TYPE}),
    starts: Start = Start.BEGINNING,
    most: int = 500,
) -> Subscription:
    """A group that writes down what it hears; what ``before`` raises makes it fail."""

    async def hear(tx: Tx, events: Sequence[Event]) -> None:
        for event in events:
            await tx.execute(
                "INSERT INTO public.notes (group_name, id, key, number) VALUES ($1, $2, $3, $4)",
                *(group, event.id, event.key, event.data["number"]),
            )
        if before is not None:
            await before(tx, events)

    return Subscription(group=group, types=types, hear=hear, starts=starts, most=most)


def numbered(key: str, number: int, *, type_: str = TYPE) -> outbox.Outgoing:
    return outbox.Outgoing(EventId(new_id()), type_, key, f'{{"number": {number}}}')


async def publish(db: Database, key: str, *numbers: int) -> None:
    """Events of one key, each in a transaction of its own."""
    for number in numbers:
        await db.run(lambda tx, number=number: outbox.append(tx, [numbered(key, number)]))


async def notes(db: Database, group: str) -> dict[str, list[int]]:
    """What a group heard, by key, in the order it was heard."""
    found: dict[str, list[int]] = defaultdict(list)
    rows = await db.fetch(
        "SELECT key, number FROM public.notes WHERE group_name = $1 ORDER BY line", group
    )
    for row in rows:
        found[row["key"]].append(row["number"])
    return dict(found)


async def drained(bus: Bus, subscription: Subscription) -> None:
    """Deliver until there is nothing left that can be heard now."""
    await bus.join()
    while await bus.deliver(subscription):
        pass


def worker(url: str, group: str, *, failing: str = "") -> subprocess.Popen[str]:
    """A process of its own that feeds ``group``."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.notebook", url, group],
        env=os.environ | {"GUILDER_FAILPOINTS": failing},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def _work(url: str, group: str) -> None:
    db = await Database.connect(url, max_connections=4, limits=QUICK)
    failpoints.arm(os.environ["GUILDER_FAILPOINTS"])
    await Bus(db, [taking_notes(group)], patience=IMPATIENT).run()


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1], sys.argv[2]))
