"""``guilder events`` and ``guilder jobs``: what an operator sees and decides."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from guilder.platform.bus import Bus, Start
from guilder.platform.bus.lag import forget_group
from guilder.platform.bus.retention import last_position
from guilder.platform.db import Database
from guilder.platform.jobs import enqueue, queue
from tests.support.database import OwnDatabase
from tests.support.guilder import environment, guilder
from tests.support.notebook import IMPATIENT, drained, notes, publish, taking_notes
from tests.support.waiting import until

Say = Callable[..., CompletedProcess[str]]


@pytest.fixture
def say(house: OwnDatabase, tmp_path: Path) -> Say:
    """Types a command for this database."""
    env = environment(tmp_path, DATABASE_URL=house.url())
    return lambda *words: guilder(*words, env=env, folder=tmp_path)


async def given_up(db: Database, group: str) -> Bus:
    """A group with one dead letter of Anna's, and another event behind it."""

    async def fail(tx: object, events: object) -> None:
        raise ValueError

    subscription = taking_notes(group, before=fail, starts=Start.NOW)
    bus = Bus(db, [subscription], patience=IMPATIENT)
    await bus.join()
    await publish(db, "anna", 1, 2)

    async def is_dead() -> bool:
        await drained(bus, subscription)
        return bool(
            await db.fetchval(
                "SELECT count(*) FROM platform.parked_events "
                "WHERE group_name = $1 AND state = 'dead'",
                group,
            )
        )

    await until(is_dead, "the event is a dead letter")
    return Bus(db, [taking_notes(group)])


async def test_dead_letters_are_listed_and_replayed(house: OwnDatabase, db: Database, say: Say):
    bus = await given_up(db, "operated")

    listed = say("events", "dead", "--json")
    (letter,) = json.loads(listed.stdout)
    shown = say("events", "dead", "--group", "operated")
    replayed = say("events", "replay", letter["id"])
    await drained(bus, taking_notes("operated"))
    left = say("events", "dead")

    assert (letter["group"], letter["key"], letter["behind"]) == ("operated", "anna", 1)
    assert shown.returncode == 0
    assert replayed.stdout == "1 will be tried again.\n"
    assert left.stdout == "There are no dead letters.\n"
    assert await notes(db, "operated") == {"anna": [1, 2]}


async def test_dead_letters_are_discarded_when_all_are_meant(
    house: OwnDatabase, db: Database, say: Say
):
    bus = await given_up(db, "cleared")

    unclear = say("events", "discard", "--group", "cleared")
    wrong = say("events", "discard", "anna")
    discarded = say("events", "discard", "--group", "cleared", "--all")
    await drained(bus, taking_notes("cleared"))

    assert unclear.returncode == wrong.returncode == 1
    assert wrong.stderr == "guilder: anna is no id of an event\n"
    assert discarded.stdout == "1 will never be heard.\n"
    assert await notes(db, "cleared") == {"anna": [2]}


async def test_groups_are_shown_and_forgotten(house: OwnDatabase, db: Database, say: Say):
    await Bus(db, [taking_notes("shown", starts=Start.NOW)]).join()

    groups = json.loads(say("events", "groups", "--json").stdout)
    table = say("events", "groups")
    forgotten = say("events", "forget", "shown")
    unknown = say("events", "forget", "shown")

    assert [group["events"] for group in groups if group["group"] == "shown"] == [0]
    assert "shown" in table.stdout
    assert forgotten.returncode == 0
    assert unknown.stderr.startswith("guilder: there is no group shown")
    assert not await forget_group(db, "shown")


async def test_dead_jobs_are_listed_and_tried_again(house: OwnDatabase, db: Database, say: Say):
    await db.run(lambda tx: enqueue(tx, "test.broken", {}))
    (job,) = await db.run(lambda tx: queue.claim(tx, {"test.broken": 60.0}, at_most=1))
    await db.run(lambda tx: queue.fail(tx, job, pause_s=None, why="ValueError in test"))

    listed = say("jobs", "dead", "--json")
    unclear = say("jobs", "retry")
    retried = say("jobs", "retry", str(job.id))
    left = say("jobs", "dead")

    assert [dead["id"] for dead in json.loads(listed.stdout)] == [str(job.id)]
    assert unclear.returncode == 1
    assert retried.stdout == "1 will be tried again.\n"
    assert left.stdout == "There are no dead jobs.\n"


DONE = """
    SELECT type FROM platform.outbox
    WHERE actor_id IS NULL AND request_id LIKE 'command-line-%' AND position > $1
    ORDER BY position
"""


async def test_what_an_operator_decides_of_dead_letters_and_groups_is_told(
    house: OwnDatabase, db: Database, say: Say
):
    await given_up(db, "decided")
    last = await last_position(db)

    say("events", "dead")
    say("events", "replay", "--group", "decided", "--all")
    await given_up(db, "dropped")
    say("events", "discard", "--group", "dropped", "--all")
    say("events", "forget", "dropped")
    say("events", "forget", "nobody")

    assert [row[0] for row in await db.fetch(DONE, last)] == [
        "com.guilder.event.replayed",
        "com.guilder.event.discarded",
        "com.guilder.group.forgotten",
    ]


async def test_dead_jobs_are_discarded_and_what_was_decided_of_them_is_told(
    house: OwnDatabase, db: Database, say: Say
):
    last = await last_position(db)
    for _ in range(2):
        await db.run(lambda tx: enqueue(tx, "test.hopeless", {}))
    jobs = await db.run(lambda tx: queue.claim(tx, {"test.hopeless": 60.0}, at_most=2))
    for job in jobs:
        await db.run(lambda tx, job=job: queue.fail(tx, job, pause_s=None, why="x"))

    retried = say("jobs", "retry", str(jobs[0].id))
    unclear = say("jobs", "discard")
    discarded = say("jobs", "discard", "--all")

    assert retried.stdout == "1 will be tried again.\n"
    assert unclear.returncode == 1
    assert discarded.stdout == "1 will never be done.\n"
    assert [row[0] for row in await db.fetch(DONE, last)] == [
        "com.guilder.job.retried",
        "com.guilder.job.discarded",
    ]
