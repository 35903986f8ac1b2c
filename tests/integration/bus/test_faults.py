"""Workers that are killed or frozen, and a database that goes away, lose and double nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess

import pytest

from guilder.platform.bus import Bus
from guilder.platform.db import Database
from tests.support.database import OwnDatabase
from tests.support.notebook import notes, publish, taking_notes, worker
from tests.support.waiting import until

POINTS = ["bus.before_commit", "bus.after_commit"]


async def prepared(db: Database, group: str) -> dict[str, list[int]]:
    """A group that has to hear these, and nothing before them."""
    bus = Bus(db, [taking_notes(group)])
    await bus.join()
    await db.fetch(
        "UPDATE platform.consumer_positions SET transaction = "
        "pg_snapshot_xmin(pg_current_snapshot()) WHERE group_name = $1",
        group,
    )
    await publish(db, f"{group}-anna", 1, 2, 3)
    await publish(db, f"{group}-ben", 1, 2, 3)
    return {f"{group}-anna": [1, 2, 3], f"{group}-ben": [1, 2, 3]}


async def all_is_heard(db: Database, group: str, expected: dict[str, list[int]]) -> None:
    async def heard() -> bool:
        return sum(map(len, (await notes(db, group)).values())) >= sum(map(len, expected.values()))

    await until(heard, "everything is heard")


async def ended(process: subprocess.Popen[str]) -> int:
    return await asyncio.to_thread(process.wait, 60)


async def finish(process: subprocess.Popen[str]) -> str:
    process.kill()
    _, errors = await asyncio.to_thread(process.communicate)
    return errors


@pytest.mark.parametrize("point", POINTS)
async def test_a_worker_killed_at_a_failpoint_is_succeeded_without_loss(
    house: OwnDatabase, db: Database, point: str
):
    group = f"killed-{point}"
    expected = await prepared(db, group)

    killed = worker(house.url(), group, failing=f"{point}=kill")
    status = await ended(killed)
    await finish(killed)
    successor = worker(house.url(), group)
    await all_is_heard(db, group, expected)
    await finish(successor)

    assert status == -signal.SIGKILL
    assert await notes(db, group) == expected


async def test_a_worker_frozen_before_its_commit_is_replaced_and_cannot_commit_when_it_wakes(
    house: OwnDatabase, db: Database
):
    group = "frozen"
    expected = await prepared(db, group)
    frozen = worker(house.url(), group, failing="bus.before_commit=sleep:1500")

    async def is_under_way() -> bool:
        line = await asyncio.to_thread(frozen.stderr.readline)
        return "bus.before_commit" in line

    await until(is_under_way, "the worker is about to commit")
    os.kill(frozen.pid, signal.SIGSTOP)
    successor = worker(house.url(), group)
    await all_is_heard(db, group, expected)
    os.kill(frozen.pid, signal.SIGCONT)
    await publish(db, f"{group}-anna", 4)
    expected[f"{group}-anna"].append(4)
    await all_is_heard(db, group, expected)
    await finish(successor)
    await finish(frozen)

    assert await notes(db, group) == expected


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGKILL])
async def test_a_bus_goes_on_by_itself_once_the_database_is_back(
    house: OwnDatabase, db: Database, number: signal.Signals
):
    group = f"restarted-{number.name}"
    expected = await prepared(db, group)
    running = worker(house.url(), group)
    await all_is_heard(db, group, expected)

    os.kill(house.server.pid, number)
    await asyncio.to_thread(house.server.wait, timeout_s=60)
    await asyncio.to_thread(house.server.start)
    await publish(db, f"{group}-anna", 4)
    expected[f"{group}-anna"].append(4)
    await all_is_heard(db, group, expected)
    await finish(running)

    assert await notes(db, group) == expected
