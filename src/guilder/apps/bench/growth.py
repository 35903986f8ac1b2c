"""How the transfer figure holds when many entries are stored: they are made by the engine itself,
so the ledger is whole afterwards."""

from __future__ import annotations

from typing import Final

from guilder.apps.bench.engine import own_engine, transfers
from guilder.apps.bench.figure import Figure
from guilder.apps.bench.ground import Ground, Report
from guilder.apps.bench.http import Load
from guilder.apps.bench.load import Mode
from guilder.apps.bench.pgbench import CannotMeasure
from guilder.apps.bench.serving import Served
from guilder.apps.bench.town import Town
from guilder.ledger.module import verify_new
from guilder.platform.bus.retention import forget_since, last_position

LONGEST_HISTORY: Final = 1_000_000
"""Entries that one wallet gets at most, for the deep page."""
_ENTRIES_EACH: Final = 2
_TOLD_EVERY: Final = 500_000


async def fill(ground: Ground, *, town: Town, entries: int, report: Report) -> int:
    """Store so many entries more, and answer how many of them the first wallet got.

    The first wallet takes part in every transfer until its history is long. The transfers' events
    are gone afterwards, and the entries verified, as those of months are.

    Raises:
        CannotMeasure: the entries contradict each other.
    """
    wanted = -(-entries // _ENTRIES_EACH)
    long = min(wanted, LONGEST_HISTORY)
    hot = town.people[0].wallets[0]
    async with ground.pool() as db, own_engine(db) as payments:
        last_event = await last_position(db)
        done = 0
        while done < wanted:
            into = hot if done < long else None
            step = min(_TOLD_EVERY, (long if done < long else wanted) - done)
            await transfers(payments, town=town, seconds=float("inf"), at_most=step, into=into)
            done += step
            report(f"filling: {done * _ENTRIES_EACH:,} of {wanted * _ENTRIES_EACH:,} entries")
        report("filling: verify")
        if wrong := await verify_new(db):
            raise CannotMeasure(f"the entries contradict each other: {wrong[0]}")
    async with ground.superuser(database=ground.database) as db:
        report("filling: vacuum")
        await forget_since(db, last_event)
        await db.fetchval("VACUUM (ANALYZE)")
    return long


async def measure(load: Load, *, on: Served, entries: int, uniform: float) -> Figure:
    """Transfers a second between any two wallets, with so many entries stored.

    Each wallet's last entries are on pages of their own by then, which go to the log whole when
    they are first touched after a checkpoint: some seconds of every fifteen minutes. So it is
    measured twice, and the figure is that of the other minutes.
    """
    after_checkpoint, _ = await load.put(on, mode=Mode.TRANSFER)
    loaded, detail = await load.put(on, mode=Mode.TRANSFER, settles=False)
    return Figure(
        name="growth",
        title=f"transfers over HTTP, {entries:,} entries stored",
        unit="/s",
        value=loaded.rate,
        against="transfers over HTTP",
        ratio=loaded.rate / uniform,
        target=0.9,
        detail={"just after a checkpoint /s": round(after_checkpoint.rate), **detail},
    )
